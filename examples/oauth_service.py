r"""A resource server that knows OAuth alone: authlib's own protector, and the authority's introspection (RFC 7662).

    capsvc audiences add books
    capsvc attenuate --caveat 'action in tokens:verify' --caveat 'for.audience = books' \
        capsvc-data/admin.token > books.credential
    pip install authlib
    BOOKS_CREDENTIAL=books.credential CAPSVC_URL=$(cat capsvc-data/serve.url) \
        uvicorn --app-dir examples --no-proxy-headers --factory oauth_service:create_service --port 8714

A token's caveats on `action` are its scopes. To authlib a token that has none has no scope at all, so every token for
such a service is minted with its actions; whoever holds it can take some of them away:

    capsvc mint --audience books --ttl 12h --subject ada --caveat 'action in read,write' > ada.token
    capsvc attenuate --caveat 'action = read' ada.token > reader.token

A token that is narrowed by anything else is not active here, for OAuth does not ask about a request. A service that
wants such tokens tells more of the request in the form: `context.path`, `context.method`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from authlib.oauth2 import OAuth2Error, ResourceProtector
from authlib.oauth2.rfc7662 import IntrospectTokenValidator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

SCOPES = {"GET": "read", "HEAD": "read", "PUT": "write"}
TITLES = {"1": "Middlemarch"}


class Introspecting(IntrospectTokenValidator):  # type: ignore[misc]  # authlib has no types
    """Asks the authority. It is told of its own audience, for that is what its credential is bounded to."""

    def __init__(self, url: str, credential: str) -> None:
        super().__init__(realm="books")
        self._http = httpx.Client(base_url=url, auth=("books", credential), timeout=5, follow_redirects=False)

    def introspect_token(self, token_string: str) -> dict[str, Any]:
        """See authlib."""
        answer = self._http.post("/v1/introspect", data={"token": token_string})
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def book(request: Request) -> JSONResponse:
    """Read or write a book's title. Not async, so that it may wait in a thread."""
    token = request.app.state.protector.validate_request([SCOPES[request.method]], request)
    return JSONResponse({"title": TITLES["1"], "for": token.get("sub"), "until": token["exp"]})


async def refused(_: Request, error: Exception) -> Response:
    """What authlib answers: RFC 6750's errors."""
    assert isinstance(error, OAuth2Error)
    status, body, headers = error()
    return JSONResponse(body, status, dict(headers))


async def undecided(_: Request, __: Exception) -> Response:
    """No decision is no admission."""
    return JSONResponse({"error": "temporarily_unavailable"}, 503)


def create_service(url: str | None = None, credential: str | None = None) -> Starlette:
    """The service; what is not given comes from the environment."""
    introspecting = Introspecting(
        url or os.environ["CAPSVC_URL"],
        credential or Path(os.environ["BOOKS_CREDENTIAL"]).read_text(encoding="ascii").strip(),
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.protector = ResourceProtector()
        app.state.protector.register_token_validator(introspecting)
        yield
        introspecting.close()

    return Starlette(
        routes=[Route("/books/1", book, methods=list(SCOPES))],
        lifespan=lifespan,
        exception_handlers={OAuth2Error: refused, httpx.HTTPError: undecided},
    )


if __name__ == "__main__":
    print(__doc__)  # it is served, as that says
