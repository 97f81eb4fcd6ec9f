"""The middleware as a server drives it: what it passes on, what it opens and closes, what it makes of odd scopes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from capsvc.asgi import CapsvcMiddleware, EmbeddedVerifier, requires
from capsvc.asgi.case import KEPT, Case, case_of
from capsvc.asgi.targets import _complain
from capsvc.errors import Denied
from capsvc.grants import Grant

from .conftest import PATIENCE, Office, narrowed


class Listening:
    """A verifier that lets everybody in, or nobody, and keeps what it was told."""

    recheck = 3600.0

    def __init__(self, office: Office) -> None:
        self._real = EmbeddedVerifier(office.authority)
        self.heard: list[str] = []
        self.asked: list[tuple[str, Mapping[str, object], bool]] = []
        self.fails = False
        self.denies: str | None = None

    async def open(self) -> None:
        """Keep that."""
        self.heard.append("open")
        if self.fails:
            raise RuntimeError("it cannot be opened")

    async def aclose(self) -> None:
        """Keep that."""
        self.heard.append("close")

    async def authorize(
        self, bundle: str, *, audience: str, context: Mapping[str, object], critical: bool = False
    ) -> Grant:
        """Keep the question."""
        self.asked.append((audience, context, critical))
        if self.denies is not None:
            raise Denied(self.denies)
        return await self._real.authorize(bundle, audience=audience, context={})


@pytest.fixture
def verifier(shared_office: Office) -> Listening:
    """One for a test."""
    return Listening(shared_office)


class Drive:
    """Drives an application as a server does, message by message."""

    def __init__(self, app: Any, office: Office, **options: Any) -> None:
        self.office = office
        self.app = CapsvcMiddleware(app, **{"audience": "default", "clock": office.clock, **options})

    def scope(self, path: str = "/x", **changed: Any) -> Scope:
        """A request with a good token."""
        return {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {self.office.mint()}".encode())],
            "client": ("192.0.2.7", 1),
            **changed,
        }

    def __call__(
        self, scope: Scope, messages: Sequence[Message] = ({"type": "http.request"},), sent: list[Message] | None = None
    ) -> list[Message]:
        """What it sends, also into a list of the caller's; past the last message it waits for one in vain."""
        said = [] if sent is None else sent
        waiting = [*messages]

        async def receive() -> Message:
            if not waiting:
                await asyncio.Event().wait()
            return waiting.pop(0)

        async def send(message: Message) -> None:
            said.append(message)

        async def run() -> None:
            await self.app(scope, receive, send)

        asyncio.run(run())
        return said

    def status(self, scope: Scope) -> int:
        """The status of its answer."""
        found: int = self(scope)[0]["status"]
        return found


async def here(request: Request) -> Response:
    """An endpoint."""
    grant = request.state.grant
    return PlainTextResponse("-" if grant is None else grant.subject)


LIFE: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]


def test_the_verifier_lives_with_the_application(shared_office: Office, verifier: Listening) -> None:
    """It is opened before the application starts, and closed before the server hears of the end."""
    order = verifier.heard

    async def life(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        order.append("started")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        order.append("ended")
        await send({"type": "lifespan.shutdown.complete"})
        order.append("told")

    sent = Drive(life, shared_office, verifier=verifier)({"type": "lifespan"}, LIFE)
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert order == ["open", "started", "ended", "close", "told"]


def test_a_verifier_that_cannot_be_opened(shared_office: Office, verifier: Listening) -> None:
    """Stops the start."""
    verifier.fails = True
    drive = Drive(Starlette(), shared_office, verifier=verifier)
    sent: list[Message] = []
    with pytest.raises(RuntimeError, match="it cannot be opened"):
        drive({"type": "lifespan", "state": {}}, LIFE, sent)
    assert sent == [{"type": "lifespan.startup.failed", "message": "the verifier cannot be opened: RuntimeError"}]
    assert verifier.heard == ["open", "close"]


def test_an_application_without_a_lifespan(shared_office: Office, verifier: Listening) -> None:
    """Raises, as ASGI has it, and its verifier stays open for its requests."""

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await PlainTextResponse("here")(scope, receive, send)

    drive = Drive(plain, shared_office, verifier=verifier)
    with pytest.raises(AssertionError):
        drive({"type": "lifespan"}, LIFE)
    assert verifier.heard == []
    assert drive.status(drive.scope()) == 200


def test_what_is_asked(shared_office: Office, verifier: Listening) -> None:
    """The whole context in one question; a critical route says so, and so does one of several requirements."""

    @requires("read", critical=True, path_parameters={"album": "name"})
    @requires(audience="default", context=lambda connection: {"floor": int(connection.query_params["floor"])})
    async def show(request: Request) -> Response:
        return await here(request)

    drive = Drive(
        Starlette(routes=[Route("/albums/{name}", show), Route("/x", here)]), shared_office, verifier=verifier
    )
    headers = drive.scope()["headers"]
    scope = drive.scope("/albums/summer", headers=[*headers, (b"host", b"Photos.Example:80")], query_string=b"floor=3")
    assert drive.status(scope) == 200
    assert drive.status(drive.scope(client=None)) == 200
    known = {"method": "GET", "path": "/albums/summer", "host": "photos.example", "ip": "192.0.2.7"}
    assert verifier.asked == [
        ("default", {**known, "action": "read", "album": "summer", "floor": 3}, True),
        ("default", {"method": "GET", "path": "/x"}, False),
    ]


@pytest.mark.parametrize(
    ("client", "known"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (["192.0.2.7", 1], "192.0.2.7"),
        (("::ffff:192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8::1", 1), "2001:db8::1"),
        (("fe80::1%eth0", 1), None),
        (("testclient", 1), None),
        (("", 0), None),
        (None, None),
    ],
)
def test_the_peer(shared_office: Office, verifier: Listening, client: Any, known: str | None) -> None:
    """Its address is the socket's, an IPv4-mapped one as IPv4; what is no address is absent, whatever was forwarded."""
    drive = Drive(Starlette(routes=[Route("/x", here)]), shared_office, verifier=verifier)
    headers = [*drive.scope()["headers"], (b"x-forwarded-for", b"10.1.2.3")]
    assert drive.status(drive.scope(client=client, headers=headers)) == 200
    assert verifier.asked[0][1].get("ip") == known


def test_names_of_fields_in_any_case(shared_office: Office, verifier: Listening) -> None:
    """A server is to send them in lower case; one that does not opens no way round."""
    drive = Drive(Starlette(routes=[Route("/x", here)]), shared_office, verifier=verifier)
    (_, bearer) = drive.scope()["headers"][0]
    assert drive.status(drive.scope(headers=[(b"Authorization", bearer)])) == 200
    assert drive.status(drive.scope(headers=[(b"Authorization", bearer), (b"authorization", bearer)])) == 400
    assert drive.status(drive.scope(headers=[])) == 401


def test_a_server_without_raw_path(
    shared_office: Office, verifier: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can tell what was asked for: it is said once, and no request gets a path that a caveat could hold for."""
    _complain.cache_clear()
    drive = Drive(Starlette(routes=[Route("/x", here)]), shared_office, verifier=verifier)
    with caplog.at_level(logging.ERROR, "capsvc.asgi"):
        for _ in range(2):
            drive(drive.scope(raw_path=None))
    assert [context["path"] for _, context, _ in verifier.asked] == ["", ""]
    assert caplog.text.count("raw_path") == 1
    real = Drive(
        Starlette(routes=[Route("/x", here)]), shared_office, verifier=EmbeddedVerifier(shared_office.authority)
    )
    assert real.status(real.scope(raw_path=None)) == 403
    assert real.status(real.scope()) == 200


def test_an_exempt_route_that_requires_something(shared_office: Office) -> None:
    """Requires it all the same: what is exempt is what nobody asked for."""
    read = requires("read")(here)
    drive = Drive(
        Starlette(routes=[Route("/x", read), Route("/y", here)]),
        shared_office,
        verifier=EmbeddedVerifier(shared_office.authority),
        exempt=["/x", "/y"],
    )
    assert drive.status(drive.scope()) == 200
    assert drive.status(drive.scope(headers=[])) == 401
    narrow = narrowed(shared_office.mint(), "action = write")
    assert drive.status(drive.scope(headers=[(b"authorization", f"Bearer {narrow}".encode())])) == 403
    assert drive(drive.scope("/y", headers=[]))[1]["body"] == b"-"


def test_what_an_application_says_is_passed_on(shared_office: Office, verifier: Listening) -> None:
    """Message by message, as it is; and what it keeps in the scope is there for those around it."""

    async def parts(request: Request) -> Response:
        async def several() -> Any:
            yield "one"
            yield "two"

        request.state.seen = True
        return StreamingResponse(several(), 203, {"x-own": "yes"})

    drive = Drive(Starlette(routes=[Route("/x", requires("read")(parts))]), shared_office, verifier=verifier)
    scope = drive.scope(state={"of": "the server"})
    start, *bodies = drive(scope)
    assert (start["status"], dict(start["headers"])[b"x-own"]) == (203, b"yes")
    assert b"".join(part["body"] for part in bodies) == b"onetwo"
    assert scope["state"]["seen"] is True
    assert scope["state"]["of"] == "the server"
    assert scope["user"].identity == "alice"
    assert scope["route"].path == "/x"


def test_a_layer_that_redirects(shared_office: Office, verifier: Listening) -> None:
    """What answers within the middleware before any route may redirect or refuse, but has nothing to show."""

    class Layer:
        def __init__(self, app: Any, response: Response) -> None:
            self.app = app
            self._response = response

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self._response(scope, receive, send)

    app = Starlette(routes=[Route("/x", requires("read")(here)), Route("/y", here)])
    for response, status in (
        (RedirectResponse("https://photos.example/x"), 307),
        (JSONResponse({}, 404), 404),
        (JSONResponse({}), 500),
    ):
        drive = Drive(Layer(app, response), shared_office, verifier=verifier)
        assert drive.status(drive.scope()) == status
        assert drive.status(drive.scope("/y")) == (200 if status == 500 else status)


def test_a_refusal_while_an_answer_is_under_way(shared_office: Office, verifier: Listening) -> None:
    """An endpoint that requires more in the middle of its answer: no more of it gets out."""
    later = requires("more", audience="default")

    async def endpoint(request: Request) -> Response:
        async def several() -> Any:
            yield "one"
            verifier.denies = "caveat-refused"
            with suppress(Exception):  # a program that does not care
                await later(request)
            yield "secret"

        return StreamingResponse(several())

    drive = Drive(Starlette(routes=[Route("/x", endpoint)]), shared_office, verifier=verifier)
    sent: list[Message] = []
    with pytest.raises(Exception, match="refused while"):
        drive(drive.scope(), sent=sent)
    assert b"".join(message.get("body", b"") for message in sent) == b"one"


class Chat(WebSocketEndpoint):
    """A class of Starlette's for WebSockets."""

    encoding = "text"

    @requires("talk")
    async def on_connect(self, websocket: WebSocket) -> None:
        """Accept."""
        await websocket.accept()


CONNECT: list[Message] = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}]


def test_a_websocket_endpoint(shared_office: Office, verifier: Listening) -> None:
    """Its first method says what it requires; a refusal comes before anything is accepted."""
    drive = Drive(Starlette(routes=[WebSocketRoute("/x", Chat)]), shared_office, verifier=verifier)
    sent = drive(drive.scope(type="websocket", subprotocols=[]), CONNECT)
    assert [message["type"] for message in sent] == ["websocket.accept"]
    assert verifier.asked[0][1]["action"] == "talk"
    verifier.denies = "caveat-refused"
    sent = drive(drive.scope(type="websocket", subprotocols=[]), CONNECT)
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]
    extended = drive.scope(type="websocket", subprotocols=[], extensions={"websocket.http.response": {}})
    start, body = drive(extended, CONNECT)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 403)
    assert (body["type"], b"caveat-refused" in body["body"]) == ("websocket.http.response.body", True)


class Hidden:
    """A layer that does not show what is within it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on."""
        await self._inner(scope, receive, send)


def test_a_websocket_whose_route_cannot_be_read(shared_office: Office, verifier: Listening) -> None:
    """It is judged twice, the second time by its route; a refusal then ends the handshake, or the connection."""

    async def late(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("welcome")
        verifier.denies = "caveat-refused"
        await requires("more")(websocket)
        await websocket.send_text("secret")

    app = Starlette(routes=[WebSocketRoute("/x", Chat), WebSocketRoute("/late", late)])
    drive = Drive(Hidden(app), shared_office, verifier=verifier)
    drive(drive.scope(type="websocket", subprotocols=[]), CONNECT)
    assert [context.get("action") for _, context, _ in verifier.asked] == [None, "talk"]
    sent = drive(drive.scope("/late", type="websocket", subprotocols=[]), CONNECT)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert (sent[-1]["code"], sent[-1]["reason"]) == (1008, "refused")


def test_a_websocket_that_skips_its_requirement(shared_office: Office, verifier: Listening) -> None:
    """Something within changes routes: the handshake fails, and nothing is accepted."""

    class Elsewhere:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await self.app({**scope, "path": "/plain"}, receive, send)

    async def plain(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("secret")

    app = Starlette(routes=[WebSocketRoute("/x", Chat), WebSocketRoute("/plain", plain)])
    drive = Drive(Elsewhere(app), shared_office, verifier=verifier)
    extensions: dict[str, object] = {"websocket.http.response": {}}
    sent = drive(drive.scope(type="websocket", subprotocols=[], extensions=extensions), CONNECT)
    assert [message.get("status") for message in sent] == [500, None]
    assert not any("text" in message for message in sent)


def test_a_websocket_that_is_judged_late(shared_office: Office, verifier: Listening) -> None:
    """An exempt one that comes to require something after it accepted is watched over from then on."""
    verifier.recheck = 0.001

    async def late(websocket: WebSocket) -> None:
        await websocket.accept()
        await requires("more")(websocket)
        await websocket.send_text("welcome")
        verifier.denies = "revoked"
        await websocket.receive_text()

    app = Starlette(routes=[WebSocketRoute("/late", late)])
    drive = Drive(app, shared_office, verifier=verifier, exempt=["/late"])
    sent: list[Message] = []
    waiting: list[Message] = [{"type": "websocket.connect"}]
    closed = asyncio.Event()

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await closed.wait()
        return {"type": "websocket.disconnect", "code": 1008}

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "websocket.close":
            closed.set()

    async def run() -> None:
        await drive.app(drive.scope("/late", type="websocket", subprotocols=[]), receive, send)

    asyncio.run(run())
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert (sent[-1]["code"], sent[-1]["reason"]) == (1008, "revoked")


def test_a_requirement_of_each_message(shared_office: Office, verifier: Listening) -> None:
    """Each is judged by itself, however many were made before it; what is kept of them is bounded."""
    cases: list[Case] = []

    async def messages(websocket: WebSocket) -> None:
        await websocket.accept()
        cases.append(case_of(websocket.scope))
        asked = len(verifier.asked)
        for number in range(100):
            await requires("read")(websocket)
            await requires(f"action{number}")(websocket)
            await requires("same")(websocket)
        assert len(verifier.asked) == asked + 300

    drive = Drive(
        Starlette(routes=[WebSocketRoute("/x", requires("read")(messages))]), shared_office, verifier=verifier
    )
    drive(drive.scope(type="websocket", subprotocols=[]), [{"type": "websocket.connect"}])
    (case,) = cases
    assert len(case.decisions) == KEPT
    assert len(case._granted) == KEPT
    kept = [decision.context["action"] for decision in case.decisions]
    assert (kept[0], kept[-1], kept.count("same")) == ("read", "action99", 1)


def test_one_requirement_is_not_another(shared_office: Office, verifier: Listening) -> None:
    """Whatever became of an earlier one in memory: what was decided for it is not found for the next."""

    async def endpoint(request: Request) -> Response:
        case = case_of(request.scope)
        for number in range(2000):
            requirement = requires(f"action{number}")
            assert case.granted(requirement, request.scope) is None
            case.keep(requirement, request.scope, request.state.grant)
            assert case.granted(requirement, request.scope) is request.state.grant
        return PlainTextResponse("-")

    drive = Drive(Starlette(routes=[Route("/x", endpoint)]), shared_office, verifier=verifier)
    assert drive.status(drive.scope()) == 200


def test_a_websocket_that_only_listens(shared_office: Office, verifier: Listening) -> None:
    """One that comes to require something after it accepted, and then says nothing: it is watched over all the same."""
    verifier.recheck = 0.001
    heard: list[str] = []

    class Listener(WebSocketEndpoint):
        encoding = "text"

        @requires("write")
        async def on_receive(self, websocket: WebSocket, data: str) -> None:  # noqa: ARG002 - found by its name
            heard.append(data)
            verifier.denies = "revoked"

    drive = Drive(Starlette(routes=[WebSocketRoute("/x", Listener)]), shared_office, verifier=verifier, exempt=["/x"])
    sent: list[Message] = []
    closed = asyncio.Event()

    async def messages() -> AsyncIterator[Message]:
        yield {"type": "websocket.connect"}
        yield {"type": "websocket.receive", "text": "one"}
        async with asyncio.timeout(PATIENCE):
            await closed.wait()
        yield {"type": "websocket.receive", "text": "two"}
        yield {"type": "websocket.disconnect", "code": 1008}

    coming = messages()

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "websocket.close":
            closed.set()

    async def run() -> None:
        await drive.app(drive.scope(type="websocket", subprotocols=[]), lambda: anext(coming), send)

    asyncio.run(run())
    assert heard == ["one"]
    assert (sent[-1]["code"], sent[-1]["reason"]) == (1008, "revoked")


@pytest.mark.parametrize("mounted", [False, True])
def test_a_middleware_within_another(shared_office: Office, mounted: bool) -> None:
    """Of the whole application, or of one that is mounted: both judge, and a route is as good as with one."""
    given: dict[str, Any] = {"verifier": EmbeddedVerifier(shared_office.authority), "audience": "default"}
    inner = Starlette(routes=[Route("/x", requires("read")(here)), Route("/y", here)])
    inner.add_middleware(CapsvcMiddleware, clock=shared_office.clock, **given)
    path, app = ("/inner/x", Starlette(routes=[Mount("/inner", inner)])) if mounted else ("/x", inner)
    drive = Drive(app, shared_office, **given)
    assert drive.status(drive.scope(path)) == 200
    assert drive.status(drive.scope(path, headers=[])) == 401
    for caveat, status in (("action = read", 200), ("action = write", 403)):
        token = narrowed(shared_office.mint(), caveat)
        assert drive.status(drive.scope(path, headers=[(b"authorization", f"Bearer {token}".encode())])) == status


def test_a_number_of_thousands_of_digits(shared_office: Office) -> None:
    """No convertor makes an int of it: who presents nothing gets 401, as for any path, and who does no 500 of ours."""
    app = Starlette(routes=[Route("/x/{number:int}", requires("read", path_parameters={"floor": "number"})(here))])
    drive = Drive(app, shared_office, verifier=EmbeddedVerifier(shared_office.authority))
    long = "/x/" + "9" * 5000
    assert drive.status(drive.scope("/x/3")) == 200
    assert drive.status(drive.scope("/x/3", headers=[])) == 401
    assert drive.status(drive.scope(long, headers=[])) == 401
    assert drive.status(drive.scope(long)) == 403  # no path may have so many octets


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
@pytest.mark.parametrize("root_path", ["", "/api", "/api/v1"])
def test_an_application_with_a_root_path_of_its_own(shared_office: Office, root_path: str) -> None:
    """FastAPI puts it in the place of the server's: what is judged is the route that will run."""
    ran: list[str] = []
    app = FastAPI(root_path=root_path)

    async def forgotten() -> None:
        ran.append("forgotten")

    async def rest() -> None:
        ran.append("rest")

    app.post("/reset")(forgotten)
    app.post("/{rest:path}", dependencies=[Depends(requires("read"))])(rest)
    drive = Drive(app, shared_office, verifier=EmbeddedVerifier(shared_office.authority))
    token = shared_office.mint("action = read")

    def status(path: str) -> int:
        headers = [(b"authorization", f"Bearer {token}".encode())]
        return drive.status(drive.scope(root_path + path, method="POST", headers=headers, root_path=""))

    assert status("/other") == 200
    assert status("/reset") == 403  # it asks for nothing, so that there is no action
    assert ran == ["rest"]


class Rewriting:
    """A layer that changes what a request is, as nothing within the middleware should."""

    def __init__(self, app: Any, **changed: Any) -> None:
        self.app = app
        self._changed = changed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass another request on."""
        await self.app({**scope, **self._changed}, receive, send)


def test_the_action_of_a_method_that_was_changed(shared_office: Office) -> None:
    """It is judged as what it has become, its action too."""
    both = requires()(here)
    app = Starlette(routes=[Route("/x", both, methods=["POST"]), Route("/x", both, methods=["DELETE"])])
    changed = Rewriting(app, method="DELETE")
    given: dict[str, Any] = {
        "verifier": EmbeddedVerifier(shared_office.authority),
        "actions": {"POST": "write", "DELETE": "delete"},
    }
    for caveat, as_it_came, as_it_became in (
        ("action = write", 200, 403),
        ("action = delete", 403, 403),
        ("action in delete,write", 200, 200),
    ):
        token = narrowed(shared_office.mint(), caveat)
        headers = [(b"authorization", f"Bearer {token}".encode())]
        for within, status in ((app, as_it_came), (changed, as_it_became)):
            drive = Drive(within, shared_office, **given)
            assert drive.status(drive.scope(method="POST", headers=headers)) == status, caveat


def test_a_middleware_within_another_on_another_request(shared_office: Office) -> None:
    """That an inner one allows what it has become does not make it what the outer one judged."""

    class Lax(EmbeddedVerifier):
        async def authorize(self, bundle: str, *, audience: str, context: object, critical: bool = False) -> Grant:
            del context
            return await super().authorize(bundle, audience=audience, context={"album": "a"}, critical=critical)

    lax = Lax(shared_office.authority)
    show = requires("read", path_parameters=["album"])(here)
    given: dict[str, Any] = {"audience": "default", "clock": shared_office.clock}
    strict = EmbeddedVerifier(shared_office.authority)
    for inner, changed, status in (
        (lax, "/b", 500),
        (strict, "/b", 403),
        (lax, "/a", 200),
        (strict, "/a", 200),
    ):
        within = CapsvcMiddleware(Starlette(routes=[Route("/{album}", show)]), verifier=inner, **given)
        drive = Drive(Rewriting(within, path=changed, raw_path=changed.encode()), shared_office, verifier=strict)
        token = narrowed(shared_office.mint(), "album = a")
        headers = [(b"authorization", f"Bearer {token}".encode())]
        assert drive.status(drive.scope("/a", headers=headers)) == status, (inner, changed)


def test_a_route_that_requires_very_much(shared_office: Office, verifier: Listening) -> None:
    """However many requirements: they are judged together, each action once."""
    endpoint = here
    for number in range(KEPT):
        endpoint = requires(f"action{number}")(endpoint)
    drive = Drive(Starlette(routes=[Route("/x", endpoint)]), shared_office, verifier=verifier)
    assert drive.status(drive.scope()) == 200
    assert len(verifier.asked) == KEPT
