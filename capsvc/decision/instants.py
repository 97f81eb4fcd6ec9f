"""Whole Unix seconds to and from aware UTC datetimes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

__all__ = ["END_OF_TIME", "NANOSECONDS", "aware", "seconds_of"]

NANOSECONDS: Final = 1_000_000_000
END_OF_TIME: Final = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
"""The first second that no caveat can name: years end with 2099."""


def aware(seconds: int) -> datetime:
    """Return Unix seconds as an aware UTC datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def seconds_of(instant: datetime) -> int:
    """Return an aware datetime as Unix seconds, rounded down. Raises `ValueError` for one without a zone."""
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return int(instant.timestamp() // 1)
