"""What came of a token by exchange, and dies with it."""

from __future__ import annotations

from collections.abc import Iterable

from capsvc.store.protocol import Transaction
from capsvc.store.records import Change, Exchanged

__all__ = ["revoke_descendants"]


def revoke_descendants(tx: Transaction, exchanged: Iterable[Exchanged], now: int) -> None:
    """Revoke exchanged tokens and what came of them, at ``now`` (Unix seconds); each has an entry of its own.

    That they came of each other in a circle is what only somebody who altered the rows can have it say; it ends, too.
    """
    waiting, seen = list(exchanged), set[str]()
    while waiting:
        one = waiting.pop()
        if one.id in seen:
            continue
        seen.add(one.id)
        if tx.revocation_of_id(one.id) is None:
            for branch in tx.branches_of(one.id):
                tx.drop_change(branch.seq)
            tx.append_change(Change("id", one.audience, now, one.expires_at, id=one.id))
        waiting.extend(tx.exchanged_from(one.id))
