"""One WebSocket on its way through: judged at the handshake, and again and again as long as it lasts."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Send
from starlette.websockets import WebSocketDisconnect

from capsvc.asgi.case import Case, Refusal
from capsvc.web.answers import Answer, send_answer
from capsvc.web.problems import Problem, internal_error, problem_answer

__all__ = ["Closed", "Socket"]

POLICY_VIOLATION: Final = 1008  # RFC 6455, section 7.4.1
TRY_AGAIN_LATER: Final = 1013
UNAVAILABLE: Final = "unavailable"

logger = logging.getLogger("capsvc.asgi")


class Closed(OSError):  # noqa: N818 - what the connection is
    """The connection is over: what ASGI has a send raise after that (Starlette makes a `WebSocketDisconnect` of it)."""


class Socket:
    """Passes messages on while the token is good. One task a connection judges it again, and ends with it."""

    def __init__(self, case: Case, receive: Receive, send: Send) -> None:
        self._case = case
        self._receive = receive
        self._send = send
        self._accepted = False
        self._over = False
        """Nothing goes out any more: closed by either end, or refused."""
        self._end: Message | None = None
        """What the application hears once we closed it."""
        self._watch: asyncio.Task[None] | None = None

    async def refuse(self, answer: Answer) -> None:
        """End the handshake: with the answer where the server can send it, else by closing (403)."""
        self._over = True
        if "websocket.http.response" in (self._case.scope.get("extensions") or {}):
            await send_answer(answer, self._send, prefix="websocket.")
        else:
            await self._send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": ""})

    async def run(self, app: ASGIApp) -> None:
        """Let the application use the connection."""
        try:
            await app(self._case.scope, self.receive, self.send)
        except Refusal:
            if self._case.refusal is None:
                raise
        except (Closed, WebSocketDisconnect):  # an application that goes on hears of the end by these
            if not self._over:
                raise
        finally:
            if self._watch is not None:
                self._watch.cancel()
                await asyncio.gather(self._watch, return_exceptions=True)
        if not self._over and self._case.refusal is not None:
            await self._refuse_late(self._case.refusal)

    async def receive(self) -> Message:
        """See ASGI; nothing that comes after the end is handed on."""
        if self._end is not None:
            return self._end
        self._watch_over()
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._over = True
        elif message["type"] == "websocket.receive" and not self._over and self._expired():
            await self._close("expired")
        return self._end or message

    async def send(self, message: Message) -> None:
        """See ASGI; after the end it raises `Closed`."""
        if self._end is not None:
            raise Closed
        if self._over:
            if self._case.refusal is None:
                await self._send(message)  # the server knows what to say of it
            return
        if self._case.refusal is not None:
            await self._refuse_late(self._case.refusal)
            return
        if not self._accepted:
            await self._send_first(message)
            return
        if message["type"] == "websocket.close":
            self._over = True
        elif self._expired():
            await self._close("expired")
            raise Closed
        await self._send(message)
        self._watch_over()

    async def _send_first(self, message: Message) -> None:
        """Send what ends the handshake, or part of it."""
        if message["type"] == "websocket.accept":
            if self._case.unmet:
                logger.error("a route accepted a WebSocket without coming to its requires()")
                await self.refuse(problem_answer(internal_error()))
                raise Closed
            self._accepted = True
        await self._send(message)
        self._watch_over()

    def _watch_over(self) -> None:
        """Begin to judge again, once there is a connection and a decision about it."""
        if self._watch is None and self._accepted and self._case.decisions:
            self._watch = asyncio.create_task(self._judge_again())

    async def _refuse_late(self, answer: Answer) -> None:
        """Refuse what a route of its own accord came to refuse, before or after it accepted."""
        if self._accepted:
            await self._close("refused")
        else:
            await self.refuse(answer)

    async def _judge_again(self) -> None:
        while not self._over:
            try:
                await asyncio.sleep(self._pause())
                code = await self._code_now()
            except Exception as error:  # noqa: BLE001 - whatever it is, nobody knows whether the token is good
                logger.error("a token could not be judged again: %s", type(error).__name__)  # noqa: TRY400
                code = UNAVAILABLE
            if code is not None and not self._over:
                await self._close(code)

    def _pause(self) -> float:
        """Seconds until the next judgement: at the expiry at the latest."""
        return max(0.0, min(self._case.rules.verifier.recheck, self._expires_at() - self._case.rules.clock()))

    async def _code_now(self) -> str | None:
        """Why the connection has to end, if it has to."""
        if self._expired():
            return "expired"
        case = self._case
        bundle = case.bundle()
        for decision in list(case.decisions):
            audience, context, critical, _ = decision
            try:
                grant = await case.judged(bundle, audience, context, critical=critical)
            except Problem as problem:
                return problem.code
            case.record(decision._replace(grant=grant))
        return None

    def _expires_at(self) -> float:
        return min([decision.grant.expires_at.timestamp() for decision in self._case.decisions])

    def _expired(self) -> bool:
        return bool(self._case.decisions) and self._case.rules.clock() >= self._expires_at()

    async def _close(self, code: str) -> None:
        """Close it, once; from now on the application hears that it is closed, and says nothing any more."""
        number = TRY_AGAIN_LATER if code == UNAVAILABLE else POLICY_VIOLATION
        self._over = True
        self._end = {"type": "websocket.disconnect", "code": number, "reason": code}
        with suppress(OSError, RuntimeError):  # the other end may be gone
            await self._send({"type": "websocket.close", "code": number, "reason": code})
