"""The sweep: what expired long enough ago is forgotten, by one process at a time, a little in each transaction.

A mark says how far a sweep has come. Where the clock was set back behind it since, a token that would have expired
before the mark counts as expired unless its row is there still: so that nothing comes back to life whose revocation is
gone, and what was minted since is as good as any.
"""

from __future__ import annotations

from typing import Final

from capsvc.authority.view import SWEPT, SWEPT_WHOLE
from capsvc.store.protocol import Store, Transaction

__all__ = ["KEPT", "sweep"]

KEPT: Final = 7 * 86_400
"""Seconds for which an expired token's row, and what revoked it, stay."""

PAUSE: Final = 60  # seconds between two sweeps, of whatever process
PORTION: Final = 500  # rows to a transaction, so that nobody waits long
BEGUN: Final = "sweep-begun"


def sweep(store: Store, now: int) -> int:
    """Forget what expired before seven days ago; return how many rows went. Nothing, if another has just done so.

    Raises `StoreUnavailable`.
    """
    before = now - KEPT
    if not store.write(lambda tx: _begin(tx, now, before)).result():
        return 0
    gone = 0
    while portion := store.write(lambda tx: _portion(tx, before)).result():
        gone += portion
    store.write(lambda tx: tx.set_meta(SWEPT_WHOLE, max(before, _number(tx.meta(SWEPT_WHOLE))))).result()
    return gone


def _number(value: bytes | int | str | None) -> int:
    return value if isinstance(value, int) else 0


def _begin(tx: Transaction, now: int, before: int) -> bool:
    """Take the turn; set the mark before anything goes, and drop the keys and pairs whose last token has gone before.

    In one transaction, since every process that sees a higher mark reads the keys anew.
    """
    begun = tx.meta(BEGUN)
    if isinstance(begun, int) and begun <= now < begun + PAUSE:
        return False
    tx.set_meta(BEGUN, now)
    if _number(tx.meta(SWEPT)) < before:
        tx.set_meta(SWEPT, before)
        for kid in tx.sweepable_keys(before):
            tx.delete_key(kid)
        for public in tx.idle_box_keys():
            tx.delete_box_key(public)
    return True


def _portion(tx: Transaction, before: int) -> int:
    gone = tx.sweep_tokens(before, PORTION) + tx.sweep_changes(before, PORTION)
    return gone + tx.sweep_removed_keys(before, PORTION)
