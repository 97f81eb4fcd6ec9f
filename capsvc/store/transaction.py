"""What can be read and written inside one SQLite transaction, as SQL that a reader can check against the schema."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Final

from capsvc.store.records import AttributeRecord, AudienceRecord, AuditRecord, Change, KeyRecord, TokenRecord
from capsvc.store.rows import CHANGE_COLUMNS, TOKEN_COLUMNS, attribute_of, audience_of, change_of, key_of, token_of
from capsvc.store.thirdparties import ThirdParties

__all__ = ["LOG_SWEPT", "SqliteTransaction"]

LOG_SWEPT: Final = "log-swept"
"""The meta value that says how far up the log a sweep has deleted entries: a sequence number."""

# Built from this package's own constants; every value is bound.
_CHANGES = f"SELECT {CHANGE_COLUMNS} FROM changes WHERE "  # noqa: S608
_SWEEPABLE_CHANGES = "SELECT seq FROM changes WHERE keep_until < ? ORDER BY keep_until, seq LIMIT ?"
_INSERT_CHANGE = (
    "INSERT INTO changes (kind, audience, at, keep_until, id, branch, path, presented, subject, before, kid, state,"
    " name, max_ttl) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_TOKEN = (
    "INSERT INTO tokens (id, kid, audience, subject, facts, label, issued_at, expires_at, caveats, branch, minter_id,"
    " minter_branch) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class SqliteTransaction(ThirdParties):
    """A `Transaction`. Only the writer's thread uses it, between BEGIN and COMMIT.

    What every mint of a group asks for is read once: nobody else can write until the group ends.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._active_kids: dict[str, str | None] = {}
        self._last_mac: bytes | None = None

    def begin(self) -> None:
        """Begin to write; wait for whoever does. What was read in an earlier transaction is forgotten."""
        self._active_kids.clear()
        self._last_mac = None
        self._execute("BEGIN IMMEDIATE")

    def _change(self, where: str, *values: Any) -> Change | None:
        row = self._one(f"{_CHANGES}{where} ORDER BY seq DESC LIMIT 1", *values)
        return None if row is None else change_of(row)

    def audience(self, name: str) -> AudienceRecord | None:
        """See `Transaction.audience`."""
        row = self._one("SELECT name, max_ttl, created_at FROM audiences WHERE name = ?", name)
        return None if row is None else audience_of(row)

    def put_audience(self, record: AudienceRecord) -> None:
        """See `Transaction.put_audience`."""
        self._execute(
            "INSERT INTO audiences (name, max_ttl, created_at) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET max_ttl = excluded.max_ttl",
            (record.name, record.max_ttl, record.created_at),
        )

    def key(self, kid: str) -> KeyRecord | None:
        """See `Transaction.key`."""
        row = self._one("SELECT kid, audience, state, created_at, secret, mac FROM keys WHERE kid = ?", kid)
        return None if row is None else key_of(row)

    def active_kid(self, audience: str) -> str | None:
        """See `Transaction.active_kid`."""
        if audience not in self._active_kids:
            row = self._one("SELECT kid FROM keys WHERE audience = ? AND state = 'active'", audience)
            self._active_kids[audience] = None if row is None else row[0]
        return self._active_kids[audience]

    def put_key(self, record: KeyRecord) -> None:
        """See `Transaction.put_key`."""
        self._active_kids.clear()
        self._execute(
            "INSERT INTO keys (kid, audience, state, created_at, secret, mac) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (kid) DO UPDATE SET state = excluded.state, mac = excluded.mac",
            (record.kid, record.audience, record.state, record.created_at, record.secret, record.mac),
        )

    def delete_key(self, kid: str) -> None:
        """See `Transaction.delete_key`."""
        self._active_kids.clear()
        self._execute("DELETE FROM keys WHERE kid = ?", (kid,))

    def attributes(self) -> list[AttributeRecord]:
        """See `Transaction.attributes`."""
        rows = self._execute("SELECT name, type, fact, closed_set FROM attributes ORDER BY name")
        return [attribute_of(row) for row in rows]

    def put_attribute(self, record: AttributeRecord) -> None:
        """See `Transaction.put_attribute`."""
        closed_set = None if record.values is None else json.dumps(record.values)
        self._execute(
            "INSERT INTO attributes (name, type, fact, closed_set) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET closed_set = excluded.closed_set",
            (record.name, record.type, record.fact, closed_set),
        )

    def meta(self, name: str) -> bytes | int | str | None:
        """See `Transaction.meta`."""
        row = self._one("SELECT value FROM meta WHERE name = ?", name)
        return None if row is None else row[0]

    def set_meta(self, name: str, value: bytes | int | str) -> None:
        """See `Transaction.set_meta`."""
        self._execute(
            "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def insert_token(self, record: TokenRecord) -> None:
        """See `Transaction.insert_token`."""
        minter = record.minter
        self._execute(
            _INSERT_TOKEN,
            (
                record.id,
                record.kid,
                record.audience,
                record.subject,
                json.dumps(dict(record.facts)) if record.facts else None,
                record.label,
                record.issued_at,
                record.expires_at,
                "\n".join(record.caveats),
                record.branch,
                minter.id if minter else None,
                minter.branch if minter else None,
            ),
        )

    def token(self, token_id: str) -> TokenRecord | None:
        """See `Transaction.token`."""
        row = self._one(f"SELECT {TOKEN_COLUMNS} FROM tokens WHERE id = ?", token_id)  # noqa: S608
        return None if row is None else token_of(row)

    def last_issued_at(self, audience: str, subject: str) -> int | None:
        """See `Transaction.last_issued_at`."""
        return self._number("SELECT max(issued_at) FROM tokens WHERE audience = ? AND subject = ?", audience, subject)

    def last_expiry_of_subject(self, audience: str, subject: str) -> int | None:
        """See `Transaction.last_expiry_of_subject`."""
        return self._number("SELECT max(expires_at) FROM tokens WHERE audience = ? AND subject = ?", audience, subject)

    def last_expiry_of_key(self, kid: str) -> int | None:
        """See `Transaction.last_expiry_of_key`."""
        return self._number("SELECT max(expires_at) FROM tokens WHERE kid = ?", kid)

    def revocation_of_id(self, token_id: str) -> Change | None:
        """See `Transaction.revocation_of_id`."""
        return self._change("id = ? AND kind = 'id'", token_id)

    def revocation_of_key(self, kid: str) -> Change | None:
        """See `Transaction.revocation_of_key`."""
        return self._change("kid = ? AND kind = 'key' AND state = 'revoked'", kid)

    def watermark(self, audience: str, subject: str) -> Change | None:
        """See `Transaction.watermark`."""
        return self._change("audience = ? AND subject = ? AND kind = 'subject'", audience, subject)

    def branches_of(self, token_id: str) -> list[Change]:
        """See `Transaction.branches_of`."""
        rows = self._execute(f"{_CHANGES}id = ? AND kind = 'branch'", (token_id,))
        return [change_of(row) for row in rows]

    def append_change(self, change: Change) -> None:
        """See `Transaction.append_change`."""
        self._execute(
            _INSERT_CHANGE,
            (
                change.kind,
                change.audience,
                change.at,
                change.keep_until,
                change.id,
                change.branch,
                change.path,
                change.presented,
                change.subject,
                change.before,
                change.kid,
                change.state,
                change.name,
                change.max_ttl,
            ),
        )

    def drop_change(self, seq: int) -> None:
        """See `Transaction.drop_change`."""
        self._execute("DELETE FROM changes WHERE seq = ?", (seq,))

    def last_audit_mac(self) -> bytes | None:
        """See `Transaction.last_audit_mac`."""
        if self._last_mac is None:
            row = self._one("SELECT mac FROM audit ORDER BY seq DESC LIMIT 1")
            self._last_mac = None if row is None else row[0]
        return self._last_mac

    def append_audit(self, record: AuditRecord) -> None:
        """See `Transaction.append_audit`."""
        minter = record.minter
        self._execute(
            "INSERT INTO audit (at, action, audience, target, detail, minter_id, minter_branch, mac)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.at,
                record.action,
                record.audience,
                record.target,
                record.detail,
                minter.id if minter else None,
                minter.branch if minter else None,
                record.mac,
            ),
        )
        self._last_mac = record.mac

    def sweepable_keys(self, before: int) -> list[str]:
        """See `Transaction.sweepable_keys`."""
        rows = self._execute(
            "SELECT kid FROM keys WHERE state != 'active'"
            " AND NOT EXISTS (SELECT 1 FROM tokens WHERE tokens.kid = keys.kid)"
            " AND NOT EXISTS (SELECT 1 FROM changes WHERE changes.kid = keys.kid AND keep_until >= ?)",
            (before,),
        )
        return [kid for (kid,) in rows]

    def sweep_tokens(self, before: int, limit: int) -> int:
        """See `Transaction.sweep_tokens`."""
        # By key, so that the index on (kid, expires_at) finds them without a scan; a key outlives its tokens.
        return self._execute(
            "DELETE FROM tokens WHERE seq IN (SELECT tokens.seq FROM keys CROSS JOIN tokens"
            " ON tokens.kid = keys.kid AND tokens.expires_at < ? LIMIT ?)",
            (before, limit),
        ).rowcount

    def sweep_changes(self, before: int, limit: int) -> int:
        """See `Transaction.sweep_changes`."""
        newest = self._number(f"SELECT max(seq) FROM ({_SWEEPABLE_CHANGES})", before, limit)  # noqa: S608
        if newest is None:
            return 0
        swept = self._execute(f"DELETE FROM changes WHERE seq IN ({_SWEEPABLE_CHANGES})", (before, limit))  # noqa: S608
        self._execute(
            "INSERT INTO meta (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
            (LOG_SWEPT, newest),
        )
        return swept.rowcount
