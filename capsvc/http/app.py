"""The ASGI application: what hangs where."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TextIO, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from capsvc.config import Settings
from capsvc.http.answers import NO_SNIFF, Answer
from capsvc.http.audiences import Audiences
from capsvc.http.bakerykeys import BakeryKeys
from capsvc.http.budget import BodyBudget
from capsvc.http.dischargers import Dischargers
from capsvc.http.feed import Feed
from capsvc.http.forwardauth import METHODS, ForwardAuth
from capsvc.http.introspect import Introspect
from capsvc.http.lines import LineWriter
from capsvc.http.logs import AccessLog
from capsvc.http.meta import Meta
from capsvc.http.oauth import oauth_answer
from capsvc.http.problems import Problem, internal_error, problem_answer
from capsvc.http.resource import Resource
from capsvc.http.revocations import Revocations
from capsvc.http.service import Service
from capsvc.http.tokens import Tokens
from capsvc.http.verify import Verify

__all__ = ["create_app", "resources"]

HOT: Final = 4
"""Routes that are asked all the time: verify, forward-auth, introspect, the feed."""

_NOT_FOUND: Final = problem_answer(Problem(404, "not-found"))


def create_app(settings: Settings, *, clock: Callable[[], float] = time.time) -> Starlette:
    """The whole service as an ASGI application.

    The authority (``app.state.authority``) is opened at once, so that what stops a start is raised here, and closed
    when the lifespan ends. A server that is about to stop calls ``app.state.watch.stop()``, in its event loop, so that
    those who wait for the feed are answered.

    Args:
        settings: checked already.
        clock: gives Unix seconds.

    Raises:
        StartError: the data directory cannot be used.

    """
    service = Service(settings, clock)
    log = LineWriter(sys.stderr)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.ensure_open()
        app.state.authority = service.authority
        try:
            yield
        finally:
            service.close()
            log.flush()

    app = _Application(
        routes=[resource.route() for resource in resources(service)],
        exception_handlers={HTTPException: _no_such_route, Exception: _fault},
        lifespan=lifespan,
    )
    app.log = log
    app.router.redirect_slashes = False  # a trailing slash is another address, and none of ours
    app.state.authority = service.authority
    app.state.watch = service.watch
    return app


class _Application(Starlette):
    """Starlette with the access log around everything, and a short way to the hot routes.

    The way round Starlette's own layers, which cost as much as a decision, is the same `Resource` that hangs among the
    first in the list of routes. An embedding program's middleware, if there is any, stays around it.
    """

    log: LineWriter

    def build_middleware_stack(self) -> ASGIApp:
        """See ``Starlette.build_middleware_stack``."""
        stack = super().build_middleware_stack()
        if not self.user_middleware:
            stack = _short_way(self.routes[:HOT], stack)
        return AccessLog(stack, stream=cast("TextIO", self.log))  # of a stream it needs no more


def _short_way(routes: list[BaseRoute], otherwise: ASGIApp) -> ASGIApp:
    """Go to a route without parameters when the path is its path; a mounted application has longer ones."""
    hot = {route.path: route.app for route in routes if isinstance(route, Route)}

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        found = hot.get(scope["path"]) if scope["type"] == "http" else None
        await (otherwise if found is None else found)(scope, receive, send)

    return dispatch


def resources(service: Service) -> list[Resource]:
    """Every path, the `HOT` ones first: routes are tried in order."""
    verify, tokens, revocations, feed = Verify(service), Tokens(service), Revocations(service), Feed(service)
    audiences, dischargers, bakery_keys = Audiences(service), Dischargers(service), BakeryKeys(service)
    introspect, forward_auth, meta = Introspect(service), ForwardAuth(service), Meta(service)
    budget = BodyBudget()  # one for all
    return [
        Resource("/v1/verify", {"POST": verify.one}, budget),
        Resource(
            "/v1/forward-auth", dict.fromkeys(METHODS, forward_auth.decide), budget, otherwise=forward_auth.decide
        ),
        Resource("/v1/introspect", {"POST": introspect.introspect}, budget, oauth_answer),
        Resource("/v1/revocations", {"GET": feed.follow, "POST": revocations.revoke}, budget),
        Resource("/v1/verify/batch", {"POST": verify.batch}, budget),
        Resource("/v1/tokens", {"GET": tokens.list, "POST": tokens.mint}, budget),
        Resource("/v1/tokens/{id}", {"GET": tokens.show}, budget),
        Resource("/v1/revoke", {"POST": revocations.revoke_presented}, budget, oauth_answer),
        Resource("/v1/audiences", {"GET": audiences.list, "POST": audiences.add}, budget),
        Resource("/v1/audiences/{name}", {"GET": audiences.show, "PATCH": audiences.change}, budget),
        Resource("/v1/audiences/{name}/keys", {"GET": audiences.list_keys, "POST": audiences.rotate}, budget),
        Resource("/v1/audiences/{name}/keys/{kid}", {"DELETE": audiences.revoke_key}, budget),
        Resource("/v1/exchange", {"POST": tokens.exchange}, budget),
        Resource("/v1/dischargers", {"GET": dischargers.list, "POST": dischargers.add}, budget),
        Resource(
            "/v1/dischargers/{name}",
            {"GET": dischargers.show, "PATCH": dischargers.change, "DELETE": dischargers.remove},
            budget,
        ),
        Resource("/v1/bakery-keys", {"GET": bakery_keys.list, "POST": bakery_keys.prepare}, budget),
        Resource("/v1/bakery-keys/rotate", {"POST": bakery_keys.rotate}, budget),
        Resource("/healthz", {"GET": meta.alive}, budget),
        Resource("/readyz", {"GET": meta.ready}, budget),
        Resource("/openapi.json", {"GET": meta.openapi}, budget),
        Resource("/.well-known/capsvc", {"GET": meta.about}, budget),
        Resource("/.well-known/oauth-authorization-server", {"GET": meta.oauth}, budget),
    ]


async def _no_such_route(_request: Request, _error: Exception) -> Response:
    """What Starlette's router cannot place: only 404, since each path answers for its own methods."""
    return _response(_NOT_FOUND)


async def _fault(_request: Request, _error: Exception) -> Response:
    """A fault of ours, of which the access log tells the place and the caller learns nothing."""
    return _response(problem_answer(internal_error()))


def _response(answer: Answer) -> Response:
    status, body, headers = answer
    response = Response(body, status)
    response.raw_headers.extend([*headers, NO_SNIFF])
    return response
