"""The one protocol between the authority and whatever database keeps its state.

Writes are functions of a transaction: a store runs them one after another, several to a commit, and answers each only
when it is durable. Reads never wait for writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Final, Protocol, TypeVar

from capsvc.store.records import (
    AttributeRecord,
    AudienceRecord,
    AuditRecord,
    BoxKeyRecord,
    Change,
    Dependency,
    DischargerRecord,
    Exchanged,
    ExchangeRecord,
    KeyRecord,
    LogMarks,
    LogPage,
    RemovedKeyRecord,
    TokenFilter,
    TokenRecord,
)

__all__ = ["EPOCH", "Store", "StoreUnavailable", "Transaction"]

T = TypeVar("T")

EPOCH: Final = "epoch"
"""The meta value that tells one life of a database from the next, after it was restored."""


class StoreUnavailable(Exception):  # noqa: N818 - it says what the store is
    """The store could not read or write; what was asked for has not happened, or is not acknowledged."""


class Transaction(Protocol):
    """Reads and writes inside one atomic, serialised step. Every method may raise `StoreUnavailable`."""

    def audience(self, name: str) -> AudienceRecord | None:
        """Return the audience of that name."""
        ...

    def put_audience(self, record: AudienceRecord) -> None:
        """Insert an audience, or replace the one of that name."""
        ...

    def key(self, kid: str) -> KeyRecord | None:
        """Return a signing key's row."""
        ...

    def active_kid(self, audience: str) -> str | None:
        """Return the id of the audience's active key."""
        ...

    def put_key(self, record: KeyRecord) -> None:
        """Insert a key, or replace the one of that id."""
        ...

    def delete_key(self, kid: str) -> None:
        """Forget a key."""
        ...

    def box_keys(self) -> list[BoxKeyRecord]:
        """Return the installation's key pairs, oldest first."""
        ...

    def put_box_key(self, record: BoxKeyRecord) -> None:
        """Insert a key pair of the installation, or replace state and MAC of the one with that public key."""
        ...

    def delete_box_key(self, public: bytes) -> None:
        """Forget a key pair of the installation."""
        ...

    def idle_box_keys(self) -> list[bytes]:
        """Return the public keys of retiring pairs under which no kept token's caveat id is sealed."""
        ...

    def discharger(self, name: str) -> DischargerRecord | None:
        """Return the discharger of that name."""
        ...

    def dischargers(self) -> list[DischargerRecord]:
        """Return every discharger, oldest first."""
        ...

    def put_discharger(self, record: DischargerRecord) -> None:
        """Insert a discharger, or replace all but ``seq`` and ``created_at`` of the one of that name."""
        ...

    def delete_discharger(self, name: str) -> None:
        """Forget a discharger."""
        ...

    def put_removed_key(self, record: RemovedKeyRecord) -> None:
        """Remember that a discharger's key was removed."""
        ...

    def last_removal(self, name: str | None, location: str | None, publics: Sequence[bytes]) -> int | None:
        """Return when a key of that name, of that location, or one of these keys was last removed.

        Locations are compared without one trailing slash; None matches none.
        """
        ...

    def last_asked(self, publics: Sequence[bytes]) -> int | None:
        """Return the latest issue time among the roots that ask for one of these dischargers' keys."""
        ...

    def last_expiry_of_dependents(self, public: bytes) -> int | None:
        """Return the latest expiry among the tokens that depend on that discharger's key, exchanged ones too."""
        ...

    def insert_dependencies(self, token_id: str, issued_at: int, dependencies: Sequence[Dependency]) -> None:
        """Insert what a token, issued then, depends on; a key that stands there twice counts once."""
        ...

    def insert_exchange(self, record: ExchangeRecord) -> None:
        """Insert where an exchanged token came from."""
        ...

    def exchanged_from(self, source_id: str) -> list[Exchanged]:
        """Return the tokens that were made in exchange for that one, not what came of them."""
        ...

    def exchanged_under(self, public: bytes) -> list[Exchanged]:
        """Return the exchanged tokens that depend on that discharger's key, not what came of them."""
        ...

    def attributes(self) -> list[AttributeRecord]:
        """Return every declared attribute."""
        ...

    def put_attribute(self, record: AttributeRecord) -> None:
        """Insert a declared attribute, or replace the one of that name."""
        ...

    def meta(self, name: str) -> bytes | int | str | None:
        """Return a value that the installation has one of."""
        ...

    def set_meta(self, name: str, value: bytes | int | str) -> None:
        """Set a value that the installation has one of."""
        ...

    def insert_token(self, record: TokenRecord) -> None:
        """Insert the row of a minted token."""
        ...

    def token(self, token_id: str) -> TokenRecord | None:
        """Return a token's row."""
        ...

    def last_issued_at(self, audience: str, subject: str) -> int | None:
        """Return the latest issue time among the subject's tokens."""
        ...

    def last_expiry_of_subject(self, audience: str, subject: str) -> int | None:
        """Return the latest expiry among the subject's tokens."""
        ...

    def last_expiry_of_key(self, kid: str) -> int | None:
        """Return the latest expiry among the tokens that a key minted."""
        ...

    def revocation_of_id(self, token_id: str) -> Change | None:
        """Return the revocation of that whole token family."""
        ...

    def revocation_of_key(self, kid: str) -> Change | None:
        """Return the revocation of that key."""
        ...

    def watermark(self, audience: str, subject: str) -> Change | None:
        """Return the revocation of that subject."""
        ...

    def branches_of(self, token_id: str) -> list[Change]:
        """Return the revoked branches of one token family."""
        ...

    def append_change(self, change: Change) -> None:
        """Append an entry to the log, and number it: above every entry that there ever was.

        Numbers are given while nobody else can write, so that they are in the order of the commits: whoever sees an
        entry sees all below it, and nothing ever appears below an entry that was seen.
        """
        ...

    def drop_change(self, seq: int) -> None:
        """Remove an entry that a later one covers."""
        ...

    def last_audit_mac(self) -> bytes | None:
        """Return the MAC of the newest audit line."""
        ...

    def append_audit(self, record: AuditRecord) -> None:
        """Append a line to the audit."""
        ...

    def sweepable_keys(self, before: int) -> list[str]:
        """Return the ids of keys no longer active that have no token row left, nor a log entry kept past that time."""
        ...

    def sweep_tokens(self, before: int, limit: int) -> int:
        """Delete at most that many token rows that expired before that time; return how many.

        What was kept of their dischargers and of where they came from goes with them.
        """
        ...

    def sweep_changes(self, before: int, limit: int) -> int:
        """Delete at most that many log entries kept until before that time; return how many.

        The highest of their numbers is remembered: see `LogMarks`.
        """
        ...

    def sweep_removed_keys(self, before: int, limit: int) -> int:
        """Delete at most that many removed keys kept until before that time; return how many."""
        ...


class Store(Protocol):
    """A database that keeps the authority's state. Safe to use from several threads."""

    def write(self, work: Callable[[Transaction], T]) -> Future[T]:
        """Run ``work`` in a transaction and resolve when its effects are durable.

        What ``work`` raises undoes its own effects alone and comes out of the future.
        """
        ...

    def generation(self) -> int:
        """Return a number that differs from before if anybody, in any process, has committed since."""
        ...

    def changes(self, after: int) -> list[Change]:
        """Return the log's entries above a sequence number, in commit order."""
        ...

    def log(self, after: int, limit: int) -> LogPage:
        """Return at most that many of them, and where the log stood at that very moment."""
        ...

    def log_marks(self) -> LogMarks:
        """Return where the log stands."""
        ...

    def audiences(self) -> list[AudienceRecord]:
        """Return every audience, oldest first."""
        ...

    def signing_keys(self) -> list[KeyRecord]:
        """Return every signing key, oldest first."""
        ...

    def box_keys(self) -> list[BoxKeyRecord]:
        """Return the installation's key pairs, oldest first."""
        ...

    def dischargers(self) -> list[DischargerRecord]:
        """Return every discharger, oldest first."""
        ...

    def attributes(self) -> list[AttributeRecord]:
        """Return every declared attribute."""
        ...

    def meta(self, name: str) -> bytes | int | str | None:
        """Return a value that the installation has one of."""
        ...

    def token(self, token_id: str) -> TokenRecord | None:
        """Return a token's row."""
        ...

    def tokens(self, wanted: TokenFilter, after: int, limit: int) -> list[TokenRecord]:
        """Return token rows above a sequence number, oldest first."""
        ...

    def audit(self) -> Iterator[AuditRecord]:
        """Iterate over the whole audit, oldest first."""
        ...

    def last_recorded_at(self) -> int | None:
        """Return the time of the newest audit line."""
        ...

    def close(self) -> None:
        """Finish what was submitted and let go of the database."""
        ...
