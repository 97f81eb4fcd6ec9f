"""JSON with one reading (RFC 8259, I-JSON): what two parsers could take differently is refused.

UTF-8 without a byte order mark, no name twice in an object, no ``NaN`` or ``Infinity`` (nor a number that becomes
one), integers up to 2^63, no lone surrogates, bounded depth.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

__all__ = ["MAX_DEPTH", "parse"]

MAX_DEPTH: Final = 32  # nested arrays and objects; our own bodies have 4
MAX_INTEGER: Final = 2**63
_MAX_NUMBER_CHARACTERS: Final = 20  # of an integer up to 2^63, sign included


def parse(body: bytes) -> Any:
    """The value. Raises ``ValueError`` with a sentence that repeats nothing of the body."""
    try:
        text = body.decode("utf-8")
        value = _DECODER.decode(text)
    except UnicodeDecodeError:
        raise ValueError("The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"The body is not JSON, at character {error.pos}.") from None
    except RecursionError:
        raise ValueError("The body is nested too deeply.") from None
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value)
    if "\\u" in text:
        _check_surrogates(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("The body has a field twice in one object.")
    return value


def _integer(text: str) -> int:
    if len(text) > _MAX_NUMBER_CHARACTERS or abs(value := int(text)) > MAX_INTEGER:
        raise ValueError("The body has an integer past 2^63.")
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("The body has a number that is too large.")
    return value


def _constant(_text: str) -> NoReturn:
    raise ValueError("The body has NaN or Infinity, which JSON has not.")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def _check_depth(value: object) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent) if isinstance(child, dict | list)]
        if not level:
            return
    raise ValueError("The body is nested too deeply.")


def _check_surrogates(value: object) -> None:
    level: list[Any] = [value]
    while level:
        for text in level:
            if isinstance(text, str) and not _is_text(text):
                raise ValueError("The body has half of a surrogate pair.")
        level = [child for parent in level for child in (*_children(parent), *_names(parent))]


def _children(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _names(value: object) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
