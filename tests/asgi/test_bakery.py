"""macaroonbakery's own client, unmodified, reaches a route through a discharge; and nobody else gains by it."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import requests
from macaroonbakery import bakery, checkers, httpbakery
from macaroonbakery.httpbakery.agent import Agent, AgentInteractor, AuthInfo
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from capsvc.asgi import CapsvcMiddleware, bakery_roots
from capsvc.client import AsyncClient, Client
from capsvc.discharge import Answer, Declared, Interaction, KeyPair, Refused, create_discharger
from capsvc.discharge.agent import AgentLogin
from capsvc.macaroon.bundle import split
from capsvc.macaroon.formats import read_v2json
from capsvc.macaroon.thirdparty import key_text
from capsvc.token import Token

from ..client.dischargers import BakeryDischarger  # noqa: TID252 - macaroonbakery's, as the client meets it
from ..client.dischargers import serving as playing  # noqa: TID252 - the same
from .application import application
from .conftest import PATIENCE, Guard, Guarded, Office, guarding, serving

VERSION = {"Bakery-Protocol-Version": "3"}


async def check(condition: str, request: Request) -> Answer:
    """Whoever has said who he is, is a user."""
    if condition != "is-user":
        return Refused("no such condition")
    return Interaction() if request.state.user is None else Declared({"username": request.state.user})


@dataclass
class World:
    """A protected application, its third party, and what its clients use."""

    office: Office
    location: str
    robot: Any
    guarded: Guarded
    roots: list[str]

    def client(self, key: Any = None) -> Any:
        """A client of macaroonbakery's, as the agent or with another key."""
        pair = self.robot if key is None else key
        info = AuthInfo(key=pair, agents=[Agent(url=self.location, username="robot")])
        return httpbakery.Client(interaction_methods=[AgentInteractor(info)])

    def ask(self, client: Any, method: str, path: str, **options: Any) -> requests.Response:
        """One request of that client."""
        answer: requests.Response = client.request(method, self.guarded.url + path, timeout=PATIENCE, **options)
        return answer

    def cookie(self, client: Any) -> dict[str, str]:
        """What that client sends with its next request."""
        (cookie,) = client.cookies
        return {"Cookie": f"{cookie.name}={cookie.value}"}


MINTERS = ("authority", "client")


def world_of(held: ExitStack, office: Office, minter: str = "authority", **options: Any) -> World:
    """Everything, on loopback."""
    office.clock.now = int(time.time())  # by which the client keeps cookies
    robot, key = bakery.generate_key(), KeyPair.generate()

    def discharger(location: str) -> ASGIApp:
        login = AgentLogin({"robot": [str(robot.public_key)]})
        return create_discharger(
            check, key=key, location=location, trust=[office.authority.public_key], logins=[login], clock=office.clock
        )

    location = held.enter_context(serving(discharger, lifespan="off", ws="none"))
    office.authority.add_discharger(name="login", location=location, public_key=key_text(key.public))
    minters: dict[str, Any] = {
        "authority": lambda: office.authority,
        "client": lambda: held.enter_context(Client(office.url, office.credential, timeout=PATIENCE)),
    }
    third_party = [{"location": location, "condition": "is-user", "declare": ["username"]}]
    mint = bakery_roots(minters[minter](), audience="default", third_party=third_party, clock=office.clock)
    roots: list[str] = []

    async def counted(connection: Any) -> str:
        roots.append(await mint(connection))
        return roots[-1]

    app = application()

    @app.get("/whoami")
    @app.post("/whoami")
    async def whoami(request: Request) -> Any:
        return {name: dict(values) for name, values in request.state.grant.declared.items()}

    given = {"verifier": office.verifier("embedded"), "bakery": True, "mint_root": counted, "clock": office.clock}
    inner = CapsvcMiddleware(app, audience="default", **{**given, **options})
    return World(office, location, robot, held.enter_context(guarding(inner, office)), roots)


@pytest.fixture
def world(office: Office) -> Iterator[World]:
    """One for a test."""
    with ExitStack() as held:
        yield world_of(held, office)


@pytest.mark.parametrize("minter", MINTERS)
def test_an_unmodified_client_reaches_a_route(office: Office, minter: str) -> None:
    """It asks, discharges the root that it gets, and comes again with a cookie, for everything."""
    with ExitStack() as held:
        world = world_of(held, office, minter)
        client = world.client()
        answer = world.ask(client, "GET", "/whoami")
        assert (answer.status_code, answer.json()) == (200, {"login": {"username": "robot"}})
        assert world.ask(client, "GET", "/photos").status_code == 200
        assert world.ask(client, "POST", "/whoami").status_code == 200
        assert len(world.roots) == 1
        assert len(client.cookies) == 1
        with pytest.raises(httpbakery.InteractionError, match="cannot"):
            world.ask(world.client(bakery.generate_key()), "GET", "/whoami")


def test_roots_by_an_async_client(world: World) -> None:
    """It mints as the others do, on the event loop."""

    async def mint() -> str:
        async with AsyncClient(world.office.url, world.office.credential, timeout=PATIENCE) as client:
            third_party = [{"location": world.location, "condition": "is-user"}]
            roots = bakery_roots(
                client,
                audience="default",
                third_party=third_party,
                ttl=60,
                caveats=["method = GET"],
                clock=lambda: 10**9,
            )
            return await roots(HTTPConnection({"type": "http"}))

    root = Token.parse(asyncio.run(mint()))
    assert root.caveats[1:] == ("method = GET", "time-before 2001-09-09T01:47:40Z", world.location)
    assert root.expires_at == datetime(2001, 9, 9, 1, 47, 40, tzinfo=UTC)


def test_a_discharger_of_macaroonbakery_s(office: Office, guard: Guard) -> None:
    """The same with the library at both ends."""
    theirs = BakeryDischarger(lambda _: [checkers.declared_caveat("username", "bob")])
    office.clock.now = int(time.time())
    with playing(theirs) as location:
        office.authority.add_discharger(name="theirs", location=location, public_key=theirs.public_key)
        roots = bakery_roots(
            office.authority,
            audience="default",
            third_party=[{"location": location, "condition": "any", "declare": ["username"]}],
            clock=office.clock,
        )
        running = guard(office, bakery=True, mint_root=roots)
        answer = httpbakery.Client(interaction_methods=[]).request("GET", running.url + "/photos", timeout=PATIENCE)
        assert answer.status_code == 200
        assert answer.json()["scopes"] == ["read"]


def test_the_401(world: World) -> None:
    """Exactly what the clients take: one challenge, the media type without parameters, a fresh root each time."""
    heard = world.guarded.get("/photos", None, **VERSION)
    assert heard.status == 401
    assert heard.headers.get_list("www-authenticate") == ["Macaroon"]
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["cache-control"] == "no-store"
    body = heard.json
    assert body.keys() == {"Code", "Message", "Info"}
    assert body["Code"] == "macaroon discharge required"
    info = body["Info"]
    assert (info["MacaroonPath"], info["CookieNameSuffix"]) == ("/", "capsvc")
    assert info.keys() == {"Macaroon", "MacaroonPath", "CookieNameSuffix"}
    root = read_v2json(json.dumps(info["Macaroon"]))
    assert split(world.roots[-1]) == (root,)
    names = [caveat.cid.partition(b" ")[0] for caveat in root.caveats if caveat.vid is None]
    assert sorted(names) == [b"time", b"time-before"]
    assert [caveat.location for caveat in root.caveats if caveat.vid is not None] == [world.location.encode()]
    again = read_v2json(json.dumps(world.guarded.get("/photos", None, **VERSION).json["Info"]["Macaroon"]))
    assert again.identifier != root.identifier


def test_only_for_who_speaks_bakery(world: World) -> None:
    """Others get a problem and a Bearer challenge, and of them no cookie and no Macaroons header is read."""
    client = world.client()
    world.ask(client, "GET", "/photos")
    cookie = world.cookie(client)
    macaroons = {"Macaroons": cookie["Cookie"].partition("=")[2]}
    minted = len(world.roots)
    assert world.guarded.get("/photos", None).outcome == (401, "credential-missing")
    for presented in (cookie, macaroons):
        assert world.guarded.get("/photos", None, **presented).outcome == (401, "credential-missing")
        assert world.guarded.get("/photos", None, **presented, **VERSION).outcome == (200, "")
    assert len(world.roots) == minted


def test_off_by_default(world: World, guard: Guard) -> None:
    """A middleware that was not told answers no client so, and reads nothing but Authorization."""
    client = world.client()
    world.ask(client, "GET", "/photos")
    plain = guard(world.office)
    assert plain.get("/photos", None, **VERSION).outcome == (401, "credential-missing")
    assert plain.get("/photos", None, **VERSION, **world.cookie(client)).outcome == (401, "credential-missing")
    assert plain.get("/photos", world.office.mint(), **VERSION).outcome == (200, "")


def test_a_bearer_token_counts_before_all(world: World) -> None:
    """With a good one nothing else is looked at; with a bad one the client gets a root."""
    good = world.office.mint()
    assert world.guarded.get("/photos", good, **VERSION, Cookie="macaroon-capsvc=nonsense").outcome == (200, "")
    narrow = str(Token.parse(good).attenuate("action = write"))
    assert world.guarded.get("/photos", narrow, **VERSION).outcome == (403, "caveat-refused")
    assert world.roots == []
    assert world.guarded.get("/photos", "AgEE", **VERSION).json["Code"] == "macaroon discharge required"
    two = [f"Authorization: Bearer {good}", "Bakery-Protocol-Version: 3"]
    assert world.guarded.send("/photos", good, *two).outcome == (400, "bad-request")


def test_what_is_no_usable_token(world: World) -> None:
    """Nonsense, another's cookie, a root without its discharge, an expired one: a root, and the client begins anew."""
    client = world.client()
    world.ask(client, "GET", "/photos")
    good = world.cookie(client)["Cookie"].partition("=")[2]
    macaroons = json.loads(base64.urlsafe_b64decode(good))
    undischarged = base64.urlsafe_b64encode(json.dumps(macaroons[:1]).encode()).decode()
    turned = base64.urlsafe_b64encode(json.dumps(macaroons[::-1]).encode()).decode()
    standard = base64.b64encode(json.dumps(macaroons).encode()).decode()
    twice = base64.urlsafe_b64encode(json.dumps(macaroons).replace('"i":', '"i": "x", "i":', 1).encode()).decode()
    for value, status in {
        good: 200,
        standard: 200,
        f"{good} ": 200,
        undischarged: 401,
        turned: 401,
        twice: 401,
        good.rstrip("="): 200 if good[-1] != "=" else 401,
        good[:-8]: 401,
        good + "A": 401,
        "": 401,
        "W10=": 401,
        "e30=": 401,
        "bnVsbA==": 401,
        "W251bGxd": 401,
        "/w==": 401,
        base64.b64encode(b"[" * 20_000).decode(): 401,
    }.items():
        heard = world.guarded.send("/photos", None, f"Cookie: macaroon-capsvc={value}", "Bakery-Protocol-Version: 3")
        assert heard.status == status, value[:80]
        assert status == 200 or heard.json["Code"] == "macaroon discharge required"
    for name in ("macaroon-other", "Macaroon-capsvc", "macaroon-capsvc2", "capsvc"):
        heard = world.guarded.send("/photos", None, f"Cookie: {name}={good}", "Bakery-Protocol-Version: 3")
        assert heard.status == 401, name
    crowd = f"Cookie: a=b; macaroon-other=x; macaroon-capsvc={good}; c"
    assert world.guarded.send("/photos", None, crowd, "Bakery-Protocol-Version: 3").status == 200
    world.office.clock.now += 301  # the discharge is over
    assert world.guarded.get("/photos", None, **world.cookie(client), **VERSION).status == 401
    assert world.ask(client, "GET", "/photos").status_code == 200


def test_several_tokens(world: World) -> None:
    """Which of them counts is nobody's guess: a cookie that somebody tossed in is not taken for another's."""
    client = world.client()
    world.ask(client, "GET", "/photos")
    cookie = world.cookie(client)["Cookie"]
    value = cookie.partition("=")[2]
    for lines in (
        [f"Cookie: {cookie}; {cookie}"],
        [f"Cookie: {cookie}", f"Cookie: {cookie}"],
        [f"Cookie: {cookie}", f"Macaroons: {value}"],
        [f"Macaroons: {value},{value}"],
        [f"Macaroons: {value}", f"Macaroons: {value}"],
    ):
        heard = world.guarded.send("/photos", None, "Bakery-Protocol-Version: 3", *lines)
        assert heard.outcome == (400, "bad-request"), lines
    assert world.guarded.send("/photos", None, "Bakery-Protocol-Version: 3", f"Cookie: {cookie}").outcome == (200, "")


@pytest.mark.parametrize(
    ("origin", "counts"),
    [
        (None, True),
        ("http://HOST", True),
        ("HTTP://HOST", True),
        ("https://HOST", False),
        ("http://HOST:1", False),
        ("http://HOST.example", False),
        ("http://example.org", False),
        ("null", False),
        ("", False),
        ("http://HOST, http://HOST", False),
    ],
)
def test_cookies_and_other_people_s_pages(world: World, origin: str | None, counts: bool) -> None:
    """On what changes something a cookie counts for our own pages alone; what only reads, and a header, always."""
    client = world.client()
    world.ask(client, "GET", "/photos")
    headers = {**VERSION, **world.cookie(client)}
    host = world.guarded.url.removeprefix("http://")
    if origin is not None:
        headers["Origin"] = origin.replace("HOST", host)
    assert world.guarded.ask("GET", "/whoami", **headers).status == 200
    assert world.guarded.ask("POST", "/whoami", **headers).status == (200 if counts else 401)
    headers["Macaroons"] = headers.pop("Cookie").partition("=")[2]
    assert world.guarded.ask("POST", "/whoami", **headers).status == 200


def test_an_origin_that_a_proxy_hides(office: Office) -> None:
    """It is the one that the middleware was told, whatever the request says of itself."""
    with ExitStack() as held:
        world = world_of(held, office, origin="https://photos.example.org")
        client = world.client()
        world.ask(client, "GET", "/photos")
        headers = {**VERSION, **world.cookie(client)}
        assert world.guarded.ask("POST", "/whoami", Origin="https://photos.example.org", **headers).status == 200
        assert world.guarded.ask("POST", "/whoami", Origin=world.guarded.url, **headers).status == 401


def test_websockets(world: World) -> None:
    """A browser opens one for anybody's page, with cookies: they count for our own alone, though it is a GET."""
    client = world.client()
    world.ask(client, "GET", "/photos")
    url = world.guarded.url.replace("http://", "ws://") + "/unasked"
    headers = {**VERSION, **world.cookie(client)}
    for origin, status in ((None, 101), (world.guarded.url, 101), ("http://example.org", 401)):
        more = {} if origin is None else {"Origin": origin}
        try:
            with connect(url, additional_headers={**headers, **more}, proxy=None, open_timeout=PATIENCE) as opened:
                response = opened.response
        except InvalidStatus as refused:
            response = refused.response
        assert response is not None
        assert response.status_code == status


def test_roots_that_are_none(office: Office, guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    """A root that would let everybody in, or that clients keep for ever, is not given out."""
    made: list[Any] = []

    async def mint_root(_connection: Any) -> str:
        if isinstance(made[0], Exception):
            raise made[0]
        return str(made[0])

    running = guard(office, bakery=True, mint_root=mint_root)
    until = "time-before 2026-11-22T12:30:00Z"
    for wrong in (office.mint(), office.mint(until), "nonsense", RuntimeError("a secret"), "AgEE~AgEE"):
        made[:] = [wrong]
        caplog.clear()
        for _ in range(2):
            with caplog.at_level(logging.ERROR, "capsvc.asgi"):
                assert running.get("/photos", None, **VERSION).outcome == (503, "unavailable")
        assert len(caplog.records) <= 1  # once, until it works again
        assert "a secret" not in caplog.text
    with pytest.raises(ValueError, match="third_party"):
        bakery_roots(office.authority, audience="default", third_party=[])


def test_roots_are_rationed(world: World) -> None:
    """Whoever asks has shown nothing, and each root leaves a row behind: past a rate, 429; tokens are judged on."""
    statuses = [world.guarded.get("/photos", None, **VERSION).status for _ in range(120)]
    assert set(statuses[:40]) == {401}
    assert 429 in statuses
    assert len(world.roots) == statuses.count(401)
    assert world.guarded.get("/photos", world.office.mint(), **VERSION).outcome == (200, "")
    assert world.guarded.get("/photos", None).outcome == (401, "credential-missing")


def test_a_revoked_root(world: World) -> None:
    """What came of it dies with it: the client gets another root, and begins anew."""
    client = world.client()
    world.ask(client, "GET", "/photos")
    world.office.authority.revoke(id=Token.parse(world.roots[0]).id)
    assert httpx.get(f"{world.guarded.url}/photos", headers={**VERSION, **world.cookie(client)}).status_code == 401
    assert world.ask(client, "GET", "/photos").status_code == 200
    assert len(world.roots) == 3
