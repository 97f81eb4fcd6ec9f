"""A discharger below a path of somebody else's application."""

from __future__ import annotations

import base64
from typing import Any

import httpx
from fastapi import FastAPI, Request
from starlette.types import ASGIApp

from capsvc.discharge import AgentLogin, Answer, Declared, Interaction

from .conftest import Discharger, caveats, discharged, listening, refused


async def who(_condition: str, request: Request) -> Answer:
    """Whoever has logged in to the discharger."""
    return Interaction() if request.state.user is None else Declared({"username": request.state.user})


def test_in_fastapi() -> None:
    """Its addresses are below the mount, all that it hands out too, and the application's own stay its own."""
    made: list[Discharger] = []

    def application(address: str) -> ASGIApp:
        made.append(Discharger(f"{address}/dis", logins=[AgentLogin({})]))
        app = FastAPI()

        @app.get("/")
        async def home() -> dict[str, str]:
            return {"it": "works"}

        app.mount("/dis", made[0].app)
        return app

    with listening(application) as address:
        discharger = made[0]
        assert httpx.get(address).json() == {"it": "works"}
        assert httpx.get(f"{address}/dis/discharge/info").json()["Version"] == 3
        made_discharge = discharged(discharger.ask(discharger.caveat()))
        assert made_discharge.location == f"{address}/dis".encode()
        assert caveats(made_discharge) == ["time-before 2026-11-22T12:05:00Z"]
        offer = discharger.ask(discharger.caveat("somebody"))
        refused(offer, 401, "interaction required")
        assert offer.json()["Info"]["InteractionMethods"]["agent"] == {"login-url": f"{address}/dis/agent"}
        refused(httpx.get(f"{address}/dis/nosuch"), 404, "not found")
        refused(httpx.get(f"{address}/dis/discharge"), 405, "method not allowed")
        assert httpx.get(f"{address}/discharge/info").status_code == 404
        assert httpx.get(f"{address}/nosuch").headers["content-type"] == "application/json"
        assert httpx.get(f"{address}/nosuch").json() == {"detail": "Not Found"}
        discharger.http.close()


def test_the_application_s_own_user_is_nobody_here() -> None:
    """Who is logged in to the application around it has not logged in to the discharger."""
    made: list[Discharger] = []

    def application(address: str) -> ASGIApp:
        made.append(Discharger(f"{address}/dis", checker=who, logins=[AgentLogin({})]))
        app = FastAPI()

        @app.middleware("http")
        async def log_in(request: Request, call_next: Any) -> Any:
            request.state.user = "root"
            return await call_next(request)

        app.mount("/dis", made[0].app)
        return app

    with listening(application):
        discharger = made[0]
        refused(discharger.ask(discharger.caveat("somebody")), 401, "interaction required")
        discharger.http.close()


def test_a_checker_that_fails_is_no_fault_of_the_application() -> None:
    """The application around it sees an answer, no exception, and a caller that goes is none either."""

    async def failing(_condition: str, _request: Request) -> Answer:
        raise RuntimeError

    seen: list[BaseException] = []
    made: list[Discharger] = []

    def application(address: str) -> ASGIApp:
        made.append(Discharger(address, checker=failing))

        async def around(scope: Any, receive: Any, send: Any) -> None:
            try:
                await made[0].app(scope, receive, send)
            except BaseException as error:
                seen.append(error)
                raise

        return around

    with listening(application) as address:
        discharger = made[0]
        refused(discharger.ask(discharger.caveat()), 500, "internal error")
        _cut_off(address)
        body = {"id64": base64.b64encode(discharger.caveat()).decode()}
        refused(httpx.post(f"{address}/discharge", data=body), 500, "internal error")
        discharger.http.close()
    assert seen == []


def _cut_off(address: str) -> None:
    """Send half a form and go."""
    import socket
    from urllib.parse import urlsplit

    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port)) as connection:
        form = b"Content-Type: application/x-www-form-urlencoded\r\n"
        connection.sendall(b"POST /discharge HTTP/1.1\r\nHost: x\r\n" + form + b"Content-Length: 9\r\n\r\nid=")
