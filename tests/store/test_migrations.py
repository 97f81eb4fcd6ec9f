"""The schema: from nothing, forward by itself, and never backward."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest
from sqlite_utils import Database

from capsvc.store import migrations, sqlite
from capsvc.store.migrations import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION


def add_column(db: Database) -> None:
    """A migration as a later program may have."""
    db.execute("ALTER TABLE tokens ADD COLUMN colour TEXT")


def break_off(db: Database) -> None:
    """One that fails half-way."""
    db.execute("ALTER TABLE tokens ADD COLUMN taste TEXT")
    raise sqlite3.OperationalError("disk I/O error")


def later(monkeypatch: pytest.MonkeyPatch, *more: Any) -> None:
    """Make this program one that knows more versions."""
    monkeypatch.setattr(sqlite, "MIGRATIONS", (*MIGRATIONS, *more))
    monkeypatch.setattr(sqlite, "SCHEMA_VERSION", SCHEMA_VERSION + len(more))


def columns(directory: Any) -> set[str]:
    """Of the tokens' table."""
    return {row[1] for row in directory.sql("PRAGMA table_info(tokens)")}


def test_a_fresh_database_says_whose_it_is(whole: Any) -> None:
    """Application id and version stand in its header."""
    assert whole.sql("PRAGMA application_id") == [(APPLICATION_ID,)]
    assert whole.sql("PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert APPLICATION_ID.to_bytes(4, "big") == b"caps"
    assert len(MIGRATIONS) == SCHEMA_VERSION
    assert migrations.SCHEMA_VERSION == SCHEMA_VERSION


def test_an_older_schema_is_brought_up_to_date(whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, with all that is in it; two steps at once too."""
    with whole.open() as authority:
        token = authority.mint(audience="default", ttl=60).token
    later(monkeypatch, add_column, lambda db: db.execute("ALTER TABLE tokens ADD COLUMN size TEXT"))
    with whole.open() as authority:
        assert authority.authorize(token, audience="default")
        assert authority.verify_audit() > 0
    assert {"colour", "size"} <= columns(whole)
    assert whole.sql("PRAGMA user_version") == [(SCHEMA_VERSION + 2,)]


def test_a_migration_that_fails_leaves_the_older_schema(whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps or none; the program that knew it still opens it."""
    with monkeypatch.context() as patch:
        later(patch, add_column, break_off)
        assert "disk I/O error" in str(whole.refusal())
    assert not {"colour", "taste"} & columns(whole)
    assert whole.sql("PRAGMA user_version") == [(SCHEMA_VERSION,)]
    whole.open().close()


def test_a_newer_schema_is_refused(whole: Any) -> None:
    """With what to do about it, and left as it is."""
    whole.sql(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = whole.database.read_bytes()
    error = whole.refusal()
    assert error.code == "database-newer"
    assert "newer capsvc" in str(error)
    assert whole.database.read_bytes() == before


def test_a_foreign_database_is_refused(whole: Any) -> None:
    """One of another program beside our key, whole and untouched."""
    whole.database.unlink()
    with closing(sqlite3.connect(whole.database)) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = whole.database.read_bytes()
    error = whole.refusal()
    assert error.code == "database-foreign"
    assert "another program" in str(error)
    assert whole.database.read_bytes() == before


def test_a_foreign_database_in_an_otherwise_empty_directory(directory: Any) -> None:
    """Nothing is made beside it, and what is said is that it is foreign."""
    directory.path.mkdir(mode=0o700)
    with closing(sqlite3.connect(directory.database)) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")
    assert directory.refusal().code == "database-foreign"
    assert directory.names() == {"capsvc.db"}


@pytest.mark.parametrize("version", [-1, SCHEMA_VERSION + 100, 2**31 - 1])
def test_no_version_that_we_do_not_know(whole: Any, version: int) -> None:
    """Whatever it is, it is not guessed at."""
    whole.sql(f"PRAGMA user_version = {version}")
    assert whole.refusal().code.startswith("database")
