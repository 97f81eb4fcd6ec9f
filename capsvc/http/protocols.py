"""uvicorn's HTTP protocols with the bounds that it lacks, under either of its parsers.

- Header fields over 64 KiB in all are answered 431, and a request line that has no end too; the connection is closed.
- A request that has not come whole within 30 seconds, head or body, ends its connection; so does a caller that takes
  nothing of its answers for as long.
- Connections past what the process may have open are closed at once, before they take what storage needs.
- What is no HTTP is answered 400 as a problem, like every other refusal of the service.

A refusal never overtakes the answer to an earlier request on the same connection: that connection is closed instead.
"""

from __future__ import annotations

import asyncio
import functools
import resource
from collections.abc import Iterable, Mapping
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from capsvc.http.answers import Answer
from capsvc.http.logs import new_request_id
from capsvc.http.problems import Problem, problem_answer
from capsvc.web.problems import MAX_HEADER_BYTES, PER_HEADER, headers_too_large

__all__ = [
    "MAX_FILES",
    "MAX_HEAD_BYTES",
    "BoundedH11",
    "Deadline",
    "Overlong",
    "WrongHost",
    "admit",
    "header_bytes",
    "most_connections",
    "refusal",
    "refuse",
]

MAX_HEAD_BYTES: Final = MAX_HEADER_BYTES + 16_384
"""Headers and request line while they are being read: nothing past it is kept."""

MAX_FILES: Final = 16_384
"""File descriptors that a process asks for."""

REQUEST_SECONDS: Final = 30.0
TAKING_SECONDS: Final = 30.0
TAKEN_BYTES: Final = 4_096
"""What a caller takes of a waiting answer from one look to the next, at least, or it takes nothing."""
TICK_SECONDS: Final = 5.0
LINGER_SECONDS: Final = 2.0
REASONS: Final[Mapping[int, bytes]] = {400: b"Bad Request", 431: b"Request Header Fields Too Large"}


class Overlong(Exception):  # noqa: N818 - what the headers are
    """The headers are over `MAX_HEADER_BYTES`."""


class WrongHost(Exception):  # noqa: N818 - what the header is
    """HTTP/1.1 has exactly one Host (RFC 9112, section 3.2); h11 sees to it by itself."""


def refusal(*, overlong: bool) -> Answer:
    """The answer to what never became a request, with every header but its length."""
    problem = headers_too_large() if overlong else Problem(400, "bad-request", "That is not a valid HTTP request.")
    status, body, headers = problem_answer(problem)
    closing = () if overlong else ((b"connection", b"close"),)
    return Answer(status, body, (*headers, *closing, (b"x-request-id", new_request_id().encode("ascii"))))


def refuse(protocol: Any, *, overlong: bool) -> None:
    """Write the refusal and close; only close while an earlier request is still being answered.

    Closing at once with octets unread would reset the connection and take the refusal back, so that the other end is
    given a moment to read it; what it still sends is dropped by the protocols.
    """
    cycle, transport = protocol.cycle, protocol.transport
    if not (cycle is None or cycle.response_complete):
        transport.close()
        return
    transport.write(_bytes(refusal(overlong=overlong)))
    if transport.can_write_eof():
        transport.write_eof()
    protocol.loop.call_later(LINGER_SECONDS, transport.close)


def _bytes(answer: Answer) -> bytes:
    status, body, headers = answer
    lines = [b"HTTP/1.1 %d %s" % (status, REASONS[status])]
    lines += [b"%s: %s" % header for header in headers]
    lines += [b"content-length: %d" % len(body), b"", body]
    return b"\r\n".join(lines)


@functools.cache
def most_connections() -> int:
    """How many connections a process takes: what its file descriptors allow, some left for storage."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(64, min(soft, MAX_FILES) - 128)


def admit(protocol: Any) -> None:
    """End a connection that is one too many."""
    if len(protocol.connections) > most_connections():
        protocol.transport.abort()


class Deadline:
    """Ends a connection whose request does not come, or whose answers nobody takes.

    One timer a connection, which looks every few seconds. ``since`` is the loop's time at which the wait for the
    request began, ``None`` while nothing is waited for.
    """

    __slots__ = ("_cycle", "_loop", "_protocol", "_taken_at", "_timer", "_unsent", "since")

    def __init__(self, protocol: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._protocol = protocol
        self._loop = loop
        self.since: float | None = loop.time()
        self._taken_at = self.since
        self._unsent = 0
        self._cycle: object = None
        self._timer = loop.call_later(TICK_SECONDS, self._look)

    def begin(self) -> None:
        """A request has begun to arrive."""
        self.since = self._loop.time()

    def met(self) -> None:
        """It is here whole."""
        self.since = None

    def cancel(self) -> None:
        """The connection is gone."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        if self._is_stuck(now):
            self._protocol.transport.abort()  # `close` would wait until everything has been taken
            return
        if self.since is not None and now - self.since > REQUEST_SECONDS and not self._answering():
            self._protocol.transport.close()
        self._timer = self._loop.call_later(TICK_SECONDS, self._look)

    def _is_stuck(self, now: float) -> bool:
        """Whether the same answer has been waiting for the caller to take more of it, for too long."""
        unsent, cycle = self._protocol.transport.get_write_buffer_size(), self._protocol.cycle
        if unsent == 0 or cycle is not self._cycle or unsent <= self._unsent - TAKEN_BYTES:
            self._taken_at = now
        self._unsent, self._cycle = unsent, cycle
        return now - self._taken_at > TAKING_SECONDS

    def _answering(self) -> bool:
        """Whether an earlier request, which came whole, is still being answered."""
        cycle = self._protocol.cycle
        return cycle is not None and not cycle.response_complete and not cycle.more_body


class _BoundedConnection(h11.Connection):
    """h11's reader, which by itself bounds a head only while it is incomplete, and takes two lengths for one body."""

    overlong = False

    def next_event(self) -> Any:
        """The next event; raises `h11.RemoteProtocolError` for headers that are too large or frame the body twice."""
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.overlong = error.error_status_hint == 431
            raise
        if isinstance(event, h11.Request):
            if header_bytes(event.headers) > MAX_HEADER_BYTES:
                self.overlong = True
                raise h11.RemoteProtocolError("headers too large", error_status_hint=431)
            if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                raise h11.RemoteProtocolError("two lengths for one body")  # RFC 9112, section 6.3: smuggling
        return event


def header_bytes(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """How large header fields are in all, names, values, colons and line ends."""
    return sum(len(name) + len(value) + PER_HEADER for name, value in headers)


class BoundedH11(H11Protocol):
    """uvicorn's protocol on h11, bounded: what serves where httptools is not installed."""

    deadline: Deadline

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn: _BoundedConnection = _BoundedConnection(h11.SERVER, MAX_HEAD_BYTES)
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request."""
        super().connection_made(transport)
        self.deadline = Deadline(self, self.loop)
        admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self.deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; nothing after a refusal."""
        if not self._refused:
            super().data_received(data)

    def handle_events(self) -> None:
        """Read what there is, and see whether a request is still under way."""
        super().handle_events()
        if self.conn.their_state not in {h11.IDLE, h11.SEND_BODY}:
            self.deadline.met()
        elif self.deadline.since is None and (self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]):
            self.deadline.begin()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own text
        """Refuse as the service does."""
        self._refused = True
        refuse(self, overlong=self.conn.overlong)
