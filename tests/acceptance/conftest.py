"""A real service in a process of its own, and the command line beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60  # seconds

CONFIG = """
[attributes.floor]
type = "integer"

[attributes.build]
type = "digest"
"""


class Running:
    """A service that runs from a data directory; ``capsvc`` is how its command is called."""

    def __init__(self, capsvc: list[str | Path], where: Path, env: dict[str, str]) -> None:
        self._capsvc = capsvc
        self.where = where
        self.env = env
        with (where / "serve.err").open("wb") as stderr:
            self._process = subprocess.Popen(
                [*capsvc, "serve", "--port", "0"], cwd=where, env=env, stdout=subprocess.DEVNULL, stderr=stderr
            )
        address = where / "capsvc-data" / "serve.url"
        deadline = time.monotonic() + PATIENCE
        while not address.exists():
            assert self._process.poll() is None, (where / "serve.err").read_text()
            assert time.monotonic() < deadline, "the service does not answer"
            time.sleep(0.05)
        self.url = address.read_text().strip()
        self._http = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.credential}"})

    @property
    def credential(self) -> str:
        """The administrator's."""
        return (self.where / "capsvc-data" / "admin.token").read_text().strip()

    def post(self, path: str, body: dict[str, object]) -> dict[str, Any]:
        """The object that answers a request."""
        answer = self._http.post(path, json=body)
        assert answer.status_code in {200, 201}, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def mint(self, **fields: object) -> str:
        """A token for the audience `default`, for an hour."""
        return str(self.post("/v1/tokens", {"audience": "default", "ttl": 3600, **fields})["token"])

    def verify(self, token: str, **context: object) -> str:
        """`allowed`, or the denial's code and caveat."""
        answer = self.post("/v1/verify", {"token": token, "audience": "default", "context": context})
        return "allowed" if answer["allowed"] is True else f"{answer['code']}: {answer['caveat']}"

    def command(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run `capsvc` with something on standard input."""
        return subprocess.run(
            [*self._capsvc, *arguments],
            cwd=self.where,
            env=self.env,
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def close(self) -> None:
        """SIGTERM, which a service obeys with 0."""
        self._http.close()
        self._process.terminate()
        assert self._process.wait(PATIENCE) == 0


def environment() -> dict[str, str]:
    """The environment without any setting of capsvc's own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CAPSVC_")}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service from the source tree, with attributes of its operator's."""
    where = tmp_path_factory.mktemp("service")
    (where / "capsvc-data").mkdir(mode=0o700)
    (where / "capsvc-data" / "capsvc.toml").write_text(CONFIG)
    running = Running([sys.executable, "-m", "capsvc.cli"], where, {**environment(), "PYTHONPATH": str(ROOT)})
    yield running
    running.close()


@pytest.fixture
def running_from() -> type[Running]:
    """To run a service from another installation."""
    return Running


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """The environment without the source tree on the path."""
    return {name: value for name, value in environment().items() if name != "PYTHONPATH"}
