"""Where third parties can be."""

import pytest

from capsvc.macaroon.location import LOCATION_OCTETS, check_location

GOOD = [
    "https://id.example.org",
    "https://id.example.org/",
    "http://127.0.0.1:9",
    "http://[::1]:8701/a",
    "https://ID.example.org:65535/a/b%20c/",
    "https://a",
    "https://a/" + "b" * (LOCATION_OCTETS - 10),
]
BAD = [
    "",
    "id.example.org",
    "ftp://id.example.org",
    "HTTPS://id.example.org",
    "https:/id.example.org",
    "https://",
    "https:///a",
    "https://a:0",
    "https://a:65536",
    "https://a:",
    "https://user@a",
    "https://user:word@a",
    "https://a?x",
    "https://a/#x",
    "https://a/x=y",
    "https://a b",
    "https://a\\b",
    "https://a\n",
    "https://é.example.org",
    "https://[::1",
    "https://[::1%25eth0]",
    "https://[1.2.3.4]",
    "https://[:::]",
    "https://a/" + "b" * (LOCATION_OCTETS - 9),
]


@pytest.mark.parametrize("text", GOOD)
def test_locations(text: str) -> None:
    """URLs of scheme, host, port and path."""
    check_location(text)
    assert LOCATION_OCTETS == 512


@pytest.mark.parametrize("text", BAD)
def test_no_locations(text: str) -> None:
    """Everything else, with one sentence that repeats nothing of it."""
    with pytest.raises(ValueError, match="a location is an http or https URL of host, port and path, without ="):
        check_location(text)
