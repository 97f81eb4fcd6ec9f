"""The bounds on a connection, under both of uvicorn's parsers, over real sockets."""

from __future__ import annotations

import importlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn

from capsvc.http import protocols
from capsvc.web.problems import MAX_HEADER_BYTES, PER_HEADER

PARSERS = ["capsvc.http.fastprotocol:BoundedHttpTools", "capsvc.http.protocols:BoundedH11"]
FIXED = b"host: x\r\n"
FIXED_BYTES = len("host") + len("x") + PER_HEADER

LARGE = 32 * 1024 * 1024
"""More than the sockets of both ends hold by themselves."""

Connect = Callable[[], socket.socket]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the body; answer how long it was and which headers there were."""
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    if scope["path"] == "/large":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LARGE)]})
        await send({"type": "http.response.body", "body": bytes(LARGE)})
        return
    names = [name.decode() for name, _ in scope["headers"]]
    body = json.dumps({"length": length, "headers": names}).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(params=PARSERS, ids=["httptools", "h11"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """A server with one of the parsers; makes connections to it."""
    module, _, name = request.param.partition(":")
    config = uvicorn.Config(
        app,
        http=getattr(importlib.import_module(module), name),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    address = listener.getsockname()
    opened: list[socket.socket] = []

    def connection() -> socket.socket:
        opened.append(socket.create_connection(address, timeout=20))
        return opened[-1]

    yield connection
    for item in opened:
        item.close()
    server.should_exit = True
    thread.join()


def request(headers: bytes = b"", body: bytes = b"", target: bytes = b"/") -> bytes:
    """A whole request."""
    return b"POST %s HTTP/1.1\r\n%s%scontent-length: %d\r\n\r\n%s" % (target, FIXED, headers, len(body), body)


def field(total: int) -> bytes:
    """One header field that brings all of a `request`'s to ``total`` bytes, in the way that the bound counts."""
    rest = FIXED_BYTES + len("content-length") + len("0") + PER_HEADER
    return b"x: %s\r\n" % (b"v" * (total - rest - len("x") - PER_HEADER))


def until_closed(connection: socket.socket) -> bytes:
    """Everything that comes before the other end closes."""
    parts = []
    with suppress(ConnectionResetError):
        while part := connection.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def answer(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """One response with a JSON body."""
    stream = connection.makefile("rb")
    status = int(stream.readline().split()[1])
    headers = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return status, headers, json.loads(stream.read(int(headers["content-length"])))


def assert_refused(connection: socket.socket, status: int, code: str) -> None:
    """A problem with that code and a request id, and the connection closed."""
    found, headers, body = answer(connection)
    assert (found, body["status"], body["code"]) == (status, status, code)
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert headers["x-request-id"]
    assert "server" not in headers
    assert until_closed(connection) == b""


def test_headers_up_to_the_bound_pass(connect: Connect) -> None:
    """64 KiB in all, and so a 32 KiB bundle; the connection lives on."""
    connection = connect()
    for total in (MAX_HEADER_BYTES, 32_768 + 200):
        connection.sendall(request(field(total)))
        assert answer(connection)[0] == 200


@pytest.mark.parametrize("total", [MAX_HEADER_BYTES + 1, 70_000, 500_000])
def test_headers_past_the_bound_are_431(connect: Connect, total: int) -> None:
    """In one field, however they arrive; the connection is closed."""
    connection = connect()
    with suppress(ConnectionError):
        connection.sendall(request(field(total)))
    assert_refused(connection, 431, "too-large")


def test_many_small_headers_are_counted_together(connect: Connect) -> None:
    """No field is large."""
    connection = connect()
    connection.sendall(request(b"".join(b"x%d: 1234567890\r\n" % number for number in range(5_000))))
    assert_refused(connection, 431, "too-large")


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nx: ", b"GET /"], ids=["header", "request line"])
def test_a_head_without_an_end_is_431(connect: Connect, start: bytes) -> None:
    """What is not whole yet is counted too: nothing grows without bound."""
    connection = connect()
    with suppress(ConnectionError):
        connection.sendall(start)
        for _ in range(40):
            connection.sendall(b"a" * 8_192)
    assert_refused(connection, 431, "too-large")


def test_the_bound_holds_for_every_request_of_a_connection(connect: Connect) -> None:
    """A small one before it does not lend it anything, nor take anything away."""
    connection = connect()
    for _ in range(3):
        connection.sendall(request(field(40_000), b"b" * 30_000))
        assert answer(connection)[2]["length"] == 30_000
    connection.sendall(request(field(MAX_HEADER_BYTES + 1)))
    assert_refused(connection, 431, "too-large")


def test_a_body_does_not_count(connect: Connect) -> None:
    """Nor its chunks: bodies have their own bound, in the application."""
    connection = connect()
    connection.sendall(request(b"", b"b" * 200_000))
    assert answer(connection)[2]["length"] == 200_000


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    ],
    ids=["TLS", "two lengths", "negative length", "space before colon", "framed twice"],
)
def test_what_is_no_http_is_400(connect: Connect, garbage: bytes) -> None:
    """As a problem, and the connection is closed: nothing is guessed about what follows."""
    connection = connect()
    connection.sendall(garbage)
    assert_refused(connection, 400, "bad-request")


def test_a_trailer_is_no_header(connect: Connect) -> None:
    """What comes after the body cannot pose as what was judged before it."""
    connection = connect()
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    connection.sendall(head + b"2\r\nab\r\n0\r\nauthorization: Bearer x\r\n\r\n")
    status, _, body = answer(connection)
    assert (status, body["length"]) == (200, 2)
    assert "authorization" not in body["headers"]


def test_pipelined_requests_are_answered_in_order(connect: Connect) -> None:
    """The positive control of the next test."""
    connection = connect()
    connection.sendall(request(b"", b"a") + request(b"", b"bc"))
    stream = until = b""
    while stream.count(b'"length"') < 2:
        until = connection.recv(65_536)
        assert until
        stream += until
    assert stream.index(b'"length": 1') < stream.index(b'"length": 2')


def test_a_refusal_never_overtakes_an_answer(connect: Connect) -> None:
    """A refusal of the second request must not be read as the answer to the first."""
    connection = connect()
    connection.sendall(request(b"", b"a") + request(field(MAX_HEADER_BYTES + 1)))
    received = until_closed(connection)
    assert b"431" not in received.split(b"\r\n", 1)[0]


@pytest.mark.parametrize(
    "part",
    [b"", b"GET / HT", b"POST / HTTP/1.1\r\nhost: x\r\n", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab"],
    ids=["nothing", "request line", "headers", "body"],
)
def test_a_request_that_does_not_come_ends_its_connection(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, part: bytes
) -> None:
    """Whatever part of it is held back; a whole one before it is answered."""
    monkeypatch.setattr(protocols, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(protocols, "TICK_SECONDS", 0.1)
    connection = connect()
    if part:
        connection.sendall(request())
        assert answer(connection)[0] == 200
        connection.sendall(part)
    assert until_closed(connection) == b""


@pytest.mark.parametrize("after", [b"", b"GET / HT"], ids=["whole", "and the next one held back"])
def test_answers_that_nobody_takes_end_their_connection(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, after: bytes
) -> None:
    """They would hold it, and their octets, for as long as the caller likes."""
    for name, seconds in {"REQUEST_SECONDS": 0.5, "TAKING_SECONDS": 0.5, "TICK_SECONDS": 0.1}.items():
        monkeypatch.setattr(protocols, name, seconds)
    connection = connect()
    connection.sendall(request(target=b"/large") + after)
    time.sleep(1.5)
    assert len(until_closed(connection)) < LARGE


def test_answers_that_are_taken_slowly_arrive_whole(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may take longer than the bound, as long as something of it is taken."""
    for name, seconds in {"REQUEST_SECONDS": 0.4, "TAKING_SECONDS": 0.4, "TICK_SECONDS": 0.1}.items():
        monkeypatch.setattr(protocols, name, seconds)
    connection = connect()
    connection.sendall(request(target=b"/large"))
    received, began = 0, time.monotonic()
    while received < LARGE:
        time.sleep(0.05)
        part = connection.recv(2 * 1024 * 1024, socket.MSG_WAITALL)
        assert part
        received += len(part)
    assert time.monotonic() - began > 0.7


def test_connections_past_the_limit_are_closed_at_once(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those within it go on being served."""
    for module in (protocols,):
        monkeypatch.setattr(module, "most_connections", lambda: 2)
    first, second = connect(), connect()
    for connection in (first, second):
        connection.sendall(request())
        assert answer(connection)[0] == 200
    assert until_closed(connect()) == b""
    first.sendall(request())
    assert answer(first)[0] == 200


def test_a_caller_who_waits_to_be_asked_for_the_body_is_asked(connect: Connect) -> None:
    """``100 Continue`` is not held back for an answer that cannot come before the body."""
    connection = connect()
    connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(b"ab")
    status, _, body = answer(connection)
    assert (status, body["length"]) == (200, 2)


def test_a_last_answer_is_whole_before_the_connection_ends(connect: Connect) -> None:
    """What waits to be written goes out before the close that comes after it."""
    connection = connect()
    connection.sendall(b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1\r\n\r\na")
    stream = b""
    while octets := connection.recv(65_536):
        stream += octets
    assert stream.startswith(b"HTTP/1.1 200 ")
    assert b'"length": 1' in stream


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [("1.1", 1, 200), ("1.1", 0, 400), ("1.1", 2, 400), ("1.0", 0, 200), ("1.0", 1, 200), ("1.0", 2, 400)],
)
def test_one_host(connect: Connect, version: str, hosts: int, status: int) -> None:
    """HTTP/1.1 names exactly one, HTTP/1.0 at most one."""
    connection = connect()
    head = f"GET / HTTP/{version}\r\n" + "host: x\r\n" * hosts + "\r\n"
    connection.sendall(head.encode())
    assert int(connection.recv(65_536).split(b" ", 2)[1]) == status
