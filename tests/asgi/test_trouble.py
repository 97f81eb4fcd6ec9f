"""An authority that is down, slow, restarting, or not what it should be: nobody gets in by it, and it passes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from capsvc.asgi import PrefixVerifier, RemoteVerifier, Verifier
from capsvc.config import Settings
from capsvc.http.app import create_app

from .conftest import Guard, Office, an_office, eventually, serving

OK = (200, "")
UNAVAILABLE = (503, "unavailable")
GARBAGE = (
    b"garbage\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n" + b'{"allowed": true}',
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{",
    b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    b"",
)


def impatient(kind: str, office: Office, url: str = "", credential: str = "") -> Verifier:
    """A verifier that waits for a moment only; it asks the office unless it is told otherwise."""
    where, shown = url or office.url, credential or office.credential
    if kind == "remote":
        return RemoteVerifier(where, shown, timeout=0.3, clock=office.clock)
    return PrefixVerifier(where, shown, timeout=0.3, revocation_max_lag=0.3, clock=office.clock)


@pytest.fixture(params=["remote", "prefix"])
def asking(request: pytest.FixtureRequest) -> str:
    """Those verifiers that ask."""
    found: str = request.param
    return found


@contextmanager
def saying(octets: bytes) -> Iterator[str]:
    """A server that says the same to everybody, or nothing at all; its address."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as held:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while not over.is_set():
                    connection, _ = listener.accept()
                    held.callback(connection.close)
                    if octets:
                        connection.recv(65_536)
                        connection.sendall(octets)
                        connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@pytest.mark.parametrize("octets", GARBAGE, ids=["no-http", "no-grant", "cut-off", "elsewhere", "silent"])
def test_somebody_else_answers(office: Office, guard: Guard, asking: str, octets: bytes) -> None:
    """Garbage, half an answer, a way elsewhere, or silence: 503, within a bound; with the authority itself, allowed."""
    token = office.mint()
    with saying(octets) as url:
        running = guard(office, verifier=impatient(asking, office, url))
        assert running.outcome("/photos", token) == UNAVAILABLE
        assert running.outcome("/critical", token) == UNAVAILABLE
        assert running.outcome("/photos", "AgEE")[0] in {401, 503}
        assert running.outcome("/photos") == (401, "credential-missing")
    assert guard(office, verifier=asking).outcome("/photos", token) == OK


def test_down_and_up_again(tmp_path: Path, guard: Guard, asking: str) -> None:
    """While nobody answers, nobody gets in; when the authority is there again, everybody is judged as before."""
    with an_office(tmp_path / "data") as office:
        verifier = impatient(asking, office)
        running = guard(office, verifier=verifier)
        token, revoked = office.mint(), office.mint()
        eventually(lambda: running.outcome("/photos", token) == OK)
        eventually(lambda: running.outcome("/photos", revoked) == OK)
    eventually(lambda: running.outcome("/photos", token) == UNAVAILABLE)
    assert running.outcome("/critical", token) == UNAVAILABLE
    port = urlsplit(office.url).port
    app = create_app(Settings(data_dir=tmp_path / "data"), clock=office.clock)
    app.state.authority.revoke(token=revoked)
    with serving(lambda _: app, ws="none", port=port):
        eventually(lambda: running.outcome("/photos", token) == OK)
        assert running.outcome("/photos", revoked) == (401, "revoked")


def test_a_credential_of_ours_that_is_refused(office: Office, guard: Guard, asking: str) -> None:
    """It says nothing about the caller's token: 503, and not 401."""
    running = guard(office, verifier=impatient(asking, office, credential=office.mint()))
    assert running.outcome("/photos", office.mint()) == UNAVAILABLE
    assert running.outcome("/critical", office.mint()) == UNAVAILABLE
