"""Many writes to a commit: each fails alone, all fail with the commit, and none is answered before it is durable."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from capsvc.store import groupcommit
from capsvc.store.groupcommit import GroupCommit
from capsvc.store.protocol import StoreUnavailable, Transaction
from capsvc.store.sqlite import SqliteStore


class Gate:
    """Holds the writer's thread, so that what is submitted meanwhile goes into one commit."""

    def __init__(self, store: SqliteStore) -> None:
        self._open = threading.Event()
        self._entered = threading.Event()
        self._held = store.write(self._hold)
        assert self._entered.wait(30)

    def _hold(self, _tx: Transaction) -> None:
        self._entered.set()
        assert self._open.wait(30)

    def open(self) -> None:
        """Let it go on."""
        self._open.set()
        self._held.result(30)


@pytest.fixture
def commits(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of each group that was committed."""
    sizes: list[int] = []
    original = GroupCommit._commit

    def counted(self: GroupCommit, group: list[Any]) -> list[Any]:
        sizes.append(len(group))
        return original(self, group)

    monkeypatch.setattr(GroupCommit, "_commit", counted)
    return sizes


def put(name: str, value: int = 1) -> Callable[[Transaction], str]:
    """A write that succeeds."""

    def work(tx: Transaction) -> str:
        tx.set_meta(name, value)
        return name

    return work


def put_then(error: BaseException) -> Callable[[Transaction], None]:
    """A write that fails after it has written."""

    def work(tx: Transaction) -> None:
        tx.set_meta("half done", 1)
        raise error

    return work


def durable(store: SqliteStore, path: Path) -> set[str]:
    """What another process finds."""
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM meta")}


def test_what_waits_shares_a_commit(store: SqliteStore, commits: list[int]) -> None:
    """In the order of submission, each with its own result."""
    gate = Gate(store)
    futures = [store.write(put(f"n{number}")) for number in range(10)]
    gate.open()
    assert [future.result(30) for future in futures] == [f"n{number}" for number in range(10)]
    assert commits == [1, 10]
    rows = store._follow("SELECT name FROM meta ORDER BY rowid", ())
    assert [name for (name,) in rows] == [f"n{number}" for number in range(10)]


def test_a_group_is_bounded(store: SqliteStore, commits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the first of many is not kept waiting for the last."""
    monkeypatch.setattr(groupcommit, "GROUP", 4)
    gate = Gate(store)
    futures = [store.write(put(f"n{number}")) for number in range(10)]
    gate.open()
    assert len([future.result(30) for future in futures]) == 10
    assert commits == [1, 4, 4, 2]


@pytest.mark.parametrize(
    "error", [ValueError("mine"), KeyError("mine"), StoreUnavailable("mine"), RuntimeError("mine")]
)
def test_a_failing_write_undoes_itself_alone(
    store: SqliteStore, commits: list[int], tmp_path: Path, error: Exception
) -> None:
    """Its caller gets its very exception, its neighbours their results, and nothing of it is there."""
    gate = Gate(store)
    before, failing, after = store.write(put("before")), store.write(put_then(error)), store.write(put("after"))
    gate.open()
    assert (before.result(30), after.result(30)) == ("before", "after")
    assert failing.exception(30) is error
    assert commits[:2] == [1, 3]
    assert durable(store, tmp_path / "capsvc.db") == {"before", "after"}


def test_a_write_that_the_database_refuses_ends_its_group(
    store: SqliteStore, commits: list[int], tmp_path: Path
) -> None:
    """Nobody in it is told that it is done; what comes next is."""
    gate = Gate(store)
    group: list[Future[Any]] = [
        store.write(put("before")),
        store.write(lambda tx: tx._execute("INSERT INTO nowhere VALUES (1)")),  # type: ignore[attr-defined]
        store.write(put("after")),
    ]
    gate.open()
    for future in group:
        assert isinstance(future.exception(30), StoreUnavailable)
    assert commits == [1, 3]
    assert durable(store, tmp_path / "capsvc.db") == set()
    assert store.write(put("next")).result(30) == "next"


class FailingConnection:
    """A connection at which one statement fails, before or after it was carried out."""

    def __init__(self, connection: sqlite3.Connection, statement: str, *, after: bool) -> None:
        self._connection = connection
        self._statement = statement
        self._after = after
        self.armed = True

    def execute(self, statement: str, *values: Any) -> Any:
        """Carry it out, unless it is the one."""
        failing = self.armed and statement == self._statement
        if failing and not self._after:
            raise sqlite3.OperationalError("disk I/O error")
        done = self._connection.execute(statement, *values)
        if failing:
            raise sqlite3.OperationalError("disk I/O error")
        return done

    def __getattr__(self, name: str) -> Any:
        """Everything else is the connection's own."""
        return getattr(self._connection, name)


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT"])
@pytest.mark.parametrize("after", [False, True], ids=["before it is done", "after it was done"])
def test_a_failing_commit_fails_all(store: SqliteStore, tmp_path: Path, statement: str, after: bool) -> None:
    """Wherever the disk fails: all of the group are told so, and the next group goes on."""
    gate = Gate(store)
    connection = FailingConnection(store._writer, statement, after=after)
    store._commits._connection = connection  # type: ignore[assignment]
    store._commits._begin = lambda: connection.execute("BEGIN IMMEDIATE")
    futures = [store.write(put(f"n{number}")) for number in range(3)]
    connection.armed = False
    gate.open()
    assert store.write(put("whole")).result(30) == "whole"
    connection.armed = True
    futures += [store.write(put(f"m{number}")) for number in range(3)]
    assert [type(future.exception(30)) for future in futures[3:]] == [StoreUnavailable] * 3
    assert [future.result(30) for future in futures[:3]] == ["n0", "n1", "n2"]
    connection.armed = False
    assert store.write(put("next")).result(30) == "next"
    found = durable(store, tmp_path / "capsvc.db")
    done = {"n0", "n1", "n2", "whole", "next"}
    if statement == "COMMIT" and after:  # what was committed all the same was not acknowledged
        assert done <= found
    else:
        assert found == done


def test_nothing_is_acknowledged_before_it_is_durable(store: SqliteStore, tmp_path: Path) -> None:
    """When a future resolves, another process finds what was written; so does this one's reader."""
    found: list[bool] = []

    def look(future: Future[str]) -> None:
        found.append(future.result() in durable(store, tmp_path / "capsvc.db"))

    futures = [store.write(put(f"n{number}")) for number in range(20)]
    for future in futures:
        future.add_done_callback(look)
    for number, future in enumerate(futures):
        future.result(30)
        assert store.meta(f"n{number}") == 1
    store.write(put("last")).result(30)
    assert found == [True] * 20


def test_every_commit_is_announced_before_it_is_acknowledged(store: SqliteStore, tmp_path: Path) -> None:
    """The generation differs, in every store on the file, once a write is answered."""
    with closing(SqliteStore(tmp_path / "capsvc.db")) as other:
        for number in range(50):
            before = store.generation(), other.generation()
            assert (store.generation(), other.generation()) == before
            (store if number % 2 else other).write(put(f"n{number}")).result(30)
            after = store.generation(), other.generation()
            assert before[0] != after[0]
            assert before[1] != after[1]


def test_a_commit_without_an_announcement_is_noticed(store: SqliteStore, tmp_path: Path) -> None:
    """By whoever wrote to the file by other means, or died before it could announce."""
    before = store.generation()
    with closing(sqlite3.connect(tmp_path / "capsvc.db")) as connection, connection:
        connection.execute("INSERT INTO meta VALUES ('x', 1)")
    deadline = threading.Event()
    for _ in range(1000):
        if store.generation() != before:
            break
        deadline.wait(0.01)
    assert store.generation() != before


def test_many_threads(store: SqliteStore, tmp_path: Path) -> None:
    """Each write once, whoever submits it; failures among them."""

    def one(number: int) -> str | None:
        if number % 7 == 0:
            with pytest.raises(ValueError, match="mine"):
                store.write(put_then(ValueError("mine"))).result(30)
            return None
        return store.write(put(f"n{number}")).result(30)

    with ThreadPoolExecutor(16) as pool:
        done = [name for name in pool.map(one, range(300)) if name]
    assert durable(store, tmp_path / "capsvc.db") == set(done)
    assert len(done) == 300 - 43


def test_closing_finishes_what_was_submitted(store: SqliteStore, tmp_path: Path) -> None:
    """And refuses what comes later; twice is no error."""
    futures = [store.write(put(f"n{number}")) for number in range(30)]
    store.close()
    store.close()
    assert [future.result(0) for future in futures] == [f"n{number}" for number in range(30)]
    with pytest.raises(StoreUnavailable):
        store.write(put("late"))
    with pytest.raises(StoreUnavailable):
        store.generation()
    assert len(durable(store, tmp_path / "capsvc.db")) == 30


def test_a_write_cannot_be_cancelled(store: SqliteStore) -> None:
    """The thread that writes for everybody would end by it."""
    gate = Gate(store)
    future = store.write(put("x"))
    assert not future.cancel()
    gate.open()
    assert future.result(30) == "x"


def test_the_database_flushes_every_commit(store: SqliteStore) -> None:
    """WAL, and `synchronous=FULL` on the connection that writes."""
    assert store._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._writer.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_reader_waits_for_no_writer(store: SqliteStore) -> None:
    """While a transaction is open, what was committed before is read."""
    store.write(put("before")).result(30)
    gate = Gate(store)
    waiting = store.write(put("after"))
    assert store.meta("before") == 1
    assert store.meta("after") is None
    gate.open()
    waiting.result(30)
    assert store.meta("after") == 1
