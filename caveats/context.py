"""The values that caveats are checked against, typed as strictly as caveats are."""

from __future__ import annotations

from collections.abc import Mapping

from caveats.errors import ContextError
from caveats.vocabulary import Attribute, Vocabulary

_WEEKDAYS = ("thu", "fri", "sat", "sun", "mon", "tue", "wed")  # the epoch's day was a Thursday
_MINUTE, _DAY = 60, 86_400  # seconds


def read_context(raw: Mapping[str, object], vocabulary: Vocabulary) -> dict[str, object]:
    """What a request says of itself, as `check` takes it.

    Args:
        raw: values by attribute, typed as JSON has them: an int for an integer, else the text that a caveat would hold,
            one address for a network.
        vocabulary: the attributes that there are.

    Raises:
        ContextError: a name is not declared or one that the service supplies, or a value is not of its type.

    """
    context: dict[str, object] = {}
    attributes = vocabulary.attributes
    for name, value in raw.items():
        attribute = attributes.get(name)
        if attribute is None:
            raise ContextError(name, "no such attribute is declared")
        if attribute.source != "request":
            raise ContextError(name, "the service supplies it, never a request")
        try:
            context[name] = attribute.type.from_context(value)
        except ValueError as error:
            raise ContextError(name, str(error)) from None
    return context


def context_value(attribute: Attribute, raw: object) -> object:
    """One value as `check` takes it, whoever supplies it.

    Raises:
        ContextError: the value is not of the attribute's type.

    """
    try:
        return attribute.type.from_context(raw)
    except ValueError as error:
        raise ContextError(attribute.name, str(error)) from None


def clock_values(now: int) -> dict[str, object]:
    """``time``, ``clock`` and ``weekday`` of one reading of the clock, in Unix seconds."""
    return {
        "time": now,
        "clock": now % _DAY // _MINUTE,
        "weekday": _WEEKDAYS[now // _DAY % len(_WEEKDAYS)],
    }
