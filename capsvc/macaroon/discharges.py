"""Matching discharges to third-party caveats: step 4 of the decision.

The macaroons paper's figure 8 and libmacaroons' ``macaroon_verify`` recurse, and let one discharge answer any number of
caveats, at the price of exponential work. Here each discharge answers exactly one caveat, breadth first (the root's, in
order, then those of its discharges, in order), and the number of chains computed is bounded.

A discharge answers a caveat if its identifier is the caveat's, it was made under the key in the caveat's ``vid``, and
it is bound to this root. Bakery dischargers give nested caveats of different parents one short id; among discharges of
one id it is then the MAC that tells.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Sequence
from hmac import compare_digest
from typing import Final

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from capsvc.errors import Denied
from capsvc.macaroon.bundle import MAX_DEPTH
from capsvc.macaroon.chain import KEY_OCTETS, VerifiedMacaroon, bind, compute
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon
from capsvc.macaroon.encoding import printable

__all__ = ["MAX_CHAINS", "VID_OCTETS", "match"]

MAX_CHAINS: Final = 32  # computed for one bundle, the root's among them
VID_OCTETS: Final = SecretBox.NONCE_SIZE + SecretBox.MACBYTES + KEY_OCTETS  # 72


def match(
    root: VerifiedMacaroon, discharges: Sequence[UnverifiedMacaroon], unopened: Container[int] = ()
) -> tuple[VerifiedMacaroon, ...]:
    """The discharges of a root and of its discharges, verified, in the order of the caveats that they answer.

    Args:
        root: whose signature is right.
        discharges: what came with it, in any order.
        unopened: the positions of those of the root's third-party caveats that are the issuer's, and that open under
            the key of no discharger whom the issuer knows.

    Raises:
        Denied: ``discharge-missing``, ``discharge-invalid``, ``discharge-unused``, or ``too-large`` past the bounds of
            depth and work.

    """
    unused = _Unused(root, discharges)
    answered: list[VerifiedMacaroon] = []
    queue = deque([(root, 0)])
    while queue:
        parent, depth = queue.popleft()
        for index, caveat in enumerate(parent.macaroon.caveats):
            if caveat.vid is None:
                continue
            if depth == 0 and index in unopened:
                raise _denied("discharge-invalid", caveat)
            key = _open_vid(caveat, caveat.vid, parent.macs[index])
            discharge = unused.take(caveat, key, depth + 1)
            answered.append(discharge)
            queue.append((discharge, depth + 1))
    if unused:
        raise Denied("discharge-unused")
    return tuple(answered)


class _Unused:
    """The discharges that have answered no caveat yet, and the count of chains computed."""

    def __init__(self, root: VerifiedMacaroon, discharges: Sequence[UnverifiedMacaroon]) -> None:
        self._root_mac = root.macs[-1]
        self._chains = 1
        self._by_id: dict[bytes, list[UnverifiedMacaroon]] = {}
        for discharge in discharges:
            self._by_id.setdefault(discharge.identifier, []).append(discharge)

    def __bool__(self) -> bool:
        return any(self._by_id.values())

    def take(self, caveat: RawCaveat, key: bytes, depth: int) -> VerifiedMacaroon:
        """The first discharge of the caveat's id whose bound MAC is right under the caveat's key; it is then used."""
        candidates = self._by_id.get(caveat.cid)
        if not candidates:
            raise _denied("discharge-missing", caveat)
        if depth > MAX_DEPTH:
            raise Denied("too-large")
        for position, candidate in enumerate(candidates):
            macs = self._compute(key, candidate)
            if compare_digest(bind(self._root_mac, macs[-1]), candidate.signature):
                del candidates[position]
                return VerifiedMacaroon(candidate, tuple(macs))
        raise _denied("discharge-invalid", caveat)

    def _compute(self, key: bytes, candidate: UnverifiedMacaroon) -> list[bytes]:
        if self._chains == MAX_CHAINS:
            raise Denied("too-large")
        self._chains += 1
        return compute(key, candidate)


def _open_vid(caveat: RawCaveat, vid: bytes, mac: bytes) -> bytes:
    """The key of the discharge: ``vid`` is a NaCl secretbox under the MAC at the point before the caveat."""
    if len(vid) != VID_OCTETS:
        raise _denied("discharge-invalid", caveat)
    try:
        return SecretBox(mac).decrypt(vid)
    except CryptoError:
        raise _denied("discharge-invalid", caveat) from None


def _denied(code: str, caveat: RawCaveat) -> Denied:
    """A denial that names a third-party caveat, by its location."""
    return Denied(code, printable(caveat.location) if caveat.location else None)
