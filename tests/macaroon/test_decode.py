"""The strict decoder: what is read, in one spelling, and what is not."""

import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsvc.errors import TokenError
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, decode, decode_binary, encode, encode_binary
from capsvc.macaroon.encoding import b64encode, uvarint

SIGNATURE = bytes(range(32))
TAIL = b"\x00\x06\x20" + SIGNATURE

locations = st.none() | st.binary(max_size=200)
first_party = st.binary(max_size=300).map(RawCaveat)
third_party = st.tuples(st.binary(max_size=300), st.binary(min_size=1, max_size=300), locations).map(RawCaveat._make)
macaroons = st.builds(
    UnverifiedMacaroon,
    locations,
    st.binary(max_size=300),
    st.lists(first_party | third_party, max_size=6).map(tuple),
    st.binary(min_size=32, max_size=32),
)


def field(kind: int, value: bytes) -> bytes:
    """One field of the format."""
    return bytes([kind]) + uvarint(len(value)) + value


HEAD = b"\x02" + field(1, b"here") + field(2, b"id") + b"\x00"
FIRST = field(2, b"a = b") + b"\x00"
THIRD = field(1, b"there") + field(2, b"cid") + field(4, b"vid") + b"\x00"


def refused(octets: bytes) -> str | None:
    """The code with which octets are refused, the same for their text; None if they are read."""
    codes: list[str | None] = []
    steps: list[Callable[[], object]] = [lambda: decode_binary(octets), lambda: decode(b64encode(octets))]
    for step in steps:
        try:
            step()
        except TokenError as error:
            codes.append(error.code)
        else:
            codes.append(None)
    assert codes[0] == codes[1]
    return codes[0]


def test_a_macaroon_is_read_field_by_field() -> None:
    """Location, identifier, a caveat of each party, signature."""
    macaroon = decode_binary(HEAD + FIRST + THIRD + TAIL)
    assert macaroon == UnverifiedMacaroon(
        b"here", b"id", (RawCaveat(b"a = b"), RawCaveat(b"cid", b"vid", b"there")), SIGNATURE
    )
    assert all(type(caveat) is RawCaveat for caveat in macaroon.caveats)
    assert type(macaroon) is UnverifiedMacaroon


def test_no_location_keeps_its_spelling() -> None:
    """An absent location and an empty one are told apart, and written back as they came."""
    absent, empty = b"\x02" + field(2, b"id") + b"\x00" + TAIL, b"\x02\x01\x00" + field(2, b"id") + b"\x00" + TAIL
    assert decode_binary(absent).location is None
    assert decode_binary(empty).location == b""
    assert [encode_binary(decode_binary(octets)) for octets in (absent, empty)] == [absent, empty]
    bare, empty = field(2, b"c") + field(4, b"v") + b"\x00", b"\x01\x00" + field(2, b"c") + field(4, b"v") + b"\x00"
    both = HEAD + bare + empty + TAIL
    assert [caveat.location for caveat in decode_binary(both).caveats] == [None, b""]
    assert encode_binary(decode_binary(both)) == both


@given(macaroons)
def test_every_macaroon_round_trips(macaroon: UnverifiedMacaroon) -> None:
    """Writing and reading are inverses, caveats long and short."""
    octets = encode_binary(macaroon)
    assert decode_binary(octets) == macaroon
    assert decode(encode(macaroon)) == macaroon
    assert encode(macaroon) == b64encode(octets)


@given(macaroons, st.data())
def test_what_is_read_is_written_the_same(macaroon: UnverifiedMacaroon, data: st.DataObject) -> None:
    """Of damaged octets none is read that has another spelling."""
    octets = encode_binary(macaroon)
    start = data.draw(st.integers(0, len(octets)))
    end = data.draw(st.integers(start, min(len(octets), start + 4)))
    damaged = octets[:start] + data.draw(st.binary(max_size=4)) + octets[end:]
    if refused(damaged) is None:
        assert encode_binary(decode_binary(damaged)) == damaged
    else:
        assert refused(damaged) == "malformed"


@given(st.binary(max_size=80))
def test_random_octets_are_refused_or_canonical(octets: bytes) -> None:
    """Nothing but TokenError escapes."""
    octets = b"\x02" + octets
    assert refused(octets) == "malformed" or encode_binary(decode_binary(octets)) == octets


@pytest.mark.parametrize(
    ("about", "octets"),
    [
        ("nothing", b""),
        ("version 0", b"\x00" + HEAD[1:] + FIRST + TAIL),
        ("version 1", b"\x01" + HEAD[1:] + FIRST + TAIL),
        ("version 3", b"\x03" + HEAD[1:] + FIRST + TAIL),
        ("version in two octets", b"\x82\x00" + HEAD[1:] + FIRST + TAIL),
        ("version twice", b"\x02" + HEAD + FIRST + TAIL),
        ("V1", b"0012location here\n0011identifier id\n"),
        ("V2 JSON", b'{"i":"id"}'),
        ("an octet before", b"\x00" + HEAD + FIRST + TAIL),
        ("an octet after", HEAD + FIRST + TAIL + b"\x00"),
        ("another macaroon after", (HEAD + FIRST + TAIL) * 2),
        ("no identifier", b"\x02" + field(1, b"here") + b"\x00" + FIRST + TAIL),
        ("an empty header", b"\x02\x00" + FIRST + TAIL),
        ("a vid in the header", b"\x02" + field(2, b"id") + field(4, b"vid") + b"\x00" + FIRST + TAIL),
        ("a location after the identifier", b"\x02" + field(2, b"id") + field(1, b"here") + b"\x00" + FIRST + TAIL),
        ("two locations", b"\x02" + field(1, b"a") + field(1, b"b") + field(2, b"id") + b"\x00" + FIRST + TAIL),
        ("two identifiers", b"\x02" + field(2, b"id") + field(2, b"di") + b"\x00" + FIRST + TAIL),
        ("an unknown field in the header", b"\x02" + field(2, b"id") + field(3, b"x") + b"\x00" + FIRST + TAIL),
        ("a signature in the header", b"\x02" + field(2, b"id") + field(6, SIGNATURE) + b"\x00" + FIRST + TAIL),
        ("a header without end", b"\x02" + field(2, b"id") + FIRST + TAIL),
        ("a caveat without identifier", HEAD + field(1, b"there") + b"\x00" + TAIL),
        ("a caveat of a vid alone", HEAD + field(4, b"vid") + b"\x00" + TAIL),
        ("a location on a first party's caveat", HEAD + field(1, b"x") + field(2, b"a") + b"\x00" + TAIL),
        ("an empty location on a first party's caveat", HEAD + b"\x01\x00" + field(2, b"a") + b"\x00" + TAIL),
        ("an empty vid", HEAD + field(2, b"cid") + b"\x04\x00\x00" + TAIL),
        ("an empty vid and a location", HEAD + field(1, b"x") + field(2, b"cid") + b"\x04\x00\x00" + TAIL),
        ("a vid before its cid", HEAD + field(4, b"vid") + field(2, b"cid") + b"\x00" + TAIL),
        ("a cid before its location", HEAD + field(2, b"cid") + field(1, b"x") + field(4, b"vid") + b"\x00" + TAIL),
        ("two cids", HEAD + field(2, b"a") + field(2, b"b") + b"\x00" + TAIL),
        ("two vids", HEAD + field(2, b"cid") + field(4, b"vid") + field(4, b"vid") + b"\x00" + TAIL),
        ("an unknown field 3 in a caveat", HEAD + field(2, b"a") + field(3, b"x") + b"\x00" + TAIL),
        ("an unknown field 5 in a caveat", HEAD + field(2, b"a") + field(5, b"x") + b"\x00" + TAIL),
        ("an unknown field 7 in a caveat", HEAD + field(7, b"a") + b"\x00" + TAIL),
        ("a signature in a caveat", HEAD + field(2, b"a") + field(6, SIGNATURE) + b"\x00" + TAIL),
        ("a field type in two octets", HEAD + b"\x82\x00\x01a\x00" + TAIL),
        ("a caveat without end", HEAD + field(2, b"a") + TAIL),
        ("no end of the caveats", HEAD + FIRST + TAIL[1:]),
        ("two ends of the caveats", HEAD + FIRST + b"\x00" + TAIL),
        ("an empty caveat first", HEAD + b"\x00" + FIRST + TAIL),
        ("a length in two octets that one can hold", HEAD + b"\x02\x81\x00a\x00" + TAIL),
        ("a length in ten octets", HEAD + b"\x02" + b"\x81" + b"\x80" * 8 + b"\x00a\x00" + TAIL),
        ("a length past the end", HEAD + b"\x02\x7fa\x00" + TAIL),
        ("a length past the end by one", HEAD + b"\x02" + uvarint(1 + len(TAIL) + 1) + b"a" + TAIL),
        ("a huge length", HEAD + b"\x02\xff\xff\xff\xff\xff\xff\xff\xff\x7fa\x00" + TAIL),
        ("a length of 2^64", HEAD + b"\x02" + b"\x80" * 9 + b"\x02a\x00" + TAIL),
        ("a location past the end", b"\x02\x01\x7fhere"),
        ("an identifier past the end", b"\x02\x02\x7fid"),
        ("no signature", HEAD + FIRST + b"\x00"),
        ("an empty signature", HEAD + FIRST + b"\x00\x06\x00"),
        ("a signature of 31 octets", HEAD + FIRST + b"\x00\x06\x1f" + SIGNATURE[:31]),
        ("a signature of 33 octets", HEAD + FIRST + b"\x00\x06\x21" + SIGNATURE + b"\x00"),
        ("a signature of 16 octets", HEAD + FIRST + b"\x00\x06\x10" + SIGNATURE[:16]),
        ("a signature that says 33 and has 32", HEAD + FIRST + b"\x00\x06\x21" + SIGNATURE),
        ("a signature that says 31 and has 32", HEAD + FIRST + b"\x00\x06\x1f" + SIGNATURE),
        ("a signature of 32 that ends early", HEAD + FIRST + b"\x00\x06\x20" + SIGNATURE[:31]),
        ("a signature length in two octets", HEAD + FIRST + b"\x00\x06\xa0\x00" + SIGNATURE),
        ("another field for the signature", HEAD + FIRST + b"\x00\x05\x20" + SIGNATURE),
        ("a section for the signature", HEAD + FIRST + TAIL + b"\x00"),
    ],
)  # fmt: skip
def test_other_octets_are_refused(about: str, octets: bytes) -> None:
    """Each way to be no macaroon, beside the one that is."""
    assert refused(HEAD + FIRST + TAIL) is None
    assert refused(octets) == "malformed", about


@pytest.mark.parametrize("body", [HEAD + TAIL, HEAD + FIRST + TAIL, HEAD + FIRST + THIRD + FIRST + TAIL])
def test_every_truncation_is_refused(body: bytes) -> None:
    """No beginning of a macaroon is one."""
    assert refused(body) is None
    assert {refused(body[:length]) for length in range(len(body))} == {"malformed"}


def test_a_long_field_is_read_beside_a_short_one() -> None:
    """The lengths around one octet's reach."""
    for length in (126, 127, 128, 129, 16_383, 16_384):
        ended = HEAD + field(2, bytes(length)) + b"\x00" + FIRST + TAIL  # its octets look like ends of sections
        assert decode_binary(ended).caveats == (RawCaveat(bytes(length)), RawCaveat(b"a = b"))
        body = HEAD + field(2, b"x" * length) + b"\x00" + FIRST + TAIL
        assert decode_binary(body).caveats == (RawCaveat(b"x" * length), RawCaveat(b"a = b"))
        assert encode_binary(decode_binary(body)) == body
        assert decode_binary(b"\x02" + field(2, b"x" * length) + b"\x00" + TAIL).identifier == b"x" * length


@pytest.mark.parametrize("text", ["", "A", " ", "~", "\n", "é", "{}", "AgIC", "\ud800", "0" * 40])
def test_other_text_is_refused(text: str) -> None:
    """What is no base64, or base64 of no macaroon."""
    with pytest.raises(TokenError) as error:
        decode(text)
    assert error.value.code == "malformed"


def test_an_error_repeats_nothing_of_the_token() -> None:
    """Messages may be logged."""
    secret = b64encode(HEAD + b"\x02\x06secretX" + TAIL)
    with pytest.raises(TokenError) as error:
        decode(secret)
    assert "secret" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_repr_hides_the_credential() -> None:
    """An unverified macaroon may be genuine."""
    shown = repr(decode_binary(HEAD + FIRST + TAIL))
    assert shown == "<UnverifiedMacaroon with 1 caveats>"
    assert f"{decode_binary(HEAD + FIRST + TAIL)}" == shown


def test_reading_is_iterative() -> None:
    """The number of caveats is bounded by the text, not by the stack."""
    body = HEAD + FIRST * (2 * sys.getrecursionlimit()) + TAIL
    assert len(decode_binary(body).caveats) == 2 * sys.getrecursionlimit()
