"""Steps 1 and 2 of the decision: a bundle's text to a root that is proved ours. Nothing here looks at a caveat.

What is proved is remembered by the bundle's text, bounded; that skips work, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from capsvc.authority.keys import REVOKED, SigningKey
from capsvc.authority.registry import Registry
from capsvc.authority.view import View
from capsvc.decision.branches import branch_of, branches_from
from capsvc.decision.reading import Asked
from capsvc.errors import Denied, TokenError
from capsvc.macaroon import identifier
from capsvc.macaroon.bundle import split
from capsvc.macaroon.chain import VerifiedMacaroon, verify
from capsvc.macaroon.decode import UnverifiedMacaroon
from capsvc.macaroon.discharges import match
from capsvc.macaroon.identifier import Identifier
from capsvc.store.protocol import StoreUnavailable

__all__ = ["Presented", "Presenter"]

NOTHING_ASKED: Final[Mapping[int, Asked | None]] = MappingProxyType({})

SEEN: Final = 16_384  # hashes of bundles that were shown once
YOUNG: Final = 1024  # bundles; twice as many are remembered at most
REMEMBERED_OCTETS: Final = 4096  # of one bundle's text: longer ones are proved each time


class Presented:
    """A bundle whose root is ours, whose discharges are yet to be matched. Holds MACs, so it shows nothing."""

    __slots__ = ("audience", "discharges", "identifier", "key", "key_revoked", "memo", "needs_discharges", "root")

    def __init__(
        self, root: VerifiedMacaroon, key: SigningKey, found: Identifier, discharges: tuple[UnverifiedMacaroon, ...]
    ) -> None:
        self.root = root
        self.key = key  # another object once it has changed its state
        self.audience = key.audience
        self.key_revoked = key.state == REVOKED
        self.identifier = found
        self.discharges = discharges
        self.needs_discharges = bool(discharges) or any([caveat[1] is not None for caveat in root.macaroon.caveats])
        self.memo: object = None
        """What later steps worked out from the token alone; theirs to check and to replace."""

    def __repr__(self) -> str:
        return f"<Presented {self.identifier.tid}>"

    def asked(self, registry: Registry) -> Mapping[int, Asked | None]:
        """Return what the issuer's third-party caveats ask, by their positions; None for one that does not open."""
        if not self.needs_discharges:
            return NOTHING_ASKED
        return registry.asked(self.root.macaroon.caveats[: self.identifier.issuer_caveats], self.identifier.issued_at)

    def match(self, asked: Mapping[int, Asked | None]) -> tuple[VerifiedMacaroon, ...]:
        """Do step 4: the discharges, in the order of the caveats that they answer. Raises `Denied`."""
        if not self.needs_discharges:
            return ()
        return match(self.root, self.discharges, {position for position, one in asked.items() if one is None})

    def branches(self) -> tuple[bytes, ...]:
        """Return the branches of the root's chain points, from the last issuer caveat's to the last."""
        return branches_from(self.root.macs, self.identifier.issuer_caveats)

    def last_branch(self) -> bytes:
        """Return the branch of the last chain point: what revoking this very token revokes."""
        return branch_of(self.root.macs[-1])


class Presenter:
    """Proves bundles against the state as it is now. Safe to use from several threads."""

    def __init__(self, follow: Callable[[], View]) -> None:
        """Take the function that gives the state as it is now; it may raise `StoreUnavailable`."""
        self._follow = follow
        self._memory = _Memory()

    def present(self, bundle: str) -> tuple[Presented, View]:
        """Do steps 1 and 2, or find them done; also return the state that they were judged by.

        Raises `Denied`: ``too-large``, ``malformed``, ``invalid-token``, ``unavailable``.
        """
        found = self._memory.find(bundle) if isinstance(bundle, str) else None
        macaroons = None if found is not None else _decoded(bundle)
        try:
            view = self._follow()
        except StoreUnavailable:
            raise Denied("unavailable") from None
        # A key that has changed its state, or has gone, is another object.
        if found is None or view.keys.get(found.identifier.kid) is not found.key:
            found = _proved(macaroons or _decoded(bundle), view)
            self._memory.keep(bundle, found)
        return found, view


class _Memory:
    """Presented bundles by their text, from their second sight on, bounded.

    What is shown but once leaves nothing behind but its hash. When the young ones are many, they become the old ones,
    so forgetting costs nothing. Every step is one operation on a dict or set, which needs no lock.
    """

    __slots__ = ("_old", "_seen", "_young")

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._young: dict[str, Presented] = {}
        self._old: dict[str, Presented] = {}

    def find(self, bundle: str) -> Presented | None:
        return self._young.get(bundle) or self._old.get(bundle)

    def keep(self, bundle: str, presented: Presented) -> None:
        if len(bundle) > REMEMBERED_OCTETS:
            return
        if hash(bundle) not in self._seen:
            if len(self._seen) >= SEEN:
                self._seen = set()
            self._seen.add(hash(bundle))
            return
        if len(self._young) >= YOUNG:
            self._old, self._young = self._young, {}
        self._young[bundle] = presented


def _decoded(bundle: str) -> tuple[UnverifiedMacaroon, ...]:
    """Step 1."""
    if not isinstance(bundle, str):
        raise Denied("malformed")
    try:
        return split(bundle)
    except TokenError as error:
        raise Denied(error.code) from None


def _proved(macaroons: tuple[UnverifiedMacaroon, ...], view: View) -> Presented:
    """Step 2. An unknown key, an identifier that is none of ours and a wrong MAC cost and say the same."""
    root = macaroons[0]
    found = _identified(root)
    key = None if found is None else view.keys.get(found.kid)
    verified = verify(root, None if key is None else key.chain)
    if verified is None or key is None or found is None:
        raise Denied("invalid-token")
    return Presented(verified, key, found, macaroons[1:])


def _identified(root: UnverifiedMacaroon) -> Identifier | None:
    try:
        found = identifier.parse(root.identifier)
    except ValueError:
        return None
    return found if found.issuer_caveats <= len(root.caveats) else None
