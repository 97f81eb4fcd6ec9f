"""The README as data, and a clone in which it can be followed to the letter."""

from __future__ import annotations

import os
import re
import shutil
import signal
import site
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
DAY = "2026-11-25"
FENCE = re.compile(r"^```(\w+)(?: at=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORTS = ("8701", "8702")  # of the discharger and of the protected application
PATIENCE = 60  # seconds for the service to answer, on a machine with much else to do


class Shown(NamedTuple):
    """An output that the README shows; ``at`` is the time of day at which it is so, None for always."""

    at: str | None
    text: str


@dataclass
class Block:
    """A block of code and the outputs that are shown for it."""

    language: str
    text: str
    shown: list[Shown] = field(default_factory=list)

    def output_at(self, hour: str) -> str | None:
        """What it should print at that time of day, or None if nothing is said."""
        return next((shown.text for shown in self.shown if shown.at in {None, hour}), None)


class Readme:
    """The README's text, sections, tables and blocks."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.blocks: list[Block] = []
        for language, at, body in FENCE.findall(text):
            if language == "text":
                self.blocks[-1].shown.append(Shown(at or None, body))
            else:
                self.blocks.append(Block(language, body))

    def of(self, language: str) -> list[Block]:
        """The blocks of a language."""
        return [block for block in self.blocks if block.language == language]

    def section(self, heading: str) -> str:
        """The text under a heading of the second level."""
        return self.text.split(f"\n## {heading}\n")[1].split("\n## ")[0]

    def table(self, heading: str, first: str) -> list[list[str]]:
        """The cells of the table in that section whose first heading is ``first``, without headings."""
        lines = self.section(heading).splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |".replace("  ", " ")))
        rows = []
        for line in lines[start + 2 :]:
            if not line.startswith("|"):
                break
            rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
        return rows


@pytest.fixture(scope="session")
def readme() -> Readme:
    """The README."""
    return Readme((ROOT / "README.md").read_text(encoding="utf-8"))


def _stand_in_for_a_clone(where: Path, hour: str) -> None:
    """What `make run` needs of a clone, already installed, with a clock that stood at ``hour`` when it was made."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copyfile(ROOT / name, where / name)
    venv.create(where / ".venv", symlinks=True, with_pip=False)
    packages = next((where / ".venv" / "lib").glob("python*/site-packages"))
    places = [str(ROOT), *site.getsitepackages(), *(path for path in sys.path if path.endswith("site-packages"))]
    (packages / "checkout.pth").write_text("".join(f"{place}\n" for place in dict.fromkeys(places)))
    offset = datetime.fromisoformat(f"{DAY}T{hour}:00").replace(tzinfo=UTC).timestamp() - time.time()
    (packages / "sitecustomize.py").write_text(
        f"import time\n_real = time.time\ntime.time = lambda: _real() + {offset}\n"
    )
    for name, module in (("capsvc", "capsvc.cli"), ("uvicorn", "uvicorn")):
        script = where / ".venv" / "bin" / name
        script.write_text(
            f"#!{where}/.venv/bin/python\nimport sys\nfrom {module} import main\nif __name__ == '__main__':\n"
            "    sys.exit(main())\n"
        )
        script.chmod(0o755)
    (where / ".venv" / ".service").touch()


class Terminal:
    """A shell that somebody pastes blocks into, one after the other."""

    END = "the-block-has-ended"

    def __init__(self, where: Path, env: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=where,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )

    def paste(self, text: str) -> str:
        """Run a block; return all that it wrote."""
        stdin, stdout = self._pipes()
        stdin.write(f"{{\n{text}\n}} </dev/null\necho {self.END}\n")
        stdin.flush()
        written: list[str] = []
        for line in stdout:
            if line == f"{self.END}\n":
                return "".join(written)
            written.append(line)
        raise AssertionError(f"the shell ended: {''.join(written)}")

    def close(self) -> None:
        """End the shell."""
        self._shell.communicate(timeout=PATIENCE)

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        return self._shell.stdin, self._shell.stdout


class Clone:
    """A directory like a clone of the repository, its terminals, and an end to all that was started there.

    Blocks run word for word, but for the ports of what the README serves: several clones are followed at a time, and
    what the authority listens on is any free port as well.
    """

    def __init__(self, where: Path, hour: str) -> None:
        _stand_in_for_a_clone(where, hour)
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.where = where
        self.hour = hour
        self.env = {**kept, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "CAPSVC_PORT": "0"}
        self.terminal = Terminal(where, self.env)
        self._servers: list[subprocess.Popen[bytes]] = []
        self._serving_now: dict[str, subprocess.Popen[bytes]] = {}
        with ExitStack() as stack:
            free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
            self._ports = {port: str(one.getsockname()[1]) for port, one in zip(PORTS, free, strict=True)}

    def paste(self, text: str) -> str:
        """Run a block in the terminal where most of them are pasted; return all that it wrote."""
        return self.terminal.paste(self._here(text))

    def serve(self, text: str, until: str) -> str:
        """Run a block that serves, in a terminal of its own; return what it wrote up to a line with ``until``."""
        number = len(self._servers)
        out, err = self.where / f"serve.{number}.out", self.where / f"serve.{number}.err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            server = subprocess.Popen(
                ["bash", "-c", self._serving(text)],
                cwd=self.where,
                env=self.env,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self._servers.append(server)
        self._serving_now[text] = server
        deadline = time.monotonic() + PATIENCE
        while not any(self._here(until) in text and text.endswith("\n") for text in (out.read_text(), err.read_text())):
            assert server.poll() is None, err.read_text()
            assert time.monotonic() < deadline, "nothing answers"
            time.sleep(0.05)
        return out.read_text()

    def serve_again(self, text: str, until: str) -> str:
        """Type ^C where a block serves, wait until it is gone, and run it again."""
        self._end(self._serving_now[text])
        return self.serve(text, until)

    def address(self) -> str:
        """Where the authority answers."""
        return (self.where / "capsvc-data" / "serve.url").read_text().strip()

    def _serving(self, text: str) -> str:
        """The block; a discharger's port is an option where it is not said."""
        return self._here(text).replace(
            "capsvc discharger serve ", f"capsvc discharger serve --port {self._ports[PORTS[0]]} "
        )

    def _here(self, text: str) -> str:
        for written, free in self._ports.items():
            text = text.replace(written, free)
        return text

    def python(self, text: str) -> str:
        """Run a program with the clone's interpreter; return what it wrote."""
        program = self.where / "program.py"
        program.write_text(self._here(text))
        done = subprocess.run(
            [self.where / ".venv" / "bin" / "python", program],
            cwd=self.where,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def interrupt(self) -> None:
        """Type ^C where something serves, what was started last first, and wait until it is gone."""
        for server in reversed(self._servers):
            self._end(server)

    def _end(self, server: subprocess.Popen[bytes]) -> None:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGINT)
            server.wait(PATIENCE)

    def close(self) -> None:
        """End whatever was started."""
        self.terminal.close()
        self.interrupt()


@pytest.fixture(params=["10:00", "20:00"])
def clone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Clone]:
    """A clone in the morning, and one in the evening."""
    for program in ("bash", "make"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    made = Clone(tmp_path, request.param)
    yield made
    made.close()
