"""Whose address counts: the socket's, unless a proxy that is trusted says another's."""

from __future__ import annotations

import pytest

from capsvc.discharge.addresses import client_address, read_proxies

INNER = read_proxies(["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", ["198.51.100.1, 192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", ["198.51.100.1,192.0.2.1\t, 10.1.2.3"], "192.0.2.1"),
        ("127.0.0.1", ["198.51.100.1", "192.0.2.1, 10.1.2.3", "10.9.9.9"], "192.0.2.1"),
        ("127.0.0.1", ["nonsense, 192.0.2.1"], "192.0.2.1"),
        ("127.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ("::ffff:127.0.0.1", ["::ffff:192.0.2.1"], "192.0.2.1"),
        ("2001:db8::1", ["2001:0DB9::0:1"], "2001:db9::1"),
    ],
)
def test_the_rightmost_that_is_no_proxy(peer: str, forwarded: list[str], address: str) -> None:
    """Entries are read from the right, each only if whoever wrote it is trusted; if all are proxies, the leftmost."""
    assert client_address(peer, forwarded, INNER) == address


@pytest.mark.parametrize(
    ("peer", "forwarded"),
    [
        (None, []),
        (None, ["192.0.2.1"]),
        ("", []),
        ("a unix socket", ["192.0.2.1"]),
        ("127.0.0.1", [""]),
        ("127.0.0.1", ["192.0.2.1, "]),
        ("127.0.0.1", ["192.0.2.1,,10.1.1.1"]),
        ("127.0.0.1", ["unknown"]),
        ("127.0.0.1", ["192.0.2.1:443"]),
        ("127.0.0.1", ["[2001:db9::1]"]),
        ("127.0.0.1", ["192.0.2.01"]),
        ("fe80::1%eth0", []),
        ("127.0.0.1", ["fe80::1%eth0"]),
    ],
)
def test_no_address(peer: str | None, forwarded: list[str]) -> None:
    """What counts and is no address is an error, never another entry."""
    with pytest.raises(ValueError, match="address"):
        client_address(peer, forwarded, INNER)


def test_nobody_is_trusted_by_default() -> None:
    """Without proxies the header is of no account."""
    assert client_address("127.0.0.1", ["192.0.2.1"], ()) == "127.0.0.1"


@pytest.mark.parametrize("text", ["", "x", "10.0.0.1/8", "0.0.0.0/0", "::/0", "10.0.0.0/33", "localhost"])
def test_proxies_that_are_none(text: str) -> None:
    """A proxy is an address or a network in its plain form, and never everybody."""
    assert read_proxies(["10.0.0.1"])
    with pytest.raises(ValueError, match="prox"):
        read_proxies([text])
