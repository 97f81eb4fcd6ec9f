"""What OAuth's own clients expect: forms, RFC 6749's errors, a caller's name and password, RFC 8414's metadata."""

from __future__ import annotations

import base64
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote_plus

from capsvc.authority import Authority, Credential
from capsvc.http.answers import Answer, Header, json_answer
from capsvc.http.credentials import admit
from capsvc.http.incoming import Incoming, form_pairs
from capsvc.http.problems import CHALLENGE, Problem, problem_answer

__all__ = ["FORM", "admit_caller", "metadata", "oauth_answer", "read_pairs", "require_caller"]

FORM: Final = "application/x-www-form-urlencoded"

_ERRORS: Final = MappingProxyType({401: "invalid_client", 403: "unauthorized_client", 503: "temporarily_unavailable"})
_BASIC_CHALLENGE: Final = b'Basic realm="capsvc", charset="UTF-8"'


def read_pairs(text: bytes) -> list[tuple[str, str]]:
    """The fields of a form, in order. Raises `Problem` 400."""
    try:
        return form_pairs(text, strict=False)
    except ValueError:
        raise Problem(400, "bad-request", "The form is not name=value pairs in UTF-8.") from None


def require_caller(request: Incoming) -> None:
    """Raises `Problem`: 401 when neither a Bearer nor a Basic credential came, 400 when two did."""
    if request.scheme() not in {b"bearer", b"basic"}:
        bearer = b'Bearer realm="capsvc", '
        raise Problem(401, "credential-missing", headers=((CHALLENGE, bearer + _BASIC_CHALLENGE),))


def admit_caller(authority: Authority, request: Incoming, action: str) -> Credential:
    """As `admit`, for a credential that came by Bearer or as a password; only after `require_caller`.

    A refusal has the challenge of the scheme that the caller used (RFC 6749, section 5.2). Raises `Problem`.
    """
    if request.scheme() == b"bearer":
        return admit(authority, request, action)
    try:
        return admit(authority, request, action, _password(request.credential()))
    except Problem as problem:
        if problem.status != 401:
            raise
        raise Problem(401, problem.code, str(problem), headers=((CHALLENGE, _BASIC_CHALLENGE),)) from None


def _password(credential: str) -> str:
    """The password of RFC 7617's user and password, whoever the user is; empty if it is none, which is no token.

    RFC 6749, section 2.3.1, has both form-encoded first, which not every client does; no token has a ``%``.
    """
    try:
        octets = base64.b64decode(credential)
    except ValueError:
        return ""
    if base64.b64encode(octets).decode("ascii") != credential:  # another spelling, or something beside it
        return ""
    return unquote_plus(octets.partition(b":")[2].decode("latin-1"))


def metadata(issuer: str) -> dict[str, object]:
    """RFC 8414's document about an issuer that has no other endpoints than these two."""
    base = issuer.rstrip("/")
    return {
        "issuer": issuer,
        "introspection_endpoint": f"{base}/v1/introspect",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "Bearer"],
        "revocation_endpoint": f"{base}/v1/revoke",
        "revocation_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
        "response_types_supported": [],
        "grant_types_supported": [],
    }


def oauth_answer(problem: Problem) -> Answer:
    """A refusal as RFC 6749, section 5.2 writes it, with our code beside it.

    That there is no such address or method is said before anybody knows whose errors these are.
    """
    answer = problem_answer(problem)
    if problem.status in {404, 405}:
        return answer
    error = _ERRORS.get(problem.status, "invalid_request")
    body = {"error": error, "error_description": str(problem), "code": problem.code}
    return json_answer(problem.status, body, *_kept(answer.headers))


def _kept(headers: tuple[Header, ...]) -> list[Header]:
    """The headers of a problem that do not speak of its body."""
    return [header for header in headers if header[0] in {b"retry-after", CHALLENGE, b"connection"}]
