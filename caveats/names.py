"""Which names an attribute can have."""

from __future__ import annotations

import re
from typing import Final

from caveats.limits import MAX_ATTRIBUTE_OCTETS

ATTRIBUTE: Final = re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z][a-z0-9-]*)*")
"""The grammar's ``attribute``, but for its length. Each character has one way to match: it cannot backtrack."""

TAKEN: Final = frozenset({"declared", "need-declared", "time-before", "allow", "deny", "error"})
"""The bakery dialect's own words: never an attribute."""

ADMINISTRATIVE_PREFIX: Final = "for."
"""What a request to the service acts on: ``for.audience``, ``for.sub``, ``for.ttl``, ``for.<fact>``."""


def is_free(name: str) -> bool:
    """Whether an operator may declare an attribute of that name (built-in names aside)."""
    fits = len(name) <= MAX_ATTRIBUTE_OCTETS and ATTRIBUTE.fullmatch(name) is not None
    return fits and name not in TAKEN and not name.startswith(ADMINISTRATIVE_PREFIX)
