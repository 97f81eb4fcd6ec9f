"""What belongs to one event loop: connections, tasks, whoever waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["OfOneLoop"]

T = TypeVar("T")


class OfOneLoop(Generic[T]):
    """A value that is made on the loop that asks for it, and anew when that loop has ended (as each test's does)."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._value: T | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self) -> T:
        """The running loop's value.

        Raises:
            RuntimeError: another loop has one, and runs or may run again.

        """
        loop = asyncio.get_running_loop()
        if self._value is None or self._loop is None or self._loop.is_closed():
            self._value, self._loop = self._make(), loop
        elif self._loop is not loop:
            raise RuntimeError("a verifier is for one event loop: close it there, or give each loop one of its own")
        return self._value

    def take(self) -> T | None:
        """The running loop's value, to be closed: it is made anew when it is asked for again. None if there is none.

        Raises:
            RuntimeError: as `get`.

        """
        if self._value is None or self._loop is None or self._loop.is_closed():
            self._value = None  # with a loop, whatever it held there has ended
            return None
        value, self._value = self.get(), None
        return value
