"""Load over HTTP/1.1 keep-alive: a number of connections, each with one request under way at any time.

Raw protocols on uvloop, since a client library would be slower than the servers that it is to measure.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from functools import partial
from itertools import cycle, islice
from typing import Final, NamedTuple, Protocol, cast

import uvloop

from tests.benchmarks.servers import Served

__all__ = ["Load", "Script", "WrongAnswerError", "play", "post", "put_under_load"]

_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "


def post(path: str, body: object, credential: str | None = None) -> bytes:
    """The octets of a POST with a JSON body."""
    octets = json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    head += [f"Content-Length: {len(octets)}"]
    head += [] if credential is None else [f"Authorization: Bearer {credential}"]
    return "\r\n".join([*head, "", ""]).encode() + octets


class WrongAnswerError(Exception):
    """A server answered something else than it has to."""


class Script(Protocol):
    """What one connection asks, one request after another."""

    done: int
    """How many of the things that are counted have been done."""

    def begin(self) -> bytes:
        """The first request."""

    def go_on(self, answer: bytes) -> bytes:
        """The request that follows an answer. Raises `WrongAnswerError`."""


class Load(NamedTuple):
    """What a server did while it was under load."""

    done: int
    seconds: float
    processor_seconds: float
    """Of the server."""

    @property
    def per_second(self) -> float:
        """How much a second by the clock."""
        return self.done / self.seconds

    @property
    def per_processor_second(self) -> float:
        """How much in a second of the server's processor time: its rate with a core to itself, whoever else runs."""
        return self.done / self.processor_seconds


class _Again:
    """The same requests again and again, each of which counts; every answer must begin with ``expected``."""

    def __init__(self, requests: Sequence[bytes], expected: bytes) -> None:
        self._next = cycle(requests).__next__
        self._expected = expected
        self.done = 0

    def begin(self) -> bytes:
        """See `Script.begin`."""
        return self._next()

    def go_on(self, answer: bytes) -> bytes:
        """See `Script.go_on`."""
        if not answer.startswith(self._expected):
            raise WrongAnswerError(f"an answer began {answer[:200]!r}")
        self.done += 1
        return self._next()


def put_under_load(
    server: Served, requests: Sequence[bytes], *, connections: int, seconds: float, expected: bytes
) -> Load:
    """Ask a server for so long, from this process; every answer must begin with ``expected``."""
    own = [list(islice(cycle(requests), number, number + len(requests))) for number in range(connections)]
    return play(server, [_Again(each, expected) for each in own], seconds)


def play(server: Served, scripts: Sequence[Script], seconds: float) -> Load:
    """Play scripts to a server for so long, from this process, each on a connection of its own.

    A fifth of the time goes before the measurement, for warming up. Raises `WrongAnswerError`.
    """
    return uvloop.run(_measure(server, scripts, seconds))


async def _measure(server: Served, scripts: Sequence[Script], seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    running: list[_Connection] = []
    for script in scripts:
        _, connection = await loop.create_connection(partial(_Connection, script), "127.0.0.1", server.port)
        running.append(connection)
    for connection in running:
        connection.begin()
    await asyncio.sleep(seconds / 5)
    done, began, used = _done(scripts), time.perf_counter(), server.processor_seconds()
    await asyncio.sleep(seconds)
    load = Load(_done(scripts) - done, time.perf_counter() - began, server.processor_seconds() - used)
    for connection in running:
        connection.end()
    for connection in running:
        if connection.fault is not None:
            raise connection.fault
    return load


def _done(scripts: Sequence[Script]) -> int:
    return sum(script.done for script in scripts)


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as the last is answered."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._received = b""
        self._going = True
        self.fault: WrongAnswerError | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def begin(self) -> None:
        """Send the first request."""
        self._transport.write(self._script.begin())

    def end(self) -> None:
        """Send no more."""
        self._going = False
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Take octets; when they complete an answer, go on."""
        received = self._received + data if self._received else data
        end = _end_of_answer(received)
        if end is None or end > len(received):
            self._received = received
            return
        self._received = b""
        try:
            if end != len(received):
                raise WrongAnswerError(f"there was more than one answer: {received[:200]!r}")
            following = self._script.go_on(received)
        except WrongAnswerError as fault:
            self.fault = fault
            self.end()
            return
        if self._going:
            self._transport.write(following)

    def connection_lost(self, _exc: Exception | None) -> None:
        """A server that hangs up is wrong, unless it was we."""
        if self._going and self.fault is None:
            self.fault = WrongAnswerError("the connection was lost")


def _end_of_answer(received: bytes) -> int | None:
    """Where the answer ends, if its head is complete."""
    head = received.find(_END_OF_HEAD)
    if head < 0:
        return None
    at = received.find(_LENGTH, 0, head)
    if at < 0:
        at = received.find(_LENGTH.title(), 0, head)  # as nginx writes it
    length = int(received[at + len(_LENGTH) : received.index(b"\r\n", at)])
    return head + len(_END_OF_HEAD) + length
