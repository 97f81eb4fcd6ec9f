"""What the middleware makes of a scope, value by value: header fields, path, host, address."""

from __future__ import annotations

from typing import Any

import pytest

from capsvc.addresses import read_proxies
from capsvc.asgi.fields import Fields, read_fields
from capsvc.asgi.targets import OF_THE_REQUEST, base_context, judged_path

PROXIES = read_proxies(["10.0.0.0/8", "::1"])


def context(*headers: tuple[bytes, bytes], proxies: Any = (), **changed: Any) -> dict[str, object]:
    """What is known of a request with these header fields."""
    given = {"type": "http", "method": "PUT", "path": "/x", "raw_path": b"/x", "headers": list(headers), **changed}
    return base_context(given, read_fields(given), proxies)


@pytest.mark.parametrize(
    ("root_path", "path", "raw_path", "judged"),
    [
        ("", "/a", b"/a", "/a"),
        ("", "/", b"/", "/"),
        ("", "/a b", b"/a%20b", "/a%20b"),
        ("", "/é", b"/%C3%A9", "/%C3%A9"),
        ("", "/é", b"/%c3%a9", "/%c3%a9"),
        ("", "/a%20b", b"/a%20b", "/a%20b"),
        ("", "/a/b", b"/a%2Fb", "/a%2Fb"),
        ("", "/a/../b", b"/a/%2e%2e/b", "/a/%2e%2e/b"),
        ("", "/a\0", b"/a%00", "/a%00"),
        ("", "/a", b"/a?b=c", "/a"),
        ("", "/a", b"/a?b?c", "/a"),
        ("", "/\ufffd", b"/%FF", "/%FF"),
        ("", "/é", b"/\xe9", "/é"),
        ("", "/è", b"/\xe9", ""),
        ("", "http://h/a", b"http://h/a", "http://h/a"),
        ("", "*", b"*", "*"),
        ("", "/b", b"/a", ""),
        ("", "/a", b"/a/", ""),
        ("", "/a", b"", ""),
        ("", "/a b", b"/a%2520b", ""),
        ("", "/a", None, ""),
        ("/r", "/r/a", b"/r/a", "/r/a"),
        ("/r", "/r/a b", b"/r/a%20b", "/r/a%20b"),
        ("/r", "/a", b"/r/a", "/r/a"),
        ("/r", "/a", b"/a", "/r/a"),
        ("/r", "/r/a", b"/a", "/r/a"),
        ("/r", "/r", b"/r", "/r"),
        ("/r", "/ra", b"/ra", "/r/ra"),
        ("/r/", "/a", b"/a", "/r/a"),
        ("/rX", "/a", b"/a", "/rX/a"),
        ("/r", "/a", b"/s/a", ""),
        ("/r", "/s/a", b"/a", ""),
        ("/r", "/a", b"/rr/a", ""),
    ],
)
def test_paths(root_path: str, path: str, raw_path: bytes | None, judged: str) -> None:
    """As sent and whole; empty, which is no path, where the application would see another resource.

    What is in no normal form stays as it is: the decision says so, in its turn.
    """
    assert judged_path({"path": path, "raw_path": raw_path, "root_path": root_path}) == judged


def test_a_server_that_knows_no_root_path() -> None:
    """It need not say that there is none."""
    assert judged_path({"path": "/a", "raw_path": b"/a"}) == "/a"


def test_the_method() -> None:
    """As it was sent; of a WebSocket, GET, for that is how it begins."""
    assert context()["method"] == "PUT"
    assert context(method="get")["method"] == "get"
    assert context(type="websocket", method=None)["method"] == "GET"


def test_the_host() -> None:
    """Of the one Host field; two, or one that holds no host, give none."""
    assert context((b"host", b"Photos.Example.:443"))["host"] == "photos.example"
    for fields in ((), ((b"host", b"a_b"),), ((b"host", b""),), ((b"host", b"\xe9"),), ((b"host", b"a"),) * 2):
        assert "host" not in context(*fields), fields


@pytest.mark.parametrize(
    ("peer", "forwarded", "known"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", [b"203.0.113.9"], "192.0.2.7"),
        ("192.0.2.7", [b"nonsense"], "192.0.2.7"),
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", [b"203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", [b"198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", [b"198.51.100.1", b"203.0.113.9, 10.9.9.9"], "203.0.113.9"),
        ("::ffff:10.1.2.3", [b"2001:db8::1"], "2001:db8::1"),
        ("::1", [b"::ffff:203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", [b"10.2.2.2,10.3.3.3"], "10.2.2.2"),
        ("10.1.2.3", [b"nonsense"], ""),
        ("10.1.2.3", [b""], ""),
        ("10.1.2.3", [b"\xe9"], ""),
        ("10.1.2.3", [b"203.0.113.9:80"], ""),
        ("10.1.2.3", [b"nonsense, 203.0.113.9"], "203.0.113.9"),
        ("fe80::1%eth0", [b"203.0.113.9"], None),
        ("unix", [b"203.0.113.9"], None),
        (None, [b"203.0.113.9"], None),
    ],
)
def test_addresses(peer: str | None, forwarded: list[bytes], known: str | None) -> None:
    """The peer's, or the rightmost that is no trusted proxy's; of no type where a trusted proxy tells nonsense."""
    fields = [(b"x-forwarded-for", value) for value in forwarded]
    client = None if peer is None else (peer, 1)
    assert context(*fields, client=client, proxies=PROXIES).get("ip") == known
    trusting_nobody = context(*fields, client=client).get("ip")
    assert trusting_nobody == (None if known is None else peer and peer.removeprefix("::ffff:"))


def test_nothing_else_is_known() -> None:
    """These four names, and no route may say them again."""
    full = context((b"host", b"a"), (b"x-forwarded-host", b"b"), (b"x-original-url", b"/b"), client=("192.0.2.7", 1))
    assert full == {"method": "PUT", "path": "/x", "host": "a", "ip": "192.0.2.7"}
    assert full.keys() == OF_THE_REQUEST


def test_fields() -> None:
    """Every value of those that are read, in order, whatever the case of the name; and the size of all."""
    headers = [(b"Host", b"a"), (b"x-other", b"12345"), (b"host", b"b"), (b"authorization", b"Bearer secret")]
    fields = read_fields({"headers": headers})
    assert fields.all(b"host") == [b"a", b"b"]
    assert fields.one(b"host") is None
    assert fields.one(b"authorization") == b"Bearer secret"
    assert (fields.one(b"cookie"), fields.all(b"cookie"), fields.all(b"x-other")) == (None, [], [])
    assert fields.size == sum(len(name) + len(value) + 4 for name, value in headers)
    assert read_fields({"headers": []}).size == 0
    assert "secret" not in repr(fields)
    assert repr(Fields({}, 3)) == "<Fields 3>"
    names = [
        b"authorization",
        b"host",
        b"x-forwarded-for",
        b"bakery-protocol-version",
        b"cookie",
        b"macaroons",
        b"origin",
    ]
    assert all(read_fields({"headers": [(name.upper(), b"v")]}).one(name) == b"v" for name in names)
