"""A response as a value, and how it is sent."""

from __future__ import annotations

from typing import Final, NamedTuple

from starlette.types import Send

__all__ = ["JSON", "NO_SNIFF", "NO_STORE", "Answer", "Header", "all_headers", "send_answer"]

Header = tuple[bytes, bytes]

JSON: Final = (b"content-type", b"application/json")
NO_STORE: Final = (b"cache-control", b"no-store")
NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")


class Answer(NamedTuple):
    """Status, body and the headers that are not of every response."""

    status: int
    body: bytes
    headers: tuple[Header, ...]


async def send_answer(answer: Answer, send: Send, *, head: bool = False, prefix: str = "") -> None:
    """Send it; for a HEAD request without the body, but with its length.

    ``prefix`` is ``websocket.`` for the refusal of a handshake, where the server can send one.
    """
    status, body, headers = answer
    await send(
        {"type": f"{prefix}http.response.start", "status": status, "headers": all_headers(headers, len(body), status)}
    )
    await send({"type": f"{prefix}http.response.body", "body": b"" if head else body})


def all_headers(headers: tuple[Header, ...], length: int, status: int) -> list[Header]:
    """The headers of a response whose body has that many octets."""
    if status == 204:  # RFC 9110, section 8.6: no Content-Length
        return [*headers, NO_SNIFF]
    return [*headers, NO_SNIFF, (b"content-length", b"%d" % length)]
