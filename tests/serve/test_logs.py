"""The outermost layer: request ids, one line a request, and faults that show nothing to anybody."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from capsvc.http.logs import AccessLog
from capsvc.web.problems import MAX_HEADER_BYTES

NOON = 1_795_348_800  # 2026-11-22T12:00:00Z
LINE = re.compile(r"2026-11-22T12:00:00Z (\S+) (\S+) (\d+) \d+\.\dms (\S+)\n")
SECRET = "Bearer-secret-marker"
OK = {"type": "http.response.start", "status": 200, "headers": ((b"a", b"b"),)}


class Exchange:
    """One request to an application within `AccessLog`."""

    def __init__(self, app: Callable[..., Any], stream: Any = None, **scope: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self.stream = stream or io.StringIO()
        self.scope = {"type": "http", "method": "GET", "path": "/secret", "headers": [], **scope}
        outer = AccessLog(app, self.stream, clock=lambda: NOON)
        asyncio.run(outer(self.scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def headers(self) -> dict[bytes, bytes]:
        """Of the response."""
        return dict(self.sent[0]["headers"])

    @property
    def line(self) -> tuple[str, ...]:
        """Method, route, status and request id, as logged."""
        found = LINE.fullmatch(self.stream.getvalue())
        assert found, self.stream.getvalue()
        return found.groups()


async def fine(scope: Any, receive: Any, send: Any) -> None:
    """Answer 200."""
    scope["route"] = "/things/{id}"
    await send(OK)
    await send({"type": "http.response.body", "body": b"x"})


def test_one_line_a_request() -> None:
    """When, method, route, status, how long, request id; and the id is on the response beside its own headers."""
    exchange = Exchange(fine, headers=[(b"x-request-id", b"abc-1")])
    assert exchange.line == ("GET", "/things/{id}", "200", "abc-1")
    assert exchange.headers == {b"a": b"b", b"x-request-id": b"abc-1"}
    assert exchange.scope["request_id"] == "abc-1"


def test_an_application_s_own_headers_are_left_alone() -> None:
    """They may be shared by all its responses."""
    Exchange(fine)
    assert OK["headers"] == ((b"a", b"b"),)


@pytest.mark.parametrize(
    "given",
    [
        [b""],
        [b"a b"],
        [b"a\nb"],
        [b"a\n"],
        [b"x" * 65],
        ["ü".encode()],
        [b"a/b"],
        [b"one", b"two"],
        [b"same", b"same"],
        [],
    ],
)
def test_an_unfit_request_id_is_replaced(given: list[bytes]) -> None:
    """So is one that came twice."""
    own = Exchange(fine, headers=[(b"x-request-id", value) for value in given]).headers[b"x-request-id"]
    assert re.fullmatch(rb"[0-9a-f]{12}-[0-9a-f]+", own)


@pytest.mark.parametrize("given", [b"x" * 64, b"A-z_0.9"])
def test_a_fit_request_id_is_kept(given: bytes) -> None:
    """Up to 64 of letters, digits and . _ -."""
    assert Exchange(fine, headers=[(b"x-request-id", given)]).headers[b"x-request-id"] == given


@pytest.mark.parametrize("method", ["BREW", "GET\n2026 forged", "G" * 5_000, "get"])
def test_a_method_that_nobody_knows_is_not_repeated(method: str) -> None:
    """It is the caller's text."""
    assert Exchange(fine, method=method).line[0] == "-"


def test_a_path_without_a_route_is_not_repeated() -> None:
    """Nor is its query."""

    async def missing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404})
        await send({"type": "http.response.body"})

    exchange = Exchange(missing, path="/secret", query_string=b"token=secret")
    assert exchange.line[1:3] == ("-", "404")


@pytest.mark.parametrize("over", [0, 1])
def test_headers_are_bounded_under_any_server(over: int) -> None:
    """One that does not count them itself gets a 431 that tells it to close."""
    value = b"v" * (MAX_HEADER_BYTES - len(b"x") - 4 + over)
    exchange = Exchange(fine, headers=[(b"x", value)])
    assert exchange.sent[0]["status"] == (431 if over else 200)
    if over:
        assert exchange.headers[b"connection"] == b"close"
        assert json.loads(exchange.sent[1]["body"])["code"] == "too-large"
        assert exchange.line[1:3] == ("-", "431")


def test_a_fault_shows_nothing_to_the_caller_and_no_message_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets a plain 500; the log gets types and places, of causes too."""

    async def faulty(scope: Any, receive: Any, send: Any) -> None:
        try:
            raise KeyError(SECRET)
        except KeyError:
            raise ValueError(SECRET) from None

    async def caused(scope: Any, receive: Any, send: Any) -> None:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise ValueError(SECRET) from error

    for app, types in ((faulty, ["ValueError"]), (caused, ["ValueError", "KeyError"])):
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            exchange = Exchange(app)
        assert exchange.sent[0]["status"] == 500
        assert exchange.headers[b"content-type"] == b"application/problem+json"
        body = exchange.sent[1]["body"].decode()
        assert json.loads(body)["code"] == "internal-error"
        assert exchange.line[2] == "500"
        (logged,) = caplog.messages
        assert all(f"{name} at " in logged for name in types)
        assert "test_logs.py" in logged
        assert exchange.line[3] in logged
        for text in (body, logged, caplog.text, exchange.stream.getvalue()):
            assert SECRET not in text
        assert "Traceback" not in body + caplog.text


def test_a_fault_in_the_middle_of_an_answer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is sent after it: the server sees an answer without an end."""

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send(OK)
        raise ValueError(SECRET)

    with caplog.at_level(logging.ERROR):
        exchange = Exchange(broken)
    assert [message["type"] for message in exchange.sent] == ["http.response.start"]
    assert len(caplog.messages) == 1


def test_a_caller_that_hangs_up_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """A line, but nothing that fills the log with faults."""

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        raise ClientDisconnect

    exchange = Exchange(waiting)
    assert exchange.line[2] == "499"
    assert caplog.messages == []


def test_a_log_that_cannot_be_written_stops_no_answer() -> None:
    """A full disk is not the caller's concern."""

    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

    closed = io.StringIO()
    closed.close()
    for stream in (Full(), closed):
        assert Exchange(fine, stream).sent[0]["status"] == 200


def test_other_scopes_pass_through() -> None:
    """A lifespan is no request."""
    seen = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    assert Exchange(inner, type="lifespan").stream.getvalue() == ""
    assert seen == ["lifespan"]
