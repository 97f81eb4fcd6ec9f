"""The identifier of a root: five parts, one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsvc.macaroon.encoding import b64encode
from capsvc.macaroon.identifier import Identifier, parse

GOOD = b"cap1.0123456789abcdef.AAECAwQFBgcICQoLDA0ODw.1790000000.3"


def test_an_identifier_is_read_part_by_part() -> None:
    """Key id, token id, issue time, number of issuer caveats; written back the same."""
    identifier = parse(GOOD)
    assert identifier == Identifier("0123456789abcdef", "AAECAwQFBgcICQoLDA0ODw", 1_790_000_000, 3)
    assert identifier.encode() == GOOD


@given(
    st.binary(min_size=8, max_size=8), st.binary(min_size=16, max_size=16), st.integers(0, 2**36), st.integers(0, 99)
)
def test_identifiers_round_trip(kid: bytes, tid: bytes, issued_at: int, issuer_caveats: int) -> None:
    """Any key id, any token id, any time, any number."""
    identifier = Identifier(kid.hex(), b64encode(tid), issued_at, issuer_caveats)
    assert parse(identifier.encode()) == identifier


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"cap1",
        b"cap2" + GOOD[4:],
        b"CAP1" + GOOD[4:],
        b" " + GOOD,
        GOOD + b" ",
        GOOD + b"\n",
        GOOD + b".",
        GOOD + b".0",
        GOOD + b"\0",
        GOOD[:-2],
        GOOD[:-1],
        GOOD.replace(b"abcdef", b"ABCDEF"),
        GOOD.replace(b"abcdef", b"abcdeg"),
        GOOD.replace(b"abcdef", b"abcde"),
        GOOD.replace(b"abcdef", b"abcdef0"),
        GOOD.replace(b"ODw", b"ODx"),
        GOOD.replace(b"ODw", b"OD"),
        GOOD.replace(b"ODw", b"ODwA"),
        GOOD.replace(b"ODw", b"OD+"),
        GOOD.replace(b"ODw", b"OD="),
        GOOD.replace(b"AAEC", b"A/EC"),
        GOOD.replace(b".1790000000", b".01790000000"),
        GOOD.replace(b".1790000000", b".-1790000000"),
        GOOD.replace(b".1790000000", b".+1790000000"),
        GOOD.replace(b".1790000000", b".1_790_000"),
        GOOD.replace(b".1790000000", b".1790000000.0"),
        GOOD.replace(b".1790000000", b".1e9"),
        GOOD.replace(b".1790000000", b"."),
        GOOD.replace(b".1790000000", b".179000000000"),
        GOOD.replace(b".1790000000", ".١٧٩".encode()),
        GOOD[:-1] + b"03",
        GOOD[:-1] + b"100",
        GOOD[:-1] + b"-1",
        GOOD[:-1] + b"\xb3",
        GOOD.replace(b".", b"_"),
    ],
)
def test_other_identifiers_are_refused(raw: bytes) -> None:
    """Each part in each other spelling, and anything around it."""
    assert parse(GOOD)
    with pytest.raises(ValueError, match="identifier"):
        parse(raw)


@pytest.mark.parametrize(
    "changed",
    [
        {"kid": "x"},
        {"issued_at": 1_790_000_000.5},
        {"tid": "A" * 21 + "B"},
        {"issued_at": -1},
        {"issuer_caveats": 100},
        {"kid": "0123456789abcdef.x"},
    ],
)
def test_no_other_identifier_is_written(changed: dict[str, object]) -> None:
    """A part that could not be read back is not written."""
    with pytest.raises(ValueError, match="identifier"):
        parse(GOOD)._replace(**changed).encode()  # type: ignore[arg-type]
