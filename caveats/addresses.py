"""IP addresses and networks in their one spelling: dotted quads, and RFC 5952 in hexadecimal groups.

An IPv4-mapped IPv6 address is a second spelling of an IPv4 address. Caveats may not hold one; a request's context may,
since that is how a dual-stack socket names its IPv4 peers, and it then means the IPv4 address.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple

_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_QUAD: Final = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_GROUP: Final = r"(?:0|[1-9a-f][0-9a-f]{0,3})"
_IPV4: Final = re.compile(_QUAD)
_IPV6: Final = re.compile(r"[0-9a-f:]{2,39}")  # no zone, no capitals, no dotted quad; ipaddress judges the rest
_MAPPED: Final = re.compile(rf"::ffff:(?:{_QUAD}|{_GROUP}:{_GROUP})")
_PREFIX_LENGTH: Final = re.compile(r"[1-9][0-9]{0,2}")  # no /0, which would restrict nothing

_BITS: Final = {4: 32, 6: 128}
_IPV4_MASK: Final = 0xFFFF_FFFF


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

    def holds(self, address: Address) -> bool:
        """Whether the address lies in it."""
        return address.version == self.version and address.number & self.mask == self.number


def read_address(text: str) -> Address:
    """The address, from its one spelling.

    Raises:
        ValueError: it is no address, spelt otherwise, or IPv4-mapped.

    """
    if _IPV4.fullmatch(text):
        return Address(4, int.from_bytes(map(int, text.split(".")), "big"))
    if _IPV6.fullmatch(text):
        address = ipaddress.IPv6Address(text)
        if str(address) == text and address.ipv4_mapped is None:
            return Address(6, int(address))
    raise ValueError("an address is a dotted quad or RFC 5952's IPv6 text, without zone, not IPv4-mapped")


def read_peer_address(text: str) -> Address:
    """The address that a request came from: as `read_address` has it, or IPv4-mapped in either of its spellings.

    Raises:
        ValueError: it is neither.

    """
    if _MAPPED.fullmatch(text):
        return Address(4, int(ipaddress.IPv6Address(text)) & _IPV4_MASK)
    return read_address(text)


def read_network(text: str) -> Network:
    """The network, from its canonical CIDR text.

    Raises:
        ValueError: the text is not canonical, has host bits, is /0, or lies inside ::ffff:0:0/96.

    """
    base, slash, length = text.partition("/")
    version, number = read_address(base)
    bits = _BITS[version]
    if not slash or not _PREFIX_LENGTH.fullmatch(length) or int(length) > bits:
        raise ValueError(f"a network ends in / and a number of bits, 1 to {bits}, without leading zeros")
    mask = (1 << bits) - (1 << bits - int(length))
    if number & ~mask:
        raise ValueError("a network's bits after its length are zero")
    return Network(text, version, number, mask)
