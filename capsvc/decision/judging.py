"""Steps 5 to 8 of the decision, on a root whose MAC is right and whose discharges are matched.

==  ===========================================================================================================
5   revocation by id, branch, subject, key: ``revoked``
6   time: ``no-expiry`` ``expired`` ``not-yet-valid``
7   the context is well formed: ``context-invalid``
8   every other caveat: ``caveat-malformed`` ``caveat-unknown`` ``context-missing`` ``caveat-refused`` ``fact-conflict``
==  ===========================================================================================================

The authority and whoever verifies in its stead call the same functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from capsvc.decision.instants import NANOSECONDS, aware
from capsvc.decision.reading import DISCHARGE, SATISFIED, TIME, Check, Reading
from capsvc.decision.revocations import Revocations
from capsvc.errors import Denied
from capsvc.grants import Grant, Verdict
from capsvc.macaroon.identifier import Identifier
from caveats import SATISFIED as HOLDS
from caveats import (
    Caveat,
    Comparison,
    ContextError,
    Refused,
    Vocabulary,
    check,
    clock_values,
    lower_bound,
    read_context,
    upper_bound,
)

__all__ = [
    "Context",
    "Proved",
    "ReadContext",
    "allowed_words",
    "check_caveats",
    "check_revocation",
    "check_time",
    "context_values",
    "first_refusal",
    "grant_of",
    "verdicts_of",
]

NOTHING_DECLARED: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType({})

AHEAD: Final = 60  # seconds that an issue time may lie ahead of the clock


class ReadContext(NamedTuple):
    """A request's context that is well formed, typed as `check` takes it."""

    values: Mapping[str, object]


Context = Mapping[str, object] | ReadContext


class Proved(Protocol):
    """A root that is proved ours, as far as these steps need to know it."""

    @property
    def identifier(self) -> Identifier:
        """What its identifier says."""
        ...

    @property
    def audience(self) -> str:
        """The audience of its key."""
        ...

    @property
    def key_revoked(self) -> bool:
        """Whether its key has been revoked."""
        ...

    def branches(self) -> tuple[bytes, ...]:
        """Return the branches of its chain points, from the last issuer caveat's to the last."""
        ...


def check_revocation(proved: Proved, reading: Reading, revocations: Revocations) -> None:
    """Step 5. Raises `Denied`."""
    token_id = proved.identifier.tid
    if proved.key_revoked or (revocations.touch(token_id) and _family_revoked(proved, revocations)):
        raise Denied("revoked")
    if reading.subject is not None:
        watermark = revocations.watermark(proved.audience, reading.subject)
        if watermark is not None and proved.identifier.issued_at <= watermark:
            raise Denied("revoked")


def _family_revoked(proved: Proved, revocations: Revocations) -> bool:
    """Whether the whole family is, or a branch that the root is of: only then need its branches be computed."""
    token_id = proved.identifier.tid
    if revocations.id_revoked(token_id):
        return True
    revoked = revocations.revoked_branches(token_id)
    return revoked is not None and not revoked.keys().isdisjoint(proved.branches())


def check_time(proved: Proved, reading: Reading, max_ttl: int, now: float) -> int:
    """Step 6; return the effective expiry in Unix seconds. Valid while now < expiry. Raises `Denied`.

    ``max_ttl`` is the audience's, in seconds from the issue.
    """
    if reading.issuer_bound is None or reading.earliest_bound is None:
        raise Denied("no-expiry")
    issued_at = proved.identifier.issued_at
    longest = issued_at + max_ttl
    instant = now * NANOSECONDS
    if instant >= reading.earliest_bound or now >= longest:
        raise Denied("expired")
    if issued_at > now + AHEAD or (reading.latest_start is not None and instant < reading.latest_start):
        raise Denied("not-yet-valid")
    return min(reading.earliest_bound // NANOSECONDS, longest)


def context_values(context: Context, reading: Reading, vocabulary: Vocabulary, now: float) -> Mapping[str, object]:
    """Step 7: the request's values, and the clock's where a caveat asks for them. Raises `Denied`."""
    if isinstance(context, ReadContext):
        values = context.values
    else:
        try:
            values = read_context(context, vocabulary)
        except ContextError as error:
            raise Denied("context-invalid", detail=f"{error}.") from None
        except AttributeError:  # what is no mapping has no items
            raise Denied("context-invalid") from None
    return {**values, **clock_values(int(now))} if reading.asks_clock else values


def check_caveats(checks: list[Check], values: Mapping[str, object]) -> None:
    """Step 8. Raises `Denied`."""
    refusal = first_refusal(checks, values)
    if refusal is not None:
        code, one = refusal
        raise Denied(code, one.text)


def first_refusal(checks: Iterable[Check], values: Mapping[str, object]) -> tuple[str, Check] | None:
    """Return the first check that does not hold for typed values, and its code; None if all hold.

    Whatever is not literally satisfied is refused.
    """
    for one in checks:
        caveat = one.caveat
        if one.settled is None and caveat is not None:
            outcome = check(caveat, values)
            if outcome is not HOLDS:
                return (outcome.code if isinstance(outcome, Refused) else "caveat-refused"), one
        elif one.settled != SATISFIED:
            return one.settled or "caveat-malformed", one
    return None


def allowed_words(checks: Iterable[Check], attribute: str) -> frozenset[str] | None:
    """Return the words that all caveats on an attribute allow together; None where there is no such caveat."""
    allowed: frozenset[str] | None = None
    for one in checks:
        caveat = one.caveat
        if isinstance(caveat, Comparison) and caveat.attribute == attribute:
            words = _words(caveat)
            allowed = words if allowed is None else allowed & words
    return allowed


def _words(caveat: Comparison) -> frozenset[str]:
    """The words that a caveat on a word allows; none for an operator that is not known to allow any."""
    match caveat.operator, caveat.operand:
        case "=", str(word):
            return frozenset({word})
        case "in", tuple(words):
            return frozenset(words)
    return frozenset()


def grant_of(proved: Proved, reading: Reading, expires_at: int) -> Grant:
    """Return the answer to whoever asked; ``expires_at`` is the effective expiry, in Unix seconds."""
    facts = {name: value for name, value in reading.facts.items() if name != "sub"} if reading.facts else {}
    return Grant(
        proved.identifier.tid,
        proved.audience,
        reading.subject,
        aware(proved.identifier.issued_at),
        aware(expires_at),
        MappingProxyType(facts),
        MappingProxyType({who: MappingProxyType(what) for who, what in reading.declared.items()})
        if reading.declared
        else NOTHING_DECLARED,
        tuple([one.text for one in reading.checks if one.source != DISCHARGE and one.caveat is not None]),
    )


def verdicts_of(reading: Reading, context: Context, vocabulary: Vocabulary, now: float) -> tuple[Verdict, ...]:
    """Return the verdict of every caveat of every macaroon, in order, whatever step ended the decision."""
    values, wrong = _readable(context, vocabulary)
    values.update(clock_values(int(now)))
    return tuple([Verdict(one.text, one.source, _told(one, values, wrong, now)) for one in reading.checks])


def _readable(context: Context, vocabulary: Vocabulary) -> tuple[dict[str, object], set[str]]:
    """Return what is well formed of a context, and the names of what is not."""
    if isinstance(context, ReadContext):
        return dict(context.values), set()
    values: dict[str, object] = {}
    wrong: set[str] = set()
    for name, value in context.items() if isinstance(context, Mapping) else ():
        try:
            values.update(read_context({name: value}, vocabulary))
        except ContextError:
            wrong.add(name)
    return values, wrong


def _told(one: Check, values: Mapping[str, object], wrong: set[str], now: float) -> str:
    if one.about == TIME and one.caveat is not None:
        return _time_verdict(one.caveat, now)
    refusal = first_refusal((one,), values)
    if refusal is None:
        return SATISFIED
    verdict, _ = refusal
    if verdict == "context-missing" and getattr(one.caveat, "attribute", None) in wrong:
        return "context-invalid"
    return verdict


def _time_verdict(caveat: Caveat, now: float) -> str:
    """Return what step 6 makes of a bound."""
    upper, lower = upper_bound(caveat), lower_bound(caveat)
    if upper is not None and now * NANOSECONDS >= upper:
        return "expired"
    return "not-yet-valid" if lower is not None and now * NANOSECONDS < lower else SATISFIED
