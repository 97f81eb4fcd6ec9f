"""Building macaroons: pymacaroons lives here, and nowhere else.

Its defaults are unsafe or wrong (version 1; an empty key gives a macaroon that nobody signed; ``add_*`` changes its
object; an empty location loses its spelling), so every call says what it means, works on a fresh object, and what comes
out is read back by the strict decoder, within the published bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from pymacaroons import Macaroon

from capsvc.macaroon.bundle import SEPARATOR, split
from capsvc.macaroon.chain import KEY_OCTETS, extend
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, encode
from capsvc.macaroon.encoding import malformed

__all__ = ["ThirdPartyCaveat", "add_third_party", "attenuate", "bind", "discharge", "mint"]


class ThirdPartyCaveat(NamedTuple):
    """A caveat that a third party answers: where, under which root key (a secret), by which caveat id."""

    location: str
    root_key: bytes
    id: bytes

    def __repr__(self) -> str:
        return f"<ThirdPartyCaveat {self.location}>"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a third party's caveat holds a root key: it is neither copied nor pickled")


def mint(
    root_key: bytes,
    location: str,
    identifier: bytes,
    caveats: Sequence[str],
    third_parties: Sequence[ThirdPartyCaveat] = (),
) -> str:
    """A root's text: its issuer's caveats under a key, the third parties' last.

    Args:
        root_key: 32 octets.
        location: the issuer's URL.
        identifier: ``cap1…``, see :mod:`capsvc.macaroon.identifier`.
        caveats: first-party caveats that the caveat grammar has accepted.
        third_parties: whose root keys are not empty.

    Raises:
        ValueError: for a key of another length, or an empty location, identifier or root key of a third party.
        TokenError: ``too-large`` past a bound.

    """
    if len(root_key) != KEY_OCTETS:
        raise ValueError(f"a root key has {KEY_OCTETS} octets")
    if not location or not identifier:
        raise ValueError("a root has a location and an identifier")
    macaroon = _signed(root_key, location, identifier, caveats)
    for third in third_parties:
        _add_third_party(macaroon, third)
    text: str = macaroon.serialize()
    split(text)
    return text


def discharge(root_key: bytes, location: str, identifier: bytes, caveats: Sequence[str]) -> UnverifiedMacaroon:
    """An unbound discharge: what answers the caveat of that id, within first-party caveats.

    Args:
        root_key: from the caveat id; of any length, but not empty.
        location: the discharger's URL.
        identifier: the caveat's id.
        caveats: that the caveat grammar accepts in a discharge.

    Raises:
        ValueError: for an empty key, location or identifier.
        TokenError: ``too-large`` past a bound.

    """
    (made,) = split(_signed(root_key, location, identifier, caveats).serialize())
    return made


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


def add_third_party(macaroon: UnverifiedMacaroon, third: ThirdPartyCaveat) -> UnverifiedMacaroon:
    """The macaroon with a third party's caveat after its own; it is not touched.

    Raises:
        ValueError: for an empty location or root key, or a macaroon without a location, which pymacaroons cannot keep.
        TokenError: ``too-large`` past a bound.

    """
    if not _kept_by_pymacaroons(macaroon):
        raise ValueError("the macaroon has a location, and all its locations are text")
    fresh = Macaroon.deserialize(encode(macaroon))
    _add_third_party(fresh, third)
    (added,) = split(fresh.serialize())
    return added


def bind(root: UnverifiedMacaroon, discharges: Sequence[UnverifiedMacaroon]) -> str:
    """The bundle of a root and its discharges, each bound to it: final.

    Raises:
        TokenError: ``too-large`` past a bound.

    """
    bound = [macaroon._replace(signature=_bound(root.signature, macaroon.signature)) for macaroon in discharges]
    text = SEPARATOR.join([encode(macaroon) for macaroon in (root, *bound)])
    split(text)
    return text


def _bound(root: bytes, discharge: bytes) -> bytes:
    """A discharge's signature bound to a root's; nothing else of either takes part."""
    pair = [Macaroon(location="-", identifier="-", signature=one.hex(), version=2) for one in (root, discharge)]
    return bytes.fromhex(pair[0].prepare_for_request(pair[1]).signature)


def _signed(root_key: bytes, location: str, identifier: bytes, caveats: Sequence[str]) -> Macaroon:
    if not root_key or not location or not identifier:
        raise ValueError("a macaroon has a key, a location and an identifier")
    macaroon = Macaroon(location=location, identifier=identifier, key=root_key, version=2)
    for caveat in caveats:
        macaroon.add_first_party_caveat(caveat)
    return macaroon


def _add_third_party(macaroon: Macaroon, third: ThirdPartyCaveat) -> None:
    if not third.location or not third.root_key:
        raise ValueError("a third party's caveat has a location and a root key")
    macaroon.add_third_party_caveat(third.location, third.root_key, third.id)


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
