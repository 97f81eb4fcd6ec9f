"""Requests to the service, as JSON objects. What is not given is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from capsvc.grants import Fact
from capsvc.wire.texts import JsonObject, instant_text

__all__ = [
    "discharger_change",
    "discharger_request",
    "exchange_request",
    "mint_request",
    "revocation_request",
    "verify_request",
]


def mint_request(
    *,
    audience: str,
    ttl: int | None = None,
    expires_at: datetime | None = None,
    subject: str | None = None,
    facts: Mapping[str, Fact] | None = None,
    caveats: Sequence[str] = (),
    third_party: Sequence[Mapping[str, object]] = (),
    label: str | None = None,
) -> JsonObject:
    """Mint's request; what is not given is left out."""
    return _without_none(
        audience=audience,
        ttl=ttl,
        expires_at=None if expires_at is None else instant_text(expires_at),
        subject=subject,
        facts=dict(facts) if facts else None,
        caveats=list(caveats) or None,
        third_party=[dict(entry) for entry in third_party] or None,
        label=label,
    )


def verify_request(
    token: str,
    *,
    audience: str,
    context: Mapping[str, object] | None = None,
    explain: bool = False,
    prefix: bool = False,
) -> JsonObject:
    """Verify's request; what is not given is left out."""
    return _without_none(
        token=token,
        audience=audience,
        context=dict(context) if context else None,
        explain=explain or None,
        prefix=prefix or None,
    )


def revocation_request(
    *,
    token: str | None = None,
    id: str | None = None,
    key: str | None = None,
    audience: str | None = None,
    subject: str | None = None,
    before: datetime | None = None,
) -> JsonObject:
    """A revocation's request; what is not given is left out."""
    return _without_none(
        token=token,
        id=id,
        key=key,
        audience=audience,
        subject=subject,
        before=None if before is None else instant_text(before),
    )


def exchange_request(bundle: str) -> JsonObject:
    """Exchange's request."""
    return {"token": bundle}


def discharger_request(*, name: str, location: str, public_key: str, next_public_key: str | None = None) -> JsonObject:
    """A registration's request; what is not given is left out."""
    return _without_none(name=name, location=location, public_key=public_key, next_public_key=next_public_key)


def discharger_change(
    *, public_key: str | None = None, next_public_key: str | None = None, clear_next: bool = False
) -> JsonObject:
    """A change of a third party's keys; what is not given stays, and with ``clear_next`` there is no next one."""
    given = _without_none(public_key=public_key, next_public_key=next_public_key)
    return {**given, "next_public_key": None} if clear_next else given


def _without_none(**fields: object) -> JsonObject:
    return {name: value for name, value in fields.items() if value is not None}
