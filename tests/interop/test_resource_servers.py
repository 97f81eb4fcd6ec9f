"""Others' clients, unmodified, at a service behind our middleware: they reach its routes through a discharge."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from macaroonbakery import bakery
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from capsvc.asgi import CapsvcMiddleware, RemoteVerifier, bakery_roots, requires
from capsvc.client import Client

from ..asgi.conftest import serving  # noqa: TID252 - an application is served in one way
from .libraries import Discharger, GatheringError, Library, Party, declare
from .ours import OurDischarger
from .service import Service

AgentFile = Callable[..., Path]


@requires("look")
async def whoami(request: Request) -> Response:
    """What is known of whoever asks."""
    grant = request.state.grant
    return JSONResponse({"id": grant.id, **{who: dict(values) for who, values in grant.declared.items()}})


@contextmanager
def protected(service: Service, discharger: Party, condition: str) -> Iterator[tuple[str, list[str]]]:
    """A service whose tokens a discharger has to answer for; its address, and the roots that it gave out."""
    service.register(discharger)
    given: list[str] = []
    with Client(service.url, service.credential) as client:
        third_party = [{"location": discharger.url, "condition": condition, "declare": ["username"]}]
        mint = bakery_roots(client, audience="default", third_party=third_party)

        async def counted(connection: HTTPConnection) -> str:
            given.append(await mint(connection))
            return given[-1]

        app: Any = CapsvcMiddleware(
            Starlette(routes=[Route("/whoami", whoami), Route("/again", whoami)]),
            verifier=RemoteVerifier(service.url, service.credential),
            audience="default",
            bakery=True,
            mint_root=counted,
        )
        with serving(lambda _: app) as url:
            yield url, given


def test_a_client_reaches_a_route(service: Service, discharger: Discharger, library: Library) -> None:
    """It discharges the root that it gets, comes again with a cookie, and keeps that for the next request."""
    discharger.answers("somebody", declare("username", "bob"))
    with protected(service, discharger, "somebody") as (url, given):
        first, second = library.fetch(f"{url}/whoami", f"{url}/again")
        assert (first["status"], second["status"]) == (200, 200)
        known = json.loads(first["body"])
        assert known[discharger.name] == {"username": "bob"}
        assert json.loads(second["body"]) == known
        assert len(given) == 1
        with pytest.raises(GatheringError), protected(service, discharger, "nobody") as (other, _):
            library.fetch(f"{other}/whoami")


def test_an_agent_reaches_a_route(
    service: Service, static: OurDischarger, library: Library, agent_file: AgentFile
) -> None:
    """Through our discharger, by its key; somebody with another key does not."""
    with protected(service, static, "may-deploy photos") as (url, _):
        (answer,) = library.fetch(f"{url}/whoami", agent=agent_file(static.url))
        assert answer["status"] == 200
        assert json.loads(answer["body"])["static"] == {"username": "robot"}
        with pytest.raises(GatheringError):
            library.fetch(f"{url}/whoami", agent=agent_file(static.url, bakery.generate_key()))
