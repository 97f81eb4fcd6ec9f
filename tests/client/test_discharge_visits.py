"""Telling a discharger who asks, without a network: a person's visit, an agent's key; macaroonbakery asks."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from macaroonbakery import bakery, checkers

from capsvc.client import DischargeError
from capsvc.client.agents import Agents
from capsvc.client.book import Book
from capsvc.client.gathering import gather
from capsvc.client.steps import Ask
from capsvc.keyfile import Agent, AgentKey
from capsvc.macaroon.build import ThirdPartyCaveat, mint
from capsvc.macaroon.thirdparty import Channel, KeyPair, key_text
from capsvc.token import Token

from .dischargers import Answer, Desk, Request, World, conditional, fixed, matched, play

A, B = "https://a.example", "https://b.example"
PAIR = KeyPair(b"\2" * 32)
OWN = KeyPair(b"\3" * 32)
AGENT = Agents.of(AgentKey(PAIR, (Agent(f"{A}/", "build-bot"),)))


def desk(*methods: str) -> tuple[World, Desk, Token]:
    """A world with one discharger that wants to know who asks, and a token that asks it; it knows the agent."""
    discharger = Desk(A, *methods)
    discharger.agents["build-bot"] = key_text(PAIR.public)
    return World({A: discharger}), discharger, conditional((A, discharger))


def gathered(
    token: Token, world: World, *, agents: Agents | None = None, visits: bool = True, book: Book | None = None
) -> tuple[Token, ...]:
    """The discharges of a token, for a person or an agent."""
    known = Book(list(world.servers)) if book is None else book
    return play(gather(token, known, agents=agents, visits=visits, clock=fixed), world)


def refused(token: Token, world: World, **how: Any) -> DischargeError:
    """The error with which a gathering ends."""
    with pytest.raises(DischargeError) as caught:
        gathered(token, world, **how)
    return caught.value


def paths(world: World) -> list[str]:
    """What was asked for, below the discharger's address."""
    return [ask.url.removeprefix(A).partition("?")[0] for ask in world.asked]


# a person


def test_a_visit_is_shown_and_waited_for() -> None:
    """Asked, shown, waited for, asked again with what the wait brought; nobody is told more than that."""
    world, _, token = desk("browser-window")
    assert matched(token, gathered(token, world)) == 1
    assert [(visit.url, visit.location) for visit in world.visited] == [(f"{A}/visit?visit=v1", A)]
    assert paths(world) == ["/discharge", "/wait", "/discharge"]
    assert [ask.waits for ask in world.asked] == [False, True, False]
    first, _, last = (dict(ask.form or {}) for ask in world.asked)
    assert last == first | {"token-kind": "browser-window", "token64": base64.b64encode(b"\xfftoken").decode()}


@pytest.mark.parametrize(
    "brings",
    [
        {"kind": "browser-window", "token64": base64.b64encode(b"\xfftoken").decode()},
        {"kind": "browser-window", "token64": base64.urlsafe_b64encode(b"\xfftoken").decode().rstrip("=")},
        {"kind": "macaroon", "token64": base64.b64encode(b"\xfftoken").decode(), "more": 1},
    ],
)
def test_what_a_wait_may_bring(brings: Any) -> None:
    """A token in base64 of either alphabet, padded or not, of a kind that the discharger knows."""
    world, discharger, token = desk("browser-window")
    discharger.brings = brings
    assert matched(token, gathered(token, world)) == 1
    assert (world.asked[-1].form or {})["token-kind"] == brings["kind"]


def test_a_token_that_is_text() -> None:
    """Older dischargers send it so; it is shown as octets."""
    world, discharger, token = desk("browser-window")
    discharger.brings = {"kind": "word", "token": "opensesame"}
    discharger.before = lambda request: (
        discharger.discharge(request.parameters) if request.parameters.get("token64") == "b3BlbnNlc2FtZQ==" else None
    )
    assert matched(token, gathered(token, world)) == 1


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (Answer({"Code": "permission denied", "Message": "refused"}, 401), 401, "permission-denied"),
        (Answer({"Code": "not found", "Message": "asked before"}, 404), 404, "not-found"),
        (Answer(b"<html>", 200, {"content-type": "text/html"}), 200, "bad-answer"),
        (Answer(b"", 307, {"location": B}), 307, "bad-answer"),
        (Answer(b"", 504), 504, "unavailable"),
        (Answer([]), 200, "bad-answer"),
        (Answer({}), 200, "bad-answer"),
        (Answer({"token64": "AA=="}), 200, "bad-answer"),
        (Answer({"kind": "", "token64": "AA=="}), 200, "bad-answer"),
        (Answer({"kind": "a\nb", "token64": "AA=="}), 200, "bad-answer"),
        (Answer({"kind": "x" * 65, "token64": "AA=="}), 200, "bad-answer"),
        (Answer({"kind": 1, "token64": "AA=="}), 200, "bad-answer"),
        (Answer({"kind": "browser-window"}), 200, "bad-answer"),
        (Answer({"kind": "browser-window", "token64": ""}), 200, "bad-answer"),
        (Answer({"kind": "browser-window", "token64": "!"}), 200, "bad-answer"),
        (Answer({"kind": "browser-window", "token64": "\u20ac"}), 200, "bad-answer"),
        (Answer({"kind": "browser-window", "token": 1}), 200, "bad-answer"),
        (Answer(b'{"kind": "browser-window", "token": "\\ud800"}'), 200, "bad-answer"),
    ],
    ids=str,
)
def test_waits_that_bring_nothing(answer: Answer, status: int, code: str) -> None:
    """Refused with the answer's own status; the wait is asked once, and the discharge not again."""
    world, discharger, token = desk("browser-window")
    discharger.before = lambda request: answer if request.path == "/wait" else None
    error = refused(token, world)
    assert (error.status, error.code, error.location) == (status, code, A)
    assert paths(world) == ["/discharge", "/wait"]


def test_nobody_to_visit() -> None:
    """Without a callback for visits it is an error, and nothing is shown or waited for."""
    world, _, token = desk("browser-window")
    error = refused(token, world, visits=False)
    assert (error.status, error.code, error.location) == (401, "interaction-required", A)
    assert "browser" in str(error)
    assert (world.visited, paths(world)) == ([], ["/discharge"])


def test_asked_once_more_than_once() -> None:
    """A discharger that wants another interaction after the first is refused."""
    world, discharger, token = desk("browser-window")
    discharger.before = lambda request: discharger.asks_who() if request.path == "/discharge" else None
    assert refused(token, world).code == "interaction-required"
    assert (len(world.visited), paths(world)) == (1, ["/discharge", "/wait", "/discharge"])


ELSEWHERE = [
    "https://b.example/x",
    "http://a.example/x",
    "https://a.example:444/x",
    "https://a.example.b.example/x",
    "https://a.example@b.example/x",
    "https://a.example:pw@b.example/",
    "https://user@a.example/x",
    "//b.example/x",
    "https:\\\\b.example\\x",
    "/\\b.example/x",
    "https://a.example\\@b.example/x",
    "https://b.example\t.a.example/",
    " https://a.example/x",
    "https://a.example/x\n",
    "https://a.example/\u20ac",
    "https://b.example#https://a.example/",
    "https://[::1]/x",
    "https://[a.example/x",
    "https://a.example:70000/x",
    "javascript:alert(1)",
    "data:text/html,x",
    "file:///etc/passwd",
    "a.example/x:y" * 400,
    7,
    ["https://a.example/x"],
    {"url": "https://a.example/x"},
]


@pytest.mark.parametrize("which", ["VisitURL", "WaitTokenURL", "login-url"])
@pytest.mark.parametrize("url", ELSEWHERE, ids=lambda url: str(url)[:40])
def test_addresses_of_somebody_else(which: str, url: Any) -> None:
    """An interaction that would lead to another scheme, host or port: nothing of it is shown, asked or told."""
    world, discharger, token = desk("agent" if which == "login-url" else "browser-window")
    discharger.urls[which] = url
    error = refused(token, world, agents=AGENT)
    assert (error.status, error.code, error.location) == (401, "bad-answer", A)
    assert (world.visited, paths(world)) == ([], ["/discharge"])
    assert "b.example" not in str(error)


@pytest.mark.parametrize("which", ["VisitURL", "WaitTokenURL", "login-url"])
@pytest.mark.parametrize("url", ["{own}", "https://A.example:443{own}", "/..{own}", ".{own}"])
def test_addresses_of_its_own(which: str, url: str) -> None:
    """In another spelling, or relative to the discharger's address, as bakery's clients take them."""
    world, discharger, token = desk("agent" if which == "login-url" else "browser-window")
    own = discharger.urls[which].removeprefix(A)
    discharger.urls[which] = url.format(own=own)
    assert matched(token, gathered(token, world, agents=AGENT)) == 1
    shown = [visit.url for visit in world.visited] + [ask.url for ask in world.asked]
    assert all(one.startswith(f"{A}/") for one in shown)


def test_a_discharger_that_is_asked_elsewhere() -> None:
    """Its own addresses may be below its location, where a browser finds it, and below the address it is asked at."""
    inside = "http://127.0.0.1:8701"
    for base in (A, inside):
        discharger = Desk(base, "browser-window")
        world = World({A: discharger, inside: discharger})
        token = conditional((A, discharger))
        assert matched(token, gathered(token, world, book=Book({A: inside}))) == 1
        assert world.visited[0].url.startswith(f"{base}/visit")
    discharger = Desk("http://127.0.0.1:8702", "browser-window")
    token = conditional((A, discharger))
    assert refused(token, World({inside: discharger}), book=Book({A: inside})).code == "bad-answer"
    plain = Desk("http://a.example", "browser-window")
    token = conditional(("http://a.example", plain))
    error = refused(token, World({inside: plain}), book=Book({"http://a.example": inside}))
    assert error.code == "bad-answer"  # its location is one to which nothing may go


@pytest.mark.parametrize(
    "info",
    [
        None, [], {}, {"InteractionMethods": None}, {"InteractionMethods": []}, {"InteractionMethods": {}},
        {"InteractionMethods": {"browser-window": "x", "agent": 1}}, {"InteractionMethods": {"telepathy": {}}},
        {"InteractionMethods": {"browser-window": {"VisitURL": f"{A}/v"}}},
        {"InteractionMethods": {"browser-window": {"WaitTokenURL": f"{A}/v"}, "agent": {}}},
        {"VisitURL": f"{A}/visit", "WaitURL": f"{A}/wait"},
    ],
)  # fmt: skip
def test_interactions_that_nobody_can_have(info: Any) -> None:
    """None offered, or of a kind that is not known: an error that says so."""
    world, discharger, token = desk("browser-window")
    discharger.before = lambda _: Answer({"Code": "interaction required", "Message": "who?", "Info": info}, 401)
    error = refused(token, world, agents=AGENT)
    assert (error.status, error.code) == (401, "interaction-required")
    assert (world.visited, paths(world)) == ([], ["/discharge"])


# an agent


def test_an_agent_logs_in() -> None:
    """It asks for a macaroon, sees whose it is, completes it with its key, shows both; macaroonbakery takes them."""
    world, _, token = desk("agent")
    assert matched(token, gathered(token, world, agents=AGENT, visits=False)) == 1
    assert paths(world) == ["/discharge", "/login", "/discharge/info", "/discharge"]
    assert (world.asked[-1].form or {})["token-kind"] == "agent"


def test_what_an_agent_tells() -> None:
    """Its name and the public half of its key, with what its own address already asks; never the private half."""
    world, discharger, token = desk("agent")
    discharger.urls["login-url"] += "?page=1"
    assert gathered(token, world, agents=AGENT)
    (login,) = (request for request in discharger.seen if request.path == "/login")
    assert login.method == "GET"
    assert login.parameters == {"page": "1", "username": "build-bot", "public-key": key_text(PAIR.public)}
    private = {key_text(PAIR.private()), base64.urlsafe_b64encode(PAIR.private()).decode().rstrip("=")}
    for ask in world.asked:
        assert not any(secret in str(tuple(ask)) for secret in private)


def test_the_agent_comes_before_the_person() -> None:
    """Where both are offered and its key is known there; elsewhere the person is asked, or nobody."""
    world, _, token = desk("browser-window", "agent")
    gathered(token, world, agents=AGENT)
    assert world.visited == []
    stranger = Agents.of(AgentKey(PAIR, (Agent(B, "build-bot"),)))
    gathered(token, world, agents=stranger)
    assert len(world.visited) == 1
    world, _, token = desk("agent")
    error = refused(token, world, agents=stranger)
    assert (error.code, paths(world)) == ("interaction-required", ["/discharge"])
    assert "no url in the agent's file is this address" in str(error)
    error = refused(token, world, agents=None)
    assert error.code == "interaction-required"
    assert "--agent-file" in str(error)


def test_one_key_and_name_for_all() -> None:
    """A key pair and a name, at every discharger that is known."""
    world, _, token = desk("agent")
    assert matched(token, gathered(token, world, agents=Agents.of((PAIR, "build-bot")))) == 1


def test_a_name_by_where_it_is_asked() -> None:
    """The agent's file may name the address at which a location is asked."""
    inside = "http://127.0.0.1:8701"
    discharger = Desk(inside, "agent")
    discharger.agents["bot"] = key_text(PAIR.public)
    token = conditional((A, discharger))
    agents = Agents.of(AgentKey(PAIR, (Agent(inside, "bot"),)))
    assert matched(token, gathered(token, World({inside: discharger}), agents=agents, book=Book({A: inside}))) == 1


def test_an_agent_that_is_not_known_there() -> None:
    """The discharger's refusal is told; no person is asked in its place."""
    world, discharger, token = desk("browser-window", "agent")
    discharger.agents.clear()
    error = refused(token, world, agents=AGENT)
    assert (error.status, error.code, world.visited) == (401, "permission-denied", [])


def local(
    *,
    maker: KeyPair | None = None,
    key: bytes = PAIR.public,
    location: str = "local",
    condition: str = "true",
    count: int = 1,
) -> dict[str, Any]:
    """A login's macaroon, as JSON, made by hand, with the key that the discharger of `logging_in` has."""
    channel = Channel.of_first_party(maker or OWN, key)
    caveats = [ThirdPartyCaveat(location, b"r" * 32, channel.seal(b"r" * 32, condition)) for _ in range(count)]
    made: dict[str, Any] = json.loads(Token.parse(mint(b"k" * 32, "x", b"login", ["sub = bot"], caveats)).to_v2json())
    return made


def told(pair: KeyPair) -> Answer:
    """What a discharger with a key says of itself."""
    return Answer({"PublicKey": key_text(pair.public), "Version": 3})


def logging_in(answer: Any) -> tuple[World, Token, list[Request]]:
    """A discharger of the key `OWN` whose login answers so, and which takes whatever an agent then shows."""
    world, discharger, token = desk("agent")
    shown: list[Request] = []

    def before(request: Request) -> Answer | None:
        if request.path == "/discharge/info":
            return told(OWN)
        if request.path == "/login":
            return answer if isinstance(answer, Answer) else Answer({"macaroon": answer})
        if "token64" not in request.parameters:
            return None
        shown.append(request)
        return discharger.discharge(request.parameters)

    discharger.before = before
    return world, token, shown


def test_logins_that_are_completed() -> None:
    """One local caveat or several, in bakery's object or alone: the positive controls of what follows."""
    for answer in (local(), {"m": local(), "v": 3}, local(count=3)):
        world, token, shown = logging_in(answer)
        assert matched(token, gathered(token, world, agents=AGENT)) == 1
        assert len(shown) == 1


@pytest.mark.parametrize(
    "answer",
    [
        local(count=0),
        local(condition="false"),
        local(condition="true "),
        local(location=A),
        local(location="local 3 x"),
        local(key=KeyPair.generate().public),
        local(count=17),
        {"i": "login", "s64": "A" * 43, "c": [{"i": "short", "v64": "A" * 96, "l": "local"}]},
        {"i": "login", "s64": "A" * 43, "c": [{"i64": "A" * 120, "v64": "A" * 96, "l": "local"}]},
        {"i": "login", "s64": "A" * 43, "c": [{"i64": "Aw" + "A" * 150, "v64": "A" * 96, "l": "local"}]},
        None,
        "AgEE",
        Answer({}),
        Answer(b"<html>", 200),
        Answer(b"", 302, {"location": B}),
    ],
    ids=lambda answer: str(answer)[:30],
)
def test_logins_that_an_agent_does_not_complete(answer: Any) -> None:
    """No proof asked for, something else than the key, another's key, garbage: refused, and nothing is shown."""
    world, token, shown = logging_in(answer)
    error = refused(token, world, agents=AGENT)
    assert (error.code, error.location, shown) == ("bad-answer", A, [])


def test_nested_discharges_want_interactions_too() -> None:
    """Each discharger by its own: a person here, an agent there."""
    front = Desk(A, "browser-window")
    behind = Desk(B, "agent")
    behind.agents["bot"] = key_text(PAIR.public)
    front.knows(B, behind)
    front.caveats = lambda _: [checkers.Caveat(location=B, condition="ok")]
    world = World({A: front, B: behind})
    token = conditional((A, front))
    assert matched(token, gathered(token, world, agents=Agents.of(AgentKey(PAIR, (Agent(B, "bot"),))))) == 2
    assert [visit.location for visit in world.visited] == [A]


def test_nothing_shows_a_secret() -> None:
    """Reprs of steps, agents and proofs leave out what they hold."""
    world, _, token = desk("browser-window")
    gathered(token, world)
    for thing in (*world.asked, *world.visited, AGENT):
        assert "v1" not in repr(thing)
        assert "w1" not in repr(thing)
        assert "token64" not in repr(thing)
        assert key_text(PAIR.private()) not in repr(thing)
    assert isinstance(world.asked[0], Ask)


def test_an_interaction_of_the_first_protocol() -> None:
    """Version 2 of bakery's caveats in a login is refused, as everywhere."""
    world, discharger, token = desk("agent")
    assert matched(token, gathered(token, world, agents=AGENT)) == 1
    discharger.version = bakery.VERSION_2
    assert refused(token, world, agents=AGENT).code == "bad-answer"
