"""Signing keys: made, sealed, opened, and moved from active to retiring or revoked.

Each audience has keys of its own. The key id in a token names the key and so the audience; a key's state and audience
are under a MAC, its 32 random octets sealed for that id and audience alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NoReturn

from nacl.public import PrivateKey

from capsvc.authority.seal import MasterKey, SealError, framed
from capsvc.macaroon.chain import derive_key
from capsvc.store.protocol import StoreUnavailable
from capsvc.store.records import BoxKeyRecord, KeyRecord

__all__ = [
    "ACTIVE",
    "RETIRING",
    "REVOKED",
    "SigningKey",
    "moved",
    "new_box_key",
    "new_key",
    "open_key",
    "opened",
    "proved_public_key",
    "with_state",
]

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


def new_box_key(master: MasterKey, now: int) -> BoxKeyRecord:
    """Return the row of a fresh Curve25519 key pair, by which third parties know the installation."""
    pair = PrivateKey.generate()
    public = bytes(pair.public_key)
    sealed = master.seal(bytes(pair), "box_keys", public.hex(), "", "private key")
    mac = master.mac(BOX_PURPOSE, _box_message(public, ACTIVE, now, sealed))
    return BoxKeyRecord(public, ACTIVE, now, sealed, mac)


def proved_public_key(master: MasterKey, records: Sequence[BoxKeyRecord]) -> bytes:
    """Return the newest pair's public half, once every row is proved: third parties will seal secrets for its owner.

    Raises `SealError` for a row that is another master key's or was altered, or if there is none.
    """
    for record in records:
        message = _box_message(record.public, record.state, record.created_at, record.secret)
        master.check_mac(BOX_PURPOSE, message, record.mac)
    if not records:
        raise SealError("the installation's key pair is missing")
    return records[-1].public


def _box_message(public: bytes, state: str, created_at: int, sealed: bytes) -> bytes:
    return framed("box_keys", public, state, str(created_at), sealed)
