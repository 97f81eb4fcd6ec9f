"""The pages of a login by browser: log in, see who asks for what, allow or refuse it, log out.

=======  ====  ====================================================================
/visit   GET   the login form, or who asks for what and two buttons; changes nothing
/visit   POST  the answer: one discharge is allowed or refused
/login   POST  name and password; a fresh session
/logout  POST  the session ends
=======  ====  ====================================================================

A post counts if it comes from a page of ours (`capsvc.discharge.forms.is_from`) and holds the secret of a form that
this session opened; before there is a session, that of a cookie that was set with the form. Forms name the visit, and
nothing names an address to go on to.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from capsvc.discharge.forms import (
    FormError,
    cookie,
    expired_cookie,
    is_from,
    page_origin,
    read_form,
    read_query,
    same,
    set_cookie,
)
from capsvc.discharge.login import Surroundings
from capsvc.discharge.rendering import Page, PageError, message, render, stylesheet
from capsvc.discharge.sessions import Opened, Session, Sessions
from capsvc.discharge.signin import SignIn
from capsvc.discharge.users import Users, UsersFileError
from capsvc.discharge.waits import WAIT_SECONDS, Begun
from capsvc.macaroon.thirdparty import key_text

__all__ = ["Browser", "Stated"]

Stated: TypeAlias = Callable[[str], Mapping[str, str]]
"""What will be stated of a user, as far as it is known before he consents."""

Handler: TypeAlias = Callable[[Request], Awaitable[Page]]

DONE: Final = {
    "allow": ("Allowed", "The program goes on by itself. You can close this window."),
    "refuse": ("Refused", "Whoever began this has got nothing. You can close this window."),
}
"""Answer -> title and text of the page that says so."""

logger = logging.getLogger("capsvc.discharge")


class _Present(NamedTuple):
    """The session that a request belongs to, and its id, a secret."""

    id: str
    session: Session


class Browser:
    """The pages of one discharger."""

    def __init__(
        self, surroundings: Surroundings, users: Users, sessions: Sessions, names: Mapping[bytes, str], stated: Stated
    ) -> None:
        """``names`` are those of first parties, by key. Raises `ValueError` if no browser would keep its cookies."""
        self._around = surroundings
        self._users = users
        self._sessions = sessions
        self._names = names
        self._stated = stated
        self._origin = page_origin(surroundings.location)
        # Cookies know no ports and, with Path=/, no prefixes: two dischargers on one host name them differently.
        mark = f"{crc32(surroundings.location.encode()):08x}"
        self._cookie = f"__Host-capsvc-session-{mark}"
        self._sign_in = SignIn(surroundings, users, f"__Host-capsvc-login-{mark}")

    def routes(self) -> list[Route]:
        """Where the pages are, below the discharger's location."""
        return [
            Route("/visit", self._endpoint(get=self._see, post=self._answer), methods=["GET", "POST"]),
            Route("/login", self._endpoint(post=self._log_in), methods=["POST"]),
            Route("/logout", self._endpoint(post=self._log_out), methods=["POST"]),
            Route("/style.css", _style, methods=["GET"]),
        ]

    def _endpoint(self, *, post: Handler, get: Handler | None = None) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                if get is None or request.method == "POST":
                    self._require_own_page(request)
                    page = await post(request)
                else:
                    page = await get(request)
            except PageError as error:
                page = error.page
            except FormError as error:
                page = message(error.status, "That did not work", str(error))
            except UsersFileError:
                page = message(503, "Not now", "This service cannot read who its users are. Try again later.")
            return render(page, self._around.location)

        return endpoint

    async def _see(self, request: Request) -> Page:
        visit = read_query(request, "id")["id"]
        present = self._present(request)
        begun = self._around.waits.find(visit)
        if begun is None:
            raise self._closed(visit, present)
        if present is None:
            return self._sign_in.form(request, visit)
        return self._question(request, begun, present.session)

    async def _answer(self, request: Request) -> Page:
        form = await read_form(request, "visit", "form", "answer")
        visit, answer = form["visit"], form["answer"]
        if answer not in DONE:
            raise FormError(400, "What was sent is no answer.")
        present = self._present(request)
        if present is None:
            raise self._refused("You are not logged in, or no longer. Nothing has been answered.", visit, "Log in")
        opened = present.session.opened.get(visit)
        if opened is None or not same(form["form"], opened.form):
            text = "This page was not opened by this session. Nothing has been answered."
            raise self._refused(text, visit, "See who asks")
        if answer == "allow":
            self._require_same_address(request, opened.begun)
        return self._settle(answer, opened, present)

    def _settle(self, answer: str, opened: Opened, present: _Present) -> Page:
        """Spend the visit."""
        begun, session, waits = opened.begun, present.session, self._around.waits
        done = waits.consent(begun.visit, session.number) if answer == "allow" else waits.refuse(begun.visit)
        if not done:
            raise self._closed(begun.visit, present)
        opened.answer = answer
        title, text = DONE[answer]
        party = key_text(begun.first_party)
        logger.info("%s: %s a discharge for %s, begun from %s", session.user.name, title, party, begun.address)
        page = message(200, title, text)
        return page._replace(values={**page.values, **_logout_values(begun.visit, session)})

    async def _log_in(self, request: Request) -> Page:
        form = await read_form(request, "visit", "form", "username", "password")
        visit, name = form["visit"], form["username"].strip(" ")
        present = self._present(request)
        if self._around.waits.find(visit) is None:
            raise self._closed(visit, present)
        if why := self._sign_in.why_not(request, form["form"]):
            raise self._refused(why, visit, "Try again")
        user = await self._sign_in.user(request, visit, name, form["password"])
        if present is not None:
            self._sessions.end(present.id)
        new_id, _ = self._sessions.begin(user)
        page = message(303, "You are logged in", "Go on to see who asks for what.", again=visit)
        location = ("location", self._around.url(f"/visit?id={visit}"))
        return page._replace(headers=(location, set_cookie(self._cookie, new_id), self._sign_in.forget()))

    async def _log_out(self, request: Request) -> Page:
        form = await read_form(request, "visit", "form")
        visit = form["visit"]
        present = self._present(request)
        if present is not None:
            if not same(form["form"], present.session.logout_form):
                text = "This form was not opened by this session. You are still logged in."
                raise self._refused(text, visit, "See who asks")
            self._sessions.end(present.id)
            logger.info("%s logged out", present.session.user.name)
        again = self._open(visit)
        page = message(200, "You are logged out", "You can close this window.", again=again, again_text="Log in again")
        return page._replace(headers=(expired_cookie(self._cookie),))

    def _present(self, request: Request) -> _Present | None:
        """The session that the browser shows, if its user is still one."""
        known = cookie(request, self._cookie)
        session = None if known is None else self._sessions.seen(known)
        if known is None or session is None:
            return None
        if not self._users.has(session.user):
            self._sessions.end(known)
            return None
        return _Present(known, session)

    def _question(self, request: Request, begun: Begun, session: Session) -> Page:
        """The page that asks for consent, and says all that is known of who wants it."""
        self._require_same_address(request, begun)
        address = self._around.address_of(request)
        stated = self._stated(session.user.name)
        values = {
            **_logout_values(begun.visit, session),
            "form": session.open(begun).form,
            "party_name": self._names.get(begun.first_party),
            "party_key": key_text(begun.first_party),
            "condition": begun.condition,
            "stated": [(name, stated.get(name)) for name in begun.names],
            "begun_at": datetime.fromtimestamp(begun.begun_at, UTC),
            "begun_from": begun.address,
            "address": address,
            "same": address is not None and address == begun.address,
        }
        return Page(200, "consent.html", values)

    def _closed(self, visit: str, present: _Present | None) -> PageError:
        """Why a visit cannot be answered, as exactly as this session may know."""
        opened = None if present is None else present.session.opened.get(visit)
        if opened is None:
            text = "Nothing waits for an answer here: the address is wrong, answered already, or over ten minutes old."
            return PageError(message(404, "Nothing to decide", text))
        if opened.answer is not None:
            text = f"Your answer was: {DONE[opened.answer][0].lower()}. It counts once, and has counted."
            return PageError(message(410, "Answered already", text))
        if self._around.clock() >= opened.begun.begun_at + WAIT_SECONDS:
            text = "This began over ten minutes ago, which is too long. Nothing has been answered; begin again."
        else:
            text = "Nobody waits for this any more: it was answered elsewhere, or begun again too often."
        return PageError(message(410, "Too late", text))

    def _refused(self, text: str, visit: str, again_text: str) -> PageError:
        return PageError(message(403, "Refused", text, again=self._open(visit), again_text=again_text))

    def _open(self, visit: str) -> str | None:
        """The visit, if there is something to decide: no other text that a form held gets into an address."""
        return None if self._around.waits.find(visit) is None else visit

    def _require_own_page(self, request: Request) -> None:
        if not is_from(request, self._origin):
            text = "This came from another site’s page, not from one of this service. Nothing has been done."
            raise PageError(message(403, "Refused", text))

    def _require_same_address(self, request: Request, begun: Begun) -> None:
        address = self._around.address_of(request)
        if self._around.same_address and (address is None or address != begun.address):
            text = (
                f"This began at {begun.address or 'an unknown address'}, and your browser is at"
                f" {address or 'an unknown one'}. This service allows only what began at the same address."
            )
            raise PageError(message(403, "Refused", text))


async def _style(_request: Request) -> Response:
    return stylesheet()


def _logout_values(visit: str, session: Session) -> Mapping[str, object]:
    return {"visit": visit, "username": session.user.name, "logout_form": session.logout_form}
