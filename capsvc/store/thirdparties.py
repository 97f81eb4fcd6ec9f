"""The part of a SQLite transaction about third parties: dischargers, what depends on them, our own key pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from capsvc.store.records import (
    BoxKeyRecord,
    Dependency,
    DischargerRecord,
    Exchanged,
    ExchangeRecord,
    RemovedKeyRecord,
)
from capsvc.store.rows import BOX_KEY_COLUMNS, DISCHARGER_COLUMNS, box_key_of, discharger_of, exchanged_of
from capsvc.store.statements import Statements

__all__ = ["ThirdParties"]

# Built from this package's own constants; every value is bound.
_DISCHARGERS: Final = f"SELECT {DISCHARGER_COLUMNS} FROM dischargers"  # noqa: S608
_BOX_KEYS: Final = f"SELECT {BOX_KEY_COLUMNS} FROM box_keys ORDER BY seq"  # noqa: S608
_EXCHANGED: Final = (
    "SELECT exchanges.id, tokens.audience, tokens.expires_at, exchanges.path"
    " FROM exchanges JOIN tokens ON tokens.id = exchanges.id WHERE "
)
_BARE_LOCATION: Final = (
    "CASE substr(location, -1) WHEN '/' THEN substr(location, 1, length(location) - 1) ELSE location END"
)


class ThirdParties(Statements):
    """A `Transaction`'s methods on dischargers, exchanged tokens and the installation's key pairs."""

    def box_keys(self) -> list[BoxKeyRecord]:
        """See `Transaction.box_keys`."""
        return [box_key_of(row) for row in self._execute(_BOX_KEYS)]

    def put_box_key(self, record: BoxKeyRecord) -> None:
        """See `Transaction.put_box_key`."""
        self._execute(
            "INSERT INTO box_keys (public, state, created_at, secret, mac) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (public) DO UPDATE SET state = excluded.state, mac = excluded.mac",
            (record.public, record.state, record.created_at, record.secret, record.mac),
        )

    def delete_box_key(self, public: bytes) -> None:
        """See `Transaction.delete_box_key`."""
        self._execute("DELETE FROM box_keys WHERE public = ?", (public,))

    def idle_box_keys(self) -> list[bytes]:
        """See `Transaction.idle_box_keys`."""
        rows = self._execute(
            "SELECT public FROM box_keys WHERE state = 'retiring'"
            " AND NOT EXISTS (SELECT 1 FROM token_dischargers WHERE pair = box_keys.public)"
        )
        return [public for (public,) in rows]

    def discharger(self, name: str) -> DischargerRecord | None:
        """See `Transaction.discharger`."""
        row = self._one(f"{_DISCHARGERS} WHERE name = ?", name)
        return None if row is None else discharger_of(row)

    def dischargers(self) -> list[DischargerRecord]:
        """See `Transaction.dischargers`."""
        return [discharger_of(row) for row in self._execute(f"{_DISCHARGERS} ORDER BY seq")]

    def put_discharger(self, record: DischargerRecord) -> None:
        """See `Transaction.put_discharger`."""
        self._execute(
            "INSERT INTO dischargers (name, location, public, since, next_public, next_since, created_at, mac)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET location = excluded.location, public = excluded.public,"
            " since = excluded.since, next_public = excluded.next_public, next_since = excluded.next_since,"
            " mac = excluded.mac",
            (
                record.name,
                record.location,
                record.public,
                record.since,
                record.next_public,
                record.next_since,
                record.created_at,
                record.mac,
            ),
        )

    def delete_discharger(self, name: str) -> None:
        """See `Transaction.delete_discharger`."""
        self._execute("DELETE FROM dischargers WHERE name = ?", (name,))

    def put_removed_key(self, record: RemovedKeyRecord) -> None:
        """See `Transaction.put_removed_key`."""
        self._execute(
            "INSERT INTO removed_keys (name, location, public, at, keep_until) VALUES (?, ?, ?, ?, ?)",
            (record.name, record.location, record.public, record.at, record.keep_until),
        )

    def last_removal(self, name: str | None, location: str | None, publics: Sequence[bytes]) -> int | None:
        """See `Transaction.last_removal`."""
        bare = None if location is None else location.removesuffix("/")
        places = ", ".join("?" * len(publics))
        return self._number(
            f"SELECT max(at) FROM removed_keys WHERE name = ? OR {_BARE_LOCATION} = ? OR public IN ({places})",  # noqa: S608
            name,
            bare,
            *publics,
        )

    def last_asked(self, publics: Sequence[bytes]) -> int | None:
        """See `Transaction.last_asked`."""
        times = [
            self._number(
                "SELECT issued_at FROM token_dischargers WHERE public = ? AND pair IS NOT NULL"
                " ORDER BY issued_at DESC LIMIT 1",
                public,
            )
            for public in publics
        ]
        return max([time for time in times if time is not None], default=None)

    def last_expiry_of_dependents(self, public: bytes) -> int | None:
        """See `Transaction.last_expiry_of_dependents`."""
        return self._number(
            "SELECT max(expires_at) FROM token_dischargers JOIN tokens ON tokens.id = token_id WHERE public = ?", public
        )

    def insert_dependencies(self, token_id: str, issued_at: int, dependencies: Sequence[Dependency]) -> None:
        """See `Transaction.insert_dependencies`."""
        self._execute_many(
            "INSERT INTO token_dischargers (token_id, public, pair, issued_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (token_id, public) DO NOTHING",
            [(token_id, one.public, one.pair, issued_at) for one in dependencies],
        )

    def insert_exchange(self, record: ExchangeRecord) -> None:
        """See `Transaction.insert_exchange`."""
        self._execute(
            "INSERT INTO exchanges (id, source_id, path) VALUES (?, ?, ?)", (record.id, record.source_id, record.path)
        )

    def exchanged_from(self, source_id: str) -> list[Exchanged]:
        """See `Transaction.exchanged_from`."""
        return [exchanged_of(row) for row in self._execute(f"{_EXCHANGED}source_id = ?", (source_id,))]

    def exchanged_under(self, public: bytes) -> list[Exchanged]:
        """See `Transaction.exchanged_under`."""
        rows = self._execute(
            f"{_EXCHANGED}exchanges.id IN (SELECT token_id FROM token_dischargers WHERE public = ?)",  # noqa: S608
            (public,),
        )
        return [exchanged_of(row) for row in rows]

    def sweep_removed_keys(self, before: int, limit: int) -> int:
        """See `Transaction.sweep_removed_keys`."""
        return self._execute(
            "DELETE FROM removed_keys WHERE seq IN (SELECT seq FROM removed_keys WHERE keep_until < ? LIMIT ?)",
            (before, limit),
        ).rowcount
