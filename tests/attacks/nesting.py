"""Discharges for which others are needed."""

from __future__ import annotations

from pymacaroons import Macaroon

__all__ = ["NESTED", "asked"]

NESTED = "https://nested.example"
"""Where the other third parties are."""


def asked(discharge: Macaroon, *thirds: tuple[str, str]) -> Macaroon:
    """The discharge, for which others are needed: ids and keys."""
    for cid, key in thirds:
        discharge.add_third_party_caveat(NESTED, key, cid)
    return discharge
