"""Where a third party is: the URL under which it is registered, and which its caveats name."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

__all__ = ["LOCATION_OCTETS", "check_location"]

LOCATION_OCTETS: Final = 512

_URL: Final = re.compile(
    r"https?://(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|[A-Za-z0-9][A-Za-z0-9._-]*)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?:/[A-Za-z0-9._~!$&'()*+,;:@%/-]*)?"
)
"""RFC 3986 without user, query and fragment, and without ``=``: ``URL=CONDITION`` is split at the first one."""


def check_location(text: str) -> None:
    """Return if text can be a third party's location.

    Raises:
        ValueError: for what is no http or https URL of host, port and path alone, holds ``=``, or is too long.

    """
    found = _URL.fullmatch(text) if len(text) <= LOCATION_OCTETS else None
    if found is None or not _is_port(found["port"]) or not _is_ipv6(found["ipv6"]):
        raise ValueError(
            f"a location is an http or https URL of host, port and path, without =, of {LOCATION_OCTETS} octets at most"
        )


def _is_port(text: str | None) -> bool:
    return text is None or int(text) < 65_536


def _is_ipv6(text: str | None) -> bool:
    try:
        return text is None or bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False
