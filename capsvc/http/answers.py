"""A response as a value, and how it is sent."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from starlette.types import Send

__all__ = ["JSON", "NO_SNIFF", "NO_STORE", "Answer", "Header", "json_answer", "send_answer"]

Header = tuple[bytes, bytes]

JSON: Final = (b"content-type", b"application/json")
NO_STORE: Final = (b"cache-control", b"no-store")
NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")
_JSON_HEADERS: Final = (JSON, NO_STORE)

_encode: Final = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """Status, body and the headers that are not of every response."""

    status: int
    body: bytes
    headers: tuple[Header, ...]


def json_answer(status: int, value: object, *headers: Header) -> Answer:
    """A JSON object that nobody may store: most of ours hold tokens, decisions or what an administrator may see."""
    return Answer(status, _encode(value), (*_JSON_HEADERS, *headers) if headers else _JSON_HEADERS)


async def send_answer(answer: Answer, send: Send, *, head: bool = False) -> None:
    """Send it; for a HEAD request without the body, but with its length."""
    status, body, headers = answer
    await send({"type": "http.response.start", "status": status, "headers": _all_headers(headers, len(body), status)})
    await send({"type": "http.response.body", "body": b"" if head else body})


def _all_headers(headers: tuple[Header, ...], length: int, status: int) -> list[Header]:
    if status == 204:  # RFC 9110, section 8.6: no Content-Length
        return [*headers, NO_SNIFF]
    return [*headers, NO_SNIFF, (b"content-length", b"%d" % length)]
