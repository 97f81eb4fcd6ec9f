"""Several authorities on one database, and what each remembers: nothing that decides."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from capsvc.authority import presented
from capsvc.decision import reading
from capsvc.errors import Denied, RequestError, StartError
from capsvc.store.protocol import StoreUnavailable
from capsvc.store.sqlite import SqliteStore

NOON = 1_795_348_800
DAY = 86_400


def asked(authority: Any, token: str, **context: object) -> str:
    """The outcome at one of them."""
    try:
        authority.authorize(token, audience="default", context=context)
    except Denied as denied:
        return denied.code
    return "allowed"


def revoke_by(way: str, authority: Any, minted: Any) -> None:
    """Kill a token in one of the ways that there are."""
    if way == "id":
        authority.revoke(id=minted.id)
    elif way == "token":
        authority.revoke(token=minted.token)
    elif way == "subject":
        authority.revoke(audience="default", subject=minted.subject)
    elif way == "key":
        authority.revoke(key=authority.authorize(minted.token, audience="default", prefix=True).kid)
    else:
        authority.revoke_presented(minted.token)


# One directory, two processes' worth of authorities.


@pytest.mark.parametrize("way", ["id", "token", "subject", "key", "presented"])
def test_a_revocation_is_seen_by_the_other_at_once(office: Any, way: str) -> None:
    """Turn about, though the other has just remembered the token as good."""
    with office.another() as other:
        pair = [office.authority, other]
        for turn in range(20):
            here, there = pair[turn % 2], pair[1 - turn % 2]
            office.clock.now += 1
            minted = here.mint(audience="default", ttl=60, subject=f"s{turn}")
            assert asked(there, minted.token) == asked(here, minted.token) == "allowed"
            revoke_by(way, here, minted)
            assert asked(there, minted.token) == asked(here, minted.token) == "revoked"
            if way == "key":
                there.rotate_key("default")


@pytest.mark.parametrize("read", ["changes", "meta"])
def test_a_revocation_is_seen_that_comes_while_an_earlier_one_is_read(
    office: Any, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """After the log was read on, and before the reader has noted how far: it must come back to it."""
    store = office.authority._store
    before, between = office.minted(), office.minted()
    assert office.outcome(before.token) == office.outcome(between.token) == "allowed"
    reader = getattr(store, read)
    with office.another() as other:

        def read_and_be_overtaken(*asked: Any) -> Any:
            found = reader(*asked)
            monkeypatch.setattr(store, read, reader)
            other.revoke(id=between.id)
            return found

        monkeypatch.setattr(store, read, read_and_be_overtaken)
        other.revoke(id=before.id)
        assert office.outcome(before.token) == "revoked"
        assert office.outcome(between.token) == "revoked"
        assert getattr(store, read) == reader


def test_every_other_change_is_seen_by_the_other_at_once(office: Any) -> None:
    """Keys, audiences, lifetimes, attributes, rows."""
    with office.another() as other:
        token = office.mint(ttl=3600)
        assert asked(other, token) == "allowed"
        fresh = office.authority.rotate_key("default")
        assert [key.kid for key in other.keys("default") if key.state == "active"] == [fresh.kid]
        minted = other.mint(audience="default", ttl=60)
        assert office.authority.authorize(minted.token, audience="default", prefix=True).kid == fresh.kid
        office.authority.set_max_ttl("default", 10)
        assert [audience.max_ttl for audience in other.audiences() if audience.name == "default"] == [10]
        office.clock.now += 10
        assert asked(other, token) == "expired"
        office.authority.add_audience("photos")
        assert other.mint(audience="photos", ttl=60)
        assert office.authority.token(minted.id) == other.token(minted.id)


def test_a_vocabulary_grown_elsewhere_is_seen(office: Any, make_office: Any) -> None:
    """A caveat that was unknown, and remembered as such, is known from then on."""
    token = office.narrow(office.mint(), "colour = red")
    assert office.outcome(token) == "caveat-unknown"
    assert office.outcome(token, colour="red") == "context-invalid"
    grown = make_office("data", attributes={"colour": {"type": "word"}})
    assert office.outcome(token, colour="red") == grown.outcome(token, colour="red") == "allowed"
    assert office.outcome(token, colour="blue") == "caveat-refused"
    assert office.outcome(token) == "context-missing"
    assert grown.outcome(grown.mint("floor = 1"), floor=1) == "allowed"


# Attributes over the life of a database.


def test_attributes_are_added_and_none_is_removed(make_office: Any) -> None:
    """What an earlier start declared is known to a later one that declares something else."""
    first = make_office("data", attributes={"floor": {"type": "integer"}})
    token = first.mint("floor = 1")
    first.authority.close()
    second = make_office("data", attributes={"room": {"type": "integer"}})
    assert second.outcome(token, floor=1) == "allowed"
    assert second.outcome(second.mint("room = 1"), room=1, floor=2) == "allowed"
    second.authority.close()
    third = make_office("data", attributes={})
    assert {"floor", "room"} <= set(third.authority.vocabulary.names)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"type": "integer"}, {"type": "word"}),
        ({"type": "integer"}, {"type": "integer", "fact": True}),
        ({"type": "word", "fact": True}, {"type": "word"}),
        ({"type": "word"}, {"type": "word", "values": ["a"]}),
        ({"type": "word", "values": ["a"]}, {"type": "word"}),
        ({"type": "word", "values": ["a", "b"]}, {"type": "word", "values": ["a"]}),
        ({"type": "word", "values": ["a", "b"]}, {"type": "word", "values": ["a", "c"]}),
    ],
)
def test_a_declaration_that_differs_stops_the_start(make_office: Any, before: Any, after: Any) -> None:
    """With exit 2, and nothing was changed: neither it nor what is declared beside it."""
    first = make_office("data", attributes={"x": before})
    make_office("data", attributes={"x": before}).authority.close()
    with pytest.raises(StartError) as error:
        make_office("data", attributes={"new": {"type": "word"}, "x": after})
    assert error.value.exit_code == 2
    assert "x" in str(error.value)
    assert "new" not in first.authority.vocabulary.names


def test_a_closed_set_may_grow(make_office: Any) -> None:
    """For new tokens and old, in the process that is running too."""
    first = make_office("data", attributes={"plan": {"type": "word", "values": ["free", "team"]}})
    token = first.narrow(first.mint(), "plan in enterprise,free")
    assert first.outcome(token, plan="free") == "caveat-malformed"
    second = make_office("data", attributes={"plan": {"type": "word", "values": ["enterprise", "free", "team"]}})
    for office in (first, second):
        assert office.outcome(token, plan="enterprise") == "allowed"
        assert office.outcome(token, plan="team") == "caveat-refused"


# Caches.


def remembered(office: Any) -> int:
    """How many bundles are."""
    memory = office.authority._decider.presenter._memory
    return len(memory._young) + len(memory._old)


def test_what_is_remembered_is_bounded(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number and by length; what was dropped is proved anew."""
    monkeypatch.setattr(presented, "YOUNG", 5)
    monkeypatch.setattr(presented, "SEEN", 7)
    tokens = [office.mint() for _ in range(6)]
    for token in sorted(tokens * 3) * 3:
        assert office.outcome(token) == "allowed"
        assert remembered(office) <= 10
        assert len(office.authority._decider.presenter._memory._seen) <= 7
    assert remembered(office) >= 5
    long = office.narrow(tokens[0], *["path under /" + "a" * 200] * 20)
    assert len(long) > presented.REMEMBERED_OCTETS
    for _ in range(3):
        assert office.outcome(long, path="/" + "a" * 200) == "allowed"
    assert office.authority._decider.presenter._memory.find(long) is None


def test_nothing_is_remembered_of_what_is_no_token(office: Any) -> None:
    """A flood of forgeries and of unknown keys leaves nothing behind."""
    token = office.mint()
    for number in range(100):
        for _ in range(3):
            office.outcome(token[:-4] + f"{number:04d}")
            office.outcome(office.forge("time < 2026-11-22T13:00:00Z", identifier=b"x%d" % number))
    assert (remembered(office), office.authority._decider.presenter._memory._seen) == (0, set())
    assert [office.outcome(token) for _ in range(3)] == ["allowed"] * 3
    assert remembered(office) == 1


def test_parsed_caveats_are_bounded(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full, they start anew; the verdicts stay right."""
    monkeypatch.setattr(reading.ParsedCaveats, "CAPACITY", 8)
    token = office.mint()
    for number in range(30):
        narrowed = office.narrow(token, f"floor = {number}")
        assert office.outcome(narrowed, floor=number) == "allowed"
        assert office.outcome(narrowed, floor=number + 1) == "caveat-refused"
    for parsed in office.authority._decider._parsed.values():
        assert all(len(table) <= 8 for table in parsed._known.values())


def test_a_token_seen_before_is_judged_anew_in_every_step(office: Any) -> None:
    """Audience, revocation, time, context, caveats: each turns a remembered token down."""
    token = office.mint("floor = 1", subject="alice")
    assert office.outcome(token, floor=1) == "allowed"
    assert office.outcome(token, "capsvc", floor=1) == "wrong-audience"
    assert office.outcome(token, floor="1") == "context-invalid"
    assert office.outcome(token, floor=2) == "caveat-refused"
    assert office.outcome(token) == "context-missing"
    assert office.at(3600, token, floor=1) == "expired"
    assert office.outcome(token, floor=1) == "allowed"
    office.authority.revoke(audience="default", subject="alice")
    assert office.outcome(token, floor=1) == "revoked"


def test_discharges_are_matched_anew_each_time(office: Any) -> None:
    """Of a bundle that was seen before, too."""
    root = office.with_thirds(office.mint(), "cid")
    bundle = office.bundle(root, office.discharge("cid"))
    for _ in range(3):
        assert office.outcome(bundle) == "allowed"
        assert office.outcome(root) == "discharge-missing"
        assert office.outcome(f"{bundle}~{bundle.split('~')[1]}") == "discharge-unused"


def test_what_one_vocabulary_says_is_no_answer_for_another(office: Any) -> None:
    """The same text in a token of the service's own audience and of another."""
    admin = office.narrow(office.authority.admin_token(), "for.audience = default")
    other = office.narrow(office.mint(), "for.audience = default")
    for _ in range(2):
        assert office.outcome(other) == "caveat-unknown"
        assert office.authority.authenticate(admin, context={}).bounded


# Several threads.


def test_threads_mint_decide_and_revoke_at_once(office: Any) -> None:
    """Every mint is good until its own revocation, and dead afterwards."""

    def turn(number: int) -> list[str]:
        minted = office.authority.mint(audience="default", ttl=60, subject=f"s{number}")
        before = asked(office.authority, minted.token)
        office.authority.revoke(id=minted.id)
        return [before, asked(office.authority, minted.token)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(turn, range(80))) == [["allowed", "revoked"]] * 80
    assert office.authority.verify_audit() >= 160


def test_a_caller_that_goes_away_harms_nobody(office: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A future cannot be cancelled once its token is on its way; the others get theirs, and nothing is logged."""
    release = threading.Event()
    blocked = office.authority._store.write(lambda _tx: release.wait(30))
    futures = [office.authority.submit_mint(audience="default", ttl=60) for _ in range(4)]
    cancelled = [future.cancel() for future in futures[:2]]
    release.set()
    blocked.result(30)
    assert cancelled == [False, False]
    assert [asked(office.authority, future.result(30).token) for future in futures] == ["allowed"] * 4
    assert caplog.records == []


# A store that fails.


class FailingStore:
    """A store that reads and writes, until it is told to fail at the one or the other."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.failing: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        """The store's own, unless it fails."""
        if name in self.failing:

            def fail(*_: object, **__: object) -> Any:
                raise StoreUnavailable("the disk is gone")

            return fail
        return getattr(self._store, name)


@pytest.fixture
def failing(office: Any) -> FailingStore:
    """The office's store, under a hand that can pull its plug."""
    failing = FailingStore(office.authority._store)
    for holder in (office.authority, office.authority._follower, office.authority._mints, office.authority._listing):
        holder._store = failing
    return failing


def refusal(call: Any) -> str:
    """The code of a refused request."""
    with pytest.raises(RequestError) as error:
        call()
    assert "disk" not in str(error.value)
    return error.value.code


@pytest.mark.parametrize("read", [{"generation"}, {"generation", "changes"}])
def test_what_cannot_be_read_denies(office: Any, failing: FailingStore, read: set[str]) -> None:
    """`unavailable` for decisions, mints, revocations, lists; a malformed token is still malformed; and it recovers."""
    minted = office.minted()
    assert office.outcome(minted.token) == "allowed"
    failing.failing = read
    assert office.denial(minted.token) == ("unavailable", None)
    assert office.outcome(minted.token + "=") == "malformed"
    assert refusal(office.mint) == "unavailable"
    assert refusal(lambda: office.authority.revoke(token=minted.token)) == "unavailable"
    assert refusal(lambda: office.authority.revoke_presented(minted.token)) == "unavailable"
    assert refusal(lambda: office.authority.token(minted.id)) == "unavailable"
    assert refusal(office.authority.tokens) == "unavailable"
    assert refusal(office.authority.ready) == "unavailable"
    assert refusal(lambda: office.authority.vocabulary) == "unavailable"
    assert not office.authority.usable_for(minted.token, 0)
    failing.failing = set()
    assert office.outcome(minted.token) == "allowed"


def test_what_cannot_be_written_is_not_acknowledged(office: Any, failing: FailingStore) -> None:
    """Decisions go on; mints, revocations and keys answer `unavailable`, and nothing of them has happened."""
    minted = office.minted()
    failing.failing = {"write"}
    for call in (
        office.mint,
        lambda: office.authority.revoke(id=minted.id),
        lambda: office.authority.revoke(token=minted.token),
        lambda: office.authority.revoke_presented(minted.token),
        lambda: office.authority.revoke(audience="default", subject="alice"),
        lambda: office.authority.revoke(key=office.authority.keys("default")[0].kid),
        lambda: office.authority.rotate_key("default"),
        lambda: office.authority.add_audience("photos"),
        lambda: office.authority.set_max_ttl("default", 5),
        office.authority.admin_token,
        office.authority.sweep,
        office.authority.ready,
    ):
        assert refusal(call) == "unavailable"
    assert office.outcome(minted.token) == "allowed"
    failing.failing = set()
    assert [row.id for row in office.authority.tokens(audience="default")[0]] == [minted.id]
    assert len(office.authority.keys("default")) == 1


def test_changes_that_cannot_be_read_deny_once_somebody_wrote(office: Any, failing: FailingStore) -> None:
    """As long as nobody has written, decisions need no reading; afterwards they cannot know."""
    token = office.mint()
    office.outcome(token)
    failing.failing = {"changes"}
    assert office.outcome(token) == "allowed"
    with office.another() as other:
        other.mint(audience="default", ttl=60)
        assert office.outcome(token) == "unavailable"
    failing.failing = set()
    assert office.outcome(token) == "allowed"


def test_a_key_row_that_was_altered_denies(office: Any) -> None:
    """Its MAC does not fit: nothing is decided by keys that cannot be trusted."""
    token = office.mint()
    assert office.outcome(token) == "allowed"
    office.authority._store.write(
        lambda tx: tx._execute("UPDATE keys SET state = 'retiring' WHERE audience = 'capsvc'")
    ).result()
    office.authority.rotate_key("default")
    assert office.outcome(token) == "unavailable"
    with pytest.raises(StartError) as error:
        office.another()
    assert error.value.exit_code == 3


def test_after_close_everything_is_unavailable(office: Any) -> None:
    """Closing twice is no error; nothing hangs, nothing else is raised."""
    minted = office.minted()
    assert office.outcome(minted.token) == "allowed"
    office.authority.close()
    office.authority.close()
    assert office.outcome(minted.token) == "unavailable"
    assert refusal(office.mint) == "unavailable"
    assert refusal(lambda: office.authority.revoke(id=minted.id)) == "unavailable"
    assert refusal(lambda: office.authority.token(minted.id)) == "unavailable"
    with office.another() as again:
        assert asked(again, minted.token) == "allowed"


def test_an_authority_hides_what_it_holds(office: Any) -> None:
    """Its repr names the issuer alone, and it is not pickled."""
    assert repr(office.authority) == f"<Authority {office.authority.issuer}>"
    with pytest.raises(TypeError):
        pickle.dumps(office.authority)


def test_a_clock_behind_the_database(office: Any) -> None:
    """By more than a minute it is told apart, with exit 3."""
    office.mint()
    office.clock.now = NOON - 60
    office.authority.check_clock()
    office.clock.now = NOON - 61
    with pytest.raises(StartError) as error:
        office.authority.check_clock()
    assert (error.value.exit_code, error.value.code) == (3, "clock")
    assert "61 s" in str(error.value)
