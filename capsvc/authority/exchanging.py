"""Exchange: a discharged bundle for a token without third-party caveats.

The new token says all that the bundle said: its issuer caveats are the source's own first-party ones, and after them
stand every holder caveat and every first-party caveat of every discharge. Only what dischargers declare is left behind,
since nobody but they can state it. Key, audience and issue time are the source's, so that whatever revokes those
revokes both; a revocation of the source itself is passed on (`capsvc.authority.descending`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from capsvc.authority.audit import AuditLog
from capsvc.authority.decision import Source
from capsvc.authority.keys import REVOKED
from capsvc.authority.minting import last_branch, minted, new_token_id
from capsvc.authority.registry import registered_keys
from capsvc.decision.instants import NANOSECONDS, aware
from capsvc.errors import Denied, TokenError
from capsvc.grants import Minted
from capsvc.macaroon import build
from capsvc.macaroon.decode import RawCaveat
from capsvc.macaroon.encoding import printable
from capsvc.macaroon.identifier import Identifier
from capsvc.store.protocol import Transaction
from capsvc.store.records import Dependency, ExchangeRecord, Minter, TokenRecord

__all__ = ["Exchanging"]

DECLARED: Final = b"declared "


class Exchanging:
    """Makes the new token, and writes it down unless its source was revoked meanwhile."""

    def __init__(self, audit: AuditLog, issuer: str) -> None:
        """``issuer`` is the location that roots carry."""
        self._audit = audit
        self._issuer = issuer

    def make(self, source: Source, minter: Minter | None) -> tuple[str, TokenRecord]:
        """Make the token and the row that is kept of it.

        Raises `Denied`: ``too-large`` past a bound, ``caveat-malformed`` for octets that no token of ours has.
        """
        presented, reading = source.presented, source.reading
        issued, added = _carried(source)
        texts = [_text(caveat) for caveat in (*issued, *added)]
        token_id, key = new_token_id(), presented.key
        found = Identifier(key.kid, token_id, presented.identifier.issued_at, len(issued))
        try:
            token = build.mint(key.root, self._issuer, found.encode(), texts)
        except TokenError as error:
            raise Denied(error.code) from None
        record = TokenRecord(
            id=token_id,
            kid=key.kid,
            audience=key.audience,
            subject=reading.subject,
            facts={name: value for name, value in reading.facts.items() if name != "sub"},
            label=None,
            issued_at=presented.identifier.issued_at,
            expires_at=(reading.earliest_bound or 0) // NANOSECONDS,
            caveats=tuple(texts),
            branch=last_branch(token),
            minter=minter,
        )
        return token, record

    def write(self, tx: Transaction, source: Source, token: str, record: TokenRecord, now: int) -> Minted:
        """Write it down as made from its source, at ``now`` (Unix seconds).

        Raises `Denied`: ``revoked`` or ``discharge-invalid`` where the source died since it was judged.
        """
        _check_revocation(tx, source)
        _check_dischargers(tx, source)
        presented = source.presented
        tx.insert_token(record)
        keys = {one.key for one in source.asked.values() if one is not None}
        tx.insert_dependencies(record.id, record.issued_at, [Dependency(key, None) for key in sorted(keys)])
        tx.insert_exchange(ExchangeRecord(record.id, presented.identifier.tid, b"".join(presented.branches())))
        self._audit.append(
            tx,
            at=now,
            action="exchange",
            target=record.id,
            audience=record.audience,
            minter=record.minter,
            kid=record.kid,
            source=presented.identifier.tid,
        )
        return replace(minted(token, record), expires_at=aware(source.expires_at))


def _carried(source: Source) -> tuple[list[bytes], list[bytes]]:
    """The caveats of the issuer, and all others, that the new token gets."""
    root, count = source.presented.root.macaroon, source.presented.identifier.issuer_caveats
    added = _first_party(root.caveats[count:])
    for discharge in source.matched:
        added.extend(caveat for caveat in _first_party(discharge.macaroon.caveats) if not caveat.startswith(DECLARED))
    return _first_party(root.caveats[:count]), added


def _first_party(caveats: tuple[RawCaveat, ...]) -> list[bytes]:
    return [caveat.cid for caveat in caveats if caveat.vid is None]


def _text(caveat: bytes) -> str:
    text = printable(caveat)
    if text.encode() != caveat:
        raise Denied("caveat-malformed", text)
    return text


def _check_revocation(tx: Transaction, source: Source) -> None:
    """Step 5 once more, inside the transaction: an exchange that races a revocation loses."""
    presented, subject = source.presented, source.reading.subject
    key = tx.key(presented.key.kid)
    if key is None or key.state == REVOKED or tx.revocation_of_id(presented.identifier.tid) is not None:
        raise Denied("revoked")
    if subject is not None:
        mark = tx.watermark(presented.key.audience, subject)
        if mark is not None and mark.before is not None and presented.identifier.issued_at <= mark.before:
            raise Denied("revoked")
    path = presented.branches()
    if any(change.branch in path for change in tx.branches_of(presented.identifier.tid)):
        raise Denied("revoked")


def _check_dischargers(tx: Transaction, source: Source) -> None:
    """Of step 4 what may have changed: that each discharger is registered still."""
    for one in source.asked.values():
        record = None if one is None else tx.discharger(one.discharger)
        keys = [] if record is None else registered_keys(record)
        issued_at = source.presented.identifier.issued_at
        if one is None or not any(key.public == one.key and key.since <= issued_at for key in keys):
            raise Denied("discharge-invalid")
