"""Where a credential may be sent: over https to anybody, over http to this machine alone."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Container
from typing import Final, NamedTuple
from urllib.parse import urljoin

import httpx

__all__ = ["Origin", "Place", "is_loopback", "may_be_here", "place_of", "read_origin", "read_own_url"]

URL_OCTETS: Final = 2048
_PORTS: Final = {"http": 80, "https": 443}
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_PLAIN: Final = re.compile(r"[\x21-\x5b\x5d-\x7e]+")  # no white space, no backslash: parsers differ on both


class Origin(NamedTuple):
    """A service's address: ``base`` without a trailing slash, to which paths are appended."""

    base: str
    encrypted: bool
    loopback: bool


class Place(NamedTuple):
    """Whom a URL leads to: what browsers call its origin."""

    scheme: str
    host: bytes
    port: int


def read_origin(url: str) -> Origin:
    """The address of a service.

    Raises:
        ValueError: for what is no ``https`` address nor an ``http`` one of this machine. The message does not repeat
            it, for it may hold a password.
        TypeError: for what is no text: None, where a variable was not set.

    """
    if not isinstance(url, str):
        raise TypeError("the service's address is text")
    if len(url) > URL_OCTETS or not _PLAIN.fullmatch(url):
        raise ValueError("the service's address is not a URL")
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise ValueError("the service's address is not a URL") from None
    if (
        parsed.scheme not in {"http", "https"}
        or not parsed.host
        or (parsed.port is not None and not 0 < parsed.port < 65_536)
    ):
        raise ValueError("the service's address is not an http or https URL")
    if any(mark in url for mark in "@?#"):
        raise ValueError("the service's address holds more than scheme, host, port and path")
    loopback = is_loopback(parsed.host)
    if parsed.scheme == "http" and not loopback:
        raise ValueError("a credential goes over https, or over http to this machine alone")
    return Origin(str(parsed).rstrip("/"), parsed.scheme == "https", loopback)


def place_of(url: httpx.URL) -> Place:
    """The origin of a URL: scheme, host and port, the scheme's own where it names none."""
    return Place(url.scheme, url.raw_host, url.port or _PORTS.get(url.scheme, 0))


def read_own_url(text: str, base: str, places: Container[Place]) -> str:
    """A URL that somebody sent who may be found at ``base``, if it leads to one of his own ``places``.

    Args:
        text: absolute, or relative to ``base``.
        base: his address, without a slash at its end.
        places: the origins that are his.

    Raises:
        ValueError: for any other place, and for what is no URL or holds a user's name.

    """
    if len(text) > URL_OCTETS or not _PLAIN.fullmatch(text):
        raise ValueError("not a URL")
    try:
        url = httpx.URL(urljoin(f"{base}/", text))
    except (ValueError, httpx.InvalidURL):
        raise ValueError("not a URL") from None
    if url.userinfo or place_of(url) not in places:
        raise ValueError("a URL of another origin")
    return str(url)


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine: ``localhost`` or a loopback address in its plain spelling."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def may_be_here(host: str) -> bool:
    """Whether a connection to a URL's host may end at this machine, or on its own link, however that is spelled.

    Resolvers take ``127.1``, ``0x7f000001`` and ``localhost.`` for loopback, kernels ``0.0.0.0`` and ``::``; what is
    no address in its one spelling is not looked at any closer.
    """
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ":" in host or "%" in host or _NUMBER.fullmatch(name.rpartition(".")[2]) is not None
    is_near = address.is_loopback or address.is_link_local or address.is_multicast
    return is_near or address.packed[0] == 0 or str(address) != host  # ::/8 holds the ways to write IPv4 in IPv6
