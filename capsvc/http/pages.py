"""Lists in pages: ``after``, ``limit`` and ``next``, which counts rows that the credential may see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from capsvc.grants import BakeryKey, KeyInfo
from capsvc.http.problems import Problem

__all__ = ["PARAMETERS", "Page", "after", "by_age", "page_of", "read_page"]

PARAMETERS: Final = ("after", "limit")
_DEFAULT_LIMIT: Final = 100
_MAX_LIMIT: Final = 1000
_DECIMAL: Final = re.compile(r"[1-9][0-9]{0,3}")
_CURSOR: Final = re.compile(r"([a-z_]+)\.([1-9][0-9]{0,17})")

_KEYS_A_SECOND: Final = 10**6  # more than anybody makes

_Row = TypeVar("_Row")
_Key = TypeVar("_Key", KeyInfo, BakeryKey)


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows are asked for: those after a position (0 is before the first), at most ``limit``."""

    plural: str
    after: int
    limit: int


def read_page(plural: str, query: Mapping[str, str]) -> Page:
    """The page that a query asks for; a cursor of another kind of list is none. Raises `Problem` 400."""
    limit = query.get("limit", str(_DEFAULT_LIMIT))
    if not _DECIMAL.fullmatch(limit) or int(limit) > _MAX_LIMIT:
        raise Problem(400, "bad-request", f"limit is 1 to {_MAX_LIMIT}.")
    cursor = query.get("after")
    return Page(plural, 0 if cursor is None else _position(plural, cursor), int(limit))


def after(page: Page, rows: Iterable[tuple[int, _Row]]) -> Iterator[tuple[int, _Row]]:
    """The rows that lie behind the page's position, of a list that is at hand whole."""
    return ((position, row) for position, row in rows if position > page.after)


def by_age(page: Page, keys: Iterable[_Key]) -> Iterator[tuple[int, _Key]]:
    """The keys behind the page's position, oldest first.

    A position says when a key was made: keys go when their last token has expired, and cursors must outlive them.
    """
    last = 0
    for key in sorted(keys, key=lambda key: key.created_at):
        last = max(last + 1, int(key.created_at.timestamp()) * _KEYS_A_SECOND)
        if last > page.after:
            yield last, key


def page_of(
    page: Page,
    rows: Iterable[tuple[int, _Row | None]],
    render: Callable[[_Row], dict[str, object]],
) -> dict[str, object]:
    """The answer.

    ``rows`` are those that may be seen, in ascending position. One more of them than the page holds tells that there
    is a next page, so that rows out of sight never show by a cursor. A position without a row says that enough was
    looked at: the page ends there, short, and the next one goes on.
    """
    shown: list[dict[str, object]] = []
    last = page.after
    for position, row in rows:
        if row is None:
            return _answer(page, shown, position)
        if len(shown) == page.limit:
            return _answer(page, shown, last)
        shown.append(render(row))
        last = position
    return _answer(page, shown, None)


def _answer(page: Page, shown: list[dict[str, object]], position: int | None) -> dict[str, object]:
    return {page.plural: shown, "next": None if position is None else f"{page.plural}.{position}"}


def _position(plural: str, cursor: str) -> int:
    found = _CURSOR.fullmatch(cursor)
    if found is None or found[1] != plural:
        raise Problem(400, "bad-request", "after is the next of the page before.")
    return int(found[2])
