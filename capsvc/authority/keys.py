"""Keys: made, sealed, opened, and moved from one state to the next.

Each audience has keys of its own. The key id in a token names the key and so the audience; a key's state and audience
are under a MAC, its 32 random octets sealed for that id and audience alone. The installation's own key pairs, by which
third parties know it, are kept the same way.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Final, NoReturn

from capsvc.authority.seal import MasterKey, SealError, framed
from capsvc.macaroon.chain import derive_key
from capsvc.macaroon.thirdparty import KeyPair
from capsvc.store.protocol import StoreUnavailable
from capsvc.store.records import BoxKeyRecord, KeyRecord

__all__ = [
    "ACTIVE",
    "NEXT",
    "RETIRING",
    "REVOKED",
    "SigningKey",
    "moved",
    "moved_pair",
    "new_box_key",
    "new_key",
    "open_key",
    "open_pair",
    "opened",
    "with_state",
]

NEXT: Final = "next"
"""Of a key pair alone: dischargers are told of it before anything is sealed with it."""

ACTIVE: Final = "active"
RETIRING: Final = "retiring"
REVOKED: Final = "revoked"

ROOT_KEY_OCTETS: Final = 32
KID_OCTETS: Final = 8  # 16 hex digits; random, so an id is never given twice
STATE_PURPOSE: Final = "key state"
BOX_PURPOSE: Final = "box key state"


class SigningKey:
    """An opened key. ``root`` is for minting, ``chain`` (derived from it once) for verifying; both stay hidden."""

    __slots__ = ("audience", "chain", "created_at", "kid", "root", "state")

    def __init__(self, record: KeyRecord, root: bytes) -> None:
        self.kid = record.kid
        self.audience = record.audience
        self.state = record.state
        self.created_at = record.created_at
        self.root = root
        self.chain = derive_key(root)

    def __repr__(self) -> str:
        return f"<SigningKey {self.kid} of {self.audience}, {self.state}>"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a signing key is neither copied nor pickled")


def _state_message(record: KeyRecord) -> bytes:
    return framed("keys", record.kid, record.audience, record.state, str(record.created_at), record.secret)


def with_state(master: MasterKey, record: KeyRecord, state: str) -> KeyRecord:
    """Return the row in another state, under a fresh MAC."""
    changed = replace(record, state=state)
    return replace(changed, mac=master.mac(STATE_PURPOSE, _state_message(changed)))


def moved(master: MasterKey, record: KeyRecord, state: str) -> KeyRecord:
    """Return a stored row in another state, once it is proved: a row that somebody altered gets no fresh MAC from us.

    Raises `StoreUnavailable` for such a row.
    """
    opened(master, record)
    return with_state(master, record, state)


def opened(master: MasterKey, record: KeyRecord) -> SigningKey:
    """Open a row inside a write, as `open_key`, but raise `StoreUnavailable`, which callers of a write know."""
    try:
        return open_key(master, record)
    except SealError as error:
        raise StoreUnavailable(str(error)) from error


def new_key(master: MasterKey, audience: str, now: int) -> KeyRecord:
    """Return the row of a fresh active key."""
    kid = secrets.token_hex(KID_OCTETS)
    sealed = master.seal(secrets.token_bytes(ROOT_KEY_OCTETS), "keys", kid, audience, "root key")
    return with_state(master, KeyRecord(kid, audience, ACTIVE, now, sealed, b""), ACTIVE)


def open_key(master: MasterKey, record: KeyRecord) -> SigningKey:
    """Open a row, or raise `SealError`: another master key's, or altered."""
    master.check_mac(STATE_PURPOSE, _state_message(record), record.mac)
    root = master.open(record.secret, "keys", record.kid, record.audience, "root key")
    if len(root) != ROOT_KEY_OCTETS:
        raise SealError(f"key {record.kid} does not have {ROOT_KEY_OCTETS} octets")
    return SigningKey(record, root)


def new_box_key(master: MasterKey, now: int, state: str = ACTIVE) -> BoxKeyRecord:
    """Return the row of a fresh Curve25519 key pair, by which third parties know the installation."""
    pair = KeyPair.generate()
    sealed = master.seal(pair.private(), "box_keys", pair.public.hex(), "", "private key")
    return _with_pair_state(master, BoxKeyRecord(pair.public, state, now, sealed, b""), state)


def open_pair(master: MasterKey, record: BoxKeyRecord) -> KeyPair:
    """Open a row, or raise `SealError`: another master key's, or altered."""
    master.check_mac(BOX_PURPOSE, _box_message(record), record.mac)
    private = master.open(record.secret, "box_keys", record.public.hex(), "", "private key")
    try:
        return KeyPair(private)
    except ValueError as error:
        raise SealError(str(error)) from None


def moved_pair(master: MasterKey, record: BoxKeyRecord, state: str) -> BoxKeyRecord:
    """Return a stored row in another state, once it is proved. Raises `StoreUnavailable` for one that was altered."""
    try:
        open_pair(master, record)
    except SealError as error:
        raise StoreUnavailable(str(error)) from error
    return _with_pair_state(master, record, state)


def _with_pair_state(master: MasterKey, record: BoxKeyRecord, state: str) -> BoxKeyRecord:
    changed = replace(record, state=state)
    return replace(changed, mac=master.mac(BOX_PURPOSE, _box_message(changed)))


def _box_message(record: BoxKeyRecord) -> bytes:
    return framed("box_keys", record.public, record.state, str(record.created_at), record.secret)
