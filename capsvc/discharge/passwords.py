"""Passwords: argon2id in its encoded form, which costs as much for a user that there is not as for one that there is.

Passwords are taken as they are sent, as UTF-8, without normalisation.
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections import Counter
from collections.abc import Iterable
from typing import Final

from argon2 import PasswordHasher, profiles
from argon2.exceptions import VerifyMismatchError

__all__ = ["MAX_PASSWORD_CHARACTERS", "hash_password", "is_hash", "is_password", "is_right", "nobodys_hash"]

MAX_PASSWORD_CHARACTERS: Final = 1_024
MAX_MEMORY_KIB: Final = 2 << 20  # RFC 9106's first recommended option has 2 GiB
MAX_PASSES: Final = 64
MAX_LANES: Final = 64
SALT_OCTETS: Final = range(8, 65)
HASH_OCTETS: Final = range(16, 65)

_HASHER: Final = PasswordHasher.from_parameters(profiles.RFC_9106_LOW_MEMORY)  # 64 MiB, 3 passes, 4 lanes
_HASH: Final = re.compile(
    r"(?P<cost>\$argon2id\$v=19\$m=(?P<m>[1-9][0-9]{0,8}),t=(?P<t>[1-9][0-9]?),p=(?P<p>[1-9][0-9]?))"
    r"\$(?P<salt>[A-Za-z0-9+/]{1,100})\$(?P<hash>[A-Za-z0-9+/]{1,100})"
)


def is_password(text: str) -> bool:
    """Whether it could be one: 1 to 1,024 characters that UTF-8 has."""
    return 0 < len(text) <= MAX_PASSWORD_CHARACTERS and not any("\ud800" <= char <= "\udfff" for char in text)


def hash_password(password: str) -> str:
    """A fresh hash, by the second recommended option of RFC 9106 (64 MiB). Raises `ValueError` if it is no password."""
    if not is_password(password):
        raise ValueError(f"a password has 1 to {MAX_PASSWORD_CHARACTERS:,} characters")
    return _HASHER.hash(password)


def is_right(hashed: str, password: str) -> bool:
    """Whether the hash is the password's. It takes what the hash says: by default some 0.1 s and 64 MiB.

    Raises:
        argon2.exceptions.VerificationError: there is not enough memory.

    """
    try:
        return _HASHER.verify(hashed, password)
    except VerifyMismatchError:
        return False


def is_hash(text: str) -> bool:
    """Whether it is an encoded hash of argon2id, version 1.3, in its one spelling and within bounds."""
    found = _HASH.fullmatch(text)
    if found is None:
        return False
    memory, passes, lanes = (int(found[name]) for name in ("m", "t", "p"))
    return (
        8 * lanes <= memory <= MAX_MEMORY_KIB  # RFC 9106, section 3.1
        and passes <= MAX_PASSES
        and lanes <= MAX_LANES
        and _length(found["salt"]) in SALT_OCTETS
        and _length(found["hash"]) in HASH_OCTETS
    )


def nobodys_hash(hashes: Iterable[str]) -> str:
    """A hash that no password has, at the cost that most of those given have."""
    own = f"$argon2id$v=19$m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}"
    costs = Counter(hashed.rsplit("$", 2)[0] for hashed in hashes)
    cost = costs.most_common(1)[0][0] if costs else own
    return f"{cost}${_random_text(_HASHER.salt_len)}${_random_text(_HASHER.hash_len)}"


def _length(text: str) -> int:
    """How many octets unpadded base64 stands for; 0 if it is not the one spelling of them."""
    try:
        octets = binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        return 0
    return len(octets) if _unpadded(octets) == text else 0


def _random_text(octets: int) -> str:
    return _unpadded(secrets.token_bytes(octets))


def _unpadded(octets: bytes) -> str:
    return binascii.b2a_base64(octets, newline=False).rstrip(b"=").decode("ascii")
