"""The strict decoder of libmacaroons' V2 binary format, and its exact inverse.

libmacaroons' ``doc/format.txt``: the octet 2; a section for the macaroon (location, identifier), one for each caveat
(location, identifier, vid), one that is empty; the signature. A section is a run of packets (field type, length,
octets) with ascending types, closed by a zero octet::

    02  [01 location]  02 identifier  00
        ([01 location]  02 identifier  [04 vid]  00)*
    00  06 20 signature

Nothing is skipped, so what is accepted has one spelling: ``encode(decode(text)) == text``. The one liberty is that
libraries write "no location" as an absent field or as ``01 00``; which of the two it was is kept.

What comes out is *unverified*: anybody could have written it. Only its key id may be read, to find the key.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from capsvc.macaroon.encoding import b64decode, b64encode, malformed, read_uvarint, uvarint

__all__ = [
    "SIGNATURE_OCTETS",
    "RawCaveat",
    "UnverifiedMacaroon",
    "decode",
    "decode_binaries",
    "decode_binary",
    "encode",
    "encode_binary",
]

VERSION: Final = 2
END: Final = 0
LOCATION: Final = 1
IDENTIFIER: Final = 2
VID: Final = 4
SIGNATURE: Final = 6

SIGNATURE_OCTETS: Final = 32
_TAIL_HEAD: Final = bytes([SIGNATURE, SIGNATURE_OCTETS])
_TAIL_OCTETS: Final = len(_TAIL_HEAD) + SIGNATURE_OCTETS
_END: Final = bytes([END])

# A NamedTuple's own constructor is a Python function around this one, and costs twice the time.
_new: Final = tuple.__new__


class RawCaveat(NamedTuple):
    """One caveat's octets. It is a third party's if it has a ``vid``, whatever else it has."""

    cid: bytes
    vid: bytes | None = None
    location: bytes | None = None


class UnverifiedMacaroon(NamedTuple):
    """A macaroon as it was presented. Nothing in it is to be trusted.

    It may be somebody's credential all the same, so its repr leaves out what is secret about it.
    """

    location: bytes | None
    identifier: bytes
    caveats: tuple[RawCaveat, ...]
    signature: bytes

    def __repr__(self) -> str:
        return f"<UnverifiedMacaroon with {len(self.caveats)} caveats>"


def decode(text: str) -> UnverifiedMacaroon:
    """A macaroon from its text.

    Raises:
        TokenError: ``malformed``, whatever is wrong with it.

    """
    return decode_binary(b64decode(text))


def decode_binary(octets: bytes) -> UnverifiedMacaroon:
    """A macaroon from its octets.

    Raises:
        TokenError: ``malformed``, whatever is wrong with them.

    """
    try:
        return _read(octets)
    except IndexError:
        raise malformed("the macaroon ends too early") from None


def decode_binaries(octets: bytes) -> tuple[UnverifiedMacaroon, ...]:
    """Macaroons from their octets, one after another, as bakery's agents send a bundle.

    Raises:
        TokenError: ``malformed``, whatever is wrong with them.

    """
    macaroons: list[UnverifiedMacaroon] = []
    at = 0
    while at < len(octets):
        end = _end(octets, at)
        macaroons.append(decode_binary(octets[at:end]))
        at = end
    return tuple(macaroons)


def _end(octets: bytes, at: int) -> int:
    """Where the macaroon at ``at`` ends, if it is one."""
    try:
        at = _read_section(octets, at + 1)[-1]
        while octets[at] != END:
            at = _read_section(octets, at)[-1]
    except IndexError:
        raise malformed("the macaroon ends too early") from None
    return at + len(_END) + _TAIL_OCTETS


def _read(octets: bytes) -> UnverifiedMacaroon:
    if octets[0] != VERSION:
        raise malformed("not a V2 macaroon")
    location, identifier, vid, at = _read_section(octets, 1)
    if vid is not None:
        raise malformed("a vid outside a caveat")
    caveats: list[RawCaveat] = []
    append = caveats.append
    while (field := octets[at]) != END:
        # Most caveats are a first party's and short: those are read here, all others by the general reader.
        if field == IDENTIFIER and (length := octets[at + 1]) < 0x80:
            start = at + 2
            end = start + length
            if octets[end] == END:
                append(_new(RawCaveat, (octets[start:end], None, None)))
                at = end + 1
                continue
        caveat, at = _read_caveat(octets, at)
        append(caveat)
    at += 1
    if octets[at : at + 2] != _TAIL_HEAD or len(octets) != at + _TAIL_OCTETS:
        raise malformed("the macaroon does not end in a signature of 32 octets")
    return _new(UnverifiedMacaroon, (location, identifier, tuple(caveats), octets[at + 2 :]))


def _read_caveat(octets: bytes, at: int) -> tuple[RawCaveat, int]:
    location, cid, vid, at = _read_section(octets, at)
    if vid is None and location is not None:
        raise malformed("a location on a first-party caveat")
    if vid == b"":
        raise malformed("an empty vid")
    return RawCaveat(cid, vid, location), at


def _read_section(octets: bytes, at: int) -> tuple[bytes | None, bytes, bytes | None, int]:
    """The location, identifier and vid of the section at ``at``, and where it ends."""
    location = vid = None
    if octets[at] == LOCATION:
        location, at = _read_field(octets, at)
    if octets[at] != IDENTIFIER:
        raise malformed("no identifier where one belongs")
    identifier, at = _read_field(octets, at)
    if octets[at] == VID:
        vid, at = _read_field(octets, at)
    if octets[at] != END:
        raise malformed("a field that is unknown, out of order or there twice")
    return location, identifier, vid, at + 1


def _read_field(octets: bytes, at: int) -> tuple[bytes, int]:
    # If it runs past the end, so does the octet that must follow it: the caller's next step is an IndexError.
    length = octets[at + 1]
    start = at + 2
    if length > 0x7F:
        length, start = read_uvarint(octets, at + 1)
    end = start + length
    return octets[start:end], end


def encode(macaroon: UnverifiedMacaroon) -> str:
    """The text of a macaroon: the exact inverse of :func:`decode`."""
    return b64encode(encode_binary(macaroon))


def encode_binary(macaroon: UnverifiedMacaroon) -> bytes:
    """The octets of a macaroon: the exact inverse of :func:`decode_binary`."""
    parts = [bytes([VERSION]), _field(LOCATION, macaroon.location), _field(IDENTIFIER, macaroon.identifier), _END]
    parts += [_caveat(caveat) for caveat in macaroon.caveats]
    return b"".join([*parts, _END, _field(SIGNATURE, macaroon.signature)])


def _caveat(caveat: RawCaveat) -> bytes:
    """The octets of one caveat's section."""
    return _field(LOCATION, caveat.location) + _field(IDENTIFIER, caveat.cid) + _field(VID, caveat.vid) + _END


def _field(kind: int, value: bytes | None) -> bytes:
    return b"" if value is None else uvarint(kind) + uvarint(len(value)) + value
