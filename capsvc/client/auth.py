"""`CapabilityAuth`: httpx presents a token with its discharges, where it belongs and nowhere else."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Final

import httpx

from capsvc.client.agents import AgentIdentity, Agents
from capsvc.client.book import Book, Dischargers
from capsvc.client.driving import TIMEOUT, Manner, carry_out, carry_out_async
from capsvc.client.gathering import gather
from capsvc.client.keeping import Held, Keeper
from capsvc.client.messages import read_json
from capsvc.client.origin import place_of, read_origin
from capsvc.client.steps import Steps
from capsvc.errors import TokenError
from capsvc.token import Token
from caveats import CaveatError, Vocabulary, compare, encode, normal_path

__all__ = ["CapabilityAuth"]

NARROW_TTL: Final = 60  # seconds that a token for one request lives
PROBLEM_OCTETS: Final = 65_536  # of a refusal that is read for its code
GATHER_AGAIN: Final = frozenset({"discharge-missing", "discharge-invalid", "discharge-unused", "expired"})
"""Codes of a refusal that new discharges may mend."""

_BUILT_IN: Final = Vocabulary.built_in()


class CapabilityAuth(httpx.Auth):
    """Authenticates requests with a token, gathering the discharges that it needs; for httpx's clients of either kind.

        auth = CapabilityAuth(token, "https://photos.example.org", issuer="https://tokens.example.org")
        with httpx.Client(auth=auth) as client:
            client.get("https://photos.example.org/albums")

    The bundle goes to ``origin`` alone, by scheme, host and port; requests elsewhere, and redirects to elsewhere, go
    without it. Discharges are asked for over connections of its own, of dischargers that ``dischargers`` or the
    issuer's document names, and of no others: never of one that only a token or an answer names. They are kept in
    memory and renewed shortly before the first of them is over, and once when the service at ``origin`` refuses them.
    It is safe to share between threads and tasks: one of them gathers while the others wait. What it holds is the
    token's; give each user's token one of its own.

    Args:
        token: whose caveats name the third parties. A bundle is presented as it is.
        origin: the service to which the token is presented: scheme, host and port, https or http on this machine.
        issuer: the address of the capsvc service whose ``/.well-known/capsvc`` names dischargers; it gets no token.
        dischargers: those that the caller knows: URLs, `KnownDischarger`, or a mapping from location to URL.
        agent: an agent's key and names (`capsvc.keyfile.read_agent_file`), or a key pair and its name everywhere. Its
            logins are completed if they are sealed under a key of the discharger that is asked, and of no other.
        visit: called with the address that a person must visit in a browser, before that visit is waited for (600 s);
            an asynchronous client takes an asynchronous one too. Without it a discharger that wants one is an error.
        narrow: present each request a token for its ``method`` and ``path`` alone, which lives for 60 s.
        timeout: seconds for each request to a discharger or the issuer.
        clock: gives Unix seconds.

    A request raises, instead of being sent:
        DischargeError: a discharge is not to be had.
        TokenError: ``too-large`` for a bundle past a bound.
        CaveatError: with ``narrow``, for a method or path that no caveat can name.

    Raises:
        ValueError: for an address to which no credential may go, or a discharger that is named wrongly.
        TokenError: for text that is no token; ``bound`` for a bundle that is to be narrowed.

    """

    def __init__(
        self,
        token: str | Token,
        origin: str,
        *,
        issuer: str | None = None,
        dischargers: Dischargers = (),
        agent: AgentIdentity | None = None,
        visit: Callable[[str], object] | None = None,
        narrow: bool = False,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._token = Token.parse(token.strip()) if isinstance(token, str) else token
        if narrow and self._token.is_bundle:
            raise TokenError("bound", "a bundle is final: to narrow each request, give the token that it was made from")
        self._base = _bare_origin(origin)
        self._place = place_of(httpx.URL(self._base))
        self._book = Book(dischargers, issuer)
        self._agents = None if agent is None else Agents.of(agent)
        self._manner = Manner(timeout, visit)
        self._narrow = narrow
        self._clock = clock
        self._keeper = Keeper(self._token, clock)

    def __repr__(self) -> str:
        return f"<CapabilityAuth {self._base}>"

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Present the token, if the request goes to its origin. httpx calls this."""
        if place_of(request.url) != self._place:
            yield request
            return
        held = self._keeper.get(self._gather) if self._needs_discharges() else None
        response = yield self._presented(request, held)
        if held is None or not self._is_refused(response):
            return
        if _is_short(response):
            response.read()
        if _refuses_discharges(response) and not self._drop(request, held):
            _leave_unread(response)
            yield self._presented(request, self._keeper.get(self._gather, held))

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Present the token, if the request goes to its origin. httpx calls this."""
        if place_of(request.url) != self._place:
            yield request
            return
        held = await self._keeper.get_async(self._gather_async) if self._needs_discharges() else None
        response = yield self._presented(request, held)
        if held is None or not self._is_refused(response):
            return
        if _is_short(response):
            await response.aread()
        if _refuses_discharges(response) and not self._drop(request, held):
            _leave_unread(response)
            yield self._presented(request, await self._keeper.get_async(self._gather_async, held))

    def _needs_discharges(self) -> bool:
        return bool(self._token.third_parties) and not self._token.is_bundle

    def _steps(self) -> Steps[tuple[Token, ...]]:
        visits = self._manner.visit is not None
        return gather(self._token, self._book, agents=self._agents, visits=visits, clock=self._clock)

    def _gather(self) -> tuple[Token, ...]:
        return carry_out(self._steps(), self._manner)

    async def _gather_async(self) -> tuple[Token, ...]:
        return await carry_out_async(self._steps(), self._manner)

    def _presented(self, request: httpx.Request, held: Held | None) -> httpx.Request:
        """The request with its bundle: bound last, after whatever narrows it."""
        discharges = () if held is None else held.discharges
        if self._narrow:
            bundle = str(self._narrowed(request).bind(*discharges))
        else:
            bundle = str(self._token) if held is None else held.bundle
        request.headers["Authorization"] = f"Bearer {bundle}"
        return request

    def _narrowed(self, request: httpx.Request) -> Token:
        try:
            path = normal_path(request.url.raw_path.partition(b"?")[0])
        except ValueError as error:
            raise CaveatError("caveat-malformed", f"the request's path is not in normal form: {error}") from None
        caveats = [compare(_BUILT_IN, "method", "=", request.method), compare(_BUILT_IN, "path", "=", path)]
        return self._token.attenuate(*map(encode, caveats), ttl=NARROW_TTL, clock=self._clock)

    def _is_refused(self, response: httpx.Response) -> bool:
        """Whether whom the token was presented to refuses it, though the token itself is not over."""
        refused = response.status_code == httpx.codes.UNAUTHORIZED
        ends = self._token.expires_at
        over = ends is not None and ends.timestamp() <= self._clock()  # new discharges would not revive it
        return refused and place_of(response.request.url) == self._place and not over

    def _drop(self, request: httpx.Request, held: Held) -> bool:
        """Leave it to the next request to gather anew, if the body of this one cannot be sent again."""
        if isinstance(request.stream, httpx.ByteStream):
            return False
        self._keeper.drop(held)
        return True


def _bare_origin(origin: str) -> str:
    """An address to which a credential may go, without a path. Raises `ValueError`."""
    base = read_origin(origin).base
    if httpx.URL(base).path not in {"", "/"}:
        raise ValueError("an origin is scheme, host and port, without a path")
    return base


def _is_short(response: httpx.Response) -> bool:
    """Whether a refusal's body says that it is a problem's, of a length that may be read unasked.

    The length of a compressed one says nothing of what it becomes.
    """
    length = response.headers.get("content-length", "")
    is_problem = response.headers.get("content-type", "").startswith("application/problem+json")
    is_plain = "content-encoding" not in response.headers
    is_length = length.isascii() and length.isdecimal() and len(length) < 6
    return is_problem and is_plain and is_length and int(length) <= PROBLEM_OCTETS


class _Unread(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Instead of a body: nothing. Closing it closes what it stands for."""

    def __init__(self, body: httpx.SyncByteStream | httpx.AsyncByteStream) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        return
        yield  # what makes it a generator

    def close(self) -> None:
        if isinstance(self._body, httpx.SyncByteStream):
            self._body.close()

    async def aclose(self) -> None:
        if isinstance(self._body, httpx.AsyncByteStream):
            await self._body.aclose()


def _leave_unread(response: httpx.Response) -> None:
    """Let nobody read a refusal that is not short: httpx reads, and unpacks, all of it before the next request."""
    if not _is_short(response):
        response.headers.pop("content-encoding", None)
        response.stream = _Unread(response.stream)


def _refuses_discharges(response: httpx.Response) -> bool:
    """Whether new discharges may mend it: by its problem's code or, where that was not read, by its challenge."""
    if _is_short(response):
        try:
            problem = read_json(response.content)
        except ValueError:
            problem = None
        code = problem.get("code") if isinstance(problem, dict) else None
        if isinstance(code, str):
            return code in GATHER_AGAIN
    challenge = response.headers.get("www-authenticate", "").lower()
    return "bearer " in challenge and 'error="invalid_token"' in challenge
