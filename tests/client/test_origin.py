"""Where a credential may go."""

from __future__ import annotations

import pytest

from capsvc.client.origin import is_loopback, may_be_here, read_origin

ACCEPTED = [
    ("http://127.0.0.1:8700", "http://127.0.0.1:8700", False, True),
    ("http://127.0.0.1:8700/", "http://127.0.0.1:8700", False, True),
    ("http://127.8.9.10", "http://127.8.9.10", False, True),
    ("http://localhost:8700", "http://localhost:8700", False, True),
    ("http://LOCALHOST", "http://localhost", False, True),
    ("http://[::1]:8700", "http://[::1]:8700", False, True),
    ("https://127.0.0.1", "https://127.0.0.1", True, True),
    ("https://tokens.example.org", "https://tokens.example.org", True, False),
    ("https://tokens.example.org/auth/", "https://tokens.example.org/auth", True, False),
    ("HTTPS://tokens.example.org:8443", "https://tokens.example.org:8443", True, False),
]

REFUSED = [
    "",
    "tokens.example.org",
    "//127.0.0.1:8700",
    "ftp://127.0.0.1",
    "file:///etc/passwd",
    "http://",
    "https://",
    "http:///v1",
    "http://tokens.example.org",
    "http://10.0.0.1:8700",
    "http://[2001:db8::1]",
    "http://0.0.0.0:8700",
    "http://127.1",
    "http://2130706433",
    "http://0x7f000001",
    "http://0177.0.0.1",
    "http://localhost.",
    "http://localhost.example.org",
    "http://127.0.0.1.example.org",
    "http://127.0.0.1@tokens.example.org",
    "http://tokens.example.org#@127.0.0.1",
    "http://tokens.example.org\\@127.0.0.1",
    "http://user:secret@127.0.0.1",
    "https://user@tokens.example.org",
    "https://tokens.example.org?x=1",
    "https://tokens.example.org#x",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:port",
    "http://127.0.0.1:8700\n",
    " http://127.0.0.1:8700",
    "http://127.0.0.1:87 00",
    "http://127.0.0.1\t.example.org",
    "https://t\u00f6kens.example.org",
    "https://" + "a" * 2050,
]


@pytest.mark.parametrize(("url", "base", "encrypted", "loopback"), ACCEPTED)
def test_addresses_that_may_get_a_credential(url: str, base: str, encrypted: bool, loopback: bool) -> None:
    """Any https address and http to this machine are taken, in one spelling."""
    assert read_origin(url) == (base, encrypted, loopback)


@pytest.mark.parametrize("url", REFUSED)
def test_addresses_that_may_not(url: str) -> None:
    """Anything else is refused, and the message does not repeat an address, for it may hold a password."""
    with pytest.raises(ValueError, match=r"address|credential") as caught:
        read_origin(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.255.255.254", True), ("::1", True), ("128.0.0.1", False), ("::2", False), ("a", False)],
)
def test_loopback(host: str, expected: bool) -> None:
    """Loopback is 127.0.0.0/8, ::1 and the name localhost, nothing beside them."""
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [("LOCALHOST.", True), ("a.LocalHost", True), ("0X7F.1", True), ("0x", True), ("fe80::1%eth0", True),
     ("%6cocalhost", True), ("255.0.0.1", False), ("1.example", False), ("x1", False), ("fd00::1", False)],
)  # fmt: skip
def test_what_may_be_here(host: str, expected: bool) -> None:
    """Whatever a resolver or a kernel may take for this machine or its own link."""
    assert may_be_here(host) is expected
