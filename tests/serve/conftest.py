"""Real processes: `capsvc` as a shell would start it, and what can be asked of one that serves."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds: a loaded machine is slow, and no test is about how slow
CAPSVC = ("-m", "capsvc.cli")


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The tests' own, without settings of ours, able to import the checkout."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CAPSVC_", "COV_"))}
    return {**clean, "PYTHONPATH": str(ROOT), **extra}


@dataclass
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def capsvc(tmp_path: Path) -> Run:
    """Run a command to its end: ``capsvc("init", "--data-dir", …)``; paths are given as seen from where it runs."""

    def spelled(argument: object) -> str:
        if isinstance(argument, Path) and argument.is_relative_to(tmp_path):
            return str(argument.relative_to(tmp_path))
        return str(argument)

    def run(*arguments: object, program: tuple[str, ...] = CAPSVC, env: Mapping[str, str] = {}) -> Ended:
        done = subprocess.run(
            [sys.executable, *program, *map(spelled, arguments)],
            env=environment(env),
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


class Service:
    """A ``capsvc serve`` that runs, in a process group of its own as a terminal would have it."""

    def __init__(self, data_dir: Path, *options: object, program: tuple[str, ...] = CAPSVC) -> None:
        self.data_dir = data_dir
        self._out = data_dir.with_name(data_dir.name + ".out").open("w+")
        self._err = data_dir.with_name(data_dir.name + ".err").open("w+")
        (data_dir / "serve.url").unlink(missing_ok=True)
        arguments = ["serve", "--data-dir", data_dir, "--port", 0, *options]
        self.process = subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            env=environment({}),
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
        )
        try:
            self.url = self._await_url()
        except BaseException:
            self.clear_away()
            raise
        self.address = urlsplit(self.url)

    def _await_url(self) -> str:
        def written() -> str:
            assert self.process.poll() is None, Path(self._err.name).read_text()
            with suppress(FileNotFoundError):
                return (self.data_dir / "serve.url").read_text().strip()
            return ""

        url: str = eventually(written)
        return url

    def out(self) -> str:
        """What it wrote to standard output."""
        return Path(self._out.name).read_text()

    def err(self) -> str:
        """And to standard error."""
        return Path(self._err.name).read_text()

    @property
    def credential(self) -> dict[str, str]:
        """The administrator's header."""
        return {"authorization": "Bearer " + (self.data_dir / "admin.token").read_text().strip()}

    def connect(self) -> http.client.HTTPConnection:
        """A fresh connection."""
        return http.client.HTTPConnection(self.address.hostname or "", self.address.port, timeout=PATIENCE)

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], Any]:
        """One request on a connection of its own, as the administrator unless headers say otherwise."""
        connection = self.connect()
        sent = dict(self.credential if headers is None else headers)
        if body is not None:
            sent["content-type"] = "application/json"
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, dict(response.headers.items()), json.loads(content) if content else None

    def mint(self, **fields: object) -> str:
        """A fresh token."""
        status, _, body = self.ask("POST", "/v1/tokens", {"audience": "default", "ttl": 600, **fields})
        assert status == 201, body
        token: str = body["token"]
        return token

    def workers(self) -> set[int]:
        """The processes that answer."""
        return {pid for pid in children(self.process.pid) if "spawn_main" in command_line(pid)}

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the whole group for ^C, to the process alone for any other; the exit code."""
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def clear_away(self) -> None:
        """Leave nothing running."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._out.close()
        self._err.close()


Serve = Callable[..., Service]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a service: ``serve()``, ``serve("--workers", 2)``, ``serve(data_dir=…)``."""
    running: list[Service] = []

    def start(*options: object, data_dir: Path = tmp_path / "data", program: tuple[str, ...] = CAPSVC) -> Service:
        data_dir.mkdir(mode=0o700, exist_ok=True)
        running.append(Service(data_dir, *options, program=program))
        return running[-1]

    yield start
    for service in running:
        service.clear_away()


def eventually(found: Callable[[], Any]) -> Any:
    """The first true value of ``found()``, asked again and again."""
    deadline = time.monotonic() + PATIENCE
    while not (value := found()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
    return value


def children(pid: int) -> set[int]:
    """A process's own."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    return set()


def command_line(pid: int) -> str:
    """As it was started; empty when it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[[Callable[[], Any]], Any]:
    """`eventually`, for tests."""
    return eventually


@pytest.fixture(name="is_alive")
def is_alive_fixture() -> Callable[[int], bool]:
    """Whether a process is still there."""
    return lambda pid: bool(command_line(pid))
