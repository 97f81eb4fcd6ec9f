"""A token as its own words tell it, unverified: what `inspect` shows, before it is drawn or written as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from capsvc.cli.render import escape
from capsvc.cli.words import NANOSECONDS
from capsvc.macaroon import identifier
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon
from caveats import TYPES, Caveat, CaveatError, Vocabulary, parse, upper_bound

__all__ = ["BAKERY_VERSION", "Line", "Reading", "as_json", "expiry", "read_bundle"]

AWAY: Final = Vocabulary.built_in().away

BAKERY_VERSION: Final = 3  # what capsvc writes and takes
_BAKERY: Final = MappingProxyType({3: b"\x03", 2: b"\x02", 1: b"eyJ"})
"""How caveat ids begin, by version: 2 and 3 with it, 1 is a JSON object in base64."""
_BAKERY_OCTETS: Final = 61  # all versions have two keys or their digests, a nonce and more


@dataclass(frozen=True, slots=True)
class Line:
    """One caveat: its text, shown safely; parsed, or why it is not.

    Of a third-party caveat: its location, the version of bakery's format that its id has, if any, and what answers it.
    """

    text: str
    caveat: Caveat | None
    problem: str | None
    location: str | None
    bakery: int | None = None
    discharge: Reading | None = None

    @property
    def bound(self) -> int | None:
        """The instant that it holds before, in nanoseconds since the epoch, if it is such a caveat."""
        return None if self.caveat is None else upper_bound(self.caveat)


@dataclass(frozen=True, slots=True)
class Reading:
    """One macaroon. ``identifier`` is None for one that no capsvc service minted, or a discharge."""

    name: str
    location: str | None
    identifier: identifier.Identifier | None
    lines: tuple[Line, ...]
    unused: tuple[Reading, ...] = ()
    """Of a root: the discharges of the bundle that answer none of its caveats, nor one another's."""

    @property
    def macaroons(self) -> list[Reading]:
        """The macaroon itself, then every discharge below it and beside it."""
        below = [line.discharge for line in self.lines if line.discharge is not None]
        return [self, *(found for reading in (*below, *self.unused) for found in reading.macaroons)]

    @property
    def unanswered(self) -> list[str]:
        """The locations of all third-party caveats that have no discharge here."""
        lines = [line for reading in self.macaroons for line in reading.lines]
        return [line.location for line in lines if line.location is not None and line.discharge is None]


def as_json(reading: Reading) -> dict[str, Any]:
    """The object of ``inspect --json``; ``discharges`` in a bundle alone."""
    root, *discharges = reading.macaroons
    value = _object(root, reading.macaroons)
    if discharges:
        value["discharges"] = [_object(discharge, [discharge]) for discharge in discharges]
    return value


def _object(reading: Reading, bounded_by: Iterable[Reading]) -> dict[str, Any]:
    bound = expiry(bounded_by)
    return {
        "location": reading.location,
        "id": reading.name,
        "caveats": [{"text": line.text, "location": line.location} for line in reading.lines],
        "expires_at": None if bound is None else TYPES["instant"].encode(bound // NANOSECONDS),
    }


def expiry(readings: Iterable[Reading]) -> int | None:
    """The earliest upper bound of all, in nanoseconds since the epoch."""
    bounds = [line.bound for reading in readings for line in reading.lines]
    return min((bound for bound in bounds if bound is not None), default=None)


def read_bundle(macaroons: Sequence[UnverifiedMacaroon]) -> Reading:
    """A root and its discharges. Which discharge answers which caveat goes by its id alone: no key is at hand."""
    root, *discharges = macaroons
    left = list(discharges)
    reading = _read(root, left, discharge=False)
    unused = []
    while left:
        unused.append(_read(left.pop(0), left, discharge=True))
    return Reading(reading.name, reading.location, reading.identifier, reading.lines, tuple(unused))


def _read(macaroon: UnverifiedMacaroon, left: list[UnverifiedMacaroon], *, discharge: bool) -> Reading:
    """One macaroon and what answers its caveats, taken out of ``left``: so no deeper than a bundle has parts."""
    issued = None if discharge else _identifier(macaroon.identifier)
    lines = tuple([_line(caveat, left, discharge=discharge) for caveat in macaroon.caveats])
    return Reading(
        issued.tid if issued is not None else escape(macaroon.identifier),
        escape(macaroon.location) if macaroon.location else None,
        issued,
        lines,
    )


def _identifier(octets: bytes) -> identifier.Identifier | None:
    try:
        return identifier.parse(octets)
    except ValueError:
        return None


def _line(raw: RawCaveat, left: list[UnverifiedMacaroon], *, discharge: bool) -> Line:
    text = escape(raw.cid)
    if raw.vid is not None:
        return Line(text, None, None, escape(raw.location or b""), _bakery(raw.cid), _discharge(raw.cid, left))
    try:
        return Line(text, parse(raw.cid, AWAY, discharge=discharge), None, None)
    except CaveatError as error:
        return Line(text, None, f"{error.code}: {error}", None)


def _bakery(cid: bytes) -> int | None:
    """The version of bakery's format that a caveat id has, by how it begins; its inside is secret."""
    for version, begins in _BAKERY.items():
        if cid.startswith(begins) and len(cid) > _BAKERY_OCTETS:
            return version
    return None


def _discharge(cid: bytes, left: list[UnverifiedMacaroon]) -> Reading | None:
    found = next((macaroon for macaroon in left if macaroon.identifier == cid), None)
    if found is None:
        return None
    left.remove(found)
    return _read(found, left, discharge=True)
