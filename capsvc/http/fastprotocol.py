"""uvicorn's protocol on httptools, bounded; apart, since httptools may be missing."""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from capsvc.http.protocols import MAX_HEAD_BYTES, Deadline, Overlong, WrongHost, admit, header_bytes, refuse
from capsvc.macaroon.bundle import MAX_BATCH_BODY_OCTETS
from capsvc.web.problems import MAX_HEADER_BYTES

__all__ = ["BoundedHttpTools"]

MAX_MESSAGE_BYTES: Final = 8 * MAX_BATCH_BODY_OCTETS
"""Of a whole request: the largest body in the smallest chunks, whose frames are five times their octet; trailers."""


class _Gathering:
    """A transport whose writes go out together when the event loop has run what was ready.

    Each is a system call that wakes the other end; uvicorn makes two a response, and under load many responses are
    written in one pass of the loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write in a moment."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def write_eof(self) -> None:
        """Write what waits, and no more."""
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Write what waits, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting and not self._transport.is_closing():  # nobody is there any more
            self._transport.write(b"".join(waiting))


class BoundedHttpTools(HttpToolsProtocol):
    """Bounds what is read of a request until `AccessLog` judges its headers, and what is read of it in all."""

    deadline: Deadline

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bytes = 0  # of this request, after the chunk in which it began
        self._at_most = 0  # of this request, with whatever came before it in that chunk
        self._chunk = 0
        self._in_head = False
        self._began = False
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request."""
        super().connection_made(transport)
        self.transport = cast("asyncio.Transport", _Gathering(transport, self.loop))  # all of one that uvicorn uses
        self.deadline = Deadline(self, self.loop)
        admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self.deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; nothing after a refusal."""
        if self._refused:
            return
        self._began = False
        self._chunk = len(data)
        self._at_most += self._chunk
        super().data_received(data)
        if self._began or self._refused:
            return
        self._bytes += self._chunk
        if self._in_head and self._bytes > MAX_HEAD_BYTES:
            self._refuse(overlong=True)
        elif self._bytes > MAX_MESSAGE_BYTES:
            self.transport.close()

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        self._bytes = 0
        self._in_head = self._began = True
        self.deadline.begin()

    def on_headers_complete(self) -> None:
        """The head is here whole. Raises `Overlong` or `WrongHost`, which stop the parser."""
        if self._at_most > MAX_HEADER_BYTES and header_bytes(self.headers) > MAX_HEADER_BYTES:
            raise Overlong
        hosts = [name for name, _ in self.headers].count(b"host")
        if hosts != 1 and (hosts > 1 or self.parser.get_http_version() == "1.1"):
            raise WrongHost
        self._in_head = False
        super().on_headers_complete()
        self.headers = []  # trailers go here, not among the headers that are being judged

    def on_message_complete(self) -> None:
        """And now the body."""
        self._at_most = self._chunk  # the next one may have begun in it
        self.deadline.met()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own text
        """Refuse as the service does."""
        self._refuse(overlong=self._in_head and header_bytes(self.headers) > MAX_HEADER_BYTES)

    def _refuse(self, *, overlong: bool) -> None:
        self._refused = True
        refuse(self, overlong=overlong)
