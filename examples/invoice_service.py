r"""A service that protects invoices: it asks capsvc, for every request, whether the caller's token allows it.

    capsvc audiences add invoices
    capsvc attenuate --caveat 'action in tokens:verify' --caveat 'for.audience = invoices' \
        capsvc-data/admin.token > invoices.credential
    INVOICES_CREDENTIAL=invoices.credential CAPSVC_URL=$(cat capsvc-data/serve.url) \
        uvicorn --app-dir examples --no-proxy-headers --factory invoice_service:create_service --port 8715

The service's own credential is good for one thing, and for one audience. What the authority judges is what was asked
for: the method, and the path as it was sent, before any server has tidied it up. This is what it takes by hand, in any
language; here in Python `capsvc.asgi` does it, and more (`newsroom.py`).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

AUDIENCE = "invoices"
ACTIONS = {"GET": "read", "HEAD": "read", "PUT": "write"}
OTHER_REQUESTS = {  # a good token, for other requests than this; by any other code the token itself is no good
    "caveat-malformed",
    "caveat-refused",
    "caveat-unknown",
    "context-invalid",
    "context-missing",
    "fact-conflict",
}


class Gate:
    """Asks the authority at ``url`` with the service's own credential."""

    def __init__(self, url: str, credential: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {credential}"}, timeout=5, follow_redirects=False
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def admit(self, request: Request) -> Mapping[str, Any]:
        """What the authority says of a token that allows the request; raises the answer for one that does not."""
        token = _bearer(request)
        context = {
            "action": ACTIONS[request.method],
            "method": request.method,
            "path": request.scope["raw_path"].decode("latin-1"),
        }
        try:
            answer = await self._client.post(
                "/v1/verify", json={"token": token, "audience": AUDIENCE, "context": context}
            )
            answer.raise_for_status()
            decision = answer.json()
        except (httpx.HTTPError, ValueError):  # no decision is no admission
            raise HTTPException(503, "the authority does not answer") from None
        if decision.get("allowed") is not True:
            raise _refused(decision.get("code"))
        return dict(decision)


def _refused(code: str) -> HTTPException:
    """The answer to a token that was denied."""
    if code == "unavailable":
        return HTTPException(503, code)
    if code in OTHER_REQUESTS:
        return HTTPException(403, code)
    return HTTPException(401, code, {"WWW-Authenticate": 'Bearer error="invalid_token"'})


def _bearer(request: Request) -> str:
    """The one token of the request."""
    scheme, _, token = ", ".join(request.headers.getlist("authorization")).partition(" ")
    if scheme.lower() != "bearer" or not token or "," in token:
        raise HTTPException(401, "send one token", {"WWW-Authenticate": "Bearer"})
    return token.strip()


async def invoice(request: Request) -> JSONResponse:
    """Read or write an invoice, for whom the token speaks."""
    decision = await request.app.state.gate.admit(request)
    return JSONResponse({"invoice": request.path_params["number"], "for": decision["subject"]})


def create_service(url: str | None = None, credential: str | None = None) -> Starlette:
    """The service; what is not given comes from the environment."""
    gate = Gate(
        url or os.environ["CAPSVC_URL"],
        credential or Path(os.environ["INVOICES_CREDENTIAL"]).read_text(encoding="ascii").strip(),
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.gate = gate
        yield
        await gate.close()

    return Starlette(routes=[Route("/invoices/{number:int}", invoice, methods=list(ACTIONS))], lifespan=lifespan)


if __name__ == "__main__":
    print(__doc__)  # it is served, as that says
