"""Introspection (RFC 7662): the request's form and the answer's object, whose instants are Unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from capsvc.grants import Introspection
from capsvc.wire.texts import JsonObject

__all__ = ["introspection_form", "introspection_object", "read_introspection"]

_Seconds = Annotated[int, msgspec.Meta(ge=0, lt=4_102_444_800)]  # until 2100


class _Active(msgspec.Struct, frozen=True):
    iss: str
    aud: str
    jti: str
    iat: _Seconds
    exp: _Seconds
    token_type: Literal["Bearer"]
    sub: str | None = None
    scope: str | None = None
    client_id: str | None = None


def introspection_form(
    token: str, *, audience: str | None = None, context: Mapping[str, object] | None = None
) -> dict[str, str]:
    """The request's fields; what is not given is left out.

    Raises:
        TypeError: for a value of the context that is neither text nor a whole number: a form has no others.

    """
    form = {"token": token}
    if audience is not None:
        form["audience"] = audience
    for name, value in (context or {}).items():
        if type(value) not in {str, int}:
            raise TypeError("a value of the context is text or a whole number")
        form[f"context.{name}"] = str(value)
    return form


def introspection_object(found: Introspection) -> JsonObject:
    """The answer; of a token that is not active, it is always the same."""
    if not found.active or found.issued_at is None or found.expires_at is None:
        return {"active": False}
    claims = {
        "active": True,
        "iss": found.issuer,
        "aud": found.audience,
        "jti": found.id,
        "iat": int(found.issued_at.timestamp()),
        "exp": int(found.expires_at.timestamp()),
        "token_type": "Bearer",
        "sub": found.subject,
        "scope": None if found.scope is None else " ".join(found.scope),
        "client_id": found.client,
    }
    return {name: value for name, value in claims.items() if value is not None}


def read_introspection(answer: object) -> Introspection:
    """The answer read back; only a literal ``true`` is active. Raises ``ValueError`` without a word of the answer."""
    active = answer.get("active") if isinstance(answer, dict) else None
    if active is False:
        return Introspection(active=False)
    if active is not True:
        raise ValueError("the answer is not of its shape: active is true or false")
    try:
        claims = msgspec.convert(answer, _Active)
    except msgspec.ValidationError as error:
        raise ValueError(f"the answer is not of its shape: {error}") from None
    scope = None if claims.scope is None else tuple(claims.scope.split(" "))
    if scope is not None and not all(scope):
        raise ValueError("the answer is not of its shape: a scope holds words")
    return Introspection(
        active=True,
        issuer=claims.iss,
        audience=claims.aud,
        id=claims.jti,
        issued_at=datetime.fromtimestamp(claims.iat, UTC),
        expires_at=datetime.fromtimestamp(claims.exp, UTC),
        subject=claims.sub,
        scope=scope,
        client=claims.client_id,
    )
