r"""The bodies that both ends of HTTP speak: values to JSON objects, and back.

Instants are text as in caveats (``2026-11-22T12:00:00Z``, UTC, whole seconds); caveats are text whose octets outside
0x20-0x7E are shown as ``\xNN``. Writers give plain dictionaries with every field that the contract names, ``None``
where there is nothing to say. Readers take an answer's JSON and ignore fields that they do not know, so that a newer
service can say more; an answer that is not of its shape raises ``ValueError``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec

from capsvc.errors import SENTENCES, Denied
from capsvc.grants import (
    Audience,
    BakeryKey,
    Discharger,
    Fact,
    Grant,
    KeyInfo,
    Minted,
    Revocation,
    TokenRow,
    Verdict,
)

__all__ = [
    "audience_object",
    "bakery_key_object",
    "denial_object",
    "discharger_change",
    "discharger_object",
    "discharger_request",
    "exchange_request",
    "grant_object",
    "instant_text",
    "key_object",
    "mint_request",
    "minted_object",
    "parse_instant",
    "read_audience",
    "read_bakery_key",
    "read_decision",
    "read_discharger",
    "read_key",
    "read_minted",
    "read_page",
    "read_revocation",
    "read_token_row",
    "revocation_object",
    "revocation_request",
    "token_row_object",
    "verify_request",
    "visible",
]

JsonObject = dict[str, Any]
_T = TypeVar("_T")

_INSTANT: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)


def instant_text(value: datetime) -> str:
    """An aware instant as text, in UTC, rounded down to whole seconds."""
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.isoformat()[:19] + "Z"


def parse_instant(text: str, *, last_year: int = 2099) -> datetime:
    """Text as ``2026-11-22T12:00:00Z`` to an aware UTC instant.

    Raises ``ValueError`` for any other spelling, a date that does not exist, a leap second, or a year outside 2000 to
    ``last_year``.
    """
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ValueError("an instant is written 2026-11-22T12:00:00Z")
    year, month, day, hour, minute, second = map(int, found.groups())
    if not 2000 <= year <= last_year:
        raise ValueError(f"an instant's year is 2000 to {last_year}")
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def visible(text: str | bytes) -> str:
    r"""Text with every octet outside 0x20-0x7E as ``\xNN``; what is already visible stays as it is."""
    if isinstance(text, str):
        if text.isascii() and text.isprintable():
            return text
        text = text.encode("utf-8", "surrogatepass")
    return "".join(chr(octet) if 0x20 <= octet <= 0x7E else f"\\x{octet:02x}" for octet in text)


def _caveat_texts(caveats: Iterable[str]) -> list[str]:
    return [visible(caveat) for caveat in caveats]


def minted_object(minted: Minted) -> JsonObject:
    """Mint's answer: the only object that holds a token."""
    return {"token": minted.token, **_issued(minted)}


def token_row_object(row: TokenRow) -> JsonObject:
    """A row of the list of tokens: as mint's answer, no token."""
    by = row.minted_by
    return {
        **_issued(row),
        "state": row.state,
        "minted_by": None if by is None else {"id": by.id, "branch": by.branch},
    }


def _issued(token: Minted | TokenRow) -> JsonObject:
    return {
        "id": token.id,
        "audience": token.audience,
        "subject": token.subject,
        "facts": dict(token.facts),
        "label": token.label,
        "issued_at": instant_text(token.issued_at),
        "expires_at": instant_text(token.expires_at),
        "caveats": _caveat_texts(token.caveats),
    }


def grant_object(grant: Grant, *, explain: bool = False, prefix: bool = False) -> JsonObject:
    """Verify's answer for a token that allows the request."""
    answer: JsonObject = {
        "allowed": True,
        "id": grant.id,
        "audience": grant.audience,
        "subject": grant.subject,
        "issued_at": instant_text(grant.issued_at),
        "expires_at": instant_text(grant.expires_at),
        "facts": dict(grant.facts),
        "declared": {name: dict(values) for name, values in grant.declared.items()},
        "caveats": _caveat_texts(grant.caveats),
    }
    if explain:
        answer["verdicts"] = _verdict_objects(grant.verdicts)
    if prefix:
        answer["kid"] = grant.kid
        answer["branches"] = list(grant.branches)
    return answer


def denial_object(denied: Denied, *, explain: bool = False) -> JsonObject:
    """Verify's answer for a token that does not allow the request."""
    caveat = denied.caveat
    answer: JsonObject = {
        "allowed": False,
        "code": denied.code,
        "message": str(denied),
        "caveat": None if caveat is None else visible(caveat),
    }
    if explain:
        answer["verdicts"] = _verdict_objects(denied.verdicts)
    return answer


def _verdict_objects(verdicts: Iterable[Verdict]) -> list[JsonObject]:
    return [{"caveat": visible(v.caveat), "from": v.source, "verdict": v.verdict} for v in verdicts]


def revocation_object(revocation: Revocation) -> JsonObject:
    """The answer to a revocation; whether it is a repetition is the response's status."""
    return {"kind": revocation.kind, "audience": revocation.audience, "at": instant_text(revocation.at)}


def audience_object(audience: Audience) -> JsonObject:
    """An audience; ``max_ttl`` in seconds."""
    return {
        "name": audience.name,
        "max_ttl": audience.max_ttl,
        "created_at": instant_text(audience.created_at),
    }


def key_object(key: KeyInfo) -> JsonObject:
    """A signing key, without its secret."""
    return {"kid": key.kid, "state": key.state, "created_at": instant_text(key.created_at)}


def discharger_object(discharger: Discharger) -> JsonObject:
    """A registered third party."""
    return {
        "name": discharger.name,
        "location": discharger.location,
        "public_key": discharger.public_key,
        "next_public_key": discharger.next_public_key,
        "created_at": instant_text(discharger.created_at),
    }


def bakery_key_object(key: BakeryKey) -> JsonObject:
    """A key pair of the installation's own, its public half."""
    return {"public_key": key.public_key, "state": key.state, "created_at": instant_text(key.created_at)}


def mint_request(
    *,
    audience: str,
    ttl: int | None = None,
    expires_at: datetime | None = None,
    subject: str | None = None,
    facts: Mapping[str, Fact] | None = None,
    caveats: Sequence[str] = (),
    third_party: Sequence[Mapping[str, object]] = (),
    label: str | None = None,
) -> JsonObject:
    """Mint's request; what is not given is left out."""
    return _without_none(
        audience=audience,
        ttl=ttl,
        expires_at=None if expires_at is None else instant_text(expires_at),
        subject=subject,
        facts=dict(facts) if facts else None,
        caveats=list(caveats) or None,
        third_party=[dict(entry) for entry in third_party] or None,
        label=label,
    )


def verify_request(
    token: str,
    *,
    audience: str,
    context: Mapping[str, object] | None = None,
    explain: bool = False,
    prefix: bool = False,
) -> JsonObject:
    """Verify's request; what is not given is left out."""
    return _without_none(
        token=token,
        audience=audience,
        context=dict(context) if context else None,
        explain=explain or None,
        prefix=prefix or None,
    )


def revocation_request(
    *,
    token: str | None = None,
    id: str | None = None,
    key: str | None = None,
    audience: str | None = None,
    subject: str | None = None,
    before: datetime | None = None,
) -> JsonObject:
    """A revocation's request; what is not given is left out."""
    return _without_none(
        token=token,
        id=id,
        key=key,
        audience=audience,
        subject=subject,
        before=None if before is None else instant_text(before),
    )


def exchange_request(bundle: str) -> JsonObject:
    """Exchange's request."""
    return {"token": bundle}


def discharger_request(*, name: str, location: str, public_key: str, next_public_key: str | None = None) -> JsonObject:
    """A registration's request; what is not given is left out."""
    return _without_none(name=name, location=location, public_key=public_key, next_public_key=next_public_key)


def discharger_change(
    *, public_key: str | None = None, next_public_key: str | None = None, clear_next: bool = False
) -> JsonObject:
    """A change of a third party's keys; what is not given stays, and with ``clear_next`` there is no next one."""
    given = _without_none(public_key=public_key, next_public_key=next_public_key)
    return {**given, "next_public_key": None} if clear_next else given


def _without_none(**fields: object) -> JsonObject:
    return {name: value for name, value in fields.items() if value is not None}


def _read(answer: object, shape: type[_T]) -> _T:
    """Raises ``ValueError`` (msgspec's is one) without a word of the answer."""
    try:
        return msgspec.convert(answer, shape)
    except msgspec.ValidationError as error:
        raise ValueError(f"the answer is not of its shape: {error}") from None


def _object(answer: object) -> JsonObject:
    if not isinstance(answer, dict):
        raise ValueError("the answer is not of its shape: it should be an object")  # noqa: TRY004 - see the module
    return answer


def read_minted(answer: object) -> Minted:
    """Mint's answer, as ``Authority.mint`` would give it. Raises ``ValueError``."""
    return _read(answer, Minted)


def read_token_row(answer: object) -> TokenRow:
    """A token row; its ``seq``, which is not on the wire, is 0. Raises ``ValueError``."""
    return _read({**_object(answer), "seq": 0}, TokenRow)


def read_decision(answer: object) -> Grant:
    """Verify's answer: the grant, or raises ``Denied`` with the answer's code, caveat and verdicts.

    Raises ``ValueError`` when the answer is neither; only a literal ``true`` allows.
    """
    fields = _object(answer)
    verdicts = _read_verdicts(fields.get("verdicts"))
    if fields.get("allowed") is True:
        return _read({**fields, "verdicts": verdicts}, Grant)
    if fields.get("allowed") is not False:
        raise ValueError("the answer is not of its shape: allowed is true or false")
    raise _read_denial(fields, verdicts)


class _Denial(msgspec.Struct, frozen=True):
    code: str
    message: str
    caveat: str | None


def _read_denial(fields: JsonObject, verdicts: list[Verdict]) -> Denied:
    denial = _read(fields, _Denial)
    if denial.code not in SENTENCES:
        raise ValueError("the answer is not of its shape: a code that nobody knows")
    denied = Denied(denial.code, denial.caveat)
    denied.verdicts = tuple(verdicts)
    return denied


class _Verdict(msgspec.Struct, frozen=True, rename={"source": "from"}):
    caveat: str
    source: str
    verdict: str


def _read_verdicts(answer: object) -> list[Verdict]:
    rows = [] if answer is None else _read(answer, list[_Verdict])
    return [Verdict(row.caveat, row.source, row.verdict) for row in rows]


def read_revocation(answer: object, *, repeated: bool) -> Revocation:
    """A revocation's answer; ``repeated`` is what the status said (200, not 201). Raises ``ValueError``."""
    return _read({**_object(answer), "repeated": repeated}, Revocation)


def read_audience(answer: object) -> Audience:
    """An audience. Raises ``ValueError``."""
    return _read(answer, Audience)


def read_key(answer: object, *, audience: str) -> KeyInfo:
    """A key of the audience that was asked for. Raises ``ValueError``."""
    return _read({**_object(answer), "audience": audience}, KeyInfo)


def read_discharger(answer: object) -> Discharger:
    """A registered third party; its ``seq``, which is not on the wire, is 0. Raises ``ValueError``."""
    return _read({**_object(answer), "seq": 0}, Discharger)


def read_bakery_key(answer: object) -> BakeryKey:
    """A key pair of the installation's own. Raises ``ValueError``."""
    return _read(answer, BakeryKey)


def read_page(answer: object, plural: str) -> tuple[list[JsonObject], str | None]:
    """A list's rows, still JSON objects, and the cursor for the next page if there is one. Raises ``ValueError``."""
    fields = _object(answer)
    cursor = fields.get("next")
    if cursor is not None and not isinstance(cursor, str):
        raise ValueError("the answer is not of its shape: next is text or null")
    return _read(fields.get(plural), list[JsonObject]), cursor
