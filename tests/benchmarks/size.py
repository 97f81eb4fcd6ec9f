"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["FULL", "TINY", "Size"]


@dataclass(frozen=True, slots=True)
class Size:
    """Numbers of rounds and of what happens in one."""

    rounds: int
    batch: int
    """Verifications in a turn."""
    http_rounds: int
    http_seconds: float
    """The length of a turn over HTTP."""
    live_tokens: int
    revocations: int


FULL: Final = Size(rounds=21, batch=400, http_rounds=7, http_seconds=1.5, live_tokens=1_000_000, revocations=100_000)

TINY: Final = Size(rounds=2, batch=4, http_rounds=1, http_seconds=0.2, live_tokens=200, revocations=100)
"""Only to see that every row works: nothing that it says about time means anything."""
