"""GET /v1/revocations: the feed, long-polled."""

from __future__ import annotations

import re
from typing import Final

from starlette.concurrency import run_in_threadpool

from capsvc.authority import Credential
from capsvc.grants import FeedPage
from capsvc.http import targets
from capsvc.http.answers import Answer, json_answer
from capsvc.http.credentials import admit, covers
from capsvc.http.incoming import Incoming
from capsvc.http.problems import Problem
from capsvc.http.service import Service
from capsvc.wire import LONGEST_WAIT, feed_page_object

__all__ = ["Feed"]

ENDS: Final = 1024  # cursors that are remembered

_DECIMAL: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")


class Feed:
    """The handler."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._rendered = _Rendered()
        self._ends = {"now"}  # cursors of pages that were not full: behind them there is little to read

    async def follow(self, request: Incoming) -> Answer:
        """GET /v1/revocations. The credential is judged when the request comes, and again when a wait has ended."""
        query = await request.nothing("after", "wait")
        seconds, after = _seconds(query.get("wait", "0")), query.get("after")
        credential = self._admit(request)
        if after in self._ends:
            page = self._page(after, credential)
        else:  # a thousand old entries take milliseconds
            page = await run_in_threadpool(self._old_page, after, credential)
        if seconds and not page.entries and not page.more:
            cursor = await self._service.watch.wait(page.cursor, _Covers(credential), seconds, request)
            page = self._page(cursor, self._admit(request))
        return self._rendered.answer(page)

    def _admit(self, request: Incoming) -> Credential:
        return admit(self._service.authority, request, "revocations:read")

    def _page(self, after: str | None, credential: Credential) -> FeedPage:
        page = self._service.authority.feed(after=after, covers=_Covers(credential))
        if not page.more and page.cursor not in self._ends:
            if len(self._ends) >= ENDS:
                self._ends = {"now"}
            self._ends.add(page.cursor)
        return page

    def _old_page(self, after: str | None, credential: Credential) -> FeedPage:
        page = self._page(after, credential)
        if page.entries:
            self._rendered.answer(page)
        return page


class _Covers:
    """Which audiences a credential covers; the table of section 7 has no other target of the feed."""

    __slots__ = ("_credential",)

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def __call__(self, audience: str) -> bool:
        return covers(self._credential, targets.of_audience(audience))


class _Rendered:
    """Pages as answers, each written once: all who come to the same page are told the same object.

    A page is found by being that very object, which is kept, so that nothing else can take its place.
    """

    CAPACITY: Final = 8

    def __init__(self) -> None:
        self._known: dict[int, tuple[FeedPage, Answer]] = {}

    def answer(self, page: FeedPage) -> Answer:
        found = self._known.get(id(page))
        if found is not None and found[0] is page:
            return found[1]
        answer = json_answer(200, feed_page_object(page))
        if len(self._known) >= self.CAPACITY:
            self._known.clear()
        self._known[id(page)] = (page, answer)
        return answer


def _seconds(wait: str) -> float:
    if not _DECIMAL.fullmatch(wait):
        raise Problem(400, "bad-request", "wait is a decimal number of seconds.")
    return min(float(wait), LONGEST_WAIT)
