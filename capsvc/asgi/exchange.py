"""One HTTP request on its way through: nothing of an application's answer gets out once the request is refused."""

from __future__ import annotations

import logging
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Send

from capsvc.asgi.case import Case, Refusal
from capsvc.web.answers import Answer, send_answer
from capsvc.web.problems import internal_error, problem_answer

__all__ = ["Exchange"]

SUCCESSES: Final = range(200, 300)  # statuses that an endpoint alone has a reason for

logger = logging.getLogger("capsvc.asgi")


class Exchange:
    """Sends either what the application says, or the refusal."""

    def __init__(self, case: Case, receive: Receive, send: Send) -> None:
        self._case = case
        self._receive = receive
        self._send = send
        self._started = False
        self._refused = False

    async def refuse(self, answer: Answer) -> None:
        """Answer so, and with nothing else from now on."""
        self._refused = True
        await send_answer(answer, self._send, head=self._case.scope["method"] == "HEAD")

    async def run(self, app: ASGIApp) -> None:
        """Let the application answer."""
        try:
            await app(self._case.scope, self._receive, self.send)
        except Refusal:
            if self._case.refusal is None or self._started:
                raise
        if self._case.refusal is not None and not self._started and not self._refused:
            await self.refuse(self._case.refusal)

    async def send(self, message: Message) -> None:
        """See ASGI; what an application says of a refused request is dropped."""
        if self._refused:
            return
        if message["type"] == "http.response.start":
            answer = self._case.refusal or self._passed_by(message["status"])
            if answer is not None:
                await self.refuse(answer)
                return
            self._started = True
        elif self._case.refusal is not None:
            raise RuntimeError("the request was refused while it was being answered")
        await self._send(message)

    def _passed_by(self, status: int) -> Answer | None:
        """A fault, where an endpoint answers that was not the one which this request was judged for."""
        if status not in SUCCESSES or not self._case.unmet:
            return None
        logger.error(
            "a route answered without coming to its requires(): something within the middleware changes routes"
        )
        return problem_answer(internal_error())
