"""Use a capsvc service from Python: mint, authorize, exchange, revoke, with `Authority`'s parameters and results.

    with Client("https://tokens.example.org", credential) as client:
        minted = client.mint(audience="photos", ttl=900, subject="alice", caveats=["action in read"])
        grant = client.authorize(minted.token, audience="photos", context={"action": "read"})
        client.revoke(id=grant.id)

A credential goes over https, or over http to this machine alone; redirects are not followed; answers are bounded in
size and time. `Denied` speaks of the token that was asked about; everything else that goes wrong, a credential that
the service does not accept among it, is a `ServiceError`.

`CapabilityAuth` makes httpx present a token to the service that it is for, with the discharges that its third-party
caveats need; one that is not to be had is a `DischargeError`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Final, Self

import httpx

from capsvc.client import calls
from capsvc.client.connection import AsyncConnection, Connection
from capsvc.client.errors import DischargeError, ServiceError
from capsvc.errors import Denied
from capsvc.grants import Fact, FeedPage, Grant, Introspection, Minted, Revocation

if TYPE_CHECKING:
    from capsvc.client.auth import CapabilityAuth
    from capsvc.client.book import KnownDischarger

__all__ = [
    "AsyncClient",
    "CapabilityAuth",
    "Client",
    "Denied",
    "DischargeError",
    "KnownDischarger",
    "ServiceError",
]

_HOMES: Final = MappingProxyType(
    {"CapabilityAuth": "capsvc.client.auth", "KnownDischarger": "capsvc.client.book"}
)  # loaded when asked for: most who take a client build no macaroons

TIMEOUT: Final = 10.0  # seconds: for connecting, for each wait, and for the whole of an answer


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'capsvc.client' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


class Client:
    """A connection to a service, safe to share between threads.

    ``url`` is the service's address, ``credential`` a token or bundle of the audience ``capsvc``, ``timeout`` is
    in seconds; ``transport`` replaces the network (tests). Closing it, or leaving its ``with``, closes its
    connections.

    Raises:
        ValueError: for an address to which no credential may go.
        TokenError: for a credential that is no token's text.
        TypeError: for one that is no text, None among it.

    """

    def __init__(
        self, url: str, credential: str, *, timeout: float = TIMEOUT, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._connection = Connection(url, credential, timeout=timeout, transport=transport)

    def __repr__(self) -> str:
        return f"<Client {self._connection.origin.base}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._connection.close()

    def mint(
        self,
        *,
        audience: str,
        ttl: int | None = None,
        expires_at: datetime | None = None,
        subject: str | None = None,
        facts: Mapping[str, Fact] | None = None,
        caveats: Sequence[str] = (),
        third_party: Sequence[Mapping[str, object]] = (),
        label: str | None = None,
    ) -> Minted:
        """A fresh token: ``ttl`` in seconds, or ``expires_at``, an aware instant.

        Raises:
            ServiceError: with the service's code (``caveat-malformed``, ``ttl-too-long``, ``forbidden``, …).
            ValueError: for an instant without a time zone.

        """
        call = calls.mint_call(
            audience=audience,
            ttl=ttl,
            expires_at=expires_at,
            subject=subject,
            facts=facts,
            caveats=caveats,
            third_party=third_party,
            label=label,
        )
        return calls.read_minted(self._connection.call(call))

    def authorize(
        self,
        bundle: str,
        *,
        audience: str,
        context: Mapping[str, object] | None = None,
        explain: bool = False,
        prefix: bool = False,
    ) -> Grant:
        """Whether a token or bundle allows a request to ``audience`` with these values of ``context``.

        Raises:
            Denied: it does not; ``.code`` says why.
            ServiceError: there is no decision.

        """
        call = calls.authorize_call(bundle, audience=audience, context=context, explain=explain, prefix=prefix)
        return calls.read_grant(self._connection.call(call), audience)

    def introspect(
        self, token: str, *, audience: str | None = None, context: Mapping[str, object] | None = None
    ) -> Introspection:
        """What a token is good for (RFC 7662): ``active`` if the service would allow a request with this ``context``.

        But caveats on ``action`` alone need no value: what they leave is the ``scope``. Without ``audience`` it is the
        one that the credential is bounded to, else ``default``. The context's values travel as text, so that a whole
        number and its digits are the same.

        Raises:
            ServiceError: there is no answer.
            TypeError: for a value of the context that is neither text nor a whole number.

        """
        call = calls.introspect_call(token, audience=audience, context=context)
        return calls.read_introspection(self._connection.call(call), audience)

    def exchange(self, bundle: str) -> Minted:
        """A token without third-party caveats for a bundle that has its discharges, as restricted as the bundle is.

        Raises:
            Denied: the bundle is not good for it; ``.code`` says why (``discharge-missing``, ``expired``, …).
            ServiceError: everything else, the credential's refusal among it.

        """
        with calls.denials_of_exchange():
            return calls.read_minted(self._connection.call(calls.exchange_call(bundle)))

    def revoke(
        self,
        *,
        token: str | None = None,
        id: str | None = None,
        key: str | None = None,
        audience: str | None = None,
        subject: str | None = None,
        before: datetime | None = None,
    ) -> Revocation:
        """Revoke a token and what was made from it, or all by ``id``, ``key``, or ``audience`` and ``subject``.

        In force when this returns.

        Raises:
            ServiceError: with the service's code.
            ValueError: for an instant without a time zone.

        """
        call = calls.revoke_call(token=token, id=id, key=key, audience=audience, subject=subject, before=before)
        return calls.read_revocation(self._connection.call(call))

    def feed(self, after: str | None = None, *, wait: float = 0.0) -> FeedPage:
        """What was revoked or changed since: after the ``cursor`` of a page, from the oldest kept, or from ``"now"``.

        Where there is nothing, the service waits for it, up to ``wait`` seconds (30 at most).

        Raises:
            ServiceError: 410 ``cursor-gone``: entries after that cursor may be missing, so forget what the feed told
                and begin anew; else with the service's code.
            ValueError: for a wait that is no time.

        """
        return calls.read_feed(self._connection.call(calls.feed_call(after=after, wait=wait)))


class AsyncClient:
    """`Client` for asyncio.

    ``url`` is the service's address, ``credential`` a token or bundle of the audience ``capsvc``, ``timeout`` is
    in seconds; ``transport`` replaces the network (tests). Closing it, or leaving its ``async with``, closes its
    connections.

    Raises:
        ValueError: for an address to which no credential may go.
        TokenError: for a credential that is no token's text.
        TypeError: for one that is no text, None among it.

    """

    def __init__(
        self, url: str, credential: str, *, timeout: float = TIMEOUT, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._connection = AsyncConnection(url, credential, timeout=timeout, transport=transport)

    def __repr__(self) -> str:
        return f"<AsyncClient {self._connection.origin.base}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections."""
        await self._connection.close()

    async def mint(
        self,
        *,
        audience: str,
        ttl: int | None = None,
        expires_at: datetime | None = None,
        subject: str | None = None,
        facts: Mapping[str, Fact] | None = None,
        caveats: Sequence[str] = (),
        third_party: Sequence[Mapping[str, object]] = (),
        label: str | None = None,
    ) -> Minted:
        """A fresh token: ``ttl`` in seconds, or ``expires_at``, an aware instant.

        Raises:
            ServiceError: with the service's code (``caveat-malformed``, ``ttl-too-long``, ``forbidden``, …).
            ValueError: for an instant without a time zone.

        """
        call = calls.mint_call(
            audience=audience,
            ttl=ttl,
            expires_at=expires_at,
            subject=subject,
            facts=facts,
            caveats=caveats,
            third_party=third_party,
            label=label,
        )
        return calls.read_minted(await self._connection.call(call))

    async def authorize(
        self,
        bundle: str,
        *,
        audience: str,
        context: Mapping[str, object] | None = None,
        explain: bool = False,
        prefix: bool = False,
    ) -> Grant:
        """Whether a token or bundle allows a request to ``audience`` with these values of ``context``.

        Raises:
            Denied: it does not; ``.code`` says why.
            ServiceError: there is no decision.

        """
        call = calls.authorize_call(bundle, audience=audience, context=context, explain=explain, prefix=prefix)
        return calls.read_grant(await self._connection.call(call), audience)

    async def introspect(
        self, token: str, *, audience: str | None = None, context: Mapping[str, object] | None = None
    ) -> Introspection:
        """What a token is good for (RFC 7662): ``active`` if the service would allow a request with this ``context``.

        But caveats on ``action`` alone need no value: what they leave is the ``scope``. Without ``audience`` it is the
        one that the credential is bounded to, else ``default``. The context's values travel as text, so that a whole
        number and its digits are the same.

        Raises:
            ServiceError: there is no answer.
            TypeError: for a value of the context that is neither text nor a whole number.

        """
        call = calls.introspect_call(token, audience=audience, context=context)
        return calls.read_introspection(await self._connection.call(call), audience)

    async def exchange(self, bundle: str) -> Minted:
        """A token without third-party caveats for a bundle that has its discharges, as restricted as the bundle is.

        Raises:
            Denied: the bundle is not good for it; ``.code`` says why (``discharge-missing``, ``expired``, …).
            ServiceError: everything else, the credential's refusal among it.

        """
        with calls.denials_of_exchange():
            return calls.read_minted(await self._connection.call(calls.exchange_call(bundle)))

    async def revoke(
        self,
        *,
        token: str | None = None,
        id: str | None = None,
        key: str | None = None,
        audience: str | None = None,
        subject: str | None = None,
        before: datetime | None = None,
    ) -> Revocation:
        """Revoke a token and what was made from it, or all by ``id``, ``key``, or ``audience`` and ``subject``.

        In force when this returns.

        Raises:
            ServiceError: with the service's code.
            ValueError: for an instant without a time zone.

        """
        call = calls.revoke_call(token=token, id=id, key=key, audience=audience, subject=subject, before=before)
        return calls.read_revocation(await self._connection.call(call))

    async def feed(self, after: str | None = None, *, wait: float = 0.0) -> FeedPage:
        """What was revoked or changed since: after the ``cursor`` of a page, from the oldest kept, or from ``"now"``.

        Where there is nothing, the service waits for it, up to ``wait`` seconds (30 at most).

        Raises:
            ServiceError: 410 ``cursor-gone``: entries after that cursor may be missing, so forget what the feed told
                and begin anew; else with the service's code.
            ValueError: for a wait that is no time.

        """
        return calls.read_feed(await self._connection.call(calls.feed_call(after=after, wait=wait)))
