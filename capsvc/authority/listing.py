"""Token rows as callers see them, with the state that each has now."""

from __future__ import annotations

from collections.abc import Callable

from capsvc.authority.keys import REVOKED
from capsvc.authority.view import View
from capsvc.decision.branches import branch_text
from capsvc.decision.instants import aware
from capsvc.grants import MintedBy, TokenRow
from capsvc.store.protocol import Store
from capsvc.store.records import TokenFilter, TokenRecord

__all__ = ["Listing"]


class Listing:
    """Reads token rows."""

    def __init__(self, store: Store, follow: Callable[[], View], clock: Callable[[], int]) -> None:
        self._store = store
        self._follow = follow
        self._clock = clock

    def token(self, token_id: str) -> TokenRow | None:
        """Return one row. Raises `StoreUnavailable`."""
        record = self._store.token(token_id)
        return None if record is None else _row(record, self._follow(), self._clock())

    def tokens(self, wanted: TokenFilter, after: int, limit: int) -> tuple[list[TokenRow], int | None]:
        """Return at most ``limit`` rows above a sequence number, and the number to go on from if there are more."""
        records = self._store.tokens(wanted, after, limit + 1)
        view, now = self._follow(), self._clock()
        rows = [_row(record, view, now) for record in records[:limit]]
        return rows, rows[-1].seq if len(records) > limit else None


def _row(record: TokenRecord, view: View, now: int) -> TokenRow:
    minter = record.minter
    return TokenRow(
        id=record.id,
        audience=record.audience,
        subject=record.subject,
        facts=record.facts,
        label=record.label,
        issued_at=aware(record.issued_at),
        expires_at=aware(record.expires_at),
        caveats=record.caveats,
        state=_state(record, view, now),
        minted_by=None if minter is None else MintedBy(minter.id, branch_text(minter.branch)),
        seq=record.seq,
    )


def _state(record: TokenRecord, view: View, now: int) -> str:
    if _revoked(record, view):
        return "revoked"
    audience = view.audiences.get(record.audience)
    longest = record.issued_at + (audience.max_ttl if audience else 0)
    return "live" if now < min(record.expires_at, longest) else "expired"


def _revoked(record: TokenRecord, view: View) -> bool:
    if view.revocations.id_revoked(record.id) or record.branch in (view.revocations.revoked_branches(record.id) or {}):
        return True
    key = view.keys.get(record.kid)
    if key is not None and key.state == REVOKED:
        return True
    watermark = None if record.subject is None else view.revocations.watermark(record.audience, record.subject)
    return watermark is not None and record.issued_at <= watermark
