"""Value types that stand for what somebody said: instants, times of day, integers, words, digests.

In Python they are an int (``instant``: Unix seconds; ``clock``: minutes since midnight; ``integer``) or a str.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from caveats.limits import MAX_INTEGER_DIGITS, MAX_WORD_OCTETS
from caveats.valuetype import ValueType, as_text, as_whole

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_INSTANT: Final = re.compile(
    r"20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
)
_FIRST_INSTANT: Final = 946_684_800  # 2000-01-01T00:00:00Z
_LAST_INSTANT: Final = 4_102_444_799  # 2099-12-31T23:59:59Z
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_MINUTES: Final = 24 * 60  # in a day
_INTEGER: Final = re.compile(rf"0|-?[1-9][0-9]{{0,{MAX_INTEGER_DIGITS - 1}}}")
_INTEGER_END: Final = 10**MAX_INTEGER_DIGITS
_WORD: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:@+~-]{{0,{MAX_WORD_OCTETS - 1}}}")
# 43 characters carry 258 bits: the last two are zero, or two texts would be one digest.
_DIGEST: Final = re.compile(r"sha256:[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")


@dataclass(frozen=True, slots=True)
class Instant(ValueType):
    """A whole second of UTC in the years 2000 to 2099, as Unix seconds."""

    name = "instant"
    operators = frozenset({"<", ">="})

    def read(self, text: str) -> int:
        """Unix seconds; see `ValueType.read`."""
        if _INSTANT.fullmatch(text) is None:
            raise ValueError("an instant is YYYY-MM-DDTHH:MM:SSZ, in UTC and the years 2000 to 2099")
        try:
            return (datetime.fromisoformat(text) - _EPOCH) // _SECOND
        except ValueError:
            raise ValueError("an instant is a day of the calendar: that month has no such day") from None

    def encode(self, value: int) -> str:
        """See `ValueType.encode`."""
        return (_EPOCH + value * _SECOND).strftime("%Y-%m-%dT%H:%M:%SZ")

    def from_typed(self, raw: object) -> int:
        """From Unix seconds; see `ValueType.from_typed`."""
        if not _FIRST_INSTANT <= as_whole(raw) <= _LAST_INSTANT:
            raise ValueError("an instant lies in the years 2000 to 2099")
        return as_whole(raw)


@dataclass(frozen=True, slots=True)
class Clock(ValueType):
    """A minute of the day in UTC, as minutes since midnight."""

    name = "clock"
    operators = frozenset({"<", ">="})

    def read(self, text: str) -> int:
        """Minutes since midnight; see `ValueType.read`."""
        match = _CLOCK.fullmatch(text)
        if match is None:
            raise ValueError("a time of day is HH:MM in UTC, 00:00 to 23:59")
        return 60 * int(match[1]) + int(match[2])

    def encode(self, value: int) -> str:
        """See `ValueType.encode`."""
        return f"{value // 60:02}:{value % 60:02}"

    def from_typed(self, raw: object) -> int:
        """From minutes since midnight; see `ValueType.from_typed`."""
        if not 0 <= as_whole(raw) < _MINUTES:
            raise ValueError("a time of day is 0 to 1439 minutes after midnight")
        return as_whole(raw)


@dataclass(frozen=True, slots=True)
class Integer(ValueType):
    """A whole number of at most 18 digits."""

    name = "integer"
    operators = frozenset({"=", "<", "<=", ">", ">=", "in"})

    def read(self, text: str) -> int:
        """See `ValueType.read`."""
        if _INTEGER.fullmatch(text) is None:
            raise ValueError(
                f"an integer is 0, or up to {MAX_INTEGER_DIGITS} digits without leading zeros, after - or nothing"
            )
        return int(text)

    def from_context(self, raw: object) -> int:
        """From an int, and no bool or float; see `ValueType.from_context`."""
        if not -_INTEGER_END < as_whole(raw) < _INTEGER_END:
            raise ValueError(f"an integer has at most {MAX_INTEGER_DIGITS} digits")
        return as_whole(raw)

    from_typed = from_context

    def sort_key(self, value: int) -> int:
        """Integers ascend by value."""
        return value


def is_word(text: str) -> bool:
    """Whether it is a word, of an open set."""
    return _WORD.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Word(ValueType):
    """A name without spaces or commas; with `values`, one of a closed set."""

    name = "word"
    operators = frozenset({"=", "in"})
    values: tuple[str, ...] | None = None
    _members: frozenset[str] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if self.values is not None:
            object.__setattr__(self, "_members", frozenset(self.values))

    def read(self, text: str) -> str:
        """See `ValueType.read`."""
        if self._members is not None:
            if text not in self._members:
                raise ValueError("the word is one of a closed set, and this is none of them")
        elif _WORD.fullmatch(text) is None:
            raise ValueError(
                f"a word has 1 to {MAX_WORD_OCTETS} letters, digits or . _ : @ + ~ -, the first a letter or digit"
            )
        return text

    def from_context(self, raw: object) -> str:
        """See `ValueType.from_context`; the common case first, for a decision asks for several."""
        if type(raw) is str and self._members is None and _WORD.fullmatch(raw) is not None:
            return raw
        return self.read(as_text(raw))


@dataclass(frozen=True, slots=True)
class Digest(ValueType):
    """A SHA-256 digest as ``sha256:`` and canonical base64url."""

    name = "digest"
    operators = frozenset({"="})

    def read(self, text: str) -> str:
        """See `ValueType.read`."""
        if _DIGEST.fullmatch(text) is None:
            raise ValueError("a digest is sha256: and 43 characters of canonical base64url")
        return text
