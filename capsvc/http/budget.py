"""How much of bodies that have not come whole a process holds at any time, for all callers together.

Whoever sends all of a body but its last octet holds its memory until the request's time is up, and needs no credential
for that where the body's length is not told beforehand.
"""

from __future__ import annotations

from typing import Final

from capsvc.http.problems import Problem

__all__ = ["BodyBudget"]

MOST_OCTETS: Final = 64 * 1024 * 1024


class BodyBudget:
    """Counts octets that wait for more of their body. Used on one event loop."""

    __slots__ = ("_most", "_taken")

    def __init__(self, most: int = MOST_OCTETS) -> None:
        self._most = most
        self._taken = 0

    def take(self, octets: int) -> None:
        """Count them in. Raises `Problem` 503 where that is too many; nothing is counted then."""
        if self._taken + octets > self._most:
            raise Problem(503, "unavailable", "Too many bodies are under way.", headers=((b"connection", b"close"),))
        self._taken += octets

    def give(self, octets: int) -> None:
        """Count them out."""
        self._taken -= octets
