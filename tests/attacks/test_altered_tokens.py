"""Every way to alter a token or a bundle, its octets, its text and its caveats: the code that it gets.

What a reader of the format would say is worked out here a second time, by a reader of these tests' own. Locations are
outside the MAC: altered, they change nothing.
"""

from __future__ import annotations

import base64
import string
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, decode, encode

ALPHABET = string.ascii_letters + string.digits + "-_"
LOCATION, IDENTIFIER, VID, SIGNATURE, END = 1, 2, 4, 6, 0


class Read(NamedTuple):
    """A macaroon without its locations."""

    identifier: bytes
    caveats: tuple[tuple[bytes, bytes | None], ...]
    signature: bytes


class NotInFormatError(Exception):
    """It is not the one spelling of a macaroon."""


def read(text: str) -> Read:
    """Read a macaroon strictly; none of the product's code is used."""
    octets = iter(octets_of(text))
    if next(octets, None) != 2:
        raise NotInFormatError
    head = section(octets)
    if not {IDENTIFIER} <= head.keys() <= {LOCATION, IDENTIFIER}:
        raise NotInFormatError
    caveats = []
    while fields := section(octets):
        if IDENTIFIER not in fields or fields.get(VID) == b"" or (LOCATION in fields and VID not in fields):
            raise NotInFormatError
        caveats.append((fields[IDENTIFIER], fields.get(VID)))
    kind, signature = field(octets)
    if kind != SIGNATURE or len(signature) != 32 or next(octets, None) is not None:
        raise NotInFormatError
    return Read(head[IDENTIFIER], tuple(caveats), signature)


def octets_of(text: str) -> bytes:
    """Canonical unpadded base64url."""
    try:
        octets = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
    except ValueError:
        raise NotInFormatError from None
    if base64.urlsafe_b64encode(octets).rstrip(b"=") != text.encode():
        raise NotInFormatError
    return octets


def section(octets: Iterator[int]) -> dict[int, bytes]:
    """Fields in ascending order, each once, up to the end marker."""
    fields: dict[int, bytes] = {}
    while True:
        kind, content = field(octets)
        if kind == END:
            return fields
        if kind not in {LOCATION, IDENTIFIER, VID} or any(kind <= earlier for earlier in fields):
            raise NotInFormatError
        fields[kind] = content


def field(octets: Iterator[int]) -> tuple[int, bytes]:
    """A type, and, but for the end marker, a length in the shortest varint and as many octets."""
    kind = next(octets, None)
    if kind is None:
        raise NotInFormatError
    if kind == END:
        return END, b""
    length, shift = 0, 0
    for octet in octets:
        length |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            if octet == 0 and shift > 7:
                raise NotInFormatError
            break
    content = bytes(octet for _, octet in zip(range(length), octets, strict=False)) if length < 10_000 else b""
    if len(content) != length:
        raise NotInFormatError
    return kind, content


def expected(whole: str, altered: str) -> str:
    """The code for an altered bundle: by which of its macaroons still read, and as what."""
    try:
        found = [read(part) for part in altered.split("~")]
    except NotInFormatError:
        return "malformed"
    root, *discharges = [read(part) for part in whole.split("~")]
    if found[0] != root:
        return "invalid-token"
    for discharge, one in zip(discharges, found[1:], strict=True):
        if one.identifier != discharge.identifier:
            return "discharge-missing"
        if one != discharge:
            return "discharge-invalid"
    return "allowed"


def text_of(octets: bytes) -> str:
    """Unpadded base64url."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def whole_of(target: Any, kind: str) -> str:
    """The token, or the bundle."""
    return str(target.token if kind == "token" else target.bundle)


KINDS = pytest.mark.parametrize("kind", ["token", "bundle"])


def outcomes(target: Any, whole: str, altered: Iterator[str]) -> dict[str, int]:
    """Try every alteration; how many of them had which outcome, all as expected."""
    counts: dict[str, int] = {}
    for text in altered:
        outcome = target.outcome(text)
        assert outcome == expected(whole, text), text
        counts[outcome] = counts.get(outcome, 0) + 1
    assert target.outcome(whole) == expected(whole, whole) == "allowed"
    return counts


def parts(bundle: str) -> Iterator[tuple[str, bytes, str]]:
    """Each macaroon's octets, with the text before and after it."""
    texts = bundle.split("~")
    for index, text in enumerate(texts):
        before, after = "".join(one + "~" for one in texts[:index]), "".join("~" + one for one in texts[index + 1 :])
        yield before, octets_of(text), after


@KINDS
def test_every_bit_flipped(target: Any, kind: str) -> None:
    """Each bit of each octet; only in a location is it without effect."""
    whole = whole_of(target, kind)

    def flipped() -> Iterator[str]:
        for before, octets, after in parts(whole):
            for index in range(len(octets)):
                for bit in range(8):
                    damaged = bytearray(octets)
                    damaged[index] ^= 1 << bit
                    yield before + text_of(bytes(damaged)) + after

    counts = outcomes(target, whole, flipped())
    inert = sum(len(location) for location in locations(whole)) * 8
    assert counts.pop("allowed") == inert
    codes = {"malformed", "invalid-token"} | ({"discharge-missing", "discharge-invalid"} if kind == "bundle" else set())
    assert counts.keys() == codes
    assert min(counts.values()) > 20


def locations(bundle: str) -> Iterator[bytes]:
    """Every location in a bundle."""
    for text in bundle.split("~"):
        macaroon = decode(text)
        yield macaroon.location or b""
        yield from (caveat.location or b"" for caveat in macaroon.caveats)


@KINDS
def test_every_octet_replaced_by_every_extreme(target: Any, kind: str) -> None:
    """By 0, 1, 2, 4, 6, 0x7F, 0x80 and 0xFF: what the format itself is written in."""
    whole = whole_of(target, kind)

    def replaced() -> Iterator[str]:
        for before, octets, after in parts(whole):
            for index, old in enumerate(octets):
                for new in {0, 1, 2, 4, 6, 0x7F, 0x80, 0xFF} - {old}:
                    yield before + text_of(octets[:index] + bytes([new]) + octets[index + 1 :]) + after

    outcomes(target, whole, replaced())


@KINDS
def test_every_truncation(target: Any, kind: str) -> None:
    """Of octets and of text, at the end and at the beginning."""
    whole = whole_of(target, kind)

    def cut() -> Iterator[str]:
        for before, octets, after in parts(whole):
            for length in range(len(octets)):
                yield before + text_of(octets[:length]) + after
                yield before + text_of(octets[length + 1 :]) + after

    assert outcomes(target, whole, cut()).keys() == {"malformed"}
    for length in range(len(whole)):
        for text in (whole[:length], whole[length + 1 :]):
            if text == target.root:  # the bundle without its discharge
                assert target.outcome(text) == "discharge-missing"
            elif text != whole.partition("~")[2]:
                assert target.outcome(text) == "malformed", text


@KINDS
def test_every_octet_removed_or_doubled(target: Any, kind: str) -> None:
    """A shift by one anywhere; inside a location its length no longer fits."""
    whole = whole_of(target, kind)

    def shifted() -> Iterator[str]:
        for before, octets, after in parts(whole):
            for index in range(len(octets)):
                yield before + text_of(octets[:index] + octets[index + 1 :]) + after
                yield before + text_of(octets[: index + 1] + octets[index:]) + after

    outcomes(target, whole, shifted())


@KINDS
def test_every_character_of_the_text_replaced(target: Any, kind: str) -> None:
    """By every other character of the alphabet, and by some of none."""
    whole = whole_of(target, kind)
    step = 1 if kind == "token" else 5  # the bundle is longer, and its parts are spelled by one rule

    def replaced() -> Iterator[str]:
        for index, old in enumerate(whole):
            if old != "~":
                for new in ALPHABET[index % step :: step] + "+/=. \n\0é\u2003Ａ":
                    if new != old:
                        yield whole[:index] + new + whole[index + 1 :]

    outcomes(target, whole, replaced())


@KINDS
def test_every_insertion_into_the_text(target: Any, kind: str) -> None:
    """Of junk that lenient decoders drop, at every place: never accepted."""
    whole = whole_of(target, kind)
    for index in range(len(whole) + 1):
        for junk in ("=", " ", "\n", "\r\n", "\t", "+", "/", "!", "\0", "é", "\ufeff", "%3D", "~~"):
            assert target.outcome(whole[:index] + junk + whole[index:]) == "malformed", (index, junk)


@KINDS
@pytest.mark.parametrize(
    "alter",
    [
        lambda text: text + "=",
        lambda text: text + "==",
        lambda text: text + "A",
        lambda text: text + "~",
        lambda text: "~" + text,
        lambda text: "\ufeff" + text,
        lambda text: "Bearer " + text,
        lambda text: f'"{text}"',
        lambda text: text.swapcase(),
        lambda text: text.lower(),
        lambda text: text.replace("A", "Ａ", 1),
        lambda text: "".join(reversed(text)),
        lambda text: text[:-1] + chr(ord(text[-1]) + 0x100),
    ],
)
def test_other_spellings_of_the_whole(target: Any, kind: str, alter: Any) -> None:
    """Padding, prefixes, quotes, cases, look-alikes."""
    assert target.outcome(alter(whole_of(target, kind))) == "malformed"


def test_leftover_bits_of_the_last_character(target: Any) -> None:
    """The same octets, spelled otherwise: refused, so that a text is no second name of a token."""
    tried = 0
    for token in (target.token, *(target.mint(label=None, subject="a" * length) for length in range(1, 4))):
        octets = octets_of(token)
        for last in ALPHABET:
            text = token[:-1] + last
            if base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) == octets and text != token:
                tried += 1
                assert target.outcome(text) == "malformed"
    assert tried >= 3


# Caveats, under the signature that the token had.


def altered_caveats(macaroon: UnverifiedMacaroon) -> Iterator[tuple[str, tuple[RawCaveat, ...]]]:
    """Every caveat removed, doubled, swapped with every other; one inserted at every place; all gone."""
    caveats = macaroon.caveats
    count = len(caveats)
    for index in range(count):
        yield f"without {index}", caveats[:index] + caveats[index + 1 :]
        yield f"{index} twice", caveats[: index + 1] + caveats[index:]
        yield f"up to {index}", caveats[:index]
        yield f"from {index}", caveats[index + 1 :]
        for other in range(index + 1, count):
            swapped = list(caveats)
            swapped[index], swapped[other] = swapped[other], swapped[index]
            yield f"{index} and {other} swapped", tuple(swapped)
    for place in range(count + 1):
        for extra in (RawCaveat(b"action = read"), RawCaveat(b"time < 2099-12-31T23:59:59Z"), caveats[0]):
            yield f"{extra.cid!r} at {place}", (*caveats[:place], extra, *caveats[place:])


def test_every_caveat_removed_swapped_inserted(target: Any) -> None:
    """The signature is of exactly these caveats in exactly this order."""
    macaroon = decode(target.token)
    assert len(macaroon.caveats) == 4
    tried = 0
    for name, caveats in altered_caveats(macaroon):
        if caveats != macaroon.caveats:
            tried += 1
            assert target.outcome(encode(macaroon._replace(caveats=caveats))) == "invalid-token", name
    assert tried > 30


def test_a_caveat_widened_by_a_little(target: Any) -> None:
    """Each caveat's text replaced by a more generous one."""
    macaroon = decode(target.token)
    for index, text in enumerate(
        (b"time < 2099-11-22T13:00:00Z", b"sub = admin", b"action in delete,read,write", b"path under /")
    ):
        caveats = list(macaroon.caveats)
        assert caveats[index].cid != text
        caveats[index] = RawCaveat(text)
        assert target.outcome(encode(macaroon._replace(caveats=tuple(caveats)))) == "invalid-token"


def test_a_first_party_caveat_made_a_third_partys(target: Any) -> None:
    """And the other way round: the two are told apart under the MAC."""
    macaroon = decode(target.token)
    for index, caveat in enumerate(macaroon.caveats):
        for vid in (bytes(72), b"\0", caveat.cid):
            caveats = list(macaroon.caveats)
            caveats[index] = RawCaveat(caveat.cid, vid)
            assert target.outcome(encode(macaroon._replace(caveats=tuple(caveats)))) == "invalid-token"
    root = decode(target.root)
    third = root.caveats[-1]
    assert third.vid is not None
    for cid in (third.cid, third.vid, third.vid + third.cid, third.cid + third.vid):
        first = (*root.caveats[:-1], RawCaveat(cid))
        assert target.outcome(encode(root._replace(caveats=first))) == "invalid-token"


def test_a_part_moved_between_two_caveats(target: Any) -> None:
    """Framing: the same octets, cut elsewhere."""
    macaroon = decode(target.token)
    for index in range(3):
        first, second = macaroon.caveats[index].cid, macaroon.caveats[index + 1].cid
        for moved in ((first + second[:1], second[1:]), (first[:-1], first[-1:] + second), (first + second, b"")):
            caveats = list(macaroon.caveats)
            caveats[index : index + 2] = [RawCaveat(octets) for octets in moved]
            assert target.outcome(encode(macaroon._replace(caveats=tuple(caveats)))) == "invalid-token"


def test_splices_of_two_tokens(target: Any) -> None:
    """Every mixture of identifier, caveats and signature of two tokens that are both good."""
    one, two = decode(target.token), decode(target.mint(subject="bob"))
    assert target.outcome(encode(two)) == "allowed"
    wrong = 0
    for identifier in (one.identifier, two.identifier):
        for signature in (one.signature, two.signature):
            for head in range(len(one.caveats) + 1):
                for first, second in ((one, two), (two, one), (one, one), (two, two)):
                    caveats = first.caveats[:head] + second.caveats[head:]
                    mixed = one._replace(identifier=identifier, caveats=caveats, signature=signature)
                    genuine = any(mixed[1:] == source[1:] for source in (one, two))
                    outcome = target.outcome(encode(mixed))
                    assert outcome == ("allowed" if genuine else "invalid-token"), mixed
                    wrong += not genuine
    assert wrong > 50


def test_a_tail_under_another_tokens_signature(target: Any) -> None:
    """A signature fits the point of the chain that it was made at, and no other."""
    short = target.token
    macaroon = decode(short)
    long = decode(narrowed(short))
    assert target.outcome(encode(long)) == "allowed"
    assert target.outcome(encode(macaroon._replace(caveats=long.caveats))) == "invalid-token"
    assert target.outcome(encode(long._replace(caveats=macaroon.caveats))) == "invalid-token"
    assert target.outcome(encode(long._replace(signature=macaroon.signature))) == "invalid-token"


def narrowed(token: str) -> str:
    """The token with one more caveat, by pymacaroons."""
    from pymacaroons import Macaroon

    macaroon = Macaroon.deserialize(token)
    macaroon.add_first_party_caveat("action = read")
    return str(macaroon.serialize())


@pytest.mark.parametrize("location", [None, b"", b"https://evil.example", b"\xff\0", b"x" * 1000])
def test_a_location_is_without_effect(target: Any, location: bytes | None) -> None:
    """It is a hint, read in no decision, in whatever spelling."""
    assert target.outcome(encode(decode(target.token)._replace(location=location))) == "allowed"


def test_discharges_of_other_bundles(target: Any) -> None:
    """Repeated, missing, another bundle's, this one's for another root, in the root's place."""
    root, discharge = target.bundle.split("~")
    assert target.outcome(root) == "discharge-missing"
    assert target.outcome(f"{root}~{discharge}~{discharge}") == "discharge-unused"
    assert target.outcome(f"{target.token}~{discharge}") == "discharge-unused"
    assert target.outcome(f"{root}~{root}") == "discharge-missing"
    assert target.outcome(f"{discharge}~{root}") == "invalid-token"
    assert target.outcome(f"{narrowed(root)}~{discharge}") == "discharge-invalid"


def test_every_caveat_of_a_discharge_altered(target: Any) -> None:
    """As for a root, with step 4's code."""
    root, text = target.bundle.split("~")
    discharge = decode(text)
    for name, caveats in altered_caveats(discharge):
        if caveats != discharge.caveats:
            outcome = target.outcome(f"{root}~{encode(discharge._replace(caveats=caveats))}")
            assert outcome == "discharge-invalid", name
