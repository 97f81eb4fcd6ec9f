"""How often somebody may try: so many attempts at once for a key, then one more every so many seconds.

For every key one number is kept, when it will be as if nothing had been tried (the generic cell rate algorithm), for a
bounded number of keys. Past it the one that owes least is forgotten, and whoever is not kept is taken to owe as much as
that: nobody gets attempts by having a key forgotten (the "space-saving" way to count what occurs most often).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable
from typing import Final

from capsvc.discharge.callers import network_of

__all__ = ["LoginThrottle", "Throttle"]

MAX_KEYS: Final = 10_000
MAX_KEY_CHARACTERS: Final = 200


class Throttle:
    """At most ``burst`` attempts at once and one every ``seconds`` in the long run, for every key alone."""

    def __init__(self, clock: Callable[[], float], *, burst: int, seconds: int, keys: int = MAX_KEYS) -> None:
        """``clock`` gives seconds."""
        self._clock = clock
        self._seconds = seconds
        self._span = burst * seconds
        self._keys = keys
        self._rested_at: dict[str, float] = {}
        self._order: list[tuple[float, str]] = []  # a heap of these, those that have changed since among them

    def __len__(self) -> int:
        """How many keys are kept."""
        return len(self._rested_at)

    def wait(self, key: str) -> int:
        """How many seconds until the next attempt is allowed; 0 if it is now."""
        return max(0, math.ceil(self._owed(key) + self._seconds - self._span))

    def attempt(self, key: str) -> None:
        """Count an attempt."""
        self._owe(key, min(self._owed(key) + self._seconds, self._span))
        if len(self._rested_at) > self._keys:
            _, least = self._least()
            del self._rested_at[least]

    def forgive(self, key: str) -> None:
        """Let an attempt not count after all."""
        if key[:MAX_KEY_CHARACTERS] in self._rested_at:
            self._owe(key, self._owed(key) - self._seconds)

    def _owed(self, key: str) -> float:
        """How long from now until all is forgotten. More than there can be is there when the clock was set back."""
        rested_at = self._rested_at.get(key[:MAX_KEY_CHARACTERS])
        if rested_at is None:
            return self._owed_by_others()
        if rested_at - self._clock() > self._span:
            self._owe(key, self._span)
        return min(max(0.0, rested_at - self._clock()), self._span)

    def _owe(self, key: str, seconds: float) -> None:
        key = key[:MAX_KEY_CHARACTERS]
        if seconds <= 0:
            self._rested_at.pop(key, None)
            return
        self._rested_at[key] = self._clock() + seconds
        heapq.heappush(self._order, (self._rested_at[key], key))
        if len(self._order) > 2 * self._keys + 2:
            self._put_in_order()

    def _owed_by_others(self) -> float:
        """What somebody owes at most who is not kept."""
        now = self._clock()
        while self._rested_at and (least := self._least())[0] <= now:
            del self._rested_at[least[1]]
        if len(self._rested_at) < self._keys:
            return 0.0
        if least[0] > now + self._span:  # the clock was set back, and all of them owe more than there can be
            self._rested_at = dict.fromkeys(self._rested_at, now + self._span)
            self._put_in_order()
        return min(least[0] - now, self._span)

    def _least(self) -> tuple[float, str]:
        """The one that owes least of those that are kept."""
        while self._rested_at.get(self._order[0][1]) != self._order[0][0]:
            heapq.heappop(self._order)
        return self._order[0]

    def _put_in_order(self) -> None:
        self._order = [(rested_at, key) for key, rested_at in self._rested_at.items()]
        heapq.heapify(self._order)


class LoginThrottle:
    """How often somebody may try to log in: per address, per name, and per name from one address.

    The last is the strictest: nobody locks a user out from one address, and trying one name from many has an end too.
    An attempt that succeeds is forgiven.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` gives seconds."""
        self._of_address = Throttle(clock, burst=30, seconds=10)
        self._of_name = Throttle(clock, burst=100, seconds=30)
        self._of_both = Throttle(clock, burst=10, seconds=60)

    def attempt(self, name: str, address: str | None) -> int:
        """Count an attempt and return 0; or count nothing and return in how many seconds there may be one."""
        keys = list(self._keys(name, address))
        wait = max(throttle.wait(key) for throttle, key in keys)
        if not wait:
            for throttle, key in keys:
                throttle.attempt(key)
        return wait

    def forgive(self, name: str, address: str | None) -> None:
        """Let an attempt not count after all."""
        for throttle, key in self._keys(name, address):
            throttle.forgive(key)

    def _keys(self, name: str, address: str | None) -> Iterable[tuple[Throttle, str]]:
        where = network_of(address)
        return (self._of_address, where), (self._of_name, name), (self._of_both, f"{where} {name}")
