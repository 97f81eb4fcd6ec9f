"""A few shared octets by which every process on a database sees, without asking it, that somebody has committed.

``PRAGMA data_version`` tells the same, but takes longer than all the rest of a decision about a token that was seen
before. So whoever commits writes a fresh random number here *before* the commit is acknowledged; whoever reads another
number than last time reads the log of changes. The number means nothing and orders nothing: two writers at once cannot
hide each other, since any write changes it.

A process that dies between its commit and this write has acknowledged nothing. For its sake, and for whoever writes to
the database by other means, `data_version` is asked all the same, every `LOOK` seconds.
"""

from __future__ import annotations

import mmap
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from capsvc.errors import StartError

__all__ = ["LOOK", "Beacon"]

LOOK: Final = 0.05  # seconds between two looks at the database itself
OCTETS: Final = 8
FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Beacon:
    """The shared number beside a database file. Reading it takes no system call."""

    __slots__ = ("_map", "_number")

    def __init__(self, database: Path) -> None:
        """Open or make ``<database>-beacon``, 0600. Raises `StartError` if it cannot be written."""
        path = database.with_name(f"{database.name}-beacon")
        try:
            descriptor = os.open(
                path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR
            )
            try:
                if os.fstat(descriptor).st_size < OCTETS:
                    os.pwrite(descriptor, secrets.token_bytes(OCTETS), 0)
                self._map = mmap.mmap(descriptor, OCTETS)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StartError("data-dir", f"{path}: cannot be written ({error.strerror})") from None
        # One aligned machine word: it is read and written whole.
        self._number = memoryview(self._map).cast("Q")

    def read(self) -> int:
        """Return the number."""
        return self._number[0]

    def light(self) -> None:
        """Change the number: something was committed, or may have been."""
        self._number[0] = secrets.randbits(64)

    def close(self) -> None:
        """Let go of the memory; idempotent."""
        self._number.release()
        self._map.close()
