"""Starlette's own idioms: the decorator, endpoints of classes, mounts, and how nothing is forgotten."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.authentication import requires as starlette_requires
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Host, Mount, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from capsvc.asgi import CapsvcMiddleware, EmbeddedVerifier, requires
from capsvc.errors import Denied
from capsvc.grants import Grant

from .conftest import Guard, Office, narrowed

MISSING = (401, "credential-missing")
REFUSED = (403, "caveat-refused")
NO_VALUE = (403, "context-missing")
INVALID = (403, "context-invalid")

ran: list[str] = []
"""The paths of the requests whose endpoints ran: a refusal that comes after it has run is none."""


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    """Begin anew."""
    ran.clear()


def seen(request: HTTPConnection) -> Response:
    """What an endpoint sees."""
    ran.append(request.scope["path"])
    grant = request.state.grant
    return JSONResponse({"subject": None if grant is None else grant.subject, "scopes": request.auth.scopes})


async def plain(request: Request) -> Response:
    """An endpoint that requires nothing."""
    return seen(request)


@requires("read")
async def read(request: Request) -> Response:
    """One that requires something."""
    return seen(request)


@requires("read")
def read_in_thread(request: Request) -> Response:
    """The same, not async."""
    return seen(request)


class Photos(HTTPEndpoint):
    """A class of endpoints, of which one requires nothing."""

    @requires("read", path_parameters=["album"])
    async def get(self, request: Request) -> Response:
        """Show."""
        return seen(request)

    @requires("write")
    def put(self, request: Request) -> Response:
        """Add."""
        return seen(request)

    async def delete(self, request: Request) -> Response:
        """Remove, and forget to require anything."""
        return seen(request)


class Ask:
    """Asks an application without a server, as httpx does it."""

    def __init__(self, office: Office, app: ASGIApp, root_path: str = "", **options: Any) -> None:
        self.office = office
        given = {
            "audience": "default",
            "clock": office.clock,
            "verifier": EmbeddedVerifier(office.authority),
            **options,
        }
        self.app: ASGIApp = CapsvcMiddleware(app, **given)
        self.transport = httpx.ASGITransport(self.app, root_path=root_path, raise_app_exceptions=False)

    async def _request(self, method: str, path: str, headers: Mapping[str, str]) -> httpx.Response:
        async with httpx.AsyncClient(transport=self.transport, base_url="http://localhost") as client:
            return await client.request(method, path, headers=headers)

    def __call__(self, method: str, path: str, *caveats: str, token: str | None = "", **headers: str) -> httpx.Response:
        """The answer to a request with a token of alice's, narrowed; or with another, or without one (None)."""
        if token is not None:
            token = token or self.office.mint()
            headers["authorization"] = f"Bearer {narrowed(token, *caveats) if caveats else token}"
        return asyncio.run(self._request(method, path, headers))

    def outcome(self, method: str, path: str, *caveats: str, **options: Any) -> tuple[int, str]:
        """Status and code."""
        answer = self(method, path, *caveats, **options)
        problem = answer.content and answer.headers["content-type"] == "application/problem+json"
        return answer.status_code, answer.json()["code"] if problem else ""


def routes() -> list[Any]:
    """Routes of every kind."""
    return [
        Route("/plain", plain, methods=["GET", "POST"]),
        Route("/read", read),
        Route("/thread", read_in_thread),
        Route("/partial", functools.partial(read)),
        Route("/albums/{album}", Photos),
        Mount("/mounted", routes=[Route("/read", read), Route("/plain", plain)]),
        Mount("/tenants/{album}", app=Router([Route("/read", requires("read", path_parameters=["album"])(plain))])),
        Host("photos.example", app=Router([Route("/hosted", read)])),
    ]


@pytest.fixture
def ask(shared_office: Office) -> Ask:
    """Asks an application with all these routes, the middleware around it."""
    return Ask(shared_office, Starlette(routes=routes()))


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", "/read", "read"),
        ("GET", "/thread", "read"),
        ("GET", "/partial", "read"),
        ("GET", "/albums/summer", "read"),
        ("HEAD", "/albums/summer", "read"),
        ("PUT", "/albums/summer", "write"),
        ("GET", "/mounted/read", "read"),
        ("GET", "/tenants/blue/read", "read"),
    ],
)
def test_what_a_route_requires(ask: Ask, method: str, path: str, action: str) -> None:
    """Every kind of endpoint: its action is asked about, and no other allows it; without a token nothing runs."""
    assert ask.outcome(method, path, f"action = {action}") == (200, "")
    assert ran.pop() == path
    assert ask.outcome(method, path, "action = other")[0] == 403
    assert ask.outcome(method, path, token=None)[0] == 401
    assert ran == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/plain", 200),
        ("POST", "/plain", 200),
        ("DELETE", "/albums/summer", 200),
        ("GET", "/mounted/plain", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/read", 405),
    ],
)
def test_what_requires_nothing(ask: Ask, method: str, path: str, status: int) -> None:
    """A token that is narrowed to actions is refused before anything runs; one that is not is judged by the rest.

    So a `requires` that somebody forgot opens nothing to a token that its holder narrowed to something else.
    """
    assert ask.outcome(method, path, f"path = {path}", f"method = {method}") == (status, "")
    ran.clear()
    assert ask.outcome(method, path, "action in delete,list,read,write") == NO_VALUE
    assert ask.outcome(method, path, "path = /other") == REFUSED
    assert ask.outcome(method, path, token=None) == MISSING
    assert ran == []


def test_actions_by_method(shared_office: Office) -> None:
    """Where the middleware is told, a route that does not say its action has its method's."""
    ask = Ask(shared_office, Starlette(routes=routes()), actions={"GET": "look"})
    assert ask.outcome("GET", "/plain", "action = look") == (200, "")
    assert ask("GET", "/plain").json()["scopes"] == ["authenticated", "look"]
    assert ask.outcome("GET", "/plain", "action = read") == REFUSED
    assert ask.outcome("POST", "/plain", "action = look") == NO_VALUE
    assert ask.outcome("GET", "/read", "action = look") == REFUSED
    assert ask.outcome("GET", "/read", "action = read") == (200, "")


def test_optional(shared_office: Office) -> None:
    """Who presents nothing may pass where nothing is required; a token that is presented is judged all the same."""
    ask = Ask(shared_office, Starlette(routes=routes()), optional=True)
    answer = ask("GET", "/plain", token=None)
    assert (answer.status_code, answer.json()) == (200, {"subject": None, "scopes": []})
    assert ask("GET", "/plain").json()["subject"] == "alice"
    assert ask.outcome("GET", "/read", token=None) == MISSING
    assert ask.outcome("GET", "/plain", "action = read") == NO_VALUE
    assert ask.outcome("GET", "/plain", token="AgEE") == (401, "malformed")
    assert ask.outcome("GET", "/plain", token=None, Authorization="Bearer") == (401, "malformed")
    two = [(b"authorization", b"Bearer x"), (b"authorization", b"Bearer y")]
    scope = {"type": "http", "method": "GET", "path": "/plain", "raw_path": b"/plain", "headers": two}
    assert _drive(ask.app, scope) == 400


def test_a_host_s_own_routes(ask: Ask) -> None:
    """Routes below a host are found by the same header as Starlette finds them."""
    assert ask.outcome("GET", "/hosted", "action = read", host="photos.example") == (200, "")
    assert ask.outcome("GET", "/hosted", "action = write", host="photos.example") == REFUSED
    assert ask.outcome("GET", "/hosted", "action = read", host="localhost") == NO_VALUE


def test_starlette_s_own_scopes(shared_office: Office) -> None:
    """Starlette's ``requires`` sees who is somebody, and which action was allowed."""

    @requires("read")
    @starlette_requires(["authenticated", "read"])
    async def both(request: Request) -> Response:
        return seen(request)

    ask = Ask(shared_office, Starlette(routes=[Route("/both", both)]))
    assert ask.outcome("GET", "/both") == (200, "")
    assert ask("GET", "/both", token=shared_office.mint(subject=None)).status_code == 403


def test_requirements_add_up(shared_office: Office) -> None:
    """Several on one endpoint are one judgement: every action is asked about, with every value of each."""

    @requires("read")
    @requires("list", path_parameters=["album"])
    @requires(context=lambda connection: {"floor": len(connection.query_params)})
    async def several(request: Request) -> Response:
        return seen(request)

    ask = Ask(shared_office, Starlette(routes=[Route("/{album}", several)]))
    assert ask("GET", "/summer?a", "album = summer", "floor = 1").json()["scopes"] == ["authenticated", "read", "list"]
    assert ask.outcome("GET", "/summer", "action in list,read", "album = summer", "floor = 0") == (200, "")
    for narrower in ("action = read", "action = list", "album = winter", "floor = 1"):
        assert ask.outcome("GET", "/summer", narrower) == REFUSED, narrower


@pytest.mark.parametrize(
    "given",
    [
        {"path": "/other"},
        {"method": "GET"},
        {"ip": "10.1.2.3"},
        {"host": "photos.example"},
        {"action": "write"},
        ["album"],
        None,
    ],
)
def test_a_context_function_that_says_too_much(shared_office: Office, given: Any) -> None:
    """What is known already is nobody's to say again, and what is no mapping says nothing: a fault."""
    endpoint = requires("read", path_parameters=["album"], context=lambda _: given)(plain)
    ask = Ask(shared_office, Starlette(routes=[Route("/{album}", endpoint)]))
    assert ask("GET", "/summer").status_code == 500
    assert ran == []
    good = requires("read", path_parameters=["album"], context=lambda _: {"album": "summer", "floor": 1})(plain)
    assert Ask(shared_office, Starlette(routes=[Route("/{album}", good)])).outcome("GET", "/summer") == (200, "")


def test_what_has_two_values(shared_office: Office) -> None:
    """Has none that is legal, once the token is good; a value said twice is one. Callers may choose both."""
    endpoint = requires(
        "read", path_parameters=["album"], context=lambda connection: {"album": connection.query_params["album"]}
    )(plain)
    ask = Ask(shared_office, Starlette(routes=[Route("/{album}", endpoint)]))
    assert ask.outcome("GET", "/summer?album=summer") == (200, "")
    assert ask.outcome("GET", "/summer?album=winter") == (403, "context-invalid")
    assert ask.outcome("GET", "/summer?album=winter", token="AgEE") == (401, "malformed")


def test_values_that_no_context_has(shared_office: Office) -> None:
    """They are not repaired: the decision is ``context-invalid``, whatever the token says."""
    for value in (True, 1.0, "1", None, [1], 2**64):
        endpoint = requires("read", context=lambda _, value=value: {"floor": value})(plain)  # type: ignore[misc]
        ask = Ask(shared_office, Starlette(routes=[Route("/x", endpoint)]))
        assert ask.outcome("GET", "/x") == INVALID, value
    endpoint = requires("read", context=lambda _: {"undeclared": 1})(plain)
    assert Ask(shared_office, Starlette(routes=[Route("/x", endpoint)])).outcome("GET", "/x") == INVALID
    assert ran == []


def test_values_without_an_action(shared_office: Office) -> None:
    """A route may add to the context and say no action; or take its action from the path, or from a function."""
    album = requires(path_parameters=["album"])(plain)
    verb = requires(path_parameters={"action": "verb"})(plain)

    async def of_query(connection: HTTPConnection) -> Mapping[str, object]:
        return {"action": connection.query_params["do"], "floor": connection.path_params["floor"]}

    ask = Ask(
        shared_office,
        Starlette(
            routes=[
                Route("/albums/{album}", album),
                Route("/verbs/{verb}", verb),
                Route("/floors/{floor:int}", requires(context=of_query)(plain)),
                Route("/ids/{album:uuid}", album),
            ]
        ),
    )
    name = "0a1b2c3d-0000-4000-8000-000000000000"
    for path, allowed, refused in (
        ("/albums/summer", "album = summer", "album = winter"),
        ("/verbs/read", "action = read", "action = write"),
        ("/floors/3?do=read", "action = read", "action = write"),
        ("/floors/3?do=read", "floor = 3", "floor > 3"),
        (f"/ids/{name}", f"album = {name}", "album = summer"),
    ):
        assert ask.outcome("GET", path, allowed) == (200, ""), path
        assert ask.outcome("GET", path, refused) == REFUSED, path
    assert ask.outcome("GET", "/albums/summer", "action = read") == NO_VALUE


def test_methods_of_an_object(shared_office: Office) -> None:
    """They are endpoints as any function is; what is no request is none."""

    class Desk:
        async def show(self, request: Request) -> Response:
            return seen(request)

    shown = requires("read")(Desk().show)
    ask = Ask(shared_office, Starlette(routes=[Route("/x", shown)]))
    assert ask.outcome("GET", "/x", "action = read") == (200, "")
    assert ask.outcome("GET", "/x", "action = write") == REFUSED
    with pytest.raises(TypeError, match="gets a Request"):
        asyncio.run(shown("no request"))  # type: ignore[arg-type]


def test_a_mounted_application_of_another_kind(shared_office: Office) -> None:
    """Files, say: judged by what is known of any request, before anything of it runs."""
    ask = Ask(shared_office, Starlette(routes=[Mount("/files", app=Opaque(Route("/x", plain)))]))
    assert ask.outcome("GET", "/files/x", "path = /files/x") == (200, "")
    assert ask.outcome("GET", "/files/x", "action = read") == NO_VALUE
    assert ask.outcome("GET", "/files/x", token=None) == MISSING
    assert ran == ["/files/x"]


@pytest.mark.parametrize("others", [[object()], ["/x"], {"/x": plain}, None, plain])
def test_another_framework_s_routes(shared_office: Office, others: object) -> None:
    """Are not taken for Starlette's: the request is judged by what is known of any."""

    class Framework:
        routes = others

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await PlainTextResponse("here")(scope, receive, send)

    for app in (Framework(), Starlette(routes=[Mount("/", app=Framework())])):
        ask = Ask(shared_office, app)
        assert ask.outcome("GET", "/x", "path = /x") == (200, "")
        assert ask.outcome("GET", "/x", "action = read") == NO_VALUE


def test_a_parameter_that_the_path_has_not(shared_office: Office) -> None:
    """A route that names one is faulty, and lets nobody in."""
    ask = Ask(shared_office, Starlette(routes=[Route("/x", requires("read", path_parameters=["album"])(plain))]))
    assert ask("GET", "/x").status_code == 500
    assert ran == []


def test_two_audiences(shared_office: Office) -> None:
    """No token is of both, so a route that requires both is faulty."""
    endpoint = requires("read", audience="default")(requires("list", audience="others")(plain))
    assert Ask(shared_office, Starlette(routes=[Route("/x", endpoint)]))("GET", "/x").status_code == 500
    assert ran == []


def test_what_cannot_be_required() -> None:
    """Mistakes are told when the program starts."""
    with pytest.raises(TypeError, match="action is text"):
        requires(plain)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="several names"):
        requires("read", path_parameters="album")
    for name in ("path", "method", "host", "ip", "action"):
        with pytest.raises(ValueError, match=f"{name}: known"):
            requires("read", path_parameters=[name])
    with pytest.raises(TypeError, match="named request or websocket"):
        requires("read")(lambda: None)
    with pytest.raises(TypeError, match="no generator"):

        @requires("read")
        async def events(request: Request) -> Any:
            yield request

    with pytest.raises(TypeError, match="no generator"):

        @requires("read")
        def lines(request: Request) -> Any:
            yield request

    assert repr(requires("read")) == "<requires read>"
    with pytest.raises(TypeError, match="that is a function"):
        requires("read")(Photos)
    with pytest.raises(TypeError, match="that is a function"):
        requires("read")(Starlette())


def test_without_the_middleware(shared_office: Office) -> None:
    """Nothing is decided and nothing runs: a program that forgot it does not work."""
    ask = Ask(shared_office, Starlette(routes=routes()))
    ask.transport = httpx.ASGITransport(Starlette(routes=routes()))
    with pytest.raises(RuntimeError, match="needs CapsvcMiddleware"):
        ask("GET", "/read")
    assert ran == []


class Opaque:
    """An application that does not show its routes."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on."""
        await self._inner(scope, receive, send)


def test_routes_that_cannot_be_read(shared_office: Office) -> None:
    """The request is judged as any, and once more where the endpoint requires something: by both measures."""
    ask = Ask(shared_office, Opaque(Starlette(routes=routes())))
    assert ask("GET", "/read").json() == {"subject": "alice", "scopes": ["authenticated", "read"]}
    assert ask.outcome("GET", "/thread", "method = GET") == (200, "")
    assert ran == ["/read", "/thread"]
    assert ask.outcome("GET", "/read", "action = read") == NO_VALUE
    assert ask.outcome("GET", "/nowhere") == (404, "")
    faulty = Ask(shared_office, Opaque(Starlette(routes=[Route("/x", requires("read", audience="others")(plain))])))
    assert faulty.outcome("GET", "/x") == (401, "wrong-audience")
    assert ran == ["/read", "/thread"]


def test_a_refusal_is_the_middleware_s_to_word(shared_office: Office) -> None:
    """Whatever an application makes of refusals, and wherever its own layers are, the same problem is answered."""

    def teapot(_request: Request, _error: Exception) -> Response:
        return PlainTextResponse("short and stout", 418)

    inner = Starlette(
        routes=[Route("/x", requires("read", audience="others")(plain))],
        exception_handlers={404: teapot, 401: teapot, Exception: teapot},
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=_pass)],
        debug=True,
    )
    ask = Ask(shared_office, Opaque(inner))
    answer = ask("GET", "/x")
    assert (answer.status_code, answer.json()["code"]) == (401, "wrong-audience")
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert ask("GET", "/nowhere").status_code == 418
    assert ran == []


async def _pass(request: Request, call_next: Callable[[Request], Any]) -> Response:
    response: Response = await call_next(request)
    response.headers["x-passed"] = "yes"
    return response


class Rewriting:
    """What must not be within the middleware: it makes another request of the one that was judged."""

    def __init__(self, app: ASGIApp, path: str, **changed: object) -> None:
        self.app = app
        self._changed = {"path": path, **changed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Change the scope."""
        if scope["type"] == "http":
            scope = {**scope, **self._changed}
        await self.app(scope, receive, send)


def test_a_route_that_was_not_judged(shared_office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """Where something within changes routes, the answer of one that was not judged does not get out."""
    ask = Ask(shared_office, Rewriting(Starlette(routes=routes()), "/plain"))
    with caplog.at_level(logging.ERROR, "capsvc.asgi"):
        answer = ask("GET", "/read", "action = read")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert "without coming to its requires()" in caplog.text
    assert ran == ["/plain"]


def test_a_request_that_became_another(shared_office: Office) -> None:
    """What was judged does not count for it: it is judged once more, as its route has it, and by both measures."""
    app = Starlette(routes=[*routes(), Route("/write", requires("write")(plain), methods=["GET", "PUT"])])
    winter = {"path": "/albums/winter", "raw_path": b"/albums/winter"}
    for changed, target, caveats, outcome in (
        ({"path": "/albums/winter"}, "/albums/summer", [], INVALID),
        ({"path": "/albums/summer", "raw_path": b"/albums/winter"}, "/albums/summer", [], INVALID),
        (winter, "/albums/summer", ["album = summer"], REFUSED),
        (winter, "/albums/summer", ["path = /albums/summer"], REFUSED),
        (winter, "/albums/summer", [], (200, "")),
        (winter, "/albums/winter", ["album = winter"], (200, "")),
        ({"path": "/write", "method": "PUT"}, "/write", ["method = GET"], REFUSED),
        ({"path": "/write", "method": "PUT"}, "/write", [], (200, "")),
    ):
        ask = Ask(shared_office, Rewriting(app, **changed))
        assert ask.outcome("GET", target, *caveats) == outcome, (changed, caveats)


@pytest.mark.parametrize(
    ("root_path", "path", "raw_path", "judged"),
    [
        ("", "/plain", b"/plain", "/plain"),
        ("/api", "/api/plain", b"/api/plain", "/api/plain"),
        ("/api", "/plain", b"/api/plain", "/api/plain"),
        ("/api", "/plain", b"/plain", "/api/plain"),
        ("/api", "/api/plain", b"/plain", "/api/plain"),
        ("/api/", "/plain", b"/plain", "/api/plain"),
        ("", "/plain", b"/plain?a=b", "/plain"),
        ("", "/plain", b"/other", None),
        ("", "/plain", b"/plain/", None),
        ("", "/plain/x", b"/plain%2Fx", None),
        ("", "/plain", b"/%70lain", None),
        ("/other", "/plain", b"/third/plain", None),
        ("/a b", "/plain", b"/plain", None),
        ("/api", "/apiplain", b"/apiplain", "/api/apiplain"),
        ("", "/plain", None, None),
        ("", "/pl\ufffdin", b"/pl%FFin", None),
    ],
)
def test_the_path_is_judged_whole_and_as_sent(
    shared_office: Office, root_path: str, path: str, raw_path: bytes | None, judged: str | None
) -> None:
    """``raw_path``, with what was in front of it; where the application would see another resource, refused."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        await PlainTextResponse("here")(scope, _receive, send)

    ask = Ask(shared_office, app)

    def outcome(*caveats: str) -> int:
        token = narrowed(shared_office.mint(), *caveats) if caveats else shared_office.mint()
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": raw_path,
            "root_path": root_path,
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {token}".encode())],
        }
        return _drive(ask.app, scope)

    assert outcome() == (403 if judged is None else 200)
    if judged is not None:
        assert outcome(f"path = {judged}") == 200
        assert outcome(f"path = {judged}/x") == 403


def _drive(app: ASGIApp, scope: Scope) -> int:
    """Send a scope as a server would; the status of the answer."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        await app(scope, receive, send)

    asyncio.run(run())
    status: int = sent[0]["status"]
    return status


def test_a_mounted_application_is_judged_on_the_whole_path(office: Office, guard: Guard) -> None:
    """By a middleware around all of it, or its own within a mount; through a server, below a prefix or not."""
    inner = Starlette(routes=[Route("/photos", read)])
    inner.add_middleware(CapsvcMiddleware, verifier=office.verifier("embedded"), audience="default", clock=office.clock)
    outer = guard(office, Starlette(routes=[Mount("/inner", app=inner)]), exempt=["/inner/"])
    around = guard(office, Starlette(routes=[Mount("/inner", routes=[Route("/photos", read)])]))
    for running in (outer, around):
        assert running.outcome("/inner/photos", narrowed(office.mint(), "path = /inner/photos")) == (200, "")
        assert running.outcome("/inner/photos", narrowed(office.mint(), "path = /photos")) == REFUSED
        assert running.outcome("/inner/photos", narrowed(office.mint(), "action = write")) == REFUSED
        assert running.outcome("/inner/photos") == MISSING
    prefixed = guard(office, Starlette(routes=[Route("/photos", read)]), server={"root_path": "/api"})
    assert prefixed.outcome("/photos", narrowed(office.mint(), "path = /api/photos")) == (200, "")
    assert prefixed.outcome("/photos", narrowed(office.mint(), "path = /photos")) == REFUSED


def test_a_verifier_that_fails(shared_office: Office) -> None:
    """Whatever it raises or returns, only a grant for the audience that was asked about lets anybody in."""
    real = EmbeddedVerifier(shared_office.authority)

    class Odd:
        recheck = 1.0

        def __init__(self, answer: Callable[[Grant], Any]) -> None:
            self._answer = answer

        async def open(self) -> None: ...

        async def aclose(self) -> None: ...

        async def authorize(self, bundle: str, **options: Any) -> Any:
            return self._answer(await real.authorize(bundle, **options))

    def fail(_grant: Grant) -> Any:
        raise KeyError("boom")

    def deny(_grant: Grant) -> Any:
        raise Denied("unavailable")

    answers: list[tuple[Callable[[Grant], Any], int]] = [
        (lambda grant: grant, 200),
        (lambda _: True, 500),
        (lambda _: None, 500),
        (lambda grant: Grant("i", "others", "root", grant.issued_at, grant.expires_at, {}, {}, ()), 500),
        (lambda _: real.authorize, 500),
        (fail, 500),
        (deny, 503),
    ]
    for answer, status in answers:
        ask = Ask(shared_office, Starlette(routes=routes()), verifier=Odd(answer))
        if status == 500:  # nobody is around the middleware here to make an answer of its fault
            ask.transport.raise_app_exceptions = True
            with pytest.raises((TypeError, KeyError)):
                ask("GET", "/read")
        else:
            assert ask("GET", "/read").status_code == status
    assert ran == ["/read"]


def test_an_answer_under_way_when_the_token_expires(shared_office: Office, office: Office) -> None:
    """A decision stands for the request that it was made for; the next one is refused."""

    @requires("read")
    async def slow(request: Request) -> Response:
        async def parts() -> Any:
            yield "one "
            office.clock.now += 3600
            yield "two"

        return StreamingResponse(parts())

    ask = Ask(office, Starlette(routes=[Route("/slow", slow)]))
    token = office.mint(ttl=60)
    assert ask("GET", "/slow", token=token).text == "one two"
    assert ask.outcome("GET", "/slow", token=token) == (401, "expired")


def test_protocols_that_it_does_not_know(shared_office: Office) -> None:
    """Are no way around it."""
    ask = Ask(shared_office, Starlette(routes=routes()))
    with pytest.raises(RuntimeError, match="does not protect"):
        _drive(ask.app, {"type": "webtransport"})
