"""Whose address counts: the socket's, unless a proxy that is trusted says another's; and which host was asked."""

from __future__ import annotations

import pytest

from capsvc.addresses import client_address, host_of, is_proxy, read_proxies

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


@pytest.mark.parametrize(
    ("peer", "known"),
    [
        ("127.0.0.1", True),
        ("10.255.0.1", True),
        ("::ffff:127.0.0.1", True),
        ("2001:db8:ffff::1", True),
        ("127.0.0.2", False),
        ("::1", False),
        ("2001:db9::1", False),
        ("127.0.0.1:80", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
        ("", False),
        (None, False),
    ],
)
def test_who_is_a_proxy(peer: str | None, known: bool) -> None:
    """An address of one of the networks; nothing that is no address, and nobody where nobody is trusted."""
    assert is_proxy(peer, INNER) is known
    assert not is_proxy(peer, ())


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("example.org", "example.org"),
        ("EXAMPLE.Org:8443", "example.org"),
        ("example.org.", "example.org"),
        ("example.org.:443", "example.org"),
        ("example.org:", "example.org"),
        ("localhost", "localhost"),
        ("192.0.2.1:80", "192.0.2.1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:DB8::1]:443", "2001:db8::1"),
    ],
)
def test_hosts(authority: str, host: str) -> None:
    """Lower-case, without port, brackets and one trailing dot."""
    assert host_of(authority) == host


@pytest.mark.parametrize(
    "authority",
    [
        "",
        ".",
        ":80",
        "_",
        "a_b.example",
        "example.org..",
        ".example.org",
        "a..b",
        "-a.example",
        "user@example.org",
        "example.org/",
        "example.org:80:80",
        "example.org:http",
        "example.org:123456",
        "example.org:-1",
        " example.org",
        "example.org ",
        "example.org,evil.example",
        "example.org\x00",
        "2001:db8::1",
        "[2001:db8::1",
        "[2001:db8:0::1]",
        "[2001:db8::1].",
        "[2001:db8::1%eth0]",
        "[::ffff:192.0.2.1]",
        "[192.0.2.1]",
        "[example.org]",
        "192.0.2.01",
        "1.2.3",
        "example.123",
        "ex\u212aample.org",
        "m\xfcnchen.example",
        "a" * 64,
        "a." * 40_000,
    ],
)
def test_no_host(authority: str) -> None:
    """What is then no host is none; nothing is guessed at."""
    assert host_of("xn--mnchen-3ya.example") == "xn--mnchen-3ya.example"
    assert host_of(authority) is None
