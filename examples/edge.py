r"""An edge: it decides by itself, in its own process, what one authority has confirmed, and obeys its revocations.

    capsvc audiences add maps
    capsvc attenuate --caveat 'action in revocations:read,tokens:verify' --caveat 'for.audience = maps' \
        capsvc-data/admin.token > maps.credential
    export MAPS_CREDENTIAL=maps.credential CAPSVC_URL=$(cat capsvc-data/serve.url)
    uvicorn --app-dir examples --no-proxy-headers --factory edge:create_edge --port 8712 &
    uvicorn --app-dir examples --no-proxy-headers --factory edge:create_edge --port 8713 &

Each of the two asks the authority once about a token that is new to it. From then on it needs nobody to decide about
that token, and about whatever is narrowed from it, for five minutes: it has no key that could mint. Both hear of a
revocation within a second, and one that cannot hear (the authority is down, the line is cut) lets nobody in after that
second. Deleting a map asks the authority every time.

    capsvc mint --audience maps --ttl 1h --subject ada > ada.token
    capsvc attenuate --caveat 'action = read' --caveat 'path under /maps/oslo' ada.token > oslo.token
"""

from __future__ import annotations

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from capsvc.asgi import CapsvcMiddleware, PrefixVerifier, requires

AUDIENCE = "maps"
REVOCATION_MAX_LAG = 1.0  # seconds


@requires("read")
async def show(request: Request) -> JSONResponse:
    """A map, and for whom it is."""
    return JSONResponse({"map": request.path_params["city"], "for": request.state.grant.subject})


@requires("delete", critical=True)
async def delete(request: Request) -> JSONResponse:
    """What cannot be undone."""
    return JSONResponse({"deleted": request.path_params["city"], "by": request.state.grant.subject})


def create_edge() -> Starlette:
    """The service."""
    credential = Path(os.environ["MAPS_CREDENTIAL"]).read_text(encoding="ascii").strip()
    verifier = PrefixVerifier(os.environ["CAPSVC_URL"], credential, revocation_max_lag=REVOCATION_MAX_LAG)
    app = Starlette(
        routes=[Route("/maps/{city}", show), Route("/maps/{city}", delete, methods=["DELETE"])],
    )
    app.add_middleware(CapsvcMiddleware, verifier=verifier, audience=AUDIENCE)
    return app


if __name__ == "__main__":
    print(__doc__)  # it is served, as that says
