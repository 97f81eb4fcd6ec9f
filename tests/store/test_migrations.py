"""The schema: from nothing, forward by itself, and never backward."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from capsvc.errors import Denied
from capsvc.macaroon.thirdparty import KeyPair, key_text
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


# Version 1, as it was released.


def put_back_to_version_1(path: Path) -> None:
    """Give a database the schema that version 1's own migration makes, with all that it had room for."""
    former = path.with_name("version-1.db")
    with closing(sqlite3.connect(former)) as connection:
        MIGRATIONS[0](Database(connection))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("PRAGMA journal_mode = WAL")
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        connection.execute("ATTACH ? AS present", (str(path),))
        for (table,) in tables:
            if not table.startswith("sqlite_"):
                connection.execute(f"INSERT INTO {table} SELECT * FROM present.{table}")  # noqa: S608
        connection.commit()
    former.rename(path)


def schema(directory: Any) -> list[tuple[Any, ...]]:
    """Every table, index and trigger."""
    found: list[tuple[Any, ...]] = directory.sql("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name")
    return found


def test_version_1_goes_on(whole: Any) -> None:
    """Tokens, revocations, keys, the audit and the key pair are what they were, and the schema is as a fresh one."""
    fresh = schema(whole)
    with whole.open() as authority:
        good, dead = (authority.mint(audience="default", ttl=3600, subject=name) for name in ("alice", "bob"))
        authority.rotate_key("default")
        authority.revoke(id=dead.id)
        lines, public = authority.verify_audit(), authority.public_key
    put_back_to_version_1(whole.database)
    assert whole.sql("PRAGMA user_version") == [(1,)]
    assert "dischargers" not in {name for _, name, _, _ in schema(whole)}
    with whole.open() as authority:
        assert authority.authorize(good.token, audience="default").subject == "alice"
        with pytest.raises(Denied) as denied:
            authority.authorize(dead.token, audience="default")
        assert denied.value.code == "revoked"
        assert authority.verify_audit() == lines
        assert authority.public_key == public
    assert schema(whole) == fresh
    assert whole.sql("PRAGMA user_version") == [(SCHEMA_VERSION,)]


def test_what_version_2_brings_works_on_version_1s_data(whole: Any) -> None:
    """Dischargers, and the key pair that it had, now one of several."""
    with whole.open() as authority:
        public = authority.public_key
    put_back_to_version_1(whole.database)
    key = key_text(KeyPair.generate().public)
    with whole.open() as authority:
        authority.add_discharger(name="login", location="https://who.example", public_key=key)
        authority.rotate_bakery_key()
        assert authority.public_key != public
    with whole.open() as authority:
        assert [one.public_key for one in authority.dischargers()] == [key]
        assert [(one.public_key == public, one.state) for one in authority.bakery_keys()] == [
            (True, "retiring"),
            (False, "active"),
        ]
