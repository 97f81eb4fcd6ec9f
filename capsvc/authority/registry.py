"""The registered dischargers and the installation's own key pairs, as they are at one point of the log.

A third party's caveat that the issuer put into a root holds only if its id opens again, under a key that was registered
when the root was minted. That key names the discharger; the id's own list, which he and we alone can read, says which
declarations are his to make.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from capsvc.authority.keys import ACTIVE
from capsvc.authority.seal import SealError
from capsvc.decision.reading import Asked
from capsvc.macaroon.build import ThirdPartyCaveat
from capsvc.macaroon.decode import RawCaveat
from capsvc.macaroon.thirdparty import Channel, KeyPair, asked_names, plain_key, read_parties
from capsvc.store.records import Dependency, DischargerRecord

__all__ = ["Registry", "registered_keys", "same_place"]

ROOT_KEY_OCTETS: Final = 32
PREFIX_OCTETS: Final = 4  # of a third party's key, which a caveat id begins with


class _Key(NamedTuple):
    """One registered key. It counts for roots minted at or after ``since`` (Unix seconds)."""

    discharger: str
    public: bytes
    since: int


def same_place(location: str) -> str:
    """A location as locations are compared: without one trailing slash."""
    return location.removesuffix("/")


class Registry:
    """A snapshot, never changed. Keeps what two key pairs share, which costs most to work out. Shows no secret."""

    def __init__(self, dischargers: Iterable[DischargerRecord], pairs: Iterable[tuple[str, KeyPair]]) -> None:
        """Take proved rows and the opened pairs with their states, oldest first. Raises `SealError` without a pair."""
        self.dischargers = tuple(dischargers)
        self.pairs = tuple(pairs)
        active = [pair for state, pair in self.pairs if state == ACTIVE]
        if not active:
            raise SealError("the installation's key pair is missing")
        self._active = active[-1]
        self._pairs = {pair.public: pair for _, pair in self.pairs}
        self._places = {same_place(one.location): one for one in self.dischargers}
        self._keys: dict[bytes, list[_Key]] = {}
        self._channels: dict[tuple[bytes, bytes], Channel] = {}
        for one in self.dischargers:
            for key in registered_keys(one):
                self._keys.setdefault(key.public[:PREFIX_OCTETS], []).append(key)

    def __repr__(self) -> str:
        return f"<Registry of {len(self.dischargers)} dischargers>"

    @property
    def public_key(self) -> bytes:
        """The active pair's public half, by which dischargers know the installation."""
        return self._active.public

    def at(self, location: str) -> DischargerRecord | None:
        """The discharger at a location."""
        return self._places.get(same_place(location))

    def seal(self, discharger: DischargerRecord, condition: str) -> tuple[ThirdPartyCaveat, Dependency]:
        """A caveat for a discharger under a fresh root key, and what the token that gets it depends on."""
        root_key = secrets.token_bytes(ROOT_KEY_OCTETS)
        caveat_id = self._channel(self._active, discharger.public).seal(root_key, condition)
        caveat = ThirdPartyCaveat(discharger.location, root_key, caveat_id)
        return caveat, Dependency(discharger.public, self._active.public)

    def asked(self, caveats: Sequence[RawCaveat], issued_at: int) -> dict[int, Asked | None]:
        """What the issuer's third-party caveats of a root minted at ``issued_at`` ask, by their positions.

        None for one that opens under no key that was registered then and is now.
        """
        return {
            position: self._opened(caveat.cid, issued_at)
            for position, caveat in enumerate(caveats)
            if caveat.vid is not None
        }

    def _opened(self, caveat_id: bytes, issued_at: int) -> Asked | None:
        try:
            prefix, first_party = read_parties(caveat_id)
        except ValueError:
            return None
        pair = self._pairs.get(first_party)
        if pair is None:
            return None
        for key in self._keys.get(prefix, ()):
            if issued_at < key.since:
                continue
            sealed = self._channel(pair, key.public).open(caveat_id)
            if sealed is not None:
                return _asked(key, sealed.condition)
        return None

    def _channel(self, pair: KeyPair, public: bytes) -> Channel:
        found = self._channels.get((pair.public, public))
        if found is None:
            found = self._channels[pair.public, public] = Channel.of_first_party(pair, plain_key(public))
        return found


def registered_keys(record: DischargerRecord) -> list[_Key]:
    """A discharger's keys, each from when on it counts."""
    keys = [_Key(record.name, record.public, record.since)]
    if record.next_public is not None and record.next_since is not None:
        keys.append(_Key(record.name, record.next_public, record.next_since))
    return keys


def _asked(key: _Key, condition: bytes) -> Asked | None:
    try:
        names, _ = asked_names(condition.decode())
    except ValueError:  # Unicode's error is one
        return None
    return Asked(key.discharger, key.public, names)
