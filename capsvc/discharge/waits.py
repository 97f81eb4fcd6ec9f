"""Discharges that wait for somebody: who began them, with which two secrets, and how each of them ended.

The *visit* secret is for the person who decides, the *wait* secret for the program that began. Both have 128 random
bits, are good for ten minutes, and are spent: the visit by consent or refusal, the wait by its answer. Whoever asks for
that and goes away before there is one may ask again; two cannot ask at once. What a wait brings is a *token*, with
which the same caveat is asked for again; it is spent by its right use or a third wrong one.

Whoever knows a caveat id can begin discharges of it. They only take each other's room: there are 64 of one id at most,
and with another one the oldest of them is over, whoever asks for its answer is told so, and its page decides nothing.
Nor can one caller, or all whom one first party sends, take the room of everybody: each has a part of it.

All of it is in memory, found by the SHA-256 of a secret, and bounded: a restart ends it. A `Waits` belongs to one event
loop; a program that waits for its answer is woken from whatever thread consent comes.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from secrets import token_bytes
from typing import Final

from capsvc.discharge.callers import network_of
from capsvc.macaroon.encoding import b64encode

__all__ = [
    "MAX_WAITS",
    "MAX_WAITS_OF_ADDRESS",
    "MAX_WAITS_OF_CAVEAT",
    "MAX_WAITS_OF_FIRST_PARTY",
    "MAX_WRONG_USES",
    "TOKEN_SECONDS",
    "WAIT_SECONDS",
    "Begun",
    "TooManyWaits",
    "WaitGone",
    "WaitRefused",
    "Waits",
    "digest",
]

MAX_WAITS: Final = 10_000
"""Waits and tokens in all."""

MAX_WAITS_OF_FIRST_PARTY: Final = 5_000
"""Waits for whose condition one first party asks."""

MAX_WAITS_OF_ADDRESS: Final = 1_000
"""Waits that began from one address; all whose address is not known share one."""

MAX_WAITS_OF_CAVEAT: Final = 64
"""Of one caveat id: with one more, its oldest wait is over."""

MAX_WRONG_USES: Final = 3
WAIT_SECONDS: Final = 600
TOKEN_SECONDS: Final = 60
"""How long a token is good, from when a wait brought it."""

LEAVING_SECONDS: Final = 0.2
"""How long it may take to learn that a client is gone: its next connection can be faster than the end of its last."""

SECRET_OCTETS: Final = 16  # 128 bits


class TooManyWaits(Exception):  # noqa: N818 - what there are
    """There are as many already as there may be: in all, of that first party, or from that address."""


class WaitRefused(Exception):  # noqa: N818 - what it was
    """Whoever was asked refused."""


class WaitGone(Exception):  # noqa: N818 - what it is
    """There is no such wait: it is unknown, answered, over, or somebody else asks for its answer at the moment."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A discharge that waits for somebody.

    ``visit`` and ``wait`` are secrets of 22 characters; ``caveat`` is the SHA-256 of the octets that hold the
    condition; ``first_party`` the 32 octets of the key of whoever asks for it; ``condition`` the text after
    ``need-declared``, ``names`` what it wants declared; ``begun_at`` Unix seconds; ``address`` that of whoever began.
    """

    visit: str = field(repr=False)
    wait: str = field(repr=False)
    caveat: bytes
    first_party: bytes
    condition: str
    names: tuple[str, ...]
    begun_at: int
    address: str | None


@dataclass(slots=True)
class _Wait:
    """What became of it: nobody has decided as long as there is neither a user nor a refusal.

    ``waiter`` is there while somebody asks for its answer.
    """

    begun: Begun
    user: str | None = None
    refused: bool = False
    over: bool = False
    waiter: asyncio.Future[None] | None = None

    @property
    def ends_at(self) -> int:
        return self.begun.begun_at + WAIT_SECONDS

    @property
    def ended(self) -> bool:
        return self.user is not None or self.refused or self.over

    def wake(self) -> None:
        """Let the program that waits look, in its own loop."""
        waiter = self.waiter
        if waiter is not None:
            with suppress(RuntimeError):  # its loop is closed: nobody waits
                waiter.get_loop().call_soon_threadsafe(_settle, waiter)


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


@dataclass(frozen=True, slots=True)
class _Token:
    user: str
    caveat: bytes
    ends_at: int
    wrong_uses: int = 0


class Waits:
    """All waits of one discharger. ``clock`` gives Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_visit: OrderedDict[bytes, _Wait] = OrderedDict()  # in the order in which they began
        self._by_wait: dict[bytes, _Wait] = {}
        self._of_caveat: dict[bytes, list[_Wait]] = {}
        self._of_caller: Counter[bytes | str] = Counter()  # how many, by first party and by network
        self._tokens: OrderedDict[bytes, _Token] = OrderedDict()  # in the order in which they were made

    def __len__(self) -> int:
        """How many waits and tokens there are."""
        return len(self._by_visit) + len(self._tokens)

    def begin(
        self, *, caveat: bytes, first_party: bytes, condition: str, names: tuple[str, ...], address: str | None
    ) -> Begun:
        """Begin to wait. Raises `TooManyWaits`.

        Args:
            caveat: SHA-256 of the octets that hold the condition.
            first_party: the key of whoever asks for it, 32 octets.
            condition: the text after ``need-declared``.
            names: what it wants declared.
            address: of whoever began; None where it is unknown.

        """
        self._sweep()
        network = network_of(address)
        if self._of_caller[first_party] >= MAX_WAITS_OF_FIRST_PARTY or self._of_caller[network] >= MAX_WAITS_OF_ADDRESS:
            raise TooManyWaits  # before anybody gives way
        siblings = self._of_caveat.get(caveat, [])
        if len(siblings) >= MAX_WAITS_OF_CAVEAT:
            self._end(siblings[0])
        if len(self) >= MAX_WAITS:
            raise TooManyWaits
        begun = Begun(_secret(), _secret(), caveat, first_party, condition, names, int(self._clock()), address)
        wait = _Wait(begun)
        self._by_visit[_digest(begun.visit)] = wait
        self._by_wait[_digest(begun.wait)] = wait
        self._of_caveat.setdefault(caveat, []).append(wait)
        self._of_caller.update([first_party, network])
        return begun

    def find(self, visit: str) -> Begun | None:
        """What a visit is about, as long as it can be decided. It spends nothing."""
        wait = self._open(visit)
        return None if wait is None else wait.begun

    def consent(self, visit: str, user: str) -> bool:
        """Let the wait bring a token for a user; False if the visit is spent, unknown or over."""
        if not user:
            raise ValueError("a user has a name")
        wait = self._open(visit)
        if wait is None:
            return False
        wait.user = user
        wait.wake()
        return True

    def refuse(self, visit: str) -> bool:
        """Let the wait be told that it was refused; False if the visit is spent, unknown or over."""
        wait = self._open(visit)
        if wait is None:
            return False
        wait.refused = True
        wait.wake()
        return True

    async def outcome(self, wait: str) -> bytes:
        """The token that a wait brings, once there has been consent. Cancelled before that, it can be asked again.

        Raises:
            WaitRefused: there was a refusal.
            WaitGone: it is unknown, was answered, is asked by somebody else, or is over, from the start or by now.

        """
        found = self._waiting(wait)
        if found.waiter is not None:
            await asyncio.sleep(LEAVING_SECONDS)
            found = self._waiting(wait)
            if found.waiter is not None:
                raise WaitGone
        await self._ended(found)
        self._end(found)
        return self._brought(found)

    def user(self, token: bytes, caveat: bytes) -> str | None:
        """Who consented to a caveat, by its token; None for a token that is unknown, spent, or for another caveat."""
        self._sweep()
        key = digest(token)
        found = self._tokens.get(key)
        if found is None or found.ends_at <= self._clock():
            return None
        if found.caveat == caveat:
            del self._tokens[key]
            return found.user
        wrong_uses = found.wrong_uses + 1
        if wrong_uses < MAX_WRONG_USES:
            self._tokens[key] = replace(found, wrong_uses=wrong_uses)
        else:
            del self._tokens[key]
        return None

    def close(self) -> None:
        """End them all: whoever waits is told that it is over."""
        for wait in list(self._by_visit.values()):
            self._end(wait)
        self._tokens.clear()

    async def _ended(self, wait: _Wait) -> None:
        """Return when there is a decision, or it is too late for one."""
        wait.waiter = asyncio.get_running_loop().create_future()  # first, so that no decision goes unheard
        try:
            if not wait.ended:
                await asyncio.wait([wait.waiter], timeout=wait.ends_at - self._clock())
        finally:
            wait.waiter = None

    def _brought(self, wait: _Wait) -> bytes:
        if wait.refused:
            raise WaitRefused
        if wait.user is None:
            raise WaitGone
        token = token_bytes(SECRET_OCTETS)
        ends_at = int(self._clock()) + TOKEN_SECONDS
        self._tokens[digest(token)] = _Token(wait.user, wait.begun.caveat, ends_at)
        return token

    def _waiting(self, wait: str) -> _Wait:
        """The wait with that secret. Raises `WaitGone`."""
        self._sweep()
        found = self._by_wait.get(_digest(wait))
        if found is None or found.ends_at <= self._clock():
            raise WaitGone
        return found

    def _open(self, visit: str) -> _Wait | None:
        self._sweep()
        wait = self._by_visit.get(_digest(visit))
        return None if wait is None or wait.ended or wait.ends_at <= self._clock() else wait

    def _end(self, wait: _Wait) -> None:
        """Forget a wait, and let whoever waits for it know."""
        begun = wait.begun
        if self._by_visit.pop(_digest(begun.visit), None) is None:
            return
        del self._by_wait[_digest(begun.wait)]
        siblings = self._of_caveat[begun.caveat]
        siblings.remove(wait)
        if not siblings:
            del self._of_caveat[begun.caveat]
        for caller in (begun.first_party, network_of(begun.address)):
            self._of_caller[caller] -= 1
            if not self._of_caller[caller]:
                del self._of_caller[caller]
        wait.over = True
        wait.wake()

    def _sweep(self) -> None:
        """Forget what is over; of a clock that was set back it is what is looked for that counts (`_open`, `user`)."""
        now = self._clock()
        while self._by_visit and (wait := next(iter(self._by_visit.values()))).ends_at <= now:
            self._end(wait)
        while self._tokens and next(iter(self._tokens.values())).ends_at <= now:
            self._tokens.popitem(last=False)


def _secret() -> str:
    return b64encode(token_bytes(SECRET_OCTETS))


def _digest(secret: str) -> bytes:
    """What a secret is found by: how long that takes says nothing about those that there are."""
    return digest(secret.encode("utf-8", "surrogatepass"))


def digest(octets: bytes) -> bytes:
    """SHA-256: what a caveat and a secret are known by here."""
    return sha256(octets).digest()
