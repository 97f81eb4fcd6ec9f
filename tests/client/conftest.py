"""A service that is played: by a function for `MockTransport`, or octet by octet on a loopback socket."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

CREDENTIAL = "AgEVaHR0cDovLzEyNy4wLjAuMTo4NzAwAjpjYXAxLjAxMjM0NTY3ODlhYmNkZWY"

MINTED = {
    "token": "AgEEaGVyZQ",
    "id": "AAAAAAAAAAAAAAAAAAAAAA",
    "audience": "photos",
    "subject": "alice",
    "facts": {"floor": 3},
    "label": None,
    "issued_at": "2026-11-22T12:00:00Z",
    "expires_at": "2026-11-22T13:00:00Z",
    "caveats": ["time < 2026-11-22T13:00:00Z", "sub = alice"],
}
GRANTED = {
    "allowed": True,
    "id": "AAAAAAAAAAAAAAAAAAAAAA",
    "audience": "photos",
    "subject": None,
    "issued_at": "2026-11-22T12:00:00Z",
    "expires_at": "2026-11-22T13:00:00Z",
    "facts": {},
    "declared": {},
    "caveats": ["time < 2026-11-22T13:00:00Z"],
}
DENIED = {"allowed": False, "code": "caveat-refused", "message": "no", "caveat": "action in read"}
REVOKED = {"kind": "id", "audience": "photos", "at": "2026-11-22T12:00:00Z"}


class Played:
    """Answers in turn, and keeps the requests that it saw."""

    def __init__(self, *answers: httpx.Response) -> None:
        self._answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The next answer."""
        self.requests.append(request)
        return self._answers.pop(0)

    @property
    def bodies(self) -> list[Any]:
        """The JSON bodies of the requests, in order."""
        return [json.loads(request.content) for request in self.requests]


@pytest.fixture
def played() -> type[Played]:
    """`Played`, for tests that need answers of their own."""
    return Played


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken and not listened at, so that nobody else can begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


Serve = Callable[[bytes], str]


@pytest.fixture
def serve_octets() -> Iterator[Serve]:
    """A server on loopback that answers every connection with the same octets; gives its address.

    Empty octets: it answers nothing, and keeps the connection open until the test is over.
    """
    over = threading.Event()
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def answer(connection: socket.socket, octets: bytes) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            connection.sendall(octets)
            if not octets:
                over.wait(30)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):  # closed with octets unread, it would be reset
                pass

    def accept(listener: socket.socket, octets: bytes) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=answer, args=(connection, octets), daemon=True))
                threads[-1].start()

    def start(octets: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threads.append(threading.Thread(target=accept, args=(listener, octets), daemon=True))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    over.set()
    for listener in listeners:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(10)
