"""A caveat against a context: Satisfied or Refused, and never anything else.

Whoever decides asks for *every* caveat to be Satisfied, so one more caveat can only refuse more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NoReturn, TypeAlias, assert_never, cast

from caveats.caveat import Caveat, Comparison, Declared, TimeBefore, Undeclared
from caveats.limits import NANOSECONDS


@dataclass(frozen=True, slots=True)
class Satisfied:
    """The caveat holds. There is one, `SATISFIED`."""

    def __bool__(self) -> NoReturn:
        raise TypeError("a verdict has no truth value: ask whether it is SATISFIED")


@dataclass(frozen=True, slots=True)
class Refused:
    """The caveat does not hold; ``code`` says why."""

    code: Literal["caveat-refused", "context-missing", "caveat-unknown"]

    def __bool__(self) -> NoReturn:
        raise TypeError("a verdict has no truth value: ask whether it is SATISFIED")


Verdict: TypeAlias = Satisfied | Refused

SATISFIED: Final = Satisfied()
_REFUSED: Final = Refused("caveat-refused")
_MISSING: Final = Refused("context-missing")
_UNKNOWN: Final = Refused("caveat-unknown")


def check(caveat: Caveat, context: Mapping[str, object]) -> Verdict:
    """Whether the caveat holds.

    Args:
        caveat: as `parse` or `compare` made it.
        context: values by attribute, as `read_context`, `clock_values` and the verifier's own knowledge (audience,
            facts) give them. What is absent or None is not there.

    """
    match caveat:
        case Comparison():
            actual = context.get(caveat.attribute)
            if actual is None:
                return _MISSING
            return SATISFIED if caveat.compares(actual, caveat.operand) is True else _REFUSED
        case TimeBefore():
            return _check_time_before(caveat, context)
        case Declared():
            return SATISFIED
        case Undeclared():
            return _UNKNOWN
    assert_never(caveat)


def upper_bound(caveat: Caveat) -> int | None:
    """The instant that the caveat holds before, in nanoseconds since the epoch; None if it is no such bound."""
    if isinstance(caveat, TimeBefore):
        return caveat.nanoseconds
    return _time_operand(caveat, "<")


def lower_bound(caveat: Caveat) -> int | None:
    """The first instant that the caveat holds at, in nanoseconds since the epoch; None if it is no such bound."""
    return _time_operand(caveat, ">=")


def _check_time_before(caveat: TimeBefore, context: Mapping[str, object]) -> Verdict:
    now = context.get("time")
    if not isinstance(now, int):
        return _MISSING
    return SATISFIED if now * NANOSECONDS < caveat.nanoseconds else _REFUSED


def _time_operand(caveat: Caveat, operator: str) -> int | None:
    """What ``time`` is compared with by that operator, in nanoseconds, if this is what the caveat does."""
    if not isinstance(caveat, Comparison) or (caveat.attribute, caveat.operator) != ("time", operator):
        return None
    return cast("int", caveat.operand) * NANOSECONDS
