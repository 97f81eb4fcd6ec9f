"""The ASGI application: what hangs where."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from capsvc.config import Settings
from capsvc.http.audiences import Audiences
from capsvc.http.logs import AccessLog
from capsvc.http.meta import Meta
from capsvc.http.problems import Problem, problem_answer
from capsvc.http.resource import Resource
from capsvc.http.revocations import Revocations, oauth_answer
from capsvc.http.service import Service
from capsvc.http.tokens import Tokens
from capsvc.http.verify import Verify

__all__ = ["create_app"]

_NOT_FOUND: Final = problem_answer(Problem(404, "not-found"))


def create_app(settings: Settings, *, clock: Callable[[], float] = time.time) -> Starlette:
    """The whole service as an ASGI application.

    The authority (``app.state.authority``) is opened at once, so that what stops a start is raised here, and closed
    when the lifespan ends.

    Args:
        settings: checked already.
        clock: gives Unix seconds.

    Raises:
        StartError: the data directory cannot be used.

    """
    service = Service(settings, clock)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.ensure_open()
        app.state.authority = service.authority
        try:
            yield
        finally:
            service.close()

    app = Starlette(
        routes=[resource.route() for resource in resources(service)],
        middleware=[Middleware(AccessLog, stream=sys.stderr)],
        exception_handlers={HTTPException: _no_such_route},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a trailing slash is another address, and none of ours
    app.state.authority = service.authority
    return app


def resources(service: Service) -> list[Resource]:
    """Every path, the hot one first: routes are tried in order."""
    verify, tokens, revocations = Verify(service), Tokens(service), Revocations(service)
    audiences, meta = Audiences(service), Meta(service)
    return [
        Resource("/v1/verify", {"POST": verify.one}),
        Resource("/v1/verify/batch", {"POST": verify.batch}),
        Resource("/v1/tokens", {"GET": tokens.list, "POST": tokens.mint}),
        Resource("/v1/tokens/{id}", {"GET": tokens.show}),
        Resource("/v1/revoke", {"POST": revocations.revoke_presented}, oauth_answer),
        Resource("/v1/revocations", {"POST": revocations.revoke}),
        Resource("/v1/audiences", {"GET": audiences.list, "POST": audiences.add}),
        Resource("/v1/audiences/{name}", {"GET": audiences.show, "PATCH": audiences.change}),
        Resource("/v1/audiences/{name}/keys", {"GET": audiences.list_keys, "POST": audiences.rotate}),
        Resource("/v1/audiences/{name}/keys/{kid}", {"DELETE": audiences.revoke_key}),
        Resource("/healthz", {"GET": meta.alive}),
        Resource("/readyz", {"GET": meta.ready}),
        Resource("/openapi.json", {"GET": meta.openapi}),
        Resource("/.well-known/capsvc", {"GET": meta.about}),
    ]


async def _no_such_route(_request: Request, _error: Exception) -> Response:
    """What Starlette's router cannot place: only 404, since each path answers for its own methods."""
    status, body, headers = _NOT_FOUND
    response = Response(body, status)
    response.raw_headers.extend([*headers, (b"x-content-type-options", b"nosniff")])
    return response
