"""Every vector of four other projects' suites (tests/vectors/README.md), through our decoder, chain and matching.

What a strict reader accepts must agree in octets, signature and verdict. What only a lax reader accepts is listed in
LAX_SPELLING or LAX_OTHERWISE, each with its reason, and must be refused.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from nacl.secret import SecretBox

from capsvc.errors import Denied, TokenError
from capsvc.macaroon import chain, discharges
from capsvc.macaroon.build import mint
from capsvc.macaroon.bundle import split
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, decode, decode_binary, encode, encode_binary
from capsvc.macaroon.encoding import b64decode, b64encode, read_uvarint, uvarint
from capsvc.macaroon.formats import packet, read_any, read_packet, read_v1, read_v2json, to_v1, to_v2json

Vector = dict[str, Any]

PROJECTS = ("go-macaroon", "libmacaroons", "macaroon-rs", "pymacaroons")
HERE = Path(__file__).parents[1] / "vectors"
VECTORS: list[tuple[str, Vector]] = [
    (project, vector) for project in PROJECTS for vector in json.loads((HERE / f"{project}.json").read_text())
]

PADDED = "padded base64"
STANDARD = "the standard base64 alphabet"
BOTH = "padded base64 of the standard alphabet"
FOLDED = "padded base64 of the standard alphabet in several lines"

LAX_SPELLING: dict[tuple[str, int], str] = {
    ("go-macaroon", 24): "JSON with " + BOTH,
    ("go-macaroon", 27): STANDARD,
    ("go-macaroon", 41): BOTH,
    ("go-macaroon", 42): PADDED,
    ("go-macaroon", 43): STANDARD,
    ("libmacaroons", 16): PADDED,
    ("libmacaroons", 17): PADDED,
    ("libmacaroons", 18): PADDED,
    ("libmacaroons", 21): BOTH,
    ("libmacaroons", 22): PADDED,
    ("libmacaroons", 23): STANDARD,
    ("libmacaroons", 49): FOLDED,
    ("libmacaroons", 50): FOLDED,
    ("macaroon-rs", 3): BOTH,
    ("macaroon-rs", 4): PADDED,
    ("macaroon-rs", 5): STANDARD,
    ("macaroon-rs", 24): PADDED,
    ("macaroon-rs", 28): PADDED,
    ("pymacaroons", 6): PADDED,
    ("pymacaroons", 27): STANDARD,
    ("pymacaroons", 29): STANDARD,
}
"""Refused as it is spelled; read when it is spelled strictly."""

LAX_OTHERWISE: dict[tuple[str, int], str] = {
    ("go-macaroon", 67): "a field of a type that the format does not have; only Go's section parser takes it",
    ("libmacaroons", 71): "a discharge that answers no caveat; we follow Go, which refuses the bundle",
    ("pymacaroons", 15): "null for an absent field, and a signature that is not 32 octets",
}
"""Refused, however it is spelled."""


def canonical(text: str) -> str:
    """The text in its one strict spelling: unpadded URL-safe base64, in JSON's base64 fields too, and no line feeds."""
    if text.startswith("{"):
        return json.dumps(respelled(json.loads(text)))
    return text.replace("\n", "").rstrip("=").translate(str.maketrans("+/", "-_"))


def respelled(value: object) -> object:
    """A JSON value with its base64 fields in their strict spelling."""
    if isinstance(value, list):
        return [respelled(item) for item in value]
    if isinstance(value, dict):
        return {name: canonical(item) if name.endswith("64") else respelled(item) for name, item in value.items()}
    return value


# --- from a vector to our values


def octets(fields: Vector, name: str, default: bytes | None = None) -> bytes | None:
    """A field that is text, or hexadecimal under its other name."""
    if f"{name}_hex" in fields:
        return bytes.fromhex(fields[f"{name}_hex"])
    return fields[name].encode() if name in fields else default


def key_of(fields: Vector) -> bytes:
    """The key of a vector's chain."""
    root_key = bytes.fromhex(fields["root_key"])
    return root_key if fields.get("key_derivation", "").startswith("none") else chain.derive_key(root_key)


def made(fields: Vector, key: bytes) -> UnverifiedMacaroon:
    """The macaroon of the vector's contents, signed by our chain; vids are made anew where the inputs are there."""
    macaroon = UnverifiedMacaroon(octets(fields, "location"), octets(fields, "identifier", b"") or b"", (), b"")
    macs = chain.compute(key, macaroon)
    caveats: list[RawCaveat] = []
    for entry in fields.get("caveats", []):
        vid = bytes.fromhex(entry["vid"]) if entry.get("vid") else None
        secret = entry.get("caveat_root_key", entry.get("root_key"))
        if secret is not None:
            nonce = bytes.fromhex(entry["nonce"])
            fresh = bytes(SecretBox(macs[-1]).encrypt(derive_any(bytes.fromhex(secret)), nonce))
            assert vid in (None, fresh)
            vid = fresh
        location = entry["cl"].encode() if vid is not None and "cl" in entry else None
        caveat = RawCaveat(octets(entry, "cid") or b"", vid, location)
        caveats.append(caveat)
        macs.append(chain.extend(macs[-1], caveat))
    return macaroon._replace(caveats=tuple(caveats), signature=macs[-1])


def derive_any(root_key: bytes) -> bytes:
    """As `derive_key`, and for the empty key too, which ours refuses but a foreign discharger may have used."""
    return chain.derive_key(root_key) if root_key else chain._hmac(b"macaroons-key-generator", root_key)


def same_but_locations(left: UnverifiedMacaroon, right: UnverifiedMacaroon) -> bool:
    """Whether two macaroons are one, but that "no location" may be absent or empty."""
    return without_empty_locations(left) == without_empty_locations(right)


def without_empty_locations(macaroon: UnverifiedMacaroon) -> UnverifiedMacaroon:
    """The macaroon with empty locations left out."""
    caveats = tuple(caveat._replace(location=caveat.location or None) for caveat in macaroon.caveats)
    return macaroon._replace(location=macaroon.location or None, caveats=caveats)


def texts_of(serialized: Vector) -> Iterator[str]:
    """Every text of a serialized macaroon that is in one of our formats."""
    for name in ("v1", "v2", "v2j_text", "text"):
        if name in serialized:
            yield serialized[name]
    if "v2j" in serialized:
        yield json.dumps(serialized["v2j"])
    if "text_hex" in serialized:
        yield bytes.fromhex(serialized["text_hex"]).decode("latin-1")


def read_all(project: str, vector: Vector, serialized: Vector) -> list[UnverifiedMacaroon]:
    """The macaroon in every format that it is given in. A lax spelling is refused, and read in its strict one."""
    macaroons = []
    for text in texts_of(serialized):
        strict = text if "v2j_text" in serialized and text == serialized["v2j_text"] else canonical(text)
        if strict != text:
            assert (project, vector["n"]) in LAX_SPELLING
            assert refusal(read_any, text) == "malformed"
        if (project, vector["n"]) in LAX_OTHERWISE and vector["kind"] == "deserialize":
            assert refusal(read_any, strict) == "malformed"
        else:
            (macaroon,) = read_any(strict)
            macaroons.append(macaroon)
    return macaroons


def refusal(step: Callable[..., object], *arguments: object) -> str | None:
    """The code with which a step refuses, or None if it does not."""
    try:
        step(*arguments)
    except TokenError as error:
        return error.code
    return None


# --- one check for each kind of vector


def check_contents(project: str, vector: Vector) -> None:
    """The vector's contents give its signature, and every serialized form gives its contents, and the reverse."""
    signature = bytes.fromhex(vector["signature"])
    if "root_key" in vector:
        macaroon = made(vector, key_of(vector))
        assert macaroon.signature == signature
        assert chain.verify(macaroon, key_of(vector))
        assert chain.verify(macaroon, bytes(32)) is None
    else:
        macaroon = made(vector, bytes(32))._replace(signature=signature)
    check_formats(project, vector, macaroon)


def check_formats(project: str, vector: Vector, macaroon: UnverifiedMacaroon) -> None:
    """Every serialized form is read as the macaroon, and written by us as it stands there."""
    serialized = vector.get("serialized", {})
    for read in read_all(project, vector, serialized):
        assert same_but_locations(read, macaroon)
    if "v1" in serialized:
        assert to_v1(macaroon) == canonical(serialized["v1"])
    if "v2" in serialized:
        (read,) = split(canonical(serialized["v2"]))
        assert encode(read) == canonical(serialized["v2"])
    if "v2j_text" in serialized and vector["kind"] == "serialize":
        assert to_v2json(macaroon) == serialized["v2j_text"]
    if "expect_json" in vector:
        assert vector["expect_json"].items() <= json.loads(to_v2json(macaroon)).items()
    if "v1j" in serialized:  # V1 JSON is no format of ours; its contents are checked
        assert serialized["v1j"]["signature"] == macaroon.signature.hex()


def check_verdict(project: str, vector: Vector) -> None:
    """The vector's macaroon and discharges get its verdict, in every format."""
    verdict = vector["verify"]
    if "signature" in vector:
        check_formats(project, vector, made_unsigned(vector))
    if "wrapped" in vector and vector["wrapped"] != vector["serialized"].get("v2"):
        assert refusal(read_any, vector["wrapped"]) == "malformed"  # base64 of base64
    roots = read_all(project, vector, vector["serialized"])
    if "v1j" in vector["serialized"]:
        roots.append(made_unsigned(vector))
    assert roots
    for root in roots:
        given = [discharge_of(discharge) for discharge in verdict["discharges"]]
        assert allowed(vector, root, given, verdict["satisfied"]) is (verdict["expect"] == "ok")


def made_unsigned(vector: Vector) -> UnverifiedMacaroon:
    """The vector's contents with the signature that it gives."""
    caveats = [{**entry, "caveat_root_key": None} for entry in vector["caveats"]]
    return made({**vector, "caveats": caveats}, bytes(32))._replace(signature=bytes.fromhex(vector["signature"]))


def discharge_of(serialized: Vector) -> UnverifiedMacaroon:
    """A discharge, the same in every format that it is given in."""
    if "v1j" in serialized:
        fields = serialized["v1j"]
        signature = bytes.fromhex(fields["signature"])
        return UnverifiedMacaroon(fields["location"].encode(), fields["identifier"].encode(), (), signature)
    read = [read_any(canonical(text))[0] for text in texts_of(serialized)]
    assert all(same_but_locations(other, read[0]) for other in read)
    assert read[0].signature.hex() == serialized["signature"]
    return read[0]


def allowed(vector: Vector, root: UnverifiedMacaroon, given: list[UnverifiedMacaroon], satisfied: list[str]) -> bool:
    """What the decision's steps on chain, discharges and caveats come to."""
    try:
        key = key_of(vector)
    except ValueError:  # an empty root key
        return False
    verified = chain.verify(root, key)
    if verified is None:
        return False
    try:
        answered = discharges.match(verified, given)
    except Denied:
        return False
    first_party = [caveat.cid for one in (verified, *answered) for caveat in one.macaroon.caveats if caveat.vid is None]
    return {cid.decode() for cid in first_party} <= set(satisfied)


def check_table(project: str, vector: Vector) -> None:
    """The upstream table's macaroons, built by our chain and bound by our bind, are the serialized ones."""
    tag = re.sub(r"\W+", "-", vector["name"])
    for i, entry in enumerate(vector["build"]):
        for j, caveat in enumerate(entry["caveats"]):
            if "nonce" in caveat:
                assert caveat["nonce"] == sha256(f"{tag}:{i}:{j}".encode()).digest()[:24].hex()
    built = [made(entry, derive_any(bytes.fromhex(entry["root_key"]))) for entry in vector["build"]]
    root, *given = built
    if vector["bind"] == "root":
        given = [one._replace(signature=chain.bind(root.signature, one.signature)) for one in given]
    for read in read_all(project, vector, vector["serialized"]):
        assert same_but_locations(read, root)
    for ours, theirs in zip(given, vector["verify"]["discharges"], strict=True):
        assert same_but_locations(ours, discharge_of(theirs))
    expected = vector["verify"]["expect"] == "ok" and (project, vector["n"]) not in LAX_OTHERWISE
    assert allowed(vector, root, given, vector["verify"]["satisfied"]) is expected


def check_malformed(_project: str, vector: Vector) -> None:
    """Nothing of a malformed vector is read, as text or as octets."""
    serialized = vector["serialized"]
    texts = [*texts_of(serialized)]
    if "raw_hex" in serialized:
        raw = bytes.fromhex(serialized["raw_hex"])
        assert refusal(decode_binary, raw) == "malformed"
        texts += [b64encode(raw), raw.decode("latin-1")]
    assert texts
    for text in texts:
        assert refusal(read_any, text) == "malformed"
        assert refusal(decode, text) == "malformed"
        if text.isascii():
            assert refusal(read_any, text if text.strip().startswith("{") else canonical(text)) == "malformed"


def check_bind(_project: str, vector: Vector) -> None:
    """Binding gives the vector's signature."""
    root, discharge = bytes.fromhex(vector["root_signature"]), bytes.fromhex(vector["discharge_signature"])
    assert chain.bind(root, discharge).hex() == vector["bound_signature"]


def check_base64(project: str, vector: Vector) -> None:
    """The canonical spelling is read; every other one is refused. The octets of all are written canonically."""
    text = vector["input"]
    if text == "":  # Go reads it as no octets, Rust refuses it; as a token it is refused
        assert b64decode(text) == b""
        assert refusal(read_any, text) == "malformed"
    elif vector["expect"] == "reject":
        assert refusal(b64decode, text) == "malformed"
    else:
        assert refusal(b64decode, text) == ("malformed" if (project, vector["n"]) in LAX_SPELLING else None)
        assert b64decode(canonical(text)).hex() == vector["expect_hex"]
        assert b64encode(bytes.fromhex(vector["expect_hex"])) == canonical(text)


def check_varint(_project: str, vector: Vector) -> None:
    """The number has this spelling."""
    encoded = bytes.fromhex(vector["encoded"])
    assert uvarint(vector["value"]) == encoded
    assert read_uvarint(encoded, 0) == (vector["value"], len(encoded))


def check_packet_v1(_project: str, vector: Vector) -> None:
    """A V1 packet is read, or refused."""
    if "data_gen" in vector:
        shape = vector["data_gen"]
        data = f"{shape['prefix']}{shape['fill'] * shape['count']}{shape['suffix']}".encode()
    else:
        data = bytes.fromhex(vector["data_hex"])
    if vector["expect"] == "reject":
        assert refusal(read_packet, data, 0) == "malformed"
        return
    name, value, end = read_packet(data, 0)
    assert (name.decode(), end) == (vector["field"], vector["total_len"])
    assert "value_hex" not in vector or value.hex() == vector["value_hex"]
    assert packet(name, value) == data


def check_packet_v1_encode(_project: str, vector: Vector) -> None:
    """A V1 packet is written, or is too large."""
    value = bytes(vector["value_gen"]["count"]) if "value_gen" in vector else bytes.fromhex(vector["value_hex"])
    if vector["expect"] == "reject":
        assert refusal(packet, vector["field"].encode(), value) == "too-large"
    else:
        assert packet(vector["field"].encode(), value).hex() == vector["expect_hex"]


def check_v1_hex_digits(_project: str, vector: Vector) -> None:
    """A V1 packet's length is in these digits alone, at each of the four places."""
    for place in range(4):
        for octet in range(256):
            digits = bytearray(b"0008")
            digits[place] = octet
            length = int(digits, 16) if chr(octet) in vector["accept"] else 8
            data = bytes(digits) + b"a " + b"x" * max(length - 7, 1) + b"\n"
            expected = None if chr(octet) in vector["accept"] and length >= 8 else "malformed"
            assert refusal(read_packet, data, 0) == expected


TAIL = b"\x00\x06\x20" + bytes(32)


def check_packet_v2(_project: str, vector: Vector) -> None:
    """A V2 packet is read, or refused, where a macaroon and where a caveat has its identifier."""
    data = bytes.fromhex(vector["data_hex"])
    places = (b"\x02" + data + b"\x00" + TAIL, b"\x02\x02\x01a\x00" + data + b"\x00" + TAIL)
    if vector["expect"] == "reject":
        assert [refusal(decode_binary, place) for place in places] == ["malformed"] * 2
        assert refusal(decode_binary, b"\x02" + data) == "malformed"
    elif vector["field_type"] == 0:  # the end of a section
        assert decode_binary(b"\x02\x02\x01a" + data + TAIL).identifier == b"a"
    else:
        value = bytes.fromhex(vector["value_hex"])
        assert decode_binary(places[0]).identifier == value
        assert decode_binary(places[1]).caveats == (RawCaveat(value),)


def check_section_v2(project: str, vector: Vector) -> None:
    """A V2 section is read, or refused, as a macaroon's and as a caveat's."""
    data = bytes.fromhex(vector["data_hex"])
    places = (b"\x02" + data + TAIL, b"\x02\x02\x01a\x00" + data + TAIL)
    if vector["expect"] == "reject" or (project, vector["n"]) in LAX_OTHERWISE:
        assert [refusal(decode_binary, place) for place in places] == ["malformed"] * 2
    elif vector["packets"]:
        value = bytes.fromhex(vector["packets"][0]["value_hex"])
        assert decode_binary(places[0]).identifier == value
        assert decode_binary(places[1]).caveats == (RawCaveat(value),)
    else:  # the empty section that ends the caveats
        assert decode_binary(b"\x02\x02\x01a\x00" + data + TAIL[1:]).caveats == ()


def check_json_field(project: str, vector: Vector) -> None:
    """A caveat's id in V2 JSON is read in its strict spellings."""
    text = json.dumps({"i": "id", "c": [vector["input"]], "s64": "A" * 43})
    if vector.get("expect") == "reject":
        assert refusal(read_any, text) == "malformed"
    else:
        assert refusal(read_any, text) == ("malformed" if (project, vector["n"]) in LAX_SPELLING else None)
        assert read_v2json(canonical(text)).caveats == (RawCaveat(bytes.fromhex(vector["expect_hex"])),)


def check_json_field_choice(_project: str, vector: Vector) -> None:
    """We write an identifier as text or as base64 where Go does."""
    macaroon = made(vector, key_of(vector))
    assert macaroon.signature.hex() == vector["signature"]
    fields = json.loads(to_v2json(macaroon))
    assert [name for name in fields if name.startswith("i")] == [vector["expect_field"]]
    assert read_any(to_v2json(macaroon)) == (macaroon,)


def check_equal(_project: str, vector: Vector) -> None:
    """Two macaroons are one if all of their octets are."""
    left, right = (
        made(vector[name], chain.derive_key(bytes.fromhex(vector[name]["root_key"]))) for name in ("m1", "m2")
    )
    assert (left == right) is (encode(left) == encode(right)) is vector["expect"]


def check_location_unsigned(_project: str, _vector: Vector) -> None:
    """Another location does not change the signature."""
    key = chain.derive_key(b"secret")
    macaroon = made({"identifier": "id", "location": "here", "caveats": [{"cid": "a"}]}, key)
    assert chain.verify(macaroon._replace(location=b"elsewhere"), key)
    assert chain.verify(macaroon._replace(location=None), key)


def check_vid_length(_project: str, vector: Vector) -> None:
    """No vid of these lengths opens; the right one in its place does."""
    key = chain.derive_key(b"secret")
    fields = {"identifier": "id", "caveats": [{"cid": "tp", "root_key": b"k".hex(), "nonce": bytes(24).hex()}]}
    genuine = made(fields, key)
    discharge = made({"identifier": "tp"}, chain.derive_key(b"k"))
    for length in [None, *vector["lengths"], 40, 71, 73]:
        caveat = genuine.caveats[0] if length is None else RawCaveat(b"tp", bytes(length))
        root = genuine._replace(caveats=(caveat,), signature=chain.extend(chain.compute(key, genuine)[0], caveat))
        if length == 0:
            assert refusal(decode_binary, encode_binary(root)) == "malformed"
            continue
        verified = chain.verify(root, key)
        assert verified is not None
        bound = discharge._replace(signature=chain.bind(root.signature, discharge.signature))
        if length is None:
            assert len(discharges.match(verified, [bound])) == 1
        else:
            with pytest.raises(Denied) as denied:
                discharges.match(verified, [bound])
            assert denied.value.code == "discharge-invalid"


def check_slice(_project: str, vector: Vector) -> None:
    """Macaroons back to back are none; each alone is one."""
    for name in ("v1", "v2"):
        assert refusal(read_any, vector["serialized"][name]) == "malformed"
    for part in vector["parts"]:
        forms = [read_any(text) for text in texts_of(part)]
        assert forms[0] == forms[1] == forms[2]


def check_size_limit(_project: str, vector: Vector) -> None:
    """The format takes (or not) such a caveat; a token with it is past our bounds."""
    shape = vector["cav_gen"]
    macaroon = made({**vector, "caveats": [{"cid": shape["fill"] * shape["count"]}]}, key_of(vector))
    if vector["expect"] == "reject":
        assert refusal(to_v1, macaroon) == "too-large"
    elif vector["format"] == "v1":
        text = to_v1(macaroon)
        assert same_but_locations(read_v1(text), macaroon)
        assert refusal(read_any, text) == "too-large"
    else:
        assert decode_binary(encode_binary(macaroon)) == macaroon
        assert refusal(split, encode(macaroon)) == "too-large"


def check_create_reject(_project: str, vector: Vector) -> None:
    """We make no root without an identifier; with one we do."""
    assert vector["identifier"] == ""
    assert mint(b"k" * 32, vector["location"], b"id", [])
    with pytest.raises(ValueError, match="identifier"):
        mint(b"k" * 32, vector["location"], b"", [])


CHECKS: dict[str, Callable[[str, Vector], None]] = {
    "base64": check_base64,
    "bind": check_bind,
    "create_reject": check_create_reject,
    "deserialize": check_contents,
    "equal": check_equal,
    "json_field": check_json_field,
    "json_field_choice": check_json_field_choice,
    "malformed": check_malformed,
    "packet_v1": check_packet_v1,
    "packet_v1_encode": check_packet_v1_encode,
    "packet_v2": check_packet_v2,
    "property": check_location_unsigned,
    "roundtrip": check_contents,
    "section_v2": check_section_v2,
    "serialize": check_contents,
    "signature": check_contents,
    "size_limit": check_size_limit,
    "slice": check_slice,
    "v1_hex_digits": check_v1_hex_digits,
    "varint": check_varint,
    "verify": check_verdict,
    "verify_table": check_table,
    "vid": check_vid_length,
}


@pytest.mark.parametrize(("project", "vector"), VECTORS, ids=[f"{p}-{v['n']}-{v['kind']}" for p, v in VECTORS])
def test_vector(project: str, vector: Vector) -> None:
    """A strict reader's agreement with one vector."""
    CHECKS[vector["kind"]](project, vector)


def test_no_vector_is_left_unused() -> None:
    """Every kind has its check, every vector runs, and what is listed as lax is there."""
    assert {vector["kind"] for _, vector in VECTORS} == CHECKS.keys()
    assert Counter(project for project, _ in VECTORS) == {
        "go-macaroon": 86,
        "libmacaroons": 72,
        "macaroon-rs": 55,
        "pymacaroons": 32,
    }
    assert LAX_SPELLING.keys() | LAX_OTHERWISE.keys() <= {(project, vector["n"]) for project, vector in VECTORS}
    for project, vector in VECTORS:
        texts = [*texts_of(vector.get("serialized", {})), vector.get("input", "")]
        lax = any(text != canonical(text) for text in map(spelling, texts) if text)
        assert (project, vector["n"]) not in LAX_SPELLING or lax


def spelling(text: object) -> str:
    """What of a vector's input is spelled: a text as it is, an object as JSON."""
    return text if isinstance(text, str) else json.dumps(text)
