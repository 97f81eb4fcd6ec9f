"""``capsvc discharger serve`` as a shell would start it, and other commands run to their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from capsvc.discharge import KeyPair
from capsvc.keyfile import key_file_text
from capsvc.macaroon.thirdparty import Channel, key_text

from .conftest import PATIENCE, ROOT_KEY, eventually

__all__ = ["BOT", "COMMON", "FIRST", "KEY", "TRUST", "Ended", "Process", "caveat", "command", "furnished"]

ROOT = Path(__file__).parents[2]
CAPSVC = (sys.executable, "-P", "-m", "capsvc.cli")  # -P: as for an installed program, modules here are not found

KEY = KeyPair(b"k" * 32)
FIRST = KeyPair(b"f" * 32)
BOT = KeyPair(b"b" * 32)
TRUST = key_text(FIRST.public)
COMMON = ("--key", "d.key", "--checker", "checks:check", "--trust", TRUST)
"""What starts a discharger in a directory that is `furnished`."""

CHECKS = """
from capsvc.discharge import Declared, Interaction, Refused

async def check(condition, request):
    if condition == "holds":
        return Declared({"colour": "green"})
    if condition == "somebody":
        return Declared({"username": request.state.user}) if request.state.user else Interaction()
    if condition == "breaks":
        raise RuntimeError("SECRET of the checker")
    return Refused("no")
"""


def furnished(directory: Path) -> Path:
    """A directory with a key, principals, users, and a module with a checker."""
    (directory / "d.key").write_text(key_file_text(KEY))
    (directory / "d.key").chmod(0o600)
    (directory / "checks.py").write_text(CHECKS)
    (directory / "principals.toml").write_text(
        f'[principals.bot]\npublic_keys = ["{key_text(BOT.public)}"]\nconditions = ["c"]\n'
    )
    assert command(directory, "discharger", "passwd", "users", "alice", given="correct horse\n").code == 0
    return directory


def caveat(condition: str = "holds") -> bytes:
    """A caveat id of `FIRST`'s for `KEY`."""
    return Channel.of_first_party(FIRST, KEY.public).seal(ROOT_KEY, condition)


def environment(*installed: Path) -> dict[str, str]:
    """The tests' own, without settings of ours, able to import the checkout and what else is installed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CAPSVC_")}
    return {**clean, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *installed)))}


class Ended:
    """How a command ended: ``code``, ``out`` and ``err``."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr


def command(cwd: Path, *arguments: object, given: str = "") -> Ended:
    """Run ``capsvc`` to its end, with something on its standard input."""
    done = subprocess.run(
        [*CAPSVC, *map(str, arguments)],
        env=environment(),
        cwd=cwd,
        input=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return Ended(done)


class Process:
    """A discharger in a process of its own, once it answers: ``url``, ``out`` and ``err`` (what it wrote so far)."""

    def __init__(self, cwd: Path, *options: object, installed: Path | None = None) -> None:
        self._files = [(cwd / f"discharger.{name}").open("w+") for name in ("out", "err")]
        arguments = ["discharger", "serve", "--port", 0, *options]
        self.process = subprocess.Popen(
            [*CAPSVC, *map(str, arguments)],
            env=environment(*filter(None, [installed])),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=self._files[0],
            stderr=self._files[1],
            start_new_session=True,
        )
        try:
            eventually(self._has_started)
        except BaseException:
            self.close()
            raise
        self.url = self.out.split(". ^C stops it.")[0].rpartition(" ")[2]

    def _has_started(self) -> bool:
        assert self.process.poll() is None, self.err
        return "Next" in self.out

    @property
    def out(self) -> str:
        """Standard output."""
        return Path(self._files[0].name).read_text()

    @property
    def err(self) -> str:
        """Standard error."""
        return Path(self._files[1].name).read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End it whatever it does."""
        self.process.kill()
        self.process.wait()
        for file in self._files:
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()
