"""macaroon-bakery's wire: what ``/discharge`` is asked with, and the shapes of answers and errors.

Go's client sends its parameters in the query, without a body, in unpadded URL-safe base64; Python's sends a form, in
padded standard base64. So both places, both alphabets, padding or none; but each parameter once in all. A parameter of
another name is passed over, as bakery does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message

from capsvc.errors import TokenError
from capsvc.macaroon.bundle import MAX_BODY_OCTETS, MAX_THIRD_PARTY_ID_OCTETS
from capsvc.macaroon.decode import UnverifiedMacaroon
from capsvc.macaroon.encoding import b64decode
from capsvc.macaroon.formats import to_v2json

__all__ = [
    "VERSION",
    "Asked",
    "Refusal",
    "bad_request",
    "denied",
    "error_response",
    "fault",
    "macaroon_json",
    "one",
    "parameters",
    "read_asked",
    "read_base64",
    "read_body",
    "shown",
    "with_body",
]

VERSION: Final = 3
"""Bakery's own, of ids and of macaroons as it writes them."""

MAX_PARAMETERS: Final = 32
MAX_SHOWN: Final = 200  # characters of a reason
FORM: Final = "application/x-www-form-urlencoded"

_URLSAFE: Final = str.maketrans("+/", "-_")


class Refusal(Exception):  # noqa: N818 - what it is
    """A request ends here, with bakery's error: its status, code and message; ``info`` with an interaction."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        info: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.info = info
        self.headers = headers


def bad_request(message: str, status: int = 400) -> Refusal:
    """The refusal of what is not as bakery has it."""
    return Refusal(status, "bad request", message)


def denied(reason: str) -> Refusal:
    """The refusal of a condition, or of whoever asks."""
    return Refusal(401, "permission denied", shown(reason))


def fault() -> Refusal:
    """What a caller learns of a fault: nothing but that."""
    return Refusal(500, "internal error", "something went wrong; it has been logged")


def error_response(refusal: Refusal) -> Response:
    """Bakery's error, of its exact media type."""
    error: dict[str, object] = {"Code": refusal.code, "Message": str(refusal)}
    if refusal.info is not None:
        error["Info"] = refusal.info
    return JSONResponse(error, refusal.status, headers=refusal.headers)


def shown(text: str) -> str:
    """Text as it may be shown on a terminal: what cannot be printed is a question mark, what is too long cut off."""
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_SHOWN])


def macaroon_json(macaroon: UnverifiedMacaroon) -> str:
    """A macaroon as bakery writes it, in JSON; `std:` is the namespace of its own conditions."""
    return f'{{"m": {to_v2json(macaroon)}, "v": {VERSION}, "ns": "std:"}}'


class Asked(NamedTuple):
    """What ``/discharge`` is asked.

    ``id`` is the one that the discharge gets; ``caveat`` the octets that hold the condition, the id itself or what came
    beside it; ``kind`` and ``token`` say by which login somebody said who he is, if anybody did.
    """

    id: bytes
    caveat: bytes
    kind: str | None
    token: bytes

    def __repr__(self) -> str:
        return "<Asked>"  # a token is a secret


async def read_asked(request: Request) -> tuple[Asked, bytes]:
    """What a request asks, and its body. Raises `Refusal`."""
    body = await read_body(request)
    if body:
        _require_form(request)
    given = parameters(request.scope["query_string"], body)
    caveat_id = _octets(given, "id")
    beside = given.get("caveat64")
    if not caveat_id:
        raise bad_request("there is no caveat id")
    caveat = caveat_id if beside is None else read_base64(beside)
    if max(len(caveat_id), len(caveat)) > MAX_THIRD_PARTY_ID_OCTETS:
        raise bad_request(f"a caveat id has at most {MAX_THIRD_PARTY_ID_OCTETS} octets")
    kind, token = given.get("token-kind"), _octets(given, "token")
    if (kind is None) != (token is None) or kind == "" or token == b"":
        raise bad_request("a token comes with its token-kind")
    return Asked(caveat_id, caveat, kind, token or b""), body


async def read_body(request: Request) -> bytes:
    """A body within 64 KiB. Raises `Refusal`."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_OCTETS:
            raise bad_request(f"a body has at most {MAX_BODY_OCTETS} octets", 413)
    return body


def with_body(request: Request, body: bytes) -> Request:
    """The request for somebody who may want to read its body, which has been read."""
    unread = [body]

    async def receive() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        return await request.receive()

    return Request(request.scope, receive)


def parameters(*encoded: bytes) -> dict[str, str]:
    """The parameters of queries and forms, each once in all. Raises `Refusal`."""
    if sum(map(len, encoded)) > MAX_BODY_OCTETS:
        raise bad_request(f"parameters have at most {MAX_BODY_OCTETS} octets", 413)
    try:
        pairs = [pair for text in encoded for pair in _pairs(text.decode("ascii"))]
    except ValueError:
        raise bad_request("parameters are name=value pairs, in UTF-8 with percent escapes") from None
    given = dict(pairs)
    if len(given) != len(pairs):
        raise bad_request("a parameter is there twice")
    return given


def one(given: Mapping[str, str], name: str) -> str:
    """A parameter that has to be there. Raises `Refusal`."""
    if not given.get(name):
        raise bad_request(f"there is no {name}")
    return given[name]


def read_base64(text: str) -> bytes:
    """The octets of base64 in either alphabet, padded or not. Raises `Refusal`."""
    bare = text.rstrip("=")
    padding = len(text) - len(bare)
    if padding and (padding > 2 or len(text) % 4):
        raise bad_request("that is not base64")
    try:
        return b64decode(bare.translate(_URLSAFE))
    except TokenError:
        raise bad_request("that is not base64") from None


def _pairs(text: str) -> list[tuple[str, str]]:
    return parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=MAX_PARAMETERS)


def _octets(given: Mapping[str, str], name: str) -> bytes | None:
    """A parameter that is text, or base64 under its other name, but not both."""
    text, encoded = given.get(name), given.get(f"{name}64")
    if text is not None and encoded is not None:
        raise bad_request(f"{name} is there twice")
    if encoded is not None:
        return read_base64(encoded)
    return None if text is None else text.encode()


def _require_form(request: Request) -> None:
    types = request.headers.getlist("content-type")
    media_type, _, parameter = (types[0] if len(types) == 1 else "").partition(";")
    charset = parameter.strip().lower().replace('"', "")
    if media_type.strip().lower() != FORM or charset not in {"", "charset=utf-8"}:
        raise bad_request(f"a body is {FORM}, in UTF-8", 415)
    if "content-encoding" in request.headers:
        raise bad_request("a compressed body is not read", 415)
