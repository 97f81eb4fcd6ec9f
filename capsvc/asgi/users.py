"""Who a request comes from, as Starlette's ``request.user`` and ``request.auth`` tell it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from starlette.authentication import AuthCredentials, BaseUser, UnauthenticatedUser
from starlette.types import Scope

from capsvc.grants import Grant

__all__ = ["AUTHENTICATED", "Nobody", "TokenUser", "show_grant", "show_nobody"]

AUTHENTICATED: Final = "authenticated"
"""Starlette's own name for the scope of whoever is somebody."""


class TokenUser(BaseUser):
    """Whoever the issuer says a token belongs to: its subject. ``.grant`` tells the rest."""

    def __init__(self, subject: str, grant: Grant) -> None:
        self._subject = subject
        self.grant = grant

    @property
    def is_authenticated(self) -> bool:
        """It is: the authority vouches for it."""
        return True

    @property
    def display_name(self) -> str:
        """The subject."""
        return self._subject

    @property
    def identity(self) -> str:
        """The subject."""
        return self._subject

    def __repr__(self) -> str:
        return f"<TokenUser {self._subject}>"


class Nobody(UnauthenticatedUser):
    """Whoever has shown no token, or one without a subject."""

    @property
    def identity(self) -> str:
        """Empty; not every version of Starlette's own says so."""
        return ""


_NOBODY: Final = Nobody()


def show_nobody(scope: Scope) -> None:
    """Nothing was decided for the request."""
    scope.setdefault("state", {})["grant"] = None
    scope["user"], scope["auth"] = _NOBODY, AuthCredentials()


def show_grant(scope: Scope, grant: Grant, actions: Iterable[str]) -> None:
    """What was decided: the grant, the user, and as scopes the actions that were asked about and allowed.

    A token without a subject is nobody's: its bearer may do something, and is no user.
    """
    scope.setdefault("state", {})["grant"] = grant
    if grant.subject is None:
        scope["user"], scope["auth"] = _NOBODY, AuthCredentials([*actions])
    else:
        scope["user"] = TokenUser(grant.subject, grant)
        scope["auth"] = AuthCredentials([AUTHENTICATED, *actions])
