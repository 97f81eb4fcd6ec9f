"""Both clients on real sockets, with servers that do what servers should not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from capsvc.client import AsyncClient, Client, ServiceError

from .conftest import CREDENTIAL, Serve

Ask = Callable[..., Any]


def _sync(url: str, timeout: float = 10) -> Any:
    with Client(url, CREDENTIAL, timeout=timeout) as client:
        return client.authorize("AgEE", audience="photos")


def _async(url: str, timeout: float = 10) -> Any:
    async def run() -> Any:
        async with AsyncClient(url, CREDENTIAL, timeout=timeout) as client:
            return await client.authorize("AgEE", audience="photos")

    return asyncio.run(run())


@pytest.fixture(params=[_sync, _async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Asks for one decision."""
    chosen: Ask = request.param
    return chosen


GOOD = (
    b'{"allowed":true,"id":"AAAAAAAAAAAAAAAAAAAAAA","audience":"photos","subject":null,'
    b'"issued_at":"2026-11-22T12:00:00Z","expires_at":"2026-11-22T13:00:00Z","facts":{},"declared":{},"caveats":[]}'
)


def _http(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    lines = [b"HTTP/1.1 " + status, b"content-type: application/json", b"connection: close", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def test_a_good_answer(ask: Ask, serve_octets: Serve) -> None:
    """The positive control of this module: a right answer octet by octet is a grant."""
    grant = ask(serve_octets(_http(GOOD, b"content-length: %d" % len(GOOD))))
    assert grant.audience == "photos"


@pytest.mark.parametrize(
    ("octets", "status", "code"),
    [
        (b"\x00\x01\x02\x03 not http at all\r\n\r\n", None, "bad-answer"),
        (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", None, "bad-answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 1_000_000 + b"\r\n\r\n", None, "bad-answer"),
        (_http(GOOD[:50], b"content-length: %d" % len(GOOD)), None, "bad-answer"),
        (_http(GOOD, b"content-length: %d" % len(GOOD), b"content-encoding: gzip"), 200, "bad-answer"),
        (_http(b"", b"content-length: 0", b"location: http://127.0.0.1:1/", status=b"307 T"), 307, "bad-answer"),
        (_http(b"", b"content-length: 0", status=b"500 Oops"), 500, "unavailable"),
        (_http(b'"' + b"x" * (9 * 1024 * 1024) + b'"'), 200, "bad-answer"),
    ],
    ids=["noise", "header", "long header", "cut off", "compressed", "redirect", "500", "huge"],
)
def test_bad_answers(ask: Ask, serve_octets: Serve, octets: bytes, status: int | None, code: str) -> None:
    """Noise, cut-off, compressed, redirecting and endless answers are all a `ServiceError`."""
    with pytest.raises(ServiceError) as caught:
        ask(serve_octets(octets))
    assert (caught.value.status, caught.value.code) == (status, code)
    assert CREDENTIAL not in str(caught.value)


def test_nobody_listens(ask: Ask, serve_octets: Serve, closed_port: int) -> None:
    """A port at which nobody listens is `unavailable`, without a status."""
    with pytest.raises(ServiceError) as caught:
        ask(f"http://127.0.0.1:{closed_port}")
    assert (caught.value.status, caught.value.code) == (None, "unavailable")


def test_silence(ask: Ask, serve_octets: Serve) -> None:
    """A server that says nothing is given up, without a status."""
    with pytest.raises(ServiceError, match="in time") as caught:
        ask(serve_octets(b""), timeout=0.3)
    assert (caught.value.status, caught.value.code) == (None, "unavailable")


def test_plain_text_where_tls_is_expected(ask: Ask, serve_octets: Serve) -> None:
    """An https address that answers in plain text gets nothing and is an error."""
    url = serve_octets(_http(GOOD)).replace("http://", "https://")
    with pytest.raises(ServiceError) as caught:
        ask(url)
    assert (caught.value.status, caught.value.code) == (None, "unavailable")


def test_proxies_of_the_environment(ask: Ask, serve_octets: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over http, no proxy that the environment names sees the credential."""
    proxy = serve_octets(_http(b'{"allowed":false,"code":"revoked","message":"proxy","caveat":null}'))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask(serve_octets(_http(GOOD))).audience == "photos"
