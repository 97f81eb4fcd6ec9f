"""Discharges, kept until shortly before the first of them is over: gathered once for all threads and tasks that wait.

Whoever comes first gathers, all others wait for what he finds. If he is interrupted, one of the others takes his place;
if he fails, they fail alike, without asking again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Final

from capsvc.client.errors import ServiceError
from capsvc.token import Token

__all__ = ["Held", "Keeper"]

EARLY: Final = 30.0  # seconds before they are over that discharges are renewed, at most
EARLY_PART: Final = 5  # and at most a fifth of their lifetime
TRIES: Final = 4  # of a renewal in that time, while whoever is asked does not answer
_UNREACHED: Final = frozenset({"unavailable", "bad-answer"})


@dataclass(frozen=True, slots=True, repr=False)
class Held:
    """Discharges, unbound, as they were gathered, and the bundle that they make with the token as it is.

    ``ends`` is when the first of them is over, ``renew`` when new ones are gathered, in Unix seconds; None for those
    that have no end of their own.
    """

    discharges: tuple[Token, ...]
    bundle: str
    ends: float | None = None
    renew: float | None = None

    def is_due(self, now: float) -> bool:
        """Whether it is time for new ones."""
        return self.renew is not None and now >= self.renew

    def is_over(self, now: float) -> bool:
        """Whether one of them is no longer good."""
        return self.ends is not None and now >= self.ends


@dataclass(frozen=True, slots=True)
class _Flight:
    """A gathering under way, and the thread of whoever does it. Its result is None if he was interrupted."""

    landed: Future[Held | None] = field(default_factory=Future)
    thread: int = field(default_factory=threading.get_ident)

    def __post_init__(self) -> None:
        self.landed.set_running_or_notify_cancel()  # so that a task that waits and is cancelled takes nobody along


def _is_refused(held: Held, refused: Held | None) -> bool:
    return refused is not None and refused.bundle == held.bundle


class Keeper:
    """What one token's discharges are at a time. Safe for threads and tasks."""

    def __init__(self, token: Token, clock: Callable[[], float]) -> None:
        self._token = token
        self._clock = clock
        self._lock = threading.Lock()
        self._held: Held | None = None
        self._flight: _Flight | None = None

    def get(self, gather: Callable[[], tuple[Token, ...]], refused: Held | None = None) -> Held:
        """What is held, or what is gathered now; ``refused`` is good no more, whatever its time.

        Raises:
            ServiceError: whatever ``gather`` raises, or raised for whoever was first.
            TokenError: ``too-large`` for a bundle past a bound.

        """
        while True:
            ready = self._begin(refused)
            if isinstance(ready, Held):
                return ready
            flight, is_mine = ready
            if is_mine:
                with self._flying(flight, refused) as found:
                    found.append(self._hold(gather()))
            elif flight.thread == threading.get_ident():
                return self._hold(gather())  # the task that gathers runs in this thread, which would wait for itself
            held = flight.landed.result()
            if held is not None:
                return held

    async def get_async(self, gather: Callable[[], Awaitable[tuple[Token, ...]]], refused: Held | None = None) -> Held:
        """`get` for asyncio."""
        while True:
            ready = self._begin(refused)
            if isinstance(ready, Held):
                return ready
            flight, is_mine = ready
            if is_mine:
                with self._flying(flight, refused) as found:
                    found.append(self._hold(await gather()))
            held = await asyncio.wrap_future(flight.landed)
            if held is not None:
                return held

    def drop(self, refused: Held) -> None:
        """Hold it no longer: whoever comes next gathers."""
        with self._lock:
            if self._held is not None and _is_refused(self._held, refused):
                self._held = None

    @contextlib.contextmanager
    def _flying(self, flight: _Flight, refused: Held | None) -> Iterator[list[Held]]:
        """Gather into the list; however that ends, all who wait learn of it."""
        found: list[Held] = []
        try:
            yield found
        except Exception as error:
            instead = self._instead(error, refused)
            if instead is None:
                flight.landed.set_exception(error)
                raise
            found.append(instead)
        finally:
            with self._lock:
                self._flight = None
            if not flight.landed.done():
                flight.landed.set_result(found[0] if found else None)

    def _begin(self, refused: Held | None) -> Held | tuple[_Flight, bool]:
        """What is held and good, else the gathering under way, and whether it is the caller's to do."""
        with self._lock:
            held = self._held
            if held is not None and not _is_refused(held, refused) and not held.is_due(self._clock()):
                return held
            if self._flight is not None:
                return self._flight, False
            self._flight = _Flight()
            return self._flight, True

    def _hold(self, discharges: tuple[Token, ...]) -> Held:
        now = self._clock()
        bundle = str(self._token.bind(*discharges)) if discharges else str(self._token)
        bounds = [discharge.expires_at for discharge in discharges]
        ends = min((bound.timestamp() for bound in bounds if bound is not None), default=None)
        renew = None if ends is None else ends - min(EARLY, max(0.0, ends - now) / EARLY_PART)
        held = Held(discharges, bundle, ends, renew)
        with self._lock:
            self._held = held
        return held

    def _instead(self, error: BaseException, refused: Held | None) -> Held | None:
        """What is still good, when whoever would give new discharges cannot be reached; he is asked again later."""
        unreached = isinstance(error, ServiceError) and error.code in _UNREACHED
        now = self._clock()
        with self._lock:
            held = self._held
            if not unreached or held is None or _is_refused(held, refused) or held.ends is None or held.is_over(now):
                return None
            self._held = replace(held, renew=now + min(EARLY, held.ends - now) / TRIES)
            return self._held
