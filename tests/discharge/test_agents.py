"""Agents: what they are given, and what they have to send back; everything else is nobody's login."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from capsvc.discharge import AgentLogin, KeyPair, Surroundings, Waits
from capsvc.discharge import agent as agent_module
from capsvc.discharge.agent import AGENT_SECONDS
from capsvc.errors import TokenError
from capsvc.macaroon import build
from capsvc.macaroon.bundle import MAX_CAVEATS
from capsvc.macaroon.chain import bind as bound_signature
from capsvc.macaroon.chain import derive_key
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, decode_binaries, encode_binary
from capsvc.macaroon.encoding import b64decode, b64encode
from capsvc.macaroon.formats import read_v2json
from capsvc.macaroon.thirdparty import Channel, key_text, read_parties

from .conftest import NOON, Clock, Discharger, Serve, caveats, discharged, refused

BOB = KeyPair.generate()
EVE = KeyPair.generate()
OWN = KeyPair.generate()
CAVEAT = bytes(32)
LOCATION = "http://127.0.0.1:9"


def around(clock: Clock) -> Surroundings:
    """The discharger around a login that has none."""
    return Surroundings(LOCATION, OWN, Waits(clock), str, same_address=False, clock=clock)


class Agents:
    """A login of agents without a discharger around it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.login = AgentLogin({"bob": [key_text(BOB.public)], "eve": [key_text(EVE.public)]})
        self.login.install(around(self.clock))

    def macaroon(self, name: str = "bob", pair: KeyPair = BOB) -> UnverifiedMacaroon:
        """What an agent is given."""
        return self.login._made(name, pair.public)

    def user(self, *macaroons: UnverifiedMacaroon) -> str | None:
        """Whom these prove, as an agent sends them."""
        return self.login.user(b"".join(map(encode_binary, macaroons)), CAVEAT)


@pytest.fixture
def agents() -> Agents:
    """One, with two agents that it knows."""
    return Agents()


def bundle(root: UnverifiedMacaroon, *discharges: UnverifiedMacaroon) -> tuple[UnverifiedMacaroon, ...]:
    """A root and its discharges, bound."""
    return decode_binaries(b"".join(b64decode(part) for part in build.bind(root, discharges).split("~")))


def local(root: UnverifiedMacaroon, pair: KeyPair = BOB, caveats: tuple[str, ...] = ()) -> UnverifiedMacaroon:
    """What the owner of a key makes of the caveat at `local`; not bound yet."""
    (third,) = [one for one in root.caveats if one.vid is not None]
    assert third.location == b"local"
    _, first = read_parties(third.cid)
    sealed = Channel.of_third_party(pair, first).open(third.cid)
    assert sealed is not None
    assert sealed.condition == b"true"
    assert sealed.speaks_std
    return build.discharge(sealed.root_key, "local", third.cid, caveats)


def test_what_an_agent_is_given(agents: Agents) -> None:
    """A macaroon of a minute with its name and a caveat that only its key opens; another key does not."""
    root = agents.macaroon()
    assert caveats(root._replace(caveats=root.caveats[:1])) == ["time-before 2026-11-22T12:01:00Z"]
    assert len(root.caveats) == 2
    assert re.fullmatch(rb"agent1 [A-Za-z0-9_-]{22} bob", root.identifier)
    third = root.caveats[1]
    assert Channel.of_third_party(EVE, read_parties(third.cid)[1]).open(third.cid) is None
    assert root.identifier != agents.macaroon().identifier


def test_it_is_sealed_with_the_discharger_s_own_key(agents: Agents, serve: Serve) -> None:
    """By which an agent knows whose login it completes: the key that is published now, with a former one beside it."""
    third = agents.macaroon().caveats[1]
    assert read_parties(third.cid) == (BOB.public[:4], OWN.public)
    former = KeyPair.generate()
    served = serve(logins=[AgentLogin({"bob": [key_text(BOB.public)]})], former_keys=[former])
    root = given(served.http.get("/agent", params={"username": "bob", "public-key": key_text(BOB.public)}))
    published = served.http.get("/discharge/info").json()["PublicKey"]
    assert key_text(read_parties(root.caveats[1].cid)[1]) == published == key_text(served.key.public)


def test_from_beginning_to_end(agents: Agents) -> None:
    """Discharged by its own key and bound, it proves the name, once."""
    root = agents.macaroon()
    sent = bundle(root, local(root))
    assert agents.user(*sent) == "bob"
    assert agents.user(*sent) is None
    again = agents.macaroon("eve", EVE)
    assert agents.user(*bundle(again, local(again, EVE))) == "eve"


def test_names_with_spaces() -> None:
    """A name is whatever stands at the end."""
    login = AgentLogin({"bob the builder": [key_text(BOB.public)]})
    clock = Clock()
    login.install(around(clock))
    root = login._made("bob the builder", BOB.public)
    assert login.user(b"".join(map(encode_binary, bundle(root, local(root)))), CAVEAT) == "bob the builder"


def _bad_tokens(agents: Agents) -> dict[str, Callable[[], bytes]]:
    root = agents.macaroon()
    good = bundle(root, local(root))
    other = agents.macaroon()
    eves = agents.macaroon("eve", EVE)
    foreign = Agents().macaroon()
    octets = b"".join(map(encode_binary, good))

    def joined(*macaroons: UnverifiedMacaroon) -> Callable[[], bytes]:
        return lambda: b"".join(map(encode_binary, macaroons))

    def signed(key: bytes, identifier: bytes) -> UnverifiedMacaroon:
        return build.discharge(key, LOCATION, identifier, ["time-before 2026-11-22T12:01:00Z"])

    def claimed(name: bytes) -> tuple[UnverifiedMacaroon, ...]:
        return (good[0]._replace(identifier=root.identifier.replace(b"bob", name)), good[1])

    unbound = local(root)
    changed = good[1]._replace(signature=bytes([good[1].signature[0] ^ 1]) + good[1].signature[1:])
    return {
        "nothing": lambda: b"",
        "garbage": lambda: b"garbage",
        "text": lambda: b64encode(octets).encode(),
        "the macaroon alone": joined(good[0]),
        "the discharge alone": joined(good[1]),
        "discharge first": joined(good[1], good[0]),
        "not bound": joined(root, unbound),
        "bound to another": joined(other, bundle(root, unbound)[1]),
        "bound to nothing": joined(root, unbound._replace(signature=bound_signature(bytes(32), unbound.signature))),
        "another's discharge": joined(root, bundle(eves, local(eves, EVE))[1]),
        "the discharge twice": joined(*good, good[1]),
        "one discharge too many": joined(*good, bundle(other, local(other))[1]),
        "made by another process": joined(*bundle(foreign, local(foreign))),
        "another name": joined(*claimed(b"eve")),
        "no name": joined(*claimed(b"")),
        "a signature changed": joined(good[0], changed),
        "cut off": lambda: octets[:-1],
        "something after it": lambda: octets + b"\0",
        "something between": lambda: octets[: len(encode_binary(good[0]))] + b"\0" + encode_binary(good[1]),
        "V1": lambda: b"\1" + octets[1:],
        "without the local caveat": joined(root._replace(caveats=root.caveats[:1])),
        "without its expiry": joined(*bundle(root._replace(caveats=root.caveats[1:]), unbound)),
        "signed with an agent's key": joined(signed(BOB.private(), root.identifier)),
        "signed with zeros": joined(signed(bytes(32), root.identifier)),
        "narrowed to what nobody checks": joined(*bundle(build.attenuate(root, ["action = read"]), unbound)),
        "narrowed to the past": joined(*bundle(build.attenuate(root, ["time < 2026-11-22T12:00:00Z"]), unbound)),
        "narrowed to what nobody knows": joined(*bundle(build.attenuate(root, ["x:time-before y"]), unbound)),
        "a discharge that has ended": joined(*bundle(root, local(root, BOB, ("time-before 2026-11-22T12:00:00Z",)))),
        "a discharge with a condition": joined(*bundle(root, local(root, BOB, ("colour = green",)))),
        "a declaration in the macaroon": joined(*bundle(build.attenuate(root, ["declared username eve"]), unbound)),
        "more caveats than a token has": joined(
            root._replace(caveats=(root.caveats[0],) * MAX_CAVEATS + root.caveats), good[1]
        ),
        "more macaroons than a bundle has": joined(*good, *[good[1]] * 16),
        "two hundred of them": lambda: octets * 200,
    }


@pytest.mark.parametrize("about", _bad_tokens(Agents()))
def test_tokens_that_prove_nothing(agents: Agents, about: str) -> None:
    """Whatever is not exactly what the agent was given, discharged by its key and bound, is nobody's login."""
    control = agents.macaroon()
    assert agents.user(*bundle(control, local(control))) == "bob"
    assert agents.login.user(_bad_tokens(agents)[about](), CAVEAT) is None


def _many(count: int, caveats: int = 0) -> bytes:
    """So many macaroons with so many caveats each."""
    one = UnverifiedMacaroon(None, b"x", (RawCaveat(b"action = read"),) * caveats, bytes(32))
    return encode_binary(one) * count


@pytest.mark.parametrize(
    ("token", "is_within"),
    [
        (b"", False),
        (_many(1), True),
        (_many(17), True),
        (_many(18), False),
        (_many(1, 64), True),
        (_many(1, 65), False),
        (_many(3, 64), True),
        (_many(3, 64) + _many(1, 1), False),
    ],
)
def test_bounds_before_any_key(token: bytes, is_within: bool) -> None:
    """What has more macaroons or caveats than a bundle can have is refused before a chain is computed."""
    if is_within:
        assert b"".join(map(encode_binary, agent_module._bounded(token))) == token
        return
    with pytest.raises(TokenError) as caught:
        agent_module._bounded(token)
    assert caught.value.code == "too-large"


@pytest.mark.parametrize(
    "added", [("time < 2026-11-22T12:00:30Z",), ("time-before 2026-11-22T12:00:30Z", "weekday = sun")]
)
def test_what_an_agent_may_add(agents: Agents, added: tuple[str, ...]) -> None:
    """Conditions that hold narrow nothing away, in the macaroon and in its discharge."""
    root = agents.macaroon()
    narrowed = build.attenuate(root, added)
    assert agents.user(*bundle(narrowed, local(root))) == "bob"
    root = agents.macaroon()
    assert agents.user(*bundle(root, local(root, BOB, (*added, "declared x y")))) == "bob"


def test_a_minute(agents: Agents) -> None:
    """It is good until just before a minute is over."""
    early, late = agents.macaroon(), agents.macaroon()
    agents.clock.now += AGENT_SECONDS - 1
    assert agents.user(*bundle(early, local(early))) == "bob"
    agents.clock.now += 1
    assert agents.user(*bundle(late, local(late))) is None


def test_used_ones_are_remembered_as_long_as_they_are_good(agents: Agents) -> None:
    """One that was used at the last moment is still known then; afterwards nothing is kept of it."""
    root = agents.macaroon()
    sent = bundle(root, local(root))
    agents.clock.now += AGENT_SECONDS - 1
    assert agents.user(*sent) == "bob"
    assert agents.user(*sent) is None
    assert len(agents.login._used) == 1
    agents.clock.now += AGENT_SECONDS
    fresh = agents.macaroon()
    assert agents.user(*bundle(fresh, local(fresh))) == "bob"
    assert len(agents.login._used) == 1


def test_the_oldest_of_the_used_ones_are_forgotten_first(agents: Agents) -> None:
    """Of two that were used at different times, the one that is still good stays known when the other has ended."""
    first = agents.macaroon()
    assert agents.user(*bundle(first, local(first))) == "bob"
    agents.clock.now += AGENT_SECONDS - 1
    second = agents.macaroon()
    sent = bundle(second, local(second))
    assert agents.user(*sent) == "bob"
    agents.clock.now += 1
    assert agents.user(*sent) is None
    assert list(agents.login._used.values()) == [agents.clock.now - 1 + AGENT_SECONDS]


def test_the_memory_of_used_ones_is_bounded(agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past its bound no agent logs in until older ones have ended; none that was used is forgotten for room."""
    monkeypatch.setattr(agent_module, "MAX_USED", 3)
    used = []
    for _ in range(3):
        root = agents.macaroon()
        used.append(bundle(root, local(root)))
        assert agents.user(*used[-1]) == "bob"
    root = agents.macaroon()
    waiting = bundle(root, local(root))
    assert agents.user(*waiting) is None
    assert [agents.user(*one) for one in used] == [None] * 3
    agents.clock.now += AGENT_SECONDS
    root = agents.macaroon()
    assert agents.user(*bundle(root, local(root))) == "bob"


def test_a_failed_try_spends_nothing(agents: Agents) -> None:
    """Whoever sees a macaroon without its discharge cannot use it up."""
    root = agents.macaroon()
    assert agents.user(root) is None
    assert agents.user(*bundle(root, local(root))) == "bob"


@pytest.mark.parametrize(
    "known", [{"bob": ["no key"]}, {"": [key_text(BOB.public)]}, {"a\nb": [key_text(BOB.public)]}, {"bob": [""]}]
)
def test_agents_that_are_none(known: dict[str, list[str]]) -> None:
    """Agents have names and keys."""
    with pytest.raises(ValueError, match=r"key|name"):
        AgentLogin(known)


def test_a_login_belongs_to_one_discharger(agents: Agents) -> None:
    """It is installed once, and used only then."""
    with pytest.raises(ValueError, match="one discharger"):
        agents.login.install(around(agents.clock))
    with pytest.raises(ValueError, match="installed"):
        AgentLogin({}).user(b"", CAVEAT)


@pytest.fixture
def served(serve: Serve) -> Discharger:
    """A discharger that agents log in to."""
    return serve(logins=[AgentLogin({"bob": [key_text(BOB.public)], "eve": [key_text(EVE.public)]})])


def given(answer: httpx.Response) -> UnverifiedMacaroon:
    """The macaroon in an answer of bakery's shape."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()["macaroon"]
    assert (body["v"], body["ns"]) == (3, "std:")
    return read_v2json(json.dumps(body["m"]))


def test_over_http(served: Discharger) -> None:
    """What is offered leads to a macaroon, which discharged answers the caveat; a second time it does not."""
    caveat = served.caveat("need-declared username somebody")
    offer = served.ask(caveat).json()["Info"]["InteractionMethods"]["agent"]
    asked = {"username": "bob", "public-key": key_text(BOB.public)}
    root = given(served.http.get(offer["login-url"], params=asked))
    assert root.location == served.location.encode()
    token = base64.b64encode(b"".join(map(encode_binary, bundle(root, local(root))))).decode()
    made = discharged(served.ask(caveat, token64=token, token_kind="agent"))
    assert caveats(made) == ["time-before 2026-11-22T12:05:00Z", "declared username bob"]
    refused(served.ask(caveat, token64=token, token_kind="agent"), 401, "permission denied")
    assert served.clock.now == NOON


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        ({}, 400, "bad request"),
        ({"username": "bob"}, 400, "bad request"),
        ({"public-key": key_text(BOB.public)}, 400, "bad request"),
        ({"username": "", "public-key": key_text(BOB.public)}, 400, "bad request"),
        ({"username": ["bob", "bob"], "public-key": key_text(BOB.public)}, 400, "bad request"),
        ({"username": "bob", "public-key": key_text(BOB.public).rstrip("=")}, 400, "bad request"),
        ({"username": "bob", "public-key": key_text(bytes(32))}, 400, "bad request"),
        ({"username": "bob", "public-key": "x"}, 400, "bad request"),
        ({"username": "nobody", "public-key": key_text(BOB.public)}, 401, "permission denied"),
        ({"username": "bob", "public-key": key_text(EVE.public)}, 401, "permission denied"),
        ({"username": "Bob", "public-key": key_text(BOB.public)}, 401, "permission denied"),
        ({"username": "bob ", "public-key": key_text(BOB.public)}, 401, "permission denied"),
    ],
)
def test_who_is_given_nothing(served: Discharger, parameters: dict[str, Any], status: int, code: str) -> None:
    """A name and its own key, each once, in its one spelling."""
    refused(served.http.get("/agent", params=parameters), status, code)


def test_tokens_over_http(served: Discharger) -> None:
    """What proves nothing is bakery's 401, and 64 KiB of it too."""
    caveat = served.caveat("somebody")
    for token in (b"x", b"\2" * 40_000):
        answer = served.ask(caveat, token64=base64.urlsafe_b64encode(token).decode(), token_kind="agent")
        refused(answer, 401, "permission denied")


def test_the_chain_key_is_the_process_s_own(agents: Agents) -> None:
    """No two dischargers have one, and it is no key that anybody else has."""
    keys = {agents.login._root_key, Agents().login._root_key}
    assert len(keys) == 2
    assert agents.login._chain_key == derive_key(agents.login._root_key)
