"""Third parties: services that answer a condition with a discharge macaroon, as macaroon-bakery does it on the wire.

A checker is one async function; `create_discharger` makes an ASGI application of it, to be mounted anywhere.
"""

from __future__ import annotations

from capsvc.discharge.answers import Answer, Checker, Declared, Interaction, Refused
from capsvc.discharge.login import Login, Surroundings
from capsvc.discharge.waits import Begun, TooManyWaits, WaitGone, WaitRefused, Waits
from capsvc.keyfile import read_key_file
from capsvc.macaroon.thirdparty import KeyPair

__all__ = [
    "Answer",
    "Begun",
    "Checker",
    "Declared",
    "Interaction",
    "KeyPair",
    "Login",
    "Refused",
    "Surroundings",
    "TooManyWaits",
    "WaitGone",
    "WaitRefused",
    "Waits",
    "read_key_file",
]
