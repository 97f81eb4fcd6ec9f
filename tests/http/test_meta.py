"""What anybody may ask, and the OpenAPI document."""

import asyncio
import base64
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.types import ASGIApp, Receive, Scope, Send

from capsvc.authority import Authority
from capsvc.config import Settings
from capsvc.errors import SENTENCES, RequestError
from capsvc.http.app import create_app

from .conftest import Api, Party

Document = dict[str, Any]
"""The OpenAPI document's value."""

OPEN = ["/healthz", "/readyz", "/openapi.json", "/.well-known/capsvc"]


@pytest.mark.parametrize("path", OPEN)
def test_nobody_needs_a_credential(shared: Api, path: str) -> None:
    """With none, two or a bad one they answer the same."""
    bare = shared.send("GET", path)
    assert bare.status == 200
    assert bare.headers["content-type"] == "application/json"
    bad = [("authorization", "Bearer x"), ("authorization", "Basic x")]
    assert shared.send("GET", f"{path}?x=1", bad).body == bare.body


def test_alive_and_ready(shared: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready is 503 while storage cannot be used, alive is not."""
    for path in ("/healthz", "/readyz"):
        assert shared.get(path).json == {"status": "ok"}

    def unavailable() -> NoReturn:
        raise RequestError("unavailable")

    monkeypatch.setattr(shared.authority, "ready", unavailable)
    answer = shared.get("/readyz")
    assert answer.outcome == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert shared.get("/healthz").status == 200


def test_about(shared: Api) -> None:
    """Who the issuer is, every limit and every attribute."""
    about = shared.get("/.well-known/capsvc").json
    assert list(about) == ["issuer", "public_key", "limits", "attributes", "dischargers"]
    assert about["issuer"] == shared.authority.issuer
    assert len(base64.b64decode(about["public_key"], validate=True)) == 32
    assert about["limits"] == {
        "token": 16_384,
        "bundle": 32_768,
        "caveats": 64,
        "bundle_caveats": 192,
        "caveat": 512,
        "third_party_id": 1_024,
        "discharges": 16,
        "depth": 4,
        "body": 65_536,
        "batch_body": 524_288,
    }
    assert about["dischargers"] == []
    attributes = about["attributes"]
    assert attributes["floor"] == {"type": "integer", "fact": False, "values": None}
    assert attributes["tenant"] == {"type": "word", "fact": True, "values": None}
    assert attributes["plan"] == {"type": "word", "fact": False, "values": ["free", "team"]}
    assert attributes["weekday"]["values"] == ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    assert attributes["sub"] == {"type": "word", "fact": True, "values": None}
    built_in = {"time", "clock", "weekday", "action", "method", "path", "host", "ip", "audience", "sub", "client"}
    assert set(attributes) == built_in | {"floor", "tenant", "seats", "plan"}


@pytest.fixture(scope="module")
def document(shared: Api) -> Document:
    """The OpenAPI document."""
    found: Document = shared.get("/openapi.json").json
    return found


def test_openapi_is_valid(document: Document) -> None:
    """By the specification's own schema."""
    assert document["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_openapi_has_the_routes_served(shared: Api, document: Document) -> None:
    """Exactly the routes and methods that the application has."""
    served = {
        (route.path, method.lower()) for route in shared.app.routes for method in route.app.handlers if method != "HEAD"
    }
    assert served == {(path, method) for path, methods in document["paths"].items() for method in methods}


def test_openapi_tells_every_code(document: Document) -> None:
    """Every code that the service knows of today is told somewhere, and none that it does not."""
    told: set[str] = set()
    for methods in document["paths"].values():
        for operation in methods.values():
            for response in operation["responses"].values():
                for media in response.get("content", {}).values():
                    for part in media["schema"].get("allOf", []):
                        told |= set(part.get("properties", {}).get("code", {}).get("enum", []))
    assert told - {"internal-error"} <= SENTENCES.keys()
    assert SENTENCES.keys() - told == {"rate-limited"}  # nothing limits rates yet


def test_openapi_tells_the_fields_that_are_there(shared: Api, document: Document) -> None:
    """An answer's fields are those of its schema."""
    schemas = document["components"]["schemas"]
    minted = shared.mint(subject="alice")
    row = shared.get(f"/v1/tokens/{minted['id']}").json
    granted = shared.verify(minted["token"], explain=True, prefix=True)
    denied = shared.verify("x", explain=True)
    key = shared.get("/v1/audiences/default/keys").json["keys"][0]
    audience = shared.get("/v1/audiences/default").json
    about = shared.get("/.well-known/capsvc").json
    problem = shared.post("/v1/tokens", {}).json
    Party("told").registered(shared)
    discharger = shared.get("/v1/dischargers/told").json
    bakery_keys = shared.get("/v1/bakery-keys").json
    exchanged = shared.post("/v1/exchange", {"token": minted["token"]}).json
    for name, body in [
        ("Minted", minted),
        ("TokenRow", row),
        ("Allowed", granted),
        ("Denied", denied),
        ("Key", key),
        ("Audience", audience),
        ("About", about),
        ("TokenRows", shared.get("/v1/tokens").json),
        ("Minted", exchanged),
        ("Discharger", discharger),
        ("Dischargers", shared.get("/v1/dischargers").json),
        ("KnownDischarger", shared.get("/.well-known/capsvc").json["dischargers"][0]),
        ("BakeryKey", bakery_keys["bakery_keys"][0]),
        ("BakeryKeys", bakery_keys),
    ]:
        assert list(body) == list(schemas[name]["properties"]), name
    assert set(schemas["Problem"]["required"]) == set(problem)


def test_lifespan(tmp_path: Path, shared: Api) -> None:
    """Open at once, closed at shutdown, opened again if started again."""
    app = create_app(Settings(data_dir=tmp_path), clock=shared.clock)
    first = app.state.authority
    first.ready()

    async def live() -> Authority:
        async with app.router.lifespan_context(app):
            app.state.authority.ready()
            authority: Authority = app.state.authority
            return authority

    assert asyncio.run(live()) is first
    with pytest.raises(RequestError, match="cannot be read"):
        first.ready()
    assert asyncio.run(live()) is not first


def test_through_httpx(shared: Api) -> None:
    """The application is an ordinary one to ordinary clients."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(shared.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://capsvc") as client:
            headers = {"authorization": f"Bearer {shared.admin}"}
            minted = await client.post("/v1/tokens", json={"audience": "default", "ttl": 60}, headers=headers)
            body = {"token": minted.json()["token"], "audience": "default"}
            return await client.post("/v1/verify", json=body, headers=headers)

    assert asyncio.run(ask()).json()["allowed"] is True


def test_middleware_of_an_embedding_program(tmp_path: Path, shared: Api) -> None:
    """What a program puts around the application sees every request, those of the hot route too."""
    seen: list[str | None] = []

    class Watch:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope.get("path"))
            await self.app(scope, receive, send)

    app = create_app(Settings(data_dir=tmp_path), clock=shared.clock)
    app.add_middleware(Watch)

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://capsvc") as client:
            for path in ("/v1/verify", "/v1/tokens"):
                assert (await client.post(path, json={})).status_code == 401

    asyncio.run(ask())
    app.state.authority.close()
    assert seen == ["/v1/verify", "/v1/tokens"]
