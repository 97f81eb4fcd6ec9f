"""Which third parties may be asked, and where: what the caller names, and what the issuer that he names does.

A location in a token only chooses among them. It is never an address by itself: whoever wrote it into a token could
otherwise send its holder anywhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
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
            is not sent to it, nor does an agent log in under another one. None: whatever key a caveat is sealed for; an
            agent's login by the issuer's word on its key, else by its own.

    """

    url: str
    location: str | None = None
    public_key: str | None = None


Dischargers = Mapping[str, str] | Iterable[str | KnownDischarger]
"""Third parties: their URLs, `KnownDischarger` with more to say, or a mapping from location to URL."""


@dataclass(frozen=True, slots=True)
class Known:
    """One that may be asked, and its public keys, as far as they are known.

    ``pinned``: they are the caller's word; the issuer's may lag a rotation.
    """

    location: str
    origin: Origin
    keys: tuple[bytes, ...] = ()
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
    public_keys: tuple[str, ...]

    @classmethod
    def of(cls, row: object) -> Self:
        """Its fields. Raises `ValueError`."""
        fields = row if isinstance(row, dict) else {}
        location, key, following = (fields.get(name) for name in ("location", "public_key", "next_public_key"))
        if not isinstance(location, str) or not isinstance(key, str) or not isinstance(following, str | None):
            raise ValueError("a discharger without location or key")  # noqa: TRY004 - a document's shape
        return cls(location, (key,) if following is None else (key, following))

    def keys(self) -> tuple[bytes, ...]:
        """Raises `ValueError` for one that is none."""
        return tuple(map(read_key, self.public_keys))


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
        self._told: dict[str, bytes] = {}
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

    @property
    def named(self) -> list[Known]:
        """Those that the caller named."""
        return [self._with_keys(known) for known in self._known.values()]

    def find(self, location: str) -> Known | None:
        """The third party at a location."""
        name = same_location(location)
        if name in self._known:
            return self._with_keys(self._known[name])
        with contextlib.suppress(ValueError):
            return self._listed(name)
        return None

    def unusable(self, location: str) -> str | None:
        """Why the issuer's word on a location is not taken, where it is not."""
        try:
            self._listed(same_location(location))
        except ValueError as error:
            return str(error)
        return None

    def rival(self, known: Known, key: bytes) -> str | None:
        """Another third party that has a key too, by whosever word, and is asked elsewhere: its location or address."""
        text, here = key_text(key), known.origin.base
        names = [one.location for one in self.named if key in one.keys]
        names += [name for name, row in self._rows.items() if text in row.public_keys]
        names += [base for base, told in self._told.items() if told == key and base != here]
        found = {name: self.find(name) for name in names if name != known.location}
        return next((name for name, one in found.items() if one is None or one.origin.base != here), None)

    def hear(self, base: str, key: bytes) -> None:
        """Take what is said at an address of the own key: it stands where nobody else names one."""
        self._told[base] = key

    def learn(self, document: object) -> None:
        """Take the third parties that the issuer's document names; what the caller says of one stands.

        Of each that is looked for, and of no other, address and key are read: there may be very many.

        Raises:
            ValueError: for a document of another shape.

        """
        rows = document.get("dischargers") if isinstance(document, dict) else None
        if not isinstance(rows, list) or len(rows) > MAX_ENTRIES:
            raise ValueError("no list of dischargers")
        for row in map(_Row.of, rows):
            self._rows.setdefault(same_location(row.location), row)

    def _with_keys(self, known: Known) -> Known:
        """One that the caller named; without a key of his with that of the issuer's word, else of its own."""
        if known.keys:
            return known
        row, told = self._rows.get(known.location), self._told.get(known.origin.base)
        with contextlib.suppress(ValueError):
            if row is not None:
                return replace(known, keys=row.keys())
        return known if told is None else replace(known, keys=(told,))

    def _listed(self, name: str) -> Known | None:
        """One of the issuer's document. Raises `ValueError` if that cannot be meant."""
        row = self._rows.get(name)
        return None if row is None else Known(name, self._reachable(row.location), row.keys())

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
    keys = () if entry.public_key is None else (read_key(entry.public_key),)
    origin = read_origin(entry.url)
    location = entry.url if entry.location is None else entry.location
    check_location(location)
    return Known(same_location(location), origin, keys, pinned=bool(keys))
