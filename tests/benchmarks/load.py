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
from typing import Final, NamedTuple, cast

import uvloop

from tests.benchmarks.servers import Served

__all__ = ["Load", "post", "put_under_load"]

_END_OF_HEAD: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "


def post(path: str, body: object, credential: str | None = None) -> bytes:
    """The octets of a POST with a JSON body."""
    octets = json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    head += [f"Content-Length: {len(octets)}"]
    head += [] if credential is None else [f"Authorization: Bearer {credential}"]
    return "\r\n".join([*head, "", ""]).encode() + octets


class Load(NamedTuple):
    """What a server answered while it was under load."""

    requests: int
    seconds: float
    processor_seconds: float
    """Of the server."""

    @property
    def per_second(self) -> float:
        """Requests a second by the clock."""
        return self.requests / self.seconds

    @property
    def per_processor_second(self) -> float:
        """Requests in a second of the server's processor time: its rate with a core to itself, whoever else runs."""
        return self.requests / self.processor_seconds


def put_under_load(
    server: Served, requests: Sequence[bytes], *, connections: int, seconds: float, expected: bytes
) -> Load:
    """Ask a server for so long, from this process; every answer must begin with ``expected``.

    A fifth of the time goes before the measurement, for warming up.
    """
    return uvloop.run(_measure(server, requests, connections, seconds, expected))


async def _measure(
    server: Served, requests: Sequence[bytes], connections: int, seconds: float, expected: bytes
) -> Load:
    loop = asyncio.get_running_loop()
    running: list[_Connection] = []
    for number in range(connections):
        own = list(islice(cycle(requests), number, number + len(requests)))
        make = partial(_Connection, own, expected)
        _, connection = await loop.create_connection(make, "127.0.0.1", server.port)
        running.append(connection)
    for connection in running:
        connection.begin()
    await asyncio.sleep(seconds / 5)
    answered, began, used = _answered(running), time.perf_counter(), server.processor_seconds()
    await asyncio.sleep(seconds)
    load = Load(_answered(running) - answered, time.perf_counter() - began, server.processor_seconds() - used)
    for connection in running:
        connection.end()
    wrong = next((connection.wrong for connection in running if connection.wrong is not None), None)
    if wrong is not None:
        raise AssertionError(f"an answer began {wrong[:200]!r}")
    return load


def _answered(running: Sequence[_Connection]) -> int:
    return sum(connection.answered for connection in running)


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as the last is answered."""

    def __init__(self, requests: Sequence[bytes], expected: bytes) -> None:
        self._next = cycle(requests).__next__
        self._expected = expected
        self._received = b""
        self._going = True
        self.answered = 0
        self.wrong: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def begin(self) -> None:
        """Send the first request."""
        self._transport.write(self._next())

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
        if not received.startswith(self._expected) or end != len(received):
            self.wrong = received
            self.end()
            return
        self.answered += 1
        if self._going:
            self._transport.write(self._next())

    def connection_lost(self, _exc: Exception | None) -> None:
        """A server that hangs up is wrong, unless it was we."""
        if self._going and self.wrong is None:
            self.wrong = b"nothing: the connection was lost"


def _end_of_answer(received: bytes) -> int | None:
    """Where the answer ends, if its head is complete."""
    head = received.find(_END_OF_HEAD)
    if head < 0:
        return None
    at = received.find(_LENGTH, 0, head)
    length = int(received[at + len(_LENGTH) : received.index(b"\r\n", at)])
    return head + len(_END_OF_HEAD) + length
