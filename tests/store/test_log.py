"""The log as others follow it: read at one moment, numbered in the order of the commits."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from capsvc.store.protocol import EPOCH, StoreUnavailable, Transaction
from capsvc.store.records import Change, LogMarks
from capsvc.store.sqlite import SqliteStore


def fill(tx: Transaction) -> None:
    """What every installation has."""
    tx.set_meta(EPOCH, "first")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteStore]:
    """A database with an empty log."""
    opened = SqliteStore.create(tmp_path / "capsvc.db", fill)
    yield opened
    opened.close()


def append(store: SqliteStore, *ends: int) -> None:
    """Append an entry for each time until which it is kept, in a commit of its own."""
    for end in ends:
        change = Change("id", "default", 0, end, id=f"kept{end}")
        store.write(partial(_append, change)).result()


def _append(change: Change, tx: Transaction) -> None:
    tx.append_change(change)


def ends(store: SqliteStore, after: int = 0, limit: int = 100) -> list[int]:
    """Until when the entries that are read are kept."""
    return [change.keep_until for change in store.log(after, limit).changes]


def sweep(store: SqliteStore, before: int, limit: int = 100) -> int:
    """How many went."""
    return store.write(lambda tx: tx.sweep_changes(before, limit)).result()


def test_an_empty_log(log: SqliteStore) -> None:
    """It stands at nothing."""
    assert log.log_marks() == LogMarks("first", 0, 0)
    assert log.log(0, 10).marks == log.log_marks()
    assert log.log(0, 10).changes == ()


def test_pages(log: SqliteStore) -> None:
    """Above a number, at most so many, in order; each knows its number."""
    append(log, 10, 30, 20)
    assert ends(log) == [10, 30, 20]
    assert ends(log, 1) == [30, 20]
    assert ends(log, 1, 1) == [30]
    assert ends(log, 3) == []
    assert [change.seq for change in log.log(0, 100).changes] == [1, 2, 3]
    assert log.log(2, 1).marks == LogMarks("first", 3, 0)


def test_what_went_is_remembered(log: SqliteStore) -> None:
    """By the highest number that a sweep took, whatever went last; what was dropped is no sweep's."""
    append(log, 10, 50, 30, 20, 60)
    log.write(lambda tx: tx.drop_change(5)).result()
    assert log.log_marks() == LogMarks("first", 5, 0)
    assert sweep(log, 10) == 0
    assert log.log_marks().swept == 0
    assert sweep(log, 31, limit=2) == 2  # those that ended first: 1 and 4
    assert (ends(log), log.log_marks().swept) == ([50, 30], 4)
    assert sweep(log, 31, limit=2) == 1
    assert (ends(log), log.log_marks().swept) == ([50], 4)
    append(log, 40)
    assert sweep(log, 41) == 1
    assert log.log_marks() == LogMarks("first", 6, 6)


def test_no_number_is_given_twice(log: SqliteStore, tmp_path: Path) -> None:
    """Whatever went: a cursor that was given stays below what is new, after a restart too."""
    append(log, 10, 10)
    assert sweep(log, 11) == 2
    append(log, 20)
    log.write(lambda tx: tx.drop_change(3)).result()
    assert log.log_marks() == LogMarks("first", 3, 2)
    with closing(SqliteStore(tmp_path / "capsvc.db")) as again:
        assert again.log_marks() == LogMarks("first", 3, 2)
        append(again, 30)
        assert [change.seq for change in log.log(0, 10).changes] == [4]


def test_what_a_write_undid_is_given_again(log: SqliteStore) -> None:
    """Nobody has seen its number: it was never committed."""

    def fails(tx: Transaction) -> None:
        tx.append_change(Change("id", "default", 0, 99, id="never"))
        raise KeyError

    append(log, 10)
    future = log.write(fails)
    with pytest.raises(KeyError):
        future.result()
    assert log.log_marks().head == 1
    append(log, 20)
    assert [change.seq for change in log.log(0, 10).changes] == [1, 2]


@pytest.mark.parametrize("does", [lambda store: sweep(store, 100), lambda store: append(store, 30)])
def test_a_page_is_read_at_one_moment(log: SqliteStore, does: Callable[[SqliteStore], object]) -> None:
    """What is committed between the look at the marks and at the entries shows in neither."""
    append(log, 10, 20)
    before = log.log(0, 10)
    statements: list[str] = []

    def meanwhile(statement: str) -> None:
        statements.append(statement)
        if "FROM changes WHERE" in statement and len(statements) == 3:
            log._teller.set_trace_callback(None)
            does(log)

    log._teller.set_trace_callback(meanwhile)
    assert log.log(0, 10) == before
    assert len(statements) == 3  # the beginning, and two looks
    after = log.log(0, 10)
    assert after != before
    assert after.marks == log.log_marks()


def test_a_failure_leaves_no_reading_open(log: SqliteStore, tmp_path: Path) -> None:
    """It would hold an old state for ever."""
    append(log, 10)
    with closing(sqlite3.connect(tmp_path / "capsvc.db")) as other, other:
        other.execute("ALTER TABLE changes RENAME TO elsewhere")
    with pytest.raises(StoreUnavailable):
        log.log(0, 10)
    assert not log._teller.in_transaction
    with closing(sqlite3.connect(tmp_path / "capsvc.db")) as other, other:
        other.execute("ALTER TABLE elsewhere RENAME TO changes")
    assert ends(log) == [10]


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM meta",
        "UPDATE meta SET value = 1 WHERE name = 'epoch'",
        "UPDATE meta SET value = x'00' WHERE name = 'epoch'",
        "INSERT INTO meta VALUES ('log-swept', '1')",
        "INSERT INTO meta VALUES ('log-swept', 1.5)",
        "UPDATE sqlite_sequence SET seq = 'many' WHERE name = 'changes'",
    ],
)
def test_damaged_marks(log: SqliteStore, tmp_path: Path, damage: str) -> None:
    """They cannot be read; nobody goes by half of them."""
    append(log, 10)
    assert log.log_marks().head == 1
    with closing(sqlite3.connect(tmp_path / "capsvc.db")) as other, other:
        other.execute(damage)
    reads: list[Callable[[], Any]] = [log.log_marks, lambda: log.log(0, 10)]
    for read in reads:
        with pytest.raises(StoreUnavailable):
            read()


def test_a_closed_store(log: SqliteStore) -> None:
    """Unavailable."""
    log.close()
    reads: list[Callable[[], Any]] = [log.log_marks, lambda: log.log(0, 10)]
    for read in reads:
        with pytest.raises(StoreUnavailable):
            read()
