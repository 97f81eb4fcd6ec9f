"""From which address a request came, where proxies that are trusted say so, and to which host it went.

Every proxy adds the address that it was asked from at the right end of ``X-Forwarded-For``; what stands to the left of
it is what it was told. So the list is read from the right, as long as whoever wrote an entry is trusted.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

from caveats import TYPES

__all__ = ["Network", "client_address", "host_of", "is_proxy", "read_proxies"]

Network: TypeAlias = IPv4Network | IPv6Network

_AUTHORITY: Final = re.compile(r"(?:\[([0-9a-f]*:[0-9a-f:.]*)\]|([0-9a-z.-]+?)\.?)(?::[0-9]{0,5})?")


def read_proxies(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks that addresses and networks spell.

    Raises:
        ValueError: one is neither, has host bits, or is every address there is.

    """
    return tuple([_network(text) for text in texts])


def is_proxy(peer: str | None, proxies: Sequence[Network]) -> bool:
    """Whether the address at the other end of a socket is a trusted proxy's; one that is no address is nobody's."""
    try:
        address = _address(peer or "")
    except ValueError:
        return False
    return any([address in proxy for proxy in proxies])


def client_address(peer: str | None, forwarded: Sequence[str], proxies: Sequence[Network]) -> str:
    """The address of whoever asks, an IPv4-mapped one as IPv4.

    Args:
        peer: the address at the other end of the socket.
        forwarded: the values of all ``X-Forwarded-For`` headers, in order; of no account unless the peer is a proxy.
        proxies: those that are trusted. If every address is one of theirs, it is the leftmost.

    Raises:
        ValueError: what counts is no address.

    """
    left = [part.strip(" \t") for value in forwarded for part in value.split(",")]
    address = _address(peer or "")
    while left and any(address in proxy for proxy in proxies):
        address = _address(left.pop())
    return str(address)


def host_of(authority: str) -> str | None:
    """The host of a request's authority, as caveats name hosts: lower-case, without port, brackets and trailing dot.

    None if what is left is no host. Nothing else is repaired.
    """
    found = _AUTHORITY.fullmatch(authority.lower()) if authority.isascii() else None
    if found is None:
        return None
    host: str = found[1] or found[2]
    try:
        TYPES["host"].from_context(host)
    except ValueError:
        return None
    return host


def _network(text: str) -> Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("a proxy is an address, or a network without host bits") from None
    if network.prefixlen == 0:
        raise ValueError("not every address there is can be a proxy")
    return network


@lru_cache(maxsize=1024)
def _address(text: str) -> IPv4Address | IPv6Address:
    address = ipaddress.ip_address(text)
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None:
        raise ValueError("an address with a zone means nothing elsewhere")
    return address.ipv4_mapped or address
