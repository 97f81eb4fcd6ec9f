"""What the `static` checker is measured against: macaroonbakery's discharger for agents, behind the same server.

``python -m tests.benchmarks.bakerypeer PUBLIC_KEY`` knows the one agent of that key. It writes its port and its own
public key to its output, and serves until it is killed. The library has no server and no agents' login of its own:
here it stands behind Starlette's routes, its `Oven` makes the agents' macaroons, and its `Checker` judges them.
"""

from __future__ import annotations

import base64
import json
import socket
import sys
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

import uvicorn
from macaroonbakery import bakery, checkers, httpbakery
from pymacaroons import Macaroon
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from capsvc.macaroon.decode import decode_binaries, encode
from tests.benchmarks.agents import AGENT, CONDITION

AGENT_SECONDS: Final = 60
DISCHARGE_SECONDS: Final = 300


class InteractionNeededError(Exception):
    """Nobody has logged in."""


class Agents(bakery.IdentityClient):  # type: ignore[misc]
    """Who an agent's macaroon declares that he is."""

    def identity_from_context(self, _ctx: object) -> tuple[None, None]:
        """Bakery's: nobody."""
        return None, None

    def declared_identity(self, _ctx: object, declared: dict[str, str]) -> Any:
        """Bakery's."""
        return bakery.SimpleIdentity(declared["username"])


class Table(bakery.ThirdPartyCaveatChecker):  # type: ignore[misc]
    """Answers the one condition to whoever has logged in."""

    def __init__(self, user: str | None) -> None:
        self._user = user

    def check_third_party_caveat(self, _ctx: object, info: Any) -> list[Any]:
        """Bakery's: the caveats of the discharge, or an exception."""
        if self._user is None:
            raise InteractionNeededError
        if info.condition != CONDITION:
            raise bakery.ThirdPartyCaveatCheckFailed("no such condition")
        return [_expiry(DISCHARGE_SECONDS), checkers.declared_caveat("username", self._user)]


def _expiry(seconds: int) -> Any:
    return checkers.time_before_caveat(_later(seconds))


def _later(seconds: int) -> datetime:
    """So many seconds from now, in UTC and without saying so, as the library has it."""
    return datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=seconds)


class Discharger:
    """The two addresses that agents ask."""

    def __init__(self, agent_key: str) -> None:
        self.key = bakery.generate_key()
        self._agent_key = agent_key
        self._bakery = bakery.Bakery(location="discharger", key=self.key, identity_client=Agents())

    async def discharge(self, request: Request) -> JSONResponse:
        """POST /discharge."""
        content = dict(parse_qsl((await request.body()).decode()))
        try:
            user = self._user(base64.b64decode(content["token64"])) if "token64" in content else None
            made = httpbakery.discharge(checkers.AuthContext(), content, self.key, None, Table(user))
        except InteractionNeededError:
            methods = {"agent": {"login-url": "/agent"}}
            error = {"Code": "interaction required", "Message": "log in", "Info": {"InteractionMethods": methods}}
            return JSONResponse(error, 401, {"WWW-Authenticate": "Macaroon"})
        except Exception as refused:  # noqa: BLE001 - the library raises many
            return JSONResponse({"Code": "permission denied", "Message": str(refused)}, 401)
        return JSONResponse({"Macaroon": made.to_dict()})

    def _user(self, token: bytes) -> str:
        macaroons = [Macaroon.deserialize(encode(one)) for one in decode_binaries(token)]
        auth = self._bakery.checker.auth([macaroons]).allow(checkers.AuthContext(), [bakery.LOGIN_OP])
        return str(auth.identity.id())

    async def agent(self, request: Request) -> JSONResponse:
        """GET /agent."""
        name, key = request.query_params["username"], request.query_params["public-key"]
        if (name, key) != (AGENT, self._agent_key):
            return JSONResponse({"Code": "permission denied", "Message": "no such agent"}, 401)
        version = bakery.LATEST_VERSION
        local = bakery.local_third_party_caveat(bakery.PublicKey.deserialize(key), version)
        declared = checkers.declared_caveat("username", name)
        made = self._bakery.oven.macaroon(version, _later(AGENT_SECONDS), [declared, local], [bakery.LOGIN_OP])
        return JSONResponse({"macaroon": made.to_dict()})


def main() -> None:
    """Serve."""
    discharger = Discharger(sys.argv[1])
    routes = [Route("/discharge", discharger.discharge, methods=["POST"]), Route("/agent", discharger.agent)]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            Starlette(routes=routes),
            loop="uvloop",
            http="httptools",
            lifespan="off",
            log_level="critical",
            access_log=False,
            server_header=False,
        )
        found = {"port": listening.getsockname()[1], "public_key": str(discharger.key.public_key)}
        print(json.dumps(found), flush=True)
        uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main()
