"""The dearest bundle that the limits allow."""

from __future__ import annotations

import secrets
from typing import Final

from pymacaroons import Macaroon

from capsvc.macaroon import build
from capsvc.macaroon.build import ThirdPartyCaveat
from capsvc.macaroon.decode import UnverifiedMacaroon
from tests.benchmarks.parties import Login

__all__ = ["worst_bundles", "worst_of_issuers"]

DISCHARGES: Final = 16
CAVEATS: Final = 192
OF_ONE_ID: Final = 6
"""With these in reverse order, 6 + 5 + … + 1 chains are computed for them: with the root and ten others, all 32."""


def worst_bundles(root_text: str, *, shuffled: bool) -> str:
    """A bundle of 16 discharges and 192 caveats in all, on a root whose one caveat is its time.

    Every discharge is on the root. If ``shuffled``, six third-party caveats have one id, their discharges come in
    reverse order, and what is tried in vain most often is longest.
    """
    root = Macaroon.deserialize(root_text)
    keys = [secrets.token_bytes(32) for _ in range(DISCHARGES)]
    ids = [f"id-{0 if shuffled and number < OF_ONE_ID else number}" for number in range(DISCHARGES)]
    for key, name in zip(keys, ids, strict=True):
        root.add_third_party_caveat("https://third.example", key, name)
    lengths = _lengths(shuffled=shuffled)
    parts = []
    for number in range(DISCHARGES):
        discharge = Macaroon(location="d", identifier=ids[number], key=keys[number], version=2)
        for each in range(lengths[number]):
            discharge.add_first_party_caveat(f"action in a{number:02}{each:02},read")
        parts.append(root.prepare_for_request(discharge).serialize())
    if shuffled:
        parts.reverse()
    return "~".join([root.serialize(), *parts])


def _lengths(*, shuffled: bool) -> list[int]:
    """How many caveats each discharge has; with the root's 17 they are 192."""
    left = CAVEATS - 1 - DISCHARGES
    if not shuffled:
        return [left // DISCHARGES + (number < left % DISCHARGES) for number in range(DISCHARGES)]
    lengths = [0] * DISCHARGES
    for number, length in ((OF_ONE_ID - 1, 64), (OF_ONE_ID - 2, 64), (OF_ONE_ID - 3, left - 128)):
        lengths[number] = length
    return lengths


def worst_of_issuers(login: Login, root: UnverifiedMacaroon) -> str:
    """The same size on a root that asks a registered discharger: as many questions as leave room for the crowd.

    Each of its ids is opened, each of its discharges declares; the six of one id are its holder's, in reverse order.
    """
    crowd = [ThirdPartyCaveat("https://third.example", secrets.token_bytes(32), b"id") for _ in range(OF_ONE_ID)]
    for third in crowd:
        root = build.add_third_party(root, third)
    questions = DISCHARGES - OF_ONE_ID
    lengths = [64, 64, CAVEATS - len(root.caveats) - questions - 128]
    longest = [[f"action in a{each:02}{number},read" for each in range(lengths[number])] for number in range(3)]
    own = [build.discharge(third.root_key, "d", third.id, ()) for third in crowd[:-3]]
    own += [
        build.discharge(third.root_key, "d", third.id, caveats)
        for third, caveats in zip(crowd[-3:], reversed(longest), strict=True)
    ]
    return build.bind(root, [*login.answers(root), *reversed(own)])
