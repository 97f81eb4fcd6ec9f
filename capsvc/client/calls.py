"""The calls of the clients: arguments to requests, answers to values. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from capsvc import wire
from capsvc.client.errors import ServiceError
from capsvc.client.messages import Answer, Call, unreadable
from capsvc.errors import STATUS, Denied
from capsvc.grants import Fact, FeedPage, Grant, Introspection, Minted, Revocation

__all__ = [
    "authorize_call",
    "denials_of_exchange",
    "exchange_call",
    "feed_call",
    "introspect_call",
    "mint_call",
    "read_feed",
    "read_grant",
    "read_introspection",
    "read_minted",
    "read_revocation",
    "revoke_call",
]

_OF_CREDENTIALS: Final = frozenset({"credential-missing", "forbidden"})
_DECISIONS: Final = frozenset(code for code, status in STATUS.items() if status in {401, 403}) - _OF_CREDENTIALS
_INSTANTS: Final = frozenset({"issued_at", "expires_at", "at", "before"})


def mint_call(
    *,
    audience: str,
    ttl: int | None,
    expires_at: datetime | None,
    subject: str | None,
    facts: Mapping[str, Fact] | None,
    caveats: Sequence[str],
    third_party: Sequence[Mapping[str, object]],
    label: str | None,
) -> Call:
    """Ask for a token.

    Raises:
        TypeError: for one text where a sequence of caveats belongs.
        ValueError: for an instant without a time zone.

    """
    if isinstance(caveats, str):
        raise TypeError("caveats is a sequence of texts, not one text")
    body = wire.mint_request(
        audience=audience,
        ttl=ttl,
        expires_at=_aware(expires_at),
        subject=subject,
        facts=facts,
        caveats=caveats,
        third_party=third_party,
        label=label,
    )
    return Call("POST", "/v1/tokens", body)


def read_minted(answer: Answer) -> Minted:
    """The minted token. Raises `ServiceError`."""
    try:
        return wire.read_minted(_with_instants(answer.value))
    except ValueError:
        raise unreadable(answer.status) from None


def authorize_call(
    bundle: str, *, audience: str, context: Mapping[str, object] | None, explain: bool, prefix: bool
) -> Call:
    """Ask for a decision."""
    body = wire.verify_request(bundle, audience=audience, context=context, explain=explain, prefix=prefix)
    return Call("POST", "/v1/verify", body)


def read_grant(answer: Answer, audience: str) -> Grant:
    """The grant, which must be for the audience that was asked about. Raises `Denied`, `ServiceError`."""
    try:
        grant = wire.read_decision(_with_instants(answer.value))
    except ValueError:
        raise unreadable(answer.status) from None
    if answer.status != HTTPStatus.OK or grant.audience != audience:
        raise unreadable(answer.status)
    return grant


def introspect_call(token: str, *, audience: str | None, context: Mapping[str, object] | None) -> Call:
    """Ask what a token is good for. Raises `TypeError` for a context that no form can hold."""
    form = wire.introspection_form(token, audience=audience, context=context)
    return Call("POST", "/v1/introspect", form=form)


def read_introspection(answer: Answer, audience: str | None) -> Introspection:
    """What the token is good for, for the audience that was asked about, if one was. Raises `ServiceError`."""
    try:
        found = wire.read_introspection(answer.value)
    except ValueError:
        raise unreadable(answer.status) from None
    if answer.status != HTTPStatus.OK or (found.active and audience not in {None, found.audience}):
        raise unreadable(answer.status)
    return found


def exchange_call(bundle: str) -> Call:
    """Ask for a token without third-party caveats."""
    return Call("POST", "/v1/exchange", wire.exchange_request(bundle))


@contextmanager
def denials_of_exchange() -> Iterator[None]:
    """Raise `Denied` for a decision against the bundle that was to be exchanged; the credential's is no 422."""
    try:
        yield
    except ServiceError as error:
        if error.status != HTTPStatus.UNPROCESSABLE_ENTITY or error.code not in _DECISIONS:
            raise
        raise Denied(error.code, error.caveat) from None


def revoke_call(
    *,
    token: str | None,
    id: str | None,
    key: str | None,
    audience: str | None,
    subject: str | None,
    before: datetime | None,
) -> Call:
    """Ask for a revocation.

    Raises:
        ValueError: for an instant without a time zone.

    """
    body = wire.revocation_request(
        token=token, id=id, key=key, audience=audience, subject=subject, before=_aware(before)
    )
    return Call("POST", "/v1/revocations", body)


def read_revocation(answer: Answer) -> Revocation:
    """The revocation that is in force. Raises `ServiceError`."""
    try:
        return wire.read_revocation(_with_instants(answer.value), repeated=answer.status == HTTPStatus.OK)
    except ValueError:
        raise unreadable(answer.status) from None


def feed_call(*, after: str | None, wait: float) -> Call:
    """Ask for what came next in the feed; ``wait`` in seconds, while there is nothing.

    Raises:
        ValueError: for a wait that is no time.

    """
    if not 0 <= wait < math.inf:
        raise ValueError("a wait is 0 or more seconds")
    query = {} if after is None else {"after": after}
    if wait:
        query["wait"] = f"{wait:f}"
    path = f"/v1/revocations?{urlencode(query)}" if query else "/v1/revocations"
    return Call("GET", path, waits=min(wait, wire.LONGEST_WAIT))


def read_feed(answer: Answer) -> FeedPage:
    """The page. Raises `ServiceError`."""
    try:
        entries = answer.value.get("entries")
        for entry in entries if isinstance(entries, list) else ():
            _with_instants(entry)
        return wire.read_feed_page(answer.value)
    except ValueError:
        raise unreadable(answer.status) from None


def _with_instants(value: Any) -> Any:
    """The answer, whose instants are spelled as the contract spells them: in UTC, so that values of them are aware.

    Raises:
        ValueError: for another spelling.

    """
    if isinstance(value, dict):
        for name in _INSTANTS & value.keys():
            wire.parse_instant(value[name] if isinstance(value[name], str) else "")
    return value


def _aware(instant: datetime | None) -> datetime | None:
    if instant is not None and instant.utcoffset() is None:
        raise ValueError("an instant needs a time zone: which second it is must not depend on where the program runs")
    return instant
