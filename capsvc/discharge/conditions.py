"""What a caveat id asks for, opened with the discharger's key, if it comes from a first party that it answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from capsvc.discharge.bakery import Refusal, bad_request, denied
from capsvc.discharge.waits import digest
from capsvc.macaroon.bundle import MAX_CAVEATS
from capsvc.macaroon.thirdparty import Channel, KeyPair, Sealed, asked_names, read_key, read_parties
from caveats import CaveatError, declare

__all__ = ["Conditions", "Wanted"]

OTHER_KEY: Final = (
    "the caveat is for another discharger's key: if this one's has changed, mint anew once the issuer has the new key"
    " ('capsvc dischargers set'), or ask whoever runs this discharger"
)
"""What the holder of a token can do about it is all that he has to be told."""

MAX_NAMES: Final = MAX_CAVEATS - 1  # a discharge's other caveat is its time-before


class Wanted(NamedTuple):
    """A discharge that somebody wants: under which root key, a secret; for which condition; with which declarations.

    ``first_party`` is the key of whoever asks for the condition, ``digest`` the SHA-256 of the octets that hold it.
    """

    root_key: bytes
    condition: str
    names: tuple[str, ...]
    first_party: bytes
    digest: bytes

    def __repr__(self) -> str:
        return f"<Wanted {self.condition!r}>"


class Conditions:
    """The conditions that a discharger is asked for by first parties that it knows, or by any."""

    def __init__(self, keys: Sequence[KeyPair], trust: Iterable[str], *, allow_any: bool) -> None:
        """Take a discharger's own keys, and those of trusted first parties.

        Raises:
            ValueError: for no first party, or some beside ``allow_any``, and for what is no key.

        """
        trusted = [read_key(text) for text in trust]
        if bool(trusted) is allow_any:
            raise ValueError("name the keys of the first parties to trust, or else allow any")
        self._keys = tuple(keys)
        self._allow_any = allow_any
        self._channels = {first_party: self._channels_of(first_party) for first_party in trusted}

    def open(self, caveat: bytes) -> Wanted:
        """What a caveat asks for. Raises `capsvc.discharge.bakery.Refusal`."""
        try:
            prefix, first_party = read_parties(caveat)
        except ValueError:
            raise _unreadable() from None
        if not any(key.public.startswith(prefix) for key in self._keys):
            raise bad_request(OTHER_KEY)
        opened = [channel.open(caveat) for channel in self._known(first_party)]
        sealed = next((one for one in opened if one is not None), None)
        if sealed is None:
            raise _unreadable()
        if not sealed.speaks_std:
            raise bad_request("the caveat's namespace has bakery's own conditions under a prefix")
        condition, names = _read(sealed)
        return Wanted(sealed.root_key, condition, names, first_party, digest(caveat))

    def _known(self, first_party: bytes) -> tuple[Channel, ...]:
        known = self._channels.get(first_party)
        if known is not None:
            return known
        if not self._allow_any:
            raise denied("this discharger answers other first parties")
        try:
            return self._channels_of(first_party)
        except ValueError:
            raise _unreadable() from None

    def _channels_of(self, first_party: bytes) -> tuple[Channel, ...]:
        return tuple([Channel.of_third_party(key, first_party) for key in self._keys])


def _unreadable() -> Refusal:
    return bad_request("the caveat is not of bakery's version 3, or was not made for this discharger")


def _read(sealed: Sealed) -> tuple[str, tuple[str, ...]]:
    """The condition and the names that it wants declared."""
    try:
        names, condition = asked_names(sealed.condition.decode())
        for name in names:
            declare(name, "")
    except CaveatError:
        raise bad_request("a name that is to be declared is none") from None
    except ValueError:  # not UTF-8, or need-declared without names or condition
        raise bad_request("the caveat holds no condition") from None
    distinct = tuple(dict.fromkeys(names))
    if not condition or not condition.isprintable():
        raise bad_request("the caveat's condition is empty, or not printable")
    if len(distinct) > MAX_NAMES:
        raise bad_request(f"a discharge declares at most {MAX_NAMES} names")
    return condition, distinct
