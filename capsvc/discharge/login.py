"""How somebody says who he is: what a login is to the discharger, and the discharger to a login."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from starlette.requests import Request
from starlette.routing import Route

from capsvc.discharge.waits import Begun, Waits
from capsvc.macaroon.thirdparty import KeyPair

__all__ = ["AGENT", "BROWSER_WINDOW", "Begin", "Login", "Surroundings"]

BROWSER_WINDOW: Final = "browser-window"
"""What bakery calls the login of people, the one kind that somebody has to be waited for."""

AGENT: Final = "agent"
"""What it calls that of programs with a key of their own."""

Begin: TypeAlias = Callable[[], Begun]
"""Begins to wait for somebody, once however often it is called. Raises `capsvc.discharge.waits.TooManyWaits`."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a login is told of the discharger that it is installed in.

    ``location`` is the discharger's URL, without a slash at its end; ``key`` its own key pair, the current one;
    ``address_of`` says from which address a request came (None where that is unknown, or no address); with
    ``same_address`` nobody may consent to what was begun from another one; ``clock`` gives Unix seconds.
    """

    location: str
    key: KeyPair
    waits: Waits
    address_of: Callable[[Request], str | None]
    same_address: bool
    clock: Callable[[], float]

    def url(self, path: str) -> str:
        """The absolute URL of one of the discharger's own paths, which begins with a slash."""
        return self.location + path

    def wait_url(self, begun: Begun) -> str:
        """Where the program that began asks for what its wait brings, which is told once."""
        return self.url(f"/wait?wait={begun.wait}")


class Login(Protocol):
    """A way to say who one is. It has its state in memory and belongs to one discharger."""

    kind: str
    """Bakery's name for it: `BROWSER_WINDOW`, `AGENT`. A checker is told it, since one name can be two logins'."""

    def install(self, surroundings: Surroundings) -> None:
        """Learn whose login it is; called once, before all else. Raises `ValueError` the second time."""

    def routes(self) -> Sequence[Route]:
        """Its own pages, below the discharger's location."""

    def offer(self, begin: Begin) -> dict[str, object]:
        """Its entry under ``Info.InteractionMethods``.

        One that somebody has to be waited for calls ``begin``, and lets its `TooManyWaits` pass.
        """

    def user(self, token: bytes, caveat: bytes) -> str | None:
        """Who a token of its kind proves, for the caveat of that SHA-256; None for any other. It is then spent."""
