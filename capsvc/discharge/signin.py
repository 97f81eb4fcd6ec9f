"""Name and password: the form, its protection before there is a session, and what an attempt costs whom.

A form holds the value of a cookie that was set with it (``__Host-``: no other host can set it). Attempts are counted
before a password is hashed, and passwords are hashed a few at a time.
"""

from __future__ import annotations

import logging
import secrets
from functools import partial
from typing import Final

from argon2.exceptions import VerificationError
from starlette.requests import Request

from capsvc.discharge.forms import cookie, expired_cookie, same, set_cookie
from capsvc.discharge.hashpool import HashPool, TooBusyError
from capsvc.discharge.login import Surroundings
from capsvc.discharge.passwords import MAX_PASSWORD_CHARACTERS, is_password
from capsvc.discharge.rendering import Header, Page, PageError
from capsvc.discharge.throttle import LoginThrottle
from capsvc.discharge.users import User, Users

__all__ = ["SignIn"]

MAX_USERNAME: Final = 128
FORM_OCTETS: Final = 16
BUSY_SECONDS: Final = 2

logger = logging.getLogger("capsvc.discharge")


class SignIn:
    """The login form of one discharger."""

    def __init__(self, surroundings: Surroundings, users: Users, cookie_name: str) -> None:
        self._address_of = surroundings.address_of
        self._users = users
        self._cookie = cookie_name
        self._throttle = LoginThrottle(surroundings.clock)
        self._pool = HashPool()

    def form(
        self,
        request: Request,
        visit: str,
        status: int = 200,
        *,
        name: str = "",
        problem: str = "",
        retry_after: int = 0,
    ) -> Page:
        """The form. Its secret is that of the cookie that is there already, so that several windows can be open."""
        known = cookie(request, self._cookie)
        secret = known or secrets.token_urlsafe(FORM_OCTETS)
        headers: list[Header] = [] if known else [set_cookie(self._cookie, secret)]
        if retry_after:
            headers.append(("retry-after", str(retry_after)))
        values = {"visit": visit, "form": secret, "username": name[:MAX_USERNAME], "problem": problem}
        return Page(status, "login.html", {**values, "max_password": MAX_PASSWORD_CHARACTERS}, tuple(headers))

    def why_not(self, request: Request, secret: str) -> str | None:
        """Why a form with that secret does not count; None if it does."""
        known = cookie(request, self._cookie)
        if known is None:
            return "Your browser has sent no cookie, and a login needs one. You are not logged in."
        return None if same(secret, known) else "This form was not opened by this browser. You are not logged in."

    def forget(self) -> Header:
        """The header that ends the form."""
        return expired_cookie(self._cookie)

    async def user(self, request: Request, visit: str, name: str, password: str) -> User:
        """The user whose name and password these are. Raises `PageError`, `UsersFileError`."""
        wrong = partial(self.form, request, visit, 403, name=name, problem="The name or the password is not right.")
        if not is_password(password):  # so it is nobody's, and there is nothing to count or to hash
            raise PageError(wrong())
        address = self._address_of(request)
        seconds = self._throttle.attempt(name, address)
        if seconds:
            problem = f"Too many attempts. Try again in {_duration(seconds)}."
            raise PageError(self.form(request, visit, 429, name=name, problem=problem, retry_after=seconds))
        try:
            user = await self._pool.run(partial(self._users.verify, name, password))
        except (TooBusyError, VerificationError):
            self._throttle.forgive(name, address)
            problem = "Too many people log in at this moment. Try again."
            page = self.form(request, visit, 503, name=name, problem=problem, retry_after=BUSY_SECONDS)
            raise PageError(page) from None
        if user is None:
            # A name that is nobody's may be a password that was typed into the wrong field.
            known = self._users.named(name)
            logger.info("a login as %s failed, from %s", "nobody" if known is None else known.name, address)
            raise PageError(wrong())
        self._throttle.forgive(name, address)
        logger.info("%s logged in, from %s", user.name, address)
        return user


def _duration(seconds: int) -> str:
    if seconds >= 120:
        return f"{-(-seconds // 60)} minutes"
    return "1 second" if seconds == 1 else f"{seconds} seconds"
