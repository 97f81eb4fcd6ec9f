"""How often somebody may try: so many attempts at once for a key, then one more every so many seconds.

For every key one number is kept, when it will be as if nothing had been tried (the generic cell rate algorithm), for a
bounded number of keys: past it the one that was tried longest ago is forgotten.
"""

from __future__ import annotations

import math
from collections import OrderedDict
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
        self._rested_at: OrderedDict[str, float] = OrderedDict()  # those tried last at the end

    def __len__(self) -> int:
        """How many keys are kept."""
        return len(self._rested_at)

    def wait(self, key: str) -> int:
        """How many seconds until the next attempt is allowed; 0 if it is now."""
        return max(0, math.ceil(self._owed(key) + self._seconds - self._span))

    def attempt(self, key: str) -> None:
        """Count an attempt."""
        owed = self._owed(key)
        key = key[:MAX_KEY_CHARACTERS]
        self._rested_at[key] = self._clock() + min(owed + self._seconds, self._span)
        self._rested_at.move_to_end(key)
        if len(self._rested_at) > self._keys:
            self._rested_at.popitem(last=False)

    def forgive(self, key: str) -> None:
        """Let an attempt not count after all."""
        owed = self._owed(key) - self._seconds
        key = key[:MAX_KEY_CHARACTERS]
        if owed > 0:
            self._rested_at[key] = self._clock() + owed
        else:
            self._rested_at.pop(key, None)

    def _owed(self, key: str) -> float:
        """How long from now until all is forgotten. More than there can be is there when the clock was set back."""
        key = key[:MAX_KEY_CHARACTERS]
        owed = self._rested_at.get(key, 0.0) - self._clock()
        if owed > self._span:
            owed = self._span
            self._rested_at[key] = self._clock() + owed
        return max(0.0, owed)


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
