"""Protect a Starlette or FastAPI application with capsvc tokens.

    from capsvc.asgi import CapsvcMiddleware, RemoteVerifier, requires

    app = FastAPI()
    app.add_middleware(CapsvcMiddleware, verifier=RemoteVerifier(url, credential), audience="photos")

    @app.get("/photos", dependencies=[Depends(requires("read"))])
    async def photos(request: Request): ...    # request.state.grant, request.user

A verifier decides. `EmbeddedVerifier` has an authority in the process, and with it all its keys. `RemoteVerifier` asks
one about every request. `PrefixVerifier` asks about a token once, then decides by itself, on that token and on what is
narrowed from it, while it follows the authority's feed of revocations.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from capsvc.asgi.middleware import CapsvcMiddleware
from capsvc.asgi.requires import requires
from capsvc.asgi.verifier import Verifier

if TYPE_CHECKING:
    from capsvc.asgi.bakery import bakery_roots
    from capsvc.asgi.embedded import EmbeddedVerifier
    from capsvc.asgi.prefix import PrefixVerifier
    from capsvc.asgi.remote import RemoteVerifier

__all__ = [
    "CapsvcMiddleware",
    "EmbeddedVerifier",
    "PrefixVerifier",
    "RemoteVerifier",
    "Verifier",
    "bakery_roots",
    "requires",
]

_HOMES: Final = MappingProxyType(
    {
        "EmbeddedVerifier": "capsvc.asgi.embedded",
        "PrefixVerifier": "capsvc.asgi.prefix",
        "RemoteVerifier": "capsvc.asgi.remote",
        "bakery_roots": "capsvc.asgi.bakery",
    }
)  # loaded when asked for: a service takes one verifier, and not every one needs a client


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'capsvc.asgi' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
