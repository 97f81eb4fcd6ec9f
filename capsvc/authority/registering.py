"""Dischargers: registered with pinned keys, changed, removed; each a write inside a transaction at ``now``.

A registration counts from its own second on, for roots minted since. That second lies after every removal of the same
name, location or key, and after every root that asked for the key: so nothing that died with a key comes back with it.
What depended on a key that goes is dead at once: roots because the key opens nothing any more, exchanged tokens because
each of them is revoked in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from capsvc.authority.audit import AuditLog
from capsvc.authority.descending import revoke_descendants
from capsvc.authority.keeping import check_name
from capsvc.authority.minting import TooEarlyError
from capsvc.authority.pins import proved, with_pin
from capsvc.authority.registry import registered_keys, same_place
from capsvc.authority.seal import MasterKey, SealError
from capsvc.decision.instants import aware
from capsvc.errors import RequestError
from capsvc.grants import Discharger
from capsvc.macaroon.location import check_location
from capsvc.macaroon.thirdparty import key_text, plain_key, read_key
from capsvc.store.protocol import StoreUnavailable, Transaction
from capsvc.store.records import Change, DischargerRecord, Minter, RemovedKeyRecord

__all__ = ["KeyChange", "NewDischarger", "Registering", "discharger_of"]

ACTIONS: Final = {"added": "add discharger", "changed": "set discharger", "removed": "remove discharger"}


def discharger_of(record: DischargerRecord) -> Discharger:
    """Return a discharger as callers see it."""
    return Discharger(
        name=record.name,
        location=record.location,
        public_key=key_text(record.public),
        next_public_key=None if record.next_public is None else key_text(record.next_public),
        created_at=aware(record.created_at),
        seq=record.seq,
    )


@dataclass(frozen=True, slots=True)
class NewDischarger:
    """A third party to be registered. Keys are 32 octets."""

    name: str
    location: str
    public: bytes
    next_public: bytes | None

    @classmethod
    def checked(cls, name: str, location: str, public_key: str, next_public_key: str | None) -> Self:
        """Check what a caller asks for; keys are standard base64. Raises `RequestError` ``bad-request``."""
        check_name(name)
        _check_location(location)
        return cls(name, location, _key(public_key), None if next_public_key is None else _key(next_public_key))


@dataclass(frozen=True, slots=True)
class KeyChange:
    """Keys to put in place of a discharger's; None leaves one as it is. With ``clear_next`` the next one goes."""

    public: bytes | None
    next_public: bytes | None
    clear_next: bool

    @classmethod
    def checked(cls, public_key: str | None, next_public_key: str | None, *, clear_next: bool) -> Self:
        """Check what a caller asks for; keys are standard base64. Raises `RequestError` ``bad-request``."""
        if public_key is None and next_public_key is None and not clear_next:
            raise RequestError("bad-request", "A change names a public key, a next one, or takes the next one away.")
        if next_public_key is not None and clear_next:
            raise RequestError("bad-request", "A next public key is either put or taken away.")
        return cls(
            None if public_key is None else _key(public_key),
            None if next_public_key is None else _key(next_public_key),
            clear_next,
        )

    def keys_of(self, record: DischargerRecord) -> tuple[bytes, bytes | None]:
        """Return the keys, current and next, that a discharger has after the change.

        A next key that becomes the current one leaves its place empty, unless it is filled at once.
        """
        public = record.public if self.public is None else self.public
        if self.next_public is not None:
            return public, self.next_public
        return public, None if self.clear_next or public == record.next_public else record.next_public


def _check_location(location: str) -> None:
    try:
        if isinstance(location, str):
            check_location(location)
            return
    except ValueError as error:
        raise RequestError("bad-request", f"{error}.") from None
    raise RequestError("bad-request", "A location is text.")


def _key(text: str) -> bytes:
    try:
        return read_key(text)
    except ValueError as error:
        raise RequestError("bad-request", f"{error}.") from None


@dataclass(frozen=True, slots=True)
class Registering:
    """The writes on dischargers; ``now`` is in Unix seconds."""

    master: MasterKey
    audit: AuditLog

    def add(self, tx: Transaction, asked: NewDischarger, now: int, minter: Minter | None) -> Discharger:
        """Register a discharger.

        Raises:
            RequestError: ``exists`` for a name, location or key that one has already.
            TooEarlyError: while the clock has not passed what the registration must come after.

        """
        keys = _both(asked.public, asked.next_public)
        others = tx.dischargers()
        if any([one.name == asked.name or same_place(one.location) == same_place(asked.location) for one in others]):
            raise RequestError("exists", "A discharger has that name or location.")
        _check_unique(keys, others)
        _check_time(now, tx.last_removal(asked.name, asked.location, keys), tx.last_asked(keys))
        record = DischargerRecord(
            name=asked.name,
            location=asked.location,
            public=asked.public,
            since=now,
            next_public=asked.next_public,
            next_since=None if asked.next_public is None else now,
            created_at=now,
            mac=b"",
        )
        tx.put_discharger(with_pin(self.master, record))
        self._tell(tx, record, now, minter, state="added", keep_until=now)
        return discharger_of(self._registered(tx, record.name))

    def change(self, tx: Transaction, name: str, asked: KeyChange, now: int, minter: Minter | None) -> Discharger:
        """Change a discharger's keys: one that stays counts as before, one that goes is removed like a discharger.

        Raises:
            RequestError: ``not-found``, or ``exists`` for a key that this or another discharger has already.
            TooEarlyError: while the clock has not passed what a fresh key must come after.
            StoreUnavailable: for a row that somebody altered.

        """
        record = self._registered(tx, name)
        public, next_public = asked.keys_of(record)
        keys, since = _both(public, next_public), {key.public: key.since for key in registered_keys(record)}
        _check_unique(keys, [one for one in tx.dischargers() if one.name != name])
        # Name and location were never removed since they were registered, whatever became of a key meanwhile.
        fresh = [key for key in keys if key not in since]
        _check_time(now, tx.last_removal(None, None, fresh), tx.last_asked(fresh))
        changed = DischargerRecord(
            name=record.name,
            location=record.location,
            public=public,
            since=since.get(public, now),
            next_public=next_public,
            next_since=None if next_public is None else since.get(next_public, now),
            created_at=record.created_at,
            mac=b"",
        )
        kept = self._drop(tx, record, [key for key in since if key not in keys], now)
        tx.put_discharger(with_pin(self.master, changed))
        self._tell(tx, changed, now, minter, state="changed", keep_until=kept)
        return discharger_of(self._registered(tx, name))

    def remove(self, tx: Transaction, name: str, now: int, minter: Minter | None) -> None:
        """Remove a discharger: what depends on it is dead from now on.

        Raises `RequestError` ``not-found``, `StoreUnavailable` for a row that somebody altered.
        """
        record = self._registered(tx, name)
        kept = self._drop(tx, record, _both(record.public, record.next_public), now)
        tx.delete_discharger(name)
        self._tell(tx, record, now, minter, state="removed", keep_until=kept)

    def _registered(self, tx: Transaction, name: str) -> DischargerRecord:
        """Return a stored row, once it is proved: a row that somebody altered gets no fresh MAC from us."""
        record = tx.discharger(name)
        if record is None:
            raise RequestError("not-found")
        try:
            return proved(self.master, record)
        except SealError as error:
            raise StoreUnavailable(str(error)) from error

    def _drop(self, tx: Transaction, record: DischargerRecord, keys: Sequence[bytes], now: int) -> int:
        """Remove keys, and what was exchanged while it depended on them; return until when that matters."""
        latest = now
        for public in keys:
            kept = max(tx.last_expiry_of_dependents(public) or 0, now)
            tx.put_removed_key(RemovedKeyRecord(record.name, record.location, public, now, kept))
            revoke_descendants(tx, tx.exchanged_under(public), now)
            latest = max(latest, kept)
        return latest

    def _tell(
        self, tx: Transaction, record: DischargerRecord, now: int, minter: Minter | None, *, state: str, keep_until: int
    ) -> None:
        tx.append_change(Change("discharger", None, now, keep_until, name=record.name, state=state))
        self.audit.append(
            tx,
            at=now,
            action=ACTIONS[state],
            target=record.name,
            minter=minter,
            location=record.location,
            public_key=key_text(record.public),
            next_public_key=None if record.next_public is None else key_text(record.next_public),
        )


def _both(public: bytes, next_public: bytes | None) -> list[bytes]:
    return [public] if next_public is None else [public, next_public]


def _check_unique(keys: Sequence[bytes], others: Sequence[DischargerRecord]) -> None:
    """Raise `RequestError` ``exists`` for a key that stands there twice, or that another discharger has."""
    plain = {plain_key(key) for key in keys}
    taken = [plain_key(key) for one in others for key in _both(one.public, one.next_public)]
    if len(plain) != len(keys) or not plain.isdisjoint(taken):
        raise RequestError("exists", "A discharger has that key.")


def _check_time(now: int, *before: int | None) -> None:
    """Raise `TooEarlyError` unless ``now`` lies after all those seconds."""
    if any([second is not None and now <= second for second in before]):
        raise TooEarlyError
