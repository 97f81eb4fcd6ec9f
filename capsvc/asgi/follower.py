"""Following the authority's feed in the background, for a verifier that decides by itself.

A follower is as fresh as the moment at which it sent the request that was last answered. It waits at the authority for
less than half of what it may lag behind, so that one answer is there before the next is due.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from capsvc.asgi.asking import words_of
from capsvc.client.calls import feed_call, read_feed
from capsvc.client.connection import AsyncConnection
from capsvc.client.errors import ServiceError
from capsvc.client.messages import Answer, Call
from capsvc.decision.instants import seconds_of
from capsvc.decision.prefix import CONFIRMED_SECONDS, PrefixDecider
from capsvc.grants import FeedEntry, FeedPage
from capsvc.macaroon.encoding import b64decode
from caveats import DeclarationError, Vocabulary

__all__ = ["Follower"]

WAIT_SHARE: Final = 0.4  # of the greatest lag: how long one request waits at the authority
KEPT_SECONDS: Final = CONFIRMED_SECONDS + 120
"""How long a revocation matters here: what was confirmed before it is gone by then, and what was since knows of it."""

SHORTEST_PAUSE: Final = 0.02  # seconds between attempts that fail
GONE: Final = "cursor-gone"
FIELDS: Final = frozenset({"type", "fact", "values"})  # of an attribute, as far as they matter here

logger = logging.getLogger("capsvc.asgi")


class Follower:
    """Feeds a `PrefixDecider` what the authority's feed tells. For one event loop."""

    def __init__(
        self,
        connection: AsyncConnection,
        decider: PrefixDecider,
        *,
        timeout: float,
        max_lag: float,
        monotonic: Callable[[], float],
    ) -> None:
        """``timeout`` (for an answer) and ``max_lag`` are in seconds; ``monotonic`` gives some never set back."""
        self._connection = connection
        self._decider = decider
        self._timeout = timeout
        self._max_lag = max_lag
        self._monotonic = monotonic
        self._cursor: str | None = None
        self._epoch: str | None = None
        self._heard_at: float | None = None
        self._informed = False  # of the attributes
        self._news = asyncio.Event()  # another one each time

    def fresh(self) -> bool:
        """Whether it has heard of everything but what happened in the last ``max_lag`` seconds."""
        heard_at = self._heard_at
        return heard_at is not None and self._monotonic() - heard_at < self._max_lag

    async def fresh_within(self, seconds: float) -> bool:
        """Wait until it is fresh; False if that takes longer."""
        until = self._monotonic() + seconds
        while not self.fresh():
            left = until - self._monotonic()
            if left <= 0:
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), left)
        return True

    async def run(self) -> None:
        """Follow until cancelled. What fails is tried again; meanwhile it gets no fresher."""
        failures = 0
        while True:
            try:
                await self._hear()
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing was heard
                if isinstance(error, ServiceError) and error.code == GONE:
                    self._begin_anew()
                if not failures:
                    logger.warning("the feed of revocations cannot be followed: %s", words_of(error))
                failures += 1
                pause = min(SHORTEST_PAUSE * 2 ** min(failures, 10), self._max_lag)
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - followers should not come together
            else:
                if failures:
                    logger.warning("the feed of revocations is followed again")
                failures = 0

    async def _hear(self) -> None:
        """Ask once, and take in what is answered."""
        sent_at = self._monotonic()
        if not self._informed:
            await self._learn_attributes()
        wait = 0.0 if self._heard_at is None else WAIT_SHARE * self._max_lag
        page = read_feed(await self._called(feed_call(after=self._cursor, wait=wait)))
        if self._epoch not in {None, page.epoch}:
            raise ServiceError(None, GONE, "the authority has another history now")
        self._epoch = page.epoch
        await self._take(page)
        self._cursor = page.cursor
        if not page.more:
            self._heard_at = sent_at
            self._decider.forget(sent_at)
            news, self._news = self._news, asyncio.Event()
            news.set()

    async def _called(self, call: Call) -> Answer:
        """The answer, in so much time that a peer who drips it cannot hold anybody up."""
        async with asyncio.timeout(self._timeout + call.waits):
            return await self._connection.call(call)

    async def _take(self, page: FeedPage) -> None:
        for entry in page.entries:
            self._take_entry(entry)
        if not self._informed:
            await self._learn_attributes()

    def _take_entry(self, entry: FeedEntry) -> None:
        revocations, until = self._decider.revocations, int(self._monotonic()) + KEPT_SECONDS
        if entry.kind == "id" and entry.id is not None:
            revocations.revoke_id(entry.id, until)
        elif entry.kind == "branch" and entry.id is not None and entry.branch is not None:
            revocations.revoke_branch(entry.id, b64decode(entry.branch), until)
        elif entry.kind == "subject" and entry.subject is not None and entry.before is not None:
            revocations.revoke_subject(entry.audience or "", entry.subject, seconds_of(entry.before), until)
        elif entry.kind == "key" and entry.kid is not None and entry.state == "revoked":
            self._decider.revoked_keys[entry.kid] = until
        elif entry.kind == "audience":
            self._decider.begin_era()  # its max_ttl is part of what was confirmed
        elif entry.kind == "attribute":
            self._informed = False

    async def _learn_attributes(self) -> None:
        """Read which attributes there are; nothing that was read with others counts any more."""
        answer = await self._called(Call("GET", "/.well-known/capsvc", None, anonymous=True))
        try:
            declared = answer.value["attributes"]
            vocabulary = Vocabulary.built_in().declare_all(
                {name: {field: entry[field] for field in FIELDS & entry.keys()} for name, entry in declared.items()}
            )
        except (KeyError, AttributeError, DeclarationError):
            raise ServiceError(answer.status, "bad-answer", "the service does not tell its attributes") from None
        self._decider.begin_era(vocabulary)
        self._informed = True

    def _begin_anew(self) -> None:
        """Forget everything: another history begins, or part of this one was missed."""
        self._decider.begin_era()
        self._cursor = self._epoch = self._heard_at = None
        self._informed = False
