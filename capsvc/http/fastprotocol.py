"""uvicorn's protocol on httptools, bounded; apart, since httptools may be missing."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from capsvc.http.logs import MAX_HEADER_BYTES, PER_HEADER
from capsvc.http.protocols import MAX_HEAD_BYTES, Deadline, Overlong, admit, refuse

__all__ = ["BoundedHttpTools"]


class BoundedHttpTools(HttpToolsProtocol):
    """Counts header bytes as they are read: each field when it is whole, and what is not whole yet by chunks."""

    deadline: Deadline

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_bytes = 0
        self._head_bytes = 0
        self._in_head = False
        self._began = False
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request."""
        super().connection_made(transport)
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
        super().data_received(data)
        if self._in_head and not self._began and not self._refused:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(overlong=True)

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        self._header_bytes = self._head_bytes = 0
        self._in_head = self._began = True
        self.deadline.begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count one field. Raises `Overlong`, which stops the parser."""
        self._header_bytes += len(name) + len(value) + PER_HEADER
        if self._header_bytes > MAX_HEADER_BYTES:
            raise Overlong
        if self._in_head:  # a trailer must not slip in among the headers that are being judged
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is here whole."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """And now the body."""
        self.deadline.met()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own text
        """Refuse as the service does."""
        self._refuse(overlong=self._header_bytes > MAX_HEADER_BYTES)

    def _refuse(self, *, overlong: bool) -> None:
        self._refused = True
        refuse(self, overlong=overlong)
