"""An edge: a process of its own that decides with a `PrefixVerifier`, and answers with the outcome. Run as a program.

Its arguments are the authority's address, a file with a credential for it, and a file descriptor that is bound.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from capsvc.asgi import PrefixVerifier
from capsvc.errors import Denied


def edge_app(url: str, credential: str, max_lag: float) -> Starlette:
    """The application: POST / with a token answers ``allowed`` or the denial's code."""
    verifier = PrefixVerifier(url, credential, revocation_max_lag=max_lag)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await verifier.open()
        yield
        await verifier.aclose()

    async def decide(request: Request) -> PlainTextResponse:
        token = (await request.body()).decode()
        critical = "critical" in request.query_params
        try:
            await verifier.authorize(token, audience="default", context={}, critical=critical)
        except Denied as denied:
            return PlainTextResponse(denied.code)
        return PlainTextResponse("allowed")

    return Starlette(routes=[Route("/", decide, methods=["POST"])], lifespan=lifespan)


if __name__ == "__main__":
    address, credential_file, max_lag, descriptor = sys.argv[1:]
    app = edge_app(address, Path(credential_file).read_text().strip(), float(max_lag))
    uvicorn.run(app, fd=int(descriptor), log_level="error")
