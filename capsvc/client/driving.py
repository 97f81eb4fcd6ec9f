"""Carrying out a gathering: its requests over connections of their own, its visits by the caller's callback.

httpx bounds each wait for an octet, and no more: a server that sends one every few seconds would hold a request for
days. Here every request has an end, and all of them together have one.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import httpx

from capsvc.client.connection import FAILURES, failure, http_options
from capsvc.client.errors import DischargeError, ServiceError
from capsvc.client.messages import Body
from capsvc.client.steps import Ask, Reply, Step, Steps, Visit

__all__ = ["TIMEOUT", "WAIT", "Manner", "carry_out", "carry_out_async"]

TIMEOUT: Final = 10.0  # seconds: for a request and its whole answer
WAIT: Final = 600.0  # seconds: for a person to visit a page; dischargers forget the visit then
REQUESTS: Final = 10  # timeouts: what all requests of a gathering may last together, without its waits
TICK: Final = 1.0  # seconds between two reports of progress

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Manner:
    """How a gathering is carried out.

    ``timeout`` is in seconds; ``visit`` gets the address that a person must visit; ``progress`` is told every second
    how many seconds that person has been waited for; ``transport`` replaces the network (tests).
    """

    timeout: float = TIMEOUT
    visit: Callable[[str], object] | None = None
    progress: Callable[[float], object] | None = None
    transport: httpx.MockTransport | None = None


def carry_out(steps: Steps[T], manner: Manner) -> T:
    """What a gathering returns.

    Raises:
        ServiceError: whatever it raises.
        TypeError: the callback for visits is asynchronous.

    """
    course = _Course(steps, manner)
    while (step := course.step) is not None:
        if isinstance(step, Visit):
            _no_coroutine(course.visit(step))
            course.go_on(None)
            continue
        try:
            reply = _reply(step, course.seconds(step), manner)
        except ServiceError as error:
            course.fail(error)
        else:
            course.go_on(reply)
    return course.result()


async def carry_out_async(steps: Steps[T], manner: Manner) -> T:
    """`carry_out` for asyncio; the callback for visits may be asynchronous.

    Raises:
        ServiceError: whatever the gathering raises.

    """
    course = _Course(steps, manner)
    while (step := course.step) is not None:
        if isinstance(step, Visit):
            shown = course.visit(step)
            if inspect.isawaitable(shown):
                await shown
            course.go_on(None)
            continue
        try:
            reply = await _reply_async(step, course.seconds(step), manner)
        except ServiceError as error:
            course.fail(error)
        else:
            course.go_on(reply)
    return course.result()


class _Course(Generic[T]):
    """A gathering under way: ``step`` is what it asks for next, None once it is over; and the time that it has left."""

    def __init__(self, steps: Steps[T], manner: Manner) -> None:
        self._steps = steps
        self._manner = manner
        self._left = REQUESTS * manner.timeout
        self._since: float | None = None
        self._results: list[T] = []
        self.step: Step | None = None
        self._move(lambda: next(steps))

    def seconds(self, ask: Ask) -> float:
        """How long the request may last. Raises `DischargeError` when all of them together have lasted too long."""
        if ask.waits:
            return WAIT
        self._since = time.monotonic()
        if self._left <= 0:
            raise DischargeError(None, "unavailable", ask.whom, "those asked before it used up all of the time")
        return min(self._left, self._manner.timeout)

    def visit(self, visit: Visit) -> object:
        """Show the address to whoever is there. What the caller's callback gives."""
        if self._manner.visit is None:
            raise TypeError("a gathering with visits needs a callback for them")
        return self._manner.visit(visit.url)

    def go_on(self, result: Reply | None) -> None:
        """Give the gathering what it asked for."""
        self._move(lambda: self._steps.send(result))

    def fail(self, error: ServiceError) -> None:
        """Tell the gathering why it does not get what it asked for."""
        self._move(lambda: self._steps.throw(error))

    def result(self) -> T:
        """What the gathering returned."""
        return self._results[0]

    def _move(self, how: Callable[[], Step]) -> None:
        if self._since is not None:
            self._left -= time.monotonic() - self._since
            self._since = None
        try:
            self.step = how()
        except StopIteration as over:
            self.step = None
            self._results.append(over.value)


def _no_coroutine(shown: object) -> None:
    if inspect.iscoroutine(shown):
        shown.close()
        raise TypeError("the callback for visits is asynchronous, and the client is not")


def _reply(ask: Ask, seconds: float, manner: Manner) -> Reply:
    """Send a request in a thread of its own, which is given up when the time is over, or the caller is interrupted."""
    result: concurrent.futures.Future[Reply] = concurrent.futures.Future()
    line = _Line()
    threading.Thread(target=_fetch, args=(ask, seconds, manner, line, result), daemon=True).start()
    begun = time.monotonic()
    try:
        while (left := begun + seconds - time.monotonic()) > 0:
            if concurrent.futures.wait([result], min(left, TICK)).done:
                return result.result()
            _tell(ask, begun, manner)
    finally:
        line.cut()
    raise _late(ask)


def _fetch(ask: Ask, seconds: float, manner: Manner, line: _Line, result: concurrent.futures.Future[Reply]) -> None:
    try:
        with (
            httpx.Client(transport=manner.transport, **_options(ask, seconds)) as http,
            http.stream(**_request(ask), extensions={"trace": line.trace}) as response,
        ):
            body = _body(response, ask, seconds)
            for chunk in response.iter_bytes():
                body.add(chunk)
        result.set_result(_replied(response, body))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the caller's thread raises it
        result.set_exception(_trouble(error, ask))


class _Line:
    """The connection of one request: its socket, so that another thread can end it."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._is_cut = False

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Learn of the socket from httpcore, as soon as there is one."""
        if event in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            self._socket = info["return_value"].get_extra_info("socket")
            if self._is_cut:
                self.cut()

    def cut(self) -> None:
        """End what goes on. The socket is shut down and not closed: its number must not become another file's yet."""
        self._is_cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


async def _reply_async(ask: Ask, seconds: float, manner: Manner) -> Reply:
    task = asyncio.create_task(_fetch_async(ask, seconds, manner))
    begun = time.monotonic()
    try:
        while (left := begun + seconds - time.monotonic()) > 0:
            if (await asyncio.wait([task], timeout=min(left, TICK)))[0]:
                return task.result()
            _tell(ask, begun, manner)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
    raise _late(ask)


async def _fetch_async(ask: Ask, seconds: float, manner: Manner) -> Reply:
    try:
        async with (
            httpx.AsyncClient(transport=manner.transport, **_options(ask, seconds)) as http,
            http.stream(**_request(ask)) as response,
        ):
            body = _body(response, ask, seconds)
            async for chunk in response.aiter_bytes():
                body.add(chunk)
    except (*FAILURES, ServiceError) as error:
        raise _trouble(error, ask) from None
    return _replied(response, body)


def _options(ask: Ask, seconds: float) -> dict[str, Any]:
    return http_options(encrypted=ask.url.startswith("https:"), timeout=seconds)


def _request(ask: Ask) -> dict[str, Any]:
    method = "GET" if ask.form is None else "POST"
    return {"method": method, "url": ask.url, "data": ask.form, "headers": {"bakery-protocol-version": "3"}}


def _body(response: httpx.Response, ask: Ask, seconds: float) -> Body:
    return Body(response.status_code, response.headers.get("content-encoding"), seconds, ask.limit)


def _replied(response: httpx.Response, body: Body) -> Reply:
    return Reply(response.status_code, response.headers.get("content-type", ""), body.octets())


def _trouble(error: BaseException, ask: Ask) -> BaseException:
    if ask.waits and isinstance(error, httpx.TimeoutException):
        return _late(ask)
    if isinstance(error, FAILURES):
        code, reason = failure(error)
        return DischargeError(None, code, ask.whom, f"it {reason}")
    if isinstance(error, ServiceError):
        return DischargeError(error.status, error.code, ask.whom, str(error))
    return error


def _late(ask: Ask) -> DischargeError:
    message = f"nobody had visited the page after {WAIT:.0f} s" if ask.waits else "it did not answer in time"
    return DischargeError(None, "unavailable", ask.whom, message)


def _tell(ask: Ask, begun: float, manner: Manner) -> None:
    if ask.waits and manner.progress is not None:
        manner.progress(time.monotonic() - begun)
