"""Which third parties may be asked, and where: what the caller names, and what the issuer that he names does.

A location in a token only chooses among them. It is never an address by itself: whoever wrote it into a token could
otherwise send its holder anywhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import httpx

from capsvc.client.origin import Origin, Place, may_be_here, place_of, read_origin, read_own_url
from capsvc.macaroon.location import check_location
from capsvc.macaroon.thirdparty import key_text, read_key

__all__ = ["Book", "Dischargers", "Known", "KnownDischarger", "same_location"]

MAX_ENTRIES: Final = 10_000  # of an issuer's document


@dataclass(frozen=True, slots=True)
class KnownDischarger:
    """A third party that the caller knows.

    Attributes:
        url: where it is asked: https, or http on this machine.
        location: what tokens call it; its URL, if None.
        public_key: the one key that it may have, 32 octets in standard base64: a caveat that is sealed for another one
            is not sent to it. None: whatever key a caveat is sealed for.

    """

    url: str
    location: str | None = None
    public_key: str | None = None


Dischargers = Mapping[str, str] | Iterable[str | KnownDischarger]
"""Third parties: their URLs, `KnownDischarger` with more to say, or a mapping from location to URL."""


@dataclass(frozen=True, slots=True)
class Known:
    """One that may be asked. ``pinned``: the key is the caller's word, not the issuer's, which may lag a rotation."""

    location: str
    origin: Origin
    public_key: bytes | None = None
    pinned: bool = False

    def own_url(self, text: object) -> str:
        """A URL that it sent, if it leads to itself. Raises `ValueError`."""
        return read_own_url(text if isinstance(text, str) else "", self.origin.base, self._places())

    def _places(self) -> frozenset[Place]:
        """The origins that are its own: where it is asked and, if that is another one, where it says that it is."""
        bases = [self.origin.base]
        with contextlib.suppress(ValueError):
            bases.append(read_origin(self.location).base)
        return frozenset([place_of(httpx.URL(base)) for base in bases])


class _Row(NamedTuple):
    """One of an issuer's document, as it is written there."""

    location: str
    public_key: str


class Book:
    """The known third parties, by location.

    Raises:
        ValueError: for what is no address to which anything may go, a key that is none, one location twice.
        TypeError: for one text where several belong.

    """

    def __init__(self, dischargers: Dischargers = (), issuer: str | None = None) -> None:
        if isinstance(dischargers, str):
            raise TypeError("dischargers is a sequence of URLs, not one text")
        self._known: dict[str, Known] = {}
        self._rows: dict[str, _Row] = {}
        self._given = tuple(_entries(dischargers))
        self.issuer = None if issuer is None else read_origin(issuer)
        for entry in self._given:
            known = _known(entry)
            if known.location in self._known:
                raise ValueError("one discharger is named twice")
            self._known[known.location] = known

    def copy(self) -> Self:
        """Another one that knows what the caller said, and may learn by itself."""
        return type(self)(self._given, None if self.issuer is None else self.issuer.base)

    def find(self, location: str) -> Known | None:
        """The third party at a location."""
        name = same_location(location)
        if name not in self._known and name in self._rows:
            with contextlib.suppress(ValueError):
                return self._read(name, self._rows[name])
        return self._known.get(name)

    def unusable(self, location: str) -> str | None:
        """Why the issuer's word on a location is not taken, where it is not."""
        name = same_location(location)
        try:
            if name not in self._known and name in self._rows:
                self._read(name, self._rows[name])
        except ValueError as error:
            return str(error)
        return None

    def owner(self, key: bytes) -> str | None:
        """The location of the third party that is known to have a public key."""
        text = key_text(key)
        keys = {name: row.public_key for name, row in self._rows.items()}
        keys |= {name: key_text(known.public_key) for name, known in self._known.items() if known.public_key}
        return next((name for name, one in keys.items() if one == text), None)

    def learn(self, document: object) -> None:
        """Take the third parties that the issuer's document names; what the caller says of one stands.

        Of each that is looked for, and of no other, address and key are read: there may be very many.

        Raises:
            ValueError: for a document of another shape.

        """
        rows = document.get("dischargers") if isinstance(document, dict) else None
        if not isinstance(rows, list) or len(rows) > MAX_ENTRIES:
            raise ValueError("no list of dischargers")
        for row in rows:
            location, key = (row.get("location"), row.get("public_key")) if isinstance(row, dict) else (None, None)
            if not isinstance(location, str) or not isinstance(key, str):
                raise ValueError("a discharger without location or key")  # noqa: TRY004 - a document's shape
            self._rows.setdefault(same_location(location), _Row(location, key))

    def _read(self, name: str, row: _Row) -> Known:
        """Raises `ValueError`."""
        return Known(name, self._reachable(row.location), read_key(row.public_key))

    def _reachable(self, location: str) -> Origin:
        """Where the issuer says that one is. An issuer elsewhere has no say about what listens on this machine."""
        origin = read_origin(location)
        if may_be_here(httpx.URL(origin.base).host) and (self.issuer is None or not self.issuer.loopback):
            raise ValueError("it may be on this machine or its own link, and the issuer is not on this machine")
        return origin


def same_location(location: str) -> str:
    """A location as locations are compared: without one trailing slash."""
    return location.removesuffix("/")


def _entries(dischargers: Dischargers) -> Iterable[KnownDischarger]:
    if isinstance(dischargers, Mapping):
        return [KnownDischarger(url, location) for location, url in dischargers.items()]
    return [KnownDischarger(entry) if isinstance(entry, str) else entry for entry in dischargers]


def _known(entry: KnownDischarger) -> Known:
    key = None if entry.public_key is None else read_key(entry.public_key)
    origin = read_origin(entry.url)
    location = entry.url if entry.location is None else entry.location
    check_location(location)
    return Known(same_location(location), origin, key, pinned=key is not None)
