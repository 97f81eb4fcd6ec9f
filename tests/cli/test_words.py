"""Durations read and time left told, at each edge."""

from __future__ import annotations

import click
import pytest

from capsvc.cli.inputs import DURATION
from capsvc.cli.words import meaning, remaining, span
from caveats import Vocabulary, parse

NANOSECONDS = 1_000_000_000
AWAY = Vocabulary.built_in().away
EPOCH_2030 = 1_893_456_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800), ("0", 0), ("007", 7), ("1s", 1)],
)
def test_durations(text: str, seconds: int) -> None:
    """The spellings of the contract, in seconds."""
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "1w", "1D", "-1", "+1", "1.5h", "1 h", "1h ", "1h30m", "1e3", "\u0661", "1_000", "9" * 13, "1\n"]
)
def test_what_is_no_duration(text: str) -> None:
    """Anything else is a usage error."""
    with pytest.raises(click.UsageError, match="90s, 15m"):
        DURATION.convert(text, None, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (61, "1 minute 1 second"),
        (3599, "59 minutes 59 seconds"),
        (3600, "1 hour"),
        (3601, "1 hour"),
        (3660, "1 hour 1 minute"),
        (86_399, "23 hours 59 minutes"),
        (86_400, "1 day"),
        (90_000, "1 day 1 hour"),
        (31_536_000, "365 days"),
    ],
)
def test_spans(seconds: int, text: str) -> None:
    """The two largest units, no smaller one after a gap."""
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (EPOCH_2030 * NANOSECONDS - 1, "EXPIRED 0 seconds ago"),
        (EPOCH_2030 * NANOSECONDS, "EXPIRED 0 seconds ago"),
        (EPOCH_2030 * NANOSECONDS + 1, "1 second left"),
        ((EPOCH_2030 + 1) * NANOSECONDS, "1 second left"),
        ((EPOCH_2030 - 1) * NANOSECONDS, "EXPIRED 1 second ago"),
    ],
)
def test_time_left_at_the_edge(bound: int, text: str) -> None:
    """A bound holds before its instant: at it, nothing is left."""
    assert remaining(bound, EPOCH_2030) == text


@pytest.mark.parametrize(
    ("caveat", "offset", "text"),
    [
        ("time < 2030-01-01T00:00:00Z", -1, "1 second left"),
        ("time < 2030-01-01T00:00:00Z", 0, "EXPIRED 0 seconds ago"),
        ("time < 2030-01-01T00:00:00Z", 1, "EXPIRED 1 second ago"),
        ("time >= 2030-01-01T00:00:00Z", -1, "NOT YET VALID: begins in 1 second"),
        ("time >= 2030-01-01T00:00:00Z", 0, "valid since 0 seconds"),
        ("time >= 2030-01-01T00:00:00Z", 1, "valid since 1 second"),
        ("time-before 2030-01-01T00:00:00.5Z", 0, "1 second left"),
        ("time-before 2030-01-01T00:00:00.5Z", 1, "EXPIRED 0 seconds ago"),
    ],
)
def test_times_at_minus_one_zero_and_one(caveat: str, offset: int, text: str) -> None:
    """Time caveats are told as the decision would judge them at that second."""
    assert meaning(parse(caveat, AWAY), EPOCH_2030 + offset) == text
