"""The installation's own key pairs: the next one announced, then taken, each a write inside a transaction at ``now``.

Dischargers answer only first parties whose key they were told. So a pair is made and made known first, and seals only
from its rotation on; the one before it opens what was sealed with it until the last such token has gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from capsvc.authority.audit import AuditLog
from capsvc.authority.keys import ACTIVE, NEXT, RETIRING, moved_pair, new_box_key, open_pair
from capsvc.authority.seal import MasterKey, SealError
from capsvc.decision.instants import aware
from capsvc.errors import RequestError
from capsvc.grants import BakeryKey
from capsvc.macaroon.thirdparty import key_text
from capsvc.store.protocol import StoreUnavailable, Transaction
from capsvc.store.records import BoxKeyRecord, Change, Minter

__all__ = ["PairKeeping", "bakery_key"]


def bakery_key(record: BoxKeyRecord) -> BakeryKey:
    """Return a key pair as callers see it."""
    return BakeryKey(key_text(record.public), record.state, aware(record.created_at))


@dataclass(frozen=True, slots=True)
class PairKeeping:
    """The writes on key pairs; ``now`` is in Unix seconds."""

    master: MasterKey
    audit: AuditLog

    def add_next(self, tx: Transaction, now: int, minter: Minter | None) -> BakeryKey:
        """Make the pair that the next rotation takes. Raises `RequestError` ``exists`` if there is one."""
        if _in_state(tx, NEXT) is not None:
            raise RequestError("exists", "There is a next key pair already; rotate to it first.")
        made = new_box_key(self.master, now, NEXT)
        tx.put_box_key(made)
        _tell(tx, now)
        self.audit.append(tx, at=now, action="add bakery key", target=key_text(made.public), minter=minter)
        return bakery_key(made)

    def rotate(self, tx: Transaction, now: int, minter: Minter | None) -> BakeryKey:
        """Seal with the next pair from now on, or with a fresh one; the pair before it only opens.

        Raises `StoreUnavailable` for a row that somebody altered.
        """
        before, prepared = _in_state(tx, ACTIVE), _in_state(tx, NEXT)
        if before is not None:  # first, since never two are active
            tx.put_box_key(moved_pair(self.master, before, RETIRING))
        taken = new_box_key(self.master, now) if prepared is None else moved_pair(self.master, prepared, ACTIVE)
        tx.put_box_key(taken)
        _tell(tx, now)
        self.audit.append(
            tx,
            at=now,
            action="rotate bakery key",
            target=key_text(taken.public),
            minter=minter,
            retiring=None if before is None else key_text(before.public),
        )
        return bakery_key(taken)

    def proved(self, records: Iterable[BoxKeyRecord]) -> tuple[BakeryKey, ...]:
        """Return pairs as callers see them, each proved. Raises `StoreUnavailable` for a row that somebody altered."""
        try:
            return tuple([_proved(self.master, record) for record in records])
        except SealError as error:
            raise StoreUnavailable(str(error)) from error


def _proved(master: MasterKey, record: BoxKeyRecord) -> BakeryKey:
    open_pair(master, record)
    return bakery_key(record)


def _in_state(tx: Transaction, state: str) -> BoxKeyRecord | None:
    return next((record for record in tx.box_keys() if record.state == state), None)


def _tell(tx: Transaction, now: int) -> None:
    """Make every process read the pairs anew."""
    tx.append_change(Change("discharger", None, now, now, state="changed"))
