"""The shapes of bodies about tokens and audiences."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final

import msgspec

from capsvc.http.shape import Shape, check_name, read
from capsvc.wire import parse_instant

__all__ = [
    "AudienceBody",
    "BatchBody",
    "ExchangeBody",
    "MaxTtlBody",
    "MintBody",
    "RevocationBody",
    "ThirdParty",
    "VerifyBody",
    "read_verify",
]

MAX_LABEL_CHARACTERS: Final = 200
MAX_BATCH: Final = 100  # requests
_LAST_YEAR: Final = 9999  # an expiry past 2099 is an instant that no token may have, not a misspelt one


class ThirdParty(Shape, frozen=True):
    """A third-party caveat that a minter asks for."""

    location: str
    condition: str
    declare: list[str] | None = None

    def as_mapping(self) -> dict[str, object]:
        """As ``Authority.mint`` takes it."""
        return {"location": self.location, "condition": self.condition, "declare": self.declare or []}


class MintBody(Shape, frozen=True):
    """POST /v1/tokens. ``ttl`` in seconds."""

    audience: str
    ttl: int | None = None
    expires_at: str | None = None
    subject: str | None = None
    facts: dict[str, str | int] | None = None
    caveats: list[str] | None = None
    third_party: list[ThirdParty] | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        check_name(self.audience, "audience")
        if (self.ttl is None) == (self.expires_at is None):
            raise ValueError("exactly one of ttl and expires_at is given")
        if self.expires_at is not None:
            parse_instant(self.expires_at, last_year=_LAST_YEAR)
        if self.facts is not None and "sub" in self.facts:
            raise ValueError("facts: sub is not among them, that is subject")
        _check_label(self.label or "")

    @property
    def expiry(self) -> datetime | None:
        """``expires_at`` as an aware instant."""
        return None if self.expires_at is None else parse_instant(self.expires_at, last_year=_LAST_YEAR)


class VerifyBody(Shape, frozen=True):
    """POST /v1/verify. The context's values are judged by the decision, but for null."""

    token: str
    audience: str
    context: dict[str, Any] | None = None
    explain: bool | None = None
    prefix: bool | None = None

    def __post_init__(self) -> None:
        check_name(self.audience, "audience")
        if self.context is not None and None in self.context.values():
            raise ValueError("context: no value is null")


class _PlainVerifyBody(VerifyBody, frozen=True, omit_defaults=True):
    """The same where the context holds text and integers alone: what a fast parser reads in one way."""

    token: str
    audience: str
    context: dict[str, str | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]] | None = None
    explain: bool | None = None
    prefix: bool | None = None


class BatchBody(Shape, frozen=True):
    """POST /v1/verify/batch."""

    requests: list[VerifyBody]

    def __post_init__(self) -> None:
        if not 1 <= len(self.requests) <= MAX_BATCH:
            raise ValueError(f"requests: 1 to {MAX_BATCH} of them")


class RevocationBody(Shape, frozen=True):
    """POST /v1/revocations: exactly one of four kinds."""

    id: str | None = None
    key: str | None = None
    token: str | None = None
    audience: str | None = None
    subject: str | None = None
    before: str | None = None

    _kinds: ClassVar = (
        frozenset({"id"}),
        frozenset({"key"}),
        frozenset({"token"}),
        frozenset({"audience", "subject"}),
        frozenset({"audience", "subject", "before"}),
    )

    def __post_init__(self) -> None:
        given = {name for name in self.__struct_fields__ if getattr(self, name) is not None}
        if given not in self._kinds:
            raise ValueError("exactly one of id, key, token, or audience and subject (and before) is given")
        if self.audience is not None:
            check_name(self.audience, "audience")
        if self.before is not None:
            parse_instant(self.before)

    @property
    def watermark(self) -> datetime | None:
        """``before`` as an aware instant."""
        return None if self.before is None else parse_instant(self.before)


class AudienceBody(Shape, frozen=True):
    """POST /v1/audiences. ``max_ttl`` in seconds."""

    name: str
    max_ttl: int | None = None

    def __post_init__(self) -> None:
        check_name(self.name, "name")


class MaxTtlBody(Shape, frozen=True):
    """PATCH /v1/audiences/{name}."""

    max_ttl: int


class ExchangeBody(Shape, frozen=True):
    """POST /v1/exchange."""

    token: str


_decode_plain: Final = msgspec.json.Decoder(_PlainVerifyBody).decode


def read_verify(body: bytes) -> VerifyBody:
    """As `read`, faster where a fast parser cannot read the body in another way.

    That parser refuses what is no JSON, but would take a name twice. It cannot have where the body has as many strings,
    names and values together, as what was read has; without escapes, a string is two quotation marks.
    """
    try:
        plain = _decode_plain(body)
    except ValueError:  # msgspec's errors and Unicode's are
        return read(VerifyBody, body)
    if b"\\" not in body and body.count(b'"') == 2 * _strings(plain):
        return plain
    return read(VerifyBody, body)


def _strings(plain: _PlainVerifyBody) -> int:
    """How many strings the body has that this was read from, if no name is there twice or holds null."""
    count = 4 + (plain.explain is not None) + (plain.prefix is not None)
    if plain.context is None:
        return count
    values = plain.context.values()
    return count + 1 + len(values) + [type(value) for value in values].count(str)


def _check_label(label: str) -> None:
    if len(label) > MAX_LABEL_CHARACTERS:
        raise ValueError(f"label: it has at most {MAX_LABEL_CHARACTERS} characters")
    if any(unicodedata.category(character) == "Cc" for character in label):
        raise ValueError("label: it has no control characters")
