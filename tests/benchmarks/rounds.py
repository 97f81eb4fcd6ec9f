"""Interleaved rounds: everybody has a turn in each, so that what slows the machine down slows everybody down."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping

__all__ = ["Rounds", "Turn", "interleave", "microseconds_each"]

Turn = Callable[[int], float]
"""One contender's turn in the round of that number: what it measured."""


class Rounds:
    """What each contender measured in each round."""

    def __init__(self, measured: Mapping[str, list[float]]) -> None:
        self.measured = measured

    def median(self, name: str) -> float:
        """A contender's median."""
        return statistics.median(self.measured[name])

    def ratio(self, over: str, under: str) -> float:
        """The median of the rounds' ratios of two contenders: each ratio is of neighbours in time."""
        pairs = zip(self.measured[over], self.measured[under], strict=True)
        return statistics.median(above / below for above, below in pairs)


def interleave(turns: Mapping[str, Turn], rounds: int) -> Rounds:
    """Let everybody have a turn in each round, each time in another order."""
    measured: dict[str, list[float]] = {name: [] for name in turns}
    names = list(turns)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            measured[name].append(turns[name](number))
    return Rounds(measured)


def microseconds_each(work: Callable[[], int]) -> float:
    """How long each of the things took that ``work`` did; it returns how many they were."""
    gc.collect()
    started = time.process_time()
    count = work()
    return (time.process_time() - started) / count * 1e6
