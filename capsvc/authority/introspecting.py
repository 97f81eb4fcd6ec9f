"""Introspection (RFC 7662): the decision, told to whoever will decide about actions himself.

Of a token that is not good nothing is told. One that the caller's credential does not cover looks the same, and is not
even looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from capsvc.authority.credential import Credential
from capsvc.authority.decision import Decider
from capsvc.authority.installation import DEFAULT_AUDIENCE
from capsvc.errors import Denied, RequestError
from capsvc.grants import Introspection

__all__ = ["INACTIVE", "introspect"]

INACTIVE: Final = Introspection(active=False)


def introspect(
    decider: Decider,
    issuer: str,
    token: str,
    *,
    audience: str | None,
    context: Mapping[str, object],
    credential: Credential | None,
    now: float,
) -> Introspection:
    """Decide about a token at ``now`` (Unix seconds), for an audience or that of the caller's credential.

    Raises `RequestError` ``unavailable``.
    """
    if audience is None:
        audience = _audience_of(credential)
    try:
        if credential is not None:
            credential.permits({"for.audience": audience})
        grant, actions = decider.decide_scope(token, audience, context, now)
    except Denied as denied:
        if denied.code == "unavailable":
            raise RequestError("unavailable") from None
        return INACTIVE
    client = grant.facts.get("client")
    return Introspection(
        active=True,
        issuer=issuer,
        audience=grant.audience,
        id=grant.id,
        issued_at=grant.issued_at,
        expires_at=grant.expires_at,
        subject=grant.subject,
        scope=None if actions is None else tuple(sorted(actions)),
        client=client if isinstance(client, str) else None,
    )


def _audience_of(credential: Credential | None) -> str:
    """The audience that is meant where none is named."""
    sole = None if credential is None else credential.sole_audience
    return DEFAULT_AUDIENCE if sole is None else sole
