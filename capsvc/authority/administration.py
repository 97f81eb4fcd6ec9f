"""What an administrator keeps: audiences and their keys, third parties, the installation's own key pairs."""

from __future__ import annotations

from capsvc.authority.credential import Credential
from capsvc.authority.installation import DEFAULT_MAX_TTL
from capsvc.authority.keeping import Keeping, audience_of, check_max_ttl, check_name, key_info
from capsvc.authority.keypairs import PairKeeping
from capsvc.authority.office import Clock, Office, as_request_error, can_exist
from capsvc.authority.registering import KeyChange, NewDischarger, Registering, discharger_of
from capsvc.authority.seal import MasterKey
from capsvc.config import Settings
from capsvc.errors import RequestError
from capsvc.grants import Audience, BakeryKey, Discharger, KeyInfo
from capsvc.macaroon.thirdparty import key_text
from capsvc.store.protocol import EPOCH, Store
from capsvc.store.records import Minter
from caveats import Vocabulary

__all__ = ["Administration", "minter_of"]


def minter_of(credential: Credential | None) -> Minter | None:
    """Return how the rows that a credential causes name it; None where the operator acts on the data directory."""
    return None if credential is None else credential.minter


class Administration(Office):
    """The part of the authority that keeps what tokens rest on."""

    def __init__(self, settings: Settings, clock: Clock, store: Store, master: MasterKey) -> None:
        super().__init__(settings, clock, store, master)
        self._keeping = Keeping(master, self._audit)
        self._registering = Registering(master, self._audit)
        self._pairs = PairKeeping(master, self._audit)

    # The installation.

    @property
    def issuer(self) -> str:
        """The issuer's URL."""
        return self._settings.issuer_url

    @property
    def public_key(self) -> str:
        """The installation's Curve25519 public key, in standard base64. Raises `RequestError` ``unavailable``."""
        return key_text(self._view().registry.public_key)

    @property
    def vocabulary(self) -> Vocabulary:
        """The attributes that requests and caveats may name. Raises `RequestError` ``unavailable``."""
        return self._view().vocabulary

    def ready(self) -> None:
        """Return if decisions and writes can be made, else raise `RequestError` ``unavailable``."""
        self._view()
        self._run(lambda tx, _now: tx.meta(EPOCH))

    # Audiences and keys.

    def audiences(self) -> tuple[Audience, ...]:
        """Return every audience, oldest first."""
        return tuple([audience_of(record) for record in self._view().audiences.values()])

    def audience(self, name: str) -> Audience | None:
        """Return an audience."""
        record = self._view().audiences.get(name)
        return None if record is None else audience_of(record)

    def add_audience(self, name: str, max_ttl: int | None = None, *, credential: Credential | None = None) -> Audience:
        """Add an audience, with a key of its own; ``max_ttl`` in seconds, 30 days by default.

        Raises `RequestError` ``bad-request`` ``ttl-invalid`` ``ttl-too-long`` ``exists`` ``unavailable``.
        """
        check_name(name)
        longest = DEFAULT_MAX_TTL if max_ttl is None else max_ttl
        check_max_ttl(longest)
        minter = minter_of(credential)
        return self._run(lambda tx, now: self._keeping.add_audience(tx, name, longest, now, minter))

    def set_max_ttl(self, name: str, max_ttl: int, *, credential: Credential | None = None) -> Audience:
        """Set the longest lifetime of an audience's tokens, in seconds; those out there end earlier or later by it.

        Raises `RequestError` ``bad-request`` ``ttl-invalid`` ``ttl-too-long`` ``not-found`` ``unavailable``.
        """
        check_max_ttl(max_ttl)
        minter = minter_of(credential)
        return self._run(lambda tx, now: self._keeping.set_max_ttl(tx, name, max_ttl, now, minter))

    def keys(self, audience: str) -> tuple[KeyInfo, ...]:
        """Return an audience's keys, oldest first."""
        return tuple([key_info(key) for key in self._view().keys.values() if key.audience == audience])

    def key(self, kid: str) -> KeyInfo | None:
        """Return a key by its id."""
        key = self._view().keys.get(kid)
        return None if key is None else key_info(key)

    def rotate_key(self, audience: str, *, credential: Credential | None = None) -> KeyInfo:
        """Make a fresh active key for an audience; what earlier ones minted stays good.

        Raises `RequestError` ``not-found`` ``unavailable``.
        """
        minter = minter_of(credential)
        return self._run(lambda tx, now: self._keeping.rotate(tx, audience, now, minter))

    # Third parties.

    def dischargers(self) -> tuple[Discharger, ...]:
        """Return every registered discharger, oldest first."""
        return tuple([discharger_of(record) for record in self._view().registry.dischargers])

    def discharger(self, name: str) -> Discharger | None:
        """Return a registered discharger."""
        return next((one for one in self.dischargers() if one.name == name), None)

    def add_discharger(
        self,
        *,
        name: str,
        location: str,
        public_key: str,
        next_public_key: str | None = None,
        credential: Credential | None = None,
    ) -> Discharger:
        """Register a third party whom roots may ask, its keys (standard base64) pinned.

        The registration counts for roots minted from now on; where it was removed this very second, the call waits.

        Raises `RequestError` ``bad-request`` ``exists`` ``unavailable``.
        """
        asked = NewDischarger.checked(name, location, public_key, next_public_key)
        minter = minter_of(credential)
        return self._run_in_time(lambda tx, now: self._registering.add(tx, asked, now, minter))

    def set_discharger(
        self,
        name: str,
        *,
        public_key: str | None = None,
        next_public_key: str | None = None,
        clear_next: bool = False,
        credential: Credential | None = None,
    ) -> Discharger:
        """Change a discharger's keys: those not given stay; ``clear_next`` drops the replacement.

        A key that goes takes with it, at once and for good, what depends on it.

        Raises `RequestError` ``bad-request`` ``not-found`` ``exists`` ``unavailable``.
        """
        asked = KeyChange.checked(public_key, next_public_key, clear_next=clear_next)
        if not can_exist(name):
            raise RequestError("not-found")
        minter = minter_of(credential)
        return self._run_in_time(lambda tx, now: self._registering.change(tx, name, asked, now, minter))

    def remove_discharger(self, name: str, *, credential: Credential | None = None) -> None:
        """Remove a discharger: what depends on it is dead when this returns, and stays so.

        Raises `RequestError` ``not-found`` ``unavailable``.
        """
        minter = minter_of(credential)
        if not can_exist(name):
            raise RequestError("not-found")
        self._run(lambda tx, now: self._registering.remove(tx, name, now, minter))

    def bakery_keys(self) -> tuple[BakeryKey, ...]:
        """Return the installation's own key pairs' public halves, oldest first; no row that somebody altered.

        Raises `RequestError` ``unavailable``.
        """
        with as_request_error():
            return self._pairs.proved(self._store.box_keys())

    def add_bakery_key(self, *, credential: Credential | None = None) -> BakeryKey:
        """Make the key pair that is to be active next, so that dischargers can be told of it before.

        Raises `RequestError` ``exists`` ``unavailable``.
        """
        minter = minter_of(credential)
        return self._run(lambda tx, now: self._pairs.add_next(tx, now, minter))

    def rotate_bakery_key(self, *, credential: Credential | None = None) -> BakeryKey:
        """Make the next key pair, or a fresh one, the active one; what was sealed under the former stays good.

        Raises `RequestError` ``unavailable``.
        """
        minter = minter_of(credential)
        return self._run(lambda tx, now: self._pairs.rotate(tx, now, minter))
