"""Our discharger as a process: ``capsvc discharger serve``."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..acceptance.conftest import ROOT, environment  # noqa: TID252 - a process of ours is run in one way

__all__ = ["PERSON", "OurDischarger", "Person"]


class Person(NamedTuple):
    """Who logs in with a browser."""

    name: str
    password: str


PERSON = Person("ada", "correct horse battery staple")

PATIENCE = 60  # seconds


class OurDischarger:
    """A discharger of ours: ``name`` (of its checker), ``url`` and ``public_key``."""

    def __init__(
        self, where: Path, checker: str, *options: str, trust: Sequence[str], users: Sequence[Person] = ()
    ) -> None:
        """Start it in a directory, from a fresh key.

        Args:
            where: its own.
            checker: ``static`` or ``session``.
            options: of ``serve``; files are relative to the directory.
            trust: the public keys of the first parties that it answers.
            users: who is written into the file ``users`` before.

        """
        self.name = checker
        self._where = where
        self.public_key = self.command("keygen", "key").removesuffix("\n")
        for name, password in users:
            self.command("discharger", "passwd", "users", name, given=f"{password}\n")
        trusting = [part for key in trust for part in ("--trust", key)]
        serve = ["discharger", "serve", "--key", "key", "--checker", checker, "--port", "0", *trusting, *options]
        with (where / "serve.err").open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "capsvc.cli", *serve],
                cwd=where,
                env=self._env,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", first)
        assert found is not None, (where / "serve.err").read_text()
        self.url = found[0]

    @property
    def _env(self) -> dict[str, str]:
        return {**environment(), "PYTHONPATH": str(ROOT)}

    def command(self, *arguments: str, given: str = "") -> str:
        """What a command of ours writes, run in the discharger's directory."""
        done = subprocess.run(
            [sys.executable, "-m", "capsvc.cli", *arguments],
            cwd=self._where,
            env=self._env,
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def close(self) -> None:
        """SIGTERM, which it obeys with 0."""
        self._process.terminate()
        assert self._process.wait(PATIENCE) == 0
        assert self._process.stdout is not None
        self._process.stdout.close()
