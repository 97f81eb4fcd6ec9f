"""Two libraries that others use, each in processes of its own: Python's macaroonbakery and Go's macaroon-bakery."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from capsvc.macaroon.bundle import SEPARATOR
from capsvc.macaroon.decode import encode
from capsvc.macaroon.formats import read_v2json

__all__ = ["AGENT", "Discharger", "GatheringError", "Library", "Party", "Visit", "before", "declare", "text", "third"]

AGENT = "robot"
"""The one agent that Go's discharger lets in."""

PATIENCE = 30  # seconds

Visit = Callable[[str], object]


class Party(Protocol):
    """A third party, whoever wrote it."""

    name: str
    url: str
    public_key: str


Caveat = dict[str, Any]


def declare(name: str, value: str) -> Caveat:
    """A caveat of a discharge: the library's own declaration."""
    return {"declare": [name, value]}


def before(seconds: float) -> Caveat:
    """A caveat of a discharge: the library's own expiry, so many seconds from then, with all its digits."""
    return {"before": seconds}


def third(discharger: Party, condition: str) -> Caveat:
    """A caveat of a discharge: another discharger has to answer a condition."""
    return {"location": discharger.url, "text": condition}


def text(caveat: str) -> Caveat:
    """A caveat of a discharge: a first-party one, as it stands."""
    return {"text": caveat}


class GatheringError(Exception):
    """A client got no discharges; what it wrote on standard error."""


@dataclass(frozen=True)
class Library:
    """A library by the program that uses it; ``python`` or ``go``."""

    name: str
    program: tuple[str, ...]

    def gather(self, token: str, *, agent: Path | None = None, visit: Visit | None = None) -> str:
        """The bundle that its client makes of a token: its list of macaroons, read back from JSON, joined.

        Args:
            token: a root.
            agent: bakery's file of an agent's key and names.
            visit: what somebody does with the page that he is sent to.

        Raises:
            GatheringError: the client failed.

        """
        command = [*self.program, "client"]
        command += [] if agent is None else ["-agent", str(agent)]
        command += [] if visit is None else ["-browser"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                process.stdin.write(token)
                process.stdin.close()
                macaroons = None
                for line in process.stdout:
                    word, _, page = line.rstrip("\n").partition(" ")
                    if word == "visit" and visit is not None:
                        visit(page)
                    else:
                        macaroons = json.loads(line)
                complaint = process.stderr.read()
                if process.wait(PATIENCE) != 0:
                    raise GatheringError(complaint)
            finally:
                process.kill()
        assert macaroons is not None
        return _joined(token, macaroons)

    def fetch(self, *places: str, agent: Path | None = None) -> list[dict[str, Any]]:
        """What URLs answer to one client of it: ``status`` and ``body`` of each.

        Raises:
            GatheringError: the client failed.

        """
        command = [*self.program, "fetch", *([] if agent is None else ["-agent", str(agent)]), *places]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode != 0:
            raise GatheringError(done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def discharger(self) -> Discharger:
        """A discharger of it, in a process of its own; the caller closes it."""
        return Discharger(self.name, [*self.program, "discharger"])


def _joined(token: str, macaroons: Sequence[object]) -> str:
    """A bundle of a client's macaroons, of which the first is the token as it was."""
    parts = [encode(read_v2json(json.dumps(macaroon))) for macaroon in macaroons]
    assert parts[0] == token
    return SEPARATOR.join(parts)


class Discharger:
    """A discharger in a process of its own: ``name`` (of its library), ``url`` and ``public_key``.

    It refuses every condition until told.
    """

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        first = json.loads(self._line())
        self.url: str = first["url"]
        self.public_key: str = first["public_key"]

    def answers(self, condition: str, *caveats: Caveat, login: str = "") -> Self:
        """Have it answer a condition with a discharge under caveats; after a login of that kind, if one is named.

        Only Go's knows logins: ``browser-window``, where visiting is enough, and ``agent``, for `AGENT`.
        """
        assert self._process.stdin is not None
        line = json.dumps({"condition": condition, "caveats": caveats, "login": login})
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        assert self._line() == "ok\n"
        return self

    def close(self) -> None:
        """End it, and wait for its end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            assert self._process.wait(PATIENCE) == 0
        finally:
            self._process.kill()
            assert self._process.stdout is not None
            self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()
