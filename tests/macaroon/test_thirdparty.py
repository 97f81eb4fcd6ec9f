"""Caveat ids: what issuer and third party can read and nobody else, held to macaroon-bakery's own codec."""

from __future__ import annotations

import base64
import copy
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from macaroonbakery import bakery, checkers
from nacl.public import Box, PrivateKey, PublicKey

from capsvc.macaroon.build import ThirdPartyCaveat
from capsvc.macaroon.thirdparty import (
    KEY_OCTETS,
    Channel,
    KeyPair,
    Sealed,
    asked_names,
    key_text,
    plain_key,
    read_key,
    read_parties,
)

ISSUER, LOGIN, STRANGER = (KeyPair(bytes([number]) * 32) for number in (1, 2, 3))
OURS = Channel.of_first_party(ISSUER, LOGIN.public)
THEIRS = Channel.of_third_party(LOGIN, ISSUER.public)
ROOT_KEY = bytes(range(32))
HEADER = b"\x03" + LOGIN.public[:4] + ISSUER.public
CONDITIONS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=200)


def boxed(secret: bytes, header: bytes = HEADER) -> bytes:
    """An id of any octets, sealed by somebody who has the issuer's key."""
    return header + bytes(Box(PrivateKey(ISSUER.private()), PublicKey(LOGIN.public)).encrypt(secret))


def plain(
    *,
    version: bytes = b"\x03",
    key_length: bytes = b"\x20",
    key: bytes = ROOT_KEY,
    namespace_length: bytes = b"\x04",
    namespace: bytes = b"std:",
    condition: bytes = b"is-known",
) -> bytes:
    """What is inside a box, field by field."""
    return version + key_length + key + namespace_length + namespace + condition


# What goes in comes out, for both parties and for nobody else.


@given(root_key=st.binary(min_size=1, max_size=300), condition=CONDITIONS)
def test_both_parties_open_what_the_issuer_sealed(root_key: bytes, condition: str) -> None:
    """The third party, and the first party again, since the box is symmetric: with bakery's own namespace."""
    caveat_id = OURS.seal(root_key, condition)
    for channel in (OURS, THEIRS):
        sealed = channel.open(caveat_id)
        assert sealed == Sealed(root_key, condition.encode(), b"std:")
        assert sealed.speaks_std
    assert read_parties(caveat_id) == (LOGIN.public[:4], ISSUER.public)


def test_an_id_is_as_long_as_bakerys() -> None:
    """Header 37, nonce 24, tag 16; inside, the version, two lengths, 32, 4 and the condition."""
    assert len(OURS.seal(ROOT_KEY, "c")) == 37 + 24 + 16 + 1 + 1 + 32 + 1 + 4 + 1


def test_each_id_is_fresh() -> None:
    """The same question twice has another nonce, and nothing of the box in common."""
    ids = [OURS.seal(ROOT_KEY, "is-known") for _ in range(100)]
    assert len({caveat_id[37:61] for caveat_id in ids}) == len({caveat_id[61:] for caveat_id in ids}) == 100
    assert {caveat_id[:37] for caveat_id in ids} == {HEADER}


@pytest.mark.parametrize(
    "channel",
    [
        Channel.of_first_party(ISSUER, STRANGER.public),
        Channel.of_first_party(STRANGER, LOGIN.public),
        Channel.of_third_party(LOGIN, STRANGER.public),
        Channel.of_third_party(STRANGER, ISSUER.public),
        Channel.of_first_party(LOGIN, ISSUER.public),
        Channel.of_third_party(ISSUER, LOGIN.public),
    ],
    ids=["to another", "from another", "of another", "at another", "the way back", "the way back, at its end"],
)
def test_other_parties_do_not_open_it(channel: Channel) -> None:
    """Another issuer, another discharger, and the same two with their parts exchanged, who share the same box."""
    caveat_id = OURS.seal(ROOT_KEY, "is-known")
    assert THEIRS.open(caveat_id) is not None
    assert channel.open(caveat_id) is None


def test_a_header_of_other_parties_does_not_make_it_theirs() -> None:
    """Each of the three parts put over another's box, or the box under another's header."""
    caveat_id, other = OURS.seal(ROOT_KEY, "c"), Channel.of_first_party(ISSUER, STRANGER.public).seal(ROOT_KEY, "c")
    assert OURS.open(caveat_id[:37] + caveat_id[37:]) is not None
    for mixed in (caveat_id[:37] + other[37:], other[:37] + caveat_id[37:]):
        for channel in (OURS, THEIRS, Channel.of_third_party(STRANGER, ISSUER.public)):
            assert channel.open(mixed) is None


def test_a_key_that_begins_as_anothers_is_not_that_key() -> None:
    """The prefix of four octets only points at a key: the box decides."""
    lookalike = Channel.of_first_party(ISSUER, LOGIN.public[:4] + STRANGER.public[4:])
    for sealing, other in ((OURS, lookalike), (lookalike, OURS)):
        caveat_id = sealing.seal(ROOT_KEY, "c")
        assert caveat_id[:37] == HEADER
        assert sealing.open(caveat_id) == Sealed(ROOT_KEY, b"c", b"std:")
        assert other.open(caveat_id) is None


# Damage.


def test_every_octet_altered() -> None:
    """Each octet by its lowest bit, its highest and all: in header, nonce, tag or box, nobody opens it."""
    caveat_id = OURS.seal(ROOT_KEY, "need-declared username is-known")
    for position, flip in itertools.product(range(len(caveat_id)), (0x01, 0x80, 0xFF)):
        altered = caveat_id[:position] + bytes([caveat_id[position] ^ flip]) + caveat_id[position + 1 :]
        assert OURS.open(altered) is None, position
        assert THEIRS.open(altered) is None, position
    assert THEIRS.open(caveat_id) is not None


def test_every_truncation() -> None:
    """At the end and at the beginning; what has no room for a box has no parties either."""
    caveat_id = OURS.seal(ROOT_KEY, "is-known")
    for length in range(len(caveat_id)):
        assert OURS.open(caveat_id[:length]) is None
        assert OURS.open(caveat_id[length + 1 :]) is None
        if length <= 37:
            with pytest.raises(ValueError, match="version 3"):
                read_parties(caveat_id[:length])
        else:
            assert read_parties(caveat_id[:length]) == (LOGIN.public[:4], ISSUER.public)
    assert OURS.open(caveat_id) is not None


def test_octets_after_the_box() -> None:
    """They belong to it, and its tag is wrong then."""
    caveat_id = OURS.seal(ROOT_KEY, "is-known")
    for more in (b"\0", b" ", caveat_id):
        assert OURS.open(caveat_id + more) is None


@pytest.mark.parametrize("version", [b"", b"\0", b"\x01", b"\x02", b"\x04", b"\xff", b"e"])
def test_other_versions(version: bytes) -> None:
    """Of the id, and of what is inside it: all but 3 are refused, each by itself."""
    assert OURS.open(boxed(plain())) == Sealed(ROOT_KEY, b"is-known", b"std:")
    assert OURS.open(boxed(plain(version=version))) is None
    old = boxed(plain(), version + HEADER[1:])
    assert OURS.open(old) is None
    with pytest.raises(ValueError, match="version 3"):
        read_parties(old)


def test_bakerys_older_versions_are_refused() -> None:
    """As the library writes them, for the same parties."""
    for version in (bakery.VERSION_1, bakery.VERSION_2):
        caveat_id = by_bakery("is-known", version=version)
        assert bakery.decode_caveat(bakerys(LOGIN), caveat_id).condition == "is-known"
        assert OURS.open(caveat_id) is None
        assert THEIRS.open(caveat_id) is None
        with pytest.raises(ValueError, match="version 3"):
            read_parties(caveat_id)


@pytest.mark.parametrize(
    "secret",
    [
        b"",
        b"\x03",
        plain()[:2],
        plain()[:33],
        plain()[:34],
        plain()[:38],
        plain(key_length=b"\x00", key=b""),
        plain(key_length=b"\xa0\x00"),
        plain(namespace_length=b"\x84\x00"),
        plain(key_length=b"\xff" * 9 + b"\x01"),
        plain(key_length=b"\xff" * 10 + b"\x01"),
        plain(key_length=b"\x80"),
        plain(namespace_length=b"\x0d"),
        plain(namespace_length=b"\xff\xff\x03"),
    ],
    ids=[
        "nothing",
        "a version",
        "a length",
        "a key cut short",
        "no namespace",
        "a namespace cut short",
        "an empty root key",
        "a length of the root key in two octets",
        "a length of the namespace in two octets",
        "a root key of 2^64 - 1 octets",
        "a length over 64 bits",
        "a length that swallows the key",
        "a namespace past the end by one",
        "a namespace far past the end",
    ],
)
def test_what_is_not_in_the_format(secret: bytes) -> None:
    """Sealed by somebody who has the keys, and still no caveat id: one spelling, nothing missing, no empty key."""
    assert OURS.open(boxed(plain())) is not None
    assert OURS.open(boxed(secret)) is None


@pytest.mark.parametrize("length", [1, 24, 127, 128, 200, 16_384])
def test_root_keys_of_other_lengths(length: int) -> None:
    """Go's and Python's libraries make 24 octets; at 128 the length takes a second one."""
    key = b"k" * length
    assert OURS.open(OURS.seal(key, "c")) == Sealed(key, b"c", b"std:")


def test_a_condition_is_all_that_is_left() -> None:
    """Whatever octets; whether they are a condition is for the reader to say."""
    for condition in (b"", b" ", b"\xff\0", b"declared username root"):
        assert OURS.open(boxed(plain(condition=condition))) == Sealed(ROOT_KEY, condition, b"std:")


def test_what_is_not_sealed() -> None:
    """An empty root key, under which everybody could discharge, and an empty condition."""
    assert OURS.seal(b"k", "c")
    for root_key, condition in ((b"", "c"), (b"k", "")):
        with pytest.raises(ValueError, match="holds a root key and a condition"):
            OURS.seal(root_key, condition)


@pytest.mark.parametrize(
    ("namespace", "speaks"),
    [
        (b"std:", True),
        (b"std: x:y", True),
        (b"a:b std: x:y", True),
        (b"a:b std:", True),
        (b"", False),
        (b"std:x", False),
        (b"std", False),
        (b"xstd:", False),
        (b"std:\n", False),
        (b"STD:", False),
        (b"std:x y:std:", False),
    ],
)
def test_namespaces(namespace: bytes, speaks: bool) -> None:
    """Only where `std` has the empty prefix are bakery's own conditions what they are here."""
    sealed = OURS.open(boxed(plain(namespace_length=bytes([len(namespace)]), namespace=namespace)))
    assert sealed == Sealed(ROOT_KEY, b"is-known", namespace)
    assert sealed.speaks_std is speaks


# macaroon-bakery's codec.


def bakerys(pair: KeyPair) -> Any:
    """A pair as the library has it."""
    return bakery.PrivateKey(PrivateKey(pair.private()))


def by_bakery(
    condition: str,
    root_key: bytes = ROOT_KEY,
    namespace: str = "std:",
    version: int = bakery.VERSION_3,
) -> bytes:
    """A caveat id from the issuer to the login, by the library."""
    third = bakery.ThirdPartyInfo(version=version, public_key=bakery.PublicKey(PublicKey(LOGIN.public)))
    spoken = checkers.deserialize_namespace(namespace.encode())
    return bytes(bakery.encode_caveat(condition, root_key, third, bakerys(ISSUER), spoken))


CODEC_CASES = given(
    root_key=st.binary(min_size=1, max_size=200),
    condition=st.text(st.characters(codec="utf-8"), min_size=1, max_size=100),
    namespace=st.sampled_from(["std:", "", "std:x", "a:b std:"]),
)


@CODEC_CASES
def test_the_library_opens_ours(root_key: bytes, condition: str, namespace: str) -> None:
    """Root key, condition, namespace and first party come out of the library as they went in here."""
    found = bakery.decode_caveat(bakerys(LOGIN), OURS.seal(root_key, condition))
    assert (bytes(found.root_key), found.condition) == (root_key, condition)
    assert found.namespace.serialize_text() == b"std:"
    assert bytes(found.first_party_public_key.key) == ISSUER.public
    assert found.version == bakery.VERSION_3


@CODEC_CASES
def test_ours_opens_the_librarys(root_key: bytes, condition: str, namespace: str) -> None:
    """The other way round, in every namespace."""
    sealed = THEIRS.open(by_bakery(condition, root_key, namespace))
    assert sealed == Sealed(root_key, condition.encode(), namespace.encode())


GOLDEN = base64.urlsafe_b64decode(
    "A_D-xlUf2MdGMgtu7OKRQnCP1OQJk6PKeFWRK26WIBA6DNwKGNLeFSkD2M-8AEYvmgVH95GWu7T7caKxKhhOQFcEKgnXKJvYXxz1zin4cZc4Q6C7"
    "gVqA-J4_j31LX4VKxymqG62UGPo78wOv0_fKjr3OI6PPJOYOQgBMclemlRF2"
)
"""Go's, from macaroonbakery's ``tests/test_codec.py``, which calls it "generated from the go code"."""


def test_an_id_that_go_made() -> None:
    """A vector of macaroon-bakery's Go library, opened by both of its parties."""
    third = KeyPair(base64.b64decode("TSpvLpQkRj+T3JXnsW2n43n5zP/0X4zn0RvDiWC3IJ0="))
    first = KeyPair(base64.b64decode("KXpsoJ9ujZYi/O2Cca6kaWh65MSawzy79LWkrjOfzcs="))
    root_key = base64.b64decode("oqOXI3/Mz/pKjCuFOt2eYxb7ndLq66GY")
    expected = Sealed(root_key, b"third party condition", b"std:")
    assert Channel.of_third_party(third, first.public).open(GOLDEN) == expected
    assert Channel.of_first_party(first, third.public).open(GOLDEN) == expected
    assert read_parties(GOLDEN) == (third.public[:4], first.public)


def test_what_we_write_is_what_it_was() -> None:
    """With Go's keys and nonce, the library's octets and ours are the vector's: nothing in them is left to choice."""
    third = KeyPair(base64.b64decode("TSpvLpQkRj+T3JXnsW2n43n5zP/0X4zn0RvDiWC3IJ0="))
    first = KeyPair(base64.b64decode("KXpsoJ9ujZYi/O2Cca6kaWh65MSawzy79LWkrjOfzcs="))
    secret = plain(
        key_length=b"\x18",
        key=base64.b64decode("oqOXI3/Mz/pKjCuFOt2eYxb7ndLq66GY"),
        condition=b"third party condition",
    )
    box = Box(PrivateKey(first.private()), PublicKey(third.public))
    assert box.decrypt(GOLDEN[37:]) == secret
    written = Channel.of_first_party(first, third.public).seal(secret[2:26], "third party condition")
    assert box.decrypt(written[37:]) == secret
    assert (written[:37], len(written)) == (GOLDEN[:37], len(GOLDEN))


# Names to declare.


@pytest.mark.parametrize(
    ("condition", "names", "rest"),
    [
        ("is-known", (), "is-known"),
        ("", (), ""),
        ("need-declared a c", ("a",), "c"),
        ("need-declared a,b c", ("a", "b"), "c"),
        ("need-declared a,b c d  e ", ("a", "b"), "c d  e "),
        ("need-declared b,a,b c", ("b", "a", "b"), "c"),
        ("need-declared a  c", ("a",), " c"),
        ("need-declared a need-declared b c", ("a",), "need-declared b c"),
        ("need-declared", (), "need-declared"),
        ("need-declaredx a c", (), "need-declaredx a c"),
        ("Need-declared a c", (), "Need-declared a c"),
        (" need-declared a c", (), " need-declared a c"),
        ("need-declared\ta c", (), "need-declared\ta c"),
    ],
)
def test_names_that_are_to_be_declared(condition: str, names: tuple[str, ...], rest: str) -> None:
    """Those between the first two spaces, by commas; without them the condition is the whole."""
    assert asked_names(condition) == (names, rest)


@pytest.mark.parametrize(
    "condition",
    [
        "need-declared ",
        "need-declared a",
        "need-declared a,b",
        "need-declared a ",
        "need-declared  c",
        "need-declared , c",
        "need-declared ,a c",
        "need-declared a, c",
        "need-declared a,,b c",
    ],
)
def test_names_or_condition_missing(condition: str) -> None:
    """What begins so has names, none of them empty, and a condition."""
    assert asked_names("need-declared a,b c")
    with pytest.raises(ValueError, match="followed by names and a condition"):
        asked_names(condition)


# Keys.


def as_key(number: int) -> bytes:
    """A public key by its number (RFC 7748: little-endian)."""
    return number.to_bytes(32, "little")


FIELD = 2**255 - 19
LOW_ORDER = [
    0,
    1,
    FIELD - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
]
"""Every point of an order of at most 8, on the curve or its twist, below the field's modulus."""


@pytest.mark.parametrize("pair", [ISSUER, LOGIN, STRANGER], ids=repr)
def test_a_key_has_one_spelling(pair: KeyPair) -> None:
    """Standard padded base64, there and back; the library spells it so, too."""
    text = key_text(pair.public)
    assert read_key(text) == pair.public
    assert text == str(bakerys(pair).public_key)
    assert len(text) == 44
    assert len(pair.public) == KEY_OCTETS


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
WITH_BOTH = next(
    text for number in itertools.count() if {"+", "/"} < set(text := key_text(KeyPair(as_key(number)).public))
)


@pytest.mark.parametrize(
    "text",
    [
        WITH_BOTH.rstrip("="),
        WITH_BOTH + "=",
        WITH_BOTH[:-1] + "A",
        "=" + WITH_BOTH[:-1],
        " " + WITH_BOTH,
        WITH_BOTH + "\n",
        WITH_BOTH[:20] + "\n" + WITH_BOTH[20:],
        WITH_BOTH[:20] + " " + WITH_BOTH[20:],
        WITH_BOTH.replace("+", "-").replace("/", "_"),
        WITH_BOTH.replace("+", "!"),
        WITH_BOTH[:-2] + ALPHABET[ALPHABET.index(WITH_BOTH[-2]) + 1] + "=",
        "A" * 4 + WITH_BOTH,
        "",
        read_key(WITH_BOTH).hex(),
        WITH_BOTH[:-3] + "é" + WITH_BOTH[-2:],
        WITH_BOTH.encode(),
        None,
        7,
    ],
)
def test_other_spellings_of_a_key(text: Any) -> None:
    """Without padding, with more, white space, the other alphabet, bits left over, other lengths, no text at all."""
    assert read_key(WITH_BOTH)
    with pytest.raises(ValueError, match="32 octets in standard base64"):
        read_key(text)


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
def test_keys_of_other_lengths(length: int) -> None:
    """Canonical base64 of too few or too many octets; a pair and a box want 32 of them as well."""
    octets = (b"\x09" + bytes(63))[:length]
    assert read_key(key_text(as_key(9)))
    with pytest.raises(ValueError, match="32 octets in standard base64"):
        read_key(key_text(octets))
    with pytest.raises(ValueError, match="32 octets, a number"):
        ISSUER.box(octets)
    with pytest.raises(ValueError, match="a private key has 32 octets"):
        KeyPair(octets)


@pytest.mark.parametrize("number", LOW_ORDER)
def test_keys_of_low_order(number: int) -> None:
    """With them every pair shares the same secret, which everybody knows."""
    assert read_key(key_text(as_key(9)))
    for refused in (lambda: read_key(key_text(as_key(number))), lambda: ISSUER.box(as_key(number))):
        with pytest.raises(ValueError, match="low order keeps no secret"):
            refused()


@pytest.mark.parametrize("number", [FIELD, FIELD + 1, FIELD + 9, 2**255 - 1, 2**255, 2**255 + 9, 2**256 - 1])
def test_second_spellings_of_a_point(number: int) -> None:
    """X25519 reduces them and drops the highest bit, so each would be another key's second name."""
    assert plain_key(as_key(FIELD - 2)) == as_key(FIELD - 2)
    assert plain_key(as_key(number)) == as_key(number % 2**255 % FIELD) != as_key(number)
    for of in (Channel.of_first_party, Channel.of_third_party):
        assert of(ISSUER, as_key(9))
        with pytest.raises(ValueError, match="below 2"):
            of(ISSUER, as_key(number))


def test_a_first_party_has_no_second_name() -> None:
    """Its key in an id with the highest bit set: the same secret is shared, and it is nobody's id."""
    alias = ISSUER.public[:-1] + bytes([ISSUER.public[-1] | 0x80])
    assert alias != ISSUER.public
    shared = [bytes(Box(PrivateKey(LOGIN.private()), PublicKey(key)).shared_key()) for key in (ISSUER.public, alias)]
    assert shared[0] == shared[1]
    with pytest.raises(ValueError, match="below 2"):
        Channel.of_third_party(LOGIN, alias)


def test_fresh_pairs_differ() -> None:
    """And each is the one that its private half makes."""
    pairs = [KeyPair.generate() for _ in range(50)]
    assert len({pair.public for pair in pairs}) == len({pair.private() for pair in pairs}) == 50
    assert [KeyPair(pair.private()).public for pair in pairs] == [pair.public for pair in pairs]


# What is shown.


SECRETS = {
    "key pair": LOGIN,
    "channel": OURS,
    "sealed": OURS.open(OURS.seal(ROOT_KEY, "is-known")),
    "caveat": ThirdPartyCaveat("https://login.example", ROOT_KEY, b"id"),
}


@pytest.mark.parametrize("value", SECRETS.values(), ids=SECRETS)
def test_nothing_that_holds_a_secret_is_copied_or_pickled(value: object) -> None:
    """By `copy` or `pickle`, in any of its protocols."""
    ways: list[Callable[[object], object]] = [copy.copy, copy.deepcopy]
    ways += [_pickled(number) for number in range(pickle.HIGHEST_PROTOCOL + 1)]
    for copied in ways:
        with pytest.raises(TypeError, match="neither copied nor pickled"):
            copied(value)


def _pickled(protocol: int) -> Callable[[object], object]:
    return lambda value: pickle.dumps(value, protocol)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (SECRETS["key pair"], f"<KeyPair {key_text(LOGIN.public)}>"),
        (SECRETS["channel"], f"<Channel {key_text(ISSUER.public)} to {key_text(LOGIN.public)}>"),
        (SECRETS["sealed"], "<Sealed b'is-known'>"),
        (SECRETS["caveat"], "<ThirdPartyCaveat https://login.example>"),
    ],
    ids=SECRETS,
)
def test_how_it_shows_itself(value: object, shown: str) -> None:
    """By what is public, in every way to make text of it; its attributes are not to be had by `vars`."""
    assert repr(value) == str(value) == f"{value}" == shown
    assert repr([value]) == f"[{shown}]"
    assert not hasattr(value, "__dict__")
