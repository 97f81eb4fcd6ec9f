"""From which address a request came, where proxies that are trusted say so.

Every proxy adds the address that it was asked from at the right end of ``X-Forwarded-For``; what stands to the left of
it is what it was told. So the list is read from the right, as long as whoever wrote an entry is trusted.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

__all__ = ["Network", "client_address", "read_proxies"]

Network: TypeAlias = IPv4Network | IPv6Network


def read_proxies(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks that addresses and networks spell.

    Raises:
        ValueError: one is neither, has host bits, or is every address there is.

    """
    return tuple([_network(text) for text in texts])


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


def _network(text: str) -> Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("a proxy is an address, or a network without host bits") from None
    if network.prefixlen == 0:
        raise ValueError("not every address there is can be a proxy")
    return network


def _address(text: str) -> IPv4Address | IPv6Address:
    address = ipaddress.ip_address(text)
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None:
        raise ValueError("an address with a zone means nothing elsewhere")
    return address.ipv4_mapped or address
