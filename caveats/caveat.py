"""What a caveat is once it has been parsed: one frozen value of four kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, assert_never

from caveats.limits import MAX_FRACTION_DIGITS, NANOSECONDS
from caveats.values import Instant
from caveats.valuetype import ValueType

_INSTANT = Instant()


@dataclass(frozen=True, slots=True)
class Comparison:
    """``attribute operator operand``, the operand in Python's terms (a tuple after ``in``)."""

    attribute: str
    operator: str
    operand: object
    type: ValueType
    compares: Callable[[Any, Any], bool] = field(init=False, repr=False, compare=False)
    """What the type has for the operator; found once, since a caveat is checked often."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "compares", self.type.comparison(self.operator))


@dataclass(frozen=True, slots=True)
class TimeBefore:
    """The bakery dialect's ``time-before``: it holds while the time is before these seconds and their fraction.

    ``seconds`` are Unix seconds; ``fraction`` the 1 to 9 digits after the dot, or empty where there is no dot.
    """

    seconds: int
    fraction: str = ""

    @property
    def nanoseconds(self) -> int:
        """The bound, exactly, in nanoseconds since the epoch."""
        return self.seconds * NANOSECONDS + int(self.fraction.ljust(MAX_FRACTION_DIGITS, "0"))


@dataclass(frozen=True, slots=True)
class Declared:
    """The bakery dialect's ``declared``: what a discharger states. It restricts nothing."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Undeclared:
    """Away from the service: a caveat on an attribute that its operator may have declared, its value as text."""

    attribute: str
    operator: str
    value: str


Caveat: TypeAlias = Comparison | TimeBefore | Declared | Undeclared


def encode(caveat: Caveat) -> str:
    """The one text of a caveat: ``encode(parse(text)) == text`` for every text that is accepted."""
    match caveat:
        case Comparison(attribute, operator, operand, type):
            return f"{attribute} {operator} {type.encode_operand(operator, operand)}"
        case TimeBefore(seconds, fraction):
            fraction = f".{fraction}Z" if fraction else "Z"
            return f"time-before {_INSTANT.encode(seconds).replace('Z', fraction)}"
        case Declared(name, value):
            return f"declared {name} {value}"
        case Undeclared(attribute, operator, value):
            return f"{attribute} {operator} {value}"
    assert_never(caveat)
