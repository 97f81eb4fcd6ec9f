"""`capsvc serve` as a process: how it starts, answers, is told to stop, and loses a worker or its parent."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

Serve = Callable[..., Any]
Run = Callable[..., Any]
Eventually = Callable[[Callable[[], Any]], Any]

WITHOUT_HTTPTOOLS = ("-c", "import sys; sys.modules['httptools'] = None\nfrom capsvc.cli import main; main()")
WORKERS = pytest.mark.parametrize("workers", [1, 2], ids=["one process", "two workers"])
PARSERS = pytest.mark.parametrize("options", [{}, {"program": WITHOUT_HTTPTOOLS}], ids=["httptools", "h11"])


def refuses_connections(service: Any) -> bool:
    """Nobody listens any more."""
    try:
        socket.create_connection((service.address.hostname, service.address.port), timeout=5).close()
    except OSError:
        return True
    return False


@WORKERS
def test_the_first_start_makes_everything_and_says_what_to_type(serve: Serve, workers: int) -> None:
    """The data directory with its three files, all private; the address in `serve.url` until the end."""
    service = serve("--workers", workers)
    for name in ("capsvc.db", "master.key", "admin.token", "serve.url", "serve.lock"):
        assert stat.S_IMODE((service.data_dir / name).stat().st_mode) == 0o600, name
    assert service.ask("GET", "/healthz")[0] == 200
    assert service.url in service.out()
    assert f"capsvc mint --ttl 1h --caveat 'action in read' --data-dir {service.data_dir}" in service.out()
    assert service.end() == 0
    assert not (service.data_dir / "serve.url").exists()
    assert refuses_connections(service)


def test_a_later_start_keeps_what_is_there(serve: Serve) -> None:
    """Same key, same credential, tokens of before; nothing more to explain."""
    first = serve()
    token = first.mint()
    kept = {name: (first.data_dir / name).read_bytes() for name in ("master.key", "admin.token")}
    assert first.end() == 0
    second = serve()
    assert {name: (second.data_dir / name).read_bytes() for name in kept} == kept
    assert second.ask("POST", "/v1/verify", {"token": token, "audience": "default"})[2]["allowed"] is True
    assert "Next" not in second.out()


def test_what_init_says_can_be_typed(capsvc: Run, tmp_path: Path) -> None:
    """`init` names the next command, and changes nothing the second time."""
    data = tmp_path / "my data"
    first = capsvc("init", "--data-dir", data)
    assert (first.code, first.err) == (0, "")
    assert "capsvc serve --data-dir 'my data'" in first.out
    before = {path.name: path.read_bytes() for path in data.iterdir() if "db-" not in path.name}
    second = capsvc("init", "--data-dir", data)
    assert (second.code, second.err) == (0, "")
    assert "nothing was changed" in second.out
    assert {path.name: path.read_bytes() for path in data.iterdir() if "db-" not in path.name} == before


@WORKERS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "^C"])
def test_what_is_under_way_is_answered_before_the_end(
    serve: Serve, eventually: Eventually, workers: int, number: signal.Signals
) -> None:
    """A request whose body is still arriving when the signal comes gets its answer; new ones get nothing."""
    service = serve("--workers", workers)
    connection = service.connect()
    connection.putrequest("POST", "/v1/tokens")
    body = b'{"audience": "default", "ttl": 60}'
    for name, value in {**service.credential, "content-type": "application/json", "content-length": len(body)}.items():
        connection.putheader(name, str(value))
    connection.endheaders(body[:10])
    eventually(lambda: service.ask("GET", "/healthz")[0] == 200)
    if number == signal.SIGINT:
        os.killpg(service.process.pid, number)
    else:
        service.process.send_signal(number)
    eventually(lambda: refuses_connections(service))
    assert service.process.poll() is None
    connection.send(body[10:])
    assert connection.getresponse().status == 201
    connection.close()
    assert service.process.wait(30) == 0
    assert "Traceback" not in service.err()


@WORKERS
def test_idle_connections_do_not_hold_up_the_end(serve: Serve, workers: int) -> None:
    """Neither one kept alive nor one that never asked anything."""
    service = serve("--workers", workers)
    silent = socket.create_connection((service.address.hostname, service.address.port))
    idle = service.connect()
    idle.request("GET", "/healthz")
    assert idle.getresponse().read()
    assert service.end() == 0
    silent.close()
    idle.close()


def test_a_request_that_never_ends_does_not_prevent_the_end(serve: Serve) -> None:
    """After the time allowed the process ends all the same, with 0."""
    service = serve()
    connection = service.connect()
    connection.putrequest("POST", "/v1/verify")
    connection.putheader("content-length", "100")
    connection.putheader("content-type", "application/json")
    for name, value in service.credential.items():
        connection.putheader(name, value)
    connection.endheaders(b"{")
    assert service.ask("GET", "/healthz")[0] == 200
    assert service.end() == 0
    connection.close()


def test_a_second_serve_on_the_data_directory_is_refused(
    serve: Serve, capsvc: Run, eventually: Eventually, is_alive: Callable[[int], bool]
) -> None:
    """The first goes on; once it is gone, by kill -9 too, the directory is free."""
    first = serve("--workers", 2)
    workers = first.workers()
    second = capsvc("serve", "--data-dir", first.data_dir, "--port", 0)
    assert (second.code, second.out) == (3, "")
    assert second.err.startswith("capsvc: in-use: ")
    assert first.data_dir.name in second.err
    assert first.ask("GET", "/healthz")[0] == 200
    first.process.kill()
    eventually(lambda: not any(map(is_alive, workers)))
    assert serve().ask("GET", "/healthz")[0] == 200


def test_workers_end_with_a_parent_that_was_killed(
    serve: Serve, eventually: Eventually, is_alive: Callable[[int], bool]
) -> None:
    """And so the port is free again."""
    service = serve("--workers", 2)
    workers = service.workers()
    assert len(workers) == 2
    assert all(map(is_alive, workers))
    service.process.kill()
    service.process.wait()
    eventually(lambda: not any(map(is_alive, workers)))
    assert refuses_connections(service)
    socket.create_server((service.address.hostname, service.address.port)).close()


def test_a_worker_that_was_killed_is_replaced(serve: Serve, eventually: Eventually) -> None:
    """The service goes on meanwhile, and loses nothing."""
    service = serve("--workers", 2)
    token = service.mint()
    before = service.workers()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(service.workers() - {victim}) == 2)
    asked = {"token": token, "audience": "default"}
    for _ in range(10):
        with suppress(ConnectionError, http.client.HTTPException):
            assert service.ask("POST", "/v1/verify", asked)[2]["allowed"] is True
    assert eventually(lambda: "a worker ended (-9)" in service.err())
    assert service.end() == 0


def test_a_worker_that_cannot_start_again_is_tried_until_it_can(serve: Serve, eventually: Eventually) -> None:
    """The others answer meanwhile, and the log says why there is one fewer."""
    service = serve("--workers", 2)
    key = service.data_dir / "master.key"
    aside = key.rename(service.data_dir / "aside.key")
    victim = min(service.workers())
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: "a worker cannot start: " in service.err())
    assert "master.key" in service.err()
    assert service.ask("GET", "/readyz")[0] == 200
    aside.rename(key)
    seen: set[str] = set()

    def both_answer() -> bool:
        seen.add(service.ask("GET", "/healthz")[1]["x-request-id"].split("-")[0])
        return len(seen) == 2

    eventually(both_answer)
    assert service.end() == 0


def test_a_revocation_through_one_worker_is_obeyed_by_the_other(serve: Serve) -> None:
    """Before the call that made it returns."""
    service = serve("--workers", 2)
    asked_of: set[str] = set()
    for _ in range(10):
        token = service.mint()
        verify = {"token": token, "audience": "default"}
        assert service.ask("POST", "/v1/verify", verify)[2]["allowed"] is True
        assert service.ask("POST", "/v1/revocations", {"token": token})[0] == 201
        for _ in range(6):
            _, headers, body = service.ask("POST", "/v1/verify", verify)
            assert (body["allowed"], body["code"]) == (False, "revoked")
            asked_of.add(headers["x-request-id"].split("-")[0])
        if len(asked_of) == 2:
            break
    assert len(asked_of) == 2


def test_the_port_is_in_use(serve: Serve, capsvc: Run, tmp_path: Path) -> None:
    """It names host and port; on another port the same directory serves."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = capsvc("serve", "--data-dir", tmp_path / "data", "--port", port)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("capsvc: port-in-use: ")
    assert "127.0.0.1" in ended.err
    assert str(port) in ended.err
    assert serve().ask("GET", "/healthz")[0] == 200


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours(capsvc: Run, tmp_path: Path, host: str) -> None:
    """One of another machine, one that nobody has."""
    ended = capsvc("serve", "--data-dir", tmp_path / "data", "--host", host, "--behind-proxy", "--port", 0)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("capsvc: address: ")
    assert host in ended.err


def test_an_address_that_one_can_connect_to(serve: Serve) -> None:
    """Listening on every address, behind a proxy, `serve.url` holds one of this machine."""
    service = serve("--host", "0.0.0.0", "--behind-proxy")  # noqa: S104 - what the test is about
    assert service.address.hostname == "127.0.0.1"
    assert service.ask("GET", "/.well-known/capsvc", headers={})[2]["issuer"] == service.url


def test_the_issuer_is_what_it_is_told(serve: Serve) -> None:
    """By default the address that it listens on."""
    service = serve("--issuer", "https://tokens.example")
    assert service.ask("GET", "/.well-known/capsvc", headers={})[2]["issuer"] == "https://tokens.example"


@PARSERS
def test_large_headers(serve: Serve, options: dict[str, Any]) -> None:
    """A bundle of 32 KiB is judged, headers over 64 KiB in all are 431 and the connection closed."""
    service = serve(**options)
    status, _, body = service.ask("GET", "/v1/tokens", headers={"authorization": "Bearer " + "A" * 32_768})
    assert (status, body["code"]) != (431, "too-large")
    assert status == 401
    connection = service.connect()
    connection.request("GET", "/healthz", headers={"x-large": "v" * 65_536})
    response = connection.getresponse()
    assert response.status == 431
    assert response.headers["connection"] == "close"
    assert response.headers["content-type"] == "application/problem+json"
    assert b'"too-large"' in response.read()
    connection.close()


@PARSERS
def test_request_ids(serve: Serve, options: dict[str, Any]) -> None:
    """A caller's own comes back if it is a fit one; each response has one."""
    service = serve(**options)

    def request_id(given: dict[str, str]) -> str:
        found: str = service.ask("GET", "/healthz", headers=given)[1]["x-request-id"]
        return found

    assert request_id({"x-request-id": "trace.1_A-9"}) == "trace.1_A-9"
    assert request_id({"x-request-id": "a b"}) not in {"", "a b"}
    assert request_id({}) != request_id({})


@PARSERS
def test_the_log_holds_routes_and_nothing_that_a_caller_chose(serve: Serve, options: dict[str, Any]) -> None:
    """No path, no query, no credential, no token, no body; the route and the status are there."""
    service = serve(**options)
    token = service.mint(label="label-marker")
    service.ask("GET", "/v1/tokens/path-marker?query-marker=1")
    service.ask("GET", "/path-marker%0Ainjected")
    service.ask("POST", "/v1/verify", {"token": token, "audience": "default", "context": {"action": "body-marker"}})
    service.ask("GET", "/healthz", headers={"authorization": "Bearer credential-marker", "cookie": "cookie-marker"})
    service.ask("GET", "/healthz", headers={"host": "host-marker", "x-request-id": "marker of two words"})
    service.end()
    log = service.err()
    assert "GET /v1/tokens/{id} " in log
    assert "GET - 404 " in log
    assert "POST /v1/verify 200 " in log
    assert "marker" not in log
    assert "injected" not in log
    assert token not in log
    assert service.credential["authorization"].split()[1] not in log
    for line in log.splitlines():
        assert len(line) < 200


def test_server_and_date(serve: Serve) -> None:
    """Which program answers is nobody's business."""
    headers = serve().ask("GET", "/healthz")[1]
    assert "server" not in headers
    assert "date" in headers


class TestAdminToken:
    """`admin.token` is good whenever `serve` has started."""

    def test_a_missing_one_is_made(self, serve: Serve) -> None:
        """At the next start."""
        first = serve()
        first.end()
        (first.data_dir / "admin.token").unlink()
        assert serve().ask("GET", "/v1/audiences")[0] == 200

    @pytest.mark.parametrize("text", ["", "garbage\n", "\xff\xfe"])
    def test_a_damaged_one_is_replaced(self, serve: Serve, text: str) -> None:
        """By one that works, private."""
        first = serve()
        first.end()
        path = first.data_dir / "admin.token"
        path.write_text(text, "latin-1")
        assert serve().ask("GET", "/v1/audiences")[0] == 200
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_one_whose_key_was_revoked_is_replaced(self, serve: Serve) -> None:
        """The key of the audience `capsvc` is rotated at the start, none being active."""
        first = serve()
        kid = first.ask("GET", "/v1/audiences/capsvc/keys")[2]["keys"][0]["kid"]
        assert first.ask("DELETE", f"/v1/audiences/capsvc/keys/{kid}")[0] == 204
        assert first.ask("GET", "/v1/audiences")[2]["code"] == "revoked"
        first.end()
        second = serve()
        assert second.ask("GET", "/v1/audiences")[0] == 200
        states = {key["kid"]: key["state"] for key in second.ask("GET", "/v1/audiences/capsvc/keys")[2]["keys"]}
        assert states.pop(kid) == "revoked"
        assert list(states.values()) == ["active"]

    def test_a_fresh_one_goes_to_standard_output_alone(self, serve: Serve, capsvc: Run) -> None:
        """Beside a running service; the file keeps its own."""
        service = serve()
        kept = (service.data_dir / "admin.token").read_text()
        ended = capsvc("admin-token", "--data-dir", service.data_dir)
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.count("\n") == 1
        assert ended.out != kept
        assert (service.data_dir / "admin.token").read_text() == kept
        fresh = {"authorization": "Bearer " + ended.out.strip()}
        assert service.ask("GET", "/v1/audiences", headers=fresh)[0] == 200

    def test_it_makes_no_data_directory(self, capsvc: Run, tmp_path: Path) -> None:
        """There is nothing to make a token with."""
        for data in (tmp_path / "none", tmp_path / "empty"):
            if data.name == "empty":
                data.mkdir(mode=0o700)
            ended = capsvc("admin-token", "--data-dir", data)
            assert (ended.code, ended.out) == (3, "")
            assert ended.err.startswith("capsvc: ")
            assert "capsvc init" in ended.err
        assert not (tmp_path / "none").exists()
        assert list((tmp_path / "empty").iterdir()) == []
