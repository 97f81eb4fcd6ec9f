"""Building macaroons: pymacaroons lives here, and nowhere else.

Its defaults are unsafe or wrong (version 1; an empty key gives a macaroon that nobody signed; ``add_*`` changes its
object; an empty location loses its spelling), so every call says what it means, works on a fresh object, and what comes
out is read back by the strict decoder, within the published bounds.
"""

from __future__ import annotations

from collections.abc import Sequence

from pymacaroons import Macaroon

from capsvc.macaroon.bundle import split
from capsvc.macaroon.chain import KEY_OCTETS, extend
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, encode
from capsvc.macaroon.encoding import malformed

__all__ = ["attenuate", "mint"]


def mint(root_key: bytes, location: str, identifier: bytes, caveats: Sequence[str]) -> str:
    """A root's text: its issuer's caveats under a key.

    Args:
        root_key: 32 octets.
        location: the issuer's URL.
        identifier: ``cap1…``, see :mod:`capsvc.macaroon.identifier`.
        caveats: first-party caveats that the caveat grammar has accepted.

    Raises:
        ValueError: for a key of another length, or an empty location or identifier.
        TokenError: ``too-large`` past a bound.

    """
    if len(root_key) != KEY_OCTETS:
        raise ValueError(f"a root key has {KEY_OCTETS} octets")
    if not location or not identifier:
        raise ValueError("a root has a location and an identifier")
    macaroon = Macaroon(location=location, identifier=identifier, key=root_key, version=2)
    for caveat in caveats:
        macaroon.add_first_party_caveat(caveat)
    text: str = macaroon.serialize()
    split(text)
    return text


def attenuate(macaroon: UnverifiedMacaroon, caveats: Sequence[str]) -> UnverifiedMacaroon:
    """The macaroon with first-party caveats after its own; every octet before them stays as it was.

    Args:
        macaroon: a root, or a discharge that is not bound; it is not touched.
        caveats: first-party caveats that the caveat grammar has accepted.

    Raises:
        TokenError: ``too-large`` past a bound.

    """
    added = tuple([RawCaveat(caveat.encode()) for caveat in caveats])
    text = _with_pymacaroons(macaroon, caveats) if _kept_by_pymacaroons(macaroon) else _with_chain(macaroon, added)
    (attenuated,) = split(text)
    if attenuated[:3] != (macaroon.location, macaroon.identifier, macaroon.caveats + added):
        raise malformed("the library changed more than it was asked to")
    return attenuated


def _kept_by_pymacaroons(macaroon: UnverifiedMacaroon) -> bool:
    """Whether pymacaroons writes back what it reads: with a location, and all locations UTF-8."""
    locations = [macaroon.location, *(caveat.location for caveat in macaroon.caveats)]
    return bool(macaroon.location) and all(_is_utf8(location or b"") for location in locations)


def _is_utf8(octets: bytes) -> bool:
    return octets.decode("utf-8", "replace").encode() == octets


def _with_pymacaroons(macaroon: UnverifiedMacaroon, caveats: Sequence[str]) -> str:
    fresh = Macaroon.deserialize(encode(macaroon))
    for caveat in caveats:
        fresh.add_first_party_caveat(caveat)
    text: str = fresh.serialize()
    return text


def _with_chain(macaroon: UnverifiedMacaroon, added: Sequence[RawCaveat]) -> str:
    signature = macaroon.signature
    for caveat in added:
        signature = extend(signature, caveat)
    return encode(macaroon._replace(caveats=(*macaroon.caveats, *added), signature=signature))
