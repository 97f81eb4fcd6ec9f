"""What the store keeps of third parties: dischargers, what depends on them, exchanged tokens, our own key pairs."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from capsvc.store.protocol import StoreUnavailable, Transaction
from capsvc.store.records import (
    AudienceRecord,
    BoxKeyRecord,
    Dependency,
    DischargerRecord,
    Exchanged,
    ExchangeRecord,
    KeyRecord,
    RemovedKeyRecord,
    TokenRecord,
)
from capsvc.store.sqlite import SqliteStore

T = TypeVar("T")

ALICE, BOB, CAROL = (bytes([number]) * 32 for number in (1, 2, 3))
OURS, FORMER = b"o" * 32, b"f" * 32
LOGIN = DischargerRecord("login", "https://a.example", ALICE, 100, None, None, 90, b"mac")
PAY = DischargerRecord("pay", "https://b.example/", BOB, 110, CAROL, 120, 95, b"MAC")


def token(name: str, expires_at: int = 1000, kid: str = "k") -> TokenRecord:
    """A row of a token of that id."""
    return TokenRecord(name, kid, "default", None, {}, None, 0, expires_at, ("x",), b"b" * 32, None)


@pytest.fixture
def do(store: SqliteStore) -> Callable[[Callable[[Transaction], T]], T]:
    """Run something in a transaction of its own, on a store that has one key."""
    store.write(lambda tx: tx.put_audience(AudienceRecord("default", 1, 0))).result()
    store.write(lambda tx: tx.put_key(KeyRecord("k", "default", "active", 0, b"", b""))).result()
    return lambda work: store.write(work).result()


@pytest.fixture
def sql(tmp_path: Path, store: SqliteStore) -> Callable[..., list[Any]]:
    """Do something to the database behind everybody's back."""

    def run(statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(tmp_path / "capsvc.db")) as connection, connection:
            return connection.execute(statement, values).fetchall()

    return run


# Dischargers.


def test_dischargers_are_kept_oldest_first(store: SqliteStore, do: Any) -> None:
    """Inside a transaction and outside of one they are the same."""
    assert do(lambda tx: tx.dischargers()) == store.dischargers() == []
    assert do(lambda tx: tx.discharger("login")) is None
    do(lambda tx: [tx.put_discharger(one) for one in (PAY, LOGIN)])
    expected = [replace(PAY, seq=1), replace(LOGIN, seq=2)]
    assert do(lambda tx: tx.dischargers()) == store.dischargers() == expected
    assert do(lambda tx: tx.discharger("login")) == expected[1]


def test_a_discharger_is_replaced_in_its_place(do: Any) -> None:
    """All of it, but for its place and its birth; the other stays as it is."""
    do(lambda tx: [tx.put_discharger(one) for one in (LOGIN, PAY)])
    changed = DischargerRecord("login", "https://c.example", CAROL, 200, ALICE, 201, 7, b"new")
    do(lambda tx: tx.put_discharger(changed))
    assert do(lambda tx: tx.dischargers()) == [replace(changed, seq=1, created_at=90), replace(PAY, seq=2)]


def test_a_place_is_never_given_twice(do: Any) -> None:
    """It is a cursor that somebody may hold."""
    do(lambda tx: [tx.put_discharger(LOGIN), tx.put_discharger(PAY)])
    do(lambda tx: tx.delete_discharger("pay"))
    assert [one.name for one in do(lambda tx: tx.dischargers())] == ["login"]
    do(lambda tx: tx.put_discharger(PAY))
    assert do(lambda tx: tx.discharger("pay")).seq == 3


@pytest.mark.parametrize(
    "change",
    [
        "name = x'00'",
        "location = x'00'",
        "public = 'x'",
        "since = 'x'",
        "since = 1.5",
        "next_public = 'x'",
        "next_since = 'x'",
        "next_public = NULL",
        "next_since = NULL",
        "created_at = x'00'",
        "mac = 5",
    ],
)
def test_a_damaged_discharger_cannot_be_read(store: SqliteStore, do: Any, sql: Any, change: str) -> None:
    """Neither alone nor among others, neither inside a transaction nor outside of one."""
    do(lambda tx: tx.put_discharger(PAY))
    sql("UPDATE dischargers SET seq = 5")
    assert do(lambda tx: tx.discharger("pay")) == replace(PAY, seq=5)
    sql(f"UPDATE dischargers SET {change}")  # noqa: S608
    for read in (
        store.dischargers,
        lambda: do(lambda tx: tx.dischargers()),
        lambda: do(lambda tx: tx.discharger(sql("SELECT name FROM dischargers")[0][0])),
    ):
        with pytest.raises(StoreUnavailable, match="a discharger is damaged"):
            read()


# Removed keys.

REMOVED = [
    RemovedKeyRecord("login", "https://a.example", ALICE, 100, 500),
    RemovedKeyRecord("login", "https://b.example/", BOB, 130, 600),
    RemovedKeyRecord("pay", "https://b.example", CAROL, 120, 700),
    RemovedKeyRecord("slash", "https://c.example//", b"s" * 32, 140, 700),
]
UNKNOWN = b"?" * 32


@pytest.mark.parametrize(
    ("name", "location", "publics", "expected"),
    [
        ("nobody", "https://d.example", [UNKNOWN], None),
        (None, None, [], None),
        (None, None, [UNKNOWN], None),
        ("login", "https://d.example", [UNKNOWN], 130),
        ("login", None, [], 130),
        ("LOGIN", None, [], None),
        ("nobody", "https://b.example", [], 130),
        ("nobody", "https://b.example/", [], 130),
        ("pay", "https://a.example/", [], 120),
        (None, "https://a.example", [], 100),
        (None, "https://a.exampl", [], None),
        (None, "https://c.example//", [], 140),
        (None, "https://c.example/", [], None),
        (None, "https://c.example", [], None),
        (None, None, [ALICE], 100),
        (None, None, [CAROL, ALICE], 120),
        (None, None, [UNKNOWN, BOB], 130),
        ("nobody", "", [], None),
    ],
)
def test_the_last_removal(do: Any, name: Any, location: Any, publics: Any, expected: Any) -> None:
    """By name, location or key, whichever is latest; a location less one slash."""
    do(lambda tx: [tx.put_removed_key(one) for one in REMOVED])
    assert do(lambda tx: tx.last_removal(name, location, publics)) == expected


def test_removed_keys_are_swept_by_their_own_end(do: Any, sql: Any) -> None:
    """A portion at a time; what is kept until that very second stays."""
    do(lambda tx: [tx.put_removed_key(one) for one in REMOVED])
    for before, limit, gone in ((500, 9, 0), (501, 9, 1), (701, 2, 2), (701, 2, 1), (701, 2, 0)):
        assert do(lambda tx, before=before, limit=limit: tx.sweep_removed_keys(before, limit)) == gone
    assert sql("SELECT count(*) FROM removed_keys") == [(0,)]


# What depends on a discharger.


def test_when_a_key_was_asked_for_last(do: Any) -> None:
    """Whichever of the keys; an exchanged token asks for nothing."""
    assert do(lambda tx: tx.last_asked([ALICE])) is None
    do(lambda tx: tx.insert_dependencies("t1", 100, [Dependency(ALICE, OURS), Dependency(BOB, OURS)]))
    do(lambda tx: tx.insert_dependencies("t2", 90, [Dependency(ALICE, FORMER)]))
    do(lambda tx: tx.insert_dependencies("t3", 110, [Dependency(BOB, FORMER)]))
    do(lambda tx: tx.insert_dependencies("t4", 120, [Dependency(ALICE, None), Dependency(CAROL, None)]))
    for publics, expected in (
        ([ALICE], 100),
        ([BOB], 110),
        ([CAROL], None),
        ([], None),
        ([ALICE, BOB], 110),
        ([BOB, CAROL, ALICE], 110),
    ):
        assert do(lambda tx, publics=publics: tx.last_asked(publics)) == expected


def test_a_token_depends_on_a_key_once(do: Any, sql: Any) -> None:
    """However many of its caveats ask for it; two keys are two."""
    do(lambda tx: tx.insert_dependencies("t1", 100, [Dependency(ALICE, OURS)] * 2 + [Dependency(BOB, OURS)]))
    do(lambda tx: tx.insert_dependencies("t2", 100, []))
    rows = sql("SELECT token_id, public, pair, issued_at FROM token_dischargers ORDER BY public")
    assert rows == [("t1", ALICE, OURS, 100), ("t1", BOB, OURS, 100)]


def test_when_the_last_dependent_expires(do: Any) -> None:
    """Exchanged ones too; by the tokens' own rows."""
    assert do(lambda tx: tx.last_expiry_of_dependents(ALICE)) is None
    for name, expires_at in (("t1", 500), ("t2", 700), ("t3", 600), ("t4", 900)):
        do(lambda tx, name=name, expires_at=expires_at: tx.insert_token(token(name, expires_at)))
    do(lambda tx: tx.insert_dependencies("t1", 0, [Dependency(ALICE, OURS)]))
    assert do(lambda tx: tx.last_expiry_of_dependents(ALICE)) == 500
    do(lambda tx: tx.insert_dependencies("t2", 0, [Dependency(ALICE, None)]))
    do(lambda tx: tx.insert_dependencies("t3", 0, [Dependency(ALICE, OURS)]))
    do(lambda tx: tx.insert_dependencies("t4", 0, [Dependency(BOB, OURS)]))
    assert do(lambda tx: tx.last_expiry_of_dependents(ALICE)) == 700


@pytest.fixture
def family(do: Any) -> None:
    """A root that depends on Alice, exchanged for two, one of those for another; and one that depends on Bob alone."""
    for name, source in (("e1", "root"), ("e2", "root"), ("e3", "e1"), ("e4", "other")):
        do(lambda tx, name=name: tx.insert_token(token(name, 100 + int(name[1]))))
        do(lambda tx, name=name, source=source: tx.insert_exchange(ExchangeRecord(name, source, name.encode() * 16)))
    do(lambda tx: tx.insert_token(token("root")))
    do(lambda tx: tx.insert_dependencies("root", 0, [Dependency(ALICE, OURS)]))
    for name in ("e1", "e2"):
        do(lambda tx, name=name: tx.insert_dependencies(name, 0, [Dependency(ALICE, None)]))
    do(lambda tx: tx.insert_dependencies("e2", 0, [Dependency(BOB, None)]))
    do(lambda tx: tx.insert_dependencies("e4", 0, [Dependency(BOB, None)]))


@pytest.mark.usefixtures("family")
def test_what_came_of_a_token_by_exchange(do: Any) -> None:
    """One step down, with the audience and end of its own row, and the way it was made by."""
    first, second = (Exchanged(name, "default", 100 + int(name[1]), name.encode() * 16) for name in ("e1", "e2"))
    assert do(lambda tx: tx.exchanged_from("root")) == [first, second]
    assert [one.id for one in do(lambda tx: tx.exchanged_from("e1"))] == ["e3"]
    assert do(lambda tx: tx.exchanged_from("e3")) == do(lambda tx: tx.exchanged_from("nobody")) == []


@pytest.mark.usefixtures("family")
def test_what_was_exchanged_under_a_key(do: Any) -> None:
    """Not the roots that depend on it; each once."""
    for public, names in ((ALICE, ["e1", "e2"]), (BOB, ["e2", "e4"]), (CAROL, [])):
        assert sorted(one.id for one in do(lambda tx, public=public: tx.exchanged_under(public))) == names


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize("statement", ["UPDATE exchanges SET path = 'x'", "UPDATE tokens SET expires_at = 'x'"])
def test_a_damaged_exchange_cannot_be_read(do: Any, sql: Any, statement: str) -> None:
    """What would have to die is not guessed at."""
    sql(statement)
    for read in (lambda tx: tx.exchanged_from("root"), lambda tx: tx.exchanged_under(ALICE)):
        with pytest.raises(StoreUnavailable, match="an exchanged token is damaged"):
            do(read)


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("UPDATE removed_keys SET at = 'x'", lambda tx: tx.last_removal("login", None, [])),
        ("UPDATE removed_keys SET at = 1.5", lambda tx: tx.last_removal("login", None, [])),
        ("UPDATE token_dischargers SET issued_at = x'00'", lambda tx: tx.last_asked([ALICE])),
        ("UPDATE tokens SET expires_at = 'x'", lambda tx: tx.last_expiry_of_dependents(ALICE)),
        ("UPDATE tokens SET expires_at = 'x'", lambda tx: tx.last_expiry_of_key("k")),
    ],
)
@pytest.mark.usefixtures("family")
def test_numbers_that_are_none_cannot_be_read(do: Any, sql: Any, statement: str, read: Any) -> None:
    """They would be compared with seconds."""
    do(lambda tx: [tx.put_removed_key(one) for one in REMOVED])
    assert isinstance(do(read), int)
    sql(statement)
    with pytest.raises(StoreUnavailable, match="a number is damaged"):
        do(read)


@pytest.mark.usefixtures("family")
def test_what_is_kept_of_a_token_goes_with_it(do: Any, sql: Any) -> None:
    """In the same transaction, within the same bound; what came of it stays until its own end."""
    assert do(lambda tx: tx.sweep_tokens(101, 9)) == 0
    assert do(lambda tx: tx.sweep_tokens(103, 1)) == 1
    assert do(lambda tx: tx.sweep_tokens(103, 9)) == 1
    assert sql("SELECT id FROM exchanges ORDER BY id") == [("e3",), ("e4",)]
    assert sql("SELECT token_id FROM token_dischargers ORDER BY token_id") == [("e4",), ("root",)]
    assert do(lambda tx: tx.exchanged_under(ALICE)) == []
    assert do(lambda tx: tx.sweep_tokens(2000, 9)) == 3
    assert sql("SELECT count(*) FROM exchanges") == sql("SELECT count(*) FROM token_dischargers") == [(0,)]


# Our own key pairs.


def pair(public: bytes, state: str, mac: bytes = b"m") -> BoxKeyRecord:
    """A row of a key pair."""
    return BoxKeyRecord(public, state, 5, b"sealed", mac)


def test_key_pairs_are_kept_oldest_first(store: SqliteStore, do: Any) -> None:
    """Each is moved in its place, by its public key; what is sealed stays."""
    do(lambda tx: [tx.put_box_key(pair(OURS, "active")), tx.put_box_key(pair(FORMER, "next"))])
    assert do(lambda tx: tx.box_keys()) == store.box_keys() == [pair(OURS, "active"), pair(FORMER, "next")]
    do(lambda tx: tx.put_box_key(replace(pair(OURS, "retiring", b"M"), secret=b"other", created_at=6)))
    do(lambda tx: tx.put_box_key(pair(FORMER, "active")))
    assert store.box_keys() == [pair(OURS, "retiring", b"M"), pair(FORMER, "active")]
    do(lambda tx: tx.delete_box_key(OURS))
    assert do(lambda tx: tx.box_keys()) == store.box_keys() == [pair(FORMER, "active")]


@pytest.mark.parametrize("state", ["active", "next"])
def test_never_two_key_pairs_of_one_state(store: SqliteStore, do: Any, state: str) -> None:
    """Of those that there is one of: the database refuses the second, and nothing of that write stays."""
    do(lambda tx: tx.put_box_key(pair(OURS, state)))
    with pytest.raises(StoreUnavailable, match="UNIQUE"):
        do(lambda tx: [tx.put_box_key(pair(b"r" * 32, "retiring")), tx.put_box_key(pair(FORMER, state))])
    assert store.box_keys() == [pair(OURS, state)]
    do(lambda tx: [tx.put_box_key(pair(FORMER, "retiring")), tx.put_box_key(pair(b"r" * 32, "retiring"))])
    assert len(store.box_keys()) == 3


def test_which_key_pairs_are_idle(do: Any) -> None:
    """Retiring ones under which nothing kept is sealed; an exchanged token needs none."""
    states = {OURS: "active", FORMER: "retiring", b"i" * 32: "retiring", b"n" * 32: "next"}
    do(lambda tx: [tx.put_box_key(pair(public, state)) for public, state in states.items()])
    do(lambda tx: [tx.insert_token(token("t1")), tx.insert_token(token("t2"))])
    do(lambda tx: tx.insert_dependencies("t1", 0, [Dependency(ALICE, FORMER)]))
    do(lambda tx: tx.insert_dependencies("t2", 0, [Dependency(ALICE, None)]))
    assert do(lambda tx: tx.idle_box_keys()) == [b"i" * 32]
    do(lambda tx: tx.sweep_tokens(2000, 9))
    assert do(lambda tx: tx.idle_box_keys()) == [FORMER, b"i" * 32]


@pytest.mark.parametrize("change", ["public = 5", "state = x'00'", "created_at = 'x'", "secret = 5", "mac = 'x'"])
def test_a_damaged_key_pair_cannot_be_read(store: SqliteStore, do: Any, sql: Any, change: str) -> None:
    """Neither inside a transaction nor outside of one."""
    do(lambda tx: tx.put_box_key(pair(OURS, "active")))
    sql(f"UPDATE box_keys SET {change}")  # noqa: S608
    for read in (store.box_keys, lambda: do(lambda tx: tx.box_keys())):
        with pytest.raises(StoreUnavailable, match="a key pair of the installation is damaged"):
            read()


# All of it.


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda tx: tx.last_asked([ALICE]), "token_dischargers_by_public"),
        (lambda tx: tx.last_expiry_of_dependents(ALICE), "token_dischargers_by_public"),
        (lambda tx: tx.exchanged_under(ALICE), "token_dischargers_by_public"),
        (lambda tx: tx.exchanged_from("root"), "exchanges_by_source"),
        (lambda tx: tx.idle_box_keys(), "token_dischargers_by_pair"),
    ],
)
def test_no_question_reads_all_tokens(store: SqliteStore, do: Any, sql: Any, ask: Any, index: str) -> None:
    """Others wait to write while it is asked."""
    asked: list[str] = []
    store._writer.set_trace_callback(asked.append)
    do(ask)
    store._writer.set_trace_callback(None)
    (question,) = [statement for statement in asked if statement.startswith("SELECT")]
    plan = [row[3] for row in sql(f"EXPLAIN QUERY PLAN {question}")]
    assert any([index in step for step in plan])
    assert [step for step in plan if step.startswith(("SCAN", "USE TEMP")) and "box_keys" not in step] == []
