"""The application that all verifiers protect: FastAPI, with routes of every kind."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from starlette.requests import HTTPConnection

from capsvc.asgi import requires
from capsvc.grants import Grant

__all__ = ["application"]


def who(request: Request) -> dict[str, Any]:
    """What an endpoint can see of whoever asks."""
    grant = request.state.grant
    return {
        "subject": request.user.identity,
        "authenticated": request.user.is_authenticated,
        "scopes": request.auth.scopes,
        "id": None if grant is None else grant.id,
        "facts": None if grant is None else dict(grant.facts),
        "path": request.scope["path"],
    }


async def floor_of(connection: HTTPConnection) -> dict[str, object]:
    """A value that a route adds: the floor that a header names."""
    await asyncio.sleep(0)
    return {"floor": int(connection.headers.get("x-floor", "0"))}


def add(request: Request, body: dict[str, int]) -> dict[str, Any]:
    """An endpoint with a body, and not async."""
    return {**who(request), **body}


async def room(room: str) -> str:
    """An endpoint that sees no request."""
    return room


async def whose(grant: Annotated[Grant, Depends(requires("read", critical=True))]) -> str | None:
    """An endpoint that gets its grant."""
    return grant.subject


async def listed(grant: Annotated[Grant, Depends(requires("list"))]) -> str | None:
    """An endpoint in a router with a requirement of its own."""
    return grant.subject


async def echo(websocket: WebSocket) -> None:
    """Waits for messages."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


async def ticks(websocket: WebSocket) -> None:
    """Sends messages."""
    await websocket.accept()
    while True:
        await websocket.send_text("tick")
        await asyncio.sleep(0.005)


async def unasked(websocket: WebSocket) -> None:
    """Requires nothing."""
    await websocket.accept()
    await websocket.send_text(websocket.user.identity)
    await websocket.close()


def application() -> FastAPI:
    """A fresh one, without the middleware."""
    app = FastAPI()
    read = Depends(requires("read"))
    app.get("/photos", dependencies=[read])(who)
    app.post("/photos", dependencies=[Depends(requires("write"))])(add)
    app.get("/floors", dependencies=[Depends(requires("read", context=floor_of))])(who)
    app.get("/rooms/{floor:int}/{room}", dependencies=[Depends(requires("read", path_parameters=["floor"]))])(room)
    app.get("/critical")(whose)
    app.get("/others", dependencies=[Depends(requires("read", audience="others"))])(who)
    for public in ("/plain", "/plain/{rest:path}", "/open", "/assets/{name}"):
        app.get(public)(who)
    app.websocket("/echo", dependencies=[read])(echo)
    app.websocket("/ticks", dependencies=[read])(ticks)
    app.websocket("/unasked")(unasked)
    albums = APIRouter(prefix="/albums/{album}", dependencies=[Depends(requires("read", path_parameters=["album"]))])
    albums.get("")(listed)
    albums.websocket("/echo")(echo)
    app.include_router(albums)
    return app
