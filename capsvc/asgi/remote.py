"""The verifier that asks the authority every time."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from capsvc.asgi.asking import Asker
from capsvc.asgi.checks import seconds
from capsvc.asgi.loops import OfOneLoop
from capsvc.client.connection import AsyncConnection
from capsvc.errors import Denied, TokenError
from capsvc.grants import Grant
from capsvc.macaroon.bundle import split
from capsvc.token import Token

if TYPE_CHECKING:
    import httpx

__all__ = ["RemoteVerifier"]

TIMEOUT: Final = 5.0  # seconds, for a question to the authority
KEPT: Final = 4096  # refusals that are remembered
KEPT_SECONDS: Final = 60.0

FINAL: Final = frozenset({"wrong-audience", "revoked", "no-expiry"})
"""Refusals that nothing makes undone.

``expired`` is one only where the token's own bounds have passed, for an audience's ``max_ttl`` can be raised. All
others depend on the request, on keys, or on who is registered as a third party; or time heals them.
"""


class RemoteVerifier:
    """Asks the authority (``/v1/verify``) about every request; holds no key, and a credential that can ask alone.

    Nothing that is allowed is remembered. Of refusals, those that cannot change are, for a minute. What is no token by
    its text is refused without asking. Whatever goes wrong is ``unavailable``. Questions that come up while others are
    on their way go together (``/v1/verify/batch``).
    """

    def __init__(
        self,
        url: str,
        credential: str,
        *,
        timeout: float = TIMEOUT,
        recheck: float = 0.5,
        clock: Callable[[], float] = time.time,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Take the authority's address, and a credential that may ``tokens:verify``.

        Args:
            url: https, or http to this machine.
            credential: a token or bundle of the audience ``capsvc``.
            timeout: seconds in which a question has its answer; else it is ``unavailable``.
            recheck: seconds after which the token of an open WebSocket is asked about again.
            clock: gives Unix seconds.
            transport: replaces the network (tests).

        Raises:
            ValueError: for an address to which no credential may go, or a time that is not over 0.
            TokenError: for a credential that is no token's text.

        """
        connect = partial(AsyncConnection, url, credential, timeout=seconds("timeout", timeout), transport=transport)
        self._asker = OfOneLoop(lambda: Asker(connect(), timeout=timeout))
        self._base = connect().origin.base
        self._refusals = _Refusals(time.monotonic)
        self._clock = clock
        self.recheck = seconds("recheck", recheck)

    def __repr__(self) -> str:
        return f"<RemoteVerifier {self._base}>"

    async def open(self) -> None:
        """Be ready to connect; nothing is asked yet."""
        self._asker.get()

    async def aclose(self) -> None:
        """Close its connections; what is being asked is ``unavailable``. It may be opened again."""
        await self._asker.take().close()

    async def authorize(
        self, bundle: str, *, audience: str, context: Mapping[str, object], critical: bool = False
    ) -> Grant:
        """Allow, or raise ``Denied``; see `capsvc.asgi.Verifier.authorize`."""
        key = _key_of(bundle, audience)
        known = None if critical else self._refusals.find(key)
        if known is not None:
            raise Denied(known)
        try:
            return await self._asker.get().ask(bundle, audience=audience, context=context)
        except Denied as denied:
            if denied.code in FINAL or (denied.code == "expired" and self._is_over(bundle)):
                self._refusals.keep(key, denied.code)
            raise

    def _is_over(self, bundle: str) -> bool:
        """Whether a bound that the bundle itself holds has passed."""
        bound = Token.parse(bundle).expires_at
        return bound is not None and bound.timestamp() <= self._clock()


def _key_of(bundle: str, audience: str) -> bytes:
    """A hash of what a bundle's holder cannot change: identifiers and last MACs. Raises `Denied` for what is no token.

    A refusal that is remembered by it was given after the MAC was found right, and so to that very chain; or for an
    audience that there is not, where every token is refused.
    """
    try:
        macaroons = split(bundle)
    except TokenError as error:
        raise Denied(error.code) from None
    parts = [audience.encode(), *[part for one in macaroons for part in (one.identifier, one.signature)]]
    return hashlib.sha256(b"".join([len(part).to_bytes(4, "big") + part for part in parts])).digest()


class _Refusals:
    """Codes by the hash of what was refused, each for a minute, the oldest first to go."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._known: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def find(self, key: bytes) -> str | None:
        code, until = self._known.get(key, ("", 0.0))
        return code if self._monotonic() < until else None

    def keep(self, key: bytes, code: str) -> None:
        self._known.pop(key, None)
        self._known[key] = (code, self._monotonic() + KEPT_SECONDS)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
