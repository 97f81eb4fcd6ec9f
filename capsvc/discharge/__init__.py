"""Third parties: services that answer a condition with a discharge macaroon, as macaroon-bakery does it on the wire.

A checker is one async function; `create_discharger` makes an ASGI application of it, to be served or mounted anywhere::

    async def is_open(condition: str, request: Request) -> Declared | Refused | Interaction:
        ticket = condition.removeprefix("ticket-is-open ")
        return Declared({"ticket": ticket}) if await tickets.is_open(ticket) else Refused("the ticket is closed")

    app = create_discharger(
        is_open, key=read_key_file("discharger.key"), location="https://tickets.example/dis", trust=[PUBLIC_KEY]
    )

The address ``location`` and the public half of ``key`` are what an authority registers.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from capsvc.discharge.agent import AgentLogin
from capsvc.discharge.answers import Answer, Checker, Declared, Interaction, Refused
from capsvc.discharge.loading import CheckerError, load_checker
from capsvc.discharge.login import Login, Surroundings
from capsvc.discharge.service import create_discharger
from capsvc.discharge.static import Principals, PrincipalsError, read_principals, static_checker
from capsvc.discharge.waits import Begun, TooManyWaits, WaitGone, WaitRefused, Waits
from capsvc.keyfile import KeyFileError, read_key_file
from capsvc.macaroon.thirdparty import KeyPair

if TYPE_CHECKING:
    from capsvc.discharge.session import SessionLogin, session_checker
    from capsvc.discharge.users import Users

__all__ = [
    "AgentLogin",
    "Answer",
    "Begun",
    "Checker",
    "CheckerError",
    "Declared",
    "Interaction",
    "KeyFileError",
    "KeyPair",
    "Login",
    "Principals",
    "PrincipalsError",
    "Refused",
    "SessionLogin",
    "Surroundings",
    "TooManyWaits",
    "Users",
    "WaitGone",
    "WaitRefused",
    "Waits",
    "create_discharger",
    "load_checker",
    "read_key_file",
    "read_principals",
    "session_checker",
    "static_checker",
]

_HOMES: Final = MappingProxyType(
    {
        "SessionLogin": "capsvc.discharge.session",
        "Users": "capsvc.discharge.users",
        "session_checker": "capsvc.discharge.session",
    }
)
"""What is loaded when it is first asked for: people log in with passwords and pages, which machines do without."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
