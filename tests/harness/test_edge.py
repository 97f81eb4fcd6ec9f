"""An edge process on the prefix verifier, the authority another process: what is revoked there is soon dead here."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MAX_LAG = 1.0  # seconds
TIMES = 500
AT_ONCE = 10
PATIENCE = 60  # seconds


class Edge:
    """The process, and one connection to it."""

    def __init__(self, url: str, credential_file: Path, log: Path, *, max_lag: float = MAX_LAG) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, log.open("ab") as stream:
            self.port: int = listener.getsockname()[1]
            descriptor = listener.fileno()
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - the os module's own
            self._process = subprocess.Popen(
                [
                    *(sys.executable, str(Path(__file__).with_name("edge.py"))),
                    *(url, str(credential_file), str(max_lag), str(descriptor)),
                ],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                pass_fds=(descriptor,),
                stdout=stream,
                stderr=stream,
            )
        self._http = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def outcome(self, token: str, *, critical: bool = False) -> str:
        """``allowed``, or the denial's code."""
        self._http.request("POST", "/?critical" if critical else "/", token.encode())
        return self._http.getresponse().read().decode()

    def ready(self) -> None:
        """Return when it decides."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(OSError, http.client.HTTPException):
                if self.outcome("x") == "malformed":
                    return
            self._http.close()
            time.sleep(0.02)
        raise AssertionError("the edge does not answer")

    def stop(self) -> None:
        """End it."""
        self._http.close()
        self._process.kill()
        self._process.wait(PATIENCE)


@pytest.fixture
def make_edge(tmp_path: Path) -> Iterator[Callable[..., Edge]]:
    """Edges of a service; none is left running."""
    made: list[Edge] = []

    def make(service: Any, port: int | None = None, **options: Any) -> Edge:
        url = f"http://127.0.0.1:{port or service.port}"
        made.append(Edge(url, service.data_dir / "admin.token", tmp_path / "edge.log", **options))
        made[-1].ready()
        return made[-1]

    yield make
    for one in made:
        one.stop()


def mint(connection: Any, subject: str) -> dict[str, Any]:
    """A fresh token and what is said of it."""
    body = {"audience": "default", "ttl": 3600, "subject": subject}
    status, minted = connection.ask("POST", "/v1/tokens", body)
    assert status == 201, minted
    return dict(minted)


def revoke(connection: Any, way: str, minted: dict[str, Any]) -> None:
    """Kill a token in one of the four ways (by key all that it minted), durable when this returns."""
    if way == "key":
        kid = minted["kid"]
        assert connection.ask("DELETE", f"/v1/audiences/default/keys/{kid}")[0] == 204
        assert connection.ask("POST", "/v1/audiences/default/keys")[0] == 201
        return
    asked = {
        "id": {"id": minted["id"]},
        "branch": {"token": minted["token"]},
        "subject": {"audience": "default", "subject": minted["subject"]},
    }[way]
    assert connection.ask("POST", "/v1/revocations", asked)[0] == 201


def killed(connection: Any, way: str, minted: dict[str, Any]) -> float:
    """Kill a token; the moment at which that was acknowledged."""
    revoke(connection, way, minted)
    return time.monotonic()


def active_kid(connection: Any) -> str:
    """The id of the key that mints."""
    _, answer = connection.ask("GET", "/v1/audiences/default/keys?limit=1000")
    return next(str(key["kid"]) for key in answer["keys"] if key["state"] == "active")


def test_a_revocation_is_obeyed_within_the_lag(
    make_service: Any, make_edge: Callable[..., Edge], tell: Callable[[str], None]
) -> None:
    """500 times, in each of four ways, of a token that the edge has just decided by itself; the worst is printed."""
    service = make_service(2)
    service.start()
    edge = make_edge(service)
    worst = dict.fromkeys(("id", "branch", "subject", "key"), 0.0)
    with closing(service.connect()) as connection:
        for batch in range(TIMES // AT_ONCE):
            ways = ["key"] if batch % 10 == 9 else [("id", "branch", "subject")[n % 3] for n in range(AT_ONCE)]
            kid = active_kid(connection) if ways == ["key"] else ""
            tokens = [{**mint(connection, f"s{batch}-{number}"), "kid": kid} for number in range(AT_ONCE)]
            for one in tokens:  # an edge that the machine leaves no time is behind, and says so
                assert set(until(edge, one["token"], "allowed")) <= {"unavailable", "allowed"}
            died = [killed(connection, way, one) for way, one in zip(ways, tokens, strict=False)]
            for number, one in enumerate(tokens):
                since = died[min(number, len(died) - 1)]
                while (outcome := edge.outcome(one["token"])) != "revoked":
                    assert outcome == "unavailable" or time.monotonic() - since < MAX_LAG, outcome
                    time.sleep(0.001)
                way = ways[min(number, len(ways) - 1)]
                worst[way] = max(worst[way], time.monotonic() - since)
    tell("edge: worst of 500 revocations, ms: " + ", ".join(f"{way} {1000 * took:.0f}" for way, took in worst.items()))


class Relay:
    """A port before the service that can be held up, and led to another port."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.lead_to(port)

    def lead_to(self, port: int) -> None:
        """Lead who comes to a port, in a process of its own."""
        program, descriptor = Path(__file__).with_name("relay.py"), self._listener.fileno()
        command = [sys.executable, str(program), str(descriptor), str(port)]
        self._child = subprocess.Popen(command, pass_fds=(descriptor,), stderr=subprocess.DEVNULL)

    def hold(self) -> None:
        """Let nothing through, without a word: what is sent waits."""
        self._child.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it through again."""
        self._child.send_signal(signal.SIGCONT)

    def cut(self) -> None:
        """End every connection; who comes next waits until it leads somewhere again."""
        self._child.kill()
        self._child.wait(PATIENCE)

    def close(self) -> None:
        """End it."""
        self.cut()
        self._listener.close()


def test_an_edge_that_hears_nothing_allows_nothing(make_service: Any, make_edge: Callable[..., Edge]) -> None:
    """The way to the authority cut: ``unavailable`` after the bound at the latest, and well again by itself."""
    service = make_service(1)
    service.start()
    with closing(Relay(service.port)) as relay, closing(service.connect()) as connection:
        edge = make_edge(service, relay.port)
        kept, dead = mint(connection, "kept"), mint(connection, "dead")
        assert [edge.outcome(one["token"]) for one in (kept, dead) * 2] == ["allowed"] * 4
        relay.hold()
        revoke(connection, "id", dead)
        time.sleep(MAX_LAG + 0.05)
        assert [edge.outcome(one["token"]) for one in (kept, dead)] == ["unavailable"] * 2
        relay.go_on()
        seen = until(edge, kept["token"], "allowed")
        assert set(seen) <= {"unavailable", "allowed"}
        assert edge.outcome(dead["token"]) == "revoked"


def test_a_killed_authority_leaves_nothing_revoked_alive(make_service: Any, make_edge: Callable[..., Edge]) -> None:
    """Kill -9 right after a revocation was acknowledged, and a restart: at no moment in between is it allowed."""
    service = make_service(1)
    service.start()
    with closing(Relay(service.port)) as relay:
        edge = make_edge(service, relay.port)
        for turn in range(3):
            with closing(service.connect()) as connection:
                kept, dead = (str(mint(connection, f"{what}{turn}")["token"]) for what in ("kept", "dead"))
                until(edge, kept, "allowed")
                until(edge, dead, "allowed")
                assert [edge.outcome(token) for token in (kept, dead)] == ["allowed"] * 2
                assert connection.ask("POST", "/v1/revocations", {"token": dead})[0] == 201
            acknowledged = time.monotonic()
            service.kill()
            relay.cut()
            time.sleep(max(0, acknowledged + MAX_LAG - time.monotonic()))
            assert "allowed" not in {edge.outcome(dead) for _ in range(8)}
            service.start()
            relay.lead_to(service.port)
            assert "allowed" not in until(edge, dead, "revoked")
            until(edge, kept, "allowed")


def until(edge: Edge, token: str, wanted: str) -> list[str]:
    """All outcomes until the one that is waited for, that one included."""
    seen: list[str] = []
    deadline = time.monotonic() + PATIENCE
    while not seen or seen[-1] != wanted:
        assert time.monotonic() < deadline, set(seen)
        seen.append(edge.outcome(token))
        time.sleep(0.005)
    return seen


def test_a_critical_question_is_put_to_the_authority(make_service: Any, make_edge: Callable[..., Edge]) -> None:
    """Each time: what was revoked is dead with no lag at all."""
    service = make_service(1)
    service.start()
    edge = make_edge(service)
    with closing(service.connect()) as connection:
        for number in range(20):
            minted = mint(connection, f"s{number}")
            assert edge.outcome(minted["token"], critical=True) == "allowed"
            revoke(connection, "id", minted)
            assert edge.outcome(minted["token"], critical=True) == "revoked"
