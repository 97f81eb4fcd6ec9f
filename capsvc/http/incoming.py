"""One request, taken as the socket said it and in the order of the contract.

First the body (413), then its media type (415), then whether a credential came at all (401), then everything that is
wrong with the request's form (400). Only after that does anybody decide about the credential.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope

from capsvc.http.budget import BodyBudget
from capsvc.http.problems import Problem
from capsvc.http.shape import Shape, read
from capsvc.macaroon.bundle import MAX_BODY_OCTETS
from capsvc.web.bearer import credential_of, scheme_of

__all__ = ["Incoming", "form_pairs", "query_parameters"]

_MAX_PARAMETERS: Final = 100
_MAX_LENGTH_DIGITS: Final = 12
_READ: Final = frozenset({b"authorization", b"content-type", b"content-length", b"content-encoding"})

_Shape = TypeVar("_Shape", bound=Shape)


class Incoming:
    """A request: ``.method``, ``.path`` (normal form, without the query), ``.parameters`` of the path."""

    __slots__ = ("_budget", "_given", "_headers", "_query", "_receive", "_scope", "method", "parameters", "path")

    def __init__(self, scope: Scope, receive: Receive, path: str, budget: BodyBudget) -> None:
        self._scope = scope
        self.method: str = scope["method"]
        self.path = path
        self.parameters: Mapping[str, str] = scope.get("path_params", {})
        self._query: bytes = scope["query_string"]
        self._headers: list[tuple[bytes, bytes]] = [item for item in scope["headers"] if item[0] in _READ]
        self._given = dict(self._headers)
        self._receive = receive
        self._budget = budget

    async def json(self, shape: type[_Shape], limit: int = MAX_BODY_OCTETS) -> _Shape:
        """The body of a route that takes JSON and a credential. Raises `Problem`."""
        return read(shape, await self.json_octets(limit))

    async def json_octets(self, limit: int = MAX_BODY_OCTETS) -> bytes:
        """The same, not parsed yet. Raises `Problem`.

        Where the body's length is told, nothing of it is read for a request that is refused without it.
        """
        if b"content-length" in self._given:
            _check_length(self._given[b"content-length"], limit)
            self._require_form()
            return await self.body(limit)
        body = await self.body(limit)
        self._require_form()
        return body

    def _require_form(self) -> None:
        self.require_media_type("application/json")
        self.require_credential()
        self.query(())

    async def nothing(self, *names: str) -> Mapping[str, str]:
        """The query of a route that takes a credential and no body: the parameters named, each at most once.

        A body that came nevertheless is no part of the request (RFC 9110, section 9.3.1), but bounded like any.
        Raises `Problem`.
        """
        await self.body()
        self.require_credential()
        return self.query(names)

    async def empty(self) -> None:
        """Take a request that asks by its address alone: without a body, with or without a Content-Type.

        Raises `Problem`.
        """
        if await self.body():
            self.require_media_type("application/json")
            self.require_credential()
            raise Problem(400, "bad-request", "This takes no body.")
        self.require_credential()
        self.query(())

    async def body(self, limit: int = MAX_BODY_OCTETS) -> bytes:
        """The whole body. Raises `Problem` 413 as soon as it is too large, by its header or as it comes."""
        _check_length(self._given.get(b"content-length"), limit)
        message = await self._receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body", False) and len(body) <= limit:
            body, message = await self._rest(body, limit)
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if len(body) > limit:
            raise _too_large(limit)
        return body

    async def _rest(self, body: bytes, limit: int) -> tuple[bytes, Message]:
        """Read on until the body is whole or too large; what waits for that is on the process's budget."""
        taken = 0
        try:
            while True:
                self._budget.take(len(body) - taken)
                taken = len(body)
                message = await self._receive()
                body += message.get("body", b"")
                if not message.get("more_body", False) or len(body) > limit:
                    return body, message
        finally:
            self._budget.give(taken)

    def require_media_type(self, expected: str) -> None:
        """Raises `Problem` 415 unless the body is that, in UTF-8 and not compressed."""
        given = self._given.get(b"content-type")
        if given is None or self._twice(b"content-type") or not _is_media_type(given, expected):
            raise Problem(415, "media-type", f"The body's Content-Type is {expected}, in UTF-8.")
        if b"content-encoding" in self._given:
            raise Problem(415, "media-type", "A compressed body is not read.")

    @property
    def peer(self) -> str | None:
        """The address at the other end of the socket; None where the server does not tell."""
        client = self._scope.get("client")
        return client[0] if client else None

    def header(self, name: bytes) -> list[str]:
        """The values of every header of that name (lower-case), in order; each octet is a character."""
        return [value.decode("latin-1") for given, value in self._scope["headers"] if given == name]

    def require_credential(self) -> None:
        """Raises `Problem`: 401 when no Bearer credential came, 400 when there are two Authorization headers."""
        if self.scheme() != b"bearer":
            raise Problem(401, "credential-missing")

    def scheme(self) -> bytes:
        """How a credential came, in lower case; empty where none did. Raises `Problem` 400 when there are two."""
        if self._twice(b"authorization"):
            raise Problem(400, "bad-request", "There are two Authorization headers.")
        return scheme_of(self._given.get(b"authorization", b""))

    def credential(self) -> str:
        """What follows the scheme and its spaces, whatever it is; only after `require_credential` or `scheme`."""
        return credential_of(self._given[b"authorization"])

    async def gone(self) -> None:
        """Return once the caller has hung up; only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def query(self, names: tuple[str, ...]) -> Mapping[str, str]:
        """The query's parameters. Raises `Problem` 400 for one that is not named or comes twice, or is not UTF-8."""
        return query_parameters(self._query, names) if self._query else {}

    def raw_query(self) -> bytes:
        """The query as it was sent."""
        return self._query

    def _twice(self, name: bytes) -> bool:
        return len(self._given) != len(self._headers) and [given for given, _ in self._headers].count(name) > 1


def query_parameters(query: bytes, names: tuple[str, ...]) -> Mapping[str, str]:
    """Parse a query strictly; see `Incoming.query`."""
    try:
        pairs = form_pairs(query)
    except ValueError:
        raise Problem(400, "bad-request", "The query is not name=value pairs in UTF-8.") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Problem(400, "bad-request", "The query has a parameter twice.")
    if not found.keys() <= set(names):
        known = ", ".join(names) or "none"
        raise Problem(400, "bad-request", f"The query has an unknown parameter; known here: {known}.")
    return found


def form_pairs(text: bytes, *, strict: bool = True) -> list[tuple[str, str]]:
    """URL-encoded pairs, in order, empty values kept.

    Raises ``ValueError`` unless they are ASCII that decodes to UTF-8; if `strict`, also for a pair without ``=``.
    """
    return parse_qsl(
        text.decode("ascii"),
        keep_blank_values=True,
        strict_parsing=strict,
        errors="strict",
        max_num_fields=_MAX_PARAMETERS,
    )


def _too_large(limit: int) -> Problem:
    return Problem(413, "too-large", f"The body has more than {limit} octets.")


def _check_length(given: bytes | None, limit: int) -> None:
    """Refuse by Content-Length, before the body is read; HTTP's own parser has judged its form already."""
    if given is not None:
        if not given.isdigit():
            raise Problem(400, "bad-request", "Content-Length is no number.")
        if len(given) > _MAX_LENGTH_DIGITS or int(given) > limit:
            raise _too_large(limit)


def _is_media_type(given: bytes, expected: str) -> bool:
    """Compare by RFC 9110, section 8.3.1: case does not count, the only parameter is ``charset=utf-8``."""
    if given == expected.encode():
        return True
    kind, *parameters = (part.strip(b" \t") for part in given.lower().split(b";"))
    return kind == expected.encode() and parameters in ([], [b"charset=utf-8"], [b'charset="utf-8"'])
