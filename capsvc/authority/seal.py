"""The master key: seals what is secret in the database, and vouches for what must not be altered there.

XChaCha20-Poly1305 (`nacl.secret.Aead`, with a random 24-octet nonce for each seal); what a sealed value is for goes in
as associated data, so that no row can be moved or relabelled. MACs are keyed BLAKE2b (RFC 7693), one subkey a purpose.
"""

from __future__ import annotations

import hashlib
from hmac import compare_digest
from typing import Final, NoReturn

from nacl.exceptions import CryptoError
from nacl.secret import Aead

__all__ = ["MASTER_KEY_OCTETS", "MasterKey", "SealError", "framed"]

MASTER_KEY_OCTETS: Final = 32
MAC_OCTETS: Final = 32
SEALING: Final = "capsvc seal 1"  # the first part of all associated data: the format, whatever the schema's version


class SealError(Exception):
    """A sealed value or a MAC does not fit: another master key, or a row that was altered or moved."""


def framed(*parts: str | bytes) -> bytes:
    """Join parts so that no two different sequences give the same octets: each behind its length.

    Raises `SealError` for a part of another type: a column may hold anything once somebody has altered it.
    """
    out = bytearray()
    for part in parts:
        octets = part.encode() if isinstance(part, str) else part
        if not isinstance(octets, bytes):
            raise SealError("a value has a type that it cannot have")
        out += len(octets).to_bytes(4, "big") + octets
    return bytes(out)


class MasterKey:
    """Seals, opens and authenticates; never gives the key away."""

    __slots__ = ("_aead", "_octets")

    def __init__(self, octets: bytes) -> None:
        """Take the key's 32 octets. Raises `ValueError` for any other number of them."""
        if len(octets) != MASTER_KEY_OCTETS:
            raise ValueError(f"a master key has {MASTER_KEY_OCTETS} octets")
        self._octets = octets
        self._aead = Aead(octets)

    def __repr__(self) -> str:
        return "<MasterKey>"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("the master key is neither copied nor pickled")

    def seal(self, secret: bytes, *purpose: str) -> bytes:
        """Encrypt for a purpose: table, row id, audience, use."""
        return bytes(self._aead.encrypt(secret, framed(SEALING, *purpose)))

    def open(self, sealed: bytes, *purpose: str) -> bytes:
        """Decrypt what was sealed for exactly that purpose, or raise `SealError`."""
        try:
            return self._aead.decrypt(sealed, framed(SEALING, *purpose))
        except (CryptoError, ValueError, TypeError):
            raise SealError(f"what is sealed for {'/'.join(purpose)} does not open") from None

    def mac(self, purpose: str, message: bytes) -> bytes:
        """Return the 32-octet MAC of a message under the subkey of that purpose."""
        subkey = hashlib.blake2b(purpose.encode(), key=self._octets, person=b"capsvc subkey 1").digest()
        return hashlib.blake2b(message, key=subkey, digest_size=MAC_OCTETS).digest()

    def check_mac(self, purpose: str, message: bytes, mac: bytes) -> None:
        """Raise `SealError` unless that is the message's MAC."""
        if not isinstance(mac, bytes) or not compare_digest(self.mac(purpose, message), mac):
            raise SealError(f"the MAC for {purpose} is wrong")
