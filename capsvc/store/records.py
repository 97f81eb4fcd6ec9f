"""What a store keeps, as frozen values. Times are whole Unix seconds; secrets come sealed and are never opened here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "AttributeRecord",
    "AudienceRecord",
    "AuditRecord",
    "BoxKeyRecord",
    "Change",
    "Dependency",
    "DischargerRecord",
    "ExchangeRecord",
    "Exchanged",
    "KeyRecord",
    "LogMarks",
    "LogPage",
    "Minter",
    "RemovedKeyRecord",
    "TokenFilter",
    "TokenRecord",
]


@dataclass(frozen=True, slots=True)
class AudienceRecord:
    """An audience; ``max_ttl`` in seconds."""

    name: str
    max_ttl: int
    created_at: int


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A signing key: ``secret`` sealed under the master key, ``mac`` over everything else of the row."""

    kid: str
    audience: str
    state: str
    created_at: int
    secret: bytes
    mac: bytes


@dataclass(frozen=True, slots=True)
class BoxKeyRecord:
    """A Curve25519 key pair of the installation: ``public`` is 32 octets, ``secret`` sealed.

    ``state`` is next, active or retiring; at most one is next, and one active.
    """

    public: bytes
    state: str
    created_at: int
    secret: bytes
    mac: bytes


@dataclass(frozen=True, slots=True)
class DischargerRecord:
    """A registered third party: its key counts for roots issued at or after ``since``, its next one (or None) likewise.

    Public keys are 32 octets; ``mac`` is over everything else of the row but ``seq``.
    """

    name: str
    location: str
    public: bytes
    since: int
    next_public: bytes | None
    next_since: int | None
    created_at: int
    mac: bytes
    seq: int = 0


@dataclass(frozen=True, slots=True)
class RemovedKeyRecord:
    """A discharger's key that no longer counts, since ``at``; kept until what depended on it has expired."""

    name: str
    location: str
    public: bytes
    at: int
    keep_until: int


@dataclass(frozen=True, slots=True)
class Dependency:
    """A discharger's key that a token depends on.

    ``pair`` is the installation's public key under which the caveat id was sealed, None for an exchanged token.
    """

    public: bytes
    pair: bytes | None


@dataclass(frozen=True, slots=True)
class ExchangeRecord:
    """A token, ``id``, made in exchange for another.

    ``path`` holds the branches (32 octets each) of the source's chain points, from its last issuer caveat to its end.
    """

    id: str
    source_id: str
    path: bytes


@dataclass(frozen=True, slots=True)
class Exchanged:
    """An exchanged token as whoever revokes its source needs it: what `ExchangeRecord` holds, and its own row's end."""

    id: str
    audience: str
    expires_at: int
    path: bytes


@dataclass(frozen=True, slots=True)
class AttributeRecord:
    """An attribute that the operator declared; ``values`` is a word's closed set, or None."""

    name: str
    type: str
    fact: bool
    values: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Minter:
    """The credential that caused a row: its token id and the branch (32 octets) of its last chain point."""

    id: str
    branch: bytes


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A minted token without its MAC; ``branch`` (32 octets) is that of its last issuer caveat."""

    id: str
    kid: str
    audience: str
    subject: str | None
    facts: Mapping[str, str | int]
    label: str | None
    issued_at: int
    expires_at: int
    caveats: tuple[str, ...]
    branch: bytes
    minter: Minter | None
    seq: int = 0


@dataclass(frozen=True, slots=True)
class TokenFilter:
    """Which token rows are wanted; None means any."""

    audience: str | None = None
    subject: str | None = None
    minter_id: str | None = None
    minter_branch: bytes | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the log that every process follows, in commit order.

    ``kind`` is id, branch, subject, key, audience, attribute or discharger. It is kept until ``keep_until``: for a
    revocation the time when the last token that it touches has expired. ``path`` holds, of a branch, the branches (32
    octets each) of every chain point from the last issuer caveat to its own, so that what lies below another is
    recognised. ``presented`` counts the revocations by whoever held the token that came together in a branch's entry.
    """

    kind: str
    audience: str | None
    at: int
    keep_until: int
    id: str | None = None
    branch: bytes | None = None
    path: bytes | None = None
    presented: int = 0
    subject: str | None = None
    before: int | None = None
    kid: str | None = None
    state: str | None = None
    name: str | None = None
    max_ttl: int | None = None
    seq: int = 0


@dataclass(frozen=True, slots=True)
class LogMarks:
    """Where the log of changes stands at one moment.

    ``epoch`` is another once the database was restored. ``head`` is the number of the newest entry that there ever was,
    kept or not; ``swept`` that of the newest which a sweep deleted; both are 0 for none.
    """

    epoch: str
    head: int
    swept: int


@dataclass(frozen=True, slots=True)
class LogPage:
    """Entries of the log, oldest first, and where it stood when they were read."""

    marks: LogMarks
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One line of the audit: what was done, to what, by whom; ``mac`` chains it to the line before."""

    at: int
    action: str
    audience: str | None
    target: str
    detail: str
    minter: Minter | None
    mac: bytes
    seq: int = 0
