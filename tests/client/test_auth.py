"""CapabilityAuth inside httpx's clients of both kinds: where the bundle goes, what it holds, when it is gathered."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from macaroonbakery import bakery, checkers

from capsvc.client import CapabilityAuth, DischargeError, KnownDischarger
from capsvc.errors import TokenError
from capsvc.keyfile import Agent, AgentKey
from capsvc.macaroon.thirdparty import KeyPair, key_text
from capsvc.token import Token
from caveats import CaveatError

from .dischargers import NOW, Answer, BakeryDischarger, Desk, Request, conditional, matched, serving

ORIGIN = "https://photos.example"
PROBLEM = {"content-type": "application/problem+json"}
BEARER = 'Bearer realm="capsvc", error="invalid_token"'


class Clock:
    """Unix seconds that the test sets."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        """The time."""
        return self.now


@dataclass
class Photos:
    """The service that the token is for, played: keeps what it was shown, answers in turn, else 200."""

    answers: list[httpx.Response] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The next answer."""
        self.requests.append(request)
        return self.answers.pop(0) if self.answers else httpx.Response(200, text="photo")

    def shown(self, number: int = -1) -> str | None:
        """The credential of a request, without its scheme."""
        value: str | None = self.requests[number].headers.get("authorization")
        return None if value is None else value.removeprefix("Bearer ")


Send = Callable[..., list[httpx.Response]]


def _sync(photos: Photos, auth: CapabilityAuth, *urls: str, method: str = "GET", **how: Any) -> list[httpx.Response]:
    options = {"follow_redirects": how.pop("follow_redirects", False)}
    with httpx.Client(transport=httpx.MockTransport(photos), auth=auth, **options) as client:
        return [client.request(method, url, **how) for url in urls]


def _async(photos: Photos, auth: CapabilityAuth, *urls: str, method: str = "GET", **how: Any) -> list[httpx.Response]:
    options = {"follow_redirects": how.pop("follow_redirects", False)}

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(photos), auth=auth, **options) as client:
            return [await client.request(method, url, **how) for url in urls]

    return asyncio.run(run())


@pytest.fixture(params=[_sync, _async], ids=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Send:
    """Sends requests with one of httpx's two clients."""
    chosen: Send = request.param
    return chosen


@dataclass
class Setting:
    """A discharger that serves, its clock, a token that asks it, and an auth that knows it."""

    url: str
    discharger: BakeryDischarger
    clock: Clock
    token: Token

    def auth(self, **how: Any) -> CapabilityAuth:
        """An auth for the token."""
        options: dict[str, Any] = {"dischargers": [self.url], "clock": self.clock} | how
        return CapabilityAuth(str(self.token), ORIGIN, **options)

    @property
    def gathered(self) -> int:
        """How often it was asked."""
        return len(self.discharger.seen)

    def lasting(self, seconds: float) -> None:
        """Let its discharges last so long from the clock's now on."""

        def caveats(_: str) -> list[Any]:
            end = datetime.fromtimestamp(self.clock.now + seconds, UTC).replace(tzinfo=None)
            return [checkers.time_before_caveat(end)]

        self.discharger.caveats = caveats


@pytest.fixture
def setting() -> Iterator[Setting]:
    """A discharger on loopback whose discharges last 300 s."""
    discharger = BakeryDischarger()
    with serving(discharger) as url:
        made = Setting(url, discharger, Clock(), conditional((url, discharger)))
        made.lasting(300)
        yield made


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    """A refusal as capsvc's own services and middleware write it."""
    content = json.dumps({"title": "No", "status": status, "code": code}).encode()
    return httpx.Response(status, headers={"content-type": "application/problem+json", **headers}, content=content)


# where it goes


def test_the_bundle_is_presented(setting: Setting, send: Send) -> None:
    """As one Bearer credential, whose discharges match its root; the answer is the service's."""
    photos, auth = Photos(), setting.auth()
    (answer,) = send(photos, auth, f"{ORIGIN}/albums?x=1")
    assert answer.text == "photo"
    bundle = photos.shown()
    assert bundle is not None
    root, *discharges = bundle.split("~")
    assert (root, len(discharges)) == (str(setting.token), 1)
    assert photos.requests[0].headers["authorization"] == f"Bearer {bundle}"


@pytest.mark.parametrize(
    "url",
    [
        "http://photos.example/", "https://photos.example:8443/", "https://photos.example.evil.example/",
        "https://evil.photos.example/", "https://photos.example./", "https://evil.example/photos.example",
        "https://photos.example@evil.example/", "https://photos.example%2eevil.example/", "https://evil.example#@photos.example/",
        "http://127.0.0.1/",
    ],
)  # fmt: skip
def test_nobody_else_sees_it(setting: Setting, send: Send, url: str) -> None:
    """Another scheme, host or port: the request goes as it is, and nothing is gathered for it."""
    photos, auth = Photos(), setting.auth()
    send(photos, auth, url, headers={"authorization": "mine"})
    assert (photos.requests[0].headers["authorization"], setting.gathered) == ("mine", 0)


@pytest.mark.parametrize(
    "url",
    [
        "https://photos.example",
        "https://PHOTOS.example:443/x",
        "https://photos.example/a/../b",
        "https://u:p@photos.example/",
    ],
)
def test_its_own_origin_in_any_spelling(setting: Setting, send: Send, url: str) -> None:
    """The same scheme, host and port; what the caller set as Authorization gives way."""
    photos = Photos()
    send(photos, setting.auth(), url, headers={"authorization": "mine"})
    assert Token.parse(photos.shown() or "").is_bundle


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "http://photos.example/", "https://photos.example:444/", "//x.example/"]
)
def test_a_redirect_to_elsewhere_goes_without(setting: Setting, send: Send, target: str) -> None:
    """When the caller's client follows it; and what is refused there is not taken for a refusal of the token."""
    photos = Photos([httpx.Response(307, headers={"location": target}), problem(401, "discharge-invalid")])
    (answer,) = send(photos, setting.auth(), f"{ORIGIN}/", follow_redirects=True)
    assert (answer.status_code, len(photos.requests), setting.gathered) == (401, 2, 1)
    assert "authorization" in photos.requests[0].headers
    assert "authorization" not in photos.requests[1].headers


def test_a_redirect_at_home_goes_with_it(setting: Setting, send: Send) -> None:
    """The positive control."""
    photos = Photos([httpx.Response(307, headers={"location": "/there"})])
    (answer,) = send(photos, setting.auth(), f"{ORIGIN}/", follow_redirects=True)
    assert (answer.status_code, photos.shown(0)) == (200, photos.shown(1))


def test_the_caller_s_connections_see_no_discharger(setting: Setting, send: Send) -> None:
    """Discharges are asked for over connections of their own, and the dischargers see no token."""
    photos = Photos()
    send(photos, setting.auth(), f"{ORIGIN}/")
    assert [request.url.host for request in photos.requests] == ["photos.example"]
    (request,) = setting.discharger.seen
    assert not {"authorization", "cookie"} & request.headers.keys()
    assert str(setting.token) not in str(request)


def test_a_service_on_this_machine(setting: Setting, send: Send) -> None:
    """http, by its exact spelling: another name of the same machine is another origin."""
    photos = Photos()
    auth = CapabilityAuth(setting.token, "http://127.0.0.1:9000/", dischargers=[setting.url], clock=setting.clock)
    send(photos, auth, "http://127.0.0.1:9000/x", "http://localhost:9000/x", "http://127.0.0.1:9001/x")
    assert [photos.shown(number) is not None for number in range(3)] == [True, False, False]


# what it presents


def test_a_token_that_needs_no_discharge(send: Send) -> None:
    """Presented as it is; nobody is asked, not even the issuer."""
    photos, token = Photos(), conditional()
    send(photos, CapabilityAuth(f" {token}\n", ORIGIN, issuer="https://tokens.example"), f"{ORIGIN}/")
    assert photos.shown() == str(token)


def test_a_bundle_is_presented_as_it_is(setting: Setting, send: Send) -> None:
    """Its discharges are bound already; a refusal of them is the caller's to mend."""
    photos = Photos()
    send(photos, setting.auth(), f"{ORIGIN}/")
    bundle = photos.shown() or ""
    asked = setting.gathered
    again = Photos([problem(401, "discharge-invalid")])
    (answer,) = send(again, CapabilityAuth(bundle, ORIGIN, dischargers=[setting.url]), f"{ORIGIN}/")
    assert (again.shown(), answer.status_code, len(again.requests), setting.gathered) == (bundle, 401, 1, asked)
    with pytest.raises(TokenError) as caught:
        CapabilityAuth(bundle, ORIGIN, narrow=True)
    assert caught.value.code == "bound"


@pytest.mark.parametrize("third_party", [True, False])
def test_each_request_can_have_a_token_of_its_own(setting: Setting, send: Send, third_party: bool) -> None:
    """For its method and path alone, a minute long; bound after that, with discharges that were gathered once."""
    token = setting.token if third_party else conditional()
    photos = Photos()
    auth = CapabilityAuth(token, ORIGIN, dischargers=[setting.url], narrow=True, clock=setting.clock)
    send(photos, auth, f"{ORIGIN}/albums/7?size=large", f"{ORIGIN}", method="PUT")
    bundles = [Token.parse(photos.shown(number) or "") for number in range(2)]
    assert bundles[0].caveats[-3:] == ("method = PUT", "path = /albums/7", "time < 2026-09-21T14:14:20Z")
    assert bundles[1].caveats[-3:-1] == ("method = PUT", "path = /")
    assert [one.is_bundle for one in bundles] == [third_party] * 2
    assert setting.gathered == (1 if third_party else 0)
    assert token.caveats == bundles[0].caveats[:-3]


def test_what_is_bound_last_matches(setting: Setting, send: Send) -> None:
    """The discharge is bound to the narrowed root: both narrowed bundles match, as the plain one does."""
    (discharge,) = [Token.parse(json.dumps(setting.discharger.discharge(_ask(setting)).value["Macaroon"]["m"]))]
    narrowed = setting.token.attenuate("method = GET")
    assert matched(narrowed, (discharge,)) == 1
    photos = Photos()
    send(photos, setting.auth(narrow=True), f"{ORIGIN}/a")
    bundle = Token.parse(photos.shown() or "")
    again = setting.token.attenuate("method = GET", "path = /a", ttl=60, clock=setting.clock)
    assert str(bundle) == str(again.bind(discharge))


def _ask(setting: Setting) -> dict[str, str]:
    from capsvc.client.bakery import discharge_form

    (caveat,) = setting.token.third_parties
    return discharge_form(caveat.id, caveat.id)


@pytest.mark.parametrize(
    ("url", "method"),
    [(f"{ORIGIN}//a", "GET"), (f"{ORIGIN}/a%2Fb", "GET"), (f"{ORIGIN}/a%2fb", "GET"), (f"{ORIGIN}/{'a' * 256}", "GET"),
     (f"{ORIGIN}/a*", "GET"), (f"{ORIGIN}/a", "M/X"), (f"{ORIGIN}/%41", "GET")],
)  # fmt: skip
def test_what_no_caveat_can_name_is_not_sent(setting: Setting, send: Send, url: str, method: str) -> None:
    """A path that is not in normal form or too long, an odd method: an error, not a wider token."""
    photos, auth = Photos(), setting.auth(narrow=True)
    with pytest.raises(CaveatError) as caught:
        send(photos, auth, url, method=method)
    assert (caught.value.code, photos.requests) == ("caveat-malformed", [])
    send(photos, auth, f"{ORIGIN}/{'a' * 255}")
    assert len(photos.requests) == 1


def test_a_token_with_no_room_to_narrow(setting: Setting, send: Send) -> None:
    """64 caveats at most: an error, not a wider token."""
    full = setting.token.attenuate(*["action in read"] * 61)
    photos = Photos()
    with pytest.raises(TokenError) as caught:
        send(
            photos,
            CapabilityAuth(full, ORIGIN, dischargers=[setting.url], narrow=True, clock=setting.clock),
            f"{ORIGIN}/",
        )
    assert (caught.value.code, photos.requests) == ("too-large", [])
    send(photos, CapabilityAuth(full, ORIGIN, dischargers=[setting.url], clock=setting.clock), f"{ORIGIN}/")
    assert len(photos.requests) == 1


# when it gathers


def test_discharges_are_kept(setting: Setting, send: Send) -> None:
    """One gathering for many requests, and the same bundle."""
    photos = Photos()
    send(photos, setting.auth(), *[f"{ORIGIN}/{number}" for number in range(5)])
    assert setting.gathered == 1
    assert len({photos.shown(number) for number in range(5)}) == 1


@pytest.mark.parametrize(("lifetime", "early"), [(300, 30), (150, 30), (100, 20), (10, 2), (5, 1), (3600, 30)])
def test_discharges_are_renewed_before_they_are_over(setting: Setting, send: Send, lifetime: int, early: int) -> None:
    """30 s before, or a fifth of their lifetime if that is less: not a second earlier, at the second, and after it."""
    photos, auth = Photos(), setting.auth()
    setting.lasting(lifetime)
    send(photos, auth, f"{ORIGIN}/")
    for seconds, asked in [(lifetime - early - 1, 1), (lifetime - early, 2), (lifetime - early + 1, 2)]:
        setting.clock.now = NOW + seconds
        send(photos, auth, f"{ORIGIN}/")
        assert setting.gathered == asked, seconds
    other = setting.auth()
    setting.clock.now = NOW
    send(photos, other, f"{ORIGIN}/")
    setting.clock.now = NOW + lifetime - early + 1
    send(photos, other, f"{ORIGIN}/")
    assert setting.gathered == 4
    assert photos.shown() != photos.shown(0)


def test_the_first_of_several_that_is_over_counts(setting: Setting, send: Send) -> None:
    """All are renewed with it."""
    brief = BakeryDischarger()
    with serving(brief) as at_brief:
        token = conditional((setting.url, setting.discharger), (at_brief, brief))
        end = datetime.fromtimestamp(NOW + 100, UTC).replace(tzinfo=None)
        brief.caveats = lambda _: [checkers.time_before_caveat(end)]
        auth = CapabilityAuth(token, ORIGIN, dischargers=[setting.url, at_brief], clock=setting.clock)
        photos = Photos()
        send(photos, auth, f"{ORIGIN}/")
        setting.clock.now = NOW + 79
        send(photos, auth, f"{ORIGIN}/")
        assert (len(brief.seen), setting.gathered) == (1, 1)
        setting.clock.now = NOW + 80
        send(photos, auth, f"{ORIGIN}/")
        assert (len(brief.seen), setting.gathered) == (2, 2)


def test_discharges_without_an_end(setting: Setting, send: Send) -> None:
    """Are never renewed for the time's sake."""
    setting.discharger.caveats = lambda _: []
    photos, auth = Photos(), setting.auth()
    send(photos, auth, f"{ORIGIN}/")
    setting.clock.now = NOW + 10**8
    send(photos, auth, f"{ORIGIN}/")
    assert setting.gathered == 1


def test_a_renewal_that_reaches_nobody(setting: Setting, send: Send) -> None:
    """What is held serves until it is over; the discharger is asked again now and then, not with each request."""
    photos, auth = Photos(), setting.auth()
    send(photos, auth, f"{ORIGIN}/")
    setting.discharger.before = lambda _: Answer(b"", 503)
    for seconds, asked in [(270, 2), (271, 2), (277, 2), (277.5, 3), (299, 4)]:
        setting.clock.now = NOW + seconds
        send(photos, auth, f"{ORIGIN}/")
        assert (setting.gathered, photos.shown()) == (asked, photos.shown(0)), seconds
    setting.clock.now = NOW + 300
    with pytest.raises(DischargeError) as caught:
        send(photos, auth, f"{ORIGIN}/")
    assert (caught.value.code, caught.value.status) == ("unavailable", 503)
    setting.discharger.before = lambda _: None
    send(photos, auth, f"{ORIGIN}/")
    assert photos.shown() != photos.shown(0)


def test_a_renewal_that_is_refused(setting: Setting, send: Send) -> None:
    """Is an error at once, though what is held is not over: the third party has changed its mind."""

    def never(_: str) -> list[Any]:
        raise bakery.ThirdPartyCaveatCheckFailed("no more")

    photos, auth = Photos(), setting.auth()
    send(photos, auth, f"{ORIGIN}/")
    setting.discharger.caveats = never
    setting.clock.now = NOW + 270
    with pytest.raises(DischargeError) as caught:
        send(photos, auth, f"{ORIGIN}/")
    assert (caught.value.status, caught.value.code) == (401, "permission-denied")
    assert len(photos.requests) == 1


def test_nothing_is_sent_without_a_discharge(setting: Setting, send: Send) -> None:
    """Unknown dischargers, unreachable ones, an interaction that nobody can have: an error in place of the request."""
    photos = Photos()
    with pytest.raises(DischargeError) as caught:
        send(photos, setting.auth(dischargers=()), f"{ORIGIN}/")
    assert (caught.value.code, caught.value.location) == ("discharger-unknown", setting.url)
    desk = Desk("", "browser-window")
    with serving(desk) as url:
        desk.urls = {name: url + path for name, path in desk.urls.items()}
        token = conditional((url, desk))
        with pytest.raises(DischargeError) as caught:
            send(photos, CapabilityAuth(token, ORIGIN, dischargers=[url], clock=setting.clock), f"{ORIGIN}/")
        assert caught.value.code == "interaction-required"
        assert photos.requests == []
        visited: list[str] = []
        auth = CapabilityAuth(token, ORIGIN, dischargers=[url], visit=visited.append, clock=setting.clock)
        send(photos, auth, f"{ORIGIN}/", f"{ORIGIN}/")
    assert visited == [f"{url}/visit?visit=v1"]
    assert len(photos.requests) == 2


def test_an_agent_needs_nobody(send: Send) -> None:
    """With its key, and its name at the discharger or everywhere."""
    pair, desk, photos = KeyPair.generate(), Desk("", "agent"), Photos()
    desk.agents["bot"] = key_text(pair.public)
    with serving(desk) as url:
        desk.urls = {name: url + path for name, path in desk.urls.items()}
        token = conditional((url, desk))
        known = [KnownDischarger(url, public_key=desk.public_key)]
        for agent in (AgentKey(pair, (Agent(url, "bot"),)), (pair, "bot")):
            send(photos, CapabilityAuth(token, ORIGIN, dischargers=known, agent=agent), f"{ORIGIN}/")
    assert len(photos.requests) == 2


def test_the_issuer_names_the_dischargers(setting: Setting, send: Send) -> None:
    """Its address is the caller's word; its document is read with each gathering that needs it."""
    row = {"name": "a", "location": setting.url, "public_key": setting.discharger.public_key}
    documents = [0]

    def issuer(_: object) -> Answer:
        documents[0] += 1
        return Answer({"dischargers": [row]})

    with serving(issuer) as at_issuer:
        photos, auth = Photos(), setting.auth(dischargers=(), issuer=at_issuer)
        send(photos, auth, f"{ORIGIN}/", f"{ORIGIN}/")
        setting.clock.now = NOW + 270
        send(photos, auth, f"{ORIGIN}/")
    assert (len(photos.requests), documents, setting.gathered) == (3, [2], 2)


# when it is refused


AGAIN = ["discharge-missing", "discharge-invalid", "discharge-unused", "expired"]


@pytest.mark.parametrize("code", AGAIN)
def test_a_refusal_that_new_discharges_may_mend(setting: Setting, send: Send, code: str) -> None:
    """They are gathered, and the request is sent once more, with the same body."""
    photos, auth = Photos(), setting.auth()
    send(photos, auth, f"{ORIGIN}/")
    setting.clock.now += 1
    photos.answers.append(problem(401, code))
    (answer,) = send(photos, auth, f"{ORIGIN}/x", method="POST", json={"a": 1})
    assert (answer.status_code, setting.gathered) == (200, 2)
    first, second = photos.requests[1:]
    assert (first.url, first.method, first.content) == (second.url, second.method, second.content)
    assert photos.shown() != photos.shown(0)
    send(photos, auth, f"{ORIGIN}/")
    assert setting.gathered == 2


@pytest.mark.parametrize("times", [2, 3])
def test_it_asks_again_once(setting: Setting, send: Send, times: int) -> None:
    """What is refused again is the caller's answer."""
    photos = Photos([problem(401, "discharge-invalid") for _ in range(times)])
    (answer,) = send(photos, setting.auth(), f"{ORIGIN}/")
    assert (answer.status_code, len(photos.requests), setting.gathered) == (401, 2, 2)
    assert answer.json()["code"] == "discharge-invalid"


@pytest.mark.parametrize(
    ("answer", "again"),
    [
        (httpx.Response(401, headers={"www-authenticate": BEARER}), True),
        (httpx.Response(401, headers={"www-authenticate": f"Basic x, {BEARER}"}), True),
        (httpx.Response(401, headers={"www-authenticate": BEARER}, text="no"), True),
        (problem(401, "discharge-missing", **{"www-authenticate": BEARER}), True),
        (problem(401, "revoked", **{"www-authenticate": BEARER}), False),
        (problem(401, "invalid-token", **{"www-authenticate": BEARER}), False),
        (problem(401, "wrong-audience", **{"www-authenticate": BEARER}), False),
        (problem(401, "credential-missing"), False),
        (problem(403, "discharge-invalid"), False),
        (problem(403, "caveat-refused", **{"www-authenticate": BEARER}), False),
        (problem(503, "unavailable"), False),
        (httpx.Response(401), False),
        (httpx.Response(401, headers={"www-authenticate": "Bearer realm=\"x\""}), False),
        (httpx.Response(401, headers={"www-authenticate": "Basic error=\"invalid_token\""}), False),
        (httpx.Response(401, headers={"content-type": "application/json"}, json={"code": "discharge-missing"}), False),
        (httpx.Response(401, headers=PROBLEM, content=b"{"), False),
        (httpx.Response(401, headers=PROBLEM, content=b'{"code": 1}'), False),
        (httpx.Response(401, headers=PROBLEM, content=b"[]"), False),
        (httpx.Response(401, headers={**PROBLEM, "www-authenticate": BEARER}, content=b"["), True),
        (httpx.Response(200, headers={"www-authenticate": BEARER}), False),
    ],
)  # fmt: skip
def test_which_refusals_count(setting: Setting, send: Send, answer: httpx.Response, again: bool) -> None:
    """401, with the code of a discharge that is missing, wrong or over; or, told nothing closer, `invalid_token`."""
    fresh = httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
    photos = Photos([fresh])
    send(photos, setting.auth(), f"{ORIGIN}/")
    assert (len(photos.requests), setting.gathered) == ((2, 2) if again else (1, 1))


def test_a_long_refusal_is_not_read(setting: Setting, send: Send) -> None:
    """Only a body that says that it is short; else the challenge tells."""
    long = json.dumps({"code": "revoked", "detail": "x" * 70_000}).encode()
    headers = {"content-type": "application/problem+json", "www-authenticate": BEARER}
    photos = Photos([httpx.Response(401, headers=headers, content=long)])
    send(photos, setting.auth(), f"{ORIGIN}/")
    assert len(photos.requests) == 2


class _Bomb(httpx.ByteStream):
    """A body of which it is known whether anybody read it."""

    was_read = False

    def __iter__(self) -> Iterator[bytes]:
        self.was_read = True
        return super().__iter__()

    def __aiter__(self) -> AsyncIterator[bytes]:
        self.was_read = True
        return super().__aiter__()


@pytest.mark.parametrize(("encoding", "is_read"), [("gzip", False), ("identity", False), (None, True)])
def test_a_compressed_refusal_is_not_read(setting: Setting, encoding: str | None, is_read: bool) -> None:
    """Who streams decides himself whether to unpack a few octets that become gigabytes; the challenge tells enough."""
    octets = json.dumps({"code": "revoked"}).encode()
    headers = {**PROBLEM, "www-authenticate": BEARER, "content-length": str(len(octets))}
    if encoding is not None:
        headers["content-encoding"] = encoding
    expected = (is_read, 1 if is_read else 2, 401 if is_read else 200)

    async def story(photos: Photos) -> int:
        auth, transport = setting.auth(), httpx.MockTransport(photos)
        async with httpx.AsyncClient(transport=transport, auth=auth) as client, client.stream("GET", ORIGIN) as answer:
            return answer.status_code

    def sync_story(photos: Photos) -> int:
        auth, transport = setting.auth(), httpx.MockTransport(photos)
        with httpx.Client(transport=transport, auth=auth) as client, client.stream("GET", ORIGIN) as answer:
            return answer.status_code

    for tell in (sync_story, lambda photos: asyncio.run(story(photos))):
        bomb = _Bomb(octets if encoding != "gzip" else gzip.compress(octets))
        photos = Photos([httpx.Response(401, headers=headers, stream=bomb)])
        status = tell(photos)
        assert (bomb.was_read, len(photos.requests), status) == expected


def test_a_token_that_is_over_itself(setting: Setting, send: Send) -> None:
    """New discharges would not revive it: nobody is asked again, no person is sent to a page."""
    token = setting.token.attenuate(ttl=10, clock=setting.clock)
    photos, auth = Photos(), CapabilityAuth(token, ORIGIN, dischargers=[setting.url], clock=setting.clock)
    send(photos, auth, f"{ORIGIN}/")
    for seconds, asked in [(9, 2), (10, 2), (11, 2)]:
        setting.clock.now = NOW + seconds
        photos.answers.append(problem(401, "expired"))
        send(photos, auth, f"{ORIGIN}/")
        assert setting.gathered == asked


def test_a_body_that_cannot_be_sent_twice(setting: Setting) -> None:
    """The refusal is the caller's answer; the next request goes with new discharges."""
    shown: list[str] = []

    def photos(request: Request) -> Answer:
        shown.append(request.headers["authorization"])
        return Answer({"code": "discharge-invalid"}, 401, {"content-type": "application/problem+json"})

    with serving(photos) as url:
        auth = CapabilityAuth(setting.token, url, dischargers=[setting.url], clock=setting.clock)
        with httpx.Client(auth=auth, trust_env=False) as client:
            length = {"content-length": "4"}
            assert client.post(url, content=_once(), headers=length).status_code == 401
            assert (len(shown), setting.gathered) == (1, 1)
            setting.clock.now += 1
            assert client.post(url, content=_once(), headers=length).status_code == 401
        assert (len(shown), setting.gathered) == (2, 2)

        async def story() -> None:
            async with httpx.AsyncClient(auth=auth, trust_env=False) as client:
                assert (await client.post(url, content=_once_async(), headers=length)).status_code == 401

        setting.clock.now += 1
        asyncio.run(story())
        assert (len(shown), setting.gathered, len(set(shown))) == (3, 3, 3)


def _once() -> Iterator[bytes]:
    yield b"once"


async def _once_async() -> AsyncIterator[bytes]:
    yield b"once"


def test_no_discharger_is_taken_from_an_answer(setting: Setting, send: Send) -> None:
    """A macaroon to discharge, as bakery's services send one, and places to go: nothing of it is followed."""
    other = BakeryDischarger()
    with serving(other) as at_other:
        macaroon = json.loads(conditional((at_other, other)).to_v2json())
        body = {
            "Code": "macaroon discharge required",
            "Message": "x",
            "Info": {"Macaroon": {"m": macaroon, "v": 3}, "MacaroonPath": "/"},
            "code": "discharge-missing",
            "dischargers": [{"location": at_other, "public_key": other.public_key}],
        }
        headers = {"www-authenticate": "Macaroon", "content-type": "application/problem+json"}
        photos = Photos(
            [httpx.Response(401, headers=headers, json=body), httpx.Response(401, headers=headers, json=body)]
        )
        send(photos, setting.auth(), f"{ORIGIN}/")
    assert (other.seen, setting.gathered) == ([], 2)
    assert all(bundle.split("~")[0] == str(setting.token) for bundle in (photos.shown(0) or "", photos.shown(1) or ""))


# what it is


def test_two_users_share_nothing(setting: Setting, send: Send) -> None:
    """Each has an auth, and gets the discharges of the own token."""
    other = conditional((setting.url, setting.discharger))
    photos = Photos()
    first, second = setting.auth(), CapabilityAuth(other, ORIGIN, dischargers=[setting.url], clock=setting.clock)
    send(photos, first, f"{ORIGIN}/")
    send(photos, second, f"{ORIGIN}/")
    send(photos, first, f"{ORIGIN}/")
    assert setting.gathered == 2
    roots = [Token.parse(photos.shown(number) or "").third_parties for number in range(3)]
    assert roots == [setting.token.third_parties, other.third_parties, setting.token.third_parties]
    assert photos.shown(0) == photos.shown(2) != photos.shown(1)


def test_it_shows_no_token(setting: Setting, send: Send) -> None:
    """Its repr says where it presents what; an error holds no token either."""
    auth = setting.auth()
    send(Photos(), auth, f"{ORIGIN}/")
    assert repr(auth) == f"<CapabilityAuth {ORIGIN}>"
    with pytest.raises(DischargeError) as caught:
        send(Photos(), setting.auth(dischargers=()), f"{ORIGIN}/")
    for part in str(setting.token), str(setting.token)[-40:]:
        assert part not in f"{caught.value!r} {caught.value} {auth._keeper._held!r} {auth._manner!r}"


@pytest.mark.parametrize(
    "origin",
    ["http://photos.example", "https://photos.example/api", "https://u@photos.example", "https://photos.example/?x",
     "photos.example", "", "https://photos.example\n", "ftp://photos.example"],
)  # fmt: skip
def test_origins_to_which_no_token_goes(origin: str) -> None:
    """Plain http elsewhere, more than scheme, host and port, no URL at all."""
    token = conditional()
    assert CapabilityAuth(token, "https://photos.example:8443/")
    with pytest.raises(ValueError, match=r"\S"):
        CapabilityAuth(token, origin)


def test_other_arguments_that_it_refuses() -> None:
    """No token, an issuer or dischargers to which nothing may go."""
    token = conditional()
    with pytest.raises(TokenError) as caught:
        CapabilityAuth("nonsense!", ORIGIN)
    assert caught.value.code == "malformed"
    with pytest.raises(ValueError, match="https"):
        CapabilityAuth(token, ORIGIN, issuer="http://tokens.example")
    with pytest.raises(ValueError, match="https"):
        CapabilityAuth(token, ORIGIN, dischargers=["http://login.example"])
    with pytest.raises(TypeError):
        CapabilityAuth(token, ORIGIN, dischargers="https://login.example")
