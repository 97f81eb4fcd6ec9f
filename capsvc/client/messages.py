"""One request and its answer, without any I/O: what `Client` and `AsyncClient` share.

An answer is read as strictly as a request is by the service, for whatever stands at the other end of the connection
may be something else: bounded, JSON without repeated names, of the media type that it should have, never a redirect.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple, NoReturn
from urllib.parse import urlencode

from capsvc.client.errors import ServiceError
from capsvc.macaroon.encoding import printable
from capsvc.wire import safe_message

__all__ = [
    "ANSWER_OCTETS",
    "Answer",
    "Body",
    "Call",
    "encode_body",
    "read_answer",
    "read_json",
    "safe_message",
    "unreadable",
]

ANSWER_OCTETS: Final = 8 * 1024 * 1024  # a page of 200 token rows, each as large as its limits allow, fits twice
CAVEAT_CHARACTERS: Final = 4 * 16_384  # a third party's location may fill a token, and each of its octets takes four

_CODE: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")


class Call(NamedTuple):
    """A request to the service. ``path`` begins with a slash and is escaped already."""

    method: str
    path: str
    body: Mapping[str, object] | None = None
    anonymous: bool = False
    """Send no credential."""
    form: Mapping[str, str] | None = None
    """A form, in the place of ``body``, which is JSON."""
    waits: float = 0.0
    """Seconds for which the service may hold its answer back, beyond what it has for any."""


class Answer(NamedTuple):
    """What came back: a JSON object, or ``None`` with 204."""

    status: int
    value: Any


def encode_body(call: Call) -> tuple[str, bytes] | None:
    """The request's body, its media type and its octets.

    Raises:
        ValueError, TypeError: for a value that JSON does not have.

    """
    if call.form is not None:
        return "application/x-www-form-urlencoded", urlencode(call.form).encode("ascii")
    if call.body is None:
        return None
    return "application/json", json.dumps(call.body, allow_nan=False, separators=(",", ":")).encode("ascii")


class Body:
    """Gathers an answer's octets, within a bound of size and one of time (seconds, by the monotonic clock)."""

    def __init__(self, status: int, encoding: str | None, seconds: float, limit: int = ANSWER_OCTETS) -> None:
        if encoding not in {None, "", "identity"}:
            raise ServiceError(status, "bad-answer", "the service compressed its answer, unasked")
        self._status = status
        self._limit = limit
        self._deadline = time.monotonic() + seconds
        self._octets = bytearray()

    def add(self, chunk: bytes) -> None:
        """Take the next octets.

        Raises:
            ServiceError: ``bad-answer`` for too many of them, ``unavailable`` when they took too long.

        """
        self._octets += chunk
        if len(self._octets) > self._limit:
            raise ServiceError(self._status, "bad-answer", f"the answer is over {self._limit} octets")
        if time.monotonic() > self._deadline:
            raise ServiceError(None, "unavailable", "the service did not finish its answer in time")

    def octets(self) -> bytes:
        """All of them."""
        return bytes(self._octets)


def read_answer(status: int, content_type: str, octets: bytes) -> Answer:
    """The answer to a call that was carried out.

    Raises:
        ServiceError: for every other.

    """
    media_type = content_type.partition(";")[0].strip().lower()
    if status >= HTTPStatus.BAD_REQUEST:
        _refused(status, _problem(status, media_type, octets))
    if status == HTTPStatus.NO_CONTENT:
        return Answer(status, None)
    if status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
        raise ServiceError(status, "bad-answer", f"the service answered {status}; redirects are not followed")
    value = _json(status, octets) if media_type == "application/json" else None
    if not isinstance(value, dict):
        raise unreadable(status)
    return Answer(status, value)


def unreadable(status: int) -> ServiceError:
    """What answered did not answer as a capsvc service does."""
    return ServiceError(status, "bad-answer", "the answer is not a capsvc service's")


def _problem(status: int, media_type: str, octets: bytes) -> object:
    """What a refusal says: RFC 9457's problem or, where OAuth's clients ask, RFC 6749's error; else None."""
    if media_type == "application/problem+json":
        return _json(status, octets)
    with contextlib.suppress(ValueError):
        value = read_json(octets) if media_type == "application/json" else None
        if isinstance(value, dict) and isinstance(value.get("error"), str):
            return value
    return None


def _refused(status: int, problem: object) -> NoReturn:
    code, message, caveat = None, None, None
    if isinstance(problem, dict):
        code = problem.get("code")
        message = problem.get("detail") or problem.get("error_description") or problem.get("title")
        caveat = problem.get("caveat")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        code = "unavailable" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "bad-answer"
    if not isinstance(message, str):
        message = f"the service answered {status}"
    raise ServiceError(status, code, safe_message(message), caveat=_shown(caveat))


def _shown(caveat: object) -> str | None:
    """A caveat as decisions show it: all of it, in plain characters."""
    if not isinstance(caveat, str) or len(caveat) > CAVEAT_CHARACTERS:
        return None
    return printable(caveat.encode("utf-8", "surrogatepass"))


def _json(status: int, octets: bytes) -> object:
    try:
        return read_json(octets)
    except ValueError:
        raise unreadable(status) from None


def read_json(octets: bytes) -> object:
    """A JSON value: UTF-8, no name twice in one object, no number that is none. Raises `ValueError`."""
    try:
        value: object = json.loads(
            octets.decode("utf-8"), object_pairs_hook=_once, parse_float=_finite, parse_constant=_not_json
        )
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number past what a float holds")
    return number


def _not_json(text: str) -> NoReturn:
    raise ValueError(f"JSON has no {text}")
