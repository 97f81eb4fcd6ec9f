"""Examples as programs and as modules, applications on real ports, and a person at a browser."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from re import DOTALL, findall, search
from types import ModuleType
from typing import IO

import httpx
import uvicorn
from starlette.types import ASGIApp

__all__ = ["EXAMPLES", "PATIENCE", "Person", "capsvc", "environment", "load", "run", "serving", "started"]

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PATIENCE = 60  # seconds


def environment(**more: str) -> dict[str, str]:
    """The environment with the source tree on the path and none of capsvc's settings, and what is given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CAPSVC_")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def run(name: str) -> list[str]:
    """The lines that an example writes as a program of its own."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def load(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def serving(app: ASGIApp, port: int = 0) -> Iterator[str]:
    """The application on a port of this machine, a free one if none is given, in a thread; its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False, lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server does not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


def capsvc(where: Path, *arguments: str, given: str = "", **more: str) -> str:
    """What a command writes to standard output; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "capsvc.cli", *arguments],
        cwd=where,
        env=environment(**more),
        input=given,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def started(where: Path, *command: str | Path, **more: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A Python program in a process of its own, and its standard output; it is ended, if it has not ended itself."""
    with (where / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=where,
            env=environment(**more),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert process.stdout is not None
    with process.stdout as stdout:
        try:
            yield process, stdout
        finally:
            process.terminate()
            process.wait(PATIENCE)


class Person:
    """Somebody at a browser, which keeps all cookies on this machine, and says on whose page a form was."""

    def __init__(self) -> None:
        self._cookies: dict[str, str] = {}

    def log_in(self, address: str, name: str, password: str) -> str:
        """Open the address, log in on the page that comes, and return the next one."""
        return self._send(self._get(address), "login", {"username": name, "password": password})

    def answer(self, address: str, answer: str) -> str:
        """Open the address again, press ``allow`` or ``refuse``, and return the page that comes."""
        return self._send(self._get(address), "visit", {"answer": answer})

    def log_out(self, address: str) -> str:
        """Open the address again, log out on its page, and return the page that comes."""
        return self._send(self._get(address), "logout", {})

    def see(self, address: str) -> str:
        """Open the address."""
        return self._get(address)

    def _get(self, address: str) -> str:
        return self._page(httpx.get(address, headers=self._headers(), timeout=PATIENCE))

    def _send(self, page: str, form: str, typed: Mapping[str, str]) -> str:
        """Fill in a form of a page."""
        found = search(rf'<form method="post" action="([^"]*/{form})".*?</form>', page, DOTALL)
        assert found is not None, page
        hidden = dict(findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', found[0]))
        headers = {**self._headers(), "origin": "null", "sec-fetch-site": "same-origin"}
        answer = httpx.post(unescape(found[1]), data={**hidden, **typed}, headers=headers, timeout=PATIENCE)
        return self._page(answer)

    def _headers(self) -> dict[str, str]:
        return {"cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}

    def _page(self, answer: httpx.Response) -> str:
        """The page of an answer, or that to which it leads."""
        self._cookies |= dict(answer.cookies)
        if answer.status_code == httpx.codes.SEE_OTHER:
            return self._get(answer.headers["location"])
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.text
