"""The decision: one function, one order, one code for each denial.

==  ===========================================================================================================
1   bounds, then strict decoding: ``too-large`` ``malformed``
2   the key by its id, and the root's MAC chain, before any caveat is looked at: ``invalid-token``
3   the key's audience: ``wrong-audience``
4   discharges: ``discharge-missing`` ``discharge-invalid`` ``discharge-unused``
5   revocation by id, branch, subject, key: ``revoked``
6   time: ``no-expiry`` ``expired`` ``not-yet-valid``
7   the context is well formed: ``context-invalid``
8   every other caveat: ``caveat-malformed`` ``caveat-unknown`` ``context-missing`` ``caveat-refused`` ``fact-conflict``
==  ===========================================================================================================

The first step that fails gives the code. What a token's caveats say is worked out once while it is remembered; that
skips work, never a step from 3 on. ``unavailable`` is the code where the state cannot be read. Nothing turns a check
off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

from capsvc.authority.branches import branch_text
from capsvc.authority.instants import NANOSECONDS, aware
from capsvc.authority.keys import REVOKED
from capsvc.authority.presented import Presented, Presenter
from capsvc.authority.reading import DISCHARGE, SATISFIED, STATEMENT, TIME, Check, ParsedCaveats, Reading, read
from capsvc.authority.registry import Asked
from capsvc.authority.view import View
from capsvc.errors import Denied
from capsvc.grants import Grant, Verdict
from capsvc.macaroon.chain import VerifiedMacaroon
from capsvc.store.protocol import StoreUnavailable
from caveats import SATISFIED as HOLDS
from caveats import (
    Caveat,
    ContextError,
    Refused,
    Vocabulary,
    check,
    clock_values,
    lower_bound,
    read_context,
    upper_bound,
)

__all__ = ["ADMINISTRATORS", "Decider", "ReadContext", "Ruling", "Source", "first_refusal", "with_prefix"]

ADMINISTRATORS: Final = "capsvc"
"""The audience of the service's own credentials."""

NOTHING_DECLARED: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType({})

AHEAD: Final = 60  # seconds that an issue time may lie ahead of the clock


class Ruling(NamedTuple):
    """A token that allows the request: what its caveats say, and the answer.

    ``vocabulary`` and ``expires_at`` (Unix seconds) are what they were worked out from. It does not refer to what was
    presented, which remembers it: a token that is shown once is forgotten at once, with no cycle to be found.
    """

    reading: Reading
    grant: Grant
    vocabulary: Vocabulary
    expires_at: int


class Source(NamedTuple):
    """A bundle that may be exchanged: its root, what it asks of dischargers, their discharges, what all of it says."""

    presented: Presented
    asked: Mapping[int, Asked | None]
    matched: tuple[VerifiedMacaroon, ...]
    reading: Reading


class ReadContext(NamedTuple):
    """A request's context that is well formed, typed as `check` takes it."""

    values: Mapping[str, object]


Context = Mapping[str, object] | ReadContext


class Decider:
    """Decides. Holds nothing but what saves work; safe to use from several threads."""

    def __init__(self, follow: Callable[[], View], kept: Callable[[str], bool]) -> None:
        """Take the functions that give the state as it is now, and tell whether a token's row is there.

        They may raise `StoreUnavailable`.
        """
        self.presenter = Presenter(follow)
        self._kept = kept
        self._parsed: dict[bool, ParsedCaveats] = {}

    def decide(
        self,
        bundle: str,
        audience: str,
        context: Context,
        now: float,
        *,
        explain: bool = False,
        deferring: bool = False,
    ) -> tuple[Presented, Ruling]:
        """Allow, or raise `Denied`; return what was presented and the ruling on it.

        ``now`` is in Unix seconds, read once; its fraction counts against a bound that has one. With ``deferring`` the
        caveats on what an administrator's request acts on are left to the caller (`Reading.target_checks`). With
        ``explain`` the grant, or the denial from step 5 on, holds the verdict of every caveat.
        """
        presented, view = self.presenter.present(bundle)
        if presented.key.audience != audience:
            raise Denied("wrong-audience")
        known = presented.memo
        vocabulary = view.vocabulary  # read once: another thread may replace it
        if not isinstance(known, Ruling) or known.vocabulary is not vocabulary:
            known = None
            asked = presented.asked(view.registry)
            reading = _read(self._parsed_for(vocabulary, audience), presented, presented.match(asked), asked)
        else:
            reading = known.reading
        try:
            _check_revocation(presented, reading, view)
            expires_at = _check_time(presented, reading, view, now)
            self._check_swept(presented, reading, view)
            values = _values(context, reading, vocabulary, now)
            _check_caveats(reading.immediate_checks if deferring else reading.open_checks, values)
        except Denied as denied:
            if explain:
                denied.verdicts = _verdicts(reading, context, vocabulary, now)
            raise
        if known is not None and known.expires_at == expires_at:
            ruling = known
        else:
            grant = _grant(presented, reading, expires_at)
            ruling = Ruling(reading, grant, vocabulary, expires_at)
            if not presented.needs_discharges:  # discharges are matched anew each time
                presented.memo = ruling
        if explain:
            told = _verdicts(reading, context, vocabulary, now)
            ruling = ruling._replace(grant=replace(ruling.grant, verdicts=told))
        return presented, ruling

    def target(self, presented: Presented, view: View, now: float) -> dict[str, str | int | None]:
        """Return what an exchange acts on: audience, subject, seconds left (rounded up) and facts of the source."""
        try:
            asked = presented.asked(view.registry)
            matched = presented.match(asked)
        except Denied:  # which the exchange comes to in its turn, if the credential covers it
            asked, matched = {}, ()
        reading = _read(self._parsed_for(view.vocabulary, presented.key.audience), presented, matched, asked)
        audience = view.audiences.get(presented.key.audience)
        ttl = None
        if reading.earliest_bound is not None and audience is not None:
            longest = (presented.identifier.issued_at + audience.max_ttl) * NANOSECONDS
            ttl = math.ceil((min(reading.earliest_bound, longest) - now * NANOSECONDS) / NANOSECONDS)
        facts = {f"for.{name}": value for name, value in reading.facts.items()}  # the subject among them
        return {**facts, "for.audience": presented.key.audience, "for.ttl": ttl}

    def source(self, presented: Presented, view: View, now: float) -> Source:
        """Judge a bundle for exchange: steps 4 to 6, and of step 8 what facts and declarations say. Raises `Denied`.

        Every other caveat goes along unjudged: it is for a request that is yet to come.
        """
        asked = presented.asked(view.registry)
        matched = presented.match(asked)
        reading = _read(self._parsed_for(view.vocabulary, presented.key.audience), presented, matched, asked)
        _check_revocation(presented, reading, view)
        _check_time(presented, reading, view, now)
        self._check_swept(presented, reading, view)
        _check_caveats([one for one in reading.open_checks if one.about == STATEMENT], {})
        return Source(presented, asked, matched, reading)

    def _check_swept(self, presented: Presented, reading: Reading, view: View) -> None:
        """Step 6, where the clock lies behind a sweep: what expired by then may be revoked, and that forgotten."""
        if reading.earliest_bound is None or reading.earliest_bound >= view.swept * NANOSECONDS:
            return
        try:
            kept = view.sweep_ended and self._kept(presented.identifier.tid)
        except StoreUnavailable:
            raise Denied("unavailable") from None
        if not kept:
            raise Denied("expired")

    def reading_of(self, presented: Presented, view: View) -> Reading:
        """Return what a root's own caveats say, its discharges aside: whose it is, not whether it is any good."""
        return _read(self._parsed_for(view.vocabulary, presented.key.audience), presented, (), {})

    def _parsed_for(self, vocabulary: Vocabulary, audience: str) -> ParsedCaveats:
        """Return the parsed caveats of that audience's vocabulary; the administrators' is larger."""
        administrative = audience == ADMINISTRATORS
        if administrative:
            vocabulary = vocabulary.administrative
        parsed = self._parsed.get(administrative)
        if parsed is None or parsed.vocabulary is not vocabulary:
            parsed = self._parsed[administrative] = ParsedCaveats(vocabulary)
        return parsed


def with_prefix(grant: Grant, presented: Presented) -> Grant:
    """Return the answer with what a verifier needs to decide on this token's descendants by itself."""
    branches = tuple([branch_text(branch) for branch in presented.branches()])
    return replace(grant, kid=presented.key.kid, branches=branches)


def _read(
    parsed: ParsedCaveats,
    presented: Presented,
    matched: tuple[VerifiedMacaroon, ...],
    asked: Mapping[int, Asked | None],
) -> Reading:
    count = presented.identifier.issuer_caveats
    return read(parsed, presented.key.audience, presented.root, count, matched, asked=asked)


def _check_revocation(presented: Presented, reading: Reading, view: View) -> None:
    """Step 5."""
    token_id = presented.identifier.tid
    if presented.key.state == REVOKED or view.id_revoked(token_id):
        raise Denied("revoked")
    if reading.subject is not None:
        watermark = view.watermark(presented.key.audience, reading.subject)
        if watermark is not None and presented.identifier.issued_at <= watermark:
            raise Denied("revoked")
    revoked = view.revoked_branches(token_id)
    if revoked is not None and not revoked.keys().isdisjoint(presented.branches()):
        raise Denied("revoked")


def _check_time(presented: Presented, reading: Reading, view: View, now: float) -> int:
    """Step 6; return the effective expiry in Unix seconds. Valid while now < expiry."""
    if reading.issuer_bound is None or reading.earliest_bound is None:
        raise Denied("no-expiry")
    issued_at = presented.identifier.issued_at
    audience = view.audiences.get(presented.key.audience)
    if audience is None:
        raise Denied("unavailable")
    longest = issued_at + audience.max_ttl
    instant = now * NANOSECONDS
    if instant >= reading.earliest_bound or now >= longest:
        raise Denied("expired")
    if issued_at > now + AHEAD or (reading.latest_start is not None and instant < reading.latest_start):
        raise Denied("not-yet-valid")
    return min(reading.earliest_bound // NANOSECONDS, longest)


def _values(context: Context, reading: Reading, vocabulary: Vocabulary, now: float) -> Mapping[str, object]:
    """Step 7: the request's values, and the clock's where a caveat asks for them."""
    if isinstance(context, ReadContext):
        values = context.values
    else:
        try:
            values = read_context(context, vocabulary)
        except (ContextError, AttributeError):  # what is no mapping has no items
            raise Denied("context-invalid") from None
    return {**values, **clock_values(int(now))} if reading.asks_clock else values


def _check_caveats(checks: list[Check], values: Mapping[str, object]) -> None:
    """Step 8."""
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


def _grant(presented: Presented, reading: Reading, expires_at: int) -> Grant:
    facts = {name: value for name, value in reading.facts.items() if name != "sub"} if reading.facts else {}
    return Grant(
        presented.identifier.tid,
        presented.key.audience,
        reading.subject,
        aware(presented.identifier.issued_at),
        aware(expires_at),
        MappingProxyType(facts),
        MappingProxyType({who: MappingProxyType(what) for who, what in reading.declared.items()})
        if reading.declared
        else NOTHING_DECLARED,
        tuple([one.text for one in reading.checks if one.source != DISCHARGE and one.caveat is not None]),
    )


def _verdicts(reading: Reading, context: Context, vocabulary: Vocabulary, now: float) -> tuple[Verdict, ...]:
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
