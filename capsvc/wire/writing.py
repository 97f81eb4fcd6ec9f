"""The service's answers: values to JSON objects."""

from __future__ import annotations

from collections.abc import Iterable

from capsvc.errors import Denied
from capsvc.grants import (
    Audience,
    BakeryKey,
    Discharger,
    FeedEntry,
    FeedPage,
    Grant,
    KeyInfo,
    Minted,
    Revocation,
    TokenRow,
    Verdict,
)
from capsvc.wire.texts import JsonObject, instant_text, visible

__all__ = [
    "audience_object",
    "bakery_key_object",
    "denial_object",
    "discharger_object",
    "feed_page_object",
    "grant_object",
    "key_object",
    "minted_object",
    "revocation_object",
    "token_row_object",
]


def _caveat_texts(caveats: Iterable[str]) -> list[str]:
    return [visible(caveat) for caveat in caveats]


def minted_object(minted: Minted) -> JsonObject:
    """Mint's answer: the only object that holds a token."""
    return {"token": minted.token, **_issued(minted)}


def token_row_object(row: TokenRow) -> JsonObject:
    """A row of the list of tokens: as mint's answer, no token."""
    by = row.minted_by
    return {
        **_issued(row),
        "state": row.state,
        "minted_by": None if by is None else {"id": by.id, "branch": by.branch},
    }


def _issued(token: Minted | TokenRow) -> JsonObject:
    return {
        "id": token.id,
        "audience": token.audience,
        "subject": token.subject,
        "facts": dict(token.facts),
        "label": token.label,
        "issued_at": instant_text(token.issued_at),
        "expires_at": instant_text(token.expires_at),
        "caveats": _caveat_texts(token.caveats),
    }


def grant_object(grant: Grant, *, explain: bool = False, prefix: bool = False) -> JsonObject:
    """Verify's answer for a token that allows the request."""
    answer: JsonObject = {
        "allowed": True,
        "id": grant.id,
        "audience": grant.audience,
        "subject": grant.subject,
        "issued_at": instant_text(grant.issued_at),
        "expires_at": instant_text(grant.expires_at),
        "facts": dict(grant.facts),
        "declared": {name: dict(values) for name, values in grant.declared.items()},
        "caveats": _caveat_texts(grant.caveats),
    }
    if explain:
        answer["verdicts"] = _verdict_objects(grant.verdicts)
    if prefix:
        answer["kid"] = grant.kid
        answer["branches"] = list(grant.branches)
    return answer


def denial_object(denied: Denied, *, explain: bool = False) -> JsonObject:
    """Verify's answer for a token that does not allow the request."""
    caveat = denied.caveat
    answer: JsonObject = {
        "allowed": False,
        "code": denied.code,
        "message": str(denied),
        "caveat": None if caveat is None else visible(caveat),
    }
    if explain:
        answer["verdicts"] = _verdict_objects(denied.verdicts)
    return answer


def _verdict_objects(verdicts: Iterable[Verdict]) -> list[JsonObject]:
    return [{"caveat": visible(v.caveat), "from": v.source, "verdict": v.verdict} for v in verdicts]


def revocation_object(revocation: Revocation) -> JsonObject:
    """The answer to a revocation; whether it is a repetition is the response's status."""
    return {"kind": revocation.kind, "audience": revocation.audience, "at": instant_text(revocation.at)}


def audience_object(audience: Audience) -> JsonObject:
    """An audience; ``max_ttl`` in seconds."""
    return {
        "name": audience.name,
        "max_ttl": audience.max_ttl,
        "created_at": instant_text(audience.created_at),
    }


def key_object(key: KeyInfo) -> JsonObject:
    """A signing key, without its secret."""
    return {"kid": key.kid, "state": key.state, "created_at": instant_text(key.created_at)}


def discharger_object(discharger: Discharger) -> JsonObject:
    """A registered third party."""
    return {
        "name": discharger.name,
        "location": discharger.location,
        "public_key": discharger.public_key,
        "next_public_key": discharger.next_public_key,
        "created_at": instant_text(discharger.created_at),
    }


def bakery_key_object(key: BakeryKey) -> JsonObject:
    """A key pair of the installation's own, its public half."""
    return {"public_key": key.public_key, "state": key.state, "created_at": instant_text(key.created_at)}


def feed_page_object(page: FeedPage) -> JsonObject:
    """A page of the feed."""
    return {
        "epoch": page.epoch,
        "cursor": page.cursor,
        "entries": [_feed_entry_object(entry) for entry in page.entries],
        "more": page.more,
    }


def _feed_entry_object(entry: FeedEntry) -> JsonObject:
    """An entry: only its own kind's fields are there, beside those of every kind."""
    special = {
        "id": entry.id,
        "branch": entry.branch,
        "subject": entry.subject,
        "before": None if entry.before is None else instant_text(entry.before),
        "kid": entry.kid,
        "state": entry.state,
        "name": entry.name,
        "max_ttl": entry.max_ttl,
    }
    return {
        "kind": entry.kind,
        "audience": entry.audience,
        "at": instant_text(entry.at),
        **{name: value for name, value in special.items() if value is not None},
    }
