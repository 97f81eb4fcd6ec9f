"""What the caveats of a verified token say, worked out once for a token and a vocabulary.

Only what is under a right MAC gets here. Everything that depends on neither clock nor request is settled: what the
issuer states, which restrictions on those facts and on the audience hold, which caveats can never hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    Vocabulary,
    check,
    lower_bound,
    parse,
    upper_bound,
)

__all__ = [
    "DISCHARGE",
    "HOLDER",
    "ISSUER",
    "SATISFIED",
    "STATEMENT",
    "TIME",
    "Asked",
    "Check",
    "ParsedCaveats",
    "Reading",
    "read",
]

ISSUER: Final = "issuer"
HOLDER: Final = "holder"
DISCHARGE: Final = "discharge"

SATISFIED: Final = "satisfied"

TIME: Final = "time"
CLOCK: Final = "clock"
TARGET: Final = "target"
STATEMENT: Final = "statement"
OTHER: Final = "other"

DECLARED: Final = b"declared"  # the first word of what a discharger states


class Asked(NamedTuple):
    """What a root's caveat asks of a registered discharger: under which of his keys, which names he must declare."""

    discharger: str
    key: bytes
    names: tuple[str, ...]


class Check(NamedTuple):
    """One caveat of one macaroon. ``settled`` is its verdict where neither clock nor request can change it, else None.

    ``caveat`` is None for what does not parse and for a third party's; both are settled. ``about`` says what it asks
    for: the time (which step 6 judges), the clock, the target of an administrator's request, what issuer or dischargers
    state, or else the request.
    """

    text: str
    source: str
    caveat: Caveat | None
    settled: str | None
    about: str


class _Known(NamedTuple):
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
    LONGEST: Final = 128  # octets; long lists would take thirty times as much parsed, and are rarely seen twice

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
        known = self._parse(raw.cid, source)
        if len(raw.cid) <= self.LONGEST:
            table = self._known[source]
            if len(table) >= self.CAPACITY:
                table.clear()
            table[raw.cid] = known
        return known

    def _parse(self, octets: bytes, source: str) -> _Known:
        try:
            caveat = parse(octets, self.vocabulary, discharge=source == DISCHARGE)
        except CaveatError as error:
            about = STATEMENT if octets.partition(b" ")[0] == DECLARED else OTHER
            return _Known(Check(printable(octets), source, None, error.code, about))
        text = octets.decode("ascii")  # as all that is accepted
        if isinstance(caveat, Declared):  # in a discharge; it restricts nothing
            return _Known(Check(text, source, caveat, SATISFIED, STATEMENT))
        upper, lower = upper_bound(caveat), lower_bound(caveat)
        if upper is not None or lower is not None:
            return _Known(Check(text, source, caveat, None, TIME), upper, lower, timed=True)
        return self._place(Check(text, source, caveat, None, _about(caveat)))

    def _place(self, unsettled: Check) -> _Known:
        """Return what is not about time, with who settles it."""
        caveat = unsettled.caveat
        attribute = self.vocabulary.get(caveat.attribute) if isinstance(caveat, Comparison) else None
        fact = attribute is not None and attribute.fact
        return _Known(
            unsettled._replace(about=STATEMENT) if fact else unsettled,
            states=fact and unsettled.source == ISSUER and isinstance(caveat, Comparison) and caveat.operator == "=",
            of_token=fact or (attribute is not None and attribute.source == "audience"),
            fact=fact,
        )


def _about(caveat: Caveat) -> str:
    name = caveat.attribute if isinstance(caveat, Comparison) else ""
    if name.startswith("for."):
        return TARGET
    return CLOCK if name in {"clock", "weekday"} else OTHER


def _third(raw: RawCaveat, source: str) -> _Known:
    """Return a third party's caveat, whose discharge step 4 has matched; it is named by its location."""
    return _Known(Check(printable(raw.location or b""), source, None, SATISFIED, STATEMENT))


class Reading:
    """The caveats of a root and its matched discharges, in order. Bounds of time are in nanoseconds since the epoch."""

    __slots__ = (
        "_target_checks",
        "asks_clock",
        "checks",
        "declared",
        "earliest_bound",
        "facts",
        "issuer_bound",
        "latest_start",
        "open_checks",
        "subject",
    )

    def __init__(self, facts: dict[str, Fact]) -> None:
        self.facts = facts
        subject = facts.get("sub")
        self.subject = subject if isinstance(subject, str) else None
        self.checks: list[Check] = []
        self.open_checks: list[Check] = []
        """All that is not satisfied for good and that step 6 does not judge."""
        self._target_checks: list[Check] | None = None
        self.declared: dict[str, dict[str, str]] = {}
        """What dischargers state of what the issuer asked them to state, by their names."""
        self.asks_clock = False
        self.issuer_bound: int | None = None
        self.earliest_bound: int | None = None
        self.latest_start: int | None = None

    def add(self, caveats: list[_Known], said: Mapping[str, object]) -> None:
        """Take in caveats, those on facts and audience settled by what the token says."""
        checks, open_checks = self.checks, self.open_checks
        for known in caveats:
            one = _settled(known, said) if known.of_token else known.check
            checks.append(one)
            if known.timed:
                self._bound(known)
            elif one.settled != SATISFIED:
                open_checks.append(one)
                if one.about == CLOCK:
                    self.asks_clock = True

    def hear(self, caveats: list[_Known], asked: Asked) -> list[_Known]:
        """Take in what a discharge declares of what was asked; return its caveats, what contradicts settled."""
        heard = self.declared.setdefault(asked.discharger, {})
        return [_heard(known, asked.names, heard) for known in caveats]

    def miss(self, position: int) -> None:
        """Let the root's third-party caveat at a position fail, after all others: a name was not declared."""
        missed = self.checks[position] = self.checks[position]._replace(settled="discharge-invalid")
        self.open_checks.append(missed)

    def _bound(self, known: _Known) -> None:
        upper, lower = known.upper, known.lower
        if upper is not None and (self.earliest_bound is None or upper < self.earliest_bound):
            self.earliest_bound = upper
        if lower is not None and (self.latest_start is None or lower > self.latest_start):
            self.latest_start = lower

    @property
    def immediate_checks(self) -> list[Check]:
        """The open checks but those on the target of an administrator's request."""
        if not self.target_checks:
            return self.open_checks
        return [one for one in self.open_checks if one.about != TARGET]

    @property
    def target_checks(self) -> list[Check]:
        """The checks on the target of an administrator's request."""
        if self._target_checks is None:
            self._target_checks = [one for one in self.open_checks if one.about == TARGET]
        return self._target_checks


def read(
    parsed: ParsedCaveats,
    audience: str,
    root: VerifiedMacaroon,
    issuer_caveats: int,
    discharges: Sequence[VerifiedMacaroon],
    *,
    asked: Mapping[int, Asked | None],
) -> Reading:
    """Read a root, whose first ``issuer_caveats`` are the issuer's, and its matched discharges.

    ``asked`` is what the issuer's third-party caveats ask, by their positions; the discharges of the root's caveats
    come first, in the caveats' order.
    """
    caveats = root.macaroon.caveats
    issued = parsed.known(caveats[:issuer_caveats], ISSUER)
    reading = Reading(_stated(issued))
    said = {**reading.facts, "audience": audience}
    reading.add(issued, said)
    reading.issuer_bound = reading.earliest_bound
    if len(caveats) > issuer_caveats:
        reading.add(parsed.known(caveats[issuer_caveats:], HOLDER), said)
    silent: list[int] = []
    answers = [position for position, caveat in enumerate(caveats) if caveat.vid is not None] if discharges else []
    for index, discharge in enumerate(discharges):
        known = parsed.known(discharge.macaroon.caveats, DISCHARGE)
        question = asked.get(answers[index]) if index < len(answers) else None  # a nested discharge states nothing
        if question is not None and question.names:
            known = reading.hear(known, question)
            if not _declared_names(known).issuperset(question.names):
                silent.append(answers[index])
        reading.add(known, said)
    for position in silent:
        reading.miss(position)
    return reading


def _heard(known: _Known, names: tuple[str, ...], heard: dict[str, str]) -> _Known:
    """Return a caveat of a discharge; what it declares of ``names`` is remembered, and may not differ."""
    caveat = known.check.caveat
    if not isinstance(caveat, Declared) or caveat.name not in names:
        return known
    if heard.setdefault(caveat.name, caveat.value) == caveat.value:
        return known
    return known._replace(check=known.check._replace(settled="fact-conflict"))


def _declared_names(caveats: list[_Known]) -> set[str]:
    return {known.check.caveat.name for known in caveats if isinstance(known.check.caveat, Declared)}


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
