"""One process that answers on sockets which are already bound: uvicorn, set up as the service needs it."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from capsvc.http.logs import places
from capsvc.http.protocols import MAX_FILES, BoundedH11

__all__ = ["BACKLOG", "GRACE_SECONDS", "Serving", "Stop", "serve_app", "set_up_process"]

GRACE_SECONDS: Final = 10
"""What answers under way have when the service is told to stop."""

BACKLOG: Final = 2_048


class Stop:
    """Whether SIGTERM or ^C has come, from the very start; told to the server as soon as there is one."""

    def __init__(self) -> None:
        self.asked = False
        self.server: uvicorn.Server | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.hear)

    def hear(self, *_: object) -> None:
        """End, after what is under way."""
        self.asked = True
        if self.server is not None:
            self.server.should_exit = True


def _nothing() -> None:
    """What there is to do for an application that holds no answer back."""


class Serving(uvicorn.Server):
    """uvicorn's server, which says when it answers, and when it is about to stop."""

    def __init__(
        self, config: uvicorn.Config, listening: Callable[[], None], stopping: Callable[[], None] = _nothing
    ) -> None:
        super().__init__(config)
        self._listening = listening
        self._stopping = stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer."""
        await super().startup(sockets)
        if self.started:
            self._listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, and finish those under way."""
        self._stopping()
        await super().shutdown(sockets)


def serve_app(
    app: ASGIApp,
    sockets: list[socket.socket],
    listening: Callable[[], None],
    stop: Stop,
    *,
    ssl_certfile: Path | None,
    ssl_keyfile: Path | None,
    stopping: Callable[[], None] = _nothing,
) -> None:
    """Serve on bound sockets in this process until told to stop.

    Args:
        app: what is served.
        sockets: bound already.
        listening: called once it answers.
        stop: says when to stop.
        ssl_certfile: the certificate, for TLS.
        ssl_keyfile: its key, where that is in a file of its own.
        stopping: called in the event loop before the end, to give the answers that are held back.

    """
    config = uvicorn.Config(
        lambda: app,
        factory=True,
        interface="asgi3",
        http=_protocol(),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # on, it would let a caller choose its own address
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_certfile=ssl_certfile,
        ssl_keyfile=ssl_keyfile,
    )
    server = Serving(config, listening, stopping)
    stop.server = server
    server.should_exit = stop.asked
    server.run(sockets)


def _protocol() -> type[asyncio.Protocol]:
    """On httptools where it is installed, else on h11."""
    if importlib.util.find_spec("httptools") is None:
        return BoundedH11
    from capsvc.http.fastprotocol import BoundedHttpTools  # noqa: PLC0415 - httptools may be missing

    return BoundedHttpTools


def set_up_process() -> None:
    """Logging on standard error, and as many connections as the system lets us have."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("capsvc").setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # it warns of what any caller can send any number of times
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(MAX_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Formatter(logging.Formatter):
    """Instants in UTC; faults by type and place, since their messages may repeat what a caller sent."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's own name
        """One line of types and places."""
        fault = ei[1] if isinstance(ei, tuple) else None
        return places(fault) if isinstance(fault, BaseException) else ""
