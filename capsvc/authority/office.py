"""How everything that the authority does is run: on the state as it is now, and in one transaction of the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from capsvc.authority.audit import AuditLog
from capsvc.authority.minting import TooEarlyError
from capsvc.authority.mintqueue import PATIENCE, POLL
from capsvc.authority.seal import MasterKey
from capsvc.authority.view import Follower, View
from capsvc.config import Settings
from capsvc.errors import RequestError
from capsvc.store.protocol import Store, StoreUnavailable, Transaction

__all__ = ["Clock", "Office", "as_request_error", "can_exist"]

T = TypeVar("T")
Clock = Callable[[], float]
"""Gives Unix seconds."""


def can_exist(*names: object) -> bool:
    """Whether names that are asked for can be those of anything: all are ASCII, and a database takes no surrogates."""
    return all([name is None or (isinstance(name, str) and name.isascii()) for name in names])


@contextmanager
def as_request_error() -> Iterator[None]:
    """Tell callers of a store that fails in the one way that they know."""
    try:
        yield
    except StoreUnavailable as error:
        raise RequestError("unavailable") from error


class Office:
    """A store, its master key and its state, as each part of the authority works on them."""

    def __init__(self, settings: Settings, clock: Clock, store: Store, master: MasterKey) -> None:
        """Raises `StoreUnavailable` or `SealError` where the state cannot be read."""
        self._settings = settings
        self._clock = clock
        self._store = store
        self._audit = AuditLog(master)
        self._follower = Follower(store, master)

    def _now(self) -> int:
        return int(self._clock())

    def _view(self) -> View:
        with as_request_error():
            return self._follower.view()

    def _run(self, work: Callable[[Transaction, int], T]) -> T:
        """Do a write; return when it is durable."""
        with as_request_error():
            return self._store.write(lambda tx: work(tx, self._now())).result()

    def _run_in_time(self, work: Callable[[Transaction, int], T]) -> T:
        """Do a write that may have to wait for the clock to pass a second."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self._run(work)
            except TooEarlyError:
                if time.monotonic() >= deadline:
                    raise RequestError("unavailable", "It was removed this very second; try again.") from None
            time.sleep(POLL)
