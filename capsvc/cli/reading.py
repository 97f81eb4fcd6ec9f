"""A token as its own words tell it, unverified: what `inspect` shows, before it is drawn or written as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from capsvc.cli.render import escape
from capsvc.cli.words import NANOSECONDS
from capsvc.macaroon import identifier
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon
from caveats import TYPES, Caveat, CaveatError, Vocabulary, parse, upper_bound

__all__ = ["Line", "Reading", "as_json", "expiry", "read_bundle"]

AWAY: Final = Vocabulary.built_in().away


@dataclass(frozen=True, slots=True)
class Line:
    """One caveat: its text, shown safely; parsed, or why it is not; of a third-party caveat its location."""

    text: str
    caveat: Caveat | None
    problem: str | None
    location: str | None
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
        return Line(text, None, None, escape(raw.location or b""), _discharge(raw.cid, left))
    try:
        return Line(text, parse(raw.cid, AWAY, discharge=discharge), None, None)
    except CaveatError as error:
        return Line(text, None, f"{error.code}: {error}", None)


def _discharge(cid: bytes, left: list[UnverifiedMacaroon]) -> Reading | None:
    found = next((macaroon for macaroon in left if macaroon.identifier == cid), None)
    if found is None:
        return None
    left.remove(found)
    return _read(found, left, discharge=True)
