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


def application() -> FastAPI:
    """A fresh one, without the middleware."""
    app = FastAPI()
    tenants = APIRouter(prefix="/albums/{album}", dependencies=[Depends(requires("read", path_parameters=["album"]))])

    @app.get("/photos", dependencies=[Depends(requires("read"))])
    async def photos(request: Request) -> dict[str, Any]:
        return who(request)

    @app.post("/photos", dependencies=[Depends(requires("write"))])
    def add(request: Request, body: dict[str, int]) -> dict[str, Any]:
        return {**who(request), **body}

    @app.get("/floors", dependencies=[Depends(requires("read", context=floor_of))])
    async def floors(request: Request) -> dict[str, Any]:
        return who(request)

    @app.get("/rooms/{floor:int}/{room}", dependencies=[Depends(requires("read", path_parameters={"floor": "floor"}))])
    async def rooms(room: str) -> str:
        return room

    @app.get("/critical")
    async def critical(grant: Annotated[Grant, Depends(requires("read", critical=True))]) -> str | None:
        return grant.subject

    @app.get("/others", dependencies=[Depends(requires("read", audience="others"))])
    async def others(request: Request) -> dict[str, Any]:
        return who(request)

    @app.get("/plain")
    @app.get("/plain/{rest:path}")
    async def plain(request: Request) -> dict[str, Any]:
        return who(request)

    @app.get("/open")
    @app.get("/assets/{name}")
    async def public(request: Request) -> dict[str, Any]:
        return who(request)

    @app.websocket("/echo", dependencies=[Depends(requires("read"))])
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    @app.websocket("/ticks", dependencies=[Depends(requires("read"))])
    async def ticks(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text("tick")
            await asyncio.sleep(0.005)

    @app.websocket("/unasked")
    async def unasked(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.user.identity)
        await websocket.close()

    @tenants.get("")
    async def album(grant: Annotated[Grant, Depends(requires("list"))]) -> str | None:
        return grant.subject

    app.include_router(tenants)
    return app
