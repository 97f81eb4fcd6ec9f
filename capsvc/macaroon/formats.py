"""The other two formats of libmacaroons, V1 and V2 JSON, for clients and the command line. The service reads V2 alone.

They are read as strictly as V2: what carries no meaning has one spelling, but for the order and white space of JSON.

V1 is a run of packets: four lower-case hexadecimal digits (the packet's length, these four among it), a name, a space,
octets, a line feed::

    location identifier (cid [vid [cl]])* signature

V2 JSON is an object with ``v`` (2, or absent), ``l`` (location), ``i`` (identifier), ``c`` (caveats with ``i``, ``v``
and ``l``; absent if there are none) and ``s`` (signature). Any of ``l i v s`` may be base64 instead, under its name
with ``64`` after it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from capsvc.macaroon.bundle import MAX_BODY_OCTETS, MAX_TOKEN_OCTETS, check_caveats, split, too_large
from capsvc.macaroon.decode import SIGNATURE_OCTETS, RawCaveat, UnverifiedMacaroon, encode
from capsvc.macaroon.encoding import b64decode, b64encode, malformed

__all__ = ["packet", "read_any", "read_packet", "read_v1", "read_v2json", "read_v2json_list", "to_v1", "to_v2json"]

_V1_DIGITS: Final = b"0123456789abcdef"
_V1_STARTS: Final = ("M", "N", "O", "Y", "Z")  # base64 of an octet that is one of those digits
_V1_MAX_PACKET_OCTETS: Final = 0xFFFF


def read_any(text: str) -> tuple[UnverifiedMacaroon, ...]:
    """A token in any of the three formats, or a bundle (root first), within every published bound.

    The format goes by the first character: ``{`` is V2 JSON; V1 and V2 are told apart by the first octet.

    Raises:
        TokenError: ``too-large`` or ``malformed``.

    """
    if not text.startswith(("{", *_V1_STARTS)):
        return split(text)
    if len(text) > MAX_BODY_OCTETS:
        raise too_large(f"a token in another format than V2 has at most {MAX_BODY_OCTETS} octets")
    macaroon = read_v2json(text) if text.startswith("{") else read_v1(text)
    check_caveats(macaroon)
    if len(encode(macaroon)) > MAX_TOKEN_OCTETS:
        raise too_large(f"a token has at most {MAX_TOKEN_OCTETS} octets as V2")
    return (macaroon,)


def read_v1(text: str) -> UnverifiedMacaroon:
    """A macaroon from V1 in base64.

    Raises:
        TokenError: ``malformed``.

    """
    octets = b64decode(text)
    packets: list[tuple[bytes, bytes]] = []
    at = 0
    while at < len(octets):
        name, value, at = read_packet(octets, at)
        packets.append((name, value))
    names = [name for name, _ in packets]
    if names[:2] != [b"location", b"identifier"] or names[-1] != b"signature":
        raise malformed("a V1 macaroon is location, identifier, caveats, signature")
    caveats: list[RawCaveat] = []
    for name, value in packets[2:-1]:
        _add_v1(caveats, name, value)
    return UnverifiedMacaroon(packets[0][1], packets[1][1], tuple(caveats), _signature(packets[-1][1]))


def _add_v1(caveats: list[RawCaveat], name: bytes, value: bytes) -> None:
    """Take one packet between identifier and signature: a cid begins a caveat, vid and cl belong to the one before."""
    last = caveats[-1] if caveats else None
    if name == b"cid":
        caveats.append(RawCaveat(value))
    elif name == b"vid" and value and last is not None and last.vid is None:
        caveats[-1] = last._replace(vid=value)
    elif name == b"cl" and last is not None and last.vid is not None and last.location is None:
        caveats[-1] = last._replace(location=value)
    else:
        raise malformed("a V1 packet that is unknown, out of order, empty or there twice")


def read_packet(octets: bytes, at: int) -> tuple[bytes, bytes, int]:
    """The name and value of the V1 packet at ``at``, and where it ends.

    Raises:
        TokenError: ``malformed``.

    """
    digits = octets[at : at + 4]
    if len(digits) != 4 or digits.strip(_V1_DIGITS):
        raise malformed("a V1 packet begins with its length in four hexadecimal digits")
    end = at + int(digits, 16)
    name, _, value = octets[at + 4 : end].partition(b" ")
    if end > len(octets) or not value.endswith(b"\n"):
        raise malformed("a V1 packet is a name, a space, octets and a line feed, of the length that it says")
    return name, value[:-1], end


def packet(name: bytes, value: bytes) -> bytes:
    """The octets of one V1 packet.

    Raises:
        TokenError: ``too-large`` for more than four hexadecimal digits can say.

    """
    length = 4 + len(name) + 1 + len(value) + 1
    if length > _V1_MAX_PACKET_OCTETS:
        raise too_large(f"a V1 packet has at most {_V1_MAX_PACKET_OCTETS} octets")
    return b"%04x%s %s\n" % (length, name, value)


def to_v1(macaroon: UnverifiedMacaroon) -> str:
    """A macaroon as V1 in base64. V1 has no way to say that there is no location, but an empty one.

    Raises:
        TokenError: ``too-large`` if a field is too long for V1.

    """
    packets = [packet(b"location", macaroon.location or b""), packet(b"identifier", macaroon.identifier)]
    for caveat in macaroon.caveats:
        packets.append(packet(b"cid", caveat.cid))
        if caveat.vid is not None:
            packets += [packet(b"vid", caveat.vid), packet(b"cl", caveat.location or b"")]
    return b64encode(b"".join([*packets, packet(b"signature", macaroon.signature)]))


def read_v2json(text: str) -> UnverifiedMacaroon:
    """A macaroon from V2 JSON.

    Raises:
        TokenError: ``malformed``.

    """
    return _from_json(_load(text))


def read_v2json_list(text: str) -> tuple[UnverifiedMacaroon, ...]:
    """The macaroons of a JSON list of V2 JSON, one at least: a root and its discharges, as bakery's clients send them.

    Raises:
        TokenError: ``malformed``.

    """
    values = _load(text)
    if not isinstance(values, list) or not values:
        raise malformed("not a list of V2 JSON")
    return tuple([_from_json(value) for value in values])


def _from_json(value: object) -> UnverifiedMacaroon:
    fields = _object(value, {"v", "c"}, "lis")
    version = fields.get("v", 2)
    if type(version) is not int or version != 2:
        raise malformed("the version of V2 JSON is 2")
    caveats = fields.get("c", [])
    if not isinstance(caveats, list):
        raise malformed("the caveats of V2 JSON are a list")
    return UnverifiedMacaroon(
        _octets(fields, "l"),
        _needed(fields, "i"),
        tuple([_json_caveat(caveat) for caveat in caveats]),
        _signature(_needed(fields, "s")),
    )


def _json_caveat(value: object) -> RawCaveat:
    fields = _object(value, set(), "liv")
    caveat = RawCaveat(_needed(fields, "i"), _octets(fields, "v"), _octets(fields, "l"))
    if caveat.vid == b"" or (caveat.vid is None and caveat.location is not None):
        raise malformed("an empty vid, or a location on a first-party caveat")
    return caveat


def _load(text: str) -> object:
    try:
        value: object = json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise malformed("not a JSON object with each field once") from None
    return value


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is there twice")
    return fields


def _object(value: object, plain: set[str], binary: str) -> Mapping[str, object]:
    """A JSON object with no other fields than ``plain`` and, as text or base64, those of ``binary``."""
    allowed = plain | set(binary) | {f"{name}64" for name in binary}
    if not isinstance(value, dict) or not value.keys() <= allowed:
        raise malformed("V2 JSON has an unknown field, or is no object where one belongs")
    return value


def _octets(fields: Mapping[str, object], name: str) -> bytes | None:
    """A field that is text, or base64 under its other name, but not both."""
    found = [(key, fields[key]) for key in (name, f"{name}64") if key in fields]
    if not found:
        return None
    key, value = found[0]
    if len(found) > 1 or not isinstance(value, str):
        raise malformed("a field of V2 JSON is text, once")
    if key != name:
        return b64decode(value)
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise malformed("a lone surrogate is no text") from None


def _needed(fields: Mapping[str, object], name: str) -> bytes:
    octets = _octets(fields, name)
    if octets is None:
        raise malformed("V2 JSON lacks an identifier or the signature")
    return octets


def _signature(octets: bytes) -> bytes:
    if len(octets) != SIGNATURE_OCTETS:
        raise malformed(f"a signature has {SIGNATURE_OCTETS} octets")
    return octets


def to_v2json(macaroon: UnverifiedMacaroon) -> str:
    """A macaroon as V2 JSON, in ASCII, its fields in libmacaroons' order."""
    caveats = [
        _field("i", caveat.cid) | _field("l", caveat.location) | _field("v", caveat.vid) for caveat in macaroon.caveats
    ]
    fields = {"v": 2, **_field("l", macaroon.location), **_field("i", macaroon.identifier), "c": caveats}
    fields["s64"] = b64encode(macaroon.signature)
    return json.dumps(fields, separators=(",", ":"))


def _field(name: str, octets: bytes | None) -> dict[str, str]:
    """A field as text or, if that cannot be or would be longer, as base64."""
    if octets is None:
        return {}
    encoded = b64encode(octets)
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        return {f"{name}64": encoded}
    return {name: text} if len(json.dumps(text)) <= len(json.dumps(encoded)) + 2 else {f"{name}64": encoded}
