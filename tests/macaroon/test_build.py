"""Building: what pymacaroons makes, held to our decoder, chain and bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymacaroons import Macaroon

from capsvc.errors import TokenError
from capsvc.macaroon import build
from capsvc.macaroon.chain import derive_key, extend, verify
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, decode, encode, encode_binary

ROOT_KEY = bytes(range(32))
KEY = derive_key(ROOT_KEY)
IDENTIFIER = b"cap1.0123456789abcdef.AAECAwQFBgcICQoLDA0ODw.1790000000.1"


def signed(location: bytes | None, *caveats: RawCaveat) -> UnverifiedMacaroon:
    """A macaroon signed by our own chain."""
    macaroon = UnverifiedMacaroon(location, IDENTIFIER, (), b"")
    mac = extend(KEY, RawCaveat(IDENTIFIER))
    for caveat in caveats:
        mac = extend(mac, caveat)
    return macaroon._replace(caveats=caveats, signature=mac)


def test_a_root_is_minted() -> None:
    """Location, identifier and caveats as they were given, under the derived key."""
    text = build.mint(ROOT_KEY, "https://caps.example", IDENTIFIER, ["time < 2026-11-22T12:00:00Z", "sub = alice"])
    macaroon = decode(text)
    assert macaroon[:3] == (
        b"https://caps.example",
        IDENTIFIER,
        (RawCaveat(b"time < 2026-11-22T12:00:00Z"), RawCaveat(b"sub = alice")),
    )
    assert verify(macaroon, KEY)
    assert macaroon == signed(b"https://caps.example", *macaroon.caveats)


@pytest.mark.parametrize(
    ("key", "location", "identifier"),
    [
        (b"", "l", IDENTIFIER),
        (ROOT_KEY[:31], "l", IDENTIFIER),
        (ROOT_KEY + b"\0", "l", IDENTIFIER),
        (ROOT_KEY, "", IDENTIFIER),
        (ROOT_KEY, "l", b""),
    ],
)
def test_what_pymacaroons_would_take_and_should_not(key: bytes, location: str, identifier: bytes) -> None:
    """A key of another length, no location, no identifier."""
    assert build.mint(ROOT_KEY, "l", IDENTIFIER, [])
    with pytest.raises(ValueError, match="a root"):
        build.mint(key, location, identifier, [])


def test_a_root_is_minted_within_bounds() -> None:
    """64 caveats of 512 octets would be too long as text; each bound at its limit and one past it."""
    assert len(decode(build.mint(ROOT_KEY, "l", IDENTIFIER, ["a = b"] * 64)).caveats) == 64
    assert build.mint(ROOT_KEY, "l", IDENTIFIER, ["x" * 512])
    for caveats in (["a = b"] * 65, ["x" * 513], ["x" * 512] * 24):
        with pytest.raises(TokenError) as error:
            build.mint(ROOT_KEY, "l", IDENTIFIER, caveats)
        assert error.value.code == "too-large"


SHAPES = [
    signed(b"https://caps.example"),
    signed(b"https://caps.example", RawCaveat(b"a = 1")),
    signed("https://caps.example/é".encode(), RawCaveat("ü".encode())),
    signed(b"l", RawCaveat(b"a = 1"), RawCaveat(b"cid", b"v" * 72, b"there"), RawCaveat(b"b = 2")),
    signed(b"l", RawCaveat(b"cid", b"v" * 72, None)),
    signed(b"l", RawCaveat(b"cid", b"v" * 72, b"")),
    signed(b"l", RawCaveat(b"\x03\x00\xff\xfe", bytes(range(72)), b"there")),
    signed(b"l", RawCaveat(b"cid", b"v" * 72, b"\xff")),
    signed(b"l", RawCaveat(b"not utf-8: \xff")),
    signed(b"\xff\xfe", RawCaveat(b"a = 1")),
    signed(b"", RawCaveat(b"a = 1")),
    signed(None, RawCaveat(b"a = 1")),
    signed(None),
    signed(None, RawCaveat(b"cid", b"v" * 72, b""), RawCaveat(b"x" * 300)),
]


@pytest.mark.parametrize("macaroon", SHAPES)
def test_attenuation_keeps_what_was_there(macaroon: UnverifiedMacaroon) -> None:
    """Every octet before the added caveats is as it was, whichever writer made it; the result verifies."""
    before = encode(macaroon)
    attenuated = build.attenuate(macaroon, ["action in read", "floor = 1"])
    tail = 1 + 2 + 32  # the end of the caveats, and the signature
    assert encode_binary(attenuated).startswith(encode_binary(macaroon)[:-tail])
    assert attenuated == signed(
        macaroon.location, *macaroon.caveats, RawCaveat(b"action in read"), RawCaveat(b"floor = 1")
    )
    assert verify(attenuated, KEY)
    assert encode(macaroon) == before


@given(
    st.none() | st.binary(max_size=20) | st.text(min_size=1, max_size=20).map(str.encode),
    st.lists(
        st.binary(max_size=40).map(RawCaveat)
        | st.tuples(st.binary(max_size=40), st.binary(min_size=1, max_size=80), st.none() | st.binary(max_size=9)).map(
            RawCaveat._make
        ),
        max_size=4,
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40),
)
def test_both_writers_agree(location: bytes | None, caveats: list[RawCaveat], added: str) -> None:
    """Whatever the token is like, attenuation is what our chain says that it is."""
    macaroon = signed(location, *caveats)
    assert build.attenuate(macaroon, [added]) == signed(location, *caveats, RawCaveat(added.encode()))


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The writers that an attenuation went through."""
    used: list[str] = []
    for name in ("_with_pymacaroons", "_with_chain"):
        original = getattr(build, name)

        def spying(*arguments: object, name: str = name, original: object = original) -> object:
            used.append(name)
            return original(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(build, name, spying)
    return used


def test_the_library_builds_where_it_can(writers: list[str]) -> None:
    """With a location, and all locations text; else our own encoder does, since the library would change octets."""
    for macaroon in SHAPES:
        build.attenuate(macaroon, ["a = b"])
    assert writers == [*["_with_pymacaroons"] * 7, "_with_chain", "_with_pymacaroons", *["_with_chain"] * 5]


def test_a_library_that_changes_more_than_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it made is compared with what it was to make."""
    macaroon = SHAPES[1]
    assert build.attenuate(macaroon, ["a = b"])
    original = Macaroon.serialize
    for change in (
        lambda fresh: setattr(fresh, "location", "elsewhere"),
        lambda fresh: setattr(fresh, "identifier", "other"),
        lambda fresh: fresh.caveats.pop(0),
        lambda fresh: fresh.caveats.pop(),
        lambda fresh: fresh.caveats.reverse(),
    ):

        def changing(fresh: Macaroon, change: object = change) -> str:
            change(fresh)  # type: ignore[operator]
            return original(fresh)  # type: ignore[no-any-return]

        monkeypatch.setattr(Macaroon, "serialize", changing)
        with pytest.raises(TokenError) as error:
            build.attenuate(macaroon, ["a = b"])
        assert error.value.code == "malformed"


@pytest.mark.parametrize("location", [b"l", None])
def test_attenuation_within_bounds(location: bytes | None) -> None:
    """64 caveats, 512 octets, 16 KiB: at the limit and one past it, through both writers."""
    full = signed(location, *[RawCaveat(b"a = b")] * 63)
    assert len(build.attenuate(full, ["a = b"]).caveats) == 64
    assert build.attenuate(signed(location), ["x" * 512])
    long = signed(location, *[RawCaveat(b"x" * 512)] * 23)
    assert len(encode(long)) < 16_384
    for macaroon, caveats in ((full, ["a = b"] * 2), (signed(location), ["x" * 513]), (long, ["x" * 512])):
        with pytest.raises(TokenError) as error:
            build.attenuate(macaroon, caveats)
        assert error.value.code == "too-large"


def test_pymacaroons_attenuates_ours() -> None:
    """A holder who uses the library instead gets the very same token."""
    text = build.mint(ROOT_KEY, "https://caps.example", IDENTIFIER, ["sub = alice"])
    theirs = Macaroon.deserialize(text)
    theirs.add_first_party_caveat("action in read")
    assert theirs.serialize() == encode(build.attenuate(decode(text), ["action in read"]))
