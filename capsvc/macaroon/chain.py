"""The MAC chain: the one place that computes it.

Birgisson and others, "Macaroons: Cookies with Contextual Caveats for Decentralized Authorization in the Cloud" (NDSS
2014), figures 7 and 8, as libmacaroons (``macaroons.c``) does it, with HMAC-SHA256::

    key     = HMAC("macaroons-key-generator", root key)
    point 0 = HMAC(key, identifier)
    point i = HMAC(point i-1, cid)                                           a first party's caveat
    point i = HMAC(point i-1, HMAC(point i-1, vid) || HMAC(point i-1, cid))  a third party's
    signature = the last point

Nothing here asks what a caveat means: each goes into the MAC, and none is read before the MAC is right.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from hmac import compare_digest
from typing import Final, NoReturn

from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon

__all__ = [
    "KEY_OCTETS",
    "VerifiedMacaroon",
    "bind",
    "compute",
    "continue_from",
    "derive_key",
    "extend",
    "verify",
]

KEY_OCTETS: Final = 32
_KEY_GENERATOR: Final = b"macaroons-key-generator"
_ZERO_KEY: Final = bytes(KEY_OCTETS)

# RFC 2104 with SHA-256's block of 64 octets. `hmac` spends a third of its time on fetching the algorithm from OpenSSL.
_INNER: Final = bytes(octet ^ 0x36 for octet in range(256))
_OUTER: Final = bytes(octet ^ 0x5C for octet in range(256))


def _hmac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256 under a key of at most 64 octets."""
    block = key.ljust(64, b"\0")
    return sha256(block.translate(_OUTER) + sha256(block.translate(_INNER) + message).digest()).digest()


def derive_key(root_key: bytes) -> bytes:
    """The key of the chain that a root key starts: worked out once per root key, and as secret as that.

    Raises:
        ValueError: for an empty root key, under which anybody could sign.

    """
    if not root_key:
        raise ValueError("a root key is not empty")
    return _hmac(_KEY_GENERATOR, root_key)


def compute(key: bytes, macaroon: UnverifiedMacaroon) -> list[bytes]:
    """The MACs at every point of a macaroon's chain: after the identifier, then after each caveat.

    They are secrets: whoever has one can add caveats at its point, and drop those that follow it.

    Raises:
        ValueError: for a key that is not 32 octets.

    """
    if len(key) != KEY_OCTETS:
        raise ValueError(f"the key of a chain has {KEY_OCTETS} octets")
    mac = _hmac(key, macaroon.identifier)
    macs = [mac]
    for caveat in macaroon.caveats:
        mac = _hmac(mac, caveat.cid) if caveat.vid is None else extend(mac, caveat)
        macs.append(mac)
    return macs


def extend(mac: bytes, caveat: RawCaveat) -> bytes:
    """The MAC at the point after a caveat, from the one before it."""
    if caveat.vid is None:
        return _hmac(mac, caveat.cid)
    return _hmac(mac, _hmac(mac, caveat.vid) + _hmac(mac, caveat.cid))


def bind(root_mac: bytes, discharge_mac: bytes) -> bytes:
    """The signature of a discharge that is bound to a root (libmacaroons' ``macaroon_bind``)."""
    return _hmac(_ZERO_KEY, _hmac(_ZERO_KEY, root_mac) + _hmac(_ZERO_KEY, discharge_mac))


def continue_from(confirmed: UnverifiedMacaroon, macaroon: UnverifiedMacaroon) -> list[bytes] | None:
    """The MACs at the points of a macaroon after those of one whose signature is right, or None if its own is wrong.

    Whoever has a macaroon has the MAC of its last point, and can go on from there, as everybody who narrows it does.

    Raises:
        ValueError: for a macaroon that does not begin with the other's identifier and caveats.

    """
    count = len(confirmed.caveats)
    if macaroon.identifier != confirmed.identifier or macaroon.caveats[:count] != confirmed.caveats:
        raise ValueError("not narrowed from that macaroon")
    macs = [confirmed.signature]
    for caveat in macaroon.caveats[count:]:
        macs.append(extend(macs[-1], caveat))
    return macs[1:] if compare_digest(macs[-1], macaroon.signature) else None


class VerifiedMacaroon:
    """A macaroon whose signature is right, and the MACs at its points; made by this package alone.

    The MACs are secrets, so a verified macaroon is neither shown, nor copied, nor pickled.
    """

    __slots__ = ("macaroon", "macs")

    def __init__(self, macaroon: UnverifiedMacaroon, macs: tuple[bytes, ...]) -> None:
        self.macaroon = macaroon
        self.macs = macs

    def __repr__(self) -> str:
        return f"<VerifiedMacaroon with {len(self.macaroon.caveats)} caveats>"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a verified macaroon holds secrets: it is neither copied nor pickled")


_NO_KEY: Final = secrets.token_bytes(KEY_OCTETS)


def verify(macaroon: UnverifiedMacaroon, key: bytes | None) -> VerifiedMacaroon | None:
    """The macaroon as a verified one, or None if its signature is not the last MAC of its chain under ``key``.

    The whole chain is computed first, and compared in constant time. ``None`` is the key of whoever has none (the key
    id is unknown): it costs the same and never verifies.
    """
    macs = compute(_NO_KEY if key is None else key, macaroon)
    if not compare_digest(macs[-1], macaroon.signature) or key is None:
        return None
    return VerifiedMacaroon(macaroon, tuple(macs))
