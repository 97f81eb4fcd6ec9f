"""SQLite rows to records, in the order of the columns named here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from capsvc.store.protocol import StoreUnavailable
from capsvc.store.records import (
    AttributeRecord,
    AudienceRecord,
    AuditRecord,
    BoxKeyRecord,
    Change,
    DischargerRecord,
    Exchanged,
    KeyRecord,
    LogMarks,
    Minter,
    TokenRecord,
)

__all__ = [
    "BOX_KEY_COLUMNS",
    "CHANGE_COLUMNS",
    "DISCHARGER_COLUMNS",
    "TOKEN_COLUMNS",
    "attribute_of",
    "audience_of",
    "audit_of",
    "box_key_of",
    "change_of",
    "discharger_of",
    "exchanged_of",
    "key_of",
    "log_marks_of",
    "minter_of",
    "token_of",
    "whole",
]

TOKEN_COLUMNS: Final = (
    "id, kid, audience, subject, facts, label, issued_at, expires_at, caveats, branch, minter_id, minter_branch, seq"
)
BOX_KEY_COLUMNS: Final = "public, state, created_at, secret, mac"
DISCHARGER_COLUMNS: Final = "name, location, public, since, next_public, next_since, created_at, mac, seq"
CHANGE_COLUMNS: Final = (
    "kind, audience, at, keep_until, id, branch, path, presented, subject, before, kid, state, name, max_ttl, seq"
)

# SQLite keeps whatever is put into a column, text among numbers too, and a decision compares these with each other.
_TEXT, _NUMBER, _OCTETS = (str, type(None)), (int, type(None)), (bytes, type(None))
_CHANGE_TYPES: Final = (
    *(str, _TEXT, int, int, _TEXT, _OCTETS, _OCTETS, int),  # kind to presented
    *(_TEXT, _NUMBER, _TEXT, _TEXT, _TEXT, _NUMBER, int),  # subject to seq
)
_AUDIENCE_TYPES: Final = (str, int, int)
_BOX_KEY_TYPES: Final = (bytes, str, int, bytes, bytes)
_DISCHARGER_TYPES: Final = (str, str, bytes, int, _OCTETS, _NUMBER, int, bytes, int)
_EXCHANGED_TYPES: Final = (str, str, int, bytes)
_LOG_MARKS_TYPES: Final = (str, int, int)


def _are(row: tuple[Any, ...], types: Iterable[type | tuple[type, ...]]) -> bool:
    return all([isinstance(value, kind) for value, kind in zip(row, types, strict=True)])


def minter_of(minter_id: str | None, branch: bytes | None) -> Minter | None:
    """Return who caused a row, or None where the operator did it on the data directory.

    Half of one is no row of ours: it stays visible, so that no MAC over it fits.
    """
    return None if minter_id is None and branch is None else Minter(minter_id or "", branch or b"")


def token_of(row: tuple[Any, ...]) -> TokenRecord:
    """Return a token's record from a row of `TOKEN_COLUMNS`."""
    token_id, kid, audience, subject, facts, label, issued, expires, caveats, branch, minter, minter_branch, seq = row
    return TokenRecord(
        id=token_id,
        kid=kid,
        audience=audience,
        subject=subject,
        facts=json.loads(facts) if facts else {},
        label=label,
        issued_at=issued,
        expires_at=expires,
        caveats=tuple(caveats.split("\n")),
        branch=branch,
        minter=minter_of(minter, minter_branch),
        seq=seq,
    )


def change_of(row: tuple[Any, ...]) -> Change:
    """Return a log entry from a row of `CHANGE_COLUMNS`. Raises `StoreUnavailable` for one that was damaged."""
    if not _are(row, _CHANGE_TYPES):
        raise StoreUnavailable("an entry of the log is damaged")
    return Change(*row)


def log_marks_of(row: tuple[Any, ...]) -> LogMarks:
    """Return where the log stands from epoch, head and swept. Raises `StoreUnavailable` for a damaged one."""
    if not _are(row, _LOG_MARKS_TYPES):
        raise StoreUnavailable("the state of the log is damaged")
    return LogMarks(*row)


def audience_of(row: tuple[Any, ...]) -> AudienceRecord:
    """Return an audience from its name, longest lifetime and birth. Raises `StoreUnavailable` for a damaged row."""
    if not _are(row, _AUDIENCE_TYPES):
        raise StoreUnavailable("an audience is damaged")
    return AudienceRecord(*row)


def key_of(row: tuple[Any, ...]) -> KeyRecord:
    """Return a key's record."""
    return KeyRecord(*row)


def box_key_of(row: tuple[Any, ...]) -> BoxKeyRecord:
    """Return a key pair from a row of `BOX_KEY_COLUMNS`. Raises `StoreUnavailable` for one that was damaged."""
    if not _are(row, _BOX_KEY_TYPES):
        raise StoreUnavailable("a key pair of the installation is damaged")
    return BoxKeyRecord(*row)


def discharger_of(row: tuple[Any, ...]) -> DischargerRecord:
    """Return a discharger from a row of `DISCHARGER_COLUMNS`. Raises `StoreUnavailable` for one that was damaged."""
    if not _are(row, _DISCHARGER_TYPES) or (row[4] is None) != (row[5] is None):
        raise StoreUnavailable("a discharger is damaged")
    return DischargerRecord(*row)


def exchanged_of(row: tuple[Any, ...]) -> Exchanged:
    """Return an exchanged token from its id, audience, expiry and path. Raises `StoreUnavailable` for a damaged one."""
    if not _are(row, _EXCHANGED_TYPES):
        raise StoreUnavailable("an exchanged token is damaged")
    return Exchanged(*row)


def whole(value: object) -> int | None:
    """Return a number of a row, or None for none. Raises `StoreUnavailable` for what is no whole number."""
    if not isinstance(value, _NUMBER):
        raise StoreUnavailable("a number is damaged")
    return value


def attribute_of(row: tuple[Any, ...]) -> AttributeRecord:
    """Return a declared attribute. Raises `StoreUnavailable` for a closed set that was damaged."""
    name, kind, fact, values = row
    try:
        closed_set = None if values is None else tuple(json.loads(values))
    except (ValueError, TypeError) as error:
        raise StoreUnavailable(f"the attribute {name} is damaged") from error
    return AttributeRecord(name, kind, bool(fact), closed_set)


def audit_of(row: Mapping[str, Any]) -> AuditRecord:
    """Return a line of the audit."""
    return AuditRecord(
        at=row["at"],
        action=row["action"],
        audience=row["audience"],
        target=row["target"],
        detail=row["detail"],
        minter=minter_of(row["minter_id"], row["minter_branch"]),
        mac=row["mac"],
        seq=row["seq"],
    )
