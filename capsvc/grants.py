"""What the authority answers with: frozen values, no behaviour. Instants are aware UTC datetimes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn

__all__ = [
    "Audience",
    "BakeryKey",
    "Discharger",
    "FeedEntry",
    "FeedPage",
    "Grant",
    "Introspection",
    "KeyInfo",
    "Minted",
    "MintedBy",
    "Revocation",
    "TokenRow",
    "TokenTarget",
    "Verdict",
]

Fact = str | int
"""A fact's value: an integer, or text as a caveat would hold it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One caveat's verdict: ``source`` is issuer, holder or discharge; ``verdict`` is ``satisfied`` or a code."""

    caveat: str
    source: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A token allows a request. ``expires_at`` is the effective one: the earliest of every bound.

    ``verdicts`` is filled when an explanation was asked for, ``kid`` and ``branches`` (43 characters of base64url for
    every chain point from the last issuer caveat on) when a prefix verifier asked.
    """

    id: str
    audience: str
    subject: str | None
    issued_at: datetime
    expires_at: datetime
    facts: Mapping[str, Fact]
    declared: Mapping[str, Mapping[str, str]]
    caveats: tuple[str, ...]
    verdicts: tuple[Verdict, ...] = ()
    kid: str | None = None
    branches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Introspection:
    """What RFC 7662 tells of a token. Ask for ``active``: the value itself is neither true nor false.

    Of a token that is not active nothing is told, not even why. ``scope`` holds the actions that its caveats leave, in
    ascending order; None: they restrict no action. ``client`` is the fact of that name.
    """

    active: bool
    issuer: str | None = None
    audience: str | None = None
    id: str | None = None
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    subject: str | None = None
    scope: tuple[str, ...] | None = None
    client: str | None = None

    def __bool__(self) -> NoReturn:
        raise TypeError("an introspection has no truth value: ask whether it is active")


@dataclass(frozen=True, slots=True)
class Minted:
    """A fresh token; the only answer that holds one, so it keeps ``token`` out of its repr."""

    token: str = field(repr=False)
    id: str
    audience: str
    subject: str | None
    facts: Mapping[str, Fact]
    label: str | None
    issued_at: datetime
    expires_at: datetime
    caveats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MintedBy:
    """The credential that made a token: its id and the branch (43 characters) of its last chain point."""

    id: str
    branch: str


@dataclass(frozen=True, slots=True)
class TokenRow:
    """What is kept of a token: never its text. ``state`` is live, expired or revoked; ``seq`` orders the rows."""

    id: str
    audience: str
    subject: str | None
    facts: Mapping[str, Fact]
    label: str | None
    issued_at: datetime
    expires_at: datetime
    caveats: tuple[str, ...]
    state: str
    minted_by: MintedBy | None
    seq: int


@dataclass(frozen=True, slots=True)
class TokenTarget:
    """What a presented token says of itself once its MAC is right: enough to judge who may act on it."""

    id: str
    audience: str
    subject: str | None
    facts: Mapping[str, Fact]


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revocation that is in force. ``kind`` is id, subject, key or branch; ``repeated`` if it already was."""

    kind: str
    audience: str
    at: datetime
    repeated: bool


@dataclass(frozen=True, slots=True)
class Audience:
    """A set of services that accept the same tokens. ``max_ttl`` is in seconds."""

    name: str
    max_ttl: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A signing key without its secret. ``state`` is active, retiring or revoked."""

    kid: str
    audience: str
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Discharger:
    """A registered third party. Its public keys are 32 octets in standard base64.

    Mints seal for ``public_key``. What was sealed for ``next_public_key`` counts too, so that one key can give way to
    another. ``seq`` orders them.
    """

    name: str
    location: str
    public_key: str
    next_public_key: str | None
    created_at: datetime
    seq: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class BakeryKey:
    """The public half of a key pair of the installation's own, by which dischargers know it.

    ``state`` is next (dischargers can be told of it, nothing is sealed with it yet), active (mints seal with it) or
    retiring (what was sealed with it still counts).
    """

    public_key: str
    state: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """Something that changed, as those who decide elsewhere need to know it.

    ``audience`` is None for what belongs to none. By ``kind`` there are

    - ``id``: a whole token family is revoked: ``id``;
    - ``branch``: a point of a chain and what was made from it: ``id``, ``branch`` (43 characters of base64url);
    - ``subject``: what was issued for ``subject`` up to ``before``;
    - ``key``: ``kid`` is now in ``state`` active, retiring or revoked;
    - ``audience``: tokens of ``name`` live for ``max_ttl`` seconds at most;
    - ``attribute``: ``name`` was declared, or its closed set grew;
    - ``discharger``: ``name`` was added, changed or removed (``state``).

    What another kind has is None. ``at`` says when it took effect; of a subject it is ``before``.
    """

    kind: str
    audience: str | None
    at: datetime
    id: str | None = None
    branch: str | None = None
    subject: str | None = None
    before: datetime | None = None
    kid: str | None = None
    state: str | None = None
    name: str | None = None
    max_ttl: int | None = None


@dataclass(frozen=True, slots=True)
class FeedPage:
    """What came next in the feed, oldest first; ``cursor`` goes on after it, at once if there is ``more``.

    ``epoch`` is another once the database was restored from a backup.
    """

    epoch: str
    cursor: str
    entries: tuple[FeedEntry, ...]
    more: bool
