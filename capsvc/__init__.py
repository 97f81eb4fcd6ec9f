"""A token authority: macaroons that holders narrow, that always expire, and that can be revoked at once.

What a program needs is here; each name is loaded when it is first asked for, so that a holder who takes ``Token``
loads neither a web server nor a database.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from capsvc.authority import Authority
    from capsvc.config import Settings
    from capsvc.errors import Denied, TokenError
    from capsvc.grants import Grant, Minted
    from capsvc.http.app import create_app
    from capsvc.token import Token
    from caveats import CaveatError

__all__ = [
    "Authority",
    "CaveatError",
    "Denied",
    "Grant",
    "Minted",
    "Settings",
    "Token",
    "TokenError",
    "create_app",
]

_HOMES: Final = MappingProxyType(
    {
        "Authority": "capsvc.authority",
        "CaveatError": "caveats",
        "Denied": "capsvc.errors",
        "Grant": "capsvc.grants",
        "Minted": "capsvc.grants",
        "Settings": "capsvc.config",
        "Token": "capsvc.token",
        "TokenError": "capsvc.errors",
        "create_app": "capsvc.http.app",
    }
)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'capsvc' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
