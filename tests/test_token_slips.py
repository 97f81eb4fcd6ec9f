"""Small slips that nobody else would notice: found by breaking Token on purpose (`make mutants`)."""

from datetime import UTC, datetime

import pytest
from pymacaroons import Macaroon

from capsvc.token import Token


@pytest.mark.parametrize("before", ["third party", "no caveat", "time >= 2020-01-01T00:00:00Z", "action in read"])
def test_a_bound_after_what_is_none(before: str) -> None:
    """The expiry is the earliest bound, whatever stands before it."""
    macaroon = Macaroon(location="l", identifier="i", key=bytes(range(32)), version=2)
    macaroon.add_first_party_caveat("time < 2026-11-22T12:00:00Z")
    if before == "third party":
        macaroon.add_third_party_caveat("https://auth.example", "secret", "cid")
    else:
        macaroon.add_first_party_caveat(before)
    assert Token.parse(macaroon.serialize()).expires_at == datetime(2026, 11, 22, 12, tzinfo=UTC)
    macaroon.add_first_party_caveat("time < 2026-11-22T11:00:00Z")
    assert Token.parse(macaroon.serialize()).expires_at == datetime(2026, 11, 22, 11, tzinfo=UTC)
