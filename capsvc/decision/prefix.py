"""Deciding without a root key: on what the authority has confirmed, and on what is narrowed from it.

Whoever has a token has the MAC of its last point: its signature. With it the chain goes on, so that everything narrowed
from a confirmed token can be proved. What the authority alone knows comes with its answer (facts and expiry, the
branches of earlier points) and through its feed (what has been revoked since); and an answer is relied on for five
minutes at most.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from capsvc.decision.branches import branch_of
from capsvc.decision.instants import NANOSECONDS, seconds_of
from capsvc.decision.judging import check_caveats, check_revocation, check_time, context_values, grant_of
from capsvc.decision.reading import ParsedCaveats, Reading, read
from capsvc.decision.revocations import Revocations
from capsvc.errors import Denied, TokenError
from capsvc.grants import Grant
from capsvc.macaroon import identifier
from capsvc.macaroon.bundle import split
from capsvc.macaroon.chain import VerifiedMacaroon, continue_from
from capsvc.macaroon.decode import UnverifiedMacaroon
from capsvc.macaroon.encoding import b64decode
from capsvc.macaroon.identifier import Identifier
from caveats import Vocabulary

__all__ = ["CONFIRMED_SECONDS", "PrefixDecider"]

CONFIRMED_SECONDS: Final = 300
"""How long an answer of the authority is relied on."""

FAMILIES: Final = 10_000  # identifiers of which something is confirmed
OF_FAMILY: Final = 8  # confirmed tokens of one identifier
YOUNG: Final = 4096  # tokens whose reading is remembered by their text; twice as many at most
REMEMBERED_OCTETS: Final = 4096  # of one token's text
CONTEXTS: Final = 16  # that are remembered with one of these
REMEMBERED_CHARACTERS: Final = 256  # of the texts of one context: its path comes from whoever asks
NEVER: Final = 10**12  # seconds: no max_ttl that counts


class _Confirmed(NamedTuple):
    """A token that the authority has allowed: its octets, whose signature is a secret, and what the answer told.

    ``max_ttl`` is the one that the answer's expiry shows, in seconds; ``until`` is by the monotonic clock.
    """

    macaroon: UnverifiedMacaroon
    identifier: Identifier
    audience: str
    kid: str
    branches: tuple[bytes, ...]
    max_ttl: int
    until: float

    def __repr__(self) -> str:
        return f"<confirmed {self.identifier.tid}>"


@dataclass(slots=True)
class _Narrowed:
    """A confirmed token, or one narrowed from it, whose MAC is right: what steps 5 to 8 need (`judging.Proved`)."""

    confirmed: _Confirmed
    identifier: Identifier
    audience: str
    added: tuple[bytes, ...] = field(repr=False)  # MACs of the points after the confirmed one
    reading: Reading
    vocabulary: Vocabulary
    revoked_keys: Mapping[str, float]
    grant: Grant | None = None
    expires_at: int = 0
    allowed: set[object] = field(default_factory=set)
    """Contexts, with the types of their values, for which steps 7 and 8 found nothing; only where no clock is asked."""
    last: Mapping[str, object] | None = None
    """The last of them if it holds text alone, which nothing but the same text is equal to."""

    @property
    def key_revoked(self) -> bool:
        """Whether its key has been revoked."""
        return self.confirmed.kid in self.revoked_keys

    def branches(self) -> tuple[bytes, ...]:
        """Return the branches of its points, from the last issuer caveat's to the last."""
        return (*self.confirmed.branches, *[branch_of(mac) for mac in self.added])


class PrefixDecider:
    """Decides on what is confirmed. No root key, no I/O; for one thread or one event loop at a time.

    Whoever owns it feeds it what the authority answers and what its feed tells.
    """

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        """``clock`` gives Unix seconds, ``monotonic`` seconds that are never set back."""
        self._clock = clock
        self._monotonic = monotonic
        self.revocations = Revocations()
        self.revoked_keys: dict[str, float] = {}
        self.era = 0
        """Which answers may be kept: those that were asked for in the same one."""
        self._parsed = ParsedCaveats(Vocabulary.built_in())
        self._families: OrderedDict[bytes, list[_Confirmed]] = OrderedDict()
        self._young: dict[str, _Narrowed] = {}
        self._old: dict[str, _Narrowed] = {}

    def begin_era(self, vocabulary: Vocabulary | None = None) -> None:
        """Forget what is confirmed, and let no answer count that is still on its way; perhaps with other attributes."""
        self.era += 1
        self._families.clear()
        self._young, self._old = {}, {}
        if vocabulary is not None:
            self._parsed = ParsedCaveats(vocabulary)

    def __len__(self) -> int:
        """How many families something is confirmed of."""
        return len(self._families)

    def confirm(self, bundle: str, grant: Grant, era: int) -> None:
        """Keep what the authority answered about a token, asked with ``prefix`` in that era, if it can be relied on."""
        if era != self.era or grant.kid is None or not grant.branches:
            return
        (macaroon, *discharges) = split(bundle)
        if discharges or any(caveat.vid is not None for caveat in macaroon.caveats):
            return
        found = identifier.parse(macaroon.identifier)
        branches = tuple([b64decode(branch) for branch in grant.branches])
        if found.tid != grant.id or len(branches) != len(macaroon.caveats) - found.issuer_caveats + 1:
            return  # no answer about this token
        reading = self._read(macaroon, found, grant.audience)
        max_ttl = _shown_max_ttl(reading, seconds_of(grant.expires_at), found.issued_at)
        until = self._monotonic() + CONFIRMED_SECONDS
        kept = _Confirmed(macaroon, found, grant.audience, grant.kid, branches, max_ttl, until)
        family = self._families.pop(macaroon.identifier, [])
        others = [one for one in family if one.macaroon != macaroon]
        self._families[macaroon.identifier] = [*others[1 - OF_FAMILY :], kept]
        while len(self._families) > FAMILIES:
            self._families.popitem(last=False)
        self._young.pop(bundle, None)
        self._old.pop(bundle, None)

    def decide(self, bundle: str, audience: str, context: Mapping[str, object]) -> Grant | None:
        """Allow, or raise `Denied` with the code that the authority would have; None where only he can tell."""
        known = self._young.get(bundle) or self._old.get(bundle)
        if known is None or self._monotonic() >= known.confirmed.until:
            known = self._learn(bundle)
            if known is None:
                return None
        if known.audience != audience:
            raise Denied("wrong-audience")
        now = self._clock()
        reading = known.reading
        check_revocation(known, reading, self.revocations)
        expires_at = check_time(known, reading, known.confirmed.max_ttl, now)
        _check_context(known, context, now)
        if known.grant is None or known.expires_at != expires_at:
            known.grant, known.expires_at = grant_of(known, reading, expires_at), expires_at
        return known.grant

    def forget(self, before: float) -> None:
        """Drop the revocations that mattered until before that time, by the clock that they were given with."""
        self.revocations.forget(int(before))
        for kid in [kid for kid, until in self.revoked_keys.items() if until < before]:
            del self.revoked_keys[kid]

    def _learn(self, bundle: str) -> _Narrowed | None:
        """Steps 1 and 2 from a confirmed point; None where there is none. Raises `Denied`."""
        try:
            macaroon, *discharges = split(bundle)
        except TokenError as error:
            raise Denied(error.code) from None
        confirmed = None if discharges else self._confirmed(macaroon)
        if confirmed is None:
            return None
        added = continue_from(confirmed.macaroon, macaroon)
        if added is None:
            raise Denied("invalid-token")
        found, audience = confirmed.identifier, confirmed.audience
        reading, vocabulary = self._read(macaroon, found, audience), self._parsed.vocabulary
        known = _Narrowed(confirmed, found, audience, tuple(added), reading, vocabulary, self.revoked_keys)
        self._remember(bundle, known)
        return known

    def _confirmed(self, macaroon: UnverifiedMacaroon) -> _Confirmed | None:
        """The longest confirmed token that a macaroon was narrowed from."""
        if any([caveat.vid is not None for caveat in macaroon.caveats]):
            return None
        now = self._monotonic()
        best = None
        for one in self._families.get(macaroon.identifier, ()):
            count = len(one.macaroon.caveats)
            if now < one.until and macaroon.caveats[:count] == one.macaroon.caveats:
                best = one if best is None or count > len(best.macaroon.caveats) else best
        return best

    def _read(self, macaroon: UnverifiedMacaroon, found: Identifier, audience: str) -> Reading:
        return read(self._parsed, audience, VerifiedMacaroon(macaroon, ()), found.issuer_caveats, (), asked={})

    def _remember(self, bundle: str, known: _Narrowed) -> None:
        if len(bundle) > REMEMBERED_OCTETS:
            return
        if len(self._young) >= YOUNG:
            self._old, self._young = self._young, {}
        self._young[bundle] = known


def _check_context(known: _Narrowed, context: Mapping[str, object], now: float) -> None:
    """Steps 7 and 8, which say the same of the same token and the same context, the clock aside. Raises `Denied`."""
    if known.last is not None and context == known.last:
        return
    reading = known.reading
    key: object = None
    if not reading.asks_clock:
        try:
            # 1, 1.0 and True are equal, and mean different things.
            key = (*context.items(), *map(type, context.values()))
            if key in known.allowed:
                return
        except (TypeError, AttributeError):  # a value that is no text and no number, or no mapping at all
            key = None
    check_caveats(reading.open_checks, context_values(context, reading, known.vocabulary, now))
    if key is not None and _is_short(context):
        if len(known.allowed) >= CONTEXTS:
            known.allowed.clear()
        known.allowed.add(key)
        if all([type(value) is str for value in context.values()]):
            known.last = dict(context)


def _is_short(context: Mapping[str, object]) -> bool:
    """Whether a context is short enough to be remembered."""
    return sum([len(value) for value in context.values() if isinstance(value, str)]) <= REMEMBERED_CHARACTERS


def _shown_max_ttl(reading: Reading, expires_at: int, issued_at: int) -> int:
    """The audience's longest lifetime, where it is what ends the token first; else one that ends nothing."""
    bound = reading.earliest_bound
    return NEVER if bound is not None and expires_at >= bound // NANOSECONDS else expires_at - issued_at
