"""What the README says of protecting an API: names, numbers and parameters are the program's."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import pytest

import capsvc.asgi
from capsvc import Authority, Settings
from capsvc.asgi import CapsvcMiddleware, EmbeddedVerifier, PrefixVerifier, RemoteVerifier, requires
from capsvc.asgi.bakery import ROOTS_A_SECOND
from capsvc.asgi.remote import KEPT_SECONDS
from capsvc.asgi.sockets import POLICY_VIOLATION, TRY_AGAIN_LATER
from capsvc.client import Client
from capsvc.decision.prefix import CONFIRMED_SECONDS
from capsvc.wire import LONGEST_WAIT

from ..benchmarks.__main__ import ROWS  # noqa: TID252 - what all folders share

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docs.conftest import Readme

GIVEN = {"self", "app", "verifier", "audience", "clock"}


def _words(readme: Readme, heading: str) -> str:
    return " ".join(readme.section(heading).split())


def test_every_public_name_is_named(readme: Readme) -> None:
    """What `capsvc.asgi` exports stands in the section, in prose or in code."""
    assert set(capsvc.asgi.__all__) <= set(re.findall(r"\w+", readme.section("Protect an API")))


def test_what_a_client_can_do_is_named(readme: Readme) -> None:
    """Its methods, but for the one that closes it."""
    (said,) = re.findall(r"a client can (.+?)\. ", _words(readme, "Python"))
    methods = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert set(re.findall(r"`(\w+)`", said)) == methods - {"close"}


def test_every_parameter_is_named(readme: Readme) -> None:
    """What the middleware and `requires` can be told."""
    said = set(re.findall(r"\b(\w+)=", readme.section("Protect an API")))
    assert set(inspect.signature(CapsvcMiddleware.__init__).parameters) - GIVEN <= said
    assert set(inspect.signature(requires).parameters) - {"action"} <= said


def test_numbers_are_the_programs(readme: Readme, tmp_path: Path) -> None:
    """Lifetimes, lags, pauses and WebSockets' codes."""
    text = _words(readme, "Protect an API")
    assert CONFIRMED_SECONDS == 300
    assert "for five minutes it verifies that token" in text
    assert KEPT_SECONDS == 60
    assert "refusals that cannot change, for a minute" in text
    with Authority.open(Settings(data_dir=tmp_path / "data")) as authority:
        credential = authority.mint(audience="default", ttl=60).token
        prefix = PrefixVerifier("http://127.0.0.1:1", credential)
        assert (EmbeddedVerifier(authority).recheck, prefix.recheck) == (0.25, 0.25)
    assert RemoteVerifier("http://127.0.0.1:1", credential).recheck == 0.5
    assert "four times a second in the process, twice a second by `RemoteVerifier`" in text
    assert inspect.signature(PrefixVerifier).parameters["revocation_max_lag"].default == 1.0
    assert "within `revocation_max_lag`, a second by default" in text
    assert (POLICY_VIOLATION, TRY_AGAIN_LATER) == (1008, 1013)
    assert "closed with 1008" in text
    assert "with 1013 when nobody can tell" in text
    assert ROOTS_A_SECOND == 20
    assert "20 roots a second" in _words(readme, "Codes")
    assert LONGEST_WAIT == 30
    assert "30 at most" in _words(readme, "HTTP")


def test_measurements_are_ones_that_there_are(readme: Readme) -> None:
    """Rows of `make bench`."""
    named = [row for rows in re.findall(r'`make bench ROWS="([^"]+)"`', readme.text) for row in rows.split()]
    assert named
    assert set(named) <= ROWS.keys()


@pytest.mark.parametrize("gone", ["There is no middleware", "no feed", "does not yet answer"])
def test_nothing_says_that_what_there_is_is_missing(readme: Readme, gone: str) -> None:
    """What was missing once is nowhere said to be missing still."""
    assert gone not in " ".join(readme.text.split())
