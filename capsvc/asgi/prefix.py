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
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from capsvc.asgi.asking import Asker
from capsvc.asgi.checks import seconds
from capsvc.asgi.follower import Follower
from capsvc.asgi.loops import OfOneLoop
from capsvc.client.connection import AsyncConnection
from capsvc.decision.prefix import PrefixDecider
from capsvc.errors import Denied
from capsvc.grants import Grant

if TYPE_CHECKING:
    import httpx

__all__ = ["PrefixVerifier"]

TIMEOUT: Final = 5.0  # seconds, for a question to the authority
LONGEST_LAG: Final = 60.0  # seconds, as for the service's own setting


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
            revocation_max_lag: how many seconds a revocation may take to be obeyed here, 60 at most.
            timeout: seconds in which a question to the authority has its answer; else it is ``unavailable``.
            clock: gives Unix seconds.
            transport: replaces the network (tests).

        Raises:
            ValueError: for an address to which no credential may go, a time that is not over 0, a lag over 60.
            TokenError: for a credential that is no token's text.

        """
        self._max_lag = seconds("revocation_max_lag", revocation_max_lag, LONGEST_LAG)
        self._timeout = seconds("timeout", timeout)
        self._connect = partial(AsyncConnection, url, credential, transport=transport)
        self._base = self._connect(timeout=timeout).origin.base
        self._decider = PrefixDecider(clock, time.monotonic)
        self._authority = OfOneLoop(self._connected)
        self._follower: Follower | None = None  # the authority's, at hand
        self.recheck = revocation_max_lag / 4

    def __repr__(self) -> str:
        return f"<PrefixVerifier {self._base}>"

    async def open(self) -> None:
        """Begin to follow the feed; return once it is heard, or could not be in time. Idempotent."""
        await self._authority.get().follow(self._timeout)

    async def aclose(self) -> None:
        """Stop to follow the feed, and close the connections; what is being asked is ``unavailable``.

        It may be opened again.
        """
        authority, self._follower = self._authority.take(), None
        await authority.close()

    async def authorize(
        self, bundle: str, *, audience: str, context: Mapping[str, object], critical: bool = False
    ) -> Grant:
        """Allow, or raise `Denied`. With ``critical`` the authority is asked, whatever is kept here."""
        if not critical:
            if self._follower is None or not self._follower.fresh():
                await self._hear(self._authority.get())
            grant = self._decider.decide(bundle, audience, context)
            if grant is not None:
                return grant
        era = self._decider.era
        grant = await self._authority.get().asker.ask(bundle, audience=audience, context=context, prefix=True)
        self._decider.confirm(bundle, grant, era)
        return grant

    def _connected(self) -> _Authority:
        timeout = max(1.0, 2 * self._max_lag)
        feed = self._connect(timeout=timeout)
        follower = Follower(feed, self._decider, timeout=timeout, max_lag=self._max_lag, monotonic=time.monotonic)
        self._follower = follower
        return _Authority(Asker(self._connect(timeout=self._timeout), timeout=self._timeout), feed, follower)

    async def _hear(self, authority: _Authority) -> None:
        """Wait for the feed a little: an answer may be there that the loop has yet to come to.

        Raises `Denied` ``unavailable``.
        """
        if authority.following is None or authority.following.done():
            await authority.follow(self._timeout)
        if not await authority.follower.fresh_within(self.recheck):
            raise Denied("unavailable")


@dataclass(slots=True)
class _Authority:
    """What there is of one authority from opening to closing."""

    asker: Asker
    feed: AsyncConnection
    follower: Follower
    following: asyncio.Task[None] | None = None

    async def follow(self, seconds: float) -> None:
        """Follow the feed, if that has not begun; return once it is heard, or after some seconds."""
        if self.following is None or self.following.done():
            self.following = asyncio.create_task(self.follower.run())
        await self.follower.fresh_within(seconds)

    async def close(self) -> None:
        if self.following is not None:
            self.following.cancel()
            await asyncio.gather(self.following, return_exceptions=True)
        await self.asker.close()
        await self.feed.close()
