"""What the caveats of a verified token say, worked out once for a token and a vocabulary.

Only what is under a right MAC gets here. Everything that depends on neither clock nor request is settled: what the
issuer states, which restrictions on those facts and on the audience hold, which caveats can never hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from capsvc.grants import Fact
from capsvc.macaroon.chain import VerifiedMacaroon
from capsvc.macaroon.decode import RawCaveat
from capsvc.macaroon.encoding import printable
from caveats import (
    Caveat,
    CaveatError,
    Comparison,
    Declared,
    Satisfied,
    TimeBefore,
    Vocabulary,
    check,
    lower_bound,
    parse,
    upper_bound,
)

__all__ = ["DISCHARGE", "HOLDER", "ISSUER", "SATISFIED", "Check", "ParsedCaveats", "Reading", "read"]

ISSUER: Final = "issuer"
HOLDER: Final = "holder"
DISCHARGE: Final = "discharge"

SATISFIED: Final = "satisfied"

TIME: Final = "time"
CLOCK: Final = "clock"
TARGET: Final = "target"
OTHER: Final = "other"


class Check(NamedTuple):
    """One caveat of one macaroon. ``settled`` is its verdict where neither clock nor request can change it, else None.

    ``caveat`` is None for what does not parse and for a third party's; both are settled. ``about`` says what it asks
    for: the time (which step 6 judges), the clock, the target of an administrator's request, or else the request.
    """

    text: str
    source: str
    caveat: Caveat | None
    settled: str | None
    about: str


@dataclass(frozen=True, slots=True)
class _Known:
    """A parsed caveat and what follows from it alone. Bounds are in nanoseconds since the epoch."""

    check: Check
    upper: int | None = None
    lower: int | None = None
    timed: bool = False
    """Whether it has one of these bounds."""
    states: bool = False
    """Whether, from an issuer, it states a fact."""
    of_token: bool = False
    """Whether its verdict is settled by what the token itself says: its facts, its audience."""
    fact: bool = False


class ParsedCaveats:
    """Parsed caveats by their octets, for one vocabulary. Bounded: it starts anew when it is full."""

    CAPACITY: Final = 4096

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._known: dict[str, dict[bytes, _Known]] = {ISSUER: {}, HOLDER: {}, DISCHARGE: {}}

    def known(self, caveats: Iterable[RawCaveat], source: str) -> list[_Known]:
        """Return the caveats of one source, parsed, in order."""
        table = self._known[source]
        return [
            table.get(raw[0]) or self._learn(raw, source) if raw[1] is None else _third(raw, source) for raw in caveats
        ]

    def _learn(self, raw: RawCaveat, source: str) -> _Known:
        table = self._known[source]
        if len(table) >= self.CAPACITY:
            table.clear()
        known = table[raw.cid] = self._parse(raw.cid, source)
        return known

    def _parse(self, octets: bytes, source: str) -> _Known:
        text = printable(octets)
        try:
            caveat = parse(octets, self.vocabulary, discharge=source == DISCHARGE)
        except CaveatError as error:
            return _Known(Check(text, source, None, error.code, OTHER))
        if isinstance(caveat, Declared):  # in a discharge; reported nowhere, since no discharger is registered
            return _Known(Check(text, source, caveat, SATISFIED, OTHER))
        return self._place(Check(text, source, caveat, None, _about(caveat)), caveat)

    def _place(self, unsettled: Check, caveat: Caveat) -> _Known:
        attribute = self.vocabulary.get(caveat.attribute) if isinstance(caveat, Comparison) else None
        fact = attribute is not None and attribute.fact
        upper, lower = upper_bound(caveat), lower_bound(caveat)
        return _Known(
            unsettled,
            upper,
            lower,
            timed=upper is not None or lower is not None,
            states=fact and unsettled.source == ISSUER and isinstance(caveat, Comparison) and caveat.operator == "=",
            of_token=fact or (attribute is not None and attribute.source == "audience"),
            fact=fact,
        )


def _about(caveat: Caveat) -> str:
    if isinstance(caveat, TimeBefore):
        return TIME
    name = caveat.attribute if isinstance(caveat, Comparison) else ""
    if name.startswith("for."):
        return TARGET
    return {"time": TIME, "clock": CLOCK, "weekday": CLOCK}.get(name, OTHER)


def _third(raw: RawCaveat, source: str) -> _Known:
    """Return a third party's caveat, whose discharge step 4 has matched; it is named by its location."""
    return _Known(Check(printable(raw.location or b""), source, None, SATISFIED, OTHER))


class Reading:
    """The caveats of a root and its matched discharges, in order. Bounds of time are in nanoseconds since the epoch."""

    __slots__ = ("asks_clock", "checks", "earliest_bound", "facts", "issuer_bound", "latest_start", "open_checks")

    def __init__(self, checks: list[Check], facts: dict[str, Fact], issued: list[_Known], others: list[_Known]) -> None:
        self.checks = checks
        self.facts = facts
        self.issuer_bound, start = _bounds(issued)
        bound, later_start = _bounds(others)
        self.earliest_bound = self.issuer_bound if bound is None else min(bound, self.issuer_bound or bound)
        self.latest_start = start if later_start is None else max(later_start, start or 0)
        # All that is not satisfied for good and that step 6 does not judge.
        self.open_checks = [one for one in checks if one[3] != SATISFIED and one[4] != TIME]
        self.asks_clock = CLOCK in [one[4] for one in self.open_checks]

    @property
    def subject(self) -> str | None:
        """The subject that the issuer states."""
        subject = self.facts.get("sub")
        return subject if isinstance(subject, str) else None

    @property
    def immediate_checks(self) -> list[Check]:
        """The open checks but those on the target of an administrator's request."""
        return [one for one in self.open_checks if one.about != TARGET]

    @property
    def target_checks(self) -> list[Check]:
        """The checks on the target of an administrator's request."""
        return [one for one in self.open_checks if one.about == TARGET]


def read(
    parsed: ParsedCaveats,
    audience: str,
    root: VerifiedMacaroon,
    issuer_caveats: int,
    discharges: Sequence[VerifiedMacaroon],
) -> Reading:
    """Read a root, whose first ``issuer_caveats`` are the issuer's, and its matched discharges."""
    caveats = root.macaroon.caveats
    issued = parsed.known(caveats[:issuer_caveats], ISSUER)
    others = parsed.known(caveats[issuer_caveats:], HOLDER)
    for discharge in discharges:
        others += parsed.known(discharge.macaroon.caveats, DISCHARGE)
    facts = _stated(issued)
    said = {**facts, "audience": audience}
    checks = [_settled(known, said) if known.of_token else known.check for known in issued + others]
    return Reading(checks, facts, issued, others)


def _bounds(caveats: list[_Known]) -> tuple[int | None, int | None]:
    """Return the earliest upper and the latest lower bound of time."""
    upper: int | None = None
    lower: int | None = None
    for known in caveats:
        if known.timed:
            if known.upper is not None and (upper is None or known.upper < upper):
                upper = known.upper
            if known.lower is not None and (lower is None or known.lower > lower):
                lower = known.lower
    return upper, lower


def _stated(issued: list[_Known]) -> dict[str, Fact]:
    """Return what the issuer states; of two values the first."""
    facts: dict[str, Fact] = {}
    for known in issued:
        if not known.states:
            continue
        caveat = known.check.caveat
        if isinstance(caveat, Comparison) and isinstance(caveat.operand, str | int):
            facts.setdefault(caveat.attribute, caveat.operand)
    return facts


def _settled(known: _Known, said: Mapping[str, object]) -> Check:
    """Return the check of a caveat on a fact or on the audience, with its verdict."""
    one = known.check
    if not isinstance(one.caveat, Comparison):
        return one
    if known.fact and one.caveat.attribute not in said:
        return one._replace(settled="fact-conflict")
    if isinstance(check(one.caveat, said), Satisfied):
        return one._replace(settled=SATISFIED)
    return one._replace(settled="fact-conflict" if known.states else "caveat-refused")
