"""The SQLite schema, version by version. A version is never edited once released: a new one is added below it."""

from __future__ import annotations

from collections.abc import Callable

from sqlite_utils import Database

__all__ = ["APPLICATION_ID", "MIGRATIONS", "SCHEMA_VERSION"]

APPLICATION_ID = 0x63617073
"""``caps``, in the header of the database file: tells our databases from others (SQLite file format, offset 68)."""


def _first_schema(db: Database) -> None:
    """Create version 1."""
    db.table("meta").create({"name": str, "value": bytes}, pk="name")
    db.table("audiences").create(
        {"name": str, "max_ttl": int, "created_at": int}, pk="name", not_null={"max_ttl", "created_at"}
    )
    db.table("attributes").create(
        {"name": str, "type": str, "fact": int, "closed_set": str}, pk="name", not_null={"type", "fact"}
    )
    db.table("box_keys").create(
        {"seq": int, "public": bytes, "state": str, "created_at": int, "secret": bytes, "mac": bytes},
        pk="seq",
        not_null={"public", "state", "created_at", "secret", "mac"},
    )
    for statement in FIRST_TABLES:
        db.execute(statement)


# AUTOINCREMENT: a sequence number is a cursor that somebody may hold, so none is ever given twice.
FIRST_TABLES = (
    """
    CREATE TABLE keys (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        kid TEXT NOT NULL UNIQUE,
        audience TEXT NOT NULL REFERENCES audiences(name),
        state TEXT NOT NULL CHECK (state IN ('active', 'retiring', 'revoked')),
        created_at INTEGER NOT NULL,
        secret BLOB NOT NULL,
        mac BLOB NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX keys_one_active ON keys(audience) WHERE state = 'active'",
    """
    CREATE TABLE tokens (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        kid TEXT NOT NULL,
        audience TEXT NOT NULL,
        subject TEXT,
        facts TEXT,
        label TEXT,
        issued_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        caveats TEXT NOT NULL,
        branch BLOB NOT NULL,
        minter_id TEXT,
        minter_branch BLOB
    )
    """,
    "CREATE INDEX tokens_by_expiry ON tokens(kid, expires_at)",
    "CREATE INDEX tokens_by_subject ON tokens(subject, audience, issued_at) WHERE subject IS NOT NULL",
    "CREATE INDEX tokens_by_minter ON tokens(minter_id) WHERE minter_id IS NOT NULL",
    """
    CREATE TABLE changes (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        audience TEXT,
        at INTEGER NOT NULL,
        keep_until INTEGER NOT NULL,
        id TEXT,
        branch BLOB,
        path BLOB,
        presented INTEGER NOT NULL,
        subject TEXT,
        before INTEGER,
        kid TEXT,
        state TEXT,
        name TEXT,
        max_ttl INTEGER
    )
    """,
    "CREATE INDEX changes_by_id ON changes(id) WHERE id IS NOT NULL",
    "CREATE INDEX changes_by_subject ON changes(subject, audience) WHERE subject IS NOT NULL",
    "CREATE INDEX changes_by_end ON changes(keep_until)",
    """
    CREATE TABLE audit (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        action TEXT NOT NULL,
        audience TEXT,
        target TEXT NOT NULL,
        detail TEXT NOT NULL,
        minter_id TEXT,
        minter_branch BLOB,
        mac BLOB NOT NULL
    )
    """,
    """
    CREATE TRIGGER audit_is_append_only BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END
    """,
    """
    CREATE TRIGGER audit_keeps_every_line BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END
    """,
)


def _third_parties(db: Database) -> None:
    """Bring version 1 to 2: dischargers, what depends on them, exchanged tokens, more than one key pair."""
    for statement in THIRD_PARTY_TABLES:
        db.execute(statement)


THIRD_PARTY_TABLES = (
    """
    CREATE TABLE dischargers (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        location TEXT NOT NULL,
        public BLOB NOT NULL,
        since INTEGER NOT NULL,
        next_public BLOB,
        next_since INTEGER,
        created_at INTEGER NOT NULL,
        mac BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE removed_keys (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        location TEXT NOT NULL,
        public BLOB NOT NULL,
        at INTEGER NOT NULL,
        keep_until INTEGER NOT NULL
    )
    """,
    # pair is NULL for an exchanged token: its source's caveat id was sealed under one, nothing of its own is.
    """
    CREATE TABLE token_dischargers (
        token_id TEXT NOT NULL,
        public BLOB NOT NULL,
        pair BLOB,
        issued_at INTEGER NOT NULL,
        PRIMARY KEY (token_id, public)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX token_dischargers_by_public ON token_dischargers(public, issued_at)",
    "CREATE INDEX token_dischargers_by_pair ON token_dischargers(pair) WHERE pair IS NOT NULL",
    """
    CREATE TABLE exchanges (
        id TEXT NOT NULL PRIMARY KEY,
        source_id TEXT NOT NULL,
        path BLOB NOT NULL
    )
    """,
    "CREATE INDEX exchanges_by_source ON exchanges(source_id)",
    """
    CREATE TRIGGER tokens_take_theirs_along AFTER DELETE ON tokens
    BEGIN
        DELETE FROM token_dischargers WHERE token_id = OLD.id;
        DELETE FROM exchanges WHERE id = OLD.id;
    END
    """,
    "CREATE UNIQUE INDEX box_keys_public ON box_keys(public)",
    "CREATE UNIQUE INDEX box_keys_one_active_one_next ON box_keys(state) WHERE state IN ('active', 'next')",
)

MIGRATIONS: tuple[Callable[[Database], None], ...] = (_first_schema, _third_parties)
"""Migration i brings a database from version i to i + 1."""

SCHEMA_VERSION = len(MIGRATIONS)
"""Kept in ``PRAGMA user_version``."""
