"""What request bodies have in common: which fields, of which JSON type, and what no field may hold.

What is wrong here is 400 ``bad-request``, before anybody looks at the credential. ``null`` stands for an absent field
where the field is optional, and nowhere else.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar

import msgspec

from capsvc.http import strictjson
from capsvc.http.problems import Problem
from caveats import TYPES

__all__ = ["Shape", "check_name", "read"]

_UNKNOWN_FIELD: Final = re.compile(r"unknown field `(.*)`", re.DOTALL)
_PLAIN_NAME: Final = re.compile(r"[a-z_]{1,40}")
_FIELD: Final = re.compile(r"[a-z_]+: ")  # what our own checks begin with where one field is to blame

_Shape = TypeVar("_Shape", bound="Shape")


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request's body."""


def read(shape: type[_Shape], body: bytes) -> _Shape:
    """The body's JSON in that shape. Raises `Problem` 400 with a sentence that repeats no value."""
    try:
        return msgspec.convert(strictjson.parse(body), shape)
    except msgspec.ValidationError as error:
        raise Problem(400, "bad-request", _sentence(error)) from None
    except ValueError as error:
        raise Problem(400, "bad-request", str(error)) from None


def check_name(name: str, field: str) -> None:
    """Return if a name of an audience or discharger is a word. Raises ``ValueError``."""
    try:
        TYPES["word"].from_context(name)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None


def _sentence(error: msgspec.ValidationError) -> str:
    """Say what msgspec says, but a field's name only where it is surely no secret in the wrong place."""
    text = str(error)
    unknown = _UNKNOWN_FIELD.search(text)
    if unknown and not _PLAIN_NAME.fullmatch(unknown[1]):
        return "Object contains an unknown field."
    return f"{text}." if _FIELD.match(text) else f"{text[:1].upper()}{text[1:]}."
