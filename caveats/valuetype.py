"""What every value type does: it reads its one spelling, writes it, and compares."""

from __future__ import annotations

import operator as op
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from caveats.errors import CaveatError, sentence
from caveats.limits import MAX_LIST_VALUES

OPERATORS: Final = ("=", "<", "<=", ">", ">=", "in", "under")


def _among(actual: object, operand: tuple[object, ...]) -> bool:
    return actual in operand


def _under(actual: str, operand: str) -> bool:
    """``under /a`` covers ``/a``, ``/a/`` and ``/a/b``, not ``/ab``; ``under /`` covers all."""
    return actual == operand or actual.startswith(operand if operand == "/" else operand + "/")


_HOLDS: Final[Mapping[str, Callable[[Any, Any], bool]]] = MappingProxyType(
    {"=": op.eq, "<": op.lt, "<=": op.le, ">": op.gt, ">=": op.ge, "in": _among, "under": _under}
)


class ValueType(ABC):
    """What values an attribute has: their spelling, and the operators that make sense of them."""

    __slots__ = ()
    name: ClassVar[str]
    operators: ClassVar[frozenset[str]]

    @abstractmethod
    def read(self, text: str) -> object:
        """The value that a caveat's text spells; raises ValueError, saying what would be right."""

    def encode(self, value: Any) -> str:
        """The one text of a value."""
        return str(value)

    def from_context(self, raw: object) -> object:
        """The value that a request's context holds, typed as JSON is; raises ValueError, saying what would be right."""
        return self.read(as_text(raw))

    def from_typed(self, raw: object) -> object:
        """The operand that a program gives as a Python value; raises ValueError, saying what would be right."""
        return self.read(as_text(raw))

    def sort_key(self, value: Any) -> Any:
        """What lists ascend by: the octets of the text."""
        return self.encode(value)

    def parse(self, text: str, offset: int = 0) -> object:
        """The value that the text spells.

        Raises:
            CaveatError: ``caveat-malformed`` at `offset`, where the text stands in its caveat.

        """
        try:
            return self.read(text)
        except ValueError as error:
            raise CaveatError("caveat-malformed", sentence(error), offset) from None

    def parse_operand(self, operator: str, text: str, offset: int) -> object:
        """What stands after the operator: one value, or a tuple of them after ``in``; raises CaveatError as `parse`."""
        return self._parse_list(text, offset) if operator == "in" else self.parse(text, offset)

    def encode_operand(self, operator: str, operand: Any) -> str:
        """The one text of what stands after the operator."""
        return ",".join(map(self.encode, operand)) if operator == "in" else self.encode(operand)

    def comparison(self, operator: str) -> Callable[[Any, Any], bool]:
        """The function of actual value and operand that says whether ``actual operator operand``."""
        return _HOLDS[operator]

    def _parse_list(self, text: str, offset: int) -> tuple[object, ...]:
        values: list[object] = []
        last: Any = None
        for item in text.split(","):
            if len(values) == MAX_LIST_VALUES:
                raise CaveatError("caveat-malformed", f"A list has at most {MAX_LIST_VALUES} values.", offset)
            value = self.parse(item, offset)
            key = self.sort_key(value)
            if values and key <= last:
                raise CaveatError("caveat-malformed", "A list ascends, each value once.", offset)
            values.append(value)
            last = key
            offset += len(item) + 1
        return tuple(values)


def as_text(raw: object) -> str:
    """What is a str and nothing else; raises ValueError."""
    if type(raw) is not str:
        raise ValueError("it is given as text")
    return raw


def as_whole(raw: object) -> int:
    """What is an int and no bool; raises ValueError."""
    if type(raw) is not int:  # bool is an int to isinstance, and True == 1
        raise ValueError("it is given as a whole number")
    return raw
