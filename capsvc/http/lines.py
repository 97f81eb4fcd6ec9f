"""Lines of a log, written together a moment later.

A write costs as much as a decision; so lines wait for each other, `DELAY` at most. Where no event loop runs a line is
written at once. Several processes can share the file: no write is larger than what a pipe takes whole.
"""

from __future__ import annotations

import asyncio
import select
from typing import Final, TextIO

__all__ = ["LineWriter"]

DELAY: Final = 0.05  # seconds
AT_ONCE: Final = getattr(select, "PIPE_BUF", 512)  # octets that POSIX writes to a pipe without mixing them with others


class LineWriter:
    """As much of a text stream as a log needs: ``write`` takes one whole line of ASCII."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def write(self, line: str) -> None:
        """Write it soon; a stream that fails is the log's loss alone."""
        self._waiting.append(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # nobody will come back to it
            self.flush()
            return
        if loop is not self._loop:  # none is due yet, or it was on a loop that has ended
            self._loop = loop
            loop.call_later(DELAY, self.flush)

    def flush(self) -> None:
        """Write what waits, now."""
        self._loop = None
        waiting, self._waiting = self._waiting, []
        chunk = ""
        for line in waiting:
            if len(chunk) + len(line) > AT_ONCE:
                self._put(chunk)
                chunk = ""
            chunk += line
        self._put(chunk)

    def _put(self, chunk: str) -> None:
        try:
            self._stream.write(chunk)
            self._stream.flush()
        except (OSError, ValueError):  # a full disk, or closed: answers go on
            return
