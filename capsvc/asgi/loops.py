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
        self._held: tuple[asyncio.AbstractEventLoop, T] | None = None

    def get(self) -> T:
        """The running loop's value.

        Raises:
            RuntimeError: another loop has one, and runs or may run again.

        """
        loop, held = asyncio.get_running_loop(), self._held
        if held is None or held[0].is_closed():
            self._held = held = (loop, self._make())
        elif held[0] is not loop:
            raise RuntimeError("a verifier is for one event loop: close it there, or give each loop one of its own")
        return held[1]

    def take(self) -> T:
        """The running loop's value, to be closed: when it is asked for again it is made anew. Raises as `get`."""
        value, self._held = self.get(), None
        return value
