"""The feed: the log of changes, page by page, as those follow it who decide elsewhere.

It is in the order of the commits, and nothing ever appears below a cursor that was given. For entries are numbered
while nobody else can write (`Transaction.append_change`), so whoever sees one sees all below it; a page is read at one
moment (`Store.log`), and its cursor is the number of the last entry that was looked at, shown or not.

A cursor is gone (``cursor-gone``) where a follower may have missed something: in another epoch, or once a sweep has
deleted an entry above it. What a sweep had deleted before he began is no loss to him who begins with nothing, so a
cursor that lies below that also says how far the sweep had come. Entries that were dropped since a later one covers
them are no loss either: he has yet to read the later one.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple, Self

from capsvc.decision.branches import branch_text
from capsvc.decision.instants import aware
from capsvc.errors import RequestError
from capsvc.grants import FeedEntry, FeedPage
from capsvc.store.protocol import Store, StoreUnavailable
from capsvc.store.records import Change, LogMarks

__all__ = ["LIMIT", "Covers", "Feed", "everything"]

LIMIT: Final = 1000
"""Entries of the log that are looked at for one page."""

NOW: Final = "now"

Covers = Callable[[str], bool]
"""Whether entries of an audience are shown."""

_CURSOR: Final = re.compile(r"([A-Za-z0-9_-]{1,64})\.(0|[1-9][0-9]{0,17})(?:\.([1-9][0-9]{0,17}))?")


def everything(_audience: str) -> bool:
    """Every audience is covered."""
    return True


class _Position(NamedTuple):
    """A place in the log, after entry ``seq`` and before the next; ``swept`` as it was when the place was reached."""

    epoch: str
    seq: int
    swept: int

    @classmethod
    def read(cls, cursor: str) -> Self:
        """Read a cursor. Raises `RequestError` ``cursor-gone`` for what is none."""
        found = _CURSOR.fullmatch(cursor) if isinstance(cursor, str) else None
        place = None if found is None else cls(found[1], int(found[2]), int(found[3] or 0))
        if place is None or place.cursor() != cursor:
            raise RequestError("cursor-gone")
        return place

    def cursor(self) -> str:
        """As text; how far a sweep had come matters only where that is further."""
        place = f"{self.epoch}.{self.seq}"
        return f"{place}.{self.swept}" if self.swept > self.seq else place

    def is_in(self, marks: LogMarks) -> bool:
        """Whether it is a place in this log, and no entry above it has been swept since it was reached."""
        return (
            self.epoch == marks.epoch
            and self.seq <= marks.head
            and self.swept <= marks.swept <= max(self.seq, self.swept)
        )


class _Known(NamedTuple):
    """A page with every entry on it, and where the log stood when it was read."""

    page: FeedPage
    marks: LogMarks

    def holds(self, marks: LogMarks) -> bool:
        """Whether it is no older than those marks. A full page is not, whatever was appended."""
        own = self.marks
        return own.epoch == marks.epoch and own.swept >= marks.swept and (self.page.more or own.head >= marks.head)


class Feed:
    """Reads pages. Safe to use from several threads; each page is worked out once for all who ask for it."""

    CAPACITY: Final = 8  # pages that are remembered

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reading = threading.Lock()
        self._seen: tuple[int, LogMarks] | None = None
        self._known: dict[tuple[int, int], _Known] = {}

    def page(self, after: str | None, limit: int, covers: Covers) -> FeedPage:
        """Return what came after a cursor: entries of the audiences that are covered, and those without one.

        Where all entries are shown, the same page is the same object. Raises `RequestError` ``cursor-gone``,
        `StoreUnavailable`.
        """
        page = self._whole_page(after, limit)
        audiences = {entry.audience for entry in page.entries}
        shown = {audience for audience in audiences if audience is None or covers(audience)}
        if shown == audiences:
            return page
        return replace(page, entries=tuple([entry for entry in page.entries if entry.audience in shown]))

    def _whole_page(self, after: str | None, limit: int) -> FeedPage:
        marks = self._marks()
        if after is None:
            start = _Position(marks.epoch, 0, marks.swept)
        elif after == NOW:
            start = _Position(marks.epoch, marks.head, marks.swept)
        else:
            start = _Position.read(after)
            marks = self._checked(start, marks)
        known = self._known.get((start.seq, limit))
        if known is None or not known.holds(marks):
            known = self._read(start.seq, limit, marks)
        if after is not None and not start.is_in(known.marks):  # it may have been read later
            raise RequestError("cursor-gone")
        return known.page

    def _marks(self) -> LogMarks:
        """Return where the log stands, as fresh as the last commit of any process."""
        generation = self._store.generation()  # first: a commit in between makes it differ the next time
        seen = self._seen
        if seen is None or seen[0] != generation:
            seen = self._seen = (generation, self._store.log_marks())
        return seen[1]

    def _checked(self, start: _Position, marks: LogMarks) -> LogMarks:
        """Return marks by which a position is one.

        A commit is seen by whoever reads the log a moment before the generation tells of it, so that a cursor can be
        ahead of marks that were read before: then they are read again.
        """
        if start.is_in(marks):
            return marks
        marks = self._store.log_marks()
        if not start.is_in(marks):
            raise RequestError("cursor-gone")
        return marks

    def _read(self, seq: int, limit: int, marks: LogMarks) -> _Known:
        with self._reading:
            known = self._known.get((seq, limit))
            if known is not None and known.holds(marks):
                return known  # while this one waited, another has read it
            known = _page(self._store, seq, limit)
            self._known.pop((seq, limit), None)
            if len(self._known) >= self.CAPACITY:
                del self._known[next(iter(self._known))]
            self._known[seq, limit] = known
            return known


def _page(store: Store, seq: int, limit: int) -> _Known:
    log = store.log(seq, limit + 1)
    marks, changes = log.marks, log.changes[:limit]
    more = len(log.changes) > limit
    end = _Position(marks.epoch, changes[-1].seq if more else marks.head, marks.swept)
    entries = tuple([_entry(change) for change in changes if _is_told(change)])
    return _Known(FeedPage(marks.epoch, end.cursor(), entries, more), marks)


def _is_told(change: Change) -> bool:
    """Whether it concerns anybody else: a discharger without a name only makes our own processes read key pairs."""
    return change.kind != "discharger" or change.name is not None


def _entry(change: Change) -> FeedEntry:
    try:
        return FeedEntry(
            kind=change.kind,
            audience=change.audience,
            at=aware(change.at),
            id=change.id,
            branch=None if change.branch is None else branch_text(change.branch),
            subject=change.subject,
            before=None if change.before is None else aware(change.before),
            kid=change.kid,
            state=change.state,
            name=change.name,
            max_ttl=change.max_ttl,
        )
    except (ValueError, OverflowError, OSError):
        raise StoreUnavailable("an entry of the log is damaged") from None  # a time that is none
