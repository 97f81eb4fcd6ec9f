"""Those who wait for the feed to go on: woken together by one task, which looks while anybody waits.

Whoever waits is a future and the place in the feed that he has come to; nobody has a thread. Those at the same place
wait in one group, for which each look is one, and costs microseconds while nothing has been committed. In the end each
reads his own page, with the credential as it is then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.requests import ClientDisconnect

from capsvc.authority import Authority
from capsvc.grants import FeedPage
from capsvc.http.incoming import Incoming

__all__ = ["Watch"]

LOOK_SECONDS: Final = 0.01

Covers = Callable[[str], bool]


class _Waiter:
    """Somebody who has read up to ``cursor``, and is shown entries of the audiences that ``covers`` tells."""

    __slots__ = ("_woken", "covers", "cursor")

    def __init__(self, cursor: str, covers: Covers, woken: asyncio.Future[None]) -> None:
        self.cursor = cursor
        self.covers = covers
        self._woken = woken

    def wake(self, *_: object) -> None:
        """Let him go on; idempotent."""
        if not self._woken.done():
            self._woken.set_result(None)

    def is_shown(self, audiences: set[str | None]) -> bool:
        """Whether any entry of these audiences is for him."""
        return any([audience is None or self.covers(audience) for audience in audiences])


class Watch:
    """Used on one event loop at a time."""

    def __init__(self, authority: Callable[[], Authority]) -> None:
        """``authority`` gives the one that is open now."""
        self._authority = authority
        self._groups: dict[str, set[_Waiter]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._stopped = False

    async def wait(self, cursor: str, covers: Covers, seconds: float, request: Incoming) -> str:
        """Wait until something is to be told after a cursor, for so long at most; return the cursor to read on from.

        What was passed on the way was not covered. Returns at once after `stop`. Raises `ClientDisconnect` when the
        caller hangs up.
        """
        if self._stopped:
            return cursor
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        waiter = _Waiter(cursor, covers, woken)
        timer = loop.call_later(seconds, waiter.wake)
        gone = loop.create_task(request.gone())
        gone.add_done_callback(waiter.wake)
        self._join(waiter, loop)
        try:
            await woken
            if gone.done():
                raise ClientDisconnect
        finally:
            self._leave(waiter)
            timer.cancel()
            gone.cancel()
        return waiter.cursor

    def start(self) -> None:
        """Let callers wait."""
        self._stopped = False

    def stop(self) -> None:
        """Let whoever waits go on, and nobody wait any more: the service is about to end."""
        self._stopped = True
        for group in self._groups.values():
            _wake(group)

    def _join(self, waiter: _Waiter, loop: asyncio.AbstractEventLoop) -> None:
        self._groups.setdefault(waiter.cursor, set()).add(waiter)
        looking = self._looking
        if looking is None or looking.done() or looking.get_loop() is not loop:
            self._looking = loop.create_task(self._look_on())

    def _leave(self, waiter: _Waiter) -> None:
        group = self._groups[waiter.cursor]
        group.discard(waiter)
        if not group:
            del self._groups[waiter.cursor]

    async def _look_on(self) -> None:
        """Look until nobody waits any more."""
        while self._groups:
            await asyncio.sleep(LOOK_SECONDS)
            for cursor in list(self._groups):
                self._look(cursor)

    def _look(self, cursor: str) -> None:
        """See what came after a cursor, once for all who wait there."""
        group = self._groups[cursor]
        try:
            page = self._authority().feed(after=cursor)
        except Exception:  # noqa: BLE001 - whoever is woken meets it himself, and answers as it deserves
            _wake(group)
            return
        if page.cursor != cursor:
            self._tell(group, page)

    def _tell(self, group: set[_Waiter], page: FeedPage) -> None:
        """Wake those for whom there is something; the others have come further."""
        audiences = {entry.audience for entry in page.entries}
        for waiter in list(group):
            if waiter.is_shown(audiences):
                waiter.wake()
            else:
                self._leave(waiter)
                waiter.cursor = page.cursor
                self._groups.setdefault(page.cursor, set()).add(waiter)


def _wake(group: set[_Waiter]) -> None:
    for waiter in group:
        waiter.wake()
