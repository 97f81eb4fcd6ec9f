"""Work for threads that costs much: a few at a time, a few that wait, and no more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

__all__ = ["HashPool", "TooBusyError"]

AT_ONCE: Final = 2  # with argon2id's 64 MiB each
WAITING: Final = 16  # some 1 s of work
_T = TypeVar("_T")


class TooBusyError(Exception):
    """As many wait already as may."""


class HashPool:
    """Threads that hash passwords, so that nobody can make a discharger do nothing else."""

    def __init__(self, *, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._threads = ThreadPoolExecutor(at_once, "password")
        self._free = threading.Semaphore(at_once + waiting)

    async def run(self, work: Callable[[], _T]) -> _T:
        """The result of some work. What waits for a caller that is gone is not begun. Raises `TooBusyError`."""
        if not self._free.acquire(blocking=False):
            raise TooBusyError
        try:
            future = self._threads.submit(work)
        except BaseException:
            self._free.release()
            raise
        future.add_done_callback(self._release)
        return await asyncio.wrap_future(future)

    def _release(self, _: Future[_T]) -> None:
        self._free.release()
