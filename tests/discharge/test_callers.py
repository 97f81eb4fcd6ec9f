"""From which address a request came; that of a proxy which nobody told of is nobody's."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from starlette.requests import Request

from capsvc.discharge.callers import address_reader, is_here, is_loopback, network_of

ELSEWHERE = "https://login.example.org"


def said(location: str, peer: str | None, forwarded: Sequence[str] = (), proxies: Sequence[str] = ()) -> str | None:
    """The address that a discharger at a location takes a request for, from a peer."""
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    client = None if peer is None else (peer, 1)
    return address_reader(location, proxies)(Request({"type": "http", "headers": headers, "client": client}))


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_a_proxy_that_nobody_told_of(peer: str) -> None:
    """Who calls from this machine, where clients know another one's address, is a proxy; who has it is unknown."""
    for forwarded in ([], ["192.0.2.7"]):
        assert said(ELSEWHERE, peer, forwarded) is None
        assert said(f"{ELSEWHERE}:8701/dis", peer, forwarded) is None
    for here in ("http://127.0.0.1:8701", "http://localhost/dis", "https://[::1]", "http://LOCALHOST"):
        assert said(here, peer, ["192.0.2.7"]) == peer.removeprefix("::ffff:")
    assert said(ELSEWHERE, peer, ["192.0.2.7"], ["127.0.0.0/8", "::1"]) == "192.0.2.7"
    assert said(ELSEWHERE, peer, [], ["127.0.0.0/8", "::1"]) == peer.removeprefix("::ffff:")


@pytest.mark.parametrize("location", [ELSEWHERE, "http://127.0.0.1:8701"])
def test_whoever_calls_from_elsewhere(location: str) -> None:
    """Is where he calls from, whatever he says."""
    assert said(location, "192.0.2.7") == said(location, "192.0.2.7", ["198.51.100.1"]) == "192.0.2.7"
    assert said(location, "192.0.2.7", ["198.51.100.1"], ["192.0.2.7"]) == "198.51.100.1"
    assert said(location, "192.0.2.7", ["nonsense"], ["192.0.2.7"]) is None
    assert said(location, None) is said(location, "socket") is None


@pytest.mark.parametrize(
    ("location", "here"),
    [("http://localhost", True), ("http://127.9.9.9/x", True), ("https://[::1]:1", True), ("http://[::2]", False),
     ("http://localhost.org", False), ("https://127.0.0.1.example.org", False), ("http://[", False), ("", False)],
)  # fmt: skip
def test_what_is_here(location: str, here: bool) -> None:
    """Loopback, by its name or its addresses."""
    assert is_here(location) is here
    assert is_loopback("localhost") is True


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.7", "192.0.2.7"), ("2001:db8::1:2:3:4", "2001:db8::/64"), (None, "unknown"), ("nonsense", "unknown")],
)
def test_what_one_caller_has(address: str | None, network: str) -> None:
    """An address, or a network of the size that one connection is given."""
    assert network_of(address) == network
