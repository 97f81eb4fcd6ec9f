"""Caveats in words, and how long is left. What they say of a token is what the token says: nothing here is verified."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from caveats import Caveat, Declared, encode, lower_bound, upper_bound

__all__ = ["meaning", "remaining", "span", "statement"]

NANOSECONDS: Final = 1_000_000_000  # in a second

_SUBJECTS: Final = MappingProxyType(
    {
        "action": "the action",
        "method": "the request's method",
        "path": "the request's path",
        "host": "the host that is asked",
        "ip": "the caller's address",
        "audience": "the audience",
        "sub": "the token's subject",
        "client": "the token's client",
        "clock": "the time of day (UTC)",
        "weekday": "the day of the week (UTC)",
        "for.audience": "what an administrator acts on: its audience",
        "for.sub": "what an administrator acts on: its subject",
        "for.ttl": "what an administrator mints: its seconds of life",
    }
)
_RELATIONS: Final = MappingProxyType(
    {
        "=": "must be {}",
        "<": "must be below {}",
        "<=": "must be at most {}",
        ">": "must be above {}",
        ">=": "must be at least {}",
        "under": "must be {} or below it",
    }
)
_CLOCK_RELATIONS: Final = MappingProxyType({"<": "must be before {}", ">=": "must be {} or later"})
_UNITS: Final = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def meaning(caveat: Caveat, now: int) -> str:
    """What a caveat asks of a request, seen at ``now`` (Unix seconds)."""
    if isinstance(caveat, Declared):
        return f"the third party states that {caveat.name} is {caveat.value or 'nothing'}"
    until, since = upper_bound(caveat), lower_bound(caveat)
    if until is not None:
        return remaining(until, now)
    if since is not None:
        return _begins(since // NANOSECONDS, now)
    return _relation(caveat)


def _relation(caveat: Caveat) -> str:
    attribute, operator, value = encode(caveat).split(" ", 2)
    subject = _SUBJECTS.get(attribute, f"the request's {attribute}")
    if operator == "in":
        return f"{subject} must be {_one_of(attribute, value.split(','))}"
    relations = _CLOCK_RELATIONS if attribute == "clock" else _RELATIONS
    return f"{subject} {relations[operator].format(value)}"


def _one_of(attribute: str, values: list[str]) -> str:
    place = "in " if attribute == "ip" else ""
    if len(values) == 1:
        return place + values[0]
    return f"{place}{', '.join(values[:-1])} or {values[-1]}"


def statement(caveat: Caveat) -> str:
    """What an issuer's caveat on a fact states."""
    attribute, _, value = encode(caveat).split(" ", 2)
    return f"the issuer states: {_SUBJECTS.get(attribute, attribute)} is {value}"


def remaining(bound: int, now: int) -> str:
    """How long is left until a bound in nanoseconds since the epoch, or for how long it has been past."""
    seconds = -(-bound // NANOSECONDS) - now  # good while now is below the bound, so a started second counts
    return f"{span(seconds)} left" if seconds > 0 else f"EXPIRED {span(-seconds)} ago"


def _begins(start: int, now: int) -> str:
    return f"NOT YET VALID: begins in {span(start - now)}" if now < start else f"valid since {span(now - start)}"


def span(seconds: int) -> str:
    """A number of seconds in its two largest units: ``1 hour 5 minutes``."""
    parts = []
    for size, name in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 seconds"
