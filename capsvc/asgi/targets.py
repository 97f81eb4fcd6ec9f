"""What a request is, as caveats speak of it: method, path, host and the caller's address, taken as the socket said it.

The path is judged as it was sent, whole (``raw_path``, what was mounted or stripped in front of it included), while the
application routes on what a server made of it (``path``). So both have to be the same resource: where decoding the one
does not give the other, somebody on the way has rewritten one of them, and the request is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from capsvc.addresses import Network, client_address, host_of, is_proxy
from capsvc.asgi.fields import FORWARDED_FOR, HOST, Fields

__all__ = ["NOTHING_LEGAL", "OF_THE_REQUEST", "base_context", "judged_path"]

OF_THE_REQUEST: Final = frozenset({"method", "path", "host", "ip"})
"""What no route can say of a request."""

NOTHING_LEGAL: Final = ""
"""A value of no type: it makes the decision ``context-invalid``, in its turn."""

logger = logging.getLogger("capsvc.asgi")


def base_context(scope: Scope, fields: Fields, proxies: tuple[Network, ...]) -> dict[str, object]:
    """The context of any request; what is not known of it is absent.

    Args:
        scope: of an HTTP request or of a WebSocket, whose handshake is a GET.
        fields: its header.
        proxies: whose ``X-Forwarded-For`` counts.

    """
    context: dict[str, object] = {
        "method": scope["method"] if scope["type"] == "http" else "GET",
        "path": judged_path(scope),
    }
    authority = fields.one(HOST)
    host = None if authority is None else _host(authority)
    if host is not None:
        context["host"] = host
    address = _address(scope, fields, proxies)
    if address is not None:
        context["ip"] = address
    return context


def judged_path(scope: Scope) -> str:
    """The whole path as it was sent, in normal form or not; `NOTHING_LEGAL` where the application sees another one."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        _complain()
        return NOTHING_LEGAL
    text = raw.partition(b"?")[0].decode("latin-1")
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    try:
        decoded = text if text == path else unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        return text  # in no normal form
    if decoded not in {path, root + path} and root + decoded != path:
        return NOTHING_LEGAL
    below = not root or decoded == root or decoded.startswith(f"{root}/")
    return text if below else root + text


@cache
def _complain() -> None:
    """Say once what is wrong with the server."""
    logger.error("the server does not tell the path as it was sent (raw_path), so every request is refused")


def _address(scope: Scope, fields: Fields, proxies: tuple[Network, ...]) -> str | None:
    client = scope.get("client")
    peer: str | None = client[0] if client else None
    if not proxies or not is_proxy(peer, proxies):
        return _peer(peer)
    forwarded: Sequence[str] = [value.decode("latin-1") for value in fields.all(FORWARDED_FOR)]
    try:
        return client_address(peer, forwarded, proxies)
    except ValueError:  # a proxy that is trusted tells something that is no address
        return NOTHING_LEGAL


@lru_cache(maxsize=1024)
def _peer(peer: str | None) -> str | None:
    try:
        return client_address(peer, (), ())
    except ValueError:  # a socket without addresses
        return None


@lru_cache(maxsize=256)
def _host(authority: bytes) -> str | None:
    return host_of(authority.decode("latin-1"))
