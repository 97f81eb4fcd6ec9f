"""Pins: a registered discharger's row under a MAC, so that nobody puts another key or another date into it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from capsvc.authority.seal import MasterKey, framed
from capsvc.store.records import DischargerRecord

__all__ = ["proved", "with_pin"]

PURPOSE: Final = "discharger pin"


def with_pin(master: MasterKey, record: DischargerRecord) -> DischargerRecord:
    """Return the row under a fresh MAC."""
    return replace(record, mac=master.mac(PURPOSE, _message(record)))


def proved(master: MasterKey, record: DischargerRecord) -> DischargerRecord:
    """Return a row whose MAC is right, or raise `SealError`: another master key's, or altered."""
    master.check_mac(PURPOSE, _message(record), record.mac)
    return record


def _message(record: DischargerRecord) -> bytes:
    return framed(
        "dischargers",
        record.name,
        record.location,
        record.public,
        str(record.since),
        record.next_public or b"",
        "" if record.next_since is None else str(record.next_since),
        str(record.created_at),
    )
