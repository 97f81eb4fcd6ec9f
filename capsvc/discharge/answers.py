"""What a checker is, and the three things that it can answer.

::

    async def is_over_18(condition: str, request: Request) -> Declared | Refused | Interaction:
        if condition != "is-over-18":
            return Refused("unknown condition")
        if request.state.user is None:
            return Interaction()
        return Declared({"username": request.state.user})
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from starlette.requests import Request

from caveats import declare

__all__ = ["Answer", "Checker", "Declared", "Interaction", "Refused"]


@dataclass(frozen=True, slots=True)
class Declared:
    """The condition holds, and these are the values of names. Those that nobody asked for are stated nowhere.

    Raises `caveats.CaveatError` for a name that is not 1 to 64 octets 0x21-0x7E without a comma, or a value that is not
    up to 400 octets 0x20-0x7E.
    """

    values: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            declare(name, value)
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))


@dataclass(frozen=True, slots=True)
class Refused:
    """The condition does not hold. The reason is shown to whoever asked, up to 200 characters of it."""

    reason: str = "the condition does not hold"


@dataclass(frozen=True, slots=True)
class Interaction:
    """Somebody has to say who he is first; then the checker is asked again, with ``request.state.user``."""


Answer: TypeAlias = Declared | Refused | Interaction

Checker: TypeAlias = Callable[[str, Request], Awaitable[Answer]]
"""Judges a condition, which is the text after ``need-declared a,b ``. Of the request, which is Starlette's, it may use
``request.state.first_party`` (who asks for the condition: its public key, 32 octets), ``request.state.user`` (who
logged in, a name; None as long as nobody has) and ``request.state.login`` (how: ``browser-window`` for a person,
``agent`` for a program; None likewise). Where both can log in, a name alone is nobody: a person and a program may each
have it, and a checker says which of them it means."""
