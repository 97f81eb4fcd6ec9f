"""The command line in this process, in processes of its own, and against a service of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

import capsvc
from capsvc.cli import main
from capsvc.macaroon.build import mint
from capsvc.macaroon.identifier import Identifier

from ..client.conftest import closed_port, serve_octets  # noqa: TID252 - fixtures that both folders use

__all__ = ["closed_port", "serve_octets"]

ROOT = Path(capsvc.__file__).parents[1]
CONFIG = """
[attributes.floor]
type = "integer"

[attributes.room]
type = "integer"

[attributes.tenant]
type = "word"
fact = true

[attributes.plan]
type = "word"
values = ["free", "team"]
"""
KID = "0123456789abcdef"
TID = "AAAAAAAAAAAAAAAAAAAAAA"
UNSET = dict.fromkeys(
    ("CAPSVC_URL", "CAPSVC_CREDENTIAL_FILE", "CAPSVC_DATA_DIR", "CAPSVC_CONFIG", "NO_COLOR", "FORCE_COLOR")
)


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    def refused(self, code: int, kind: str) -> str:
        """The one line on standard error of a command that failed so, and wrote nothing else."""
        lines = self.err.splitlines()
        assert (self.code, self.out, len(lines)) == (code, "", 1), self
        assert re.match(rf"capsvc: {re.escape(kind)}: .", lines[0]), self
        assert lines[0].isascii()
        assert lines[0].isprintable()
        return lines[0]

    def done(self) -> str:
        """The output of a command that succeeded without a word on standard error."""
        assert (self.code, self.err) == (0, ""), self
        return self.out


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line in this process, in an empty directory: ``run("check", "floor = 1")``."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: bytes | str = b"", env: Mapping[str, str] | None = None) -> Outcome:
        result = CliRunner().invoke(main, list(arguments), input=stdin, env={**UNSET, **(env or {})})
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """A process's environment without capsvc's own variables, and with what is given."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    return {**kept, "PYTHONPATH": str(ROOT), **(env or {})}


def command(*arguments: str) -> list[str]:
    """The command line of a real process."""
    return [sys.executable, "-m", "capsvc.cli", *arguments]


@pytest.fixture
def process(tmp_path: Path) -> Run:
    """Runs the command line as a process, in an empty directory."""

    def run(*arguments: str, stdin: bytes | str = b"", env: Mapping[str, str] | None = None) -> Outcome:
        octets = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            command(*arguments),
            input=octets,
            capture_output=True,
            env=environment(env),
            cwd=tmp_path,
            timeout=60,
            check=False,
        )
        return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


Root = Callable[..., str]


@pytest.fixture
def root() -> Root:
    """Makes a token of no service: ``root("floor in 1,2", issuer=1)``; a time bound far away comes first."""

    def make(*caveats: str, issuer: int | None = None, location: str = "http://127.0.0.1:8700", age: int = 60) -> str:
        every = ("time < 2098-01-01T00:00:00Z", *caveats)
        count = len(every) if issuer is None else issuer + 1
        identifier = Identifier(KID, TID, int(time.time()) - age, count)
        return mint(b"k" * 32, location, identifier.encode(), every)

    return make


@dataclass(frozen=True)
class Live:
    """A service that runs: its address and data directory."""

    url: str
    data: Path

    @property
    def env(self) -> dict[str, str]:
        """The environment that makes commands talk to it."""
        return {"CAPSVC_DATA_DIR": str(self.data)}


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service in a process of its own, on a free port of loopback, for all tests of one worker."""
    data = tmp_path_factory.mktemp("live") / "data"
    data.mkdir(mode=0o700)
    (data / "capsvc.toml").write_text(CONFIG)
    server = subprocess.Popen(
        command("serve", "--port", "0", "--data-dir", str(data)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
        text=True,
    )
    try:
        yield Live(_address(server), data)
    finally:
        server.terminate()
        server.communicate(timeout=20)


def _address(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    for line in server.stdout:
        found = re.search(r"http://\S+", line)
        if found and "serves" in line:
            return found[0]
    raise AssertionError(f"serve ended with {server.wait()}")


Ask = Callable[..., Outcome]


@pytest.fixture
def ask(run: Run, live: Live) -> Ask:
    """Runs a command against the live service."""

    def ask(*arguments: str, stdin: bytes | str = b"", env: Mapping[str, str] | None = None) -> Outcome:
        return run(*arguments, stdin=stdin, env={**live.env, **(env or {})})

    return ask
