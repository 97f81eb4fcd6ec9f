"""V1 and V2 JSON: read strictly, written as others do, pymacaroons among them."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymacaroons import Macaroon
from pymacaroons.serializers import JsonSerializer

from capsvc.errors import TokenError
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, decode, encode
from capsvc.macaroon.encoding import b64encode
from capsvc.macaroon.formats import (
    packet,
    read_any,
    read_packet,
    read_v1,
    read_v2json,
    read_v2json_list,
    to_v1,
    to_v2json,
)

SIGNATURE = bytes(range(100, 132))
SIGNATURE64 = b64encode(SIGNATURE)

octets = st.binary(max_size=60) | st.text(max_size=20).map(str.encode)
locations = st.none() | octets
caveats = octets.map(RawCaveat) | st.tuples(octets, octets.filter(bool), locations).map(RawCaveat._make)
macaroons = st.tuples(
    locations, octets, st.lists(caveats, max_size=5).map(tuple), st.binary(min_size=32, max_size=32)
).map(UnverifiedMacaroon._make)


def refusal(text: str) -> str | None:
    """The code with which a text is refused; None if it is read."""
    try:
        read_any(text)
    except TokenError as error:
        return error.code
    return None


def with_locations(macaroon: UnverifiedMacaroon) -> UnverifiedMacaroon:
    """The macaroon as V1 can say it: every location there, if only empty."""
    held = [c if c.vid is None else c._replace(location=c.location or b"") for c in macaroon.caveats]
    return macaroon._replace(location=macaroon.location or b"", caveats=tuple(held))


@given(macaroons)
def test_v2json_round_trips(macaroon: UnverifiedMacaroon) -> None:
    """Every macaroon, absent and empty locations told apart; read by the general reader as well."""
    text = to_v2json(macaroon)
    assert text.isascii()
    assert read_v2json(text) == macaroon
    assert read_any(text) == (macaroon,)
    assert json.loads(text)["v"] == 2


@given(st.lists(macaroons, min_size=1, max_size=4))
def test_lists_of_v2json(held: list[UnverifiedMacaroon]) -> None:
    """A root and its discharges, in order."""
    assert read_v2json_list(f"[{', '.join(map(to_v2json, held))}]") == tuple(held)


@pytest.mark.parametrize(
    "alter", ["[]", "{}", "null", "7", "{one}", '"{one}"', "[[{one}]]", "[{one}, 7]", "[{one}", ""]
)
def test_what_is_no_list_of_v2json(alter: str) -> None:
    """Empty, another value, nested, with something else in it, cut short."""
    one = to_v2json(UnverifiedMacaroon(b"l", b"i", (), SIGNATURE))
    assert len(read_v2json_list(f"[{one}]")) == 1
    with pytest.raises(TokenError) as refused:
        read_v2json_list(alter.replace("{one}", one))
    assert refused.value.code == "malformed"


@given(macaroons)
def test_v1_round_trips(macaroon: UnverifiedMacaroon) -> None:
    """Every macaroon, but that V1 has no absent location."""
    text = to_v1(macaroon)
    assert read_v1(text) == with_locations(macaroon)
    assert read_any(text) == (with_locations(macaroon),)
    assert to_v1(read_v1(text)) == text


@given(macaroons)
def test_v2_is_read_beside_them(macaroon: UnverifiedMacaroon) -> None:
    """The general reader knows V2 by its first octet, and bundles."""
    text = encode(macaroon)
    assert read_any(text) == (macaroon,)
    assert read_any(f"{text}~{text}") == (macaroon, macaroon)


@given(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20),
    st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20), max_size=4),
)
def test_pymacaroons_reads_and_writes_the_same(identifier: str, predicates: list[str]) -> None:
    """Its V1 and its V2 JSON (which lacks `v`, and an empty `c`)."""
    theirs = {version: Macaroon(location="l", identifier=identifier, key=b"k", version=version) for version in (1, 2)}
    for macaroon in theirs.values():
        for predicate in predicates:
            macaroon.add_first_party_caveat(predicate)
        macaroon.add_third_party_caveat("http://there", "secret", "cid")
    (ours,) = read_any(theirs[1].serialize())
    assert to_v1(ours) == theirs[1].serialize()
    assert ours.identifier == identifier.encode()
    assert Macaroon.deserialize(to_v1(ours)).signature == ours.signature.hex()
    (ours,) = read_any(theirs[2].serialize(JsonSerializer()))
    assert ours == decode(theirs[2].serialize())
    back = Macaroon.deserialize(to_v2json(ours), JsonSerializer())
    assert back.serialize() == encode(ours)


def v1(*packets: tuple[bytes, bytes]) -> str:
    """The text of V1 packets."""
    return b64encode(b"".join(packet(*one) for one in packets))


LOCATION, IDENTIFIER, CID = (b"location", b"here"), (b"identifier", b"id"), (b"cid", b"a = b")
VID, CL, END = (b"vid", b"v" * 72), (b"cl", b"there"), (b"signature", SIGNATURE)


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ("no location", v1(IDENTIFIER, CID, END)),
        ("no identifier", v1(LOCATION, CID, END)),
        ("no signature", v1(LOCATION, IDENTIFIER, CID)),
        ("location and identifier alone", v1(LOCATION, IDENTIFIER)),
        ("location alone", v1(LOCATION)),
        ("identifier before location", v1(IDENTIFIER, LOCATION, CID, END)),
        ("two locations", v1(LOCATION, LOCATION, IDENTIFIER, END)),
        ("two identifiers", v1(LOCATION, IDENTIFIER, IDENTIFIER, END)),
        ("a location later", v1(LOCATION, IDENTIFIER, CID, LOCATION, END)),
        ("two signatures", v1(LOCATION, IDENTIFIER, CID, END, END)),
        ("a caveat after the signature", v1(LOCATION, IDENTIFIER, END, CID)),
        ("a vid without cid", v1(LOCATION, IDENTIFIER, VID, CL, END)),
        ("a cl without cid", v1(LOCATION, IDENTIFIER, CL, END)),
        ("a cl on a first party's caveat", v1(LOCATION, IDENTIFIER, CID, CL, END)),
        ("a cl before its vid", v1(LOCATION, IDENTIFIER, CID, CL, VID, END)),
        ("two vids", v1(LOCATION, IDENTIFIER, CID, VID, VID, CL, END)),
        ("two cls", v1(LOCATION, IDENTIFIER, CID, VID, CL, CL, END)),
        ("a vid after cl", v1(LOCATION, IDENTIFIER, CID, VID, CL, VID, END)),
        ("an empty vid", v1(LOCATION, IDENTIFIER, CID, (b"vid", b""), CL, END)),
        ("an unknown packet", v1(LOCATION, IDENTIFIER, CID, (b"x", b""), END)),
        ("a packet without name", v1(LOCATION, IDENTIFIER, CID, (b"", b"x"), END)),
        ("a name in capitals", v1(LOCATION, IDENTIFIER, (b"CID", b"x"), END)),
        ("a caveat for the signature", v1(LOCATION, IDENTIFIER, (b"cid", SIGNATURE))),
        ("an identifier for the signature", v1(LOCATION, (b"identifier", SIGNATURE))),
        ("another packet for a third party's location", v1(LOCATION, IDENTIFIER, CID, VID, (b"x", b"there"), END)),
        ("a signature of 31 octets", v1(LOCATION, IDENTIFIER, CID, (b"signature", SIGNATURE[:31]))),
        ("a signature of 33 octets", v1(LOCATION, IDENTIFIER, CID, (b"signature", SIGNATURE + b"\n"))),
        ("octets after the signature", b64encode(packet(*LOCATION) + packet(*IDENTIFIER) + packet(*END) + b"\n")),
        ("a length in capitals", b64encode(b"001A" + (packet(*LOCATION) + packet(*IDENTIFIER) + packet(*END))[4:])),
        ("packets without line feed", v1(LOCATION, IDENTIFIER, CID, END)[:-4]),
        ("padding", v1(LOCATION, IDENTIFIER, CID, END) + "="),
        ("white space", v1(LOCATION, IDENTIFIER, CID, END) + "\n"),
        ("a bundle", v1(LOCATION, IDENTIFIER, CID, END) + "~" + v1(LOCATION, IDENTIFIER, CID, END)),
    ],
)  # fmt: skip
def test_other_v1_is_refused(about: str, text: str) -> None:
    """Each packet missing, twice, out of place, or misspelled."""
    assert refusal(v1(LOCATION, IDENTIFIER, CID, CID, VID, CL, CID, VID, END)) is None
    assert refusal(text) == "malformed", about


def test_every_truncation_of_v1_is_refused() -> None:
    """No beginning of V1 is V1."""
    whole = b"".join(packet(*one) for one in (LOCATION, IDENTIFIER, CID, VID, CL, END))
    assert refusal(b64encode(whole)) is None
    assert {refusal(b64encode(whole[:length])) for length in range(len(whole))} == {"malformed"}


@pytest.mark.parametrize(
    "raw",
    [b"", b"000", b"0000", b"0004", b"0005\n", b"0006 \n"[:5], b"0008a b\r", b"0009a b\n", b"0007a b\n", b"0007ab\n",
     b"000Aa bcd\n", b" 008a b\n", b"+008a b\n", b"0x08a b\n", b"0_08a b\n", b"00 8a b\n", b"-008a b\n",
     "٠٠٠٨a b\n".encode()],
)  # fmt: skip
def test_other_packets_are_refused(raw: bytes) -> None:
    """The length's digits, its reach, the space and the line feed."""
    assert read_packet(b"..0008a b\n..", 2) == (b"a", b"b", 10)
    assert read_packet(b"0006 \n", 0) == (b"", b"", 6)
    with pytest.raises(TokenError) as error:
        read_packet(raw, 0)
    assert error.value.code == "malformed"


def as_json(**fields: object) -> str:
    """V2 JSON with the needed fields, and others over them."""
    whole = {"v": 2, "l": "here", "i": "id", "c": [{"i": "a = b"}], "s64": SIGNATURE64, **fields}
    return json.dumps({name: value for name, value in whole.items() if value != "absent"})


GOOD = json.loads(as_json())


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ("every field", as_json()),
        ("no version", as_json(v="absent")),
        ("no caveats", as_json(c="absent")),
        ("an empty list of caveats", as_json(c=[])),
        ("no location", as_json(l="absent")),
        ("an empty location", as_json(l="")),
        ("a location in base64", as_json(l="absent", l64=b64encode(b"\xff"))),
        ("an identifier in base64", as_json(i="absent", i64="aWQ")),
        ("a signature as text", as_json(s64="absent", s="x" * 32)),
        ("a caveat in base64", as_json(c=[{"i64": "YQ"}])),
        ("a third party's caveat", as_json(c=[{"i": "cid", "v64": "dg", "l": "there"}])),
        ("a third party's vid as text", as_json(c=[{"i": "cid", "v": "v" * 72}])),
        ("a third party's location in base64", as_json(c=[{"i": "cid", "v": "v", "l64": "_w"}])),
        ("another order", json.dumps(dict(reversed(GOOD.items())))),
        ("white space inside and after", json.dumps(GOOD, indent=4) + "\n\t "),
        ("escapes", as_json(i="é\U0001f600").replace("id", "\\u0069d")),
    ],
)
def test_v2json_is_read(about: str, text: str) -> None:
    """The order of fields and the white space are free, and so are text and base64."""
    (macaroon,) = read_any(text)
    assert read_any(to_v2json(macaroon)) == (macaroon,), about


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ("an unknown field", as_json(x=1)),
        ("V1 JSON", as_json(identifier="id")),
        ("a field twice", as_json()[:-1] + ', "i": "id"}'),
        ("a field twice in a caveat", as_json(c=[]).replace("[]", '[{"i": "a", "i": "b"}]')),
        ("a field under both names", as_json(i64="aWQ")),
        ("a signature under both names", as_json(s="x" * 32)),
        ("a location under both names", as_json(l64="eA")),
        ("a caveat's id under both names", as_json(c=[{"i": "a", "i64": "YQ"}])),
        ("a caveat's vid under both names", as_json(c=[{"i": "a", "v": "v", "v64": "dg"}])),
        ("no identifier", as_json(i="absent")),
        ("no signature", as_json(s64="absent")),
        ("null for no location", as_json(l=None)),
        ("null for no caveats", as_json(c=None)),
        ("null for no version", as_json(v=None)),
        ("version 1", as_json(v=1)),
        ("version 3", as_json(v=3)),
        ("version as text", as_json(v="2")),
        ("version as a fraction", as_json(v=2.0)),
        ("version as a truth", as_json(v=True)),
        ("a huge version", as_json(v=1).replace("1,", "1" * 5000 + ",")),
        ("identifier as a number", as_json(i=1)),
        ("identifier as a list", as_json(i=["id"])),
        ("base64 with padding", as_json(i="absent", i64="aWQ=")),
        ("the other base64", as_json(i="absent", i64="+/+/")),
        ("base64 with white space", as_json(i="absent", i64="aWQ ")),
        ("base64 with leftover bits", as_json(i="absent", i64="aWR")),
        ("a signature of 31 octets", as_json(s64=b64encode(SIGNATURE[:31]))),
        ("a signature of 33 octets", as_json(s64=b64encode(SIGNATURE + b"x"))),
        ("a signature as 31 characters", as_json(s64="absent", s="x" * 31)),
        ("a signature in hexadecimal", as_json(s64=SIGNATURE.hex())),
        ("caveats as an object", as_json(c={"i": "a"})),
        ("caveats as text", as_json(c="[]")),
        ("a caveat as text", as_json(c=["a = b"])),
        ("a caveat as null", as_json(c=[None])),
        ("an empty caveat", as_json(c=[{}])),
        ("a caveat of a vid alone", as_json(c=[{"v64": "dg"}])),
        ("a caveat with an unknown field", as_json(c=[{"i": "a", "cl": "x"}])),
        ("a caveat with a version", as_json(c=[{"i": "a", "c": []}])),
        ("a caveat with a signature", as_json(c=[{"i": "a", "s64": SIGNATURE64}])),
        ("a location on a first party's caveat", as_json(c=[{"i": "a", "l": "x"}])),
        ("an empty location on a first party's caveat", as_json(c=[{"i": "a", "l": ""}])),
        ("an empty vid", as_json(c=[{"i": "a", "v": ""}])),
        ("an empty vid in base64", as_json(c=[{"i": "a", "v64": "", "l": "x"}])),
        ("a vid of the macaroon", as_json(v64="dg")),
        ("null for no vid", as_json(c=[{"i": "a", "v": None}])),
        ("a lone surrogate", as_json(i="absent")[:-1] + ', "i": "\\ud800"}'),
        ("a lone surrogate for a location", as_json(l="\ud800")),
        ("a list", "[" + as_json() + "]"),
        ("two objects", as_json() * 2),
        ("text after it", as_json() + "x"),
        ("white space before it", " " + as_json()),
        ("a byte order mark", "\ufeff" + as_json()),
        ("no end", as_json()[:-1]),
        ("a comment", as_json()[:-1] + "/**/}"),
        ("a comma too many", as_json()[:-1] + ",}"),
        ("single quotes", as_json().replace('"', "'")),
        ("NaN", as_json(x="y").replace('"y"', "NaN")),
        ("NaN for the version", as_json(v=1).replace("1,", "NaN,")),
        ("Infinity for caveats", as_json(c="absent")[:-1] + ', "c": Infinity}'),
        ("depth", as_json(c="absent")[:-1] + ', "c": ' + "[" * 20_000 + "]" * 20_000 + "}"),
        ("a line feed in text", as_json(i="absent")[:-1] + ', "i": "a\nb"}'),
        ("a bundle", as_json() + "~" + as_json()),
        ("nothing", "{}"),
        ("a brace", "{"),
    ],
)  # fmt: skip
def test_other_v2json_is_refused(about: str, text: str) -> None:
    """Each field missing, twice, of another type, or where it does not belong."""
    assert refusal(as_json()) is None
    assert refusal(text) == "malformed", about


def test_a_macaroon_is_written_as_libmacaroons_does() -> None:
    """Compact, its fields in that order; base64 where text cannot be or is longer."""
    macaroon = UnverifiedMacaroon(
        b"here", b"\xff", (RawCaveat(b"a"), RawCaveat(b"\x03\x00", b"\xfe" * 3, b"there")), SIGNATURE
    )
    assert to_v2json(macaroon) == (
        '{"v":2,"l":"here","i64":"_w","c":[{"i":"a"},{"i64":"AwA","l":"there","v64":"_v7-"}],"s64":"'
        + SIGNATURE64
        + '"}'
    )


def test_text_as_long_as_base64_is_text() -> None:
    """The names count too: base64 has two characters more in its."""
    for octets, field in ((b"aaaaa\0", "i64"), (b"aaaaaa\0", "i"), (b"a", "i"), (b"\0", "i64"), (b"", "i")):
        fields = json.loads(to_v2json(UnverifiedMacaroon(None, octets, (), SIGNATURE)))
        assert [name for name in fields if name.startswith("i")] == [field]


def many(number: int, cid: bytes = b"a = b") -> UnverifiedMacaroon:
    """A macaroon with that many caveats."""
    return UnverifiedMacaroon(b"l", b"id", tuple([RawCaveat(cid)] * number), SIGNATURE)


@pytest.mark.parametrize("write", [to_v1, to_v2json, encode])
def test_the_bounds_hold_in_every_format(write: Callable[[UnverifiedMacaroon], str]) -> None:
    """Number and length of caveats, and the length that the token has as V2; at the limit and one past it."""
    overhead = len(encode(many(0)._replace(location=bytes(1000)))) * 3 // 4 - 1000
    for fits, exceeds in (
        (many(64), many(65)),
        (many(1, b"x" * 512), many(1, b"x" * 513)),
        (many(0)._replace(location=b"x" * (12_288 - overhead)), many(0)._replace(location=b"x" * (12_289 - overhead))),
    ):
        assert refusal(write(fits)) is None
        assert refusal(write(exceeds)) == "too-large"


def test_a_bound_on_text_in_other_formats() -> None:
    """64 KiB, before anything is decoded."""
    padded = as_json()
    assert refusal(padded + " " * (65_536 - len(padded))) is None
    assert refusal(padded + " " * (65_537 - len(padded))) == "too-large"
    assert refusal("{" + "!" * 65_536) == "too-large"
    assert refusal("M" * 65_537) == "too-large"
    assert refusal("M" * 65_536) == "malformed"
    assert refusal("A" * 65_536) == "too-large"  # V2 has its own


def test_v1_has_its_own_bound() -> None:
    """Four digits say no more than 65,535."""
    fits, exceeds = many(1, b"x" * 65_526), many(1, b"x" * 65_527)
    assert read_v1(to_v1(fits)) == fits
    with pytest.raises(TokenError) as error:
        to_v1(exceeds)
    assert error.value.code == "too-large"


@pytest.mark.parametrize("text", ["", "Q", "QA", "~", "zzzz", "MDA", " {}", "ZZZZ", "é", "\ud800", "[]", "null", '"x"'])
def test_other_text_is_refused(text: str) -> None:
    """What begins as none of the formats, or as one and is not."""
    assert refusal(text) == "malformed"


def test_every_first_octet() -> None:
    """A hexadecimal digit is V1, the octet 2 is V2, anything else is neither."""
    rest = (packet(*LOCATION) + packet(*IDENTIFIER) + packet(*END))[1:]
    assert [first for first in range(256) if refusal(b64encode(bytes([first]) + rest)) is None] == [ord("0")]
    for digit in b"0123456789abcdef":
        length = int(chr(digit) + "fff", 16)
        location = packet(b"location", b"x" * (length - 14))
        assert location[0] == digit
        assert read_v1(b64encode(location + packet(*IDENTIFIER) + packet(*END))).identifier == b"id"
        text = b64encode(location + packet(*IDENTIFIER) + packet(*END))
        assert refusal(text) == (None if length < 12_000 else "too-large")
