"""Real server processes, one core's worth each: ``capsvc serve``, ``capsvc discharger serve`` and their peers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

__all__ = ["Served", "bakery", "bare", "capsvc", "discharger", "free_port", "protected", "wait_for"]

PATIENCE: Final = 60.0  # seconds that a server may take to start


@dataclass(frozen=True, slots=True)
class Served:
    """A process that listens on a port of 127.0.0.1."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def processor_seconds(self) -> float:
        """The processor time that the process has used, all its threads together."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def resident_megabytes(self) -> float:
        """The resident memory of the process, in 10⁶ octets."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise AssertionError("the process has ended")


@contextmanager
def capsvc(data_dir: Path) -> Iterator[Served]:
    """``capsvc serve`` on a data directory, as an operator starts it; its access log goes nowhere."""
    url_file = data_dir / "serve.url"
    with _running("capsvc.cli", "serve", "--data-dir", str(data_dir), "--port", "0") as process:
        started = time.monotonic()
        while not url_file.exists():
            if process.poll() is not None or time.monotonic() - started > PATIENCE:
                raise RuntimeError("capsvc serve did not start")
            time.sleep(0.02)
        yield Served(urlsplit(url_file.read_text().strip()).port or 0, process.pid)


@contextmanager
def bare(application: str) -> Iterator[Served]:
    """One of the applications of `tests.benchmarks.bare`."""
    with _running("tests.benchmarks.bare", application) as process:
        assert process.stdout is not None
        yield Served(int(process.stdout.readline()), process.pid)


@contextmanager
def protected(way: str, directory: Path) -> Iterator[Served]:
    """One of the applications of `tests.benchmarks.protected`, once it answers."""
    with _running("tests.benchmarks.protected", way, str(directory)) as process:
        assert process.stdout is not None
        served = Served(int(process.stdout.readline()), process.pid)
        wait_for(served.port)
        yield served


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Return when somebody listens there."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError("a server did not start")


@contextmanager
def discharger(directory: Path, first_party: str) -> Iterator[Served]:
    """``capsvc discharger serve`` with the `static` checker, which answers one first party; its log goes nowhere."""
    files = ["--key", str(directory / "key.json"), "--principals", str(directory / "principals.toml")]
    options = ["--checker", "static", "--trust", first_party, "--port", "0"]
    with _running("capsvc.cli", "discharger", "serve", *files, *options) as process:
        assert process.stdout is not None
        url = next(word.rstrip(".") for word in process.stdout.readline().split() if word.startswith("http"))
        yield Served(urlsplit(url).port or 0, process.pid)


@contextmanager
def bakery(agent: str) -> Iterator[tuple[Served, str]]:
    """`tests.benchmarks.bakerypeer`, which knows an agent by its public key; also the peer's own public key."""
    with _running("tests.benchmarks.bakerypeer", agent) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield Served(told["port"], process.pid), told["public_key"]


@contextmanager
def _running(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CAPSVC_")}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=clean,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
