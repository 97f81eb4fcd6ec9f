"""Who calls: from which address, as far as that is known, and what one caller has for himself."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.requests import Request

from capsvc.addresses import client_address, read_proxies

__all__ = ["address_reader", "is_here", "is_loopback", "network_of"]


def address_reader(location: str, trusted_proxies: Iterable[str]) -> Callable[[Request], str | None]:
    """What says from which address a request came; None where that is unknown, or no address.

    Where a discharger is known by an address of another machine, and no proxy is trusted, one that calls from this
    machine is a proxy that nobody told of: everybody would seem to be at one and the same address.

    Raises:
        ValueError: for what is no address or network of a proxy.

    """
    proxies = read_proxies(trusted_proxies)
    knows_loopback = bool(proxies) or is_here(location)

    def address_of(request: Request) -> str | None:
        peer = request.client.host if request.client is not None else None
        with suppress(ValueError):
            address = client_address(peer, request.headers.getlist("x-forwarded-for"), proxies)
            return address if knows_loopback or not is_loopback(address) else None
        return None

    return address_of


def is_here(location: str) -> bool:
    """Whether a URL's host is this machine: ``localhost`` or a loopback address."""
    try:
        return is_loopback(urlsplit(location).hostname or "")
    except ValueError:  # it is no URL
        return False


def is_loopback(host: str) -> bool:
    """Whether a host is ``localhost`` or a loopback address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def network_of(address: str | None) -> str:
    """What one caller has for himself: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    return str(parsed) if parsed.version == 4 else str(ipaddress.IPv6Network((int(parsed), 64), strict=False))
