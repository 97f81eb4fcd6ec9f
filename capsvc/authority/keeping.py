"""Audiences and their keys: added, changed, rotated; each a write inside a transaction at ``now``, in Unix seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from capsvc.authority.audit import AuditLog
from capsvc.authority.keys import ACTIVE, RETIRING, SigningKey, moved, new_key
from capsvc.authority.seal import MasterKey
from capsvc.decision.instants import aware
from capsvc.errors import RequestError
from capsvc.grants import Audience, KeyInfo
from capsvc.store.protocol import Transaction
from capsvc.store.records import AudienceRecord, Change, KeyRecord, Minter
from caveats import TYPES

__all__ = ["Keeping", "audience_of", "check_max_ttl", "check_name", "key_info"]

LONGEST_TTL: Final = 315_360_000  # ten years of 365 days, in seconds


def audience_of(record: AudienceRecord) -> Audience:
    """Return an audience as callers see it."""
    return Audience(record.name, record.max_ttl, aware(record.created_at))


def key_info(key: SigningKey) -> KeyInfo:
    """Return a key as callers see it."""
    return KeyInfo(key.kid, key.audience, key.state, aware(key.created_at))


def check_name(name: str) -> None:
    """Raise `RequestError` ``bad-request`` for a name that is no word."""
    try:
        TYPES["word"].from_context(name)
    except ValueError:
        raise RequestError("bad-request", "A name is a word: letters, digits and . _ : @ + ~ -.") from None


def check_max_ttl(max_ttl: int) -> None:
    """Raise `RequestError` ``bad-request``, ``ttl-invalid`` or ``ttl-too-long``; ``max_ttl`` is in seconds."""
    if type(max_ttl) is not int:
        raise RequestError("bad-request", "max_ttl is a whole number of seconds.")
    if max_ttl <= 0:
        raise RequestError("ttl-invalid")
    if max_ttl > LONGEST_TTL:
        raise RequestError("ttl-too-long", f"max_ttl is at most {LONGEST_TTL} seconds.")


@dataclass(frozen=True, slots=True)
class Keeping:
    """The writes on audiences and keys."""

    master: MasterKey
    audit: AuditLog

    def add_audience(self, tx: Transaction, name: str, max_ttl: int, now: int, minter: Minter | None) -> Audience:
        """Add an audience and its first key. Raises `RequestError` ``exists``."""
        if tx.audience(name) is not None:
            raise RequestError("exists")
        record = AudienceRecord(name, max_ttl, now)
        self._put_audience(tx, record, now, minter, "add audience")
        self._activate(tx, name, now)
        return audience_of(record)

    def set_max_ttl(self, tx: Transaction, name: str, max_ttl: int, now: int, minter: Minter | None) -> Audience:
        """Change the longest lifetime, of tokens that are out there too. Raises `RequestError` ``not-found``."""
        record = tx.audience(name)
        if record is None:
            raise RequestError("not-found")
        record = replace(record, max_ttl=max_ttl)
        self._put_audience(tx, record, now, minter, "set audience")
        return audience_of(record)

    def rotate(self, tx: Transaction, audience: str, now: int, minter: Minter | None) -> KeyInfo:
        """Make a fresh active key; the one before it verifies what it minted until that has expired.

        Raises `RequestError` ``not-found`` for an unknown audience.
        """
        if tx.audience(audience) is None:
            raise RequestError("not-found")
        before = tx.active_kid(audience)
        old = None if before is None else tx.key(before)
        if old is not None:
            tx.put_key(moved(self.master, old, RETIRING))
            tx.append_change(Change("key", audience, now, now, kid=old.kid, state=RETIRING))
        fresh = self._activate(tx, audience, now)
        self.audit.append(
            tx, at=now, action="rotate key", target=fresh.kid, audience=audience, minter=minter, retiring=before
        )
        return KeyInfo(fresh.kid, audience, fresh.state, aware(now))

    def _activate(self, tx: Transaction, audience: str, now: int) -> KeyRecord:
        fresh = new_key(self.master, audience, now)
        tx.put_key(fresh)
        tx.append_change(Change("key", audience, now, now, kid=fresh.kid, state=ACTIVE))
        return fresh

    def _put_audience(
        self, tx: Transaction, record: AudienceRecord, now: int, minter: Minter | None, action: str
    ) -> None:
        tx.put_audience(record)
        tx.append_change(Change("audience", record.name, now, now, name=record.name, max_ttl=record.max_ttl))
        self.audit.append(
            tx, at=now, action=action, target=record.name, audience=record.name, minter=minter, max_ttl=record.max_ttl
        )
