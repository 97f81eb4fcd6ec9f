"""What reaches the service without a gateway, or from one that is set up wrongly: over real sockets, octet by octet."""

from __future__ import annotations

import pytest

from .conftest import Authority
from .gateway import Answer, exchange, request

Header = tuple[str, str | bytes]

TOLD: dict[str, str] = {
    "X-Forwarded-Method": "GET",
    "X-Forwarded-Uri": "/photos/1",
    "X-Forwarded-Host": "app.example.org",
    "X-Forwarded-For": "127.0.0.9",
}


def ask(authority: Authority, *headers: Header, source: str = "127.0.0.1", **more: str) -> Answer:
    """A question with exactly those headers."""
    octets = request("/v1/forward-auth", *headers, version=more.get("version", "1.1"), host=more.get("host"))
    return exchange(authority.port, octets, "GET", source)


def told(token: str, *without: str) -> list[Header]:
    """A gateway's headers but for some, and the caller's credential."""
    return [("Authorization", f"Bearer {token}"), *(one for one in TOLD.items() if one[0] not in without)]


@pytest.fixture(scope="module")
def token(authority: Authority) -> str:
    """A token that is good for what is told."""
    return authority.token("path = /photos/1", "method = GET", "host = app.example.org", "ip in 127.0.0.9/32")


def test_from_the_proxy_alone(authority: Authority, token: str) -> None:
    """By the address of the socket: another address of the same machine is refused, whatever it says of itself."""
    assert ask(authority, *told(token), host="x").status == 200
    for more in ((), (("Forwarded", "for=127.0.0.1"),), (("X-Real-IP", "127.0.0.1"),)):
        assert ask(authority, *told(token), *more, host="x", source="127.0.0.2").status == 403
    spoofed = [*told(token, "X-Forwarded-For"), ("X-Forwarded-For", "127.0.0.1")]
    assert ask(authority, *spoofed, host="x", source="127.0.0.2").status == 403


@pytest.mark.parametrize("name", TOLD)
def test_each_header_exactly_once(authority: Authority, token: str, name: str) -> None:
    """Absent, twice in two lines, or in another spelling."""
    assert ask(authority, *told(token), host="x").status == 200
    without = told(token, name)
    assert ask(authority, *without, host="x").status == 403
    assert ask(authority, *without, (name.replace("-", "_"), TOLD[name]), host="x").status == 403
    assert ask(authority, *told(token), (name.lower(), TOLD[name]), host="x").status == 403
    assert ask(authority, *told(token), (name, ""), host="x").status == 403
    assert ask(authority, *without, (name.upper(), TOLD[name]), host="x").status == 200
    assert ask(authority, *told(token), (name.replace("-", "_"), "/admin"), host="x").status == 200


@pytest.mark.parametrize("value", [b"/photos/1\xc3\xa9", b"/photos/\x001", b"/photos/1\x7f", b"\xff"])
def test_octets_that_no_path_has(authority: Authority, token: str, value: bytes) -> None:
    """By the service, or by the HTTP parser in front of it."""
    headers = told(token, "X-Forwarded-Uri")
    assert ask(authority, *headers, ("X-Forwarded-Uri", b"   /photos/1"), host="x").status == 200
    assert ask(authority, *headers, ("X-Forwarded-Uri", value), host="x").status in {400, 403}


def test_two_credentials(authority: Authority, token: str) -> None:
    """401 with its challenge."""
    answer = ask(authority, *told(token), ("authorization", f"Bearer {token}"), host="x")
    assert (answer.status, str(answer.header("www-authenticate"))[:21]) == (401, 'Bearer realm="capsvc"')


def test_http_1_0_without_a_host(authority: Authority, token: str) -> None:
    """It is the told host that counts, and the gateway's own may be absent in HTTP/1.0."""
    assert ask(authority, *told(token), version="1.0").status == 200
    assert ask(authority, *told(token)).status == 400


@pytest.mark.parametrize(
    "announced", [("Content-Length", "1000000"), ("Transfer-Encoding", "chunked"), ("Expect", "100-continue")]
)
def test_no_body_is_waited_for(authority: Authority, token: str, announced: Header) -> None:
    """A gateway that leaves a body out and its length in is answered at once."""
    octets = request("/v1/forward-auth", *told(token), announced, host="x", method="POST")
    assert exchange(authority.port, octets, "POST").status == 200


def test_headers_that_are_too_large(authority: Authority, token: str) -> None:
    """Up to 64 KiB in all, then 431."""
    assert ask(authority, *told(token), ("Cookie", "x" * 60_000), host="x").status == 200
    assert ask(authority, *told(token), ("Cookie", "x" * 66_000), host="x").status == 431


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS", "PROPFIND", "M-SEARCH"])
def test_any_method(authority: Authority, token: str, method: str) -> None:
    """It is the told method that counts, and the answer always says who it is."""
    answer = exchange(authority.port, request("/v1/forward-auth", *told(token), host="x", method=method), method)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.header("x-capsvc-subject") == ""
    assert answer.header("x-capsvc-token-id")
    assert answer.header("cache-control") == "no-store"
