"""What the README says to do with keys of third parties, step by step: it keeps what it should, and ends the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from capsvc import Authority, Denied, Settings, Token
from capsvc.macaroon import build
from capsvc.macaroon.decode import encode
from capsvc.macaroon.thirdparty import Channel, KeyPair, key_text, read_parties

if TYPE_CHECKING:
    from tests.docs.conftest import Readme

WEEK = 7 * 86_400
URL = "https://login.example"


class Clock:
    """A clock that is moved by hand."""

    now = 1_795_600_800

    def __call__(self) -> int:
        """Unix seconds."""
        return self.now


class Installation:
    """An authority, the discharger `login`, and whoever holds the private halves of its keys."""

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self.authority = authority
        self.clock = clock
        self.key = KeyPair.generate()
        self.register(self.key)

    def register(self, key: KeyPair) -> None:
        """Register the discharger, with that key."""
        self.authority.add_discharger(name="login", location=URL, public_key=key_text(key.public))

    def mint(self) -> str:
        """A token that asks it."""
        asked = {"location": URL, "condition": "is-here", "declare": ["username"]}
        return self.authority.mint(audience="default", ttl=3600, third_party=[asked]).token

    def bundle(self, token: str, key: KeyPair) -> str:
        """The token with a discharge by whoever has that key; AssertionError if it is not sealed for it."""
        root = Token.parse(token)
        (caveat,) = root.third_parties
        sealed = Channel.of_third_party(key, self.asker(token)).open(caveat.id)
        assert sealed is not None
        discharge = build.discharge(sealed.root_key, URL, caveat.id, ["declared username ada"])
        return str(root.bind(Token.parse(encode(discharge))))

    def asker(self, token: str) -> bytes:
        """The authority's public key as the token's condition names it."""
        return read_parties(Token.parse(token).third_parties[0].id)[1]

    def decide(self, bundle: str) -> str:
        """Who it is that the discharger says, or the denial's code."""
        try:
            return self.authority.authorize(bundle, audience="default").declared["login"]["username"]
        except Denied as denied:
            return denied.code

    def own_keys(self) -> dict[str, str]:
        """The authority's own pairs: the public key by its state."""
        return {pair.state: pair.public_key for pair in self.authority.bakery_keys()}


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """One of each, with a clock that stands still."""
    clock = Clock()
    with Authority.open(Settings(data_dir=tmp_path / "data"), clock=clock) as authority:
        yield Installation(authority, clock)


def test_another_key_for_a_discharger(installation: Installation) -> None:
    """Old tokens and bundles stay good, new ones are sealed for the new key; without the old one what it made goes."""
    old, new = installation.key, KeyPair.generate()
    asks_old = installation.mint()
    before = installation.bundle(asks_old, old)
    installation.authority.set_discharger(
        "login", public_key=key_text(new.public), next_public_key=key_text(old.public)
    )
    assert installation.decide(before) == "ada"
    assert installation.decide(installation.bundle(asks_old, old)) == "ada"
    fresh = installation.mint()
    with pytest.raises(AssertionError):
        installation.bundle(fresh, old)
    assert installation.decide(installation.bundle(fresh, new)) == "ada"
    installation.authority.set_discharger("login", clear_next=True)
    assert installation.decide(before) == "discharge-invalid"
    assert installation.decide(installation.bundle(fresh, new)) == "ada"


def test_a_dischargers_key_has_leaked(installation: Installation) -> None:
    """Removed, what depends on it is dead at once, stays dead when name and keys come back, and what is new works."""
    stolen, new = installation.key, KeyPair.generate()
    token = installation.mint()
    bundle = installation.bundle(token, stolen)
    exchanged = installation.authority.exchange(bundle).token
    assert installation.decide(bundle) == "ada"
    assert installation.authority.authorize(exchanged, audience="default").declared == {}
    installation.authority.remove_discharger("login")
    assert (installation.decide(bundle), installation.decide(exchanged)) == ("discharge-invalid", "revoked")
    installation.clock.now += 1
    installation.register(new)
    assert installation.decide(installation.bundle(token, stolen)) == "discharge-invalid"
    assert installation.decide(installation.bundle(installation.mint(), new)) == "ada"
    installation.authority.set_discharger("login", next_public_key=key_text(stolen.public))
    assert (installation.decide(bundle), installation.decide(exchanged)) == ("discharge-invalid", "revoked")


def test_another_pair_for_the_authority(installation: Installation) -> None:
    """The next pair seals nothing before its rotation; the old one opens until its last token is forgotten."""
    first = installation.own_keys()["active"]
    installation.authority.add_bakery_key()
    second = installation.own_keys()["next"]
    token = installation.mint()
    assert key_text(installation.asker(token)) == first
    installation.authority.rotate_bakery_key()
    assert installation.own_keys() == {"active": second, "retiring": first}
    assert key_text(installation.asker(installation.mint())) == second
    assert installation.decide(installation.bundle(token, installation.key)) == "ada"
    installation.clock.now += 3600 + WEEK
    for _ in range(2):  # tokens go, then the pair that no token is left of; `serve` sweeps every hour
        installation.clock.now += 3600
        installation.authority.sweep()
    assert installation.own_keys() == {"active": second}


def test_the_authoritys_pair_has_leaked(installation: Installation) -> None:
    """With pair and keys rotated and the older keys revoked, nothing that was sealed before is good; what is new is."""
    before = installation.bundle(installation.mint(), installation.key)
    installation.authority.rotate_bakery_key()
    fresh = installation.authority.rotate_key("default")
    for key in installation.authority.keys("default"):
        if key.kid != fresh.kid:
            installation.authority.revoke(key=key.kid)
    assert installation.decide(before) == "revoked"
    assert installation.decide(installation.bundle(installation.mint(), installation.key)) == "ada"


def test_the_lists_name_the_commands_that_do_it(readme: Readme) -> None:
    """Each list of the section names, in order, the commands whose effects are shown here."""
    section = readme.section("Third parties").split("### Keys and leaks")[1]
    commands = re.findall(r"`capsvc ([a-z-]+ [a-z]+)", " ".join(section.split()))
    assert commands == [
        "dischargers add",
        *["dischargers set"] * 2,
        "dischargers remove",
        "dischargers add",
        "bakery-keys prepare",
        "bakery-keys rotate",
        "bakery-keys list",
        "bakery-keys rotate",
        "keys rotate",
        "keys revoke",
    ]
