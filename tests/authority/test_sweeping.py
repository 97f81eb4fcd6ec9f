"""The sweep: what has been expired for seven days goes, and nothing that goes comes back."""

from __future__ import annotations

from typing import Any

import pytest

from capsvc.authority import sweeping
from capsvc.errors import Denied
from capsvc.store.protocol import StoreUnavailable

NOON = 1_795_348_800
DAY = 86_400
WEEK = 7 * DAY


def sweep_at(office: Any, seconds: int) -> int:
    """Sweep so many seconds after noon; how many rows went."""
    office.clock.now = NOON + seconds
    return int(office.authority.sweep())


def ids(office: Any) -> list[str]:
    """Every token that is listed, but the administrator's."""
    return [row.id for row in office.authority.tokens(audience="default")[0]]


@pytest.mark.parametrize(("seconds", "stays"), [(-1, True), (0, True), (1, False)])
def test_a_row_stays_for_seven_days(office: Any, seconds: int, stays: bool) -> None:
    """As `expired`, from its own end on."""
    short, long = office.minted(ttl=60), office.minted(ttl=20 * DAY)
    assert office.authority.token(short.id).state == "live"
    sweep_at(office, 60 + WEEK + seconds)
    assert ids(office) == ([short.id, long.id] if stays else [long.id])
    row = office.authority.token(short.id)
    assert (row.state if row else None) == ("expired" if stays else None)
    assert office.outcome(long.token) == "allowed"


def test_a_revocation_is_kept_until_every_token_that_it_touches_has_expired(office: Any) -> None:
    """By the issuer's own bound, whatever `max_ttl` has become in between."""
    by_id, by_branch, by_subject = office.minted(ttl=10 * DAY), office.mint(ttl=10 * DAY), office.mint(
        ttl=10 * DAY, subject="alice"
    )  # fmt: skip
    office.authority.revoke(id=by_id.id)
    office.authority.revoke(token=by_branch)
    office.authority.revoke(audience="default", subject="alice")
    office.authority.set_max_ttl("default", 60)
    for day in (1, 8, 9, 10, 17):
        sweep_at(office, day * DAY)
    office.authority.set_max_ttl("default", 30 * DAY)
    office.clock.now = NOON + 10 * DAY - 1
    assert {office.outcome(token) for token in (by_id.token, by_branch, by_subject)} == {"revoked"}
    with office.another() as fresh:
        assert {row.state for row in fresh.tokens(audience="default")[0]} == {"revoked"}


def test_what_was_swept_is_not_revived_by_a_clock_set_back(office: Any) -> None:
    """Its revocation is gone, so it counts as expired; in a process that starts afterwards, too."""
    token, good = office.mint(ttl=60), office.mint(ttl=30 * DAY)
    office.authority.revoke(token=token)
    assert sweep_at(office, 61 + WEEK) >= 2
    kinds = {change.kind for change in office.authority._store.changes(0)}
    assert "branch" not in kinds
    for offset in (0, 30, 61 + WEEK):
        assert office.at(offset, token) == "expired"
        assert office.at(offset, good) == "allowed"
    office.clock.now = NOON + 30
    with office.another() as other:
        assert other.authorize(good, audience="default")
        with pytest.raises(Denied) as denied:
            other.authorize(token, audience="default")
        assert denied.value.code == "expired"


def test_the_mark_never_goes_back(office: Any) -> None:
    """A sweep by a clock that was set back takes nothing and lowers nothing."""
    token = office.mint(ttl=60)
    sweep_at(office, 61 + WEEK)
    sweep_at(office, 0)
    assert office.at(30, token) == "expired"
    assert office.outcome(office.mint(ttl=3600)) == "allowed"


def test_one_sweep_at_a_time(office: Any) -> None:
    """A second one within a minute, of whatever process, does nothing; a clock set back does not stop it for good."""
    minted = [office.minted(ttl=60) for _ in range(3)]
    office.authority.revoke(id=minted[0].id)
    assert sweep_at(office, 61 + WEEK) >= 4
    office.minted(ttl=1)
    with office.another() as other:
        office.clock.now += 59
        assert other.sweep() == 0
        office.clock.now += 2
        office.authority.sweep()
    office.clock.now = NOON
    office.authority.sweep()


def test_many_go_in_portions(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody waits long; all of them go."""
    monkeypatch.setattr(sweeping, "PORTION", 2)
    for _ in range(7):
        office.mint(ttl=60)
    lasting = office.minted(ttl=20 * DAY)
    sweep_at(office, 61 + WEEK)
    assert ids(office) == [lasting.id]


def test_tokens_of_other_audiences_and_the_audit_stay(office: Any) -> None:
    """By their own ends; no line of the audit ever goes."""
    office.authority.add_audience("photos")
    other = office.minted(audience="photos", ttl=20 * DAY)
    office.mint(ttl=60)
    lines = office.authority.verify_audit()
    sweep_at(office, 61 + WEEK)
    assert office.authority.token(other.id).state == "live"
    assert office.authority.verify_audit() == lines


def test_who_did_not_read_the_log_before_it_was_swept_knows_what_it_told(office: Any) -> None:
    """A shorter `max_ttl` holds in a process that nobody asked anything for a week, as in the one that set it."""
    token, lasting = office.mint(ttl=30 * DAY), NOON + 9 * DAY
    with office.another() as idle:
        office.authority.set_max_ttl("default", 9 * DAY)
        assert sweep_at(office, WEEK + 1) >= 1
        assert not office.authority._store.changes(0)
        for authority in (idle, office.authority):
            office.clock.now = lasting - 1
            assert authority.authorize(token, audience="default")
            office.clock.now = lasting
            with pytest.raises(Denied) as denied:
                authority.authorize(token, audience="default")
            assert denied.value.code == "expired"


def test_the_log_is_read_on_after_a_sweep(office: Any) -> None:
    """A process that had read entries which are gone goes on from where it was."""
    with office.another() as other:
        for _ in range(3):
            office.authority.revoke(id=office.minted(ttl=60).id)
        other.ready()
        sweep_at(office, 61 + WEEK)
        minted = office.minted()
        other.authorize(minted.token, audience="default")
        office.authority.revoke(id=minted.id)
        assert other.token(minted.id).state == "revoked"


def test_a_clock_that_was_far_ahead_for_a_while_spoils_nothing_made_afterwards(office: Any) -> None:
    """Of tokens that it would have ended, those that were swept stay dead; fresh ones live, and can be revoked."""
    before = office.mint(ttl=DAY)
    sweep_at(office, 365 * DAY)
    office.clock.now = NOON + 60
    assert office.outcome(before) == "expired"
    fresh, revoked, admin = office.mint(), office.minted(), office.authority.admin_token()
    office.authority.revoke(id=revoked.id)
    office.authority.sweep()
    with office.another() as restarted:
        for authority in (office.authority, restarted):
            assert authority.authorize(fresh, audience="default").id
            assert authority.usable_for(admin, DAY)
            for token, code in ((revoked.token, "revoked"), (before, "expired")):
                with pytest.raises(Denied) as denied:
                    authority.authorize(token, audience="default")
                assert denied.value.code == code
        assert restarted.token(revoked.id).state == "revoked"


def test_while_a_sweep_is_cut_off_nothing_behind_its_mark_is_trusted(
    office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row may be there whose revocation is gone already; the next sweep ends what was begun."""
    office.mint(ttl=60)
    fresh = office.mint(ttl=300 * DAY) if office.authority.set_max_ttl("default", 365 * DAY) else ""

    def dies(*_: object) -> int:
        raise RuntimeError

    monkeypatch.setattr(sweeping, "_portion", dies)
    with pytest.raises(RuntimeError):
        sweep_at(office, 365 * DAY)
    monkeypatch.undo()
    office.clock.now = NOON + 1
    with office.another() as other:
        for authority in (office.authority, other):
            with pytest.raises(Denied) as denied:
                authority.authorize(fresh, audience="default")
            assert denied.value.code == "expired"
    sweep_at(office, 365 * DAY + 61)
    office.clock.now = NOON + 1
    assert office.outcome(fresh) == "expired"
    assert office.outcome(office.mint()) == "allowed"


def test_a_row_that_cannot_be_read_behind_the_mark(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unavailable, neither allowed nor called expired."""
    sweep_at(office, 365 * DAY)
    office.clock.now = NOON
    token = office.mint()
    assert office.outcome(token) == "allowed"

    def fails(_: str) -> bool:
        raise StoreUnavailable

    monkeypatch.setattr(office.authority._decider, "_kept", fails)
    assert office.outcome(token) == "unavailable"
