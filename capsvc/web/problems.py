"""How a credential is refused: RFC 9457 problems with a stable code, RFC 6750 challenges beside 401 and 403.

A challenge never quotes a caveat or anything else that came with the request; a problem's ``detail`` is a sentence
that we wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec

from capsvc.errors import SENTENCES, STATUS, Denied, sentence
from capsvc.web.answers import NO_STORE, Answer, Header
from capsvc.wire import visible

__all__ = [
    "CHALLENGE",
    "INTERNAL_ERROR",
    "MAX_HEADER_BYTES",
    "PER_HEADER",
    "Problem",
    "blamed",
    "headers_too_large",
    "internal_error",
    "of_denial",
    "problem_answer",
]

PROBLEM_JSON: Final = (b"content-type", b"application/problem+json")
CHALLENGE: Final = b"www-authenticate"
RETRY_AFTER: Final = (b"retry-after", b"1")  # seconds: storage that is busy is free again soon
INTERNAL_ERROR: Final = "internal-error"

MAX_HEADER_BYTES: Final = 65_536
"""All header fields of a request, names, values, colons and line ends; past it 431."""

PER_HEADER: Final = 4  # ": " and the line end


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
    """A decision against the *credential*: 401, or 403 with the caveat that is to blame.

    The context was not made by whoever presented it, so he does not learn which value of it is at fault.
    """
    return Problem(STATUS[denied.code], denied.code, sentence(denied.code), members=blamed(denied))


def blamed(denied: Denied) -> Mapping[str, object]:
    """The member of a problem that tells which caveat is to blame, where one is."""
    return {} if denied.caveat is None else {"caveat": visible(denied.caveat)}


def internal_error() -> Problem:
    """What a caller learns of a fault of ours: nothing but that."""
    return Problem(500, INTERNAL_ERROR)


def headers_too_large() -> Problem:
    """What a request with over `MAX_HEADER_BYTES` of headers is answered; its connection is closed."""
    return Problem(
        431, "too-large", "The request's headers are over 64 KiB in all.", headers=((b"connection", b"close"),)
    )


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
    if problem.status in {401, 403} and all([name != CHALLENGE for name, _ in problem.headers]):
        return (*problem.headers, (CHALLENGE, _challenge(problem)))
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
