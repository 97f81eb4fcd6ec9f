"""Around every page of the discharger: nobody stores an answer or guesses its type, and no fault shows what it is."""

from __future__ import annotations

import logging
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from capsvc.discharge.bakery import bad_request, error_response, fault
from capsvc.discharge.faults import places

__all__ = ["Around"]

HEADERS: Final = (("cache-control", "no-store"), ("x-content-type-options", "nosniff"))

logger = logging.getLogger("capsvc.discharge")


class Around:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS:
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except ClientDisconnect:  # nobody is there to read it; raised on, it would be a fault of the program around
            refusal = bad_request("the request did not come whole")
        except Exception as error:  # noqa: BLE001 - the last place to catch it
            logger.error("a request failed: %s", places(error))  # noqa: TRY400 - without its message
            refusal = fault()
        else:
            return
        if not started:
            await error_response(refusal)(scope, receive, answer)
