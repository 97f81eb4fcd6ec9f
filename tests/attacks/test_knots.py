"""Discharges tied in knots: circles, depth, fan-out, crowds of one id. Each is decided within the bounds of work."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from pymacaroons import Macaroon, Verifier

from capsvc.macaroon import discharges as matching
from capsvc.macaroon.bundle import MAX_DEPTH, MAX_DISCHARGES
from capsvc.macaroon.chain import compute
from capsvc.macaroon.decode import UnverifiedMacaroon
from capsvc.macaroon.discharges import MAX_CHAINS

from .nesting import NESTED, asked


@pytest.fixture
def chains(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The identifiers of the discharges whose chains are computed."""
    computed: list[bytes] = []

    def counting(key: bytes, macaroon: UnverifiedMacaroon) -> list[bytes]:
        computed.append(macaroon.identifier)
        return compute(key, macaroon)

    monkeypatch.setattr(matching, "compute", counting)
    return computed


def test_discharges_that_need_each_other(office: Any, chains: list[bytes]) -> None:
    """Each answers one caveat: the circle lacks one more, however often it is repeated, up to the bounds."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    ((caveat_id, root_key, _),) = login.questions(token)
    ring = [
        asked(login.discharge(token), ("a", "k")),
        asked(office.discharge("a", key="k"), ("b", "k")),
        office.discharge("b", key="k", thirds=[(caveat_id, root_key)]),
    ]
    straight = [*ring[:2], office.discharge("b", key="k")]
    assert office.outcome(office.bundle(token, *straight)) == "allowed"
    assert office.outcome(office.bundle(token, *ring)) == "discharge-missing"
    assert office.outcome(office.bundle(token, *ring, *ring)) == "too-large"
    itself = office.discharge(caveat_id, key=root_key, thirds=[(caveat_id, root_key)])
    assert office.outcome(office.bundle(token, *[itself] * 3)) == "discharge-missing"
    chains.clear()
    assert office.outcome(office.bundle(token, *[itself] * 16)) == "too-large"
    assert len(chains) == MAX_DEPTH


def line(office: Any, login: Any, token: str, depth: int, leaves: int = 0) -> list[Macaroon]:
    """A login's discharge that needs another, and so on, so deep; below the first one, leaves."""
    below = [(f"leaf {number}", "k") for number in range(leaves)]
    discharges = [asked(login.discharge(token), *below, *([("d2", "k")] if depth > 1 else []))]
    for level in range(2, depth + 1):
        deeper = [(f"d{level + 1}", "k")] if level < depth else []
        discharges.append(office.discharge(f"d{level}", key="k", thirds=deeper))
    return discharges + [office.discharge(cid, key=key) for cid, key in below]


@pytest.mark.parametrize(
    ("depth", "leaves", "outcome"),
    [
        (1, 0, "allowed"),
        (4, 0, "allowed"),
        (4, 12, "allowed"),
        (1, 15, "allowed"),
        (5, 0, "too-large"),
        (4, 13, "too-large"),
        (1, 16, "too-large"),
    ],
)
def test_four_deep_and_sixteen_in_all(office: Any, depth: int, leaves: int, outcome: str) -> None:
    """So much is decided, in whatever order it comes; one deeper or one more is refused, in whatever order."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    discharges = line(office, login, token, depth, leaves)
    assert len(discharges) == depth + leaves
    assert (len(discharges) > MAX_DISCHARGES or depth > MAX_DEPTH) is (outcome == "too-large")
    for order in (discharges, discharges[::-1], discharges[1::2] + discharges[::2]):
        assert office.outcome(office.bundle(token, *order)) == outcome


def widening(office: Any, login: Any, token: str, width: int, depth: int) -> list[Macaroon]:
    """As many discharges as levels, each of which needs the next one ``width`` times."""
    names = ["", *(f"level {level}" for level in range(2, depth + 1))]
    found = [asked(login.discharge(token), *[(names[1], "k")] * width)]
    for level in range(1, depth):
        deeper = [(names[level + 1], "k")] * width if level + 1 < depth else []
        found.append(office.discharge(names[level], key="k", thirds=deeper))
    return found


def by_pymacaroons(key: bytes, bundle: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many chains of discharges pymacaroons computes before it finds the bundle good."""
    count = [0]
    original = Verifier.verify_discharge

    def counting(self: Verifier, *arguments: Any, **more: Any) -> bool:
        count[0] += 1
        return bool(original(self, *arguments, **more))

    monkeypatch.setattr(Verifier, "verify_discharge", counting)
    verifier = Verifier()
    verifier.satisfy_general(lambda _caveat: True)
    root, *discharges = [Macaroon.deserialize(part) for part in bundle.split("~")]
    assert verifier.verify(root, key, discharges)
    return count[0] - 1  # the root's own


def test_a_bundle_that_is_exponential_for_others(
    office: Any, chains: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four discharges that each need the next one three times: forty chains there, four here, and not good."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    bundle = office.bundle(token, *widening(office, login, token, 3, 4))
    key = office.authority._follower.view().active_key("default").root
    assert by_pymacaroons(key, bundle, monkeypatch) == 1 + 3 + 9 + 27
    assert office.denial(bundle) == ("discharge-missing", NESTED)
    assert len(chains) <= 4
    once = office.bundle(token, *widening(office, login, token, 1, 4))
    assert office.outcome(once) == "allowed"
    chains.clear()
    wide = office.bundle(token, *widening(office, login, token, 60, 4))  # 219,661 for pymacaroons
    assert office.denial(wide) == ("discharge-missing", NESTED)
    assert len(chains) <= 4


@pytest.mark.parametrize(
    ("width", "outcome"), [(1, "too-large"), (2, "too-large"), (3, "discharge-missing"), (5, "discharge-missing")]
)
def test_a_crowd_of_one_id_is_no_work_without_end(office: Any, chains: list[bytes], width: int, outcome: str) -> None:
    """Sixteen discharges of the issuer's own caveat, each of which needs as many more, end by the bounds."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    ((caveat_id, root_key, _),) = login.questions(token)
    crowd = [office.discharge(caveat_id, key=root_key, thirds=[(caveat_id, root_key)] * width)] * MAX_DISCHARGES
    assert office.outcome(office.bundle(token, *crowd)) == outcome
    assert len(chains) <= MAX_DISCHARGES
    alone = office.discharge(caveat_id, key=root_key)
    assert office.outcome(office.bundle(token, alone)) == "allowed"


def shuffled(office: Any, login: Any, together: int, alone: int) -> tuple[str, list[Macaroon]]:
    """A root whose holder added caveats of one id under different keys; the discharges come in the worst order."""
    token = office.mint(third_party=[login.asks()])
    for number in range(together):
        token = office.with_thirds(token, "same", key=f"k{number}")
    for number in range(alone):
        token = office.with_thirds(token, f"own {number}", key="k")
    crowd = [office.discharge("same", key=f"k{number}") for number in reversed(range(together))]
    return token, [
        login.discharge(token),
        *crowd,
        *(office.discharge(f"own {number}", key="k") for number in range(alone)),
    ]


def test_thirty_two_chains_and_no_thirty_third(office: Any, chains: list[bytes]) -> None:
    """The root's, the login's, 7 + 6 + … + 1 of one id in the worst order, and two more: one beyond is too much."""
    login = office.register()
    token, discharges = shuffled(office, login, 7, 2)
    assert office.outcome(office.bundle(token, *discharges)) == "allowed"
    assert 1 + len(chains) == MAX_CHAINS
    chains.clear()
    token, discharges = shuffled(office, login, 7, 3)
    assert office.outcome(office.bundle(token, *discharges)) == "too-large"
    assert 1 + len(chains) == MAX_CHAINS


def test_the_order_of_discharges_is_of_no_account(office: Any) -> None:
    """Of the issuer's two, a holder's and a nested one each order gives the same grant, and the same denial."""
    login, till = office.register("login"), office.register("till")
    token = office.mint(third_party=[login.asks("c", "u"), till.asks("c", "u")])
    token = office.with_thirds(token, "mine")
    given = [
        asked(login.discharge(token, u="ada"), ("nested", "k")),
        till.discharge(token, "floor = 1", u="bo"),
        office.discharge("mine", "floor in 1,2"),
        office.discharge("nested", "action = read", key="k"),
    ]
    grants = [office.grant(office.bundle(token, *order), action="read", floor=1) for order in permutations(given)]
    assert all(grant == grants[0] for grant in grants)
    assert grants[0].declared == {"login": {"u": "ada"}, "till": {"u": "bo"}}
    denials = {office.denial(office.bundle(token, *order), action="read", floor=2) for order in permutations(given)}
    assert denials == {("caveat-refused", "floor = 1")}
