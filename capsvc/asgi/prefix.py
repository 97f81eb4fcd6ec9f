"""The verifier that decides in its own process, without a root key, on what the authority has confirmed.

A token is confirmed by asking the authority once; for five minutes it, and whatever is narrowed from it, is then
decided here, against the authority's feed of revocations, which is followed in the background. Tokens with third-party
caveats are asked about every time: exchange them first. Where the feed has not been heard for ``revocation_max_lag``,
the answer is ``unavailable``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from capsvc.asgi.asking import Asker
from capsvc.asgi.follower import Follower
from capsvc.client.connection import AsyncConnection
from capsvc.decision.prefix import PrefixDecider
from capsvc.errors import Denied
from capsvc.grants import Grant

if TYPE_CHECKING:
    import httpx

__all__ = ["PrefixVerifier"]

TIMEOUT: Final = 5.0  # seconds, for a question to the authority


class PrefixVerifier:
    """Verifies in the process what the authority has confirmed. For one event loop.

    It opens itself when it is first asked, or by `open`; `aclose` ends it.
    """

    def __init__(
        self,
        url: str,
        credential: str,
        *,
        revocation_max_lag: float = 1.0,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.time,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Take the authority's address, and a credential that may ``tokens:verify`` and ``revocations:read``.

        Args:
            url: https, or http to this machine.
            credential: a token or bundle of the audience ``capsvc``.
            revocation_max_lag: how many seconds a revocation may take to be obeyed here.
            timeout: seconds in which a question to the authority has its answer; else it is ``unavailable``.
            clock: gives Unix seconds.
            transport: replaces the network (tests).

        Raises:
            ValueError: for an address to which no credential may go, or a lag that is not over 0.
            TokenError: for a credential that is no token's text.

        """
        if not revocation_max_lag > 0:
            raise ValueError("revocation_max_lag is over 0 seconds")
        connection = AsyncConnection(url, credential, timeout=timeout, transport=transport)
        self._asker = Asker(connection, timeout=timeout)
        feed_timeout = max(1.0, 2 * revocation_max_lag)
        self._feed = AsyncConnection(url, credential, timeout=feed_timeout, transport=transport)
        self._timeout = timeout
        self._decider = PrefixDecider(clock, time.monotonic)
        self._follower = Follower(self._feed, self._decider, max_lag=revocation_max_lag, monotonic=time.monotonic)
        self._following: asyncio.Task[None] | None = None
        self.recheck = revocation_max_lag / 4

    def __repr__(self) -> str:
        return f"<PrefixVerifier {self._asker.base}>"

    async def open(self) -> None:
        """Begin to follow the feed; return once it is heard, or could not be in time. Idempotent."""
        if self._following is None:
            self._following = asyncio.create_task(self._follower.run())
        await self._follower.fresh_within(self._timeout)

    async def aclose(self) -> None:
        """Stop to follow the feed, and close the connections."""
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await self._asker.close()
        await self._feed.close()

    async def authorize(
        self, bundle: str, *, audience: str, context: Mapping[str, object], critical: bool = False
    ) -> Grant:
        """Allow, or raise `Denied`. With ``critical`` the authority is asked, whatever is kept here."""
        if not critical:
            if not self._follower.fresh():
                await self._hear()
            grant = self._decider.decide(bundle, audience, context)
            if grant is not None:
                return grant
        era = self._decider.era
        grant = await self._asker.ask(bundle, audience=audience, context=context, prefix=True)
        self._decider.confirm(bundle, grant, era)
        return grant

    async def _hear(self) -> None:
        """Wait for the feed a little: an answer may be there that the loop has yet to come to.

        Raises `Denied` ``unavailable``.
        """
        if self._following is None:
            await self.open()
        if not await self._follower.fresh_within(self.recheck):
            raise Denied("unavailable")
