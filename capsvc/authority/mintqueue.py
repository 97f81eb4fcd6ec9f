"""Mints on their way to the store: many to a commit, and patient where a subject was revoked this very second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, NamedTuple

from capsvc.authority.minting import Minting, MintRequest, TooEarlyError
from capsvc.authority.view import View
from capsvc.errors import RequestError
from capsvc.grants import Minted
from capsvc.store.protocol import Store, StoreUnavailable

__all__ = ["PATIENCE", "POLL", "MintQueue"]

PATIENCE: Final = 1.5  # seconds of real time that a mint waits for the clock to pass its subject's watermark
POLL: Final = 0.05  # seconds


class _Mint(NamedTuple):
    """A request under way: who waits for it, and until when by the monotonic clock."""

    request: MintRequest
    outcome: Future[Minted]
    deadline: float


class MintQueue:
    """Submits checked requests; each future resolves once its token is durable.

    All that wait for the clock wait for one timer, so that many of them are not many threads.
    """

    def __init__(self, store: Store, minting: Minting, follow: Callable[[], View], clock: Callable[[], int]) -> None:
        self._store = store
        self._minting = minting
        self._follow = follow
        self._clock = clock
        self._parking = threading.Lock()
        self._parked: list[_Mint] = []

    def submit(self, request: MintRequest) -> Future[Minted]:
        """Begin to mint. The future may raise `RequestError` ``unavailable`` or ``too-large``."""
        outcome: Future[Minted] = Future()
        outcome.set_running_or_notify_cancel()  # a caller who goes away cannot undo what others share a commit with
        self._try(_Mint(request, outcome, time.monotonic() + PATIENCE))
        return outcome

    def _try(self, mint: _Mint) -> None:
        request = mint.request
        try:
            now = self._clock()
            view = self._follow()
            key, registry = view.active_key(request.audience), view.registry
            # Made here, so that the transaction is short; made anew there if the key is no longer the active one.
            made = None if key is None else self._minting.make(request, key, registry, now)
            written = self._store.write(lambda tx: self._minting.write(tx, request, made, registry, now))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the future
            mint.outcome.set_exception(_told(error))
            return
        written.add_done_callback(lambda done: self._settle(done, mint))

    def _settle(self, done: Future[Minted], mint: _Mint) -> None:
        error = done.exception()
        if error is None:
            mint.outcome.set_result(done.result())
        elif isinstance(error, TooEarlyError) and time.monotonic() < mint.deadline:
            self._park(mint)
        else:
            mint.outcome.set_exception(_told(error))

    def _park(self, mint: _Mint) -> None:
        """Try it again in a moment, with all others that wait."""
        with self._parking:
            self._parked.append(mint)
            if len(self._parked) > 1:
                return  # the timer runs
        timer = threading.Timer(POLL, self._try_parked)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:  # the system has no thread left: nobody may wait for ever
            for parked in self._unpark():
                parked.outcome.set_exception(_told(TooEarlyError()))

    def _try_parked(self) -> None:
        for parked in self._unpark():
            self._try(parked)

    def _unpark(self) -> list[_Mint]:
        with self._parking:
            parked, self._parked = self._parked, []
        return parked


def _told(error: BaseException) -> BaseException:
    """Return the error that callers know."""
    if isinstance(error, TooEarlyError):
        return RequestError("unavailable", "The subject or a third party was changed this very second; try again.")
    if isinstance(error, StoreUnavailable):
        told = RequestError("unavailable")
        told.__cause__ = error
        return told
    return error
