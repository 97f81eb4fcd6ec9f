"""The two libraries with each other, with nothing of ours but the token: what the other tests here rest on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest
from pymacaroons import Macaroon, Verifier

from capsvc.macaroon.build import ThirdPartyCaveat, mint
from capsvc.macaroon.thirdparty import Channel, KeyPair, read_key

from .libraries import Discharger, GatheringError, Library, before, declare, text, third

ROOT_KEY = b"k" * 32
PAIR = KeyPair.generate()


def asking(discharger: Discharger, condition: str) -> str:
    """A token on which a third party has to answer a condition."""
    secret = b"r" * 24
    caveat_id = Channel.of_first_party(PAIR, read_key(discharger.public_key)).seal(secret, condition)
    caveat = ThirdPartyCaveat(discharger.url, secret, caveat_id)
    return mint(ROOT_KEY, "http://issuer.example", b"id", ["floor = 1"], [caveat])


def seen(bundle: str) -> Sequence[str]:
    """The first-party caveats that pymacaroons sees in a bundle that it finds good."""
    root, *discharges = [Macaroon.deserialize(part) for part in bundle.split("~")]
    caveats: list[str] = []

    def holds(caveat: str) -> bool:
        caveats.append(caveat)
        return True

    verifier = Verifier()
    verifier.satisfy_general(holds)
    assert verifier.verify(root, ROOT_KEY, discharges)
    return caveats


def test_a_discharge_says_what_it_was_told_to(library: Library, discharger: Discharger) -> None:
    """Either client at either discharger: declarations, those that were forgotten too, expiry and other caveats."""
    discharger.answers("is-somebody", declare("username", "ada"), before(60), text("floor = 1"))
    bundle = library.gather(asking(discharger, "need-declared username,mail is-somebody"))
    mine, username, expiry, other, mail = seen(bundle)
    assert (mine, username, other, mail) == ("floor = 1", "declared username ada", "floor = 1", "declared mail ")
    assert expiry.startswith("time-before 20")
    assert expiry.endswith("Z")


def test_an_unknown_condition_is_refused(library: Library, discharger: Discharger) -> None:
    """With the discharger's own sentence."""
    with pytest.raises(GatheringError, match=r"refused discharge.*no such condition"):
        library.gather(asking(discharger, "is-nobody"))


def test_a_discharge_can_need_another(
    library: Library, discharger: Discharger, both: tuple[Discharger, Discharger]
) -> None:
    """Either discharger sends either client on to the other: two discharges come, the second under a short id."""
    (other,) = [one for one in both if one is not discharger]
    discharger.answers("far", third(other, "near"))
    other.answers("near", declare("username", "ada"))
    bundle = library.gather(asking(discharger, "far"))
    assert list(seen(bundle)) == ["floor = 1", "declared username ada"]
    assert Macaroon.deserialize(bundle.split("~")[2]).identifier_bytes == b"\x03\x00"


def test_somebody_visits_a_page(library: Library, go_discharger: Discharger) -> None:
    """The client names the page and waits; without a browser it fails."""
    go_discharger.answers("logged-in", declare("username", "ada"), login="browser-window")
    token = asking(go_discharger, "logged-in")
    bundle = library.gather(token, visit=httpx.get)
    assert list(seen(bundle)) == ["floor = 1", "declared username ada"]
    with pytest.raises(GatheringError, match="cannot start interactive session"):
        library.gather(token)


def test_an_agent_needs_nobody(library: Library, go_discharger: Discharger, agent_file: Callable[[str], Path]) -> None:
    """His key is enough where the discharger knows him."""
    go_discharger.answers("is-agent", login="agent")
    token = asking(go_discharger, "is-agent")
    assert list(seen(library.gather(token, agent=agent_file(go_discharger.url)))) == ["floor = 1"]
    with pytest.raises(GatheringError, match=r"cannot (start interactive session|find username)"):
        library.gather(token, agent=agent_file("http://127.0.0.1:9"))
