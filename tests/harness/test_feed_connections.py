"""Callers of the feed that do what callers should not: hang up, stop reading, ask again before they are answered."""

from __future__ import annotations

import importlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from capsvc.authority import Authority
from capsvc.config import Settings
from capsvc.http import protocols
from capsvc.http.app import create_app

PARSERS = ["capsvc.http.fastprotocol:BoundedHttpTools", "capsvc.http.protocols:BoundedH11"]
PATIENCE = 60  # seconds: a loaded machine is slow, and no test is about how slow
ENTRIES = 1_000


class Served:
    """The application on one of the parsers, in a thread, so that a test can look into it."""

    def __init__(self, data_dir: Path, parser: str) -> None:
        self.settings = Settings(data_dir=data_dir)
        self.app: Any = create_app(self.settings)
        self.credential = (data_dir / "admin.token").read_text().strip()
        module, _, name = parser.partition(":")
        config = uvicorn.Config(
            self.app,
            http=getattr(importlib.import_module(module), name),
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
        self.server = uvicorn.Server(config)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self.server.run, args=([self._listener],), daemon=True)
        self._opened: list[socket.socket] = []

    def start(self) -> None:
        """Answer."""
        self._thread.start()
        eventually(lambda: self.server.started)

    def stop(self) -> None:
        """End; nobody waits any longer than for what he waits for."""
        for item in self._opened:
            item.close()
        self.server.should_exit = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def connect(self, *, buffer: int | None = None) -> socket.socket:
        """A connection, which takes no more than ``buffer`` octets ahead of its reader."""
        item = socket.socket()
        if buffer is not None:
            item.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        item.settimeout(PATIENCE)
        item.connect(self._listener.getsockname())
        self._opened.append(item)
        return item

    def request(self, query: str, *, version: str = "1.1", host: bool = True) -> bytes:
        """A poll, as octets."""
        lines = [f"GET /v1/revocations?{query} HTTP/{version}", f"Authorization: Bearer {self.credential}"]
        return "\r\n".join([*lines, *(["Host: x"] if host else []), "", ""]).encode()

    def revoke(self) -> str:
        """The id of a family that has just been revoked, by another process as it were."""
        with Authority.open(self.settings, make=False) as authority:
            token_id = authority.mint(audience="default", ttl=600).id
            authority.revoke(id=token_id)
            return token_id

    @property
    def waiting(self) -> int:
        """How many wait for the feed."""
        return sum(len(group) for group in list(self.app.state.watch._groups.values()))

    @property
    def under_way(self) -> tuple[int, int]:
        """Connections and requests that the server has."""
        return len(self.server.server_state.connections), len(self.server.server_state.tasks)


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def answer(connection: socket.socket) -> tuple[int, Any]:
    """One response: its status and its page."""
    octets = b""
    while b"\r\n\r\n" not in octets:
        octets += connection.recv(1)
    head, _, _ = octets.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return int(head.split(b" ", 2)[1]), json.loads(body)


@pytest.fixture(params=PARSERS, ids=["httptools", "h11"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    """A service that answers, under either parser."""
    started = Served(tmp_path / "data", request.param)
    started.start()
    yield started
    started.stop()


def test_a_wait_ends_with_a_commit_of_another_process(served: Served) -> None:
    """The positive control of this module; the next request on the connection goes on."""
    connection = served.connect()
    cursor = "now"
    for _ in range(3):
        connection.sendall(served.request(f"after={cursor}&wait=30"))
        eventually(lambda: served.waiting == 1)
        token_id = served.revoke()
        status, page = answer(connection)
        assert (status, [entry["id"] for entry in page["entries"]]) == (200, [token_id])
        cursor = page["cursor"]


@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_who_hangs_up_is_forgotten_at_once(served: Served, how: str) -> None:
    """By closing, by a reset, by saying that nothing more will come; others wait on."""
    leaving, staying = [served.connect() for _ in range(5)], served.connect()
    for connection in (*leaving, staying):
        connection.sendall(served.request("after=now&wait=30"))
    eventually(lambda: served.waiting == 6)
    for connection in leaving:
        if how == "half":
            connection.shutdown(socket.SHUT_WR)
        else:
            if how == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
    eventually(lambda: served.waiting == 1)
    eventually(lambda: served.under_way == (1, 1))
    token_id = served.revoke()
    assert [entry["id"] for entry in answer(staying)[1]["entries"]] == [token_id]


def test_who_stops_reading_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """His answers are held for a while, and then nothing of his is; one who reads gets the same answers whole."""
    monkeypatch.setattr(protocols, "TICK_SECONDS", 0.1)
    monkeypatch.setattr(protocols, "TAKING_SECONDS", 1.0)
    authority = served.app.state.authority
    authority._store.write(
        lambda tx: [authority._keeping.rotate(tx, "default", 1_800_000_000, None) for _ in range(ENTRIES // 2)]
    ).result()
    asked = 100
    deaf = served.connect(buffer=4096)
    with suppress(ConnectionError):
        for _ in range(asked):
            deaf.sendall(served.request(""))
    reader = served.connect()
    for _ in range(asked // 10):
        reader.sendall(served.request(""))
        status, page = answer(reader)
        assert (status, len(page["entries"])) == (200, ENTRIES)
    eventually(lambda: served.under_way[0] == 1)
    eventually(lambda: served.under_way == (1, 0))
    octets = len(json.dumps(page, separators=(",", ":")))
    assert read_to_the_end(deaf) < asked * octets
    reader.sendall(served.request("after=now&wait=0.01"))
    assert answer(reader)[0] == 200


def read_to_the_end(connection: socket.socket) -> int:
    """How many octets come before the other end closes."""
    length = 0
    with suppress(ConnectionError):
        while part := connection.recv(65_536):
            length += len(part)
    return length


def test_who_stops_reading_while_he_waits_does_not_hold_up_the_others(served: Served) -> None:
    """They are told at once; his answer lies in the socket."""
    deaf, reader = served.connect(buffer=4096), served.connect()
    for connection in (deaf, reader):
        connection.sendall(served.request("after=now&wait=30"))
    eventually(lambda: served.waiting == 2)
    token_id = served.revoke()
    assert [entry["id"] for entry in answer(reader)[1]["entries"]] == [token_id]
    eventually(lambda: served.under_way[1] == 0)
    assert [entry["id"] for entry in answer(deaf)[1]["entries"]] == [token_id]


def test_requests_behind_one_that_waits(served: Served) -> None:
    """They are answered after it, in order, each once."""
    connection = served.connect()
    connection.sendall(served.request("after=now&wait=30") + served.request("") + served.request("after=x"))
    eventually(lambda: served.waiting == 1)
    token_id = served.revoke()
    answers = [answer(connection) for _ in range(3)]
    assert [status for status, _ in answers] == [200, 200, 410]
    assert [[entry["id"] for entry in page["entries"]] for _, page in answers[:2]] == [[token_id]] * 2


def test_http_1_0_without_a_host(served: Served) -> None:
    """It waits as well, and the connection ends with the answer."""
    connection = served.connect()
    connection.sendall(served.request("after=now&wait=30", version="1.0", host=False))
    eventually(lambda: served.waiting == 1)
    token_id = served.revoke()
    status, page = answer(connection)
    assert (status, [entry["id"] for entry in page["entries"]]) == (200, [token_id])
    assert connection.recv(1) == b""


def test_a_body_that_came_with_it(served: Served) -> None:
    """It is no part of the request; one over the bound is refused before anything is waited for."""
    head = served.request("after=now&wait=30")[:-2]
    connection = served.connect()
    connection.sendall(head + b"Content-Length: 3\r\n\r\nabc")
    eventually(lambda: served.waiting == 1)
    served.revoke()
    assert answer(connection)[0] == 200
    connection = served.connect()
    connection.sendall(head + b"Content-Length: 65537\r\n\r\n")
    assert answer(connection)[0] == 413
    assert served.waiting == 0
