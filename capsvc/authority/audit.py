"""The audit: what was done, by whom, each line under a MAC over the line before it.

Whoever can write to the database but has no master key can cut off the newest lines; he can change, insert or remove
none before them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from capsvc.authority.seal import MasterKey, SealError, framed
from capsvc.store.protocol import Transaction
from capsvc.store.records import AuditRecord, Minter

__all__ = ["AuditLog"]

PURPOSE: Final = "audit"
START: Final = b"capsvc audit 1"  # stands for the MAC before the first line


class AuditLog:
    """Writes lines inside the transaction of what they tell of, and proves them."""

    def __init__(self, master: MasterKey) -> None:
        self._master = master

    def append(
        self,
        tx: Transaction,
        *,
        at: int,
        action: str,
        target: str,
        audience: str | None = None,
        minter: Minter | None = None,
        **detail: str | int | None,
    ) -> None:
        """Add a line: ``target`` is what was acted on (an id, a name), ``detail`` what else an auditor asks."""
        text = json.dumps({name: value for name, value in detail.items() if value is not None}, sort_keys=True)
        line = AuditRecord(at, action, audience, target, text, minter, b"")
        tx.append_audit(replace(line, mac=self._mac(tx.last_audit_mac() or START, line)))

    def verify(self, lines: Iterable[AuditRecord]) -> int:
        """Return how many lines there are; raise `SealError` at the first that is not genuine or not in its place."""
        before, count = START, 0
        for line in lines:
            if self._mac(before, line) != line.mac:
                raise SealError(f"line {line.seq} of the audit, or the one before it, was altered or removed")
            before, count = line.mac, count + 1
        return count

    def _mac(self, before: bytes, line: AuditRecord) -> bytes:
        minter = line.minter
        return self._master.mac(
            PURPOSE,
            framed(
                before,
                str(line.at),
                line.action,
                *_optional(line.audience),
                line.target,
                line.detail,
                *_optional(minter.id if minter else None),
                minter.branch if minter else b"",
            ),
        )


def _optional(text: str | None) -> tuple[str, str]:
    """Frame None and the empty text differently."""
    return ("0", "") if text is None else ("1", text)
