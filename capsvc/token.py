"""What the holder of a token can do without a key and without network: read, narrow, convert it, bind discharges to it.

Nothing that a `Token` shows is verified. Only the authority can tell whether a token is genuine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from capsvc.errors import TokenError
from capsvc.macaroon import build, formats
from capsvc.macaroon.bundle import SEPARATOR, split
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, encode
from capsvc.macaroon.encoding import malformed, printable
from capsvc.macaroon.identifier import Identifier
from capsvc.macaroon.identifier import parse as parse_identifier
from caveats import CaveatError, DeclarationError, Vocabulary, compare, parse, upper_bound
from caveats import encode as encode_caveat

__all__ = ["HeldCaveat", "ThirdParty", "Token"]

_NANOSECONDS: Final = 1_000_000_000
_BUILT_IN: Final = Vocabulary.built_in().away


class HeldCaveat(NamedTuple):
    r"""One caveat as it is shown: printable ASCII, other octets as ``\xNN``; ``location`` is a third party's alone."""

    text: str
    location: str | None
    third_party: bool


class ThirdParty(NamedTuple):
    """A third party's caveat: its id's octets, which its discharge bears too, and where that party says it is found.

    ``location`` is as it is shown, a hint that anybody can change; None where the caveat names none.
    """

    id: bytes
    location: str | None


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A token, or a bundle of a token and its bound discharges, as its holder sees it: unverified.

    It is a credential: ``str()`` is its text, as it is presented; its repr leaves that out.
    """

    _macaroons: tuple[UnverifiedMacaroon, ...]

    @classmethod
    def parse(cls, text: str) -> Token:
        """The token or bundle that the text is: V2, V1 or V2 JSON, a bundle in V2 alone.

        Raises:
            TokenError: ``too-large`` or ``malformed``.

        """
        if not isinstance(text, str):
            raise malformed("a token is text")
        return cls(formats.read_any(text))

    def attenuate(
        self,
        *caveats: str,
        ttl: int | None = None,
        attributes: Mapping[str, object] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Token:
        """A narrower token: this one, with caveats after its own. This one stays as it is.

        Args:
            caveats: in the caveat language (``"action in read"``).
            ttl: seconds from now on that the new token is good, at most; it never outlives this one.
            attributes: what the operator declares, as ``[attributes]`` of the configuration file. Caveats on those
                names are then checked in full; those on names that are not known must fit the grammar.
            clock: gives Unix seconds.

        Raises:
            CaveatError: a caveat is refused; ``caveat-malformed`` too for nothing to add, and for a ttl that is not a
                whole number over 0; ``caveat-unknown`` for attributes that cannot be declared so.
            TokenError: ``bound`` for a bundle, which is final; ``too-large`` past a bound.

        """
        root = self._single()
        vocabulary = _vocabulary(attributes or {})
        added = [encode_caveat(parse(caveat, vocabulary)) for caveat in caveats]
        if ttl is not None:
            added.append(_time_caveat(ttl, clock, vocabulary))
        if not added:
            raise CaveatError("caveat-malformed", "nothing to add: a caveat or a ttl makes a token narrower")
        return Token((build.attenuate(root, added),))

    def bind(self, *discharges: Token) -> Token:
        """The bundle of this token and discharges of its third-party caveats and theirs: what is presented.

        A bundle is final: attenuate first, bind last, and keep this token and the unbound discharges for the next
        time. Nothing is checked but the bounds: whether the discharges are the right ones is for the authority to say.

        Args:
            discharges: unbound, as a third party gave them; without any, the token itself is what is presented.

        Raises:
            TokenError: ``bound`` for a bundle, or one among the discharges; ``too-large`` past a bound.

        """
        root, *answers = [Token._single(token) for token in (self, *discharges)]
        return Token(split(build.bind(root, answers)))

    @property
    def id(self) -> str:
        """The token's id, or, of a macaroon from elsewhere, its whole identifier as it is shown."""
        identifier = self._identifier()
        return self.identifier if identifier is None else identifier.tid

    @property
    def identifier(self) -> str:
        r"""The macaroon's whole identifier as it is shown: printable ASCII, other octets as ``\xNN``."""
        return printable(self._macaroons[0].identifier)

    @property
    def raw_identifier(self) -> bytes:
        """The macaroon's whole identifier: of a discharge, the id of the caveat that it answers."""
        return self._macaroons[0].identifier

    @property
    def location(self) -> str | None:
        """Where the macaroon says that it comes from, as it is shown; a hint that anybody can change."""
        return _shown(self._macaroons[0].location)

    @property
    def issued_at(self) -> datetime | None:
        """When it was minted, in UTC; None for a macaroon from elsewhere."""
        identifier = self._identifier()
        return None if identifier is None else datetime.fromtimestamp(identifier.issued_at, UTC)

    @property
    def issuer_caveats(self) -> int:
        """How many of its caveats, the first ones, are the issuer's; 0 for a macaroon from elsewhere."""
        identifier = self._identifier()
        return 0 if identifier is None else identifier.issuer_caveats

    @property
    def expires_at(self) -> datetime | None:
        """The earliest upper bound on time among all caveats, discharges' too, in UTC; None if there is none."""
        bounds = [bound for macaroon in self._macaroons for bound in _upper_bounds(macaroon)]
        return datetime.fromtimestamp(min(bounds) // _NANOSECONDS, UTC) if bounds else None

    @property
    def caveats(self) -> tuple[str, ...]:
        """The token's caveats as text, in order; a third party's by its location."""
        return tuple([held.location or held.text if held.third_party else held.text for held in self.held_caveats])

    @property
    def held_caveats(self) -> tuple[HeldCaveat, ...]:
        """The token's caveats, in order, and which of them are a third party's."""
        return tuple([_held(caveat) for caveat in self._macaroons[0].caveats])

    @property
    def third_parties(self) -> tuple[ThirdParty, ...]:
        """The token's third-party caveats, in order: each needs a discharge."""
        return tuple([_third_party(caveat) for caveat in self._macaroons[0].caveats if caveat.vid is not None])

    @property
    def is_bundle(self) -> bool:
        """Whether discharges are bound to it: it is then final."""
        return len(self._macaroons) > 1

    @property
    def discharges(self) -> tuple[Token, ...]:
        """The bundle's discharges, each as a token of its own."""
        return tuple([Token((discharge,)) for discharge in self._macaroons[1:]])

    def to_v2(self) -> str:
        """The text as the service reads it; the same as ``str()``."""
        return SEPARATOR.join([encode(macaroon) for macaroon in self._macaroons])

    def to_v1(self) -> str:
        """The token as V1, in base64.

        Raises:
            TokenError: ``bound`` for a bundle.

        """
        return formats.to_v1(self._single())

    def to_v2json(self) -> str:
        """The token as V2 JSON.

        Raises:
            TokenError: ``bound`` for a bundle.

        """
        return formats.to_v2json(self._single())

    def __str__(self) -> str:
        return self.to_v2()

    def __repr__(self) -> str:
        return f"<Token {self.id!r} with {len(self._macaroons[0].caveats)} caveats>"

    def _single(self) -> UnverifiedMacaroon:
        if self.is_bundle:
            raise TokenError(
                "bound", "a bundle is final: take the token and the unbound discharges that it was made from"
            )
        return self._macaroons[0]

    def _identifier(self) -> Identifier | None:
        try:
            return parse_identifier(self._macaroons[0].identifier)
        except ValueError:
            return None


def _held(caveat: RawCaveat) -> HeldCaveat:
    return HeldCaveat(printable(caveat.cid), _shown(caveat.location), caveat.vid is not None)


def _third_party(caveat: RawCaveat) -> ThirdParty:
    return ThirdParty(caveat.cid, _shown(caveat.location))


def _shown(location: bytes | None) -> str | None:
    return printable(location) if location else None


def _vocabulary(attributes: Mapping[str, object]) -> Vocabulary:
    try:
        return Vocabulary.from_declarations(attributes).away
    except DeclarationError as error:
        raise CaveatError("caveat-unknown", str(error)) from None


def _time_caveat(ttl: object, clock: Callable[[], float], vocabulary: Vocabulary) -> str:
    if type(ttl) is not int or ttl <= 0:
        raise CaveatError("caveat-malformed", "a ttl is a whole number of seconds, over 0")
    return encode_caveat(compare(vocabulary, "time", "<", int(clock()) + ttl))


def _upper_bounds(macaroon: UnverifiedMacaroon) -> Iterator[int]:
    """The upper bounds on time, in nanoseconds, that a macaroon's own caveats state; what is no caveat states none."""
    for caveat in macaroon.caveats:
        if caveat.vid is not None:
            continue
        try:
            bound = upper_bound(parse(caveat.cid, _BUILT_IN))
        except CaveatError:
            continue
        if bound is not None:
            yield bound
