"""Checking caveats against contexts. The table of checks holds the cases; here is what a table cannot say."""

from __future__ import annotations

from typing import Any

import pytest

from caveats import (
    SATISFIED,
    TYPES,
    Address,
    Comparison,
    Refused,
    Satisfied,
    TimeBefore,
    Undeclared,
    Vocabulary,
    check,
    lower_bound,
    parse,
    upper_bound,
)
from caveats.valuetype import ValueType

NOON = 1_795_348_800  # 2026-11-22T12:00:00Z
NANO = 1_000_000_000


class Vague(ValueType):
    """A type whose comparison answers with something that only looks true."""

    name = "vague"
    operators = frozenset({"="})

    def read(self, text: str) -> str:
        """Anything."""
        return text

    def comparison(self, operator: str) -> Any:  # noqa: ARG002 - it answers all alike
        """Not a bool."""
        return lambda _actual, _operand: 1


def test_only_true_is_true() -> None:
    """A comparison that answers anything but True refuses."""
    assert check(Comparison("x", "=", "a", Vague()), {"x": "a"}) == Refused("caveat-refused")


def test_comparing_gives_a_bool() -> None:
    """Every type answers True or False, and nothing that only looks it."""
    network = TYPES["network"].parse("10.0.0.0/8")
    assert TYPES["network"].comparison("in")(Address(4, 10 << 24), (network,)) is True
    assert TYPES["network"].comparison("in")(Address(4, 11 << 24), (network,)) is False
    assert TYPES["path"].comparison("under")("/a/b", "/a") is True
    assert TYPES["path"].comparison("under")("/ab", "/a") is False
    assert TYPES["word"].comparison("in")("a", ("a", "b")) is True
    assert TYPES["word"].comparison("in")("c", ("a", "b")) is False


def test_a_kind_of_caveat_that_nobody_knows_is_not_checked() -> None:
    """It raises: there is no verdict that a caller could mistake."""
    for stranger in (None, "floor = 1", object()):
        with pytest.raises(AssertionError):
            check(stranger, {"floor": 1})  # type: ignore[arg-type]


def test_a_verdict_has_no_truth_value() -> None:
    """`if check(...)` is a mistake that shows at once."""
    for verdict in (SATISFIED, Refused("caveat-refused")):
        with pytest.raises(TypeError, match="SATISFIED"):
            bool(verdict)
    assert Satisfied() == SATISFIED


def test_none_is_nothing_said(vocabulary: Vocabulary) -> None:
    """A value of None is absent; one that is false in Python is a value."""
    caveat = parse("floor = 0", vocabulary)
    assert check(caveat, {"floor": None}) == Refused("context-missing")
    assert check(caveat, {}) == Refused("context-missing")
    assert check(caveat, {"floor": 0}) is SATISFIED
    assert check(parse("time-before 2026-11-22T12:00:00Z", vocabulary), {"time": None}) == Refused("context-missing")
    assert check(parse("time-before 2026-11-22T12:00:00Z", vocabulary), {"time": 0}) is SATISFIED


def test_what_nobody_declared_never_holds() -> None:
    """Even a context that has the value does not satisfy a caveat on an unknown attribute."""
    assert check(Undeclared("colour", "=", "red"), {"colour": "red"}) == Refused("caveat-unknown")


def test_time_before_looks_at_time_alone() -> None:
    """Another instant of the context says nothing."""
    assert check(TimeBefore(NOON), {"built": 0}) == Refused("context-missing")


@pytest.mark.parametrize(
    ("text", "upper", "lower"),
    [
        ("time < 2026-11-22T12:00:00Z", NOON * NANO, None),
        ("time >= 2026-11-22T12:00:00Z", None, NOON * NANO),
        ("time-before 2026-11-22T12:00:00Z", NOON * NANO, None),
        ("time-before 2026-11-22T12:00:00.000000001Z", NOON * NANO + 1, None),
        ("time-before 2026-11-22T12:00:00.5Z", NOON * NANO + 500_000_000, None),
        ("built < 2026-11-22T12:00:00Z", None, None),
        ("built >= 2026-11-22T12:00:00Z", None, None),
        ("clock < 12:00", None, None),
        ("clock >= 12:00", None, None),
        ("floor < 5", None, None),
        ("floor >= 5", None, None),
        ("action = read", None, None),
        ("declared time x", None, None),
    ],
)
def test_bounds_in_time(text: str, upper: int | None, lower: int | None, vocabulary: Vocabulary) -> None:
    """Which caveats bound a token in time, in nanoseconds: those on the verifier's own clock."""
    caveat = parse(text, vocabulary, discharge=True)
    assert upper_bound(caveat) == upper
    assert lower_bound(caveat) == lower


def test_what_nobody_declared_bounds_nothing(vocabulary: Vocabulary) -> None:
    """An unknown instant is no expiry."""
    caveat = parse("colour < 2026-11-22T12:00:00Z", vocabulary.away)
    assert upper_bound(caveat) is None
    assert lower_bound(caveat) is None


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_a_bound_and_the_check_agree(offset: int, vocabulary: Vocabulary) -> None:
    """A caveat holds while the clock is before its upper bound, or not before its lower."""
    context = {"time": NOON + offset}
    for text in (
        "time < 2026-11-22T12:00:00Z",
        "time-before 2026-11-22T12:00:00Z",
        "time-before 2026-11-22T12:00:00.1Z",
    ):
        caveat = parse(text, vocabulary)
        upper = upper_bound(caveat)
        assert upper is not None
        assert (check(caveat, context) is SATISFIED) is (context["time"] * NANO < upper)
    caveat = parse("time >= 2026-11-22T12:00:00Z", vocabulary)
    lower = lower_bound(caveat)
    assert lower is not None
    assert (check(caveat, context) is SATISFIED) is (context["time"] * NANO >= lower)
