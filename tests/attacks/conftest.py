"""One authority for attacks that change nothing in it, and whoever holds tokens of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymacaroons import Macaroon

from capsvc.authority import Authority
from capsvc.config import Settings
from capsvc.errors import Denied

from ..authority.conftest import Office  # noqa: TID252 - an authority is opened, and its tokens are held, in one way

NOON = 1_795_348_800  # 2026-11-22T12:00:00Z
CONTEXT = {"action": "read", "path": "/a/b"}


class Target:
    """What is attacked: an authority, one whole token, one whole bundle."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.token = self.mint()
        root = Macaroon.deserialize(self.mint())
        root.add_third_party_caveat("https://who.example/", "shared secret", "cid")
        discharge = Macaroon(location="https://who.example/", identifier="cid", key="shared secret", version=2)
        discharge.add_first_party_caveat("action = read")
        self.root = str(root.serialize())
        self.bundle = f"{self.root}~{root.prepare_for_request(discharge).serialize()}"

    def mint(self, **asked: Any) -> str:
        """A token with a fact and two caveats, which `CONTEXT` satisfies."""
        caveats = ("action in read,write", "path under /a")
        fields = {"audience": "default", "ttl": 3600, "subject": "alice", "caveats": caveats, **asked}
        return self.authority.mint(**fields).token

    def outcome(self, bundle: str) -> str:
        """``allowed``, or the code."""
        try:
            self.authority.authorize(bundle, audience="default", context=CONTEXT)
        except Denied as denied:
            return denied.code
        return "allowed"


@pytest.fixture(scope="package")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The target; whole, it is allowed."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("target") / "data")
    with Authority.open(settings, clock=lambda: NOON) as authority:
        found = Target(authority)
        assert found.outcome(found.token) == found.outcome(found.bundle) == "allowed"
        yield found
        assert found.outcome(found.token) == found.outcome(found.bundle) == "allowed"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """A fresh authority, whose dischargers, holders and clock are the attacker's to play with."""
    opened = Office(tmp_path / "data")
    yield opened
    opened.authority.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One for attacks that leave nothing behind."""
    opened = Office(tmp_path_factory.mktemp("shared") / "data")
    yield opened
    opened.authority.close()
