"""One thread that writes: whoever waits while a commit is under way shares the next one.

A commit costs a disk flush whatever it holds, so thirty callers at once pay for one or two of them, not for thirty.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from capsvc.store.protocol import StoreUnavailable

__all__ = ["GroupCommit"]

T = TypeVar("T")

GROUP: Final = 256  # writes to a commit at most, so that the first of them is not kept waiting

_Work = tuple[Callable[[], Any], "Future[Any]"]


class GroupCommit:
    """Runs submitted writes on one connection, in order, many to a transaction."""

    def __init__(self, connection: sqlite3.Connection, begin: Callable[[], None], announce: Callable[[], None]) -> None:
        """``begin`` begins a transaction; ``announce`` is called after each commit, before anybody is answered."""
        self._begin = begin
        self._announce = announce
        self._connection = connection
        self._waiting: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="capsvc-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Queue a write; the future resolves once it is durable.

        Or it raises what ``work`` raised, or `StoreUnavailable`.
        """
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # cancelled, it could not take its result, and the thread would end
        with self._closing:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            self._waiting.put((work, future))
        return future

    def close(self) -> None:
        """Finish what was submitted, then stop."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            group, ended = self._gather(first)
            outcomes = self._commit(group)
            self._announce()  # after a failure too: it may have come after the commit
            _settle(group, outcomes)
            if ended:
                return

    def _gather(self, first: _Work) -> tuple[list[_Work], bool]:
        group = [first]
        while len(group) < GROUP:
            try:
                work = self._waiting.get_nowait()
            except queue.Empty:
                break
            if work is None:
                return group, True
            group.append(work)
        return group, False

    def _commit(self, group: list[_Work]) -> list[Any]:
        """Run a group in one transaction; return each one's result, or the exception that it came to."""
        try:
            return self._run_all(group)
        except _HalfDoneError as error:
            self._undo()
            # Its effects cannot be undone alone, so everybody gets a transaction of his own.
            return [error.error] if len(group) == 1 else [self._commit([work])[0] for work in group]
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may be told that it is done
            self._undo()
            failure = StoreUnavailable(str(error))
            failure.__cause__ = error
            return [_Raised(failure)] * len(group)

    def _run_all(self, group: list[_Work]) -> list[Any]:
        self._begin()
        outcomes = [self._run_one(work) for work, _ in group]
        self._connection.execute("COMMIT")
        return outcomes

    def _run_one(self, work: Callable[[], Any]) -> Any:
        """Run one write. One that raises before it wrote anything harms nobody; a failing database ends the group."""
        before = self._connection.total_changes
        try:
            return work()
        except sqlite3.Error:
            raise
        except Exception as error:
            if self._connection.total_changes != before:
                raise _HalfDoneError(_Raised(error)) from error
            return _Raised(error)

    def _undo(self) -> None:
        # The transaction may be gone already: SQLite rolls back by itself on a full disk.
        with contextlib.suppress(sqlite3.Error):
            self._connection.rollback()


class _Raised:
    """An exception on its way to the caller: raised only after the commit that the others in the group need."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class _HalfDoneError(Exception):
    """A write raised after it had changed something."""

    def __init__(self, error: _Raised) -> None:
        super().__init__()
        self.error = error


def _settle(group: list[_Work], outcomes: list[Any]) -> None:
    for (_, future), outcome in zip(group, outcomes, strict=True):
        if isinstance(outcome, _Raised):
            future.set_exception(outcome.error)
        else:
            future.set_result(outcome)
