"""The feed: everything that changes, in the order of the commits, and a cursor that never hides a gap."""

from __future__ import annotations

import math
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsvc.authority import Authority, feed, sweeping
from capsvc.errors import Denied, RequestError
from capsvc.grants import FeedEntry
from capsvc.macaroon.decode import decode
from capsvc.macaroon.identifier import parse
from capsvc.store.protocol import StoreUnavailable, Transaction

NOON = 1_795_348_800
DAY = 86_400
WEEK = 7 * DAY
NOW = "now"
AT = datetime.fromtimestamp(NOON, UTC)


class Follower:
    """Reads on from where it is, page by page; keeps all that it was told."""

    def __init__(self, authority: Authority, after: str | None = None, limit: int = 1000) -> None:
        self.authority = authority
        self.cursor = authority.feed(after=NOW).cursor if after == NOW else after
        self.told: list[FeedEntry] = []
        self._limit = limit

    def read(self) -> list[FeedEntry]:
        """What is new."""
        new: list[FeedEntry] = []
        while True:
            page = self.authority.feed(after=self.cursor, limit=self._limit)
            assert len(page.entries) <= self._limit
            new += page.entries
            self.cursor = page.cursor
            if not page.more:
                self.told += new
                return new


def gone(authority: Authority, cursor: Any) -> bool:
    """Whether that cursor is; it is one otherwise."""
    try:
        authority.feed(after=cursor)
    except RequestError as error:
        return error.code == "cursor-gone"
    return False


def fields(entry: FeedEntry) -> dict[str, Any]:
    """What an entry says, without what it has nothing for."""
    names = ("kind", "audience", "id", "branch", "subject", "before", "kid", "state", "name", "max_ttl")
    return {name: getattr(entry, name) for name in names if getattr(entry, name) is not None}


def kid_of(token: str) -> str:
    """The key that minted it."""
    return parse(decode(token).identifier).kid


def last_branch(office: Any, token: str, **context: object) -> str:
    """The branch that revoking this very token revokes."""
    grant = office.authority.authorize(token, audience="default", context=context, prefix=True)
    return str(grant.branches[-1])


# Every kind, end to end.


def test_a_fresh_installation_tells_nothing(make_office: Callable[..., Any]) -> None:
    """An empty page with a cursor from which it goes on."""
    authority = make_office(attributes={}).authority
    page = authority.feed()
    assert (page.entries, page.more) == ((), False)
    assert authority.feed(after=page.cursor) == authority.feed(after=NOW) == page
    assert page.epoch


def test_an_id(office: Any) -> None:
    """A family: its id and audience."""
    minted = office.minted()
    follower = Follower(office.authority, NOW)
    office.clock.now += 5
    office.authority.revoke(id=minted.id)
    (entry,) = follower.read()
    assert fields(entry) == {"kind": "id", "audience": "default", "id": minted.id}
    assert entry.at == datetime.fromtimestamp(NOON + 5, UTC)
    office.authority.revoke(id=minted.id)
    assert follower.read() == []  # a repetition changes nothing


@pytest.mark.parametrize("by_holder", [False, True])
def test_a_branch(office: Any, by_holder: bool) -> None:
    """The point of the chain as a prefix verifier knows it, whoever revoked; never the whole way to it."""
    child = office.narrow(office.mint(), "action = read", "floor = 1")
    branch, follower = last_branch(office, child, action="read", floor=1), Follower(office.authority, NOW)
    if by_holder:
        office.authority.revoke_presented(child)
    else:
        office.authority.revoke(token=child)
    (entry,) = follower.read()
    token_id = parse(decode(child).identifier).tid
    assert fields(entry) == {"kind": "branch", "audience": "default", "id": token_id, "branch": branch}
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", branch)
    assert entry.at == AT


@pytest.mark.parametrize("before", [None, NOON - 10])
def test_a_subject(office: Any, before: int | None) -> None:
    """The second up to which what was issued is dead."""
    office.mint(subject="alice")
    follower = Follower(office.authority, NOW)
    until = None if before is None else datetime.fromtimestamp(before, UTC)
    office.authority.revoke(audience="default", subject="alice", before=until)
    (entry,) = follower.read()
    assert fields(entry) == {"kind": "subject", "audience": "default", "subject": "alice", "before": until or AT}
    assert entry.at == entry.before


def test_keys(office: Any) -> None:
    """Each state that a key comes to: active, retiring, revoked."""
    first, follower = kid_of(office.mint()), Follower(office.authority, NOW)
    second = office.authority.rotate_key("default").kid
    office.authority.revoke(key=first)
    key = {"kind": "key", "audience": "default"}
    assert [fields(entry) for entry in follower.read()] == [
        {**key, "kid": first, "state": "retiring"},
        {**key, "kid": second, "state": "active"},
        {**key, "kid": first, "state": "revoked"},
    ]


def test_audiences(office: Any) -> None:
    """A new one with its first key, and how long its tokens may live."""
    follower = Follower(office.authority, NOW)
    office.authority.add_audience("photos", 600)
    office.authority.set_max_ttl("photos", 60)
    (kid,) = [key.kid for key in office.authority.keys("photos")]
    audience = {"kind": "audience", "audience": "photos", "name": "photos"}
    assert [fields(entry) for entry in follower.read()] == [
        {**audience, "max_ttl": 600},
        {"kind": "key", "audience": "photos", "kid": kid, "state": "active"},
        {**audience, "max_ttl": 60},
    ]


def test_attributes(make_office: Callable[..., Any]) -> None:
    """One that is declared, and one whose closed set grows, belong to no audience."""
    plan: dict[str, object] = {"type": "word", "values": ["free"]}
    first = make_office(attributes={"plan": plan})
    follower = Follower(first.authority)
    assert [fields(entry) for entry in follower.read()] == [{"kind": "attribute", "name": "plan"}]
    grown = make_office(attributes={"plan": {**plan, "values": ["free", "team"]}, "floor": {"type": "integer"}})
    told = [fields(entry) for entry in follower.read()]
    assert sorted(told, key=str) == [{"kind": "attribute", "name": "floor"}, {"kind": "attribute", "name": "plan"}]
    assert {entry.audience for entry in follower.told} == {None}
    assert grown.authority.vocabulary.get("floor") is not None


def test_dischargers(office: Any) -> None:
    """Added, changed and removed, by name; what the installation's own key pairs do concerns nobody else."""
    follower = Follower(office.authority, NOW)
    login = office.register()
    office.clock.now += 1
    office.authority.set_discharger("login", next_public_key=office.authority.public_key)
    office.authority.remove_discharger("login")
    states = [fields(entry) for entry in follower.read()]
    assert states == [
        {"kind": "discharger", "name": login.name, "state": state} for state in ("added", "changed", "removed")
    ]
    cursor = follower.cursor
    office.authority.add_bakery_key()
    office.authority.rotate_bakery_key()
    assert follower.read() == []
    assert follower.cursor != cursor


@pytest.mark.parametrize("way", ["id", "branch", "discharger"])
def test_exchanged_tokens_have_entries_of_their_own(office: Any, way: str) -> None:
    """What dies with its source is told of by its own id: nobody else knows where it came from."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    first = office.authority.exchange(office.bundle(token, login.discharge(token)))
    second = office.authority.exchange(office.narrow(first.token, "floor = 1"))
    source_id, follower = parse(decode(token).identifier).tid, Follower(office.authority, NOW)
    if way == "id":
        office.authority.revoke(id=source_id)
    elif way == "branch":
        office.authority.revoke(token=token)
    else:
        office.authority.remove_discharger("login")
    told = follower.read()
    assert {entry.id for entry in told if entry.kind == "id"} - {source_id} == {first.id, second.id}
    assert {entry.audience for entry in told if entry.kind == "id"} == {"default"}
    assert {office.outcome(one.token) for one in (first, second)} == {"revoked"}


def test_what_a_subject_and_a_key_take_along_needs_no_entry(office: Any) -> None:
    """An exchanged token has its source's subject, issue time and key, so that the one entry is about both."""
    source = office.minted(subject="alice")
    made, follower = office.authority.exchange(source.token), Follower(office.authority, NOW)
    office.authority.revoke(audience="default", subject="alice")
    assert [entry.kind for entry in follower.read()] == ["subject"]
    assert (made.subject, made.issued_at) == ("alice", source.issued_at)
    assert office.outcome(made.token) == "revoked"


# Pages and cursors.


def many(office: Any, count: int) -> list[str]:
    """So many revoked families, in order."""
    ids = [office.minted().id for _ in range(count)]
    for token_id in ids:
        office.authority.revoke(id=token_id)
    return ids


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 1000])
def test_pages_of_any_size_tell_the_same(office: Any, limit: int) -> None:
    """In order, nothing twice, nothing left out; the last one says that there is no more."""
    ids = many(office, 7)
    follower = Follower(office.authority, limit=limit)
    assert [entry.id for entry in follower.read()][-7:] == ids
    assert follower.told == list(office.authority.feed().entries)
    assert follower.read() == []
    later = many(office, 2)
    assert [entry.id for entry in follower.read()] == later


def test_a_full_page_says_whether_there_is_more(office: Any) -> None:
    """One that holds exactly what is left is the last."""
    many(office, 4)
    whole = len(office.authority.feed().entries)
    assert office.authority.feed(limit=whole).more is False
    assert office.authority.feed(limit=whole - 1).more is True


def test_now(office: Any) -> None:
    """Nothing of before, everything of after."""
    many(office, 2)
    page = office.authority.feed(after=NOW)
    assert (page.entries, page.more) == ((), False)
    later = many(office, 2)
    assert [entry.id for entry in office.authority.feed(after=page.cursor).entries] == later


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: "",
        lambda _: " ",
        lambda _: "Now",
        lambda _: "now ",
        lambda _: "0",
        lambda _: "-1",
        lambda cursor: f"{cursor}0",
        lambda cursor: f"{cursor}.",
        lambda cursor: f"{cursor}.0",
        lambda cursor: f"{cursor}.1",
        lambda cursor: f"{cursor}.999",
        lambda cursor: f" {cursor}",
        lambda cursor: f"{cursor}\n",
        lambda cursor: cursor.replace(".", ".0"),
        lambda cursor: cursor.replace(".", ".-"),
        lambda cursor: cursor.replace(".", ".+"),
        lambda cursor: cursor.replace(".", ""),
        lambda cursor: cursor.partition(".")[0],
        lambda cursor: f"{cursor.partition('.')[0]}.",
        lambda cursor: f"{cursor.partition('.')[0]}.３",  # a digit, elsewhere
        lambda cursor: f"{cursor.partition('.')[0]}.{10**18}",
        lambda cursor: f"{cursor.partition('.')[0]}.{'9' * 5000}",
        lambda cursor: f"{'0' * 16}.{cursor.partition('.')[2]}",
        lambda cursor: cursor.upper(),
        lambda cursor: f"tokens.{cursor.partition('.')[2]}",
        lambda _: 3,
        lambda _: b"now",
        lambda _: ["now"],
    ],
)
def test_what_is_no_cursor_of_ours_is_gone(office: Any, spoil: Callable[[str], object]) -> None:
    """Another spelling, another epoch, a place that was never reached; the cursor itself is one."""
    many(office, 3)
    cursor = office.authority.feed().cursor
    assert not gone(office.authority, cursor)
    spoiled = spoil(cursor)
    assert spoiled != cursor
    assert gone(office.authority, spoiled)


def test_another_epoch_is_another_history(office: Any) -> None:
    """After a restore every cursor of before is gone, though the numbers go on; a fresh start is not."""
    many(office, 2)
    before = office.authority.feed()
    office.authority._store.write(lambda tx: tx.set_meta("epoch", "another")).result()
    for cursor in (before.cursor, office.authority.feed(after=NOW).cursor.replace("another", before.epoch)):
        assert gone(office.authority, cursor)
    page = office.authority.feed()
    assert (page.epoch, page.entries) == ("another", before.entries)
    assert not gone(office.authority, page.cursor)
    assert not gone(office.authority, office.authority.feed(after=NOW).cursor)


# What a sweep takes.


def sweep_at(office: Any, seconds: int) -> None:
    """Sweep so many seconds after noon."""
    office.clock.now = NOON + seconds
    assert office.authority.sweep() > 0


def test_a_cursor_below_what_was_swept_is_gone(office: Any) -> None:
    """One that had read all that is gone goes on."""
    start = office.authority.feed(after=NOW).cursor
    token_id = office.minted(ttl=60).id
    office.authority.revoke(id=token_id)
    read = office.authority.feed(after=start).cursor
    sweep_at(office, 61 + WEEK)
    assert office.authority.feed().entries == ()
    assert gone(office.authority, start)
    assert not gone(office.authority, read)
    assert not gone(office.authority, office.authority.feed(after=NOW).cursor)
    (later,) = many(office, 1)
    assert [entry.id for entry in office.authority.feed(after=read).entries] == [later]


def test_an_entry_that_is_kept_below_one_that_was_swept_hides_no_gap(office: Any) -> None:
    """Entries go by the end of what they touch, not by their age: he who read the older one alone has missed one."""
    lasting, short = office.minted(ttl=20 * DAY), office.minted(ttl=60)
    office.authority.revoke(id=lasting.id)
    between = office.authority.feed(after=NOW).cursor
    office.authority.revoke(id=short.id)
    after = office.authority.feed(after=NOW).cursor
    sweep_at(office, 61 + WEEK)
    assert [entry.id for entry in office.authority.feed().entries] == [lasting.id]
    assert gone(office.authority, between)
    assert not gone(office.authority, after)


def test_whoever_begins_after_a_sweep_comes_to_the_end(office: Any) -> None:
    """Page by page, though every page but the last ends below what the sweep took."""
    kept = [office.minted(ttl=20 * DAY).id for _ in range(4)]
    for token_id in kept:
        office.authority.revoke(id=token_id)
    office.authority.revoke(id=office.minted(ttl=60).id)
    sweep_at(office, 61 + WEEK)
    follower = Follower(office.authority, limit=1)
    assert [entry.id for entry in follower.read()] == kept
    fresh = office.authority.feed(after=NOW).cursor
    assert follower.cursor == fresh
    (later,) = many(office, 1)
    assert [entry.id for entry in follower.read()] == [later]


def test_a_sweep_under_way_ends_a_reading_that_was_under_way(office: Any) -> None:
    """What went while he was on his way through old entries he may have missed; beginning anew, he comes to the end."""
    ids = [office.minted(ttl=ttl).id for ttl in (60, 20 * DAY, 20 * DAY, 2 * DAY)]
    for token_id in ids:
        office.authority.revoke(id=token_id)
    office.authority.revoke(id=office.minted(ttl=60).id)
    sweep_at(office, 61 + WEEK)
    page = office.authority.feed(limit=1)
    assert [entry.id for entry in page.entries] == ids[1:2]
    assert not gone(office.authority, page.cursor)
    office.authority.revoke(id=office.minted(ttl=60).id)
    sweep_at(office, 3 * WEEK)
    assert gone(office.authority, page.cursor)
    follower = Follower(office.authority, limit=1)
    assert [entry.id for entry in follower.read()] == ids[1:3]


def test_a_page_is_judged_by_the_moment_at_which_it_was_read(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep between the look at the log and the reading of a page shows."""
    start = office.authority.feed(after=NOW).cursor
    office.authority.revoke(id=office.minted(ttl=60).id)
    assert not gone(office.authority, start)
    many(office, 1)
    read = office.authority._store.log

    def late(after: int, limit: int) -> Any:
        sweep_at(office, 61 + WEEK)
        return read(after, limit)

    monkeypatch.setattr(office.authority._store, "log", late)
    assert gone(office.authority, start)


def test_who_begins_is_not_turned_away_by_a_sweep(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One between the look at the log and the reading of the first page takes nothing from him."""
    lasting = office.minted(ttl=20 * DAY)
    for minted in (office.minted(ttl=60), lasting):
        office.authority.revoke(id=minted.id)
    read = office.authority._store.log

    def late(after: int, limit: int) -> Any:
        sweep_at(office, 61 + WEEK)
        return read(after, limit)

    with monkeypatch.context() as patch:
        patch.setattr(office.authority._store, "log", late)
        page = office.authority.feed()
    assert [entry.id for entry in page.entries] == [lasting.id]
    assert not gone(office.authority, page.cursor)


def test_a_cursor_has_one_spelling_whatever_was_swept(office: Any) -> None:
    """How far a sweep had come is told where it is further, and there alone."""
    for ttl in (20 * DAY, 60, 20 * DAY):
        office.authority.revoke(id=office.minted(ttl=ttl).id)
    sweep_at(office, 61 + WEEK)
    marks = office.authority._store.log_marks()
    assert 0 < marks.swept < marks.head
    for seq in (marks.head, marks.swept):
        cursor = f"{marks.epoch}.{seq}"
        assert not gone(office.authority, cursor)
        for swept in (marks.swept, marks.swept - 1, seq):
            assert gone(office.authority, f"{cursor}.{swept}")
    assert not gone(office.authority, f"{marks.epoch}.{marks.swept - 1}.{marks.swept}")
    assert gone(office.authority, f"{marks.epoch}.{marks.swept - 1}")
    assert gone(office.authority, f"{marks.epoch}.{marks.swept - 1}.{marks.swept + 1}")


def test_what_is_swept_in_portions_is_remembered_in_each(
    make_office: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep that is cut off leaves no cursor that hides what it took; the mark never goes down."""
    office = make_office(attributes={})
    start = office.authority.feed(after=NOW).cursor
    for _ in range(3):
        office.authority.revoke(id=office.minted(ttl=60).id)
    head = office.authority._store.log_marks().head
    takes = sweeping._portion
    portions = iter((1, 1))

    def cut_off(tx: Transaction, before: int) -> int:
        if next(portions, None) is None:
            raise RuntimeError
        return takes(tx, before)

    monkeypatch.setattr(sweeping, "PORTION", 1)
    monkeypatch.setattr(sweeping, "_portion", cut_off)
    with pytest.raises(RuntimeError):
        sweep_at(office, 61 + WEEK)
    assert office.authority._store.log_marks().swept == head - 1
    assert gone(office.authority, start)
    monkeypatch.setattr(sweeping, "_portion", takes)
    sweep_at(office, 61 + WEEK + 60)
    assert office.authority._store.log_marks().swept == head


# What a later entry covers.


def test_what_a_later_entry_covers_makes_no_cursor_gone(office: Any) -> None:
    """A follower from below it is told of the later one, which is all that he needs."""
    token = office.mint(subject="alice")
    child = office.narrow(token, "action = read")
    start = office.authority.feed(after=NOW).cursor
    office.authority.revoke(token=office.narrow(child, "floor = 1"))
    between = office.authority.feed(after=start)
    office.authority.revoke(token=child)
    (entry,) = office.authority.feed(after=start).entries
    assert entry.branch != between.entries[0].branch
    assert office.authority.feed(after=between.cursor).entries == (entry,)
    office.authority.revoke(id=parse(decode(token).identifier).tid)
    for _ in range(2):
        office.authority.revoke(audience="default", subject="alice")
        office.clock.now += 1
    kinds = ["id", "subject"]
    assert [entry.kind for entry in office.authority.feed(after=start).entries] == kinds
    assert [entry.kind for entry in office.authority.feed(after=between.cursor).entries] == kinds


WAYS = ("id", "token", "child", "grandchild", "sibling", "subject", "key", "exchange", "discharger")


class Shelf:
    """A few token families, and what a follower can know of them."""

    def __init__(self, office: Any) -> None:
        self.office = office
        self.authority: Authority = office.authority
        self.login = office.register()
        self.texts: list[str] = []
        for number in range(2):
            source = office.minted(subject=f"s{number}", third_party=[self.login.asks()])
            token = self.authority.exchange(office.bundle(source.token, self.login.discharge(source.token))).token
            plain = office.mint(subject=f"s{number}")
            for root in (token, plain):
                child = office.narrow(root, "action = read")
                self.texts += [root, child, office.narrow(child, "floor = 1"), office.narrow(root, "room = 1")]
        self.prefixes = {text: self._prefix(text) for text in self.texts}

    def _prefix(self, text: str) -> Any:
        context = {"action": "read", "floor": 1, "room": 1}
        return self.authority.authorize(text, audience="default", context=context, prefix=True)

    def act(self, way: str, number: int) -> None:
        """Change something; what is dead already may refuse to."""
        base = 4 * (number % (len(self.texts) // 4))
        root, child, grandchild, sibling = self.texts[base : base + 4]
        try:
            if way == "id":
                self.authority.revoke(id=self.prefixes[root].id)
            elif way == "subject":
                self.authority.revoke(audience="default", subject=f"s{number % 2}")
            elif way == "key":
                self.authority.rotate_key("default")
                self.authority.revoke(key=self.prefixes[root].kid)
            elif way == "discharger":
                self.authority.remove_discharger("login")
            elif way == "exchange":
                made = self.authority.exchange(child).token
                self.texts += [made, *(self.office.narrow(made, f"floor = {n}") for n in (1, 1, 1))]
                self.prefixes |= {text: self._prefix(text) for text in self.texts[-4:]}
            else:
                text = {"token": root, "child": child, "grandchild": grandchild, "sibling": sibling}[way]
                self.authority.revoke(token=text)
        except (RequestError, Denied) as error:
            if error.code not in {"not-found", "revoked"}:
                raise

    def revoked(self, text: str) -> bool:
        """What the authority says."""
        outcome = self.office.outcome(text, action="read", floor=1, room=1)
        return {"allowed": False, "revoked": True}[outcome]

    def seems_revoked(self, text: str, told: Iterable[FeedEntry]) -> bool:
        """What somebody says who knows nothing but the prefix and the feed."""
        prefix = self.prefixes[text]
        return any(
            (entry.kind == "id" and entry.id == prefix.id)
            or (entry.kind == "branch" and entry.id == prefix.id and entry.branch in prefix.branches)
            or (entry.kind == "key" and entry.state == "revoked" and entry.kid == prefix.kid)
            or (entry.kind == "subject" and entry.subject == prefix.subject and prefix.issued_at <= entry.before)
            for entry in told
        )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    acts=st.lists(st.tuples(st.sampled_from(WAYS), st.integers(0, 7), st.booleans()), min_size=1, max_size=12),
    limit=st.integers(1, 4),
)
def test_a_follower_knows_what_the_authority_knows(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, int, bool]], limit: int
) -> None:
    """Whatever was revoked in whatever order: who read along, now and then, or from its end, agrees with it."""
    from .conftest import Office

    office = Office(tmp_path_factory.mktemp("shelf") / "data")
    with closing(office.authority):
        shelf = Shelf(office)
        along, some = Follower(office.authority, limit=limit), Follower(office.authority, limit=limit)
        for way, number, reads in acts:
            shelf.act(way, number)
            along.read()
            if reads:
                some.read()
        some.read()
        late = Follower(office.authority, limit=limit)
        late.read()
        for text in shelf.texts:
            said = {shelf.seems_revoked(text, one.told) for one in (along, some, late)}
            assert said == {shelf.revoked(text)}, text


# Who is shown what.


def test_entries_of_audiences_that_are_not_covered_are_left_out(office: Any) -> None:
    """Those without an audience never are; the cursor passes what is left out."""
    office.authority.add_audience("photos")
    office.register()
    for audience in ("default", "photos", "default"):
        office.authority.revoke(id=office.minted(audience=audience).id)
    whole = office.authority.feed()
    asked: list[str] = []

    def covers(audience: str) -> bool:
        asked.append(audience)
        return audience == "photos"

    page = office.authority.feed(covers=covers)
    assert page.entries == tuple([entry for entry in whole.entries if entry.audience in {None, "photos"}])
    assert {entry.kind for entry in page.entries} == {"attribute", "audience", "key", "discharger", "id"}
    assert (page.cursor, page.more, page.epoch) == (whole.cursor, whole.more, whole.epoch)
    assert sorted(asked) == ["default", "photos"]
    nothing = office.authority.feed(covers=lambda _: False)
    assert {entry.audience for entry in nothing.entries} == {None}
    assert office.authority.feed() == whole


def test_a_page_of_nothing_that_is_shown_goes_on(office: Any) -> None:
    """Empty, and there is more."""
    many(office, 3)
    start = office.authority.feed(limit=len(office.authority.feed().entries) - 3).cursor
    page = office.authority.feed(after=start, limit=2, covers=lambda _: False)
    assert (page.entries, page.more) == ((), True)
    assert not office.authority.feed(after=page.cursor, covers=lambda _: False).more


# Who writes, and when.


def test_generation(office: Any) -> None:
    """Another number after anybody's commit, whatever it was, and the same while nothing happens."""
    with office.another() as other:
        for acts in (office.minted, other.rotate_bakery_key, office.minted):
            before = office.authority.generation(), other.generation()
            assert (office.authority.generation(), other.generation()) == before
            acts()
            after = office.authority.generation(), other.generation()
            assert all(was != now for was, now in zip(before, after, strict=True))


def test_what_another_process_commits_is_told_at_once(office: Any) -> None:
    """Turn about."""
    with office.another() as other:
        followers = [Follower(authority, NOW) for authority in (office.authority, other)]
        for number in range(20):
            writer = (office.authority, other)[number % 2]
            minted = office.minted()
            writer.revoke(id=minted.id)
            assert [[entry.id for entry in follower.read()] for follower in followers] == [[minted.id]] * 2


def test_a_cursor_that_is_ahead_of_what_was_heard_is_one(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit can be read a moment before anybody is told that there was one; the next reader may know less."""
    minted, start = office.minted(), office.authority.feed(after=NOW).cursor
    with office.another() as other:
        for authority in (office.authority, other):
            authority.feed(after=start)
            monkeypatch.setattr(authority._store, "generation", lambda: 0)
            authority.feed(after=start)
        office.authority.revoke(id=minted.id)
        page = office.authority.feed(after=start, limit=999)
        assert [entry.id for entry in page.entries] == [minted.id]
        for authority in (office.authority, other):
            assert authority.feed(after=page.cursor).entries == ()
            assert gone(authority, page.cursor + "0")


def test_a_cursor_that_was_none_can_come_to_be_one(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a process that was asked about it too early, and has not heard yet of what was committed since."""
    minted, start = office.minted(), office.authority.feed(after=NOW).cursor
    epoch, seq = start.split(".")
    early = f"{epoch}.{int(seq) + 1}"
    with office.another() as other:
        other.feed(after=start)
        monkeypatch.setattr(other._store, "generation", lambda: 0)
        assert not gone(other, start)
        assert gone(other, early)
        office.authority.revoke(id=minted.id)
        assert office.authority.feed(after=NOW).cursor == early
        assert not gone(other, early)


def test_a_write_that_failed_is_never_told(office: Any) -> None:
    """What came with it into one commit is, once."""
    follower = Follower(office.authority, NOW)
    minted = [office.minted() for _ in range(8)]
    store, holding, held = office.authority._store, threading.Event(), threading.Event()

    def hold(tx: Transaction) -> None:
        held.set()
        holding.wait(30)

    def fail(tx: Transaction) -> None:
        authority._revoking.id(tx, minted[-1].id, NOON, None)
        raise RequestError("bad-request")

    authority = office.authority
    first = store.write(hold)
    held.wait(30)
    good = [store.write(lambda tx, one=one: authority._revoking.id(tx, one.id, NOON, None)) for one in minted[:3]]
    bad = store.write(fail)
    good += [store.write(lambda tx, one=one: authority._revoking.id(tx, one.id, NOON, None)) for one in minted[3:6]]
    holding.set()
    first.result()
    for future in good:
        future.result()
    with pytest.raises(RequestError):
        bad.result()
    assert [entry.id for entry in follower.read()] == [one.id for one in minted[:6]]


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_nothing_is_lost_twice_or_out_of_order_while_two_write(office: Any, limit: int) -> None:
    """Followers on both databases' openings see one order, with what each writer did in its own."""
    with office.another() as other:
        authorities = (office.authority, other)
        stop, writers, each = threading.Event(), 4, 8
        done: list[list[str]] = [[] for _ in range(writers)]

        def write(number: int) -> None:
            authority = authorities[number % 2]
            for _ in range(each):
                token_id = authority.mint(audience="default", ttl=3600).id
                authority.revoke(id=token_id)
                done[number].append(token_id)

        def follow(number: int) -> Follower:
            follower = Follower(authorities[number % 2], NOW, limit)
            follower.read()
            ready.wait()
            while not stop.is_set():
                follower.read()
            follower.read()
            return follower

        ready = threading.Barrier(5)
        with ThreadPoolExecutor(writers + 4) as pool:
            following = [pool.submit(follow, number) for number in range(4)]
            ready.wait()
            for future in [pool.submit(write, number) for number in range(writers)]:
                future.result()
            stop.set()
            followers = [future.result() for future in following]
    sequences = [[entry.id for entry in follower.told] for follower in followers]
    assert sequences == [sequences[0]] * 4
    assert len(set(sequences[0])) == len(sequences[0]) == writers * each
    for ids in done:
        assert [token_id for token_id in sequences[0] if token_id in set(ids)] == ids


# What saves work.


def test_a_page_is_worked_out_once(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all who ask for it while nothing of it has changed; a full one for longer than the last."""
    many(office, 3)
    store, reads = office.authority._store, list[int]()
    read = store.log

    def counted(after: int, limit: int) -> Any:
        reads.append(after)
        return read(after, limit)

    monkeypatch.setattr(store, "log", counted)
    first, last = office.authority.feed(limit=2), office.authority.feed(after=None)
    with monkeypatch.context() as patch:
        patch.setattr(store, "log_marks", None)  # nor is it asked where the log stands
        patch.setattr(store, "_next_look", math.inf)  # whoever looks may find what he has written himself
        for _ in range(3):
            assert office.authority.feed(limit=2) is first
            assert office.authority.feed() is last
            assert office.authority.feed(after=last.cursor).entries == ()
    assert len(reads) == 3
    many(office, 1)
    assert office.authority.feed(limit=2) is first
    assert len(office.authority.feed().entries) == len(last.entries) + 1
    assert len(reads) == 4


def test_who_come_at_once_wait_for_one_reading(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When everybody begins anew, say."""
    many(office, 3)
    store, reads, going = office.authority._store, list[int](), threading.Event()
    read = store.log

    def slow(after: int, limit: int) -> Any:
        reads.append(after)
        going.wait(30)
        return read(after, limit)

    monkeypatch.setattr(store, "log", slow)
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(office.authority.feed) for _ in range(5)]
        while not reads:
            time.sleep(0.001)
        going.set()
        pages = {id(future.result()) for future in asked}
    assert (len(pages), reads) == (1, [0])


def test_nothing_is_read_for_a_cursor_that_is_gone(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes with one again and again costs little, and leaves nothing behind."""
    cursor = office.authority.feed().cursor
    known = dict(office.authority._feed._known)
    monkeypatch.setattr(office.authority._store, "log", None)
    for spoiled in (cursor + "0", cursor + ".1", "x" + cursor, "", "then"):
        assert gone(office.authority, spoiled)
    assert office.authority._feed._known == known


def test_remembered_pages_are_few(office: Any) -> None:
    """Whoever walks through a long log leaves a handful behind."""
    many(office, 30)
    Follower(office.authority, limit=1).read()
    assert len(office.authority._feed._known) == feed.Feed.CAPACITY


# What cannot be read.


def test_storage_that_fails(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unavailable, and well again when it is."""

    def fails(*_: object) -> Any:
        raise StoreUnavailable

    for name in ("log", "log_marks", "generation"):
        many(office, 1)
        with monkeypatch.context() as patch:
            patch.setattr(office.authority._store, name, fails)
            with pytest.raises(RequestError) as error:
                office.authority.feed()
            assert error.value.code == "unavailable"
        assert office.authority.feed().entries
    monkeypatch.setattr(office.authority._store, "generation", fails)
    with pytest.raises(RequestError) as error:
        office.authority.generation()
    assert error.value.code == "unavailable"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE changes SET at = 9223372036854775807",
        "UPDATE changes SET before = -9223372036854775807",
        "UPDATE changes SET at = 'noon'",
        "UPDATE meta SET value = 5 WHERE name = 'epoch'",
        "DELETE FROM meta WHERE name = 'epoch'",
        "INSERT INTO meta (name, value) VALUES ('log-swept', 'x')",
        "UPDATE sqlite_sequence SET seq = 'x' WHERE name = 'changes'",
    ],
)
def test_a_damaged_log_is_not_told(office: Any, damage: str) -> None:
    """Unavailable, rather than something that never happened."""
    many(office, 1)
    assert office.authority.feed().entries
    with closing(sqlite3.connect(office.settings.database_path)) as connection, connection:
        connection.execute(damage)
    office.authority._store._next_look = 0.0
    with pytest.raises(RequestError) as error:
        office.authority.feed(limit=999)  # none that was read before
    assert error.value.code == "unavailable"
