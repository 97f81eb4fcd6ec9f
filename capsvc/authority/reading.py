"""What the caveats of a verified token say, worked out once for a token and a vocabulary.

Only what is under a right MAC gets here. Everything that depends on neither clock nor request is settled: what the
issuer states, which restrictions on those facts and on the audience hold, which caveats can never hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from capsvc.grants import Fact
from capsvc.macaroon.chain import VerifiedMacaroon
from capsvc.macaroon.decode import RawCaveat
from capsvc.macaroon.encoding import printable
from caveats import (
    Caveat,
    CaveatError,
    Comparison,
    Refused,
    TimeBefore,
    Vocabulary,
    check,
    lower_bound,
    parse,
    upper_bound,
)

__all__ = ["Check", "ParsedCaveats", "Reading", "read"]

ISSUER: Final = "issuer"
HOLDER: Final = "holder"
DISCHARGE: Final = "discharge"
SATISFIED: Final = "satisfied"
CLOCK: Final = frozenset({"clock", "weekday"})


@dataclass(frozen=True, slots=True)
class Check:
    """One caveat of one macaroon. ``settled`` is its verdict where neither clock nor request can change it, else None.

    ``caveat`` is None for what does not parse and for a third-party caveat; both are settled.
    """

    text: str
    source: str
    caveat: Caveat | None
    settled: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """The caveats of a root and its discharges, in order. Bounds of time are in nanoseconds since the epoch."""

    checks: tuple[Check, ...]
    facts: dict[str, Fact]
    issuer_bound: int | None
    earliest_bound: int | None
    latest_start: int | None
    root_caveats: tuple[str, ...]
    open_checks: tuple[Check, ...] = field(init=False)
    """Those that are not satisfied for good and that step 6 has not judged already, in order."""
    deferred_checks: tuple[Check, ...] = field(init=False)
    """Of these, the ones of an administrator's credential that speak of what a request acts on."""
    immediate_checks: tuple[Check, ...] = field(init=False)
    """Of these, all others."""
    asks_clock: bool = field(init=False)
    """Whether one of these asks for the time of day or the day of the week."""

    def __post_init__(self) -> None:
        unsettled = tuple([c for c in self.checks if c.settled != SATISFIED and not _is_time(c.caveat)])
        object.__setattr__(self, "open_checks", unsettled)
        object.__setattr__(self, "deferred_checks", tuple([c for c in unsettled if _is_deferred(c)]))
        object.__setattr__(self, "immediate_checks", tuple([c for c in unsettled if not _is_deferred(c)]))
        object.__setattr__(self, "asks_clock", any(_attribute(c.caveat) in CLOCK for c in unsettled))

    @property
    def subject(self) -> str | None:
        """The subject that the issuer states."""
        subject = self.facts.get("sub")
        return subject if isinstance(subject, str) else None


def _attribute(caveat: Caveat | None) -> str | None:
    return caveat.attribute if isinstance(caveat, Comparison) else None


def _is_time(caveat: Caveat | None) -> bool:
    return isinstance(caveat, TimeBefore) or _attribute(caveat) == "time"


def _is_deferred(one: Check) -> bool:
    attribute = _attribute(one.caveat)
    return one.settled is None and attribute is not None and attribute.startswith("for.")


class ParsedCaveats:
    """Parsed caveats by their octets, for one vocabulary. Bounded: it starts anew when it is full."""

    CAPACITY: Final = 4096

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._known: dict[tuple[bytes, bool], Caveat | CaveatError] = {}

    def parse(self, octets: bytes, *, discharge: bool) -> Caveat | CaveatError:
        """Return the caveat, or why it is none."""
        key = (octets, discharge)
        found = self._known.get(key)
        if found is None:
            found = self._parse(octets, discharge=discharge)
            if len(self._known) >= self.CAPACITY:
                self._known.clear()
            self._known[key] = found
        return found

    def _parse(self, octets: bytes, *, discharge: bool) -> Caveat | CaveatError:
        try:
            return parse(octets, self.vocabulary, discharge=discharge)
        except CaveatError as error:
            return error.with_traceback(None)


def read(
    parsed: ParsedCaveats,
    audience: str,
    root: VerifiedMacaroon,
    issuer_caveats: int,
    discharges: Sequence[VerifiedMacaroon],
) -> Reading:
    """Read a root, whose first ``issuer_caveats`` are the issuer's, and its matched discharges."""
    caveats = root.macaroon.caveats
    issued = [_parsed(parsed, raw, discharge=False) for raw in caveats[:issuer_caveats]]
    facts = _facts(parsed.vocabulary, issued)
    settle = _Settler(parsed.vocabulary, audience, facts)
    checks = [settle.issuer(raw, found) for raw, found in zip(caveats, issued, strict=False)]
    checks += [settle.other(raw, _parsed(parsed, raw, discharge=False), HOLDER) for raw in caveats[issuer_caveats:]]
    for discharge in discharges:
        for raw in discharge.macaroon.caveats:
            checks.append(settle.other(raw, _parsed(parsed, raw, discharge=True), DISCHARGE))
    timed = [c.caveat for c in checks if c.caveat is not None and _is_time(c.caveat)]
    return Reading(
        checks=tuple(checks),
        facts=facts,
        issuer_bound=_earliest([found for found in issued if found is not None and not isinstance(found, CaveatError)]),
        earliest_bound=_earliest(timed),
        latest_start=max((start for start in map(lower_bound, timed) if start is not None), default=None),
        root_caveats=tuple([printable(raw.cid) for raw in caveats if raw.vid is None]),
    )


def _parsed(parsed: ParsedCaveats, raw: RawCaveat, *, discharge: bool) -> Caveat | CaveatError | None:
    return None if raw.vid is not None else parsed.parse(raw.cid, discharge=discharge)


def _earliest(caveats: Sequence[Caveat]) -> int | None:
    return min((bound for bound in map(upper_bound, caveats) if bound is not None), default=None)


def _is_fact(vocabulary: Vocabulary, found: object) -> bool:
    if not isinstance(found, Comparison):
        return False
    attribute = vocabulary.get(found.attribute)
    return attribute is not None and attribute.fact


def _facts(vocabulary: Vocabulary, issued: Sequence[object]) -> dict[str, Fact]:
    """Return what the issuer states; of two values the first."""
    facts: dict[str, Fact] = {}
    for found in issued:
        if isinstance(found, Comparison) and found.operator == "=" and _is_fact(vocabulary, found):
            value = found.operand
            if isinstance(value, (str, int)):
                facts.setdefault(found.attribute, value)
    return facts


class _Settler:
    """Gives each caveat the verdict that it has whatever the clock and the request."""

    def __init__(self, vocabulary: Vocabulary, audience: str, facts: dict[str, Fact]) -> None:
        self._vocabulary = vocabulary
        self._known: dict[str, object] = {**facts, "audience": audience}

    def issuer(self, raw: RawCaveat, found: Caveat | CaveatError | None) -> Check:
        if isinstance(found, Comparison) and found.operator == "=" and _is_fact(self._vocabulary, found):
            stated = self._known[found.attribute] == found.operand
            return Check(printable(raw.cid), ISSUER, found, SATISFIED if stated else "fact-conflict")
        return self.other(raw, found, ISSUER)

    def other(self, raw: RawCaveat, found: Caveat | CaveatError | None, source: str) -> Check:
        if found is None:  # a third party's: step 4 has matched its discharge
            return Check(printable(raw.location or b""), source, None, SATISFIED)
        text = printable(raw.cid)
        if isinstance(found, CaveatError):
            return Check(text, source, None, found.code)
        return Check(text, source, found, self._verdict(found))

    def _verdict(self, found: Caveat) -> str | None:
        if isinstance(found, TimeBefore):
            return None
        if not isinstance(found, Comparison):  # a declaration, which no registered discharger makes
            return SATISFIED
        if found.attribute not in self._known:
            return "fact-conflict" if _is_fact(self._vocabulary, found) else None
        outcome = check(found, self._known)
        return outcome.code if isinstance(outcome, Refused) else SATISFIED
