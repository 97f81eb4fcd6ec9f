"""What a programmer gives wrongly is told where it is given, in a sentence that says what would be right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from capsvc.asgi import CapsvcMiddleware, EmbeddedVerifier, PrefixVerifier, RemoteVerifier, bakery_roots, requires
from capsvc.asgi.case import Complaints
from capsvc.errors import Denied

from .conftest import Guard, Office
from .test_remote import CREDENTIAL, GRANTED, TOKEN, URL


async def here(request: Request) -> Response:
    """Answers."""
    return PlainTextResponse("here")


async def root(_connection: object) -> str:
    """Gives no root."""
    return ""


async def decide() -> None:
    """A method of a verifier's."""


def verifier(**changed: object) -> Any:
    """Something that has all that a verifier has."""
    return SimpleNamespace(**{"authorize": decide, "open": decide, "aclose": decide, "recheck": 1, **changed})


def middleware(**given: Any) -> CapsvcMiddleware:
    """One that is made with what is given."""
    return CapsvcMiddleware(Starlette(), **{"verifier": verifier(), "audience": "default", **given})


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"exempt": ["/a/../b"]}, ValueError, "segment"),
        ({"exempt": ["open"]}, ValueError, "begins with /"),
        ({"exempt": ["/health*"]}, ValueError, r"no \*"),
        ({"trusted_proxies": ["0.0.0.0/0"]}, ValueError, "every address"),
        ({"trusted_proxies": ["proxy"]}, ValueError, "a proxy is"),
        ({"bakery": True}, ValueError, "mint_root"),
        ({"mint_root": root}, ValueError, "mint_root"),
        ({"origin": "https://photos.example.org"}, ValueError, "origin is for bakery"),
        *[
            ({"bakery": True, "mint_root": root, "origin": origin}, ValueError, "origin is a scheme and a host")
            for origin in (
                "photos.example.org",
                "https://photos.example.org/",
                "ftp://x",
                "https://é",
                "",
                "https://a b",
            )
        ],
        ({"verifier": None}, TypeError, "verifier"),
        ({"verifier": EmbeddedVerifier}, TypeError, "verifier"),
        ({"verifier": SimpleNamespace(authorize=decide, open=decide, aclose=decide)}, TypeError, "recheck"),
        ({"verifier": verifier(aclose=None)}, TypeError, "aclose"),
        ({"verifier": verifier(open=1)}, TypeError, "open"),
        ({"verifier": verifier(authorize="")}, TypeError, "authorize"),
        ({"verifier": verifier(recheck=0)}, ValueError, "recheck is over 0"),
        ({"verifier": verifier(recheck="1")}, TypeError, "recheck is a number"),
        ({"audience": ""}, ValueError, "audience is a word"),
        ({"audience": None}, ValueError, "audience is a word"),
        ({"audience": "My Audience"}, ValueError, "audience is a word"),
        ({"actions": {"get": "read"}}, ValueError, "actions must have methods in capitals"),
        ({"actions": {"GET": "read,write"}}, ValueError, "actions must be a word"),
        ({"actions": ["GET"]}, ValueError, "actions must be a table"),
    ],
)
def test_what_the_middleware_refuses_to_be(given: dict[str, Any], kind: type[Exception], words: str) -> None:
    """At the start, and not with every request."""
    with pytest.raises(kind, match=words):
        middleware(**given)


def test_what_the_middleware_takes(office: Office) -> None:
    """What is right, of each kind; also a verifier of somebody's own."""
    assert middleware(exempt="/")
    assert middleware(audience="capsvc")
    assert middleware(
        exempt=["/", "/assets/"], actions={"GET": "read", "M-SEARCH": "find:all"}, trusted_proxies=["::1"]
    )
    for origin in ("https://photos.example.org", "http://[::1]:8080", "HTTPS://Photos.example.org:443"):
        assert middleware(bakery=True, mint_root=root, origin=origin)
    for known in (EmbeddedVerifier(office.authority), RemoteVerifier(URL, CREDENTIAL), PrefixVerifier(URL, CREDENTIAL)):
        assert middleware(verifier=known)


def test_an_exempt_slash_is_the_home_page_alone(office: Office, guard: Guard) -> None:
    """Whoever exempts it does not mean everything below, as any other path with a slash at its end does."""
    routes = [Route(path, here) for path in ("/", "/x", "/assets/", "/assets/logo")]
    running = guard(office, Starlette(routes=routes), exempt=["/", "/assets/"])
    assert [running.outcome(path)[0] for path in ("/", "/assets/", "/assets/logo", "/x", "/assets")] == [
        200,
        200,
        200,
        401,
        401,
    ]
    assert running.outcome("/x", office.mint()) == (200, "")


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"action": "read,write"}, ValueError, "action is a word"),
        ({"action": ""}, ValueError, "action is a word"),
        ({"action": here}, TypeError, "action is text"),
        ({"audience": "no word"}, ValueError, "audience is a word"),
        ({"context": {"floor": 1}}, TypeError, "context is a function"),
        ({"path_parameters": "floor"}, TypeError, "path_parameters"),
        ({"path_parameters": ["ip"]}, ValueError, "ip"),
    ],
)
def test_what_a_route_cannot_require(given: dict[str, Any], kind: type[Exception], words: str) -> None:
    """Told where it is written."""
    with pytest.raises(kind, match=words):
        requires(**given)
    assert requires("read", audience="photos", context=lambda _: {}, path_parameters={"floor": "level"})


def test_the_action_of_a_method(office: Office, guard: Guard) -> None:
    """It is for whatever does not say its own: routes that add values, a whole application; a route's own word wins."""
    floor = requires(path_parameters=["floor"])(here)
    routes = [
        Route("/{floor:int}/floor", floor),
        Route("/write", requires("write")(here)),
        Route("/said", requires(context=lambda _: {"action": "write"})(here)),
        Route("/plain", here),
    ]
    running = guard(office, Starlette(routes=routes), actions={"GET": "read"})
    read, write = office.mint("action = read"), office.mint("action = write")
    for path in ("/3/floor", "/plain"):
        assert running.outcome(path, read) == (200, "")
        assert running.outcome(path, write) == (403, "caveat-refused")
    for path in ("/write", "/said"):
        assert running.outcome(path, write) == (200, "")
        assert running.outcome(path, read) == (403, "caveat-refused")


def test_a_context_that_is_not_as_declared(office: Office, guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    """The log says once which value it is; whoever is refused for it learns the code alone."""
    routes = [Route("/{floor}", requires(path_parameters=["floor"])(here))]
    running = guard(office, Starlette(routes=routes))
    for number in (3, 4):
        answer = running.get(f"/{number}", office.mint())
        assert answer.outcome == (403, "context-invalid")
        assert b"floor" not in answer.body
    said = [record.getMessage() for record in caplog.records if record.name == "capsvc.asgi"]
    assert len(said) == 1
    assert said[0].startswith("a request's context is refused: ")
    assert "floor" in said[0]


def test_how_much_the_log_is_told() -> None:
    """Callers choose paths, and there are many; not all of them are told of."""
    complaints = Complaints()
    with pytest.MonkeyPatch.context() as patch:
        said: list[object] = []
        patch.setattr("capsvc.asgi.case.logger.warning", lambda *words: said.append(words))
        for number in range(100):
            complaints.take(Denied("context-invalid", detail=f"value {number}"))
            complaints.take(Denied("context-invalid"))
    assert len(said) == 64


def test_a_parameter_that_the_path_does_not_have(
    office: Office, guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of the application, which says what it is; nobody gets in."""
    read = requires("read", path_parameters=["floor"])(here)
    running = guard(office, Starlette(routes=[Route("/x", read)]))
    assert running.get("/x", office.mint()).status == 500
    assert "has no parameter floor" in caplog.text


def test_a_dependency_that_was_not_called(office: Office, guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    """``Depends(requires)`` would require nothing: it lets nobody in, and says what is wrong."""
    app = FastAPI()
    app.get("/called", dependencies=[Depends(requires())])(here)
    app.get("/forgotten", dependencies=[Depends(requires)])(here)
    running = guard(office, app)
    token = office.mint()
    assert running.get("/called", token).status == 200
    assert running.outcome("/forgotten") == (401, "credential-missing")
    assert "Depends(requires" not in caplog.text  # nobody who shows nothing comes so far
    assert running.get("/forgotten", token).status == 500
    assert 'Depends(requires("..."))' in caplog.text


@pytest.mark.parametrize("time", [0, -1, float("nan"), float("inf"), True, "5", None])
def test_times(office: Office, time: Any) -> None:
    """Over 0, and with an end."""
    wrong: list[tuple[str, Callable[[], object]]] = [
        ("timeout", lambda: RemoteVerifier(URL, CREDENTIAL, timeout=time)),
        ("recheck", lambda: RemoteVerifier(URL, CREDENTIAL, recheck=time)),
        ("recheck", lambda: EmbeddedVerifier(office.authority, recheck=time)),
        ("timeout", lambda: PrefixVerifier(URL, CREDENTIAL, timeout=time)),
        ("revocation_max_lag", lambda: PrefixVerifier(URL, CREDENTIAL, revocation_max_lag=time)),
    ]
    for name, make in wrong:
        with pytest.raises((TypeError, ValueError), match=f"^{name} is"):
            make()


def test_the_longest_lag() -> None:
    """A minute, as for the service itself."""
    assert PrefixVerifier(URL, CREDENTIAL, revocation_max_lag=60)
    with pytest.raises(ValueError, match="revocation_max_lag is over 0 seconds, and 60 at most"):
        PrefixVerifier(URL, CREDENTIAL, revocation_max_lag=60.1)


@pytest.mark.parametrize(
    "third_party", ["http://127.0.0.1:8701", {"location": "http://127.0.0.1:8701"}, ["http://127.0.0.1:8701"]]
)
def test_third_parties_of_a_root(office: Office, third_party: Any) -> None:
    """They are a list of mappings, as for minting."""
    with pytest.raises(TypeError, match="third_party is a list"):
        bakery_roots(office.authority, audience="default", third_party=third_party)


# Event loops: each test of a program's has its own.


async def granting(request: httpx.Request) -> httpx.Response:
    """Allows everything, and has no news."""
    await asyncio.sleep(0.01)
    if request.url.path == "/.well-known/capsvc":
        return httpx.Response(200, json={"attributes": {}})
    if request.url.path == "/v1/revocations":
        return httpx.Response(200, json={"epoch": "e", "cursor": "c", "entries": [], "more": False})
    return httpx.Response(200, json=GRANTED)


@pytest.mark.parametrize("kind", [RemoteVerifier, PrefixVerifier])
def test_one_loop_after_another(kind: Any) -> None:
    """A verifier whose loop has ended begins anew on the next, closed or not."""
    used = kind(URL, CREDENTIAL, transport=httpx.MockTransport(granting))

    async def ask(close: bool) -> str:
        grant = await used.authorize(TOKEN, audience="default", context={})
        if close:
            await used.aclose()
        return str(grant.audience)

    assert [asyncio.run(ask(close)) for close in (False, False, True, False)] == ["default"] * 4


@pytest.mark.parametrize("kind", [RemoteVerifier, PrefixVerifier])
def test_closing_on_another_loop(kind: Any) -> None:
    """Once the first has ended there is nothing left to close."""
    used = kind(URL, CREDENTIAL, transport=httpx.MockTransport(granting))
    asyncio.run(used.authorize(TOKEN, audience="default", context={}))
    asyncio.run(used.aclose())
    assert asyncio.run(used.authorize(TOKEN, audience="default", context={})).audience == "default"


@pytest.mark.parametrize("kind", [RemoteVerifier, PrefixVerifier])
def test_two_loops_at_once(kind: Any) -> None:
    """It is for one; the other is told so, and can close nothing, until it has been closed there."""
    used = kind(URL, CREDENTIAL, transport=httpx.MockTransport(granting))
    ask = {"audience": "default", "context": {}}
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(used.authorize(TOKEN, **ask))
        with pytest.raises(RuntimeError, match="one event loop"):
            second.run(used.authorize(TOKEN, **ask, critical=True))
        for use in (used.open, used.aclose):
            with pytest.raises(RuntimeError, match="one event loop"):
                second.run(use())
        first.run(used.authorize(TOKEN, **ask, critical=True))
        first.run(used.aclose())
        assert second.run(used.authorize(TOKEN, **ask)).audience == "default"
        second.run(used.aclose())
