"""What bodies are made of: instants as text, octets that are shown, JSON objects."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["LONGEST_WAIT", "JsonObject", "instant_text", "parse_instant", "safe_message", "visible"]

JsonObject = dict[str, Any]

LONGEST_WAIT: Final = 30.0
"""Seconds for which the service holds an answer of its feed back at most."""

MESSAGE_CHARACTERS: Final = 300

_LONG_RUN: Final = re.compile(r"[A-Za-z0-9_~+/=-]{41,}")  # what could be a token: an id has 22 characters, a branch 43
_INSTANT: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)


def instant_text(value: datetime) -> str:
    """An aware instant as text, in UTC, rounded down to whole seconds."""
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.isoformat()[:19] + "Z"


def parse_instant(text: str, *, last_year: int = 2099) -> datetime:
    """Text as ``2026-11-22T12:00:00Z`` to an aware UTC instant.

    Raises ``ValueError`` for any other spelling, a date that does not exist, a leap second, or a year outside 2000 to
    ``last_year``.
    """
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ValueError("an instant is written 2026-11-22T12:00:00Z")
    year, month, day, hour, minute, second = map(int, found.groups())
    if not 2000 <= year <= last_year:
        raise ValueError(f"an instant's year is 2000 to {last_year}")
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def visible(text: str | bytes) -> str:
    r"""Text with every octet outside 0x20-0x7E as ``\xNN``; what is already visible stays as it is."""
    if isinstance(text, str):
        if text.isascii() and text.isprintable():
            return text
        text = text.encode("utf-8", "surrogatepass")
    return "".join(chr(octet) if 0x20 <= octet <= 0x7E else f"\\x{octet:02x}" for octet in text)


def safe_message(message: str) -> str:
    """Somebody else's words: short, in plain characters, without what could be a token that they repeat."""
    plain = visible(message.encode("utf-8", "surrogatepass")[: 4 * MESSAGE_CHARACTERS])
    return _LONG_RUN.sub("...", plain)[:MESSAGE_CHARACTERS]
