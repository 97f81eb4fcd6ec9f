"""Small slips that nobody else would notice: found by breaking the token on purpose (`make mutants`)."""

import pytest
from pymacaroons import Macaroon

from capsvc.errors import TokenError
from capsvc.macaroon.chain import derive_key, verify
from capsvc.macaroon.decode import decode
from capsvc.macaroon.encoding import read_uvarint
from capsvc.macaroon.formats import read_any


def test_the_greatest_number() -> None:
    """64 bits and no more, though nothing could be so long."""
    assert read_uvarint(b"\xff" * 9 + b"\x01", 0) == ((1 << 64) - 1, 10)
    for octets in (b"\x80" * 9 + b"\x02", b"\x81" + b"\x80" * 8 + b"\x02", b"\xff" * 10 + b"\x01"):
        with pytest.raises(TokenError) as refused:
            read_uvarint(octets, 0)
        assert refused.value.code == "malformed"


@pytest.mark.parametrize("first", ["M", "N", "O", "Y", "Z"])
def test_what_begins_as_v1_is_judged_as_v1(first: str) -> None:
    """Longer than V2 may be, and still not too large for V1: it is its packets that are wrong."""
    with pytest.raises(TokenError) as refused:
        read_any(first + "A" * 19_999)
    assert refused.value.code == "malformed"
    with pytest.raises(TokenError) as refused:
        read_any("A" * 20_000)
    assert refused.value.code == "too-large"


def test_how_a_verified_macaroon_shows_itself() -> None:
    """By its number of caveats, and nothing else."""
    macaroon = Macaroon(location="l", identifier="i", key=bytes(range(32)), version=2)
    macaroon.add_first_party_caveat("a = b")
    verified = verify(decode(macaroon.serialize()), derive_key(bytes(range(32))))
    assert repr(verified) == "<VerifiedMacaroon with 1 caveats>"
