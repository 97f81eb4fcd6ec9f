"""Revocation by id, branch and subject, what it is recorded as, and who minted what."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from capsvc.authority import minting, mintqueue, revoking
from capsvc.errors import RequestError
from caveats import CaveatError

NOON = 1_795_348_800
DAY = 86_400


def at(seconds: float) -> datetime:
    """An instant, so many seconds after noon."""
    return datetime.fromtimestamp(NOON + seconds, UTC)


def code_of(refused: Callable[[], object]) -> str:
    """The code of what is raised."""
    with pytest.raises(RequestError) as error:
        refused()
    return error.value.code


def outcomes(office: Any, *tokens: str) -> list[str]:
    """The outcome of each, with every value that their caveats ask for."""
    return [office.outcome(token, floor=1, room=1) for token in tokens]


def branches_kept(office: Any, token_id: str) -> int:
    """How many revoked branches are stored of a family."""
    return len(office.authority._store.write(lambda tx: tx.branches_of(token_id)).result())


# By id.


def test_an_id_kills_the_family(office: Any) -> None:
    """The token, everything narrowed from it before and after, bundles too; its sibling lives."""
    minted, sibling = office.minted(), office.mint()
    narrowed = office.narrow(minted.token, "floor = 1")
    bundle = office.discharged(token=minted.token)
    assert outcomes(office, minted.token, narrowed, bundle, sibling) == ["allowed"] * 4
    done = office.authority.revoke(id=minted.id)
    assert (done.kind, done.audience, done.at, done.repeated) == ("id", "default", at(0), False)
    after = office.narrow(minted.token, "room = 1")
    assert outcomes(office, minted.token, narrowed, bundle, after, sibling) == ["revoked"] * 4 + ["allowed"]
    office.clock.now += 5
    again = office.authority.revoke(id=minted.id)
    assert (again.kind, again.at, again.repeated) == ("id", at(0), True)


def test_an_id_that_was_never_minted(office: Any) -> None:
    """Not found: of another form, of none."""
    assert office.authority.revoke(id=office.minted().id).kind == "id"
    for unknown in ("A" * 22, "", "x", "A" * 10_000, "\ud800", "' OR 1=1 --"):
        assert code_of(lambda: office.authority.revoke(id=unknown)) == "not-found"  # noqa: B023
        assert code_of(lambda: office.authority.revoke(key=unknown)) == "not-found"  # noqa: B023
        assert office.authority.token(unknown) is None
        assert office.authority.tokens(subject=unknown) == office.authority.tokens(minted_by=unknown) == ([], None)


@pytest.mark.parametrize(
    "ways",
    [
        {},
        {"token": "x", "id": "y"},
        {"id": "x", "key": "y"},
        {"key": "x", "audience": "default", "subject": "y"},
        {"audience": "default"},
        {"subject": "alice"},
        {"id": "x", "before": at(0)},
        {"audience": "default", "subject": "alice", "before": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"audience": "default", "subject": "alice", "before": at(1)},
        {"audience": "default", "subject": "alice", "before": NOON},
    ],
)
def test_exactly_one_way(office: Any, ways: dict[str, Any]) -> None:
    """None, two, half of one, a time without a zone, ahead or no time: nothing is revoked."""
    token = office.mint(subject="alice")
    assert code_of(lambda: office.authority.revoke(**ways)) == "bad-request"
    assert office.outcome(token) == "allowed"


# By token: branches.


def test_a_branch_dies_and_its_parent_lives(office: Any) -> None:
    """Everything below the point, in every order of caveats after it; nothing above or beside."""
    root = office.mint()
    parent = office.narrow(root, "floor = 1")
    point = office.narrow(parent, "room = 1")
    below = office.narrow(point, "floor in 1,2")
    beside = office.narrow(parent, "room in 1,2")
    assert outcomes(office, root, parent, point, below, beside) == ["allowed"] * 5
    done = office.authority.revoke(token=point)
    assert (done.kind, done.audience, done.at, done.repeated) == ("branch", "default", at(0), False)
    assert outcomes(office, root, parent, point, below, beside) == [
        "allowed",
        "allowed",
        "revoked",
        "revoked",
        "allowed",
    ]
    assert office.outcome(office.bundle(office.with_thirds(point, "cid"), office.discharge("cid")), room=1) == "revoked"


def test_the_root_point_is_the_whole_family(office: Any) -> None:
    """Revoking a token as it was minted kills all that can be made from it."""
    root = office.mint("floor = 1")
    narrowed = office.narrow(root, "room = 1")
    office.authority.revoke(token=root)
    assert outcomes(office, root, narrowed) == ["revoked", "revoked"]
    assert office.outcome(office.mint()) == "allowed"


def test_nothing_is_stored_at_or_below_a_revoked_point(office: Any) -> None:
    """It is repeated, with the time of what stands above."""
    minted = office.minted()
    point = office.narrow(minted.token, "floor = 1")
    office.authority.revoke(token=point)
    office.clock.now += 5
    for token in (point, office.narrow(point, "room = 1"), office.narrow(point, "room = 1", "room = 2")):
        again = office.authority.revoke(token=token)
        assert (again.kind, again.at, again.repeated) == ("branch", at(0), True)
        office.authority.revoke_presented(token)
        assert branches_kept(office, minted.id) == 1
    office.authority.revoke(id=minted.id)
    assert office.authority.revoke(token=minted.token).repeated
    assert branches_kept(office, minted.id) == 0


@pytest.mark.parametrize("way", ["revoke", "revoke_presented"])
def test_what_is_stored_below_is_replaced(office: Any, way: str) -> None:
    """Only what lies below: what lies beside stays."""
    minted = office.minted()
    point = office.narrow(minted.token, "floor = 1")
    beside = office.narrow(minted.token, "floor in 1,2")
    lower = [office.narrow(point, f"room = {number}") for number in range(5)]
    for token in (*lower, beside):
        office.authority.revoke_presented(token)
    assert branches_kept(office, minted.id) == 6
    _revoke(office, way, point)
    assert branches_kept(office, minted.id) == 2
    assert outcomes(office, *lower, point, beside, minted.token) == ["revoked"] * 7 + ["allowed"]
    _revoke(office, way, minted.token)
    assert branches_kept(office, minted.id) == 1
    assert outcomes(office, *lower, point, beside, minted.token) == ["revoked"] * 8
    with office.another() as other:
        assert branches_kept(office, minted.id) == 1
        assert other.token(minted.id).state == "revoked"


def _revoke(office: Any, way: str, token: str) -> None:
    if way == "revoke":
        office.authority.revoke(token=token)
    else:
        office.authority.revoke_presented(token)


def test_holders_store_at_most_64_branches_of_a_family(office: Any) -> None:
    """Then `unavailable`, for that family alone; a point above them still goes, and makes room."""
    minted, other = office.minted(), office.mint()
    twigs = [office.narrow(minted.token, f"room = {number}") for number in range(66)]
    for twig in twigs[:64]:
        office.authority.revoke_presented(twig)
    assert code_of(lambda: office.authority.revoke_presented(twigs[64])) == "unavailable"
    assert office.outcome(twigs[64], room=64) == "allowed"
    office.authority.revoke_presented(twigs[0])
    office.authority.revoke_presented(office.narrow(other, "room = 1"))
    assert branches_kept(office, minted.id) == 64

    office.authority.revoke(token=twigs[64])
    assert office.outcome(twigs[64], room=64) == "revoked"
    assert branches_kept(office, minted.id) == 65
    assert code_of(lambda: office.authority.revoke_presented(twigs[65])) == "unavailable"

    office.authority.revoke_presented(minted.token)
    assert branches_kept(office, minted.id) == 1
    assert outcomes(office, minted.token, *twigs) == ["revoked"] * 67


def test_an_operators_branches_have_no_bound_and_leave_holders_their_64(office: Any) -> None:
    """`revoke(token=)` neither meets the bound nor counts towards it."""
    minted = office.minted()
    twigs = [office.narrow(minted.token, f"room = {number}") for number in range(135)]
    for twig in twigs[:70]:
        office.authority.revoke(token=twig)
    assert branches_kept(office, minted.id) == 70
    for twig in twigs[70:134]:
        office.authority.revoke_presented(twig)
    assert branches_kept(office, minted.id) == 134
    assert code_of(lambda: office.authority.revoke_presented(twigs[134])) == "unavailable"
    assert {office.outcome(twig, room=number) for number, twig in enumerate(twigs[:134])} == {"revoked"}


def test_what_is_presented_for_revocation(office: Any) -> None:
    """Its root's MAC counts, no discharge is asked for; of what is no token nothing is said."""
    bundle = office.discharged()
    office.authority.revoke_presented(bundle)
    assert office.outcome(bundle) == "revoked"
    undischarged = office.with_thirds(office.mint(), "cid")
    office.authority.revoke_presented(undischarged)
    assert office.outcome(office.bundle(undischarged, office.discharge("cid"))) == "revoked"
    token = office.mint()
    for nothing in ("", "x", token[:-4] + "AAAA", token + "=", "A" * 40_000, "\ud800", office.forge(identifier=b"x")):
        office.authority.revoke_presented(nothing)
    assert office.outcome(token) == "allowed"


@pytest.mark.parametrize(("offset", "token"), [(0, "x"), (0, "AgE"), (0, ""), (0, "A" * 17_000)])
def test_an_operator_is_told_what_is_wrong_with_a_token(office: Any, offset: int, token: str) -> None:
    """By the code of step 1 or 2."""
    expected = "too-large" if len(token) > 16_384 else "malformed"
    assert code_of(lambda: office.authority.revoke(token=token)) == expected
    whole = office.mint()
    assert code_of(lambda: office.authority.revoke(token=whole[:-4] + "AAAA")) == "invalid-token"
    assert office.authority.revoke(token=whole).kind == "branch"


def test_an_expired_token_can_be_revoked(office: Any) -> None:
    """By whoever holds it; it stays dead when the clock goes back."""
    token = office.mint(ttl=60)
    office.clock.now += 100
    office.authority.revoke_presented(token)
    office.clock.now -= 100
    assert office.outcome(token) == "revoked"


# By subject: watermarks.


def test_a_watermark_kills_what_was_minted_so_far(office: Any) -> None:
    """Of that subject in that audience; not others', not elsewhere, not what comes later."""
    office.authority.add_audience("photos")
    mine = office.mint(subject="alice")
    others = [office.mint(subject="bob"), office.mint(), office.mint(facts={"tenant": "alice"})]
    elsewhere = office.mint(subject="alice", audience="photos")
    done = office.authority.revoke(audience="default", subject="alice")
    assert (done.kind, done.audience, done.at, done.repeated) == ("subject", "default", at(0), False)
    assert office.outcome(mine) == office.outcome(office.narrow(mine, "floor = 1"), floor=1) == "revoked"
    assert {office.outcome(token) for token in others} == {office.outcome(elsewhere, "photos")} == {"allowed"}
    office.clock.now += 1
    assert office.outcome(office.mint(subject="alice")) == "allowed"
    assert office.outcome(mine) == "revoked"


@pytest.mark.parametrize(("before", "expected"), [(9, "allowed"), (10, "revoked"), (11, "revoked")])
def test_before_is_compared_with_the_issue_time(office: Any, before: int, expected: str) -> None:
    """`iat <= before`."""
    office.clock.now = NOON + 10
    token = office.mint(subject="alice")
    office.clock.now = NOON + 20
    later = office.mint(subject="alice")
    done = office.authority.revoke(audience="default", subject="alice", before=at(before))
    assert (done.at, office.outcome(token), office.outcome(later)) == (at(before), expected, "allowed")


def test_before_is_rounded_down_and_knows_zones(office: Any) -> None:
    """Half a second is none; the zone counts."""
    token = office.mint(subject="alice")
    office.clock.now += 10
    office.authority.revoke(audience="default", subject="alice", before=at(-0.5))
    assert office.outcome(token) == "allowed"
    eastern = at(0.5).astimezone(UTC) + timedelta(0)
    office.authority.revoke(audience="default", subject="alice", before=eastern)
    assert office.outcome(token) == "revoked"


def test_a_watermark_only_rises(office: Any) -> None:
    """The same or a lower one is repeated with the higher one's time; a higher one replaces it."""
    office.clock.now = NOON + 30
    first = office.authority.revoke(audience="default", subject="alice", before=at(10))
    for lower in (0, 10):
        again = office.authority.revoke(audience="default", subject="alice", before=at(lower))
        assert (again.at, again.repeated) == (first.at, True)
    higher = office.authority.revoke(audience="default", subject="alice", before=at(20))
    assert (higher.at, higher.repeated) == (at(20), False)
    assert office.authority.revoke(audience="default", subject="alice", before=at(15)).at == at(20)
    kept = [change for change in office.authority._store.changes(0) if change.kind == "subject"]
    assert [change.before for change in kept] == [NOON + 20]


def test_without_before_the_latest_issue_time_counts(office: Any) -> None:
    """A token minted by a clock that ran ahead is killed too; repeated, while nothing was minted since."""
    office.clock.now = NOON + 50
    ahead = office.mint(subject="alice")
    office.clock.now = NOON
    done = office.authority.revoke(audience="default", subject="alice")
    assert (done.at, done.repeated) == (at(50), False)
    assert office.outcome(ahead) == "revoked"
    assert office.authority.revoke(audience="default", subject="alice").repeated


def test_a_later_mint_waits_until_its_issue_time_is_above(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not refused: it comes as soon as the clock has moved on."""
    monkeypatch.setattr(mintqueue, "PATIENCE", 60)
    office.authority.revoke(audience="default", subject="alice")
    waiting = office.authority.submit_mint(audience="default", ttl=60, subject="alice")
    assert office.outcome(office.mint(subject="bob")) == "allowed"
    time.sleep(3 * mintqueue.POLL)
    assert not waiting.done()
    office.clock.now += 1
    minted = waiting.result(30)
    assert minted.issued_at == at(1)
    assert minted.expires_at == at(61)
    assert office.outcome(minted.token) == "allowed"


def test_many_mints_that_wait_are_not_many_threads(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait together, and all of them come."""
    monkeypatch.setattr(mintqueue, "PATIENCE", 60)
    office.authority.revoke(audience="default", subject="alice")
    before = threading.active_count()
    waiting = [office.authority.submit_mint(audience="default", ttl=60, subject="alice") for _ in range(100)]
    most, ends = 0, time.monotonic() + 6 * mintqueue.POLL
    while time.monotonic() < ends:
        most = max(most, threading.active_count())
        time.sleep(0.001)
    assert not any(one.done() for one in waiting)
    assert most <= before + 2  # the timer, and perhaps the one before it that has not ended yet
    office.clock.now += 1
    assert len({one.result(30).id for one in waiting}) == 100


def test_a_mint_that_cannot_wait_is_told_so(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no thread left, nobody waits for ever; later ones wait again."""
    monkeypatch.setattr(mintqueue, "PATIENCE", 60)
    office.authority.revoke(audience="default", subject="alice")

    def start(_: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Timer, "start", start)
        with pytest.raises(RequestError) as refused:
            office.authority.submit_mint(audience="default", ttl=60, subject="alice").result(30)
        assert refused.value.code == "unavailable"
    waiting = office.authority.submit_mint(audience="default", ttl=60, subject="alice")
    office.clock.now += 1
    assert waiting.result(30).subject == "alice"


def test_with_a_clock_that_stands_still_a_mint_gives_up(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`unavailable`, and nothing was minted."""
    monkeypatch.setattr(mintqueue, "PATIENCE", 0.1)
    office.authority.revoke(audience="default", subject="alice")
    assert code_of(lambda: office.mint(subject="alice")) == "unavailable"
    assert office.authority.tokens(subject="alice") == ([], None)
    assert office.mint(subject="bob")


def test_a_mint_that_was_under_way_is_not_left_alive(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made before the revocation, written after it: it is made anew with a later issue time."""
    monkeypatch.setattr(mintqueue, "PATIENCE", 60)
    made, go_on = threading.Event(), threading.Event()
    original = minting.Minting.make

    def slowly(self: Any, request: Any, key: Any, registry: Any, now: int) -> Any:
        result = original(self, request, key, registry, now)
        if request.subject == "alice" and not made.is_set():
            made.set()
            assert go_on.wait(30)
        return result

    monkeypatch.setattr(minting.Minting, "make", slowly)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(office.minted(subject="alice")))
    thread.start()
    assert made.wait(30)
    done = office.authority.revoke(audience="default", subject="alice")
    office.clock.now += 1
    go_on.set()
    thread.join(30)
    assert answers[0].issued_at > done.at
    assert office.outcome(answers[0].token) == "allowed"


def test_a_watermark_waits_for_tokens_that_are_still_to_come(office: Any) -> None:
    """It is kept although the subject has no token at all."""
    office.authority.revoke(audience="default", subject="nobody-yet")
    forged = office.forge("time < 2026-11-22T13:00:00Z", "sub = nobody-yet")
    assert office.outcome(forged) == "revoked"
    assert office.outcome(office.forge("time < 2026-11-22T13:00:00Z", "sub = nobody-yet", iat=NOON + 1)) == "allowed"


def test_a_subject_that_is_none(office: Any) -> None:
    """Not a word: the caveat's refusal; an audience that is none."""
    with pytest.raises(CaveatError) as error:
        office.authority.revoke(audience="default", subject="two words")
    assert error.value.code == "caveat-malformed"
    assert code_of(lambda: office.authority.revoke(audience="nowhere", subject="alice")) == "audience-unknown"


# Who minted what.


def test_rows_know_the_credential_that_minted(office: Any) -> None:
    """Its id and the branch of its last chain point: a narrowed credential's tokens can be told from its parent's."""
    admin = office.authority.admin_token()
    narrow = office.narrow(admin, "action = tokens:mint")
    office.mint()
    by_parent = office.authority.authenticate(admin, context={"action": "tokens:mint"})
    by_child = office.authority.authenticate(narrow, context={"action": "tokens:mint"})
    one = office.minted(credential=by_parent)
    two = office.minted(credential=by_child)
    assert by_parent.id == by_child.id
    assert len({by_parent.branch, by_child.branch}) == 2
    for minted, credential in ((one, by_parent), (two, by_child)):
        row = office.authority.token(minted.id)
        assert (row.minted_by.id, row.minted_by.branch) == (credential.id, credential.branch)
    rows, _ = office.authority.tokens(minted_by=by_child.id)
    assert [row.id for row in rows] == [one.id, two.id]
    rows, _ = office.authority.tokens(minted_by=by_child.id, branch=by_child.minter.branch)
    assert [row.id for row in rows] == [two.id]
    assert office.authority.tokens(minted_by="A" * 22) == ([], None)


def test_states_of_rows(office: Any) -> None:
    """`revoked` before `expired` before `live`; a branch below the minted point does not count."""
    ways: dict[str, Callable[[Any], object]] = {
        "id": lambda minted: office.authority.revoke(id=minted.id),
        "branch": lambda minted: office.authority.revoke(token=minted.token),
        "subject": lambda minted: office.authority.revoke(audience="default", subject=minted.subject),
    }
    for name, revoke in ways.items():
        minted = office.minted(subject=name)
        assert office.authority.token(minted.id).state == "live"
        revoke(minted)
        assert office.authority.token(minted.id).state == "revoked"
    minted = office.minted(ttl=60)
    office.authority.revoke(token=office.narrow(minted.token, "floor = 1"))
    assert [_state(office, minted, offset) for offset in (59, 60)] == ["live", "expired"]
    office.authority.set_max_ttl("default", 30)
    assert [_state(office, minted, offset) for offset in (29, 30)] == ["live", "expired"]
    office.authority.revoke(key=office.authority.keys("default")[0].kid)
    assert _state(office, minted, 60) == "revoked"


def _state(office: Any, minted: Any, offset: int) -> str:
    office.clock.now = NOON + offset
    try:
        return str(office.authority.token(minted.id).state)
    finally:
        office.clock.now = NOON


def test_listing_in_pages(office: Any) -> None:
    """Oldest first, by cursor, filtered; none twice, none left out."""
    ids = [office.minted(subject="alice" if number % 2 else "bob").id for number in range(7)]
    seen: list[str] = []
    after: int | None = 0
    pages = 0
    while after is not None:
        rows, after = office.authority.tokens(audience="default", after=after, limit=3)
        seen += [row.id for row in rows]
        pages += 1
    assert (seen, pages) == (ids, 3)
    rows, following = office.authority.tokens(subject="alice", limit=3)
    assert ([row.id for row in rows], following) == (ids[1::2], None)


def test_every_revocation_is_in_the_log_in_order(office: Any) -> None:
    """What a follower reads: kinds, in the order of their commits."""
    before = len(office.authority._store.changes(0))
    minted = office.minted(subject="alice")
    office.authority.revoke(token=office.narrow(minted.token, "floor = 1"))
    office.authority.revoke(audience="default", subject="alice")
    office.authority.revoke(id=office.minted().id)
    office.authority.revoke(key=office.authority.keys("default")[0].kid)
    log = office.authority._store.changes(0)[before:]
    assert [change.kind for change in log] == ["branch", "subject", "id", "key"]
    assert [change.seq for change in log] == sorted(change.seq for change in log)
    assert minted.token not in repr(log)


def test_holders_cannot_fill_the_audit(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Revoking children, then the parent, frees their places, and each act leaves a line: so acts are counted too."""
    monkeypatch.setattr(revoking, "PRESENTED_ACTS", 5)
    root = office.mint()
    parent = office.narrow(root, "action in read,write")
    for action in ("read", "write"):
        office.authority.revoke_presented(office.narrow(parent, f"action = {action}"))
    office.authority.revoke_presented(parent)  # one branch stands for three acts
    for method in ("GET", "POST"):
        office.authority.revoke_presented(office.narrow(root, f"method = {method}"))
    lines = office.authority.verify_audit()
    with pytest.raises(RequestError) as refused:
        office.authority.revoke_presented(office.narrow(root, "method = PUT"))
    assert refused.value.code == "unavailable"
    assert office.authority.verify_audit() == lines
    office.authority.revoke_presented(parent)  # nothing new: as ever
    assert not office.authority.revoke(token=office.narrow(root, "method = PUT")).repeated  # an administrator may
