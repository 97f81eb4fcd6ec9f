"""The outermost layer of the application: a request id on every response, one line a request in the log.

A line holds when, method, *route*, status, how long and the request id: never the path, the query, a header or
anything else that could be a credential. Of a fault the log gets types and places, not messages, since a message may
repeat what a caller sent.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Final, TextIO

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from capsvc.http.answers import Header, send_answer
from capsvc.http.problems import internal_error, problem_answer
from capsvc.web.problems import MAX_HEADER_BYTES, PER_HEADER, headers_too_large

__all__ = ["AccessLog", "new_request_id", "places"]

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
CLOSED_BY_CALLER: Final = 499  # nginx's number for a caller that hung up; never sent

logger = logging.getLogger("capsvc.http")

_numbers: Final = itertools.count(1)
_process: str = os.urandom(6).hex()


def new_request_id() -> str:
    """An id that no other request of any worker has: it is no secret and authorises nothing."""
    return f"{_process}-{next(_numbers):x}"


class AccessLog:
    """ASGI middleware around everything. ``stream`` gets each line in one write, so that workers can share it."""

    def __init__(self, app: ASGIApp, stream: TextIO, clock: Callable[[], float] = time.time) -> None:
        self.app = app
        self._stream = stream
        self._clock = clock
        self._second = -1
        self._stamp = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request and write its line."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        size, request_id = _read_headers(scope["headers"])
        began = time.perf_counter()
        status = 0
        header = (b"x-request-id", request_id.encode("ascii"))

        def answer(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), header]}  # the app may send it again
            return send(message)

        scope["request_id"] = request_id
        try:
            if size > MAX_HEADER_BYTES:
                await send_answer(problem_answer(headers_too_large()), answer)
            else:
                await self.app(scope, receive, answer)
        except ClientDisconnect:
            status = status or CLOSED_BY_CALLER
        except Exception as fault:  # noqa: BLE001 - the last place to catch it; a broken answer ends the connection
            logger.error("request %s failed: %s", request_id, places(fault))  # noqa: TRY400 - without its message
            if not status:
                await send_answer(problem_answer(internal_error()), answer)
        finally:
            self._write(scope, status, time.perf_counter() - began, request_id)

    def _write(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        method = scope["method"]
        known = method if method in METHODS else "-"
        line = f"{self._now()} {known} {_route(scope)} {status} {seconds * 1000:.1f}ms {request_id}\n"
        try:
            self._stream.write(line)
        except (OSError, ValueError):  # a log on a full disk, or closed, must not stop the answers
            return

    def _now(self) -> str:
        second = int(self._clock())
        if second != self._second:
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
            self._second = second
        return self._stamp


def _read_headers(headers: list[Header]) -> tuple[int, str]:
    """How large they are, and the request's id: the caller's own where it is a fit one, exactly once."""
    size = PER_HEADER * len(headers)
    own = None
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"x-request-id":
            own = b"" if own is not None else value
    if own is not None and REQUEST_ID.fullmatch(own):
        return size, own.decode("ascii")
    return size, new_request_id()


def _route(scope: Scope) -> str:
    """The template that matched, as the program has it; ``-`` where none did."""
    route = scope.get("route")
    return route if isinstance(route, str) else getattr(route, "path", "-")


def places(fault: BaseException) -> str:
    """A fault's types and where they were raised, in one line, without a message or a value."""
    parts: list[str] = []
    seen: BaseException | None = fault
    while seen is not None and len(parts) < 5:
        frames = traceback.extract_tb(seen.__traceback__)[-8:]
        trail = " > ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
        parts.append(f"{type(seen).__name__} at {trail or '-'}")
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "; after ".join(parts)
