"""IP addresses and networks in their one spelling: dotted quads, and RFC 5952 in hexadecimal groups.

An IPv4-mapped IPv6 address is a second spelling of an IPv4 address. Caveats may not hold one; a request's context may,
since that is how a dual-stack socket names its IPv4 peers, and it then means the IPv4 address.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple

_OCTETS: Final = {str(octet): octet for octet in range(256)}  # the one spelling of each octet of a dotted quad
_IPV6: Final = re.compile(r"[0-9a-f:]{2,39}")  # no zone, no capitals, no dotted quad; ipaddress judges the rest
_MAPPED: Final = "::ffff:"
_GROUP: Final = r"(0|[1-9a-f][0-9a-f]{0,3})"
_TWO_GROUPS: Final = re.compile(f"{_GROUP}:{_GROUP}")
_PREFIX_LENGTH: Final = re.compile(r"[1-9][0-9]{0,2}")  # no /0, which would restrict nothing
_RULE: Final = "an address is a dotted quad or RFC 5952's IPv6 text, without zone, not IPv4-mapped"
_BITS: Final = {4: 32, 6: 128}


class Address(NamedTuple):
    """An IP address: its version, 4 or 6, and its number."""

    version: int
    number: int


class Network(NamedTuple):
    """A network: its CIDR text, and what an address in it is recognised by."""

    text: str
    version: int
    number: int
    mask: int


def read_address(text: str) -> Address:
    """The address, from its one spelling.

    Raises:
        ValueError: it is no address, spelt otherwise, or IPv4-mapped.

    """
    if ":" not in text:
        return _read_quad(text)
    if _IPV6.fullmatch(text):
        return _read_groups(text)
    raise ValueError(_RULE)


def read_peer_address(text: str) -> Address:
    """The address that a request came from: as `read_address` has it, or IPv4-mapped in either of its spellings.

    Raises:
        ValueError: it is neither.

    """
    if ":" not in text:
        return _read_quad(text)
    if text.startswith(_MAPPED):
        mapped = text.removeprefix(_MAPPED)
        if "." in mapped:
            return _read_quad(mapped)
        groups = _TWO_GROUPS.fullmatch(mapped)
        if groups is not None:
            return Address(4, int(groups[1], 16) << 16 | int(groups[2], 16))
    return read_address(text)


def read_network(text: str) -> Network:
    """The network, from its canonical CIDR text.

    Raises:
        ValueError: the text is not canonical, has host bits, is /0, or lies inside ::ffff:0:0/96.

    """
    base, _, length = text.partition("/")
    version, number = read_address(base)
    bits = _BITS[version]
    if not _PREFIX_LENGTH.fullmatch(length) or int(length) > bits:
        raise ValueError(f"a network ends in / and a number of bits, 1 to {bits}, without leading zeros")
    mask = (1 << bits) - (1 << bits - int(length))
    if number & ~mask:
        raise ValueError("a network's bits after its length are zero")
    return Network(text, version, number, mask)


def _read_quad(text: str) -> Address:
    """The IPv4 address; raises ValueError."""
    try:
        first, second, third, fourth = text.split(".")
        number = _OCTETS[first] << 24 | _OCTETS[second] << 16 | _OCTETS[third] << 8 | _OCTETS[fourth]
    except (KeyError, ValueError):
        raise ValueError(_RULE) from None
    return Address(4, number)


def _read_groups(text: str) -> Address:
    """The IPv6 address; raises ValueError."""
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:  # whose message would repeat the text
        raise ValueError(_RULE) from None
    if str(address) != text or address.ipv4_mapped is not None:
        raise ValueError(_RULE)
    return Address(6, int(address))
