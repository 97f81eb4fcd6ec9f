"""People: a login with name and password in a browser, and the checker that says that somebody is logged in.

A session never answers by itself. Each discharge takes a consent, by a button on a page that says who asks for what,
and when and from where it was begun (`capsvc.discharge.browser`). What the consent was worth is a token of a minute;
when it is shown, the session that consented must not have ended, and its user must still be one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from starlette.requests import Request
from starlette.routing import Route

from capsvc.discharge.answers import Answer, Checker, Declared, Interaction, Refused
from capsvc.discharge.browser import Browser, Stated
from capsvc.discharge.login import BROWSER_WINDOW, Begin, Surroundings
from capsvc.discharge.sessions import IDLE_SECONDS, LIFETIME_SECONDS, Sessions
from capsvc.discharge.users import Users, UsersFileError
from capsvc.macaroon.thirdparty import read_key

__all__ = ["CONDITION", "SessionLogin", "nothing_known", "session_checker", "username_alone"]

CONDITION: Final = "is-authenticated-user"
"""The one condition that the session checker answers."""

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


def username_alone(user: str) -> Mapping[str, str]:
    """What the session checker states of a user."""
    return {"username": user}


def nothing_known(_user: str) -> Mapping[str, str]:
    """What is known of what any other checker will state."""
    return _NONE


class SessionLogin:
    """A login by browser: bakery's ``browser-window``, for the users of a users file."""

    kind = BROWSER_WINDOW

    def __init__(
        self,
        users: Users,
        *,
        names: Mapping[str, str] = _NONE,
        stated: Stated = nothing_known,
        idle: int = IDLE_SECONDS,
        lifetime: int = LIFETIME_SECONDS,
    ) -> None:
        """Make a login, to be installed in one discharger.

        Args:
            users: who may log in.
            names: what the page calls first parties, by public key (standard base64).
            stated: what the checker will state of a user, as far as it is known before; the page promises it. Of the
                session checker that is `username_alone`; of any other nothing, unless it is said here.
            idle: how long a session lasts without a request, in seconds.
            lifetime: how long it lasts at most, in seconds.

        Raises:
            ValueError: for a key that is none.

        """
        self._users = users
        self._names = {read_key(key): name for key, name in names.items()}
        self._stated = stated
        self._idle = idle
        self._lifetime = lifetime
        self._installed: tuple[Surroundings, Sessions, Browser] | None = None

    def install(self, surroundings: Surroundings) -> None:
        """Learn whose login it is.

        Raises:
            ValueError: the second time, and for a location at which browsers keep no cookie of a session's: one that is
                neither https nor a loopback address.

        """
        if self._installed is not None:
            raise ValueError("a login belongs to one discharger")
        sessions = Sessions(surroundings.clock, idle=self._idle, lifetime=self._lifetime)
        browser = Browser(surroundings, self._users, sessions, self._names, self._stated)
        self._installed = surroundings, sessions, browser

    def routes(self) -> Sequence[Route]:
        """Its pages, below the discharger's location."""
        return self._parts()[2].routes()

    def offer(self, begin: Begin) -> dict[str, object]:
        """Where somebody can consent, and where the program that began waits for it."""
        surroundings, _, _ = self._parts()
        begun = begin()
        return {"VisitURL": surroundings.url(f"/visit?id={begun.visit}"), "WaitTokenURL": surroundings.wait_url(begun)}

    def user(self, token: bytes, caveat: bytes) -> str | None:
        """Who consented, if the session in which he did goes on and he is still a user. The token is spent."""
        surroundings, sessions, _ = self._parts()
        number = surroundings.waits.user(token, caveat)
        session = None if number is None else sessions.numbered(number)
        try:
            return session.user.name if session is not None and self._users.has(session.user) else None
        except UsersFileError:  # it has been logged
            return None

    def _parts(self) -> tuple[Surroundings, Sessions, Browser]:
        if self._installed is None:
            raise ValueError("the login is not installed in a discharger")
        return self._installed


def session_checker(users: Users) -> Checker:
    """The checker that answers `CONDITION` for whoever has logged in with a browser, and states his ``username``.

    An agent may have the name of a user: he is none.
    """

    async def check(condition: str, request: Request) -> Answer:
        if condition != CONDITION:
            return Refused(f"this service answers {CONDITION} alone")
        user: str | None = request.state.user
        if user is None:
            return Interaction()
        if request.state.login != BROWSER_WINDOW:
            return Refused("this service answers people alone, who log in with a browser")
        if users.named(user) is None:
            return Refused("that user is no longer one")
        return Declared(username_alone(user))

    return check
