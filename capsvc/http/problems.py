"""How HTTP says no: RFC 9457 problems with a stable code, and RFC 6750 challenges beside 401 and 403.

A challenge never quotes a caveat or anything else that came with the request; a problem's ``detail`` is a sentence
that the service wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

import msgspec

from capsvc.errors import SENTENCES, STATUS, Denied, RequestError
from capsvc.http.answers import NO_STORE, Answer, Header
from capsvc.wire import visible
from caveats import CaveatError

__all__ = [
    "Problem",
    "internal_error",
    "of_caveat",
    "of_denial",
    "of_request",
    "of_subject",
    "problem_answer",
]

PROBLEM_JSON: Final = (b"content-type", b"application/problem+json")
RETRY_AFTER: Final = (b"retry-after", b"1")  # seconds: storage that is busy is free again soon
INTERNAL_ERROR: Final = "internal-error"

_SUBJECT_STATUS: Final = MappingProxyType(
    {
        "too-large": 422,
        "malformed": 422,
        "invalid-token": 422,
        "caveat-malformed": 422,
        "caveat-unknown": 422,
        "fact-conflict": 422,
    }
)
"""Codes that mean the request's subject here, where ``STATUS`` has them for a credential."""


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """A request ends here: ``.status`` and ``.code``, a sentence, and members or headers that belong to it."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str | None = None,
        *,
        members: Mapping[str, object] | None = None,
        headers: tuple[Header, ...] = (),
    ) -> None:
        super().__init__(detail or SENTENCES.get(code, "Something went wrong; it has been logged."))
        self.status = status
        self.code = code
        self.members = members or {}
        self.headers = headers


def of_denial(denied: Denied) -> Problem:
    """A decision against the *credential*: 401, or 403 with the caveat that is to blame."""
    return Problem(STATUS[denied.code], denied.code, str(denied), members=_blamed(denied))


def of_subject(denied: Denied) -> Problem:
    """A decision against the token that a request is about: 422, whichever step it failed at; 503 for no decision."""
    status = STATUS[denied.code] if denied.code == "unavailable" else 422
    return Problem(status, denied.code, str(denied), members=_blamed(denied))


def _blamed(denied: Denied) -> Mapping[str, object]:
    return {} if denied.caveat is None else {"caveat": visible(denied.caveat)}


def of_request(error: RequestError) -> Problem:
    """A well-formed request that is not carried out."""
    status = _SUBJECT_STATUS.get(error.code) or STATUS[error.code]
    return Problem(status, error.code, str(error))


def of_caveat(error: CaveatError) -> Problem:
    """A caveat or fact that was asked for and cannot be: with the index of the octet where it goes wrong, if any."""
    members = {} if error.position is None else {"position": error.position}
    return Problem(422, error.code, str(error), members=members)


def internal_error() -> Problem:
    """What a caller learns of a fault of ours: nothing but that."""
    return Problem(500, INTERNAL_ERROR)


def problem_answer(problem: Problem) -> Answer:
    """The problem as a response."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "code": problem.code,
        "detail": str(problem),
        **problem.members,
    }
    headers = (PROBLEM_JSON, NO_STORE, *_headers(problem))
    return Answer(problem.status, msgspec.json.encode(body), headers)


def _headers(problem: Problem) -> tuple[Header, ...]:
    if problem.status in {401, 403}:
        return (*problem.headers, (b"www-authenticate", _challenge(problem)))
    if problem.status in {429, 503}:
        return (*problem.headers, RETRY_AFTER)
    return problem.headers


def _challenge(problem: Problem) -> bytes:
    """RFC 6750, section 3: no ``error`` when no credential came; a description is a fixed sentence of ours."""
    if problem.code == "credential-missing":
        return b'Bearer realm="capsvc"'
    error = "invalid_token" if problem.status == 401 else "insufficient_scope"
    description = SENTENCES[problem.code]
    return f'Bearer realm="capsvc", error="{error}", error_description="{description}"'.encode("ascii")
