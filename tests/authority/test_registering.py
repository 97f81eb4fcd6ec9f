"""Dischargers: unique, pinned, from a second of their own on; what a key that goes takes with it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capsvc.authority import Authority
from capsvc.authority.audit import AuditLog
from capsvc.authority.minting import TooEarlyError
from capsvc.authority.pins import proved, with_pin
from capsvc.authority.registering import KeyChange, NewDischarger, Registering
from capsvc.authority.seal import MasterKey, SealError
from capsvc.config import Settings
from capsvc.errors import RequestError
from capsvc.grants import Discharger
from capsvc.macaroon.thirdparty import KeyPair, key_text
from capsvc.store.protocol import StoreUnavailable
from capsvc.store.records import (
    AudienceRecord,
    Change,
    Dependency,
    DischargerRecord,
    ExchangeRecord,
    KeyRecord,
    Minter,
    TokenRecord,
)
from capsvc.store.sqlite import SqliteStore

NOON = 1_795_348_800
A, B, C, D, E, F, G = (KeyPair(bytes([number]) * 32).public for number in range(1, 8))
OURS = b"o" * 32
WHO = "https://who.example"
MINTER = Minter("id", b"b" * 32)


class Desk:
    """Registrations on a store of their own, at whatever second a test says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.master = MasterKey(bytes(range(32)))
        self.audit = AuditLog(self.master)
        self.registering = Registering(self.master, self.audit)
        self.store = SqliteStore.create(path, lambda tx: tx.put_audience(AudienceRecord("default", 1, 0)))
        self.do(lambda tx: tx.put_key(KeyRecord("k", "default", "active", 0, b"", b"")))

    def do(self, work: Any) -> Any:
        """Run something in a transaction of its own."""
        return self.store.write(work).result()

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Do something to the database behind everybody's back."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def add(
        self, name: str = "who", location: str = WHO, key: bytes = A, following: bytes | None = None, at: int = 0
    ) -> Discharger:
        """Register one at so many seconds after noon."""
        asked = NewDischarger(name, location, key, following)
        added: Discharger = self.do(lambda tx: self.registering.add(tx, asked, NOON + at, MINTER))
        return added

    def change(
        self, public: bytes | None = None, following: bytes | None = None, *, clear: bool = False, at: int = 0
    ) -> Discharger:
        """Change the keys of ``who``."""
        asked = KeyChange(public, following, clear_next=clear)
        changed: Discharger = self.do(lambda tx: self.registering.change(tx, "who", asked, NOON + at, MINTER))
        return changed

    def remove(self, name: str = "who", at: int = 0) -> None:
        """Remove one."""
        self.do(lambda tx: self.registering.remove(tx, name, NOON + at, MINTER))

    def row(self, name: str = "who") -> DischargerRecord:
        """What is stored, proved."""
        return proved(self.master, self.do(lambda tx: tx.discharger(name)))

    def counting(self) -> tuple[int, int | None]:
        """From when on the keys of ``who`` count, the next one last, in seconds after noon."""
        row = self.row()
        return row.since - NOON, None if row.next_since is None else row.next_since - NOON

    def token(self, name: str, *keys: bytes, end: int = 100, iat: int = -100, source: str | None = None) -> None:
        """A token that depends on keys: a root that asks for them, or one made in exchange for a source."""
        pair = OURS if source is None else None
        row = TokenRecord(name, "k", "default", None, {}, None, NOON + iat, NOON + end, ("x",), b"b" * 32, None)
        self.do(lambda tx: tx.insert_token(row))
        self.do(lambda tx: tx.insert_dependencies(name, NOON + iat, [Dependency(key, pair) for key in keys]))
        if source is not None:
            self.do(lambda tx: tx.insert_exchange(ExchangeRecord(name, source, b"p" * 32)))

    def dead(self) -> dict[str, int]:
        """The ids that were revoked, and until when that is kept, in seconds after noon."""
        return {change.id or "": change.keep_until - NOON for change in self.store.changes(0) if change.kind == "id"}

    def removed(self) -> list[tuple[str, str, bytes, int, int]]:
        """The keys that were removed, with when, and until when that is kept, in seconds after noon."""
        rows = self.sql("SELECT name, location, public, at, keep_until FROM removed_keys ORDER BY seq")
        return [(name, location, public, at - NOON, until - NOON) for name, location, public, at, until in rows]

    def told(self) -> list[tuple[str | None, str | None, int]]:
        """What followers are told of dischargers: name, state, until when it is kept, in seconds after noon."""
        changes = [change for change in self.store.changes(0) if change.kind == "discharger"]
        assert all(change.audience is None for change in changes)
        return [(change.name, change.state, change.keep_until - NOON) for change in changes]

    def everything(self) -> list[Any]:
        """All that is stored."""
        tables = ("dischargers", "removed_keys", "changes", "audit")
        return [self.sql(f"SELECT * FROM {table}") for table in tables]  # noqa: S608 - our own names


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """An empty one."""
    made = Desk(tmp_path / "capsvc.db")
    yield made
    made.store.close()


def code_of(refused: Any) -> str:
    """The code of what is raised."""
    with pytest.raises(RequestError) as error:
        refused()
    return error.value.code


def is_too_early(act: Any) -> bool:
    """Whether the clock must pass another second first."""
    try:
        act()
    except TooEarlyError:
        return True
    return False


# What is asked for.


def test_what_can_be_registered() -> None:
    """A word, a URL, one or two keys."""
    asked = NewDischarger.checked("who", WHO + "/a/", key_text(A), None)
    assert asked == NewDischarger("who", WHO + "/a/", A, None)
    assert NewDischarger.checked("w:1", "http://127.0.0.1:9", key_text(A), key_text(B)).next_public == B


LOW_ORDER = key_text(bytes(32))


@pytest.mark.parametrize(
    ("name", "location", "key", "following"),
    [
        ("", WHO, key_text(A), None),
        ("a b", WHO, key_text(A), None),
        ("é", WHO, key_text(A), None),
        ("a/b", WHO, key_text(A), None),
        ("w" * 129, WHO, key_text(A), None),
        (None, WHO, key_text(A), None),
        ("who", "who.example", key_text(A), None),
        ("who", "ftp://who.example", key_text(A), None),
        ("who", "https://user@who.example", key_text(A), None),
        ("who", WHO + "?a", key_text(A), None),
        ("who", WHO + "#a", key_text(A), None),
        ("who", WHO + "/a b", key_text(A), None),
        ("who", WHO + "\\a", key_text(A), None),
        ("who", WHO + "/é", key_text(A), None),
        ("who", WHO + "/" + "a" * 2048, key_text(A), None),
        ("who", "", key_text(A), None),
        ("who", None, key_text(A), None),
        ("who", 5, key_text(A), None),
        ("who", WHO, "", None),
        ("who", WHO, key_text(A)[:-1], None),
        ("who", WHO, key_text(A) + "=", None),
        ("who", WHO, key_text(A[:31]), None),
        ("who", WHO, LOW_ORDER, None),
        ("who", WHO, None, None),
        ("who", WHO, A, None),
        ("who", WHO, key_text(A), ""),
        ("who", WHO, key_text(A), LOW_ORDER),
        ("who", WHO, key_text(A), 5),
    ],
)
def test_what_cannot_be_registered(name: Any, location: Any, key: Any, following: Any) -> None:
    """`bad-request`, before anything is written."""
    assert code_of(lambda: NewDischarger.checked(name, location, key, following)) == "bad-request"


def test_what_a_change_names() -> None:
    """A key, a next key, or that the next one goes; at least one of them, and no contradiction."""
    assert KeyChange.checked(key_text(A), None, clear_next=False) == KeyChange(A, None, clear_next=False)
    assert KeyChange.checked(key_text(A), key_text(B), clear_next=False) == KeyChange(A, B, clear_next=False)
    assert KeyChange.checked(None, None, clear_next=True) == KeyChange(None, None, clear_next=True)
    for public, following, clear in (
        (None, None, False),
        (None, key_text(B), True),
        (LOW_ORDER, None, False),
        (None, LOW_ORDER, False),
        ("", None, False),
        (None, "", False),
    ):
        assert code_of(
            lambda one=public, two=following, three=clear: KeyChange.checked(one, two, clear_next=three)
        ) == ("bad-request")


# Adding.


def test_a_registration_is_stored_pinned_told_and_audited(desk: Desk) -> None:
    """It counts from its second on, and is answered as it is stored."""
    added = desk.add(following=B, at=3)
    assert (added.name, added.location, added.public_key, added.next_public_key) == (
        "who",
        WHO,
        key_text(A),
        key_text(B),
    )
    assert (int(added.created_at.timestamp()), added.seq) == (NOON + 3, 1)
    row = desk.row()
    assert (row.public, row.since, row.next_public, row.next_since, row.created_at) == (
        *(A, NOON + 3),
        *(B, NOON + 3),
        NOON + 3,
    )
    assert desk.told() == [("who", "added", 3)]
    (line,) = desk.store.audit()
    assert (line.at, line.action, line.audience, line.target, line.minter) == (
        *(NOON + 3, "add discharger", None),
        *("who", MINTER),
    )
    assert json.loads(line.detail) == {"location": WHO, "public_key": key_text(A), "next_public_key": key_text(B)}


def test_without_a_next_key(desk: Desk) -> None:
    """There is none, and so no second from which it counts."""
    assert desk.add().next_public_key is None
    assert (desk.row().next_public, desk.row().next_since) == (None, None)
    (line,) = desk.store.audit()
    assert json.loads(line.detail) == {"location": WHO, "public_key": key_text(A)}


@pytest.mark.parametrize(
    "taken",
    [
        {"name": "who"},
        {"location": WHO},
        {"location": WHO + "/"},
        {"key": A},
        {"key": B},
        {"following": A},
        {"following": B},
        {"key": D, "following": D},
    ],
)
def test_name_location_and_keys_are_unique(desk: Desk, taken: dict[str, Any]) -> None:
    """`exists`, and nothing is written; what differs in all of them is another discharger."""
    desk.add(following=B)
    free: dict[str, Any] = {"name": "other", "location": WHO + "/other", "key": C}
    before = desk.everything()
    assert code_of(lambda: desk.add(**{**free, **taken})) == "exists"
    assert desk.everything() == before
    assert desk.add(**free, following=D).name == "other"
    assert [one.name for one in desk.store.dischargers()] == ["who", "other"]


def test_a_location_with_a_slash_is_the_one_without(desk: Desk) -> None:
    """Whichever was there first; two slashes are another one."""
    desk.add(location=WHO + "/a/")
    assert code_of(lambda: desk.add("other", WHO + "/a", B)) == "exists"
    assert desk.add("other", WHO + "/a//", B).location == WHO + "/a//"


# The second of a registration.

AGAIN: list[dict[str, Any]] = [
    {"location": WHO + "/2", "key": C},
    {"name": "other", "key": C},
    {"name": "other", "location": WHO + "/", "key": C},
    {"name": "other", "location": WHO + "/2", "key": A},
    {"name": "other", "location": WHO + "/2", "key": B},
    {"name": "other", "location": WHO + "/2", "key": C, "following": A},
    {"name": "other", "location": WHO + "/2", "key": C, "following": B},
]


@pytest.mark.parametrize(("offset", "early"), [(-1, True), (0, True), (1, False)])
@pytest.mark.parametrize(
    "again",
    AGAIN,
)
def test_a_registration_comes_after_what_was_removed(
    desk: Desk, again: dict[str, Any], offset: int, early: bool
) -> None:
    """The same name, location or key, current or next: not in the same second, nor by a clock that was set back."""
    desk.add(following=B, at=-50)
    desk.remove(at=10)
    before = desk.everything()
    assert is_too_early(lambda: desk.add(**again, at=10 + offset)) is early
    assert (desk.everything() == before) is early


def test_another_registration_need_not_wait(desk: Desk) -> None:
    """One that shares nothing with what was removed in that second."""
    desk.add(following=B)
    desk.remove()
    desk.add("other", WHO + "/2", C, D)
    assert desk.row("other").since == desk.row("other").next_since == NOON


@pytest.mark.parametrize(("offset", "early"), [(-1, True), (0, True), (1, False)])
@pytest.mark.parametrize("keys", [(A, None), (B, A)])
def test_a_registration_comes_after_every_root_that_asked(
    desk: Desk, keys: tuple[bytes, bytes | None], offset: int, early: bool
) -> None:
    """Whatever became of the removal's own row; an exchanged token asked for nothing."""
    desk.token("root", A, iat=10)
    desk.token("fresher", C, iat=90)
    desk.token("exchanged", A, B, iat=90, source="root")
    assert is_too_early(lambda: desk.add(key=keys[0], following=keys[1], at=10 + offset)) is early


# Changing.


def test_a_key_that_stays_counts_as_before(desk: Desk) -> None:
    """Next keys come and go beside it; each counts from its own second on."""
    desk.add(at=0)
    assert desk.change(following=B, at=10).next_public_key == key_text(B)
    assert desk.counting() == (0, 10)
    assert desk.change(following=C, at=20).next_public_key == key_text(C)
    assert desk.counting() == (0, 20)
    assert desk.change(clear=True, at=30).next_public_key is None
    assert desk.counting() == (0, None)
    assert [(public, at) for _, _, public, at, _ in desk.removed()] == [(B, 20), (C, 30)]


def test_the_next_key_takes_over(desk: Desk) -> None:
    """It counts as before, its place is empty, the former key is gone."""
    desk.add(at=0)
    desk.change(following=B, at=10)
    changed = desk.change(B, at=20)
    assert (changed.public_key, changed.next_public_key) == (key_text(B), None)
    assert desk.counting() == (10, None)
    assert desk.removed() == [("who", WHO, A, 20, 20)]


def test_the_next_key_takes_over_and_another_follows(desk: Desk) -> None:
    """In one act; the fresh one counts from then on."""
    desk.add(following=B, at=0)
    changed = desk.change(B, C, at=20)
    assert (changed.public_key, changed.next_public_key) == (key_text(B), key_text(C))
    assert desk.counting() == (0, 20)
    assert desk.removed() == [("who", WHO, A, 20, 20)]


def test_the_keys_change_places(desk: Desk) -> None:
    """Neither goes, each counts as before."""
    desk.add(at=0)
    desk.change(following=B, at=10)
    assert desk.change(B, A, at=20).next_public_key == key_text(A)
    assert desk.counting() == (10, 0)
    assert desk.removed() == []


def test_another_key_leaves_the_next_one(desk: Desk) -> None:
    """The key that it replaces goes; `clear_next` takes the other along."""
    desk.add(following=B, at=0)
    changed = desk.change(C, at=10)
    assert (changed.public_key, changed.next_public_key) == (key_text(C), key_text(B))
    assert desk.counting() == (10, 0)
    assert desk.change(D, clear=True, at=20).next_public_key is None
    assert desk.removed() == [("who", WHO, A, 10, 10), ("who", WHO, C, 20, 20), ("who", WHO, B, 20, 20)]


def test_the_same_key_once_more_changes_nothing(desk: Desk) -> None:
    """It counts as before, and nothing goes."""
    desk.add(following=B, at=0)
    before = desk.row()
    desk.change(A, at=10)
    desk.change(following=B, at=10)
    assert desk.row() == before
    assert desk.removed() == []


def test_name_location_place_and_birth_stay(desk: Desk) -> None:
    """A change is one of keys alone; it is told and audited."""
    added = desk.add(following=B, at=0)
    changed = desk.change(C, at=10)
    assert (changed.name, changed.location, changed.created_at, changed.seq) == (
        *(added.name, added.location),
        *(added.created_at, added.seq),
    )
    assert desk.told() == [("who", "added", 0), ("who", "changed", 10)]
    line = list(desk.store.audit())[-1]
    assert (line.at, line.action, line.target, line.minter) == (NOON + 10, "set discharger", "who", MINTER)
    assert json.loads(line.detail) == {"location": WHO, "public_key": key_text(C), "next_public_key": key_text(B)}
    assert desk.audit.verify(desk.store.audit()) == 2


def test_what_no_change_can_be(desk: Desk) -> None:
    """Of whom nobody knows, to a key that is taken, or to one key twice; nothing is written."""
    assert code_of(lambda: desk.change(B)) == "not-found"
    desk.add(following=B)
    desk.add("other", WHO + "/2", C, D)
    before = desk.everything()
    for public, following in ((C, None), (D, None), (None, C), (None, D), (None, A), (B, B), (A, A), (E,) * 2):
        assert code_of(lambda one=public, two=following: desk.change(one, two)) == "exists"
    assert desk.everything() == before
    assert desk.change(E, F).public_key == key_text(E)


@pytest.mark.parametrize(("offset", "early"), [(-1, True), (0, True), (1, False)])
@pytest.mark.parametrize("back", [(A, None), (None, A)])
def test_a_key_that_was_dropped_comes_back_later(
    desk: Desk, back: tuple[bytes | None, bytes | None], offset: int, early: bool
) -> None:
    """Counting anew; so what died with it stays dead."""
    desk.add(at=0)
    desk.change(B, at=10)
    before = desk.everything()
    assert is_too_early(lambda: desk.change(*back, at=10 + offset)) is early
    if early:
        assert desk.everything() == before
    else:
        assert 11 in desk.counting()


@pytest.mark.parametrize(("offset", "early"), [(-1, True), (0, True), (1, False)])
def test_nor_is_it_another_dischargers_in_that_second(desk: Desk, offset: int, early: bool) -> None:
    """A key is dead for everybody."""
    desk.add(at=0)
    desk.add("other", WHO + "/2", C, at=0)
    desk.change(B, at=10)
    change = KeyChange(None, A, clear_next=False)
    act = lambda: desk.do(lambda tx: desk.registering.change(tx, "other", change, NOON + 10 + offset, None))  # noqa: E731
    assert is_too_early(act) is early


@pytest.mark.parametrize(("offset", "early"), [(-1, True), (0, True), (1, False)])
@pytest.mark.parametrize("fresh", [(B, None), (None, B)])
def test_a_fresh_key_comes_after_every_root_that_asked_for_it(
    desk: Desk, fresh: tuple[bytes | None, bytes | None], offset: int, early: bool
) -> None:
    """When it was registered before; those that ask for keys that stay do not matter."""
    desk.add(at=0)
    desk.token("old", B, iat=10)
    desk.token("new", A, iat=90)
    assert is_too_early(lambda: desk.change(*fresh, at=10 + offset)) is early


def test_fresh_keys_need_not_wait_for_one_another(desk: Desk) -> None:
    """What a discharger drops holds up neither what replaces it nor the next change, in the same second."""
    desk.add()
    for key in (B, C, D):
        desk.change(key)
    desk.change(following=E)
    assert desk.counting() == (0, 0)
    assert [public for _, _, public, _, _ in desk.removed()] == [A, B, C]


def test_a_stored_key_need_not_wait(desk: Desk) -> None:
    """Changes that bring no fresh key happen at once, whatever was asked or removed in that second."""
    desk.add(following=B, at=-10)
    desk.token("root", A, B, iat=0)
    desk.change(B, A)
    desk.change(clear=True)
    assert desk.counting() == (-10, None)


# What goes with a key.


@pytest.fixture
def families(desk: Desk) -> Desk:
    """Tokens that depend on a current key and on a next one, and what was made of them by exchange, and of that."""
    desk.add(following=B, at=-200)
    desk.add("other", WHO + "/2", C, at=-200)
    desk.token("root-a", A, end=900)
    desk.token("root-b", B, end=500)
    desk.token("root-c", C, end=950)
    for key, name, end in ((A, "a", 400), (B, "b", 300), (C, "c", 200)):
        desk.token(f"ex-{name}", key, end=end, source=f"root-{name}")
        desk.token(f"ex-ex-{name}", end=end - 1, source=f"ex-{name}")
    desk.token("plain", end=999)
    return desk


def test_removal_kills_what_was_exchanged_under_every_key(families: Desk) -> None:
    """And what came of it, each until its own end; others live."""
    families.remove(at=5)
    assert families.dead() == {"ex-a": 400, "ex-ex-a": 399, "ex-b": 300, "ex-ex-b": 299}
    assert families.removed() == [("who", WHO, A, 5, 900), ("who", WHO, B, 5, 500)]
    assert families.told()[-1] == ("who", "removed", 900)
    assert [one.name for one in families.store.dischargers()] == ["other"]
    line = list(families.store.audit())[-1]
    assert (line.at, line.action, line.target, line.minter) == (NOON + 5, "remove discharger", "who", MINTER)
    assert json.loads(line.detail) == {"location": WHO, "public_key": key_text(A), "next_public_key": key_text(B)}


@pytest.mark.parametrize(
    ("change", "dead", "kept"),
    [
        ({"public": D}, ["ex-a", "ex-ex-a"], 900),
        ({"public": B}, ["ex-a", "ex-ex-a"], 900),
        ({"following": D}, ["ex-b", "ex-ex-b"], 500),
        ({"clear": True}, ["ex-b", "ex-ex-b"], 500),
        ({"public": D, "clear": True}, ["ex-a", "ex-ex-a", "ex-b", "ex-ex-b"], 900),
        ({"public": B, "following": A}, [], 5),
        ({"public": A}, [], 5),
    ],
)
def test_a_change_kills_what_was_exchanged_under_the_keys_that_go(
    families: Desk, change: dict[str, Any], dead: list[str], kept: int
) -> None:
    """And nothing else; followers are told for as long as a dependent lives."""
    families.change(**change, at=5)
    assert sorted(families.dead()) == sorted(dead)
    assert families.told()[-1] == ("who", "changed", kept)


def test_what_was_revoked_before_has_one_entry(families: Desk) -> None:
    """What came of it dies all the same; a whole family's entry takes the place of its branches'."""
    families.do(lambda tx: tx.append_change(Change("id", "default", NOON, NOON + 400, id="ex-a")))
    families.do(lambda tx: tx.append_change(Change("branch", "default", NOON, NOON, id="ex-b", branch=b"b" * 32)))
    families.remove(at=5)
    left = [(change.kind, change.id, change.at - NOON) for change in families.store.changes(0) if change.id]
    assert sorted(left) == [("id", "ex-a", 0), ("id", "ex-b", 5), ("id", "ex-ex-a", 5), ("id", "ex-ex-b", 5)]


def test_what_has_expired_holds_nothing_up(families: Desk) -> None:
    """A removal is kept no longer than itself then."""
    families.remove(at=1000)
    assert families.removed() == [("who", WHO, A, 1000, 1000), ("who", WHO, B, 1000, 1000)]
    assert families.told()[-1] == ("who", "removed", 1000)


def test_what_is_not_there_cannot_be_removed(desk: Desk) -> None:
    """`not-found`, a second time too; nothing is written."""
    desk.add()
    before = desk.everything()
    assert code_of(lambda: desk.remove("nobody")) == "not-found"
    assert desk.everything() == before
    desk.remove()
    before = desk.everything()
    assert code_of(desk.remove) == "not-found"
    assert desk.everything() == before


# Pins.


def test_every_value_of_a_row_is_under_its_mac() -> None:
    """But for its place, which says nothing; none can pass for its neighbour."""
    master = MasterKey(bytes(range(32)))
    row = with_pin(master, DischargerRecord("who", WHO, A, 10, B, 20, 5, b""))
    assert proved(master, row) == row
    assert proved(master, replace(row, seq=9)).seq == 9
    for change in (
        {"name": "whom"},
        {"location": WHO + "/"},
        {"public": C},
        {"since": 9},
        {"next_public": C},
        {"next_since": 19},
        {"next_public": None},
        {"next_since": None},
        {"next_public": None, "next_since": None},
        {"created_at": 6},
        {"mac": bytes(32)},
        {"mac": b""},
        {"public": B, "next_public": A},
        {"since": 20, "next_since": 10},
        {"name": "who" + WHO, "location": ""},
    ):
        with pytest.raises(SealError):
            proved(master, replace(row, **change))
    with pytest.raises(SealError):
        proved(MasterKey(bytes(32)), row)


ALTERED = (
    "UPDATE dischargers SET public = zeroblob(32) WHERE name = 'who'",
    "UPDATE dischargers SET since = since - 1 WHERE name = 'who'",
    "UPDATE dischargers SET location = location || '/x' WHERE name = 'who'",
    "UPDATE dischargers SET next_public = NULL, next_since = NULL WHERE name = 'who'",
    "UPDATE dischargers SET created_at = 5 WHERE name = 'who'",
    "UPDATE dischargers SET mac = (SELECT mac FROM dischargers WHERE name = 'other') WHERE name = 'who'",
    "UPDATE dischargers SET (public, mac) = (SELECT public, mac FROM dischargers WHERE name = 'other') WHERE seq = 1",
)


@pytest.mark.parametrize("statement", ALTERED)
def test_no_act_of_ours_gives_an_altered_row_a_mac(desk: Desk, statement: str) -> None:
    """Neither a change nor a removal, which would drop the wrong keys; nothing is written."""
    desk.add(following=B)
    desk.add("other", WHO + "/2", C, G)
    desk.sql(statement)
    before = desk.everything()
    for act in (
        lambda: desk.change(E, at=10),
        lambda: desk.change(clear=True, at=10),
        lambda: desk.remove(at=10),
    ):
        with pytest.raises(StoreUnavailable, match="MAC for discharger pin"):
            act()
        assert desk.everything() == before


# By the authority.


def test_a_clock_that_stands_still_is_waited_for_in_vain(office: Any) -> None:
    """`unavailable`, from the change as from the registration; a second later both are good."""
    first = {"name": "who", "location": WHO, "public_key": key_text(A)}
    office.authority.add_discharger(**first, next_public_key=key_text(B))
    office.authority.set_discharger("who", clear_next=True)
    assert code_of(lambda: office.authority.set_discharger("who", next_public_key=key_text(B))) == "unavailable"
    office.clock.now += 1
    assert office.authority.set_discharger("who", next_public_key=key_text(B)).next_public_key == key_text(B)
    office.authority.remove_discharger("who")
    assert code_of(lambda: office.authority.add_discharger(**first)) == "unavailable"
    assert office.authority.dischargers() == ()
    office.clock.now += 1
    assert office.authority.add_discharger(**first).name == "who"


def test_a_clock_that_goes_is_waited_for(tmp_path: Path) -> None:
    """Removed and registered again by one who does not look at the clock."""
    with Authority.open(Settings(data_dir=tmp_path / "data"), clock=time.time) as authority:
        for _ in range(2):
            added = authority.add_discharger(name="who", location=WHO, public_key=key_text(A))
            assert authority.discharger("who") == added
            authority.remove_discharger("who")
        assert authority.discharger("who") is None


def test_all_of_it_by_the_authority(office: Any) -> None:
    """The codes that its callers know, and what it answers; another process sees the same."""
    authority = office.authority
    added = authority.add_discharger(name="who", location=WHO, public_key=key_text(A))
    with office.another() as other:
        assert other.dischargers() == authority.dischargers() == (added,)
        assert authority.set_discharger("who", next_public_key=key_text(B)) == other.discharger("who")
        assert code_of(lambda: other.add_discharger(name="who", location=WHO, public_key=key_text(C))) == "exists"
        other.remove_discharger("who")
        assert authority.discharger("who") is None
    for refused in (
        lambda: authority.remove_discharger("who"),
        lambda: authority.set_discharger("who", clear_next=True),
    ):
        assert code_of(refused) == "not-found"
    assert code_of(lambda: authority.set_discharger("who")) == "bad-request"
    assert code_of(lambda: authority.add_discharger(name="a b", location=WHO, public_key=key_text(A))) == "bad-request"


@pytest.mark.parametrize("name", ["", "é", "\udcff", "a\0b"])
def test_names_that_nobody_can_have(office: Any, name: str) -> None:
    """`not-found`, as for any other that is not there."""
    assert office.authority.discharger(name) is None
    assert code_of(lambda: office.authority.remove_discharger(name)) == "not-found"
    assert code_of(lambda: office.authority.set_discharger(name, clear_next=True)) == "not-found"


def test_another_spelling_of_a_key_is_the_same_key(office: Any) -> None:
    """X25519 ignores the highest bit: a second name for a key that somebody has would be a second owner."""
    login = office.register()
    alias = login.pair.public[:-1] + bytes([login.pair.public[-1] | 0x80])
    with pytest.raises(RequestError) as refused:
        office.authority.add_discharger(name="x", location="https://x.example", public_key=key_text(alias))
    assert refused.value.code == "exists"
    fresh = KeyPair.generate().public
    high = fresh[:-1] + bytes([fresh[-1] | 0x80])
    added = office.authority.add_discharger(name="x", location="https://x.example", public_key=key_text(high))
    assert added.public_key == key_text(high)
    assert office.mint(third_party=[{"location": "https://x.example", "condition": "c"}])
