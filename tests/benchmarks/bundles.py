"""The dearest bundle that the limits allow."""

from __future__ import annotations

import secrets
from typing import Final

from pymacaroons import Macaroon

__all__ = ["worst_bundles"]

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
