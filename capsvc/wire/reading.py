"""The service's answers read back: JSON objects to values, or ``ValueError`` without a word of the answer."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from capsvc.errors import SENTENCES, Denied, sentence
from capsvc.grants import (
    Audience,
    BakeryKey,
    Discharger,
    FeedPage,
    Grant,
    KeyInfo,
    Minted,
    Revocation,
    TokenRow,
    Verdict,
)
from capsvc.wire.texts import JsonObject, safe_message

__all__ = [
    "read_audience",
    "read_bakery_key",
    "read_decision",
    "read_discharger",
    "read_feed_page",
    "read_key",
    "read_minted",
    "read_page",
    "read_revocation",
    "read_token_row",
]

_T = TypeVar("_T")


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
    """Verify's answer: the grant, or raises ``Denied`` with the answer's code, caveat, detail and verdicts.

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
    denied = Denied(denial.code, denial.caveat, _detail(denial))
    denied.verdicts = tuple(verdicts)
    return denied


def _detail(denial: _Denial) -> str:
    """What the message says beyond the code's own sentence; all of it where it is worded in another way."""
    return safe_message(denial.message.removeprefix(sentence(denial.code))).strip()


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


def read_feed_page(answer: object) -> FeedPage:
    """A page of the feed; kinds of entries that a newer service knows are passed on. Raises ``ValueError``."""
    return _read(answer, FeedPage)


def read_page(answer: object, plural: str) -> tuple[list[JsonObject], str | None]:
    """A list's rows, still JSON objects, and the cursor for the next page if there is one. Raises ``ValueError``."""
    fields = _object(answer)
    cursor = fields.get("next")
    if cursor is not None and not isinstance(cursor, str):
        raise ValueError("the answer is not of its shape: next is text or null")
    return _read(fields.get(plural), list[JsonObject]), cursor
