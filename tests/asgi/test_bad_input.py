"""What no honest client sends, octet by octet through real servers; the allowed one beside it."""

from __future__ import annotations

import pytest

from .conftest import Guard, Guarded, Office, narrowed

OK = (200, "")
MISSING = (401, "credential-missing")
MALFORMED = (401, "malformed")
INVALID = (403, "context-invalid")
REFUSED = (403, "caveat-refused")
NO_VALUE = (403, "context-missing")


@pytest.fixture
def token(shared_office: Office) -> str:
    """A token that allows everything."""
    return shared_office.mint()


def authorized(guarded: Guarded, *lines: str | bytes) -> tuple[int, str]:
    """The outcome of a GET with these header lines."""
    return guarded.send("/photos", None, *lines).outcome


def test_the_authorization_header(guarded: Guarded, token: str) -> None:
    """Exactly one, ``Bearer`` in any case, spaces, one token or bundle: everything else is refused."""
    for good in (f"Authorization: Bearer {token}", f"AUTHORIZATION: bEARER    {token}"):
        assert authorized(guarded, good) == OK
    bearer = f"Authorization: Bearer {token}"
    assert authorized(guarded, bearer, bearer) == (400, "bad-request")
    assert authorized(guarded, bearer, "authorization: Basic YTpi") == (400, "bad-request")
    assert authorized(guarded, "Authorization: Basic YTpi", bearer) == (400, "bad-request")
    for nothing in (
        "Authorization:",
        "Authorization: Basic YTpi",
        f"Authorization: {token}",
        f"Authorization: Token {token}",
        f"Authorization: Bearer\t{token}",
        f"Authorization: Macaroon {token}",
        f"Proxy-Authorization: Bearer {token}",
        f"X-Authorization: Bearer {token}",
        f"Cookie: macaroon-capsvc={token}",
        f"Macaroons: {token}",
    ):
        assert authorized(guarded, nothing) == MISSING, nothing
    for bad in (
        "Authorization: Bearer",
        "Authorization: Bearer ",
        f"Authorization: Bearer {token},{token}",
        f"Authorization: Bearer {token}, Bearer {token}",
        f"Authorization: Bearer {token}, Basic YTpi",
        f"Authorization: Bearer {token} {token}",
        f'Authorization: Bearer token="{token}"',
        f"Authorization: Bearer {token}~",
        f"Authorization: Bearer {token}=",
        f"Authorization: Bearer {token[:-1]}é",
        b"Authorization: Bearer " + token.encode()[:-1] + b"\xff",
        b"Authorization: Bearer \xc3\xa9\x80",
    ):
        assert authorized(guarded, bad) == MALFORMED, bad


def test_a_token_elsewhere(guarded: Guarded, token: str) -> None:
    """In the query or in a form it is none; beside a good header it changes nothing."""
    for target in (
        f"/photos?access_token={token}",
        f"/photos?token={token}",
        f"/photos?authorization=Bearer%20{token}",
    ):
        assert guarded.send(target, None).outcome == MISSING
    assert guarded.send("/photos?access_token=AgEE", token).outcome == OK
    form = f"access_token={token}".encode()
    head = b"POST /photos HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n" % len(form)
    assert guarded.raw(head + b"Content-Type: application/x-www-form-urlencoded\r\n\r\n" + form).outcome == MISSING


def test_large_headers(guarded: Guarded, token: str) -> None:
    """Over 64 KiB in all is 431, whatever they hold; under it a bundle of 32 KiB is read, and a longer one refused.

    h11 by itself refuses what is over 64 KiB with the request line, so exact bounds are `test_the_bound_on_headers`'.
    """
    assert guarded.send("/photos", token, f"X: {'v' * 60_000}").outcome == OK
    assert guarded.send("/photos", "A" * 32_769).outcome == (401, "too-large")
    assert guarded.send("/photos", "~".join(["A" * 1_820] * 18)).outcome == (401, "too-large")
    assert guarded.send("/photos", "A" * 16_385).outcome == (401, "too-large")
    assert guarded.send("/photos", token, f"X: {'v' * 70_000}").status in {400, 431}


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_bound_on_headers(office: Office, guard: Guard, over: int) -> None:
    """Names, values, colons and line ends: 65,536 octets pass."""
    token = office.mint()
    running = guard(office, server={"http": "httptools"})
    fixed = [("host", "localhost"), ("authorization", f"Bearer {token}"), ("connection", "close"), ("x", "")]
    rest = 65_536 + over - sum(len(name) + len(value) + 4 for name, value in fixed)
    heard = running.send("/photos", token, f"X: {'v' * rest}")
    assert heard.outcome == ((431, "too-large") if over > 0 else OK)
    assert running.send("/photos", None, f"X: {'v' * 65_536}").outcome == (431, "too-large")


def test_http_1_0(guarded: Guarded, token: str) -> None:
    """A request of HTTP/1.0 without Host has no host: a caveat on it is not met, all others are."""
    here = narrowed(token, "host = localhost")
    for version in ("1.0", "1.1"):
        assert guarded.send("/photos", here, version=version).outcome == OK
        assert guarded.send("/photos", narrowed(token, "host = elsewhere"), version=version).outcome == REFUSED
    assert guarded.send("/photos", token, version="1.0", host=None).outcome == OK
    assert guarded.send("/photos", here, version="1.0", host=None).outcome == NO_VALUE


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("localhost", "localhost"),
        ("LocalHost", "localhost"),
        ("localhost:8080", "localhost"),
        ("localhost.", "localhost"),
        ("localhost.:8080", "localhost"),
        ("[::1]", "::1"),
        ("[::1]:8080", "::1"),
        ("127.0.0.1:8080", "127.0.0.1"),
        ("localhost..", None),
        ("local_host", None),
        ("user@localhost", None),
        ("localhost:80:80", None),
        ("localhost:port", None),
        ("localhost/x", None),
        ("localhost, elsewhere", None),
        ("[0:0::1]", None),
        ("[::ffff:127.0.0.1]", None),
        ("::1", None),
        ("127.1", None),
        ("xn--caf-dma.example", "xn--caf-dma.example"),
    ],
)
def test_hosts(guarded: Guarded, token: str, host: str, named: str | None) -> None:
    """The host of the request's authority, in lower case and without port, brackets and one dot; else none."""
    wanted = named or "localhost"
    assert guarded.send("/photos", token, host=host).outcome == OK
    outcome = guarded.send("/photos", narrowed(token, f"host = {wanted}"), host=host).outcome
    assert outcome == (OK if named else NO_VALUE)


def test_two_hosts(guarded: Guarded, token: str) -> None:
    """Nobody can tell which one counts: h11 refuses the request, and otherwise it has no host."""
    heard = guarded.send("/photos", narrowed(token, "host = localhost"), "Host: localhost")
    assert heard.status == 400 or heard.outcome == NO_VALUE
    assert guarded.send("/photos", narrowed(token, "host = localhost")).outcome == OK


PATHS = [
    "/plain//b",
    "//plain",
    "/plain/../photos",
    "/plain/./b",
    "/plain/..;/photos",
    "/plain/..%3B/photos",
    "/plain/%2e%2e/photos",
    "/plain/%2E%2E/photos",
    "/plain/.%2E/photos",
    "/plain/%252e%252e/photos",
    "/plain/a%2Fb",
    "/plain/a%2fb",
    "/plain/a%252Fb",
    "/plain/a%5Cb",
    "/plain/a%00",
    "/plain/a%0D%0Ab",
    "/plain/a%7F",
    "/plain/a%C2%85",
    "/plain/a%FF",
    "/plain/a%C0%AF",
    "/plain/a%41",
    "/plain/a%7e",
    "/plain/a%c3%a9",
    "/plain/a%3Fb",
    "/plain/a%23b",
    "/plain/a%25b",
    "/plain/a%",
    "/plain/a%zz",
    "/plain/a|b",
    '/plain/a"b',
]


@pytest.mark.parametrize("path", PATHS)
def test_paths(guarded: Guarded, token: str, path: str) -> None:
    """A path in no normal form is refused, and never repaired; so no caveat on paths has to understand it.

    A server may refuse it by itself. Without a token nobody learns even that.
    """
    heard = guarded.send(path, token)
    assert heard.status == 400 or heard.outcome == INVALID, path
    heard = guarded.send(path, None)
    assert heard.status == 400 or heard.outcome == MISSING, path


def test_paths_beside_them(guarded: Guarded, token: str) -> None:
    """The same without what is wrong with them: allowed, and seen by the application as they were judged."""
    for path, seen in {
        "/plain/b": "/plain/b",
        "/plain/..a": "/plain/..a",
        "/plain/%C3%A9": "/plain/é",
        "/plain/a%20b": "/plain/a b",
        "/plain/a%2Bb": "/plain/a+b",
        "/plain/a;b=c": "/plain/a;b=c",
        "/plain/a/": "/plain/a/",
    }.items():
        heard = guarded.send(path, narrowed(token, "path under /plain", "path under /"))
        assert (heard.status, heard.json["path"]) == (200, seen)
    longest = "/plain/" + "a" * (2048 - 7)
    assert guarded.send(longest, token).outcome == OK
    assert guarded.send(f"{longest}a", token).outcome == INVALID


def test_targets_that_are_no_path(guarded: Guarded, token: str) -> None:
    """Absolute, authority and asterisk form; where a server makes a path of the first, that path is judged."""
    inside = narrowed(token, "path under /plain")
    for target in ("http://localhost/plain/b", "http://elsewhere.example/plain/b"):
        heard = guarded.send(target, inside)
        assert heard.outcome == INVALID or heard.json["path"] == "/plain/b"
    for target in ("http://localhost/plain/../photos", "http://localhost/photos"):
        assert guarded.send(target, inside).outcome in {INVALID, REFUSED}, target
    assert guarded.send("http://localhost/plain/../photos", token).outcome == INVALID
    for line in (
        "GET http://localhost HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET * HTTP/1.1",
        "GET localhost:80 HTTP/1.1",
        "CONNECT localhost:80 HTTP/1.1",
    ):
        head = f"{line}\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        heard = guarded.raw(head.encode())
        assert heard.status == 400 or heard.outcome == INVALID, line


def test_methods_that_are_none(guarded: Guarded, token: str) -> None:
    """A method that no caveat could name makes no context; a lower-case one is another method."""
    for method, outcome in (("get", REFUSED), ("GE!T", INVALID), ("$", INVALID)):
        head = f"{method} /plain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        heard = guarded.raw(f"{head}Authorization: Bearer {narrowed(token, 'method = GET')}\r\n\r\n".encode())
        assert heard.status == 400 or heard.outcome == outcome, method
