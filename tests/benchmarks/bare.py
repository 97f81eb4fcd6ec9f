"""What `/v1/verify` is measured against: a bare Starlette route that decodes and echoes JSON, and an empty ASGI answer.

``python -m tests.benchmarks.bare echo`` serves one of them on a free port of 127.0.0.1, which it writes to its output,
until it is killed.
"""

from __future__ import annotations

import socket
import sys
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send


async def _echo(request: Request) -> JSONResponse:
    return JSONResponse(await request.json())


echo: Final = Starlette(routes=[Route("/v1/verify", _echo, methods=["POST"])])
"""Decodes the body as JSON and answers it."""

_HEADERS: Final = [(b"content-length", b"0")]


async def empty(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers nothing, with 200."""
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": b""})


APPLICATIONS: Final[dict[str, ASGIApp]] = {"echo": echo, "empty": empty}


def main() -> None:
    """Serve the application that is named."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            APPLICATIONS[sys.argv[1]],
            loop="uvloop",
            http="httptools",
            lifespan="off",
            log_level="critical",
            access_log=False,
            server_header=False,
        )
        print(listening.getsockname()[1], flush=True)
        uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main()
