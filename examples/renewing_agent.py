"""An agent that renews by itself: an hour of work on one token, with discharges that last for five minutes.

    python examples/renewing_agent.py

A deployer's token has a third party's caveat: the staff office must confirm that the agent `deploy-bot` may deploy
photos. Each confirmation is good for five minutes. `CapabilityAuth` gathers it with the agent's own key, before the
first request and then whenever the last one is about to end. Nobody has to remember that, and nobody is asked.

All parts have the same clock, which is moved by hand: the hour passes in a moment.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from capsvc import Authority, Denied, Settings
from capsvc.client import CapabilityAuth
from capsvc.discharge import AgentLogin, Answer, KeyPair, create_discharger, read_principals, static_checker

DEPLOYER = "https://deploy.example"
MINUTE = 60
PRINCIPALS = """
[principals.deploy-bot]
public_keys = ["{public_key}"]
conditions = ["may-deploy photos"]
"""


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_795_600_800  # 2026-11-25T10:00:00Z

    def __call__(self) -> int:
        """What it shows, in Unix seconds."""
        return self.now


class Deployer:
    """The service that the agent works with: it asks its authority for every request."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self.app = Starlette(routes=[Route("/deployments", self.deploy, methods=["POST"])])

    async def deploy(self, request: Request) -> Response:
        """Deploy, or say why not, as RFC 6750 has it."""
        bundle = request.headers["authorization"].removeprefix("Bearer ")
        context = {"method": request.method, "path": request.scope["raw_path"].decode("latin-1")}
        try:
            self._authority.authorize(bundle, audience="default", context=context)
        except Denied as denied:
            challenge = f'Bearer error="invalid_token", error_description="{denied.code}"'
            return PlainTextResponse(denied.code, 401, headers={"WWW-Authenticate": challenge})
        return PlainTextResponse("deployed", 201)


class StaffOffice:
    """A discharger with the `static` checker, which knows one agent; it counts what it is asked."""

    def __init__(self, agents_key: KeyPair, where: Path) -> None:
        self.key = KeyPair.generate()
        self.confirmed = 0
        file = where / "principals.toml"
        file.write_text(PRINCIPALS.format(public_key=base64(agents_key.public)), encoding="utf-8")
        self._principals = read_principals(file)

    async def _check(self, condition: str, request: Request) -> Answer:
        answer = await static_checker(self._principals)(condition, request)
        self.confirmed += request.state.user is not None
        return answer

    @asynccontextmanager
    async def open(self, trust: str, clock: Clock) -> AsyncIterator[str]:
        """Serve on a free port of this machine; its address."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            location = f"http://127.0.0.1:{listening.getsockname()[1]}"
            logins = [AgentLogin(self._principals.agents())]
            app = create_discharger(
                self._check, key=self.key, location=location, trust=[trust], logins=logins, ttl=5 * MINUTE, clock=clock
            )
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            yield location
            server.should_exit = True
            await serving


def base64(octets: bytes) -> str:
    """A public key as it is written everywhere: standard base64."""
    return b64encode(octets).decode("ascii")


async def work(clock: Clock, authority: Authority, where: Path) -> None:
    """An hour of the agent's work, a deployment a minute; then the operator removes the staff office."""
    agents_key = KeyPair.generate()
    office = StaffOffice(agents_key, where)
    (authoritys_key,) = [pair.public_key for pair in authority.bakery_keys()]
    async with office.open(authoritys_key, clock) as location:
        authority.add_discharger(name="office", location=location, public_key=base64(office.key.public))
        token = authority.mint(
            audience="default",
            ttl=8 * 3600,
            caveats=["method = POST"],
            third_party=[{"location": location, "condition": "may-deploy photos"}],
        ).token

        auth = CapabilityAuth(
            token, DEPLOYER, dischargers=[location], agent=(agents_key, "deploy-bot"), narrow=True, clock=clock
        )
        transport = httpx.ASGITransport(Deployer(authority).app)
        async with httpx.AsyncClient(auth=auth, transport=transport, base_url=DEPLOYER) as http:
            done = 0
            for _ in range(60):
                answer = await http.post("/deployments")
                done += answer.status_code == 201
                clock.now += MINUTE
            print(f"deployments in an hour:  {done}")
            print(f"confirmations for them:  {office.confirmed}")

            authority.remove_discharger("office")
            answer = await http.post("/deployments")
            print(f"the office is removed:   {answer.text}")


def main() -> None:
    """Work for an hour, in a directory that is gone afterwards."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        with Authority.open(Settings(data_dir=where / "data"), clock=clock) as authority:
            asyncio.run(work(clock, authority, where))


if __name__ == "__main__":
    main()
