"""WebSockets under every verifier: judged at the handshake, and ended when the token is."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from fastapi import Depends, FastAPI, WebSocket
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from capsvc.asgi import CapsvcMiddleware, EmbeddedVerifier, requires
from capsvc.token import Token

from .application import application
from .conftest import PATIENCE, RECHECK, Guard, Guarded, Office, an_office, eventually, guarding, narrowed

SOCKETS = ("wsproto", "websockets-sansio")


@contextmanager
def connected(
    guarded: Guarded, path: str, token: str | None = None, *headers: tuple[str, str]
) -> Iterator[ClientConnection]:
    """A WebSocket with a Bearer token, if one is given."""
    sent = [*headers] if token is None else [("Authorization", f"Bearer {token}"), *headers]
    url = guarded.url.replace("http://", "ws://") + path
    with connect(url, additional_headers=sent, open_timeout=PATIENCE, close_timeout=PATIENCE, proxy=None) as socket:
        yield socket


def refusal(guarded: Guarded, path: str, token: str | None = None, *headers: tuple[str, str]) -> tuple[int, Any]:
    """Status and body of a handshake's refusal."""
    with pytest.raises(InvalidStatus) as caught, connected(guarded, path, token, *headers):
        pass
    response = caught.value.response
    body = response.body or b""
    return response.status_code, body


def code(guarded: Guarded, path: str, token: str | None = None, *headers: tuple[str, str]) -> tuple[int, str]:
    """Status and code of a handshake's refusal, which is a problem like every other."""
    status, body = refusal(guarded, path, token, *headers)
    return status, json.loads(body)["code"]


def closed(socket: ClientConnection) -> tuple[int, str]:
    """How the server closed it: number and reason, once whatever it sent before was read."""
    try:
        while True:
            socket.recv(timeout=PATIENCE)
    except ConnectionClosed as over:
        frame = over.rcvd
    assert frame is not None
    return frame.code, frame.reason


def test_a_verifier_that_fails_between_judgements(office: Office, guard: Guard) -> None:
    """Whatever it is that fails: nobody knows whether the token is good, and the connection ends."""

    class Failing(EmbeddedVerifier):
        @property
        def recheck(self) -> float:
            if self.failing:
                raise ZeroDivisionError
            return RECHECK

        @recheck.setter
        def recheck(self, _: float) -> None:
            self.failing = False

    verifier = Failing(office.authority)
    running = guard(office, verifier=verifier)
    with connected(running, "/echo", office.mint()) as socket:
        socket.send("one")
        assert socket.recv(timeout=PATIENCE) == "one"
        verifier.failing = True
        assert closed(socket) == (1013, "unavailable")


def test_the_handshake(guarded: Guarded, shared_office: Office) -> None:
    """With a token that allows it the connection opens and lasts; without, it is refused as HTTP would be."""
    token = shared_office.mint()
    for allowed in (token, narrowed(token, "action = read", "method = GET", "path = /echo", "host = 127.0.0.1")):
        with connected(guarded, "/echo", allowed) as socket:
            for text in ("one", "two"):
                socket.send(text)
                assert socket.recv(timeout=PATIENCE) == text
    assert code(guarded, "/echo") == (401, "credential-missing")
    assert code(guarded, "/echo", "AgEE") == (401, "malformed")
    assert code(guarded, "/echo", narrowed(token, "action = write")) == (403, "caveat-refused")
    assert code(guarded, "/echo", narrowed(token, "path = /ticks")) == (403, "caveat-refused")
    assert code(guarded, "/echo?token=" + token) == (401, "credential-missing")
    assert code(guarded, "/echo", None, ("Authorization", f"Bearer {token}"), ("Authorization", "Bearer x")) == (
        400,
        "bad-request",
    )
    assert code(guarded, "/echo", None, ("Authorization", "Basic YTpi")) == (401, "credential-missing")


def test_a_route_that_asks_for_nothing(guarded: Guarded, shared_office: Office) -> None:
    """It is judged by what can be said of any request; so is what no route answers."""
    token = shared_office.mint()
    with connected(guarded, "/unasked", token) as socket:
        assert socket.recv(timeout=PATIENCE) == "alice"
        assert closed(socket) == (1000, "")
    assert code(guarded, "/unasked") == (401, "credential-missing")
    assert code(guarded, "/unasked", narrowed(token, "action = read")) == (403, "context-missing")
    assert code(guarded, "/nowhere") == (401, "credential-missing")


def test_a_router_s_requirements(guarded: Guarded, shared_office: Office) -> None:
    """They count for its WebSockets too, with their parameters of the path."""
    token = shared_office.mint()
    with connected(guarded, "/albums/summer/echo", narrowed(token, "album = summer", "action = read")) as socket:
        socket.send("here")
        assert socket.recv(timeout=PATIENCE) == "here"
    assert code(guarded, "/albums/winter/echo", narrowed(token, "album = summer")) == (403, "caveat-refused")


@pytest.fixture(params=SOCKETS)
def own(request: pytest.FixtureRequest, office: Office, guard: Guard, kind: str) -> Guarded:
    """The application under each verifier and each implementation, with an authority of its own."""
    return guard(office, verifier=kind, server={"ws": request.param})


def test_the_token_expires(own: Guarded, office: Office) -> None:
    """The connection is closed then, whether the application waits for a message or sends all the time."""
    token = office.mint(ttl=60)
    longer = office.mint(ttl=3600)
    with ExitStack() as held:
        waiting = held.enter_context(connected(own, "/echo", token))
        sending = held.enter_context(connected(own, "/ticks", narrowed(token, "time < 2026-11-22T12:00:30Z")))
        staying = held.enter_context(connected(own, "/echo", longer))
        assert sending.recv(timeout=PATIENCE) == "tick"
        office.clock.now += 29
        assert sending.recv(timeout=PATIENCE) == "tick"
        office.clock.now += 1
        assert closed(sending) == (1008, "expired")
        waiting.send("still there")
        assert waiting.recv(timeout=PATIENCE) == "still there"
        office.clock.now += 30
        assert closed(waiting) == (1008, "expired")
        staying.send("as before")
        assert staying.recv(timeout=PATIENCE) == "as before"


def test_a_message_after_the_expiry(office: Office, guard: Guard, kind: str) -> None:
    """It is not handed to the application, though nobody has judged the token again since."""
    verifier = office.verifier(kind)
    verifier.recheck = 3600.0
    seen: list[str] = []
    app = FastAPI()

    @app.websocket("/echo", dependencies=[Depends(requires("read"))])
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            seen.append(await websocket.receive_text())

    running = guard(office, app, verifier=verifier)
    with connected(running, "/echo", office.mint(ttl=60)) as socket:
        socket.send("in time")
        eventually(lambda: seen)
        office.clock.now += 60
        socket.send("too late")
        assert closed(socket) == (1008, "expired")
    assert seen == ["in time"]


@pytest.mark.parametrize("by", ["id", "branch", "subject", "key"])
def test_the_token_is_revoked(own: Guarded, office: Office, by: str) -> None:
    """The connection is closed, and those of other tokens are not."""
    authority = office.authority
    token = narrowed(office.mint(), "action = read")
    other = office.mint(subject="bob", audience="default")
    if by == "key":
        authority.rotate_key("default")
        other = office.mint(subject="bob")
    with connected(own, "/echo", token) as socket, connected(own, "/echo", other) as another:
        socket.send("here")
        assert socket.recv(timeout=PATIENCE) == "here"
        match by:
            case "id":
                authority.revoke(id=Token.parse(token).id)
            case "branch":
                authority.revoke(token=token)
            case "subject":
                authority.revoke(audience="default", subject="alice")
            case "key":
                authority.revoke(key=Token.parse(token).identifier.split(".")[1])
        assert closed(socket) == (1008, "revoked")
        another.send("and here")
        assert another.recv(timeout=PATIENCE) == "and here"


def test_caveats_on_the_clock_end_it_too(own: Guarded, office: Office) -> None:
    """What the handshake was judged by is judged again: noon is past when the clock says so."""
    with connected(own, "/echo", narrowed(office.mint(), "clock < 12:01")) as socket:
        socket.send("noon")
        assert socket.recv(timeout=PATIENCE) == "noon"
        office.clock.now += 60
        assert closed(socket) == (1008, "caveat-refused")


def test_an_application_that_goes_on_sending(office: Office, guard: Guard, kind: str) -> None:
    """After the end its messages raise, and none of them gets out; its task ends with it."""
    outcomes: list[str] = []
    app = FastAPI()

    @app.websocket("/stubborn", dependencies=[Depends(requires("read"))])
    async def stubborn(websocket: WebSocket) -> None:
        await websocket.accept()
        with suppress(WebSocketDisconnect):
            while True:
                await websocket.receive_text()
        for _ in range(2):
            try:
                await websocket.send_text("secret")
            except (WebSocketDisconnect, RuntimeError, OSError) as error:
                outcomes.append(type(error).__name__)
        outcomes.append("over")

    running = guard(office, app, verifier=kind)
    token = office.mint()
    with connected(running, "/stubborn", token) as socket:
        office.authority.revoke(token=token)
        assert closed(socket) == (1008, "revoked")
    eventually(lambda: outcomes[-1:] == ["over"])
    assert outcomes[0] == "WebSocketDisconnect"
    assert len(outcomes) == 3  # the second message raises too, in one way or another


def test_an_authority_that_cannot_be_asked(tmp_path: Any, guard: Guard) -> None:
    """Nobody can tell whether the token is still good: the connection ends (1013, try again later)."""
    with ExitStack() as held:
        with an_office(tmp_path / "data") as office:
            running = guard(office, verifier="remote")
            token = office.mint()
            socket = held.enter_context(connected(running, "/echo", token))
            socket.send("here")
            assert socket.recv(timeout=PATIENCE) == "here"
        assert closed(socket) == (1013, "unavailable")
        assert code(running, "/echo", token) == (503, "unavailable")


def test_a_server_without_responses_to_handshakes(office: Office, guard: Guard) -> None:
    """Then the handshake is ended by closing it, which servers answer with 403 and nothing else."""

    class Plain:
        def __init__(self, app: Any) -> None:
            self._app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            scope.pop("extensions", None)
            await self._app(scope, receive, send)

    inner = CapsvcMiddleware(
        application(), verifier=office.verifier("embedded"), audience="default", clock=office.clock
    )
    for kind in SOCKETS:
        with guarding(Plain(inner), office, ws=kind) as running:
            status, body = refusal(running, "/echo", narrowed(office.mint(), "action = write"))
            assert (status, body) == (403, b"")
            with connected(running, "/echo", office.mint()) as socket:
                socket.send("here")
                assert socket.recv(timeout=PATIENCE) == "here"


def test_a_client_that_is_gone(office: Office, guard: Guard, kind: str) -> None:
    """The task that judges its token again ends with the connection, and nothing is left of it."""
    judged: list[str] = []
    verifier = office.verifier(kind)
    authorize = verifier.authorize

    async def counting(bundle: str, **options: Any) -> Any:
        judged.append(bundle)
        return await authorize(bundle, **options)

    verifier.authorize = counting  # type: ignore[method-assign]
    running = guard(office, verifier=verifier)
    with connected(running, "/echo", office.mint()) as left:
        eventually(lambda: len(judged) > 2)
        left.socket.shutdown(socket.SHUT_RDWR)
    token = office.mint()
    with connected(running, "/echo", token):
        judged.clear()
        eventually(lambda: len(judged) > 5)
    assert set(judged) == {token}
