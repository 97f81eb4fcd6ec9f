"""How the service says no: what it refuses beside credentials, as problems of `capsvc.web.problems`' kind."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from capsvc.errors import STATUS, Denied, RequestError
from capsvc.web.problems import (
    CHALLENGE,
    INTERNAL_ERROR,
    Problem,
    blamed,
    internal_error,
    of_denial,
    problem_answer,
)
from caveats import CaveatError

__all__ = [
    "CHALLENGE",
    "INTERNAL_ERROR",
    "Problem",
    "internal_error",
    "of_caveat",
    "of_denial",
    "of_request",
    "of_subject",
    "problem_answer",
]

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


def of_subject(denied: Denied) -> Problem:
    """A decision against the token that a request is about: 422, whichever step it failed at; 503 for no decision."""
    status = STATUS[denied.code] if denied.code == "unavailable" else 422
    return Problem(status, denied.code, str(denied), members=blamed(denied))


def of_request(error: RequestError) -> Problem:
    """A well-formed request that is not carried out."""
    status = _SUBJECT_STATUS.get(error.code) or STATUS[error.code]
    return Problem(status, error.code, str(error))


def of_caveat(error: CaveatError) -> Problem:
    """A caveat or fact that was asked for and cannot be: with the index of the octet where it goes wrong, if any."""
    members = {} if error.position is None else {"position": error.position}
    return Problem(422, error.code, str(error), members=members)
