"""Value types that stand for where something is: hosts, paths, networks.

In Python they are a str, or for ``network`` a `Network` in a caveat and an `Address` in a context.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from caveats.addresses import Address, Network, read_address, read_network, read_peer_address
from caveats.errors import CaveatError
from caveats.limits import MAX_CAVEAT_PATH_OCTETS, MAX_HOST_OCTETS, MAX_LABEL_OCTETS
from caveats.paths import normal_path
from caveats.valuetype import ValueType, as_text

_LABEL: Final = rf"[a-z0-9](?:[a-z0-9-]{{0,{MAX_LABEL_OCTETS - 2}}}[a-z0-9])?"
_HOST_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}")  # a last label of digits would be an address


@dataclass(frozen=True, slots=True)
class Host(ValueType):
    """A host name in lower case, or an IP address."""

    name = "host"
    operators = frozenset({"=", "in"})

    def read(self, text: str) -> str:
        """See `ValueType.read`."""
        if len(text) > MAX_HOST_OCTETS:
            raise ValueError(f"a host has at most {MAX_HOST_OCTETS} octets")
        if _HOST_NAME.fullmatch(text) is None:
            try:
                read_address(text)
            except ValueError:
                raise ValueError(
                    "a host is labels of lower-case letters, digits and inner hyphens, the last not all digits, or an "
                    "address in canonical text, without port, brackets, zone or trailing dot"
                ) from None
        return text


@dataclass(frozen=True, slots=True)
class Path(ValueType):
    """An absolute path in normal form (`normal_path`)."""

    name = "path"
    operators = frozenset({"=", "under"})

    def read(self, text: str) -> str:
        """See `ValueType.read`."""
        if "*" in text:
            raise ValueError("a path in a caveat has no *: there are no wildcards, and a literal one is %2A")
        return normal_path(text, MAX_CAVEAT_PATH_OCTETS)

    def from_context(self, raw: object) -> str:
        """From a request's path, which may be longer and hold ``*``; see `ValueType.from_context`."""
        return normal_path(as_text(raw))

    def parse_operand(self, operator: str, text: str, offset: int) -> object:
        """See `ValueType.parse_operand`."""
        if operator == "under" and text.endswith("/") and text != "/":
            raise CaveatError("caveat-malformed", "After under a path ends without /, but for the root.", offset)
        return self.parse(text, offset)


def _within(actual: Address, operand: tuple[Network, ...]) -> bool:
    """Whether one of the networks holds the address."""
    kind, address = actual
    for _, version, number, mask in operand:  # noqa: SIM110 - any() with a generator takes twice as long
        if version == kind and address & mask == number:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Networks(ValueType):
    """Networks in a caveat; one address in a context."""

    name = "network"
    operators = frozenset({"in"})

    def read(self, text: str) -> Network:
        """See `ValueType.read`."""
        return read_network(text)

    def encode(self, value: Network) -> str:
        """See `ValueType.encode`."""
        return value.text

    def from_context(self, raw: object) -> Address:
        """From one address; see `ValueType.from_context`."""
        return read_peer_address(as_text(raw))

    def comparison(self, operator: str) -> Callable[[Any, Any], bool]:  # noqa: ARG002 - networks have ``in`` alone
        """See `ValueType.comparison`."""
        return _within
