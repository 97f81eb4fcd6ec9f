"""Every way capsvc says no: one exception a kind of refusal, one stable code a reason, one table to HTTP.

A message never holds a token, a key or a credential: it may be logged and shown.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from capsvc.grants import Verdict

__all__ = [
    "SENTENCES",
    "STATUS",
    "Denied",
    "RequestError",
    "StartError",
    "TokenError",
    "sentence",
]

STATUS: Final = MappingProxyType(
    {
        "bad-request": 400,
        "credential-missing": 401,
        "too-large": 401,
        "malformed": 401,
        "invalid-token": 401,
        "wrong-audience": 401,
        "discharge-missing": 401,
        "discharge-invalid": 401,
        "discharge-unused": 401,
        "revoked": 401,
        "no-expiry": 401,
        "expired": 401,
        "not-yet-valid": 401,
        "caveat-malformed": 403,
        "caveat-unknown": 403,
        "caveat-refused": 403,
        "context-invalid": 403,
        "context-missing": 403,
        "fact-conflict": 403,
        "forbidden": 403,
        "not-found": 404,
        "method-not-allowed": 405,
        "exists": 409,
        "cursor-gone": 410,
        "media-type": 415,
        "ttl-invalid": 422,
        "ttl-too-long": 422,
        "audience-unknown": 422,
        "discharger-unknown": 422,
        "rate-limited": 429,
        "unavailable": 503,
    }
)
"""Code -> HTTP status of a *credential's* denial or of a request that is refused.

The same code about the subject of a request (a caveat to be minted, a body too large) has the status of that
place (422, 413): the HTTP layer's handlers say which."""

SENTENCES: Final = MappingProxyType(
    {
        "bad-request": "The request is not of the expected shape.",
        "credential-missing": "This needs a credential: Authorization: Bearer <token>.",
        "too-large": "It is larger than the published limits allow.",
        "malformed": "The token is not a macaroon in its one accepted spelling.",
        "invalid-token": "The token was not made by this authority, or has been altered.",
        "wrong-audience": "The token is for another audience.",
        "discharge-missing": "A third-party caveat has no discharge.",
        "discharge-invalid": "A discharge does not answer its caveat, or is not bound to this token.",
        "discharge-unused": "The bundle holds a discharge that answers no caveat.",
        "revoked": "The token has been revoked.",
        "no-expiry": "The token's issuer put no upper time bound on it.",
        "expired": "The token has expired.",
        "not-yet-valid": "The token is not valid yet.",
        "caveat-malformed": "A caveat does not fit the caveat grammar.",
        "caveat-unknown": "A caveat names something that this authority does not know.",
        "caveat-refused": "A caveat does not hold for this request.",
        "context-invalid": "The request's context is not well formed.",
        "context-missing": "A caveat needs a value that the request does not have.",
        "fact-conflict": "A fact is stated twice with different values, or only by the holder.",
        "forbidden": "The credential does not allow this.",
        "not-found": "There is no such thing here.",
        "method-not-allowed": "This address does not answer that method.",
        "exists": "That name is taken.",
        "cursor-gone": "The feed cannot be continued from there; forget what it told, and begin anew.",
        "media-type": "The body's media type is not the expected one.",
        "ttl-invalid": "The lifetime must be over 0 seconds.",
        "ttl-too-long": "The lifetime is longer than the audience allows.",
        "audience-unknown": "There is no such audience.",
        "discharger-unknown": "No such third party is registered.",
        "rate-limited": "Too many requests; try again later.",
        "unavailable": "What this needs cannot be read, written or asked for now; try again later.",
    }
)
"""Code -> a sentence that is safe to show to anybody."""


def sentence(code: str) -> str:
    """The safe sentence for a code."""
    return SENTENCES[code]


class TokenError(ValueError):
    """A token's text cannot be used: ``.code`` is ``too-large``, ``malformed``, or ``bound`` (a bundle is final)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Denied(Exception):  # noqa: N818 - the contract's name
    """A decision against a token.

    ``.code`` is one of section 5's codes; ``.caveat`` the text of the caveat that is to blame, where one is (a
    third-party caveat by its location); ``.verdicts`` every caveat's verdict where an explanation was asked for.

    ``.detail`` is a sentence on which value of the context is at fault, empty where there is none to name. It ends
    ``str()``, and is for whoever made the context: who was only judged by it is told `sentence` of the code.
    """

    def __init__(self, code: str, caveat: str | None = None, detail: str = "") -> None:
        super().__init__(f"{sentence(code)} {detail}" if detail else sentence(code))
        self.code = code
        self.caveat = caveat
        self.detail = detail
        self.verdicts: tuple[Verdict, ...] = ()


class RequestError(ValueError):
    """A well-formed request that is not carried out; ``.code`` is stable (``audience-unknown``, ``not-found``, …)."""

    def __init__(self, code: str, message: str | None = None) -> None:
        super().__init__(message or sentence(code))
        self.code = code


class StartError(Exception):
    """capsvc cannot start or use its data directory.

    ``.exit_code`` is the process's: 2 for settings that are wrong, 3 for storage that cannot be used.
    """

    def __init__(self, code: str, message: str, *, exit_code: int = 3) -> None:
        super().__init__(message)
        self.code = code
        self.exit_code = exit_code
