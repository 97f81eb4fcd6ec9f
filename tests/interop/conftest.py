"""The two libraries, a discharger of each, and what a client needs to log in."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from macaroonbakery import bakery

from ..acceptance.conftest import CONFIG, ROOT, environment  # noqa: TID252 - a service is run in one way
from ..required import missing  # noqa: TID252 - what all folders share
from .libraries import AGENT, Discharger, GatheringError, Library
from .service import Service

HERE = Path(__file__).parent
GOPATH = Path("/usr/share/gocode")
BAKERY = GOPATH / "src/github.com/go-macaroon-bakery/macaroon-bakery"
PATIENCE = 240  # seconds: the first build on a machine compiles everything below it

LIBRARIES = ("python", "go")


@pytest.fixture(scope="session")
def python() -> Library:
    """Python's macaroonbakery."""
    return Library("python", (sys.executable, str(HERE / "peer.py")))


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Go's macaroon-bakery, built once for all workers."""
    if shutil.which("go") is None:
        missing("Go is not installed: apt-get install golang-go")
    if not BAKERY.is_dir():
        missing("apt-get install golang-github-go-macaroon-bakery-macaroon-bakery-dev")
    base = tmp_path_factory.getbasetemp()
    where = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    peer = where / "go-peer"
    with (where / "go-peer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not peer.exists():
            _build(peer)
    return Library("go", (str(peer),))


def _build(program: Path) -> None:
    """Build it offline: without modules, Go looks below GOPATH alone."""
    env = {"HOME": str(program.parent), **os.environ, "GO111MODULE": "off", "GOPATH": str(GOPATH), "GOFLAGS": ""}
    draft = program.with_suffix(".draft")
    done = subprocess.run(
        ["go", "build", "-o", str(draft), "."],
        cwd=HERE / "go",
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    draft.rename(program)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Library:
    """Each library in turn."""
    found: Library = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def python_discharger(python: Library) -> Iterator[Discharger]:
    """A discharger of Python's, for all tests."""
    discharger = python.discharger()
    yield discharger
    discharger.close()


@pytest.fixture(scope="session")
def go_discharger(go: Library) -> Iterator[Discharger]:
    """A discharger of Go's, for all tests."""
    discharger = go.discharger()
    yield discharger
    discharger.close()


@pytest.fixture(params=LIBRARIES)
def discharger(request: pytest.FixtureRequest) -> Discharger:
    """A discharger of each library in turn."""
    found: Discharger = request.getfixturevalue(f"{request.param}_discharger")
    return found


@pytest.fixture
def both(python_discharger: Discharger, go_discharger: Discharger) -> tuple[Discharger, Discharger]:
    """Python's and Go's."""
    return python_discharger, go_discharger


AgentFile = Callable[[str], Path]


@pytest.fixture
def agent_file(tmp_path: Path) -> AgentFile:
    """Bakery's file of an agent's fresh key, by the URL of the discharger that knows him."""

    def make(url: str) -> Path:
        key = bakery.generate_key()
        pair = {"public": str(key.public_key), "private": str(key)}
        file = tmp_path / "agent.json"
        file.write_text(json.dumps({"key": pair, "agents": [{"url": url, "username": AGENT}]}))
        return file

    return make


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service, for all tests."""
    where = tmp_path_factory.mktemp("service")
    (where / "capsvc-data").mkdir(mode=0o700)
    (where / "capsvc-data" / "capsvc.toml").write_text(CONFIG)
    running = Service([sys.executable, "-m", "capsvc.cli"], where, {**environment(), "PYTHONPATH": str(ROOT)})
    yield running
    running.close()


Gather = Callable[[str], str]


@pytest.fixture
def library_gather(library: Library) -> Gather:
    """Makes a bundle of a token, by each library's client in turn."""
    return library.gather


@pytest.fixture(params=[*LIBRARIES, "command"])
def gather(request: pytest.FixtureRequest) -> Gather:
    """Makes a bundle of a token, by each library's client and by each of ours in turn."""
    if request.param in LIBRARIES:
        found: Library = request.getfixturevalue(request.param)
        return found.gather
    return partial(_by_command, request.getfixturevalue("service"))


def _by_command(service: Service, token: str) -> str:
    """By ``capsvc discharge``."""
    done = service.command("discharge", "--no-browser", given=token)
    if done.returncode != 0:
        raise GatheringError(done.stderr)
    return done.stdout.removesuffix("\n")
