r"""Photos, each person's own: the service wants to know who is there, and leaves the login to somebody else.

Who can log in is known to a discharger, which also shows the pages; no code is needed for it:

    capsvc keygen login.key
    capsvc discharger passwd users alice
    TRUST=$(capsvc bakery-keys list | awk '$2 == "active" { print $1 }')
    capsvc discharger serve --checker session --users users --key login.key --trust "photos:$TRUST" --port 8717

The authority learns of it, and mints one token for everybody, which is worth nothing without a login:

    capsvc dischargers add http://127.0.0.1:8717 --name login
    capsvc audiences add albums
    capsvc mint --audience albums --ttl 7d \
        --third-party 'http://127.0.0.1:8717=need-declared username is-authenticated-user' > albums.token

The service has a credential to ask with, and no other secret:

    capsvc attenuate --caveat 'action in tokens:verify' --caveat 'for.audience = albums' \
        capsvc-data/admin.token > albums.credential
    PHOTOS_CREDENTIAL=albums.credential CAPSVC_URL=$(cat capsvc-data/serve.url) \
        uvicorn --app-dir examples --no-proxy-headers --factory photo_service:create_service --port 8716

`photo_client.py` is the program that a person looks at his photos with.
"""

from __future__ import annotations

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from capsvc.asgi import CapsvcMiddleware, RemoteVerifier

AUDIENCE = "albums"
LOGIN = "login"  # the discharger whose word counts for who somebody is
PHOTOS = {"alice": ["harbour.jpg", "lighthouse.jpg"], "bob": ["mountain.jpg"]}


async def album(request: Request) -> JSONResponse:
    """The photos of whoever has logged in. No part of the request says whose they are."""
    owner = request.state.grant.declared.get(LOGIN, {}).get("username")
    if not owner:
        raise HTTPException(403, "this token does not say who is there")
    return JSONResponse({"owner": owner, "photos": PHOTOS.get(owner, [])})


def create_service(url: str | None = None, credential: str | None = None) -> Starlette:
    """The service; what is not given comes from the environment."""
    verifier = RemoteVerifier(
        url or os.environ["CAPSVC_URL"],
        credential or Path(os.environ["PHOTOS_CREDENTIAL"]).read_text(encoding="ascii").strip(),
    )
    app = Starlette(routes=[Route("/album", album)])
    app.add_middleware(CapsvcMiddleware, verifier=verifier, audience=AUDIENCE)
    return app


if __name__ == "__main__":
    print(__doc__)  # it is served, as that says
