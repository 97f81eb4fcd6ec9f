"""Building: what pymacaroons makes, held to our decoder, chain and bounds."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from macaroonbakery import bakery, checkers
from nacl.public import PrivateKey
from nacl.secret import SecretBox
from pymacaroons import Macaroon, Verifier
from pymacaroons.exceptions import MacaroonException
from pymacaroons.serializers import JsonSerializer

from capsvc.errors import TokenError
from capsvc.macaroon import build
from capsvc.macaroon.build import ThirdPartyCaveat
from capsvc.macaroon.bundle import MAX_DISCHARGES, split
from capsvc.macaroon.chain import bind as bound_signature
from capsvc.macaroon.chain import compute, derive_key, extend, verify
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, decode, encode, encode_binary
from capsvc.macaroon.discharges import match
from capsvc.macaroon.formats import read_v2json
from capsvc.macaroon.thirdparty import Channel, KeyPair

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


# Third parties.

THIRD = ThirdPartyCaveat("https://login.example", b"the discharge's", b"\x03\x00 any octets \xff")
OTHER = ThirdPartyCaveat("https://till.example/", b"k", b"cid")


def holds(root: str, *discharges: str) -> Sequence[str] | None:
    """The first-party caveats that pymacaroons' own verifier sees, in its order; None if it finds the bundle bad."""
    seen: list[str] = []

    def satisfied(caveat: str) -> bool:
        seen.append(caveat)
        return True

    verifier = Verifier()
    verifier.satisfy_general(satisfied)
    try:
        verifier.verify(Macaroon.deserialize(root), ROOT_KEY, [Macaroon.deserialize(one) for one in discharges])
    except MacaroonException:
        return None
    return seen


def test_a_root_asks_third_parties_last() -> None:
    """After the issuer's own caveats, each under a fresh nonce, its key sealed under the MAC of the point before it."""
    text = build.mint(ROOT_KEY, "https://caps.example", IDENTIFIER, ["a = 1", "b = 2"], [THIRD, OTHER])
    macaroon = decode(text)
    assert [caveat.cid for caveat in macaroon.caveats] == [b"a = 1", b"b = 2", THIRD.id, OTHER.id]
    assert [caveat.location for caveat in macaroon.caveats[2:]] == [THIRD.location.encode(), OTHER.location.encode()]
    macs = compute(KEY, macaroon)
    assert macs[-1] == macaroon.signature
    for position, third in ((2, THIRD), (3, OTHER)):
        vid = macaroon.caveats[position].vid
        assert vid is not None
        assert SecretBox(macs[position]).decrypt(vid) == derive_key(third.root_key)
    again = decode(build.mint(ROOT_KEY, "https://caps.example", IDENTIFIER, ["a = 1", "b = 2"], [THIRD, OTHER]))
    assert len({caveat.vid for one in (macaroon, again) for caveat in one.caveats[2:]}) == 4


def test_a_third_partys_caveat_is_added() -> None:
    """Every octet before it stays; what was given is not touched; the same as pymacaroons makes, but for the nonce."""
    macaroon = decode(build.mint(ROOT_KEY, "https://caps.example", IDENTIFIER, ["a = 1"]))
    before = encode(macaroon)
    added = build.add_third_party(macaroon, THIRD)
    assert encode(macaroon) == before
    assert added[:3] == (macaroon.location, macaroon.identifier, (*macaroon.caveats, added.caveats[-1]))
    vid = added.caveats[-1].vid
    assert added.caveats[-1] == RawCaveat(THIRD.id, vid, THIRD.location.encode())
    assert vid is not None
    assert SecretBox(macaroon.signature).decrypt(vid) == derive_key(THIRD.root_key)
    assert verify(added, KEY)


@pytest.mark.parametrize("third", [THIRD._replace(location=""), THIRD._replace(root_key=b"")], ids=["where", "key"])
def test_a_third_party_without_location_or_key(third: ThirdPartyCaveat) -> None:
    """Neither at minting nor afterwards: under an empty key everybody discharges."""
    macaroon = decode(build.mint(ROOT_KEY, "l", IDENTIFIER, [], [THIRD]))
    assert build.add_third_party(macaroon, THIRD)
    with pytest.raises(ValueError, match="has a location and a root key"):
        build.mint(ROOT_KEY, "l", IDENTIFIER, [], [third])
    with pytest.raises(ValueError, match="has a location and a root key"):
        build.add_third_party(macaroon, third)


def test_what_pymacaroons_cannot_keep_gets_no_third_party() -> None:
    """A macaroon without a location, or with one that is no text, would not be the same afterwards."""
    for macaroon, kept in zip(SHAPES, [*[True] * 7, False, True, *[False] * 5], strict=True):
        if kept:
            assert build.add_third_party(macaroon, THIRD)[:2] == macaroon[:2]
        else:
            with pytest.raises(ValueError, match="all its locations are text"):
                build.add_third_party(macaroon, THIRD)


def test_third_parties_within_bounds() -> None:
    """An id of 1,024 octets, 64 caveats: at the limit and one past it."""
    long, longer = (THIRD._replace(id=b"i" * length) for length in (1024, 1025))
    assert decode(build.mint(ROOT_KEY, "l", IDENTIFIER, ["a = b"] * 63, [long])).caveats[-1].cid == long.id
    full = signed(b"l", *[RawCaveat(b"a = b")] * 64)
    for call in (
        lambda: build.mint(ROOT_KEY, "l", IDENTIFIER, [], [longer]),
        lambda: build.mint(ROOT_KEY, "l", IDENTIFIER, ["a = b"] * 64, [THIRD]),
        lambda: build.add_third_party(signed(b"l"), longer),
        lambda: build.add_third_party(full, THIRD),
    ):
        with pytest.raises(TokenError) as error:
            call()
        assert error.value.code == "too-large"
    assert build.add_third_party(full._replace(caveats=full.caveats[1:]), THIRD)


def test_a_discharge_is_made() -> None:
    """Location, id and caveats as they were given, signed under the key in the caveat, whatever its length; unbound."""
    for key in (b"k", b"k" * 24, b"k" * 32, b"k" * 100):
        made = build.discharge(key, "https://login.example", THIRD.id, ["declared username ada", "a = 1"])
        caveats = (RawCaveat(b"declared username ada"), RawCaveat(b"a = 1"))
        assert made[:3] == (b"https://login.example", THIRD.id, caveats)
        assert compute(derive_key(key), made)[-1] == made.signature
    theirs = Macaroon(location="https://login.example", identifier=THIRD.id, key=key, version=2)
    for caveat in ("declared username ada", "a = 1"):
        theirs.add_first_party_caveat(caveat)
    assert encode(made) == theirs.serialize()


@pytest.mark.parametrize(("key", "location", "identifier"), [(b"", "l", b"i"), (b"k", "", b"i"), (b"k", "l", b"")])
def test_a_discharge_without_key_location_or_id(key: bytes, location: str, identifier: bytes) -> None:
    """Nobody signed it, it comes from nowhere, or answers nothing."""
    assert build.discharge(b"k", "l", b"i", [])
    with pytest.raises(ValueError, match="a macaroon has a key, a location and an identifier"):
        build.discharge(key, location, identifier, [])


def test_a_discharge_is_made_within_bounds() -> None:
    """64 caveats of 512 octets at most, as every token."""
    assert len(build.discharge(b"k", "l", b"i", ["a = b"] * 64).caveats) == 64
    assert build.discharge(b"k", "l", b"i", ["x" * 512])
    for caveats in (["a = b"] * 65, ["x" * 513], ["x" * 512] * 24):
        with pytest.raises(TokenError) as error:
            build.discharge(b"k", "l", b"i", caveats)
        assert error.value.code == "too-large"


def asking(*thirds: ThirdPartyCaveat) -> UnverifiedMacaroon:
    """A root with a caveat of its own that asks them."""
    return decode(build.mint(ROOT_KEY, "l", IDENTIFIER, ["floor = 1"], thirds))


def answering(third: ThirdPartyCaveat, *caveats: str) -> UnverifiedMacaroon:
    """A third party's discharge."""
    return build.discharge(third.root_key, third.location, third.id, caveats)


def test_pymacaroons_verifies_what_was_bound() -> None:
    """Its own verifier takes our bundle, with every caveat of all of it; and ours takes what it has bound."""
    root = asking(THIRD, OTHER)
    discharges = [answering(THIRD, "a = 1"), answering(OTHER, "b = 2")]
    bundle = build.bind(root, discharges)
    text, *bound = bundle.split("~")
    assert text == encode(root)
    assert holds(text, *bound) == ["floor = 1", "a = 1", "b = 2"]
    assert holds(text, bound[0]) is None
    assert holds(text, *map(encode, discharges)) is None
    theirs = Macaroon.deserialize(text)
    assert bound == [theirs.prepare_for_request(Macaroon.deserialize(encode(one))).serialize() for one in discharges]
    verified = verify(root, KEY)
    assert verified is not None
    assert [one.macaroon for one in match(verified, split(bundle)[1:])] == list(split(bundle)[1:])


def test_what_is_bound_is_not_touched() -> None:
    """Root and discharges stay as they were; only the signatures of the bound ones are others."""
    root, discharges = asking(THIRD), [answering(THIRD, "a = 1")]
    before = [encode(macaroon) for macaroon in (root, *discharges)]
    _, bound = split(build.bind(root, discharges))
    assert [encode(macaroon) for macaroon in (root, *discharges)] == before
    assert bound[:3] == discharges[0][:3]
    assert bound.signature == bound_signature(root.signature, discharges[0].signature)


def test_nested_discharges_are_bound_to_the_root() -> None:
    """Each of them, and in the order in which they were given."""
    root, inner = asking(THIRD), OTHER
    outer = build.add_third_party(answering(THIRD, "a = 1"), inner)
    bundle = build.bind(root, [outer, answering(inner, "b = 2")])
    assert holds(*bundle.split("~")) == ["floor = 1", "a = 1", "b = 2"]
    swapped = build.bind(root, [answering(inner, "b = 2"), outer])
    assert [one.identifier for one in split(swapped)] == [IDENTIFIER, inner.id, THIRD.id]
    verified = verify(root, KEY)
    assert verified is not None
    assert len(match(verified, split(swapped)[1:])) == 2


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_binding_is_libmacaroons(root: bytes, discharge: bytes) -> None:
    """Of any two signatures pymacaroons makes what our chain says."""
    first, second = (UnverifiedMacaroon(b"l", b"i", (), signature) for signature in (root, discharge))
    assert split(build.bind(first, [second]))[1].signature == bound_signature(root, discharge)


def test_a_root_alone_is_a_bundle() -> None:
    """Nothing to bind, nothing changed."""
    assert build.bind(asking(), []) == encode(asking())


@pytest.mark.parametrize("location", [None, b"", b"\xff"])
def test_locations_are_kept_by_binding(location: bytes | None) -> None:
    """As they came, since nothing is written anew but the signature."""
    root, discharge = asking(THIRD)._replace(location=location), answering(THIRD)._replace(location=location)
    assert [one.location for one in split(build.bind(root, [discharge]))] == [location, location]


def test_bundles_within_bounds() -> None:
    """Sixteen discharges, 192 caveats, 32 KiB: at the limit and one past it."""
    root, plain = asking(THIRD), answering(THIRD)
    assert len(split(build.bind(root, [plain] * MAX_DISCHARGES))) == 17
    assert len(root.caveats) == 2
    full, most, more = (answering(THIRD, *["a = b"] * number) for number in (64, 62, 63))
    assert len(split(build.bind(root, [full, full, most]))) == 4
    wide = answering(THIRD, *["x" * 512] * 11)
    assert len(build.bind(root, [wide] * 4)) > 30_000
    for discharges in ([plain] * (MAX_DISCHARGES + 1), [full, full, more], [wide] * 5):
        with pytest.raises(TokenError) as error:
            build.bind(root, discharges)
        assert error.value.code == "too-large"


# The same with macaroonbakery.

FIRST_PAIR, THIRD_PAIR = KeyPair(b"\x01" * 32), KeyPair(b"\x02" * 32)


class Answers(bakery.ThirdPartyCaveatChecker):  # type: ignore[misc]
    """Answers every condition with what was asked for, and notes it."""

    def __init__(self) -> None:
        self.conditions: list[str] = []

    def check_third_party_caveat(self, _ctx: object, info: Any) -> list[Any]:
        """Bakery's."""
        self.conditions.append(info.condition)
        return [checkers.declared_caveat("username", "ada")]


def test_the_bakery_discharges_ours() -> None:
    """A root of ours, discharged and bound by the library: the very bundle that we bind, and both verify it."""
    caveat_id = Channel.of_first_party(FIRST_PAIR, THIRD_PAIR.public).seal(b"r" * 24, "need-declared username is-known")
    root = asking(ThirdPartyCaveat("http://login.example", b"r" * 24, caveat_id))
    theirs = bakery.Macaroon.from_dict({"m": _as_json(encode(root)), "v": 3, "ns": "std:"})
    answers, unbound = Answers(), []

    def discharge(caveat: Any, payload: bytes | None) -> Any:
        key = bakery.PrivateKey(PrivateKey(THIRD_PAIR.private()))
        made = bakery.discharge(checkers.AuthContext(), caveat.caveat_id_bytes, payload, key, answers, None)
        unbound.append(read_v2json(made.macaroon.serialize(JsonSerializer())))
        return made

    gathered = [read_v2json(one.serialize(JsonSerializer())) for one in bakery.discharge_all(theirs, discharge)]
    assert answers.conditions == ["is-known"]
    assert build.bind(root, unbound) == "~".join(map(encode, gathered))
    assert holds(*map(encode, gathered)) == ["floor = 1", "declared username ada"]
    verified = verify(root, KEY)
    assert verified is not None
    assert len(match(verified, gathered[1:])) == 1


def test_ours_discharges_the_bakerys() -> None:
    """What the library asks under a short id, its payload beside it: our discharge is bound by it, and verifies."""
    theirs = bakery.Macaroon(ROOT_KEY, IDENTIFIER, "l", bakery.VERSION_3, checkers.deserialize_namespace(b"std:"))
    info = bakery.ThirdPartyInfo(bakery.VERSION_3, bakery.PublicKey(PrivateKey(THIRD_PAIR.private()).public_key))
    locator = bakery.ThirdPartyStore()
    locator.add_info("http://login.example", info)
    key = bakery.PrivateKey(PrivateKey(FIRST_PAIR.private()))
    theirs.add_caveat(checkers.Caveat("is-known", "http://login.example"), key, locator)
    ((caveat_id, payload),) = theirs.caveat_data.items()
    assert caveat_id == b"\x03\x00"
    sealed = Channel.of_third_party(THIRD_PAIR, FIRST_PAIR.public).open(payload)
    assert sealed is not None
    assert sealed.condition == b"is-known"
    made = build.discharge(sealed.root_key, "http://login.example", caveat_id, ["declared username ada"])

    def discharge(_caveat: object, _payload: object) -> Any:
        return bakery.Macaroon.from_dict({"m": _as_json(encode(made)), "v": 3, "ns": "std:"})

    root, bound = bakery.discharge_all(theirs, discharge)
    assert holds(root.serialize(), bound.serialize()) == ["declared username ada"]
    assert (
        encode(read_v2json(bound.serialize(JsonSerializer())))
        == build.bind(read_v2json(root.serialize(JsonSerializer())), [made]).split("~")[1]
    )


def _as_json(text: str) -> dict[str, Any]:
    """V2 JSON, by pymacaroons."""
    return dict(json.loads(Macaroon.deserialize(text).serialize(JsonSerializer())))
