"""Branches: points of a token's chain, named without giving the MAC away.

A branch is ``SHA-256("capsvc branch 1" || 0x00 || MAC)``. Whoever has a MAC can make tokens from its point on; whoever
has a branch can only recognise them.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from capsvc.macaroon.encoding import b64encode

__all__ = ["branch_of", "branch_text", "branches_from"]

_PREFIX: Final = sha256(b"capsvc branch 1\0")


def branch_of(mac: bytes) -> bytes:
    """Return the branch (32 octets) of the chain point with that MAC."""
    digest = _PREFIX.copy()
    digest.update(mac)
    return digest.digest()


def branches_from(macs: tuple[bytes, ...], point: int) -> tuple[bytes, ...]:
    """Return the branches of a chain's points from ``point`` to the last."""
    return tuple(branch_of(mac) for mac in macs[point:])


def branch_text(branch: bytes) -> str:
    """Return a branch as 43 characters of base64url."""
    return b64encode(branch)
