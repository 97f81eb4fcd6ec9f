"""What a programmer gives, checked before anything is served: else it would show as a refusal of every request.

Each check returns the value, or raises ``ValueError`` or ``TypeError`` with a sentence that begins with its name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from inspect import isclass
from typing import Final, cast

from capsvc.asgi.verifier import Verifier
from capsvc.config_checks import CHECKS, WrongValueError
from caveats import TYPES

__all__ = ["action_map", "origin", "seconds", "verifier", "word"]

_WORD: Final = TYPES["word"]
_ORIGIN: Final = re.compile(r"https?://[^/?#@\s]+", re.IGNORECASE)


def word(name: str, value: object) -> str:
    """An audience's name, or an action."""
    try:
        return str(_WORD.from_context(value))
    except ValueError:
        raise ValueError(f"{name} is a word: letters, digits and . _ : @ + ~ -, 128 at most") from None


def action_map(value: Mapping[str, str] | None) -> Mapping[str, str]:
    """Actions by methods in capitals; none for None."""
    try:
        return cast("Mapping[str, str]", CHECKS["forward_auth_actions"]({} if value is None else value))
    except WrongValueError as error:
        raise ValueError(f"actions {error}") from None


def seconds(name: str, value: float, most: float = math.inf) -> float:
    """A time over 0, and ``most`` at most, which does end."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is a number of seconds")
    if not 0 < value <= most or math.isinf(value):
        raise ValueError(f"{name} is over 0 seconds" + ("" if math.isinf(most) else f", and {most:g} at most"))
    return value


def verifier(value: Verifier) -> Verifier:
    """Something that decides."""
    if isclass(value):
        raise TypeError("verifier is an object, and this is a class: RemoteVerifier(url, credential), for one")
    missing = [name for name in ("authorize", "open", "aclose") if not callable(getattr(value, name, None))]
    missing += [] if hasattr(value, "recheck") else ["recheck"]
    if missing:
        raise TypeError(
            f"verifier is an EmbeddedVerifier, RemoteVerifier, PrefixVerifier or has {', '.join(missing)}, too"
        )
    seconds("the verifier's recheck", value.recheck)
    return value


def origin(value: str) -> bytes:
    """A scheme and a host, perhaps with a port, as browsers send it."""
    if not isinstance(value, str) or not value.isascii() or not _ORIGIN.fullmatch(value):
        raise ValueError("origin is a scheme and a host, perhaps a port, and nothing else: https://photos.example.org")
    return value.lower().encode("ascii")
