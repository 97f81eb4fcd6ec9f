r"""A newsroom in FastAPI. Its three roles, editor, writer and reader, are one token with more or fewer caveats.

    capsvc audiences add newsroom
    capsvc attenuate --caveat 'action in tokens:verify' --caveat 'for.audience = newsroom' \
        capsvc-data/admin.token > newsroom.credential
    NEWSROOM_CREDENTIAL=newsroom.credential CAPSVC_URL=$(cat capsvc-data/serve.url) \
        uvicorn --app-dir examples --no-proxy-headers --factory newsroom:create_service --port 8710

An editor's token is minted. She makes those of her writers and readers by herself, for the day or for a desk:

    capsvc mint --audience newsroom --ttl 7d --subject ada > editor.token
    capsvc attenuate --ttl 12h --caveat 'action in read,write' --caveat 'path under /sports' editor.token > writer.token
    capsvc attenuate --ttl 12h --caveat 'action = read' editor.token > reader.token

Nothing here knows of roles: a route says what it does, and the middleware has the token judged before the route runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from fastapi import Body, Depends, FastAPI, HTTPException, Request

from capsvc import Grant
from capsvc.asgi import CapsvcMiddleware, RemoteVerifier, Verifier, requires

AUDIENCE = "newsroom"


def create_service(verifier: Verifier | None = None) -> FastAPI:
    """The service. Without a verifier it asks the authority that the environment names about every request."""
    app = FastAPI()
    app.add_middleware(CapsvcMiddleware, verifier=verifier or _remote(), audience=AUDIENCE, exempt=["/openapi.json"])
    drafts: dict[tuple[str, str], str] = {}
    published: dict[tuple[str, str], str] = {}

    @app.get("/{desk}/{title}", dependencies=[Depends(requires("read"))])
    async def read(desk: str, title: str) -> str:
        return _found(published, desk, title)

    @app.put("/{desk}/{title}", dependencies=[Depends(requires("write"))])
    async def write(desk: str, title: str, text: Annotated[str, Body()], request: Request) -> dict[str, str | None]:
        drafts[desk, title] = text
        return {"title": title, "by": request.user.identity if request.user.is_authenticated else None}

    @app.post("/{desk}/{title}/publication")
    async def publish(
        desk: str, title: str, grant: Annotated[Grant, Depends(requires("publish", critical=True))]
    ) -> dict[str, str | None]:
        published[desk, title] = _found(drafts, desk, title)
        return {"title": title, "by": grant.subject}

    return app


def _found(articles: dict[tuple[str, str], str], desk: str, title: str) -> str:
    if (desk, title) not in articles:
        raise HTTPException(404, "no such article")
    return articles[desk, title]


def _remote() -> Verifier:
    credential = Path(os.environ["NEWSROOM_CREDENTIAL"]).read_text(encoding="ascii").strip()
    return RemoteVerifier(os.environ["CAPSVC_URL"], credential)


if __name__ == "__main__":
    print(__doc__)  # it is served, as that says
