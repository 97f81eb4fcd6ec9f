"""The store on SQLite: WAL, ``synchronous=FULL``, one writer thread that commits for everybody who waits.

Four connections: the writer's; one for following what changed, so that a decision never waits for a listing; one for
listings; and one for the log as others follow it, who wait for no listing either. A beacon tells every process, in a
fraction of a microsecond, that one of them has committed.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlite_utils import Database

from capsvc.errors import StartError
from capsvc.store.beacon import LOOK, Beacon
from capsvc.store.groupcommit import GroupCommit
from capsvc.store.migrations import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION
from capsvc.store.protocol import EPOCH, StoreUnavailable, Transaction
from capsvc.store.records import (
    AttributeRecord,
    AudienceRecord,
    AuditRecord,
    BoxKeyRecord,
    Change,
    DischargerRecord,
    KeyRecord,
    LogMarks,
    LogPage,
    TokenFilter,
    TokenRecord,
)
from capsvc.store.rows import (
    BOX_KEY_COLUMNS,
    CHANGE_COLUMNS,
    DISCHARGER_COLUMNS,
    TOKEN_COLUMNS,
    attribute_of,
    audience_of,
    audit_of,
    box_key_of,
    change_of,
    discharger_of,
    key_of,
    log_marks_of,
    token_of,
)
from capsvc.store.transaction import LOG_SWEPT, SqliteTransaction

__all__ = ["SqliteStore", "is_empty"]

T = TypeVar("T")

BUSY_TIMEOUT: Final = 10.0  # seconds that a writer waits for another process's commit
AUDIT_PAGE: Final = 1000  # audit lines read at once

# Built from this package's own constants; every other value is bound.
_CHANGES: Final = f"SELECT {CHANGE_COLUMNS} FROM changes WHERE seq > ? ORDER BY seq"  # noqa: S608
_LOG_MARKS: Final = (
    f"SELECT (SELECT value FROM meta WHERE name = '{EPOCH}'),"  # noqa: S608
    " coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0),"
    f" coalesce((SELECT value FROM meta WHERE name = '{LOG_SWEPT}'), 0)"
)


def _connect(path: Path) -> sqlite3.Connection:
    # isolation_level=None: every transaction is one that we begin and end ourselves.
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


@contextmanager
def _snapshot(connection: sqlite3.Connection) -> Iterator[Callable[..., sqlite3.Cursor]]:
    """Read several times, of one moment."""
    connection.execute("BEGIN")
    try:
        yield connection.execute
    finally:
        connection.rollback()


def is_empty(path: Path) -> bool:
    """Whether there is no database yet: no file, or one in which nothing was ever committed.

    Raises `StartError` if the file is there and is no database of ours, of a version that we know, or cannot be read.
    """
    if not path.exists():
        return True
    try:
        connection = _connect(path)
        try:
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if tables:
                _known_version(connection, path)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise _cannot_open(path, error) from None
    return bool(tables == 0)


def _cannot_open(path: Path, error: sqlite3.Error) -> StartError:
    if isinstance(error, sqlite3.OperationalError):
        return StartError(
            "database",
            f"{path}: cannot be opened ({error}); the directory must be writable, have space, and be on a local disk",
        )
    return StartError("database", f"{path}: is not a usable SQLite database ({error}); restore it from a backup")


class SqliteStore:
    """A `Store` in one file."""

    def __init__(self, path: Path) -> None:
        """Open an existing database and bring its schema up to date.

        Raises `StartError`: it is another program's, has a newer schema, or cannot be read or written.
        """
        try:
            self._writer = _connect(path)
            _claim(self._writer, path)
            self._follower = _connect(path)
            self._lister = _connect(path)
            self._teller = _connect(path)
        except sqlite3.Error as error:
            raise _cannot_open(path, error) from None
        self._following = threading.Lock()
        self._listing = threading.Lock()
        self._telling = threading.Lock()
        self._beacon = Beacon(path)
        self._data_version = 0
        self._next_look = 0.0
        self._transaction = SqliteTransaction(self._writer)
        self._commits = GroupCommit(self._writer, self._transaction.begin, self._beacon.light)

    @classmethod
    def create(cls, path: Path, fill: Callable[[Transaction], None]) -> SqliteStore:
        """Make the database, with what ``fill`` writes into it, in one transaction; a half-made one cannot be left.

        Raises `StartError` if the place cannot be written or the file is a link.
        """
        _create_file(path)
        try:
            connection = _connect(path)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                _make_schema(connection, fill)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise _cannot_open(path, error) from None
        return cls(path)

    def write(self, work: Callable[[Transaction], T]) -> Future[T]:
        """See `Store.write`."""
        return self._commits.submit(lambda: work(self._transaction))

    def generation(self) -> int:
        """See `Store.generation`: the beacon's number, and now and then the database's own."""
        if time.monotonic() >= self._next_look:
            self._look()
        try:
            return self._beacon.read() ^ self._data_version
        except ValueError as error:
            raise StoreUnavailable("the store is closed") from error

    def changes(self, after: int) -> list[Change]:
        """See `Store.changes`."""
        return [change_of(row) for row in self._follow(_CHANGES, (after,))]

    def log(self, after: int, limit: int) -> LogPage:
        """See `Store.log`. Both reads are of one moment: what is swept in between would be missing unseen."""
        try:
            with self._telling, _snapshot(self._teller) as execute:
                marks = execute(_LOG_MARKS).fetchone()
                rows = execute(f"{_CHANGES} LIMIT ?", (after, limit)).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error
        return LogPage(log_marks_of(marks), tuple([change_of(row) for row in rows]))

    def log_marks(self) -> LogMarks:
        """See `Store.log_marks`."""
        return log_marks_of(self._follow(_LOG_MARKS, ())[0])

    def audiences(self) -> list[AudienceRecord]:
        """See `Store.audiences`."""
        rows = self._follow("SELECT name, max_ttl, created_at FROM audiences ORDER BY rowid", ())
        return [audience_of(row) for row in rows]

    def signing_keys(self) -> list[KeyRecord]:
        """See `Store.signing_keys`."""
        rows = self._follow("SELECT kid, audience, state, created_at, secret, mac FROM keys ORDER BY seq", ())
        return [key_of(row) for row in rows]

    def box_keys(self) -> list[BoxKeyRecord]:
        """See `Store.box_keys`."""
        rows = self._follow(f"SELECT {BOX_KEY_COLUMNS} FROM box_keys ORDER BY seq", ())  # noqa: S608 - our own constant
        return [box_key_of(row) for row in rows]

    def dischargers(self) -> list[DischargerRecord]:
        """See `Store.dischargers`."""
        query = f"SELECT {DISCHARGER_COLUMNS} FROM dischargers ORDER BY seq"  # noqa: S608 - our own constant
        return [discharger_of(row) for row in self._follow(query, ())]

    def attributes(self) -> list[AttributeRecord]:
        """See `Store.attributes`."""
        rows = self._follow("SELECT name, type, fact, closed_set FROM attributes ORDER BY name", ())
        return [attribute_of(row) for row in rows]

    def meta(self, name: str) -> bytes | int | str | None:
        """See `Store.meta`."""
        rows = self._follow("SELECT value FROM meta WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    def token(self, token_id: str) -> TokenRecord | None:
        """See `Store.token`."""
        rows = self._list("id = :id", {"id": token_id}, limit=1)
        return rows[0] if rows else None

    def tokens(self, wanted: TokenFilter, after: int, limit: int) -> list[TokenRecord]:
        """See `Store.tokens`."""
        values = {
            "audience": wanted.audience,
            "subject": wanted.subject,
            "minter_id": wanted.minter_id,
            "minter_branch": wanted.minter_branch,
        }
        terms = ["seq > :after", *(f"{name} = :{name}" for name, value in values.items() if value is not None)]
        return self._list(" AND ".join(terms), {**values, "after": after}, limit=limit)

    def audit(self) -> Iterator[AuditRecord]:
        """See `Store.audit`."""
        page = self._audit_page("1")  # whatever its number: a line put below the first is a line
        while page:
            yield from page
            page = self._audit_page("seq > ?", page[-1].seq)

    def last_recorded_at(self) -> int | None:
        """See `Store.last_recorded_at`."""
        rows = self._follow("SELECT at FROM audit ORDER BY seq DESC LIMIT 1", ())
        return rows[0][0] if rows else None

    def close(self) -> None:
        """See `Store.close`."""
        self._commits.close()
        for connection in (self._teller, self._lister, self._follower, self._writer):
            connection.close()
        self._beacon.close()

    def _look(self) -> None:
        """Ask for ``data_version`` of a connection that never writes: another number after any commit of others."""
        ((self._data_version,),) = self._follow("PRAGMA data_version", ())
        self._next_look = time.monotonic() + LOOK

    def _follow(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            with self._following:
                return self._follower.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error

    def _list(self, where: str, values: dict[str, Any], *, limit: int) -> list[TokenRecord]:
        try:
            with self._listing:
                rows = Database(self._lister)["tokens"].rows_where(
                    where, values, select=TOKEN_COLUMNS, order_by="seq", limit=limit
                )
                return [token_of(tuple(row.values())) for row in rows]
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error

    def _audit_page(self, where: str, *values: int) -> list[AuditRecord]:
        try:
            with self._listing:
                rows = Database(self._lister)["audit"].rows_where(where, values, order_by="seq", limit=AUDIT_PAGE)
                return [audit_of(row) for row in rows]
        except sqlite3.Error as error:
            raise StoreUnavailable(str(error)) from error


def _claim(connection: sqlite3.Connection, path: Path) -> None:
    """See that the database is ours and of a version that we know; migrate it forward."""
    version = _known_version(connection, path)
    if version < SCHEMA_VERSION:
        _migrate(connection, version)


def _known_version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema's version. Raises `StartError` for a database that is not ours, or newer than we are."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StartError(
            "database-foreign", f"{path}: is another program's database; name another data directory with --data-dir"
        )
    if version > SCHEMA_VERSION:
        raise StartError(
            "database-newer",
            f"{path}: has schema version {version}, this capsvc knows {SCHEMA_VERSION}; run a newer capsvc",
        )
    return int(version)


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for migration in MIGRATIONS[version:]:
            migration(Database(connection))
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _make_schema(connection: sqlite3.Connection, fill: Callable[[Transaction], None]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables == 0:  # else another process was first
            for migration in MIGRATIONS:
                migration(Database(connection))
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            fill(SqliteTransaction(connection))
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _create_file(path: Path) -> None:
    """Make the file 0600 before SQLite does (its -wal and -shm take that mode), following no link."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR)
    except OSError as error:
        raise StartError("database", f"{path}: cannot be created ({error.strerror})") from None
    os.close(descriptor)
