"""`feed` of both clients: what is asked, what is given, how long is waited, and what is no page."""

from __future__ import annotations

import asyncio
import copy
import json
import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from capsvc import wire
from capsvc.authority import Authority
from capsvc.client import AsyncClient, Client, ServiceError
from capsvc.config import Settings
from capsvc.grants import FeedEntry, FeedPage

from ..cli.conftest import Live, live  # noqa: TID252 - the same service
from .conftest import CREDENTIAL, Played

__all__ = ["live"]

URL = "https://tokens.example.org"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
AT = "2026-11-22T12:00:00Z"
COMMON = {"audience": "photos", "at": AT}
ENTRIES: list[dict[str, Any]] = [
    {"kind": "id", **COMMON, "id": "A" * 22},
    {"kind": "branch", **COMMON, "id": "A" * 22, "branch": "B" * 43},
    {"kind": "subject", **COMMON, "subject": "alice", "before": AT},
    {"kind": "key", **COMMON, "kid": "0123456789abcdef", "state": "revoked"},
    {"kind": "audience", **COMMON, "name": "photos", "max_ttl": 60},
    {"kind": "attribute", "audience": None, "at": AT, "name": "floor"},
    {"kind": "discharger", "audience": None, "at": AT, "state": "removed", "name": "login"},
]
PAGE: dict[str, Any] = {"epoch": "e", "cursor": "e.7", "entries": ENTRIES, "more": True}

Call = Callable[[Any], Any]
Run = Callable[..., Any]


def _sync(transport: Any, call: Call, **options: Any) -> Any:
    with Client(URL, CREDENTIAL, transport=transport, **options) as client:
        return call(client)


def _async(transport: Any, call: Call, **options: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient(URL, CREDENTIAL, transport=transport, **options) as client:
            return await call(client)

    return asyncio.run(run())


@pytest.fixture(params=[_sync, _async], ids=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    """Calls one of the two clients, over a transport that is played."""
    return lambda service, call, **options: request.param(httpx.MockTransport(service), call, **options)


def test_a_page(run: Run) -> None:
    """Every kind of entry with its own fields, instants aware, what is absent None."""
    service = Played(httpx.Response(200, json=PAGE))
    page = run(service, lambda client: client.feed())
    assert page == FeedPage(
        "e",
        "e.7",
        (
            FeedEntry("id", "photos", NOON, id="A" * 22),
            FeedEntry("branch", "photos", NOON, id="A" * 22, branch="B" * 43),
            FeedEntry("subject", "photos", NOON, subject="alice", before=NOON),
            FeedEntry("key", "photos", NOON, kid="0123456789abcdef", state="revoked"),
            FeedEntry("audience", "photos", NOON, name="photos", max_ttl=60),
            FeedEntry("attribute", None, NOON, name="floor"),
            FeedEntry("discharger", None, NOON, name="login", state="removed"),
        ),
        more=True,
    )
    assert isinstance(page.entries, tuple)
    (request,) = service.requests
    assert (request.method, str(request.url), request.content) == ("GET", f"{URL}/v1/revocations", b"")
    assert request.headers["authorization"] == f"Bearer {CREDENTIAL}"
    assert "content-type" not in request.headers


def test_pages_go_both_ways(run: Run) -> None:
    """What the service writes is what the client reads."""
    page = run(Played(httpx.Response(200, json=PAGE)), lambda client: client.feed())
    assert wire.feed_page_object(page) == PAGE
    assert [list(entry) for entry in wire.feed_page_object(page)["entries"]] == [list(entry) for entry in ENTRIES]
    assert wire.read_feed_page(wire.feed_page_object(page)) == page


@pytest.mark.parametrize(
    ("given", "query"),
    [
        ({"after": None}, ""),
        ({"after": "e.7"}, "?after=e.7"),
        ({"after": "now"}, "?after=now"),
        ({"after": ""}, "?after="),
        ({"after": "a&wait=1 é"}, "?after=a%26wait%3D1+%C3%A9"),
        ({"wait": 0}, ""),
        ({"wait": 5}, "?wait=5.000000"),
        ({"after": "e.7", "wait": 0.25}, "?after=e.7&wait=0.250000"),
        ({"wait": 1e-5}, "?wait=0.000010"),
        ({"wait": 3600}, "?wait=3600.000000"),
    ],
)
def test_what_is_asked(run: Run, given: dict[str, Any], query: str) -> None:
    """What is given and nothing else; a wait as the decimal that the service reads."""
    service = Played(httpx.Response(200, json={**PAGE, "entries": []}))
    assert run(service, lambda client: client.feed(**given)).entries == ()
    assert str(service.requests[0].url) == f"{URL}/v1/revocations{query}"


@pytest.mark.parametrize("wait", [-1, -0.001, math.nan, math.inf, -math.inf])
def test_a_wait_that_is_no_time(run: Run, wait: float) -> None:
    """Nothing is asked for it."""
    service = Played(httpx.Response(200, json=PAGE))
    with pytest.raises(ValueError, match="a wait is 0 or more seconds"):
        run(service, lambda client: client.feed(wait=wait))
    assert service.requests == []
    assert run(service, lambda client: client.feed(wait=0.0)).more is True


@pytest.mark.parametrize(("wait", "seconds"), [(0, 10), (0.5, 10.5), (30, 40), (31, 40), (1e9, 40)])
def test_how_long_an_answer_may_take(run: Run, wait: float, seconds: float) -> None:
    """Its own time, and what the service waits at most; connecting takes no longer for it."""
    service = Played(httpx.Response(200, json=PAGE), httpx.Response(200, json=PAGE))
    run(service, lambda client: client.feed(wait=wait), timeout=10)
    (request,) = service.requests
    assert request.extensions["timeout"] == {"connect": 10, "read": seconds, "write": 10, "pool": 10}


@pytest.mark.parametrize(
    ("status", "code"),
    [(410, "cursor-gone"), (400, "bad-request"), (401, "expired"), (403, "caveat-refused"), (503, "unavailable")],
)
def test_refusals(run: Run, status: int, code: str) -> None:
    """A `ServiceError` with the service's status and code; an expired credential is no denial of anything."""
    problem = {"type": "about:blank", "title": "No", "status": status, "detail": "why", "code": code}
    answer = httpx.Response(
        status, headers={"content-type": "application/problem+json"}, content=json.dumps(problem).encode()
    )
    with pytest.raises(ServiceError, match="why") as caught:
        run(Played(answer), lambda client: client.feed(after="x"))
    assert (caught.value.status, caught.value.code) == (status, code)


def changed(change: Callable[[Any], None]) -> Any:
    """The page with a change."""
    page = copy.deepcopy(PAGE)
    change(page)
    return page


@pytest.mark.parametrize(
    "page",
    [
        [],
        {},
        changed(lambda page: page.pop("epoch")),
        changed(lambda page: page.pop("cursor")),
        changed(lambda page: page.pop("entries")),
        changed(lambda page: page.pop("more")),
        changed(lambda page: page.update(epoch=1)),
        changed(lambda page: page.update(cursor=None)),
        changed(lambda page: page.update(more=1)),
        changed(lambda page: page.update(more="false")),
        changed(lambda page: page.update(entries={})),
        changed(lambda page: page.update(entries=None)),
        changed(lambda page: page["entries"].append("id")),
        changed(lambda page: page["entries"].append({"kind": "id", "audience": "photos"})),
        changed(lambda page: page["entries"][0].pop("kind")),
        changed(lambda page: page["entries"][0].pop("audience")),
        changed(lambda page: page["entries"][0].update(at="2026-11-22T12:00:00")),
        changed(lambda page: page["entries"][0].update(at=1)),
        changed(lambda page: page["entries"][0].update(id=5)),
        changed(lambda page: page["entries"][2].update(before="2026-11-22T13:00:00+01:00")),
        changed(lambda page: page["entries"][2].update(before=None)),
        changed(lambda page: page["entries"][4].update(max_ttl="60")),
    ],
)
def test_what_is_no_page(run: Run, page: Any) -> None:
    """It is an answer of something else, and nothing of it is told."""
    with pytest.raises(ServiceError) as caught:
        run(Played(httpx.Response(200, json=page)), lambda client: client.feed())
    assert (caught.value.status, caught.value.code) == (200, "bad-answer")


def test_a_newer_service_can_say_more(run: Run) -> None:
    """Fields are passed over, and kinds passed on."""
    more = changed(lambda page: page["entries"].append({"kind": "mood", **COMMON, "mood": "fine"}))
    page = run(Played(httpx.Response(200, json={**more, "hint": 1})), lambda client: client.feed())
    assert page.entries[-1] == FeedEntry("mood", "photos", NOON)


# Real sockets.


@pytest.fixture
def slow() -> Iterator[tuple[str, threading.Event]]:
    """An address that answers a page once the event is set, and not before."""
    go, listener = threading.Event(), socket.create_server(("127.0.0.1", 0))
    body = json.dumps(PAGE).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.recv(65_536)
                    go.wait(60)
                    connection.sendall(head + body)
                    connection.recv(65_536)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", go
    go.set()
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_service_that_waits_is_waited_for(slow: tuple[str, threading.Event], asynchronous: bool) -> None:
    """Longer than for any other answer; without a wait, or past it, it is given up."""
    url, go = slow

    def ask(wait: float) -> FeedPage:
        if not asynchronous:
            with Client(url, CREDENTIAL, timeout=0.2) as client:
                return client.feed(wait=wait)

        async def run() -> FeedPage:
            async with AsyncClient(url, CREDENTIAL, timeout=0.2) as client:
                return await client.feed(wait=wait)

        return asyncio.run(run())

    with pytest.raises(ServiceError, match="in time") as caught:
        ask(0.0)
    assert (caught.value.status, caught.value.code) == (None, "unavailable")
    timer = threading.Timer(1.0, go.set)
    timer.start()
    try:
        assert ask(30.0).cursor == "e.7"
    finally:
        timer.cancel()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_live_service_is_followed(live: Live, asynchronous: bool) -> None:
    """From the beginning, on from a cursor, waiting for what another process does; to a cursor that is gone."""
    credential = (live.data / "admin.token").read_text()

    def ask(**given: Any) -> FeedPage:
        if not asynchronous:
            with Client(live.url, credential) as client:
                return client.feed(**given)

        async def run() -> FeedPage:
            async with AsyncClient(live.url, credential) as client:
                return await client.feed(**given)

        return asyncio.run(run())

    start = ask(after="now")
    assert (start.entries, start.more) == ((), False)
    with Authority.open(Settings(data_dir=live.data), make=False) as authority:
        minted = authority.mint(audience="default", ttl=600)
        timer = threading.Timer(0.3, lambda: authority.revoke(id=minted.id))
        timer.start()
        page = ask(after=start.cursor, wait=30)
        timer.join()
        assert page == authority.feed(after=start.cursor)
    assert [entry.id for entry in page.entries] == [minted.id]
    assert ask().entries[-1] == page.entries[-1]
    assert ask(after=page.cursor, wait=0.3).entries == ()
    with pytest.raises(ServiceError) as caught:
        ask(after=page.cursor + "0")
    assert (caught.value.status, caught.value.code) == (410, "cursor-gone")
