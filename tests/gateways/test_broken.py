"""An authority that is down, stopped, restarted or somebody else's: everything is refused, until it answers."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .application import Application
from .conftest import Authority, Behind, make_authority
from .gateway import GATEWAYS, Answer, Gateway, Places, free_port

REFUSAL = b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n%s\r\n"


Open = Callable[[int], Gateway]


@pytest.fixture(params=GATEWAYS)
def open_gateway(
    request: pytest.FixtureRequest, tmp_path: Path, application: Application, site: Path
) -> Iterator[Open]:
    """Starts each gateway in turn, as the examples set it up, for an authority on that port."""
    with contextlib.ExitStack() as held:

        def start(authority: int) -> Gateway:
            gateway = Gateway(request.param, tmp_path / "run", Places(authority, application.port, site))
            held.callback(gateway.close)
            return gateway

        yield start


class Impostor:
    """What answers in the place of the authority: always the same octets."""

    def __init__(self, octets: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._octets = octets
        self.asked = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(65_536)
                    self.asked += 1
                    connection.sendall(self._octets)

    def close(self) -> None:
        """Stop."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(30)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200",
        REFUSAL % (b"503 Service Unavailable", b"Retry-After: 1\r\n"),
        REFUSAL % (b"500 Internal Server Error", b""),
        REFUSAL % (b"404 Not Found", b""),
        REFUSAL % (b"400 Bad Request", b""),
        REFUSAL % (b"302 Found", b"Location: /photos/1\r\n"),
        REFUSAL % (b"401 Unauthorized", b'WWW-Authenticate: Bearer realm="capsvc"\r\n'),
        REFUSAL % (b"403 Forbidden", b"X-Capsvc-Subject: root\r\n"),
    ],
)
def test_answers_that_are_no_grant(octets: bytes, open_gateway: Open, application: Application) -> None:
    """Nothing but 200 lets a request through."""
    impostor = Impostor(octets)
    try:
        gateway = open_gateway(impostor.port)
        application.seen.clear()
        for target in ("/photos/1", "/files/public.txt"):
            answer = gateway.ask(target, token="AgEE")
            assert answer.status != 200
            assert b"for many" not in answer.body
        assert application.seen == []
        assert impostor.asked >= 2
    finally:
        impostor.close()


@pytest.fixture
def own(tmp_path: Path, open_gateway: Open, application: Application) -> Iterator[Behind]:
    """A gateway with an authority of its own, which a test may stop; it is on the same port whenever it runs."""
    port = free_port()
    behind = Behind(open_gateway(port), application, make_authority(tmp_path / "data", "--port", port))
    yield behind
    behind.authority.clear_away()


def test_killed_and_started_again(own: Behind) -> None:
    """While the authority is gone everything is refused; afterwards what was revoked before is dead, the rest well."""
    token, dead = own.authority.token(subject="alice"), own.authority.token()
    own.reached(token=dead)
    own.authority.revoke(token=dead)
    own.authority.clear_away()
    for presented in (token, dead, None):
        assert own.refused(token=presented).status in {500, 502}
    port = own.authority.port
    own.authority = Authority(own.authority.data_dir, "--port", port)
    assert own.reached(token=token).subjects == ["alice"]
    assert own.refused(token=dead).status == 401


def test_an_authority_that_does_not_answer(own: Behind) -> None:
    """A request waits for the decision, and reaches the application after it alone."""
    token = own.authority.token()
    own.reached(token=token)
    own.authority.process.send_signal(signal.SIGSTOP)
    answers: list[Answer] = []
    waiting = threading.Thread(target=lambda: answers.append(own.gateway.ask(token=token)))
    try:
        waiting.start()
        waiting.join(0.5)
        assert (answers, own.seen()) == ([], [])
    finally:
        own.authority.process.send_signal(signal.SIGCONT)
    waiting.join(60)
    assert [answer.status for answer in answers] == [200]
    assert len(own.seen()) == 1


def test_a_gateway_that_is_not_trusted(tmp_path: Path, open_gateway: Open, application: Application) -> None:
    """Without ``trusted_proxies`` even a good token is refused."""
    authority = make_authority(tmp_path / "data", trusted=False)
    try:
        behind = Behind(open_gateway(authority.port), application, authority)
        token = authority.token()
        assert behind.refused(token=token).status == 403
        answer = authority.ask("POST", "/v1/verify", {"token": token, "audience": "photos"})[2]
        assert answer["allowed"] is True
    finally:
        authority.clear_away()
