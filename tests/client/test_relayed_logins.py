"""A discharger that passes on another one's login for agents gets nothing, whatever it claims; without a network.

A is the discharger that the token asks, and may be a rogue; B is another one at which the agent has the same key. What
an agent completes is sealed under the key of whoever made it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from macaroonbakery import bakery

from capsvc.client import DischargeError, KnownDischarger
from capsvc.client.agents import AgentIdentity, Agents
from capsvc.client.book import Book
from capsvc.client.gathering import gather
from capsvc.keyfile import Agent, AgentKey
from capsvc.macaroon.build import ThirdPartyCaveat, mint
from capsvc.macaroon.thirdparty import Channel, KeyPair, key_text
from capsvc.token import Token

from .dischargers import Answer, Desk, Request, World, conditional, fixed, matched, play

A, B, ISSUER = "https://a.example", "https://b.example", "https://tokens.example"
PAIR = KeyPair(b"\2" * 32)
OF_A, OF_B, FORMER = (KeyPair(bytes([number]) * 32) for number in (3, 4, 5))
EVERYWHERE: AgentIdentity = (PAIR, "bot")
BOTH: AgentIdentity = AgentKey(PAIR, (Agent(A, "bot"), Agent(f"{B}/", "bot")))
AT_A: AgentIdentity = AgentKey(PAIR, (Agent(A, "bot"),))


def login(*makers: KeyPair) -> Answer:
    """A login's macaroon, sealed by each of these for the agent."""
    sealed = [Channel.of_first_party(maker, PAIR.public).seal(b"r" * 32, "true") for maker in makers]
    caveats = [ThirdPartyCaveat("local", b"r" * 32, one) for one in sealed]
    return Answer(
        {"macaroon": json.loads(Token.parse(mint(b"k" * 32, "x", b"login", ["sub = bot"], caveats)).to_v2json())}
    )


def told(pair: KeyPair) -> Answer:
    """What a discharger with a key says of itself."""
    return Answer({"PublicKey": key_text(pair.public), "Version": 3})


class Told:
    """A world of A, B and an issuer; ``shown`` is what A got of the agent. The token asks A under ``key``."""

    def __init__(
        self, made_by: Iterable[KeyPair], *, claims: KeyPair | Answer = OF_A, rows: Any = (), key: KeyPair = OF_A
    ) -> None:
        self.desk = Desk(A, "agent")
        self.desk.key = bakery.PrivateKey.deserialize(key_text(key.private()))
        self.desk.before = self._before
        self.made_by = tuple(made_by)
        self.claims = claims
        self.shown: list[Request] = []
        self.token = conditional((A, self.desk))
        document = {"dischargers": [{"location": place, "public_key": key_text(pair.public)} for place, pair in rows]}
        self.world = World({A: self.desk, B: lambda _: told(OF_B), ISSUER: lambda _: Answer(document)})

    def _before(self, request: Request) -> Answer | None:
        if request.path == "/discharge/info":
            return self.claims if isinstance(self.claims, Answer) else told(self.claims)
        if request.path == "/login":
            return login(*self.made_by)
        if "token64" not in request.parameters:
            return None
        self.shown.append(request)
        return self.desk.discharge(request.parameters)

    def gathered(self, agent: AgentIdentity, *known: Any, issuer: str | None = None, token: Token | None = None) -> int:
        """How many discharges the agent gets."""
        wanted = self.token if token is None else token
        steps = gather(wanted, Book(known, issuer), agents=Agents.of(agent), visits=True, clock=fixed)
        return matched(wanted, play(steps, self.world))

    def refused(self, agent: AgentIdentity, *known: Any, issuer: str | None = None) -> DischargeError:
        """The error with which it ends; A has then got nothing."""
        with pytest.raises(DischargeError) as caught:
            self.gathered(agent, *known, issuer=issuer)
        assert self.shown == []
        assert caught.value.location == A
        assert str(caught.value).isprintable()
        return caught.value

    def asked(self, path: str) -> list[str]:
        """Who was asked for a path."""
        return [ask.url.removesuffix(path) for ask in self.world.asked if ask.url.endswith(path)]


def pinned(place: str, pair: KeyPair) -> KnownDischarger:
    """One that the caller names with its key."""
    return KnownDischarger(place, public_key=key_text(pair.public))


WAYS: dict[str, tuple[AgentIdentity, list[Any], list[tuple[str, KeyPair]], str | None]] = {
    "A pinned": (EVERYWHERE, [pinned(A, OF_A)], [], None),
    "A pinned, B named": (BOTH, [pinned(A, OF_A), B], [], None),
    "both pinned": (BOTH, [pinned(A, OF_A), pinned(B, OF_B)], [], None),
    "A named": (AT_A, [A], [], None),
    "A named, B in the agent's file": (BOTH, [A], [], None),
    "A named, B pinned": (BOTH, [A, pinned(B, OF_B)], [], None),
    "both named": (BOTH, [A, B], [], None),
    "both named, one name everywhere": (EVERYWHERE, [A, B], [], None),
    "A named, B the issuer's": (BOTH, [A], [(B, OF_B)], ISSUER),
    "A named, B the issuer's, one name everywhere": (EVERYWHERE, [A], [(B, OF_B)], ISSUER),
    "both the issuer's": (BOTH, [], [(A, OF_A), (B, OF_B)], ISSUER),
    "A named and the issuer's": (BOTH, [A], [(A, OF_A)], ISSUER),
    "A the issuer's, B named": (BOTH, [B], [(A, OF_A)], ISSUER),
}
"""What is known of whom: the agent, whom the caller names, whom the issuer's document names, and the issuer."""


@pytest.mark.parametrize("way", WAYS)
def test_a_login_of_its_own_is_completed(way: str) -> None:
    """The positive control: sealed under the discharger's own key, by whosever word that is."""
    agent, known, rows, issuer = WAYS[way]
    there = Told([OF_A], rows=rows)
    assert there.gathered(agent, *known, issuer=issuer) == 1
    assert len(there.shown) == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("made_by", [(OF_B,), (OF_A, OF_B), (OF_B, OF_A), (KeyPair(b"\6" * 32),)])
def test_a_login_of_another_is_not(way: str, made_by: tuple[KeyPair, ...]) -> None:
    """Nor one that is sealed under both keys, nor under one that nobody knows; A gets nothing of it."""
    agent, known, rows, issuer = WAYS[way]
    error = Told(made_by, rows=rows).refused(agent, *known, issuer=issuer)
    assert (error.status, error.code) == (200, "bad-answer")
    assert "passed on" in str(error)
    if OF_B in made_by and "B" in way and "B named" not in way:
        assert B in str(error)


CLAIMABLE = [way for way in WAYS if way.startswith(("A named, B", "both named"))]


@pytest.mark.parametrize("way", CLAIMABLE)
def test_another_s_key_is_not_claimed(way: str) -> None:
    """A says that B's key is its own: two that have one key are refused, wherever B's is known from or can be asked."""
    agent, known, rows, issuer = WAYS[way]
    error = Told([OF_B], claims=OF_B, rows=rows).refused(agent, *known, issuer=issuer)
    assert (error.status, error.code) == (200, "bad-answer")
    assert f"the same key as {B}" in str(error)


@pytest.mark.parametrize(
    ("known", "rows", "issuer"),
    [
        ([pinned(A, OF_B), pinned(B, OF_B)], [], None),
        ([], [(A, OF_B), (B, OF_B)], ISSUER),
        ([A], [(A, OF_B), (B, OF_B)], ISSUER),
        ([A, pinned(B, OF_A)], [(A, OF_B), (B, OF_B)], ISSUER),
    ],
)
def test_one_key_is_not_two_dischargers(known: list[Any], rows: Any, issuer: str | None) -> None:
    """Whoever says so: which of the two has it cannot be told. Of A alone it is taken."""
    there = Told([OF_B], rows=rows, key=OF_B)
    assert f"the same key as {B}" in str(there.refused(EVERYWHERE, *known, issuer=issuer))
    alone = Told([OF_B], rows=rows[:1], key=OF_B)
    assert alone.gathered(EVERYWHERE, *known[:1], issuer=issuer) == 1


def test_one_discharger_under_two_names_is_one() -> None:
    """Both are asked at the same address."""
    there = Told([OF_A])
    other = KnownDischarger(A, "https://login.example", key_text(OF_A.public))
    assert there.gathered(EVERYWHERE, pinned(A, OF_A), other) == 1
    assert there.gathered(EVERYWHERE, A, other) == 1


def test_a_key_that_gives_way() -> None:
    """The issuer's document may name two of one discharger: the present one and the next; a pin is one."""
    for made_by, good in ((OF_A, True), (FORMER, True), (OF_B, False)):
        there = Told([made_by])
        row = {"location": A, "public_key": key_text(FORMER.public), "next_public_key": key_text(OF_A.public)}
        there.world.servers[ISSUER] = lambda _, row=row: Answer({"dischargers": [row]})  # type: ignore[misc]
        if good:
            assert there.gathered(EVERYWHERE, issuer=ISSUER) == 1
        else:
            assert "passed on" in str(there.refused(EVERYWHERE, issuer=ISSUER))
    there = Told([OF_A])
    there.world.servers[ISSUER] = lambda _: Answer({"dischargers": [row | {"next_public_key": None}]})
    assert "Has its key changed?" in str(there.refused(EVERYWHERE, issuer=ISSUER))


def test_each_is_asked_for_its_key_once() -> None:
    """In one gathering; not at all where its key is known, or where the agent has no name."""
    there = Told([OF_A])
    token = conditional((A, there.desk), (A, there.desk))
    assert there.gathered(BOTH, A, B, "https://c.example", token=token) == 2
    assert there.asked("/discharge/info") == [A, B]
    for way in ("A pinned", "A pinned, B named", "both the issuer's", "A named and the issuer's"):
        agent, known, rows, issuer = WAYS[way]
        there = Told([OF_A], rows=rows)
        assert there.gathered(agent, *known, issuer=issuer) == 1
        assert there.asked("/discharge/info") == []


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (Answer({"Code": "not found", "Message": "no"}, 404), 404, "bad-answer"),
        (Answer(b"", 302, {"location": B}), 302, "bad-answer"),
        (Answer(b"<html>"), 200, "bad-answer"),
        (Answer([]), 200, "bad-answer"),
        (Answer({"PublicKey": 7}), 200, "bad-answer"),
        (Answer({"PublicKey": key_text(OF_A.public).rstrip("=")}), 200, "bad-answer"),
        (Answer({"PublicKey": key_text(bytes(32))}), 200, "bad-answer"),
        (Answer({"publickey": key_text(OF_A.public)}), 200, "bad-answer"),
        (Answer(b"", 503), 503, "unavailable"),
    ],
)
def test_one_that_does_not_tell_its_key(answer: Answer, status: int, code: str) -> None:
    """Gets no proof, be it the one that is asked or another one to which it could pass a login on; a pin helps."""
    there = Told([OF_A], claims=answer)
    error = there.refused(AT_A, A)
    assert (error.status, error.code) == (status, code)
    assert there.gathered(AT_A, pinned(A, OF_A)) == 1
    there = Told([OF_A])
    there.world.servers[B] = lambda _: answer
    for known in ([A], [A, B]):
        error = there.refused(BOTH, *known)
        assert (error.status, error.code) == (status, code)
        assert B in str(error)
    assert there.gathered(BOTH, A, pinned(B, OF_B)) == 1
    assert there.gathered(BOTH, pinned(A, OF_A), B) == 1


def test_an_issuer_that_is_away() -> None:
    """Whom it would name is asked by the agent's own list; without a list nobody knows whom to ask."""
    refuse: Callable[[Request], Answer] = lambda _: Answer(b"", 503)  # noqa: E731
    for agent, good in ((BOTH, True), (AT_A, True), (EVERYWHERE, False)):
        there = Told([OF_A])
        there.world.servers[ISSUER] = refuse
        if good:
            assert there.gathered(agent, A, issuer=ISSUER) == 1
        else:
            error = there.refused(agent, A, issuer=ISSUER)
            assert (error.status, error.code) == (503, "unavailable")
            assert ISSUER in str(error)
    there = Told([OF_B], claims=OF_B)
    there.world.servers[ISSUER] = refuse
    assert f"the same key as {B}" in str(there.refused(BOTH, A, issuer=ISSUER))


def test_places_to_which_nothing_may_go() -> None:
    """Of an agent's list are not asked."""
    there = Told([OF_A])
    agent = AgentKey(PAIR, (Agent(A, "bot"), Agent("http://c.example", "bot"), Agent("nonsense", "bot")))
    assert there.gathered(agent, A) == 1
    assert there.asked("/discharge/info") == [A]
