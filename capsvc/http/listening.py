"""The sockets that the service listens on, bound before any worker starts."""

from __future__ import annotations

import errno
import socket

from capsvc.errors import StartError
from capsvc.http.serving import BACKLOG

__all__ = ["bind"]


def bind(host: str, port: int) -> list[socket.socket]:
    """Listening sockets on every address of ``host``; port 0 is one free port. Raises `StartError`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StartError("address", f"{host} port {port}: there is no such address: {error.strerror}") from None
    sockets: list[socket.socket] = []
    failed: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        chosen = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(_listening(family, kind, protocol, (address[0], chosen, *address[2:])))
        except OSError as error:
            failed = error
            if error.errno == errno.EADDRINUSE:
                break
    if failed is not None and (not sockets or failed.errno == errno.EADDRINUSE):
        for item in sockets:
            item.close()
        raise _cannot_listen(host, port, failed)
    return sockets


def _listening(family: int, kind: int, protocol: int, address: tuple[str | int, ...]) -> socket.socket:
    item = socket.socket(family, kind, protocol)
    try:
        item.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            item.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        item.bind(address)
        item.listen(BACKLOG)
        item.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    except OSError:
        item.close()
        raise
    return item


def _cannot_listen(host: str, port: int, error: OSError) -> StartError:
    if error.errno == errno.EADDRINUSE:
        return StartError(
            "port-in-use", f"{host} port {port} is in use by another program; stop it, or choose another --port"
        )
    return StartError("address", f"{host} port {port}: cannot listen there: {error.strerror}")
