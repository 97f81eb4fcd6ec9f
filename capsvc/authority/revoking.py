"""Revocation: by id (a whole family), by branch (one token and what is made from it), by subject, by key.

Each is one transaction, and is in force for every process when it is acknowledged. It is kept until the issuer's own
bound of every token that it touches has passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from capsvc.authority.audit import AuditLog
from capsvc.authority.descending import revoke_descendants
from capsvc.authority.keys import REVOKED, moved
from capsvc.authority.presented import Presented
from capsvc.authority.seal import MasterKey
from capsvc.decision.branches import branch_text
from capsvc.decision.instants import aware
from capsvc.errors import RequestError
from capsvc.grants import Revocation
from capsvc.store.protocol import Transaction
from capsvc.store.records import Change, Minter

__all__ = ["Revoking"]

PRESENTED_BRANCHES: Final = 64
"""Branches of one token family that whoever holds tokens of it may revoke, so that none can fill the store."""

PRESENTED_ACTS: Final = 1024
"""Revocations of one token family by whoever holds tokens of it: each leaves a line in the audit for good."""

LATER_MINTS: Final = 3600
"""Seconds that a watermark without tokens is kept: a mint that was under way waits until its issue time is above it."""


@dataclass(frozen=True, slots=True)
class Revoking:
    """The writes of revocation; each runs inside a transaction at ``now``, in Unix seconds."""

    master: MasterKey
    audit: AuditLog

    def id(self, tx: Transaction, token_id: str, now: int, minter: Minter | None) -> Revocation:
        """Revoke a token and everything made from it. Raises `RequestError` ``not-found``."""
        row = tx.token(token_id)
        if row is None:
            raise RequestError("not-found")
        earlier = tx.revocation_of_id(token_id)
        if earlier is not None:
            return _answer(earlier, repeated=True)
        for branch in tx.branches_of(token_id):
            tx.drop_change(branch.seq)
        revoke_descendants(tx, tx.exchanged_from(token_id), now)
        change = Change("id", row.audience, now, row.expires_at, id=token_id)
        return self._append(tx, change, token_id, now, minter)

    def subject(
        self, tx: Transaction, who: tuple[str, str], before: int | None, now: int, minter: Minter | None
    ) -> Revocation:
        """Revoke the tokens of a subject in an audience up to an issue time: by default all that were minted so far.

        ``who`` is audience and subject; ``before`` in Unix seconds.

        Raises `RequestError` ``audience-unknown``, or ``bad-request`` for a time that lies ahead.
        """
        audience, subject = who
        if tx.audience(audience) is None:
            raise RequestError("audience-unknown")
        if before is not None and before > now:
            raise RequestError("bad-request", "before must not lie ahead.")
        watermark = max(now, tx.last_issued_at(audience, subject) or 0) if before is None else before
        earlier = tx.watermark(audience, subject)
        if earlier is not None:
            if earlier.before is not None and earlier.before >= watermark:
                return _answer(earlier, repeated=True)
            tx.drop_change(earlier.seq)
        keep_until = max(tx.last_expiry_of_subject(audience, subject) or 0, watermark + LATER_MINTS)
        change = Change("subject", audience, watermark, keep_until, subject=subject, before=watermark)
        return self._append(tx, change, subject, now, minter)

    def key(self, tx: Transaction, kid: str, now: int, minter: Minter | None) -> Revocation:
        """Revoke a key, and with it every token that it minted. Raises `RequestError` ``not-found``."""
        record = tx.key(kid)
        if record is None:
            raise RequestError("not-found")
        earlier = tx.revocation_of_key(kid)
        if earlier is not None:
            return _answer(earlier, repeated=True)
        tx.put_key(moved(self.master, record, REVOKED))
        keep_until = max(tx.last_expiry_of_key(kid) or 0, now)
        change = Change("key", record.audience, now, keep_until, kid=kid, state=REVOKED)
        return self._append(tx, change, kid, now, minter)

    def token(
        self, tx: Transaction, presented: Presented, now: int, minter: Minter | None, *, by_holder: bool
    ) -> Revocation:
        """Revoke the branch of a presented token: itself and what is made from it, not its parent.

        At or below a point that is revoked already nothing is stored; what is stored below the new point goes. With
        ``by_holder``, raises `RequestError` ``unavailable`` at 64 branches of a family.
        """
        token_id = presented.identifier.tid
        path = presented.branches()
        stored = tx.branches_of(token_id)
        above = tx.revocation_of_id(token_id) or next((change for change in stored if change.branch in path), None)
        if above is not None:
            return Revocation("branch", presented.key.audience, aware(above.at), repeated=True)
        below = [change for change in stored if path[-1] in _points(change.path)]
        acts = sum(change.presented for change in below)
        if by_holder:
            covered = {change.seq for change in below}
            _check_holder([change for change in stored if change.seq not in covered], acts)
        for change in below:
            tx.drop_change(change.seq)
        revoke_descendants(tx, [one for one in tx.exchanged_from(token_id) if path[-1] in _points(one.path)], now)
        row = tx.token(token_id)
        change = Change(
            "branch",
            presented.key.audience,
            now,
            now if row is None else row.expires_at,  # no row: expired and swept
            id=token_id,
            branch=path[-1],
            path=b"".join(path),
            presented=1 + acts if by_holder else 0,
        )
        return self._append(tx, change, token_id, now, minter)

    def _append(self, tx: Transaction, change: Change, target: str, now: int, minter: Minter | None) -> Revocation:
        tx.append_change(change)
        self.audit.append(
            tx,
            at=now,
            action="revoke",
            target=target,
            audience=change.audience,
            minter=minter,
            kind=change.kind,
            branch=None if change.branch is None else branch_text(change.branch),
            before=change.before,
        )
        return _answer(change, repeated=False)


def _check_holder(others: list[Change], acts: int) -> None:
    """Raise `RequestError` ``unavailable`` where holders have revoked so much of a family that another act is too much.

    ``others`` are the family's revoked branches that would stay, ``acts`` how many came together in those that go.
    """
    if sum(change.presented > 0 for change in others) >= PRESENTED_BRANCHES:
        raise RequestError("unavailable", "Too many branches of this token are revoked; revoke a token above them.")
    if acts + sum(change.presented for change in others) >= PRESENTED_ACTS:
        raise RequestError("unavailable", "Too much of this token was revoked by its holders; ask its issuer.")


def _points(path: bytes | None) -> tuple[bytes, ...]:
    """Return the branches of a stored way from the last issuer caveat."""
    path = path or b""
    return tuple([path[start : start + 32] for start in range(0, len(path), 32)])


def _answer(change: Change, *, repeated: bool) -> Revocation:
    return Revocation(change.kind, change.audience or "", aware(change.at), repeated)
