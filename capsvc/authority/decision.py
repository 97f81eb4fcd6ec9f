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
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from capsvc.authority.presented import Presented, Presenter
from capsvc.authority.view import View
from capsvc.decision.branches import branch_text
from capsvc.decision.instants import NANOSECONDS
from capsvc.decision.judging import (
    Context,
    allowed_words,
    check_caveats,
    check_revocation,
    check_time,
    context_values,
    grant_of,
    verdicts_of,
)
from capsvc.decision.reading import STATEMENT, Asked, Check, ParsedCaveats, Reading, read
from capsvc.errors import Denied
from capsvc.grants import Grant
from capsvc.macaroon.chain import VerifiedMacaroon
from capsvc.store.protocol import StoreUnavailable
from caveats import Comparison, Vocabulary

__all__ = ["ADMINISTRATORS", "Decider", "Ruling", "Source", "with_prefix"]

ADMINISTRATORS: Final = "capsvc"
"""The audience of the service's own credentials."""

ACTION: Final = "action"
"""The attribute whose caveats an introspection may tell instead of judging them."""


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
    """A bundle that may be exchanged: its root, what it asks of dischargers, their discharges, what all of it says.

    ``expires_at`` is the effective expiry, in Unix seconds.
    """

    presented: Presented
    asked: Mapping[int, Asked | None]
    matched: tuple[VerifiedMacaroon, ...]
    reading: Reading
    expires_at: int


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
        scoping: bool = False,
    ) -> tuple[Presented, Ruling]:
        """Allow, or raise `Denied`; return what was presented and the ruling on it.

        ``now`` is in Unix seconds, read once; its fraction counts against a bound that has one. With ``deferring`` the
        caveats on what an administrator's request acts on are left to the caller (`Reading.target_checks`); with
        ``scoping``, if the context names no action, those on it (`decide_scope`). With ``explain`` the grant, or the
        denial from step 5 on, holds the verdict of every caveat.
        """
        presented, view = self.presenter.present(bundle)
        if presented.audience != audience:
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
            check_revocation(presented, reading, view.revocations)
            expires_at = check_time(presented, reading, _max_ttl(presented, view), now)
            self._check_swept(presented, reading, view)
            values = context_values(context, reading, vocabulary, now)
            checks = reading.immediate_checks if deferring else reading.open_checks
            check_caveats(_without_action(checks) if scoping and ACTION not in values else checks, values)
        except Denied as denied:
            if explain:
                denied.verdicts = verdicts_of(reading, context, vocabulary, now)
            raise
        if known is not None and known.expires_at == expires_at:
            ruling = known
        else:
            grant = grant_of(presented, reading, expires_at)
            ruling = Ruling(reading, grant, vocabulary, expires_at)
            if not presented.needs_discharges:  # discharges are matched anew each time
                presented.memo = ruling
        if explain:
            told = verdicts_of(reading, context, vocabulary, now)
            ruling = ruling._replace(grant=replace(ruling.grant, verdicts=told))
        return presented, ruling

    def decide_scope(
        self, bundle: str, audience: str, context: Context, now: float
    ) -> tuple[Grant, frozenset[str] | None]:
        """Allow, or raise `Denied`; return the grant, and the actions that it is for, None for all.

        As `decide`, but caveats on ``action`` need no value: what they allow together is told, and is never nothing.
        A value that the context has nevertheless is checked against them.
        """
        _, ruling = self.decide(bundle, audience, context, now, scoping=True)
        actions = allowed_words(ruling.reading.open_checks, ACTION)
        if actions is not None and not actions:
            raise Denied("caveat-refused")
        return ruling.grant, actions

    def target(self, presented: Presented, view: View, now: float) -> dict[str, str | int | None]:
        """Return what an exchange acts on: audience, subject, seconds left (rounded up) and facts of the source."""
        try:
            asked = presented.asked(view.registry)
            matched = presented.match(asked)
        except Denied:  # which the exchange comes to in its turn, if the credential covers it
            asked, matched = {}, ()
        reading = _read(self._parsed_for(view.vocabulary, presented.audience), presented, matched, asked)
        audience = view.audiences.get(presented.audience)
        ttl = None
        if reading.earliest_bound is not None and audience is not None:
            longest = (presented.identifier.issued_at + audience.max_ttl) * NANOSECONDS
            ttl = math.ceil((min(reading.earliest_bound, longest) - now * NANOSECONDS) / NANOSECONDS)
        facts = {f"for.{name}": value for name, value in reading.facts.items()}  # the subject among them
        return {**facts, "for.audience": presented.audience, "for.ttl": ttl}

    def source(self, presented: Presented, view: View, now: float) -> Source:
        """Judge a bundle for exchange: steps 4 to 6, and of step 8 what facts and declarations say. Raises `Denied`.

        Every other caveat goes along unjudged: it is for a request that is yet to come.
        """
        asked = presented.asked(view.registry)
        matched = presented.match(asked)
        reading = _read(self._parsed_for(view.vocabulary, presented.audience), presented, matched, asked)
        check_revocation(presented, reading, view.revocations)
        expires_at = check_time(presented, reading, _max_ttl(presented, view), now)
        self._check_swept(presented, reading, view)
        check_caveats([one for one in reading.open_checks if one.about == STATEMENT], {})
        return Source(presented, asked, matched, reading, expires_at)

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
        return _read(self._parsed_for(view.vocabulary, presented.audience), presented, (), {})

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
    return read(parsed, presented.audience, presented.root, count, matched, asked=asked)


def _without_action(checks: list[Check]) -> list[Check]:
    """Leave out the caveats on ``action``, which are well formed: what is not has no attribute."""
    return [one for one in checks if not (isinstance(one.caveat, Comparison) and one.caveat.attribute == ACTION)]


def _max_ttl(presented: Presented, view: View) -> int:
    audience = view.audiences.get(presented.audience)
    if audience is None:
        raise Denied("unavailable")
    return audience.max_ttl
