"""CapabilityAuth with a real service and real dischargers, ours and macaroonbakery's, all on one frozen clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from macaroonbakery import checkers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from capsvc import Settings, create_app
from capsvc.client import CapabilityAuth, Client, Denied, DischargeError
from capsvc.discharge import (
    AgentLogin,
    Answer,
    Declared,
    Interaction,
    KeyPair,
    Login,
    Refused,
    Surroundings,
    create_discharger,
)
from capsvc.errors import STATUS
from capsvc.macaroon.encoding import b64encode
from capsvc.macaroon.thirdparty import key_text
from capsvc.token import Token

from ..discharge.conftest import Clock, listening  # noqa: TID252 - the same servers
from .dischargers import Answer as Forged
from .dischargers import BakeryDischarger, serving
from .dischargers import Request as Asked

ORIGIN = "https://photos.example"
AGENT = KeyPair(b"\3" * 32)


class Doorbell:
    """A login of people: whoever visits is let in as alice."""

    kind = "browser-window"

    def install(self, surroundings: Surroundings) -> None:
        """Learn whose login it is."""
        self._around = surroundings

    def routes(self) -> Sequence[Route]:
        """Its one page."""
        return [Route("/ring", self._ring)]

    def offer(self, begin: Callable[[], Any]) -> dict[str, object]:
        """Where it is, and where its outcome is waited for."""
        begun = begin()
        return {
            "VisitURL": self._around.url(f"/ring?visit={begun.visit}"),
            "WaitTokenURL": self._around.wait_url(begun),
        }

    def user(self, token: bytes, caveat: bytes) -> str | None:
        """Whom a visit let in."""
        return self._around.waits.user(token, caveat)

    async def _ring(self, request: Request) -> Response:
        consented = self._around.waits.consent(request.query_params["visit"], "alice")
        return PlainTextResponse("come in" if consented else "gone", 200 if consented else 404)


async def check(condition: str, request: Request) -> Answer:
    """Whoever has said who he is, is; nobody else."""
    if condition != "is-somebody":
        return Refused("no such condition")
    user = request.state.user
    return Interaction() if user is None else Declared({"username": user})


@dataclass
class Live:
    """A service, its clock, an administrator, and our discharger, registered as ``login``."""

    clock: Clock
    url: str
    client: Client
    login: str
    asked: list[str] = field(default_factory=list)

    def register(self, name: str, location: str, public_key: str) -> None:
        """Make a discharger known."""
        body = {"name": name, "location": location, "public_key": public_key}
        headers = {"authorization": f"Bearer {self.client._connection._credential}"}
        with httpx.Client(trust_env=False) as http:
            http.post(f"{self.url}/v1/dischargers", json=body, headers=headers).raise_for_status()

    def mint(self, *locations: str, ttl: int = 3600, condition: str = "is-somebody") -> str:
        """A token that asks who somebody is, at each location."""
        third_party = [{"location": place, "condition": condition, "declare": ["username"]} for place in locations]
        return self.client.mint(audience="default", ttl=ttl, third_party=third_party).token

    def photos(self, request: httpx.Request) -> httpx.Response:
        """A service that asks the authority, and says whom it let in."""
        bundle = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.asked.append(bundle)
        context = {"method": request.method, "path": request.url.raw_path.decode().partition("?")[0]}
        try:
            grant = self.client.authorize(bundle, audience="default", context=context)
        except Denied as denied:
            content = json.dumps({"code": denied.code}).encode()
            challenge = {"www-authenticate": 'Bearer error="invalid_token"', "content-type": "application/problem+json"}
            return httpx.Response(STATUS[denied.code], headers=challenge, content=content)
        declared = {name: dict(values) for name, values in grant.declared.items()}
        return httpx.Response(200, json={"declared": declared})


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """A service and a discharger of ours, on loopback."""
    clock = Clock()
    key = KeyPair.generate()

    def discharger(url: str) -> ASGIApp:
        logins: list[Login] = [Doorbell(), AgentLogin({"build-bot": [key_text(AGENT.public)]})]
        return create_discharger(check, key=key, location=url, allow_any=True, logins=logins, clock=clock)

    with ExitStack() as held:
        service = create_app(Settings(data_dir=tmp_path / "data"), clock=clock)
        url = held.enter_context(listening(lambda _: service))
        login = held.enter_context(listening(discharger))
        credential = (tmp_path / "data" / "admin.token").read_text()
        client = held.enter_context(Client(url, credential, timeout=60))
        made = Live(clock, url, client, login)
        made.register("login", login, key_text(key.public))
        yield made


Send = Callable[[Live, CapabilityAuth, str], httpx.Response]


def _sync(live: Live, auth: CapabilityAuth, url: str) -> httpx.Response:
    with httpx.Client(transport=httpx.MockTransport(live.photos), auth=auth) as client:
        return client.get(url)


def _async(live: Live, auth: CapabilityAuth, url: str) -> httpx.Response:
    async def run() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.MockTransport(live.photos), auth=auth) as client:
            return await client.get(url)

    return asyncio.run(run())


@pytest.fixture(params=[_sync, _async], ids=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Send:
    """Sends a request with one of httpx's two clients."""
    chosen: Send = request.param
    return chosen


def ring(url: str) -> None:
    """A person who visits."""
    with httpx.Client(trust_env=False) as browser:
        assert browser.get(url).text == "come in"


def test_a_person_and_an_agent(live: Live, send: Send) -> None:
    """Whom the issuer's document names is asked: the service lets them in, and says who they are."""
    token = live.mint(live.login)
    for how, who in (({"visit": ring}, "alice"), ({"agent": (AGENT, "build-bot")}, "build-bot")):
        options: dict[str, Any] = how
        auth = CapabilityAuth(token, ORIGIN, issuer=live.url, clock=live.clock, timeout=60, **options)
        answer = send(live, auth, f"{ORIGIN}/albums")
        assert (answer.status_code, answer.json()) == (200, {"declared": {"login": {"username": who}}})
    with pytest.raises(DischargeError) as caught:
        send(live, CapabilityAuth(token, ORIGIN, issuer=live.url, clock=live.clock, timeout=60), f"{ORIGIN}/albums")
    assert (caught.value.code, caught.value.location) == ("interaction-required", live.login)


def test_without_discharges_the_service_refuses(live: Live, send: Send) -> None:
    """The control: the same token without them, or a condition that the discharger refuses."""
    token = live.mint(live.login)
    answer = live.photos(httpx.Request("GET", ORIGIN, headers={"authorization": f"Bearer {token}"}))
    assert (answer.status_code, answer.json()["code"]) == (401, "discharge-missing")
    wrong = live.mint(live.login, condition="is-nobody")
    auth = CapabilityAuth(wrong, ORIGIN, issuer=live.url, clock=live.clock, timeout=60, visit=ring)
    with pytest.raises(DischargeError) as caught:
        send(live, auth, ORIGIN)
    assert (caught.value.status, caught.value.code) == (401, "permission-denied")


def test_each_request_narrowed(live: Live, send: Send) -> None:
    """The service lets the request pass for which the bundle was made, and no other, and none a minute later."""
    auth = CapabilityAuth(
        live.mint(live.login),
        ORIGIN,
        issuer=live.url,
        agent=(AGENT, "build-bot"),
        narrow=True,
        clock=live.clock,
        timeout=60,
    )
    assert send(live, auth, f"{ORIGIN}/albums/1?x=2").status_code == 200
    bundle = live.asked[-1]

    def presented(method: str, path: str) -> tuple[int, str]:
        request = httpx.Request(method, ORIGIN + path, headers={"authorization": f"Bearer {bundle}"})
        answer = live.photos(request)
        return answer.status_code, answer.json().get("code", "")

    assert presented("GET", "/albums/1") == (200, "")
    assert presented("GET", "/albums/2") == (403, "caveat-refused")
    assert presented("DELETE", "/albums/1") == (403, "caveat-refused")
    live.clock.now += 59
    assert presented("GET", "/albums/1") == (200, "")
    live.clock.now += 1
    assert presented("GET", "/albums/1") == (401, "expired")
    assert send(live, auth, f"{ORIGIN}/albums/2").status_code == 200


@pytest.mark.parametrize(
    ("seconds", "renewed"), [(269, False), (270, True), (271, True), (299, True), (300, True), (301, True)]
)
def test_renewed_before_it_is_over(live: Live, send: Send, seconds: int, renewed: bool) -> None:
    """A discharge of 300 s is renewed 30 s before its end, so that the service never sees one that is over."""
    auth = CapabilityAuth(
        live.mint(live.login), ORIGIN, issuer=live.url, agent=(AGENT, "build-bot"), clock=live.clock, timeout=60
    )
    assert send(live, auth, ORIGIN).status_code == 200
    live.clock.now += seconds
    assert send(live, auth, ORIGIN).status_code == 200
    assert (live.asked[0] != live.asked[1]) is renewed
    assert len(live.asked) == 2


def test_a_service_whose_clock_is_ahead(live: Live, send: Send) -> None:
    """It refuses discharges that are over by its clock: new ones are gathered, and the request passes."""
    client_clock = Clock(live.clock.now)
    auth = CapabilityAuth(
        live.mint(live.login), ORIGIN, issuer=live.url, agent=(AGENT, "build-bot"), clock=client_clock, timeout=60
    )
    assert send(live, auth, ORIGIN).status_code == 200
    live.clock.now += 300
    assert send(live, auth, ORIGIN).status_code == 200
    assert len(live.asked) == 3
    assert live.asked[1] == live.asked[0] != live.asked[2]


def test_a_key_that_was_dropped(live: Live, send: Send) -> None:
    """What depended on the discharger is refused for good: gathered anew once, then the refusal is the caller's."""
    auth = CapabilityAuth(
        live.mint(live.login), ORIGIN, issuer=live.url, agent=(AGENT, "build-bot"), dischargers=[live.login],
        clock=live.clock, timeout=60,
    )  # fmt: skip
    assert send(live, auth, ORIGIN).status_code == 200
    headers = {"authorization": f"Bearer {live.client._connection._credential}"}
    with httpx.Client(trust_env=False) as http:
        http.delete(f"{live.url}/v1/dischargers/login", headers=headers).raise_for_status()
    answer = send(live, auth, ORIGIN)
    assert (answer.status_code, answer.json()["code"]) == (401, "discharge-invalid")
    assert len(live.asked) == 3


@pytest.mark.parametrize("claims_it", [False, True])
@pytest.mark.parametrize("told_by", ["caller", "issuer"])
def test_a_rogue_that_passes_on_our_login(live: Live, send: Send, *, claims_it: bool, told_by: str) -> None:
    """The agent is not logged in for it at ours, where it would be: whoever serves the login has to have its key."""
    rogue, spoils = BakeryDischarger(), list[httpx.Response]()
    wanted = Token.parse(live.mint(live.login)).third_parties[0].id
    at_ours = httpx.Client(base_url=live.login, trust_env=False)

    def before(request: Asked) -> Forged | None:
        match request.path:
            case "/discharge/info":
                return Forged(at_ours.get(request.path).json()) if claims_it else None
            case "/agent":
                return Forged(at_ours.get(request.path, params=request.parameters).json())
        if "token64" not in request.parameters:
            methods = {"agent": {"login-url": "/agent"}}
            return Forged({"Code": "interaction required", "Info": {"InteractionMethods": methods}}, 401)
        proof = {name: request.parameters[name] for name in ("token64", "token-kind")}
        spoils.append(at_ours.post("/discharge", data={"id64": b64encode(wanted), **proof}))
        return None

    rogue.before = before
    with serving(rogue) as url, at_ours:
        live.register("rogue", url, rogue.public_key)
        dischargers = [url, live.login] if told_by == "caller" else []
        issuer = None if told_by == "caller" else live.url

        def auth(place: str) -> CapabilityAuth:
            return CapabilityAuth(
                live.mint(place), ORIGIN, issuer=issuer, dischargers=dischargers, agent=(AGENT, "build-bot"),
                clock=live.clock, timeout=60,
            )  # fmt: skip

        with pytest.raises(DischargeError) as caught:
            send(live, auth(url), ORIGIN)
        assert (caught.value.code, caught.value.location) == ("bad-answer", url)
        assert live.login in str(caught.value)
        assert spoils == []
        rogue.before = lambda _: None  # an honest one gives its discharge, and ours lets the agent in
        assert send(live, auth(url), ORIGIN).status_code == 200
        assert send(live, auth(live.login), ORIGIN).json() == {"declared": {"login": {"username": "build-bot"}}}


def test_macaroonbakery_s_dischargers_too(live: Live, send: Send) -> None:
    """One that asks ours with its discharge: the service lets the bundle of three pass, and tells what was declared."""
    ours = KeyPair.generate()

    async def holds(condition: str, _: Request) -> Answer:
        return Declared({}) if condition == "ok" else Refused("no")

    theirs = BakeryDischarger(lambda _: [checkers.declared_caveat("username", "bob")])
    inner = listening(lambda url: create_discharger(holds, key=ours, location=url, allow_any=True, clock=live.clock))
    with serving(theirs) as url, inner as at_ours:
        theirs.others.add_info(at_ours, _info(ours))
        theirs.caveats = lambda _: [
            checkers.declared_caveat("username", "bob"),
            checkers.Caveat(location=at_ours, condition="ok"),
        ]
        live.register("theirs", url, theirs.public_key)
        token = live.mint(url, live.login)
        known = {"dischargers": [at_ours], "issuer": live.url}
        options: dict[str, Any] = known
        auth = CapabilityAuth(token, ORIGIN, agent=(AGENT, "build-bot"), clock=live.clock, timeout=60, **options)
        answer = send(live, auth, ORIGIN)
    assert answer.json() == {"declared": {"theirs": {"username": "bob"}, "login": {"username": "build-bot"}}}
    assert len(Token.parse(live.asked[-1]).discharges) == 3


def test_a_discharge_that_nobody_signed(live: Live, send: Send) -> None:
    """No client can tell without the key; the service does, and what is gathered then is taken if it is right."""
    theirs = BakeryDischarger()
    forged = [2]

    def before(request: Asked) -> Forged | None:
        answer = theirs.discharge(request.parameters)
        if forged[0]:
            forged[0] -= 1
            answer.value["Macaroon"]["m"]["s64"] = "A" * 43
        return answer

    theirs.before = before
    with serving(theirs) as url:
        live.register("theirs", url, theirs.public_key)
        auth = CapabilityAuth(live.mint(url), ORIGIN, issuer=live.url, clock=live.clock, timeout=60)
        answer = send(live, auth, ORIGIN)
        assert (answer.status_code, answer.json()["code"], len(live.asked)) == (401, "discharge-invalid", 2)
        assert send(live, auth, ORIGIN).status_code == 200
    assert len(live.asked) == 4


def _info(pair: KeyPair) -> Any:
    from macaroonbakery import bakery

    return bakery.ThirdPartyInfo(
        public_key=bakery.PublicKey.deserialize(key_text(pair.public)), version=bakery.LATEST_VERSION
    )
