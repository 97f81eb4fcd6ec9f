"""FastAPI's own idioms: dependencies of every kind, and what its OpenAPI document says of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Security
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from capsvc.asgi import CapsvcMiddleware, EmbeddedVerifier, requires
from capsvc.asgi.case import Case, Rules
from capsvc.asgi.fields import read_fields
from capsvc.grants import Grant

from .application import application, who
from .conftest import Guard, Office, narrowed

ROOT = Path(__file__).parents[2]
OK = (200, "")
REFUSED = (403, "caveat-refused")
NO_VALUE = (403, "context-missing")

Reader = Annotated[Grant, Depends(requires("read"))]


def reader(grant: Reader) -> str | None:
    """A dependency of a program's own, on top of ours."""
    return grant.subject


def test_the_document_shows_a_bearer_scheme() -> None:
    """Of every route that requires something, and of no other."""
    document = application().openapi()
    scheme = document["components"]["securitySchemes"]["capsvc"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    paths = document["paths"]
    for path, method in (("/photos", "get"), ("/photos", "post"), ("/critical", "get"), ("/albums/{album}", "get")):
        assert paths[path][method]["security"] == [{"capsvc": []}], path
    for path in ("/plain", "/open"):
        assert "security" not in paths[path]["get"]
    parameters = [one for item in paths.values() for way in item.values() for one in way.get("parameters", ())]
    assert {one["name"] for one in parameters} == {"room"}  # none of ours


async def annotated_request(request: Request) -> Response:
    """An endpoint of Starlette's."""
    return JSONResponse(who(request)["subject"])


def variants() -> FastAPI:
    """Every way to depend on it."""
    app = FastAPI(dependencies=[Depends(requires(path_parameters=[], context=lambda _: {"floor": 3}))])
    inner = FastAPI()

    @app.get("/annotated")
    async def annotated(grant: Reader) -> str | None:
        return grant.subject

    @app.get("/default")
    def default(grant: Grant = Depends(requires("read"))) -> str | None:  # noqa: B008 - FastAPI's older way
        return grant.subject

    @app.get("/security")
    async def security(grant: Annotated[Grant, Security(requires("read"))]) -> str | None:
        return grant.subject

    @app.get("/nested")
    async def nested(subject: Annotated[str | None, Depends(reader)]) -> str | None:
        return subject

    @app.get("/decorated")
    @requires("read")
    async def decorated(request: Request) -> Any:
        return who(request)["subject"]

    @app.get("/decorated-thread")
    @requires("read")
    def in_thread(request: Request) -> Any:
        return who(request)["subject"]

    @inner.get("/photos")
    async def photos(grant: Reader) -> str | None:
        return grant.subject

    deep, deeper = APIRouter(prefix="/deep"), APIRouter(prefix="/deeper", dependencies=[Depends(requires("read"))])

    @deeper.get("/photos")
    async def far(request: Request) -> Any:
        return who(request)["subject"]

    deeper.mount("/below", Starlette(routes=[Route("/photos", requires("read")(annotated_request))]))
    deep.include_router(deeper)
    app.include_router(deep, prefix="/very")
    app.mount("/mounted", inner)
    return app


WAYS = [
    "/annotated",
    "/default",
    "/security",
    "/nested",
    "/decorated",
    "/decorated-thread",
    "/very/deep/deeper/photos",
    "/very/deep/below/photos",
    "/mounted/photos",
]


@pytest.fixture(scope="module")
def subjects(shared_office: Office) -> Any:
    """Asks the application with every way: status and code, or what the endpoint said."""
    import httpx

    app = variants()
    app.add_middleware(
        CapsvcMiddleware,
        verifier=EmbeddedVerifier(shared_office.authority),
        audience="default",
        clock=shared_office.clock,
    )

    def ask(path: str, *caveats: str) -> Any:
        token = shared_office.mint()

        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                headers = {"authorization": f"Bearer {narrowed(token, *caveats) if caveats else token}"}
                return await client.get(path, headers=headers)

        answer = asyncio.run(run())
        return answer.json() if answer.status_code == 200 else (answer.status_code, answer.json()["code"])

    return ask


@pytest.mark.parametrize("path", WAYS)
def test_every_way_to_depend_on_it(subjects: Any, path: str) -> None:
    """The action is asked about before anything runs, with what the application adds to all its routes."""
    assert subjects(path) == "alice"
    assert subjects(path, "action = read") == "alice"
    assert subjects(path, "action = write") == REFUSED
    if path not in {"/mounted/photos", "/very/deep/below/photos"}:
        assert subjects(path, "action = read", "floor = 3") == "alice"
        assert subjects(path, "floor = 4") == REFUSED


def test_routes_that_are_added_later(office: Office, guard: Guard) -> None:
    """They are seen when they are there."""
    app = application()
    running = guard(office, app)
    token = narrowed(office.mint(), "action = read")
    assert running.outcome("/later", token) == NO_VALUE
    app.get("/later", dependencies=[Depends(requires("read"))])(who)
    assert running.outcome("/later", token) == OK
    assert running.outcome("/later", narrowed(office.mint(), "action = write")) == REFUSED


def test_a_framework_that_takes_it_for_a_plain_function(shared_office: Office) -> None:
    """It is called in a thread then, and nobody awaits what it returns: so it decides there, and raises there."""
    requirement = requires("read")
    verifier = EmbeddedVerifier(shared_office.authority)

    async def ask(token: str, *, awaited: bool = False) -> object:
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": "/photos",
            "raw_path": b"/photos",
            "headers": [(b"authorization", f"Bearer {token}".encode())],
        }
        Case(Rules(verifier, "default", {}, (), None, shared_office.clock), scope, read_fields(scope))
        if awaited:
            return await requirement.__wrapped__(HTTPConnection(scope))
        return await run_in_threadpool(requirement, HTTPConnection(scope))

    token = shared_office.mint()
    assert isinstance(asyncio.run(ask(token)), Grant)
    assert isinstance(asyncio.run(ask(token, awaited=True)), Grant)
    with pytest.raises(Exception, match="does not hold"):
        asyncio.run(ask(narrowed(token, "action = write")))


def test_nobody_needs_fastapi() -> None:
    """The package loads without it, and does not load it; nor a client or an authority that nobody asked for."""
    program = (
        "import sys\nsys.modules['fastapi'] = None\n"
        "from capsvc.asgi import CapsvcMiddleware, Verifier, requires\n"
        "import inspect\nassert list(inspect.signature(requires('read')).parameters) == ['target']\n"
        "print(*sys.modules, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "starlette" in loaded
    assert not loaded & {"pydantic", "httpx", "sqlite3", "uvicorn", "nacl", "capsvc.authority", "capsvc.client"}
