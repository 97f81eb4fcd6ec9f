"""Registering, changing and removing while others mint, decide and exchange: whatever comes first, the rule holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from capsvc.authority import Authority
from capsvc.errors import Denied, RequestError
from capsvc.macaroon.thirdparty import KeyPair, key_text

TURNS = 40
MINTERS = 3

Call = Callable[[], Any]


def race(*calls: Call) -> list[Any]:
    """What calls give that begin at the same moment, each in a thread of its own."""
    start = threading.Barrier(len(calls))

    def begin(call: Call) -> Any:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(begin, calls))


def later(turn: int, call: Call) -> None:
    """Call it a little later, in each turn at another moment, up to 3 ms."""
    time.sleep(turn % 7 / 2000)
    call()


def told(call: Call) -> Any:
    """What a call gives, or the code of its refusal."""
    try:
        return call()
    except (RequestError, Denied) as refused:
        return refused.code


def outcome(authority: Authority, bundle: str) -> str:
    """``allowed``, or the code."""
    return str(told(lambda: authority.authorize(bundle, audience="default") and "allowed"))


def asking(authority: Authority, login: Any) -> Any:
    """A fresh token that asks it, or the code of the refusal."""
    return told(lambda: authority.mint(audience="default", ttl=60, third_party=[login.asks()]).token)


class Two:
    """Two processes' worth of authorities on one database, and what is decided of a token at both of them."""

    def __init__(self, office: Any, other: Authority) -> None:
        self.office = office
        self.authorities = (office.authority, other)

    def mints(self, login: Any) -> list[Call]:
        """Calls for tokens that ask it, now here, now there."""
        return [partial(asking, self.authorities[number % 2], login) for number in range(MINTERS)]

    def outcome(self, token: str, login: Any) -> str:
        """Of a token with its discharge: both have to agree."""
        bundle = self.office.bundle(token, login.discharge(token))
        (found,) = {outcome(authority, bundle) for authority in self.authorities}
        return found


@pytest.fixture
def two(office: Any) -> Iterator[Two]:
    """The office's, and another."""
    with office.another() as other:
        yield Two(office, other)


@pytest.mark.parametrize("same", ["name", "location", "key", "next key"])
def test_one_of_many_registrations_wins(two: Two, same: str) -> None:
    """Four at once, which share a name, a location, a key or a next key."""
    shared = key_text(KeyPair.generate().public)

    def register(turn: int, number: int) -> Any:
        keys = [key_text(KeyPair.generate().public) for _ in range(2)]
        return two.authorities[number % 2].add_discharger(
            name=f"n{turn}" if same == "name" else f"n{turn}-{number}",
            location="https://one.example" if same == "location" else f"https://x{turn}-{number}.example",
            public_key=shared if same == "key" else keys[0],
            next_public_key=shared if same == "next key" else keys[1],
        )

    for turn in range(8):
        results = race(*[partial(told, partial(register, turn, number)) for number in range(4)])
        (won,) = [result for result in results if result != "exists"]
        for authority in two.authorities:
            assert [one.name for one in authority.dischargers()] == [won.name]
        two.authorities[turn % 2].remove_discharger(won.name)
        two.office.clock.now += 1


def test_no_token_outlives_a_removal_that_raced_its_mint(two: Two) -> None:
    """Each mint is refused, or its token is dead when the removal is done, and stays so after a new registration."""
    minted = 0
    here, there = two.authorities
    for turn in range(TURNS):
        login = two.office.register(f"login-{turn}")
        results = race(*two.mints(login), partial(later, turn, partial(here.remove_discharger, login.name)))[:-1]
        tokens = [result for result in results if result != "discharger-unknown"]
        minted += len(tokens)
        assert {two.outcome(token, login) for token in tokens} <= {"discharge-invalid"}
        assert asking(there, login) == "discharger-unknown"
        two.office.clock.now += 1
        two.office.register(login.name, pair=login.pair)
        assert {two.outcome(token, login) for token in tokens} <= {"discharge-invalid"}
        assert two.outcome(asking(there, login), login) == "allowed"
    assert minted > 0


def test_no_decision_after_a_removal_allows(two: Two) -> None:
    """Both decide all the time, and remember the bundle: those decisions that begin after the removal are refusals."""
    here, there = two.authorities
    for turn in range(TURNS):
        login = two.office.register(f"login-{turn}")
        token = asking(here, login)
        bundle = two.office.bundle(token, login.discharge(token))
        removed = threading.Event()

        def decide(authority: Authority, bundle: str = bundle, removed: threading.Event = removed) -> list[str]:
            seen = []
            while not removed.is_set():
                seen.append(outcome(authority, bundle))
            return [*seen, outcome(authority, bundle)]

        def remove(turn: int = turn, name: str = login.name, removed: threading.Event = removed) -> None:
            later(turn, partial(there.remove_discharger, name))
            removed.set()

        for outcomes in race(partial(decide, here), partial(decide, there), remove)[:-1]:
            assert outcomes[-1] == "discharge-invalid"
            allowed = outcomes.count("allowed")
            assert outcomes == ["allowed"] * allowed + ["discharge-invalid"] * (len(outcomes) - allowed)


def test_no_token_outlives_a_key_that_was_dropped_beside_its_mint(two: Two) -> None:
    """Every token asks the key of before, and is dead, or the new one, and is good."""
    login, (here, there) = two.office.register(), two.authorities
    for turn in range(TURNS):
        before, after = login.pair, KeyPair.generate()
        change = partial(here.set_discharger, "login", public_key=key_text(after.public))
        tokens = [*race(*two.mints(login), partial(later, turn, change))[:-1], asking(there, login)]
        for token in tokens:
            for login.pair, expected in ((before, "discharge-invalid"), (after, "allowed")):
                if login.questions(token):
                    assert two.outcome(token, login) == expected
        assert login.questions(tokens[-1])
        two.office.clock.now += 1


def test_a_rotation_of_our_own_pair_beside_mints_loses_nothing(two: Two) -> None:
    """Whichever pair a token was sealed with, its discharge is good at both."""
    login, (_, there) = two.office.register(), two.authorities
    for turn in range(TURNS // 2):
        tokens = race(*two.mints(login), partial(later, turn, there.rotate_bakery_key))[:-1]
        assert {two.outcome(token, login) for token in tokens} == {"allowed"}
    states = [key.state for key in there.bakery_keys()]
    assert sorted(states) == ["active", *["retiring"] * (TURNS // 2)]
