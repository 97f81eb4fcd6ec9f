"""Who asks: the decision about an administrator's credential, and what it may act on."""

from __future__ import annotations

from capsvc.authority import Authority, Credential
from capsvc.errors import Denied
from capsvc.http.incoming import Incoming
from capsvc.http.problems import of_denial
from capsvc.http.targets import Target

__all__ = ["admit", "admit_unbounded", "covers", "permit"]


def admit(authority: Authority, request: Incoming, action: str, bundle: str | None = None) -> Credential:
    """Decide about the request's credential for that permission: every caveat of it but ``for.…``.

    Of the request, ``method`` and ``path`` are in the context and nothing else. The credential is ``bundle``, where it
    came in another way than most. Raises `Problem` 401 or 403.
    """
    context = {"action": action, "method": request.method, "path": request.path}
    try:
        return authority.authenticate(request.credential() if bundle is None else bundle, context=context)
    except Denied as denied:
        raise of_denial(denied) from None


def admit_unbounded(authority: Authority, request: Incoming, action: str) -> Credential:
    """As `admit`, for a request that acts on nothing which ``for.…`` caveats speak of: with any, 403."""
    credential = admit(authority, request, action)
    permit(credential, {})
    return credential


def permit(credential: Credential, target: Target) -> None:
    """Let the credential's ``for.…`` caveats judge what the request names. Raises `Problem` 403."""
    try:
        credential.permits(target)
    except Denied as denied:
        raise of_denial(denied) from None


def covers(credential: Credential, target: Target) -> bool:
    """Whether the credential's ``for.…`` caveats all hold for a row: what they refuse is as if it did not exist."""
    try:
        credential.permits(target)
    except Denied:
        return False
    return True
