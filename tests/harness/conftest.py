"""Real services in process groups of their own, and plain HTTP to them."""

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
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds: a loaded machine is slow, and no test is about how slow


class Service:
    """A data directory, and the ``capsvc serve`` on it that is started, killed and started again."""

    def __init__(self, data_dir: Path, workers: int) -> None:
        self.data_dir = data_dir
        self.out = data_dir.with_name(data_dir.name + ".out")
        self.err = data_dir.with_name(data_dir.name + ".err")
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None
        self._address: tuple[str, int] = ("", 0)

    @property
    def pid(self) -> int:
        """The process that was started last."""
        assert self._process is not None
        return self._process.pid

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._address[1]

    @property
    def admin(self) -> str:
        """The administrator's credential."""
        return (self.data_dir / "admin.token").read_text().strip()

    def spawn(self) -> None:
        """Start the process, and do not wait for it."""
        (self.data_dir / "serve.url").unlink(missing_ok=True)
        command = [sys.executable, "-m", "capsvc.cli", "serve", "--port", "0", "--workers", str(self._workers)]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("CAPSVC_")}
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self._process = subprocess.Popen(
                [*command, "--data-dir", str(self.data_dir)],
                env={**clean, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self.spawn()
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self._process.poll() is None, self.err.read_text()[-2000:]
            assert time.monotonic() < deadline
            with suppress(FileNotFoundError):
                if url := (self.data_dir / "serve.url").read_text().strip():
                    break
            time.sleep(0.005)
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 0)

    def kill(self) -> None:
        """End every process of it with SIGKILL, at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)

    def stop(self) -> int:
        """End it as an operator does; the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def connect(self) -> Connection:
        """A fresh connection, as the administrator."""
        return Connection(*self._address, self.admin)


class Connection:
    """One keep-alive connection."""

    def __init__(self, host: str, port: int, credential: str) -> None:
        self._http = http.client.HTTPConnection(host, port, timeout=PATIENCE)
        self._headers = {"authorization": f"Bearer {credential}", "content-type": "application/json"}
        self._http.connect()
        self._http.auto_open = 0  # a connection that was closed stays closed: it is pinned to one worker

    @property
    def local_port(self) -> int:
        """Our end of it."""
        port: int = self._http.sock.getsockname()[1]
        return port

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and body; a raw body if it is octets."""
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        self._http.request(method, path, content, self._headers if headers is None else dict(headers))
        response = self._http.getresponse()
        answer = response.read()
        return response.status, json.loads(answer) if answer else None

    def raw(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Everything that came back, headers too."""
        self._http.request(method, path, body, dict(headers))
        response = self._http.getresponse()
        return str(response.headers).encode() + response.read()

    def close(self) -> None:
        """Close it."""
        self._http.close()


MakeService = Callable[..., Service]


@pytest.fixture(scope="session")
def service_class() -> type[Service]:
    """`Service`, for whoever ends what he starts."""
    return Service


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[MakeService]:
    """Services by the number of their workers; none is left running."""
    made: list[Service] = []

    def make(workers: int = 2) -> Service:
        data_dir = tmp_path / f"data{len(made)}"
        data_dir.mkdir(mode=0o700)
        made.append(Service(data_dir, workers))
        return made[-1]

    yield make
    for service in made:
        service.kill()


@pytest.fixture
def tell(capfd: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line that is seen whatever captures output: a harness tells its counts."""

    def say(line: str) -> None:
        with capfd.disabled():
            print(f"\n{line}", file=sys.__stderr__, flush=True)

    return say
