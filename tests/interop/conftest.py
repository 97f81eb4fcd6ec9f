"""The two libraries, a discharger of each, and what a client needs to log in."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from macaroonbakery import bakery

from ..acceptance.conftest import CONFIG, ROOT, environment  # noqa: TID252 - a service is run in one way
from ..required import missing  # noqa: TID252 - what all folders share
from .libraries import AGENT, Discharger, Library
from .ours import PERSON, OurDischarger
from .service import Service

HERE = Path(__file__).parent
GOPATH = Path("/usr/share/gocode")
BAKERY = GOPATH / "src/github.com/go-macaroon-bakery/macaroon-bakery"
PRINCIPALS = """
[principals.NAME]
public_keys = ["KEY"]
conditions = ["may-deploy photos"]
declare = { username = "NAME", team = "Night shift" }
"""
PATIENCE = 240  # seconds: the first build on a machine compiles everything below it

LIBRARIES = ("python", "go")


@pytest.fixture(scope="session")
def python() -> Library:
    """Python's macaroonbakery."""
    return Library("python", (sys.executable, str(HERE / "peer.py")))


def has_go() -> bool:
    """Whether Go and the sources of its macaroon-bakery are installed."""
    return shutil.which("go") is not None and BAKERY.is_dir()


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Go's macaroon-bakery, built once for all workers."""
    if not has_go():
        missing("apt-get install golang-go golang-github-go-macaroon-bakery-macaroon-bakery-dev")
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


AgentFile = Callable[..., Path]


@pytest.fixture(scope="session")
def robot() -> Any:
    """The agent's key pair, as Python's library has it."""
    return bakery.generate_key()


@pytest.fixture
def agent_file(tmp_path: Path, robot: Any) -> AgentFile:
    """Bakery's file of the agent's key, by the URL of the discharger that knows him; or with a key of somebody else."""

    def make(url: str, key: Any = robot) -> Path:
        pair = {"public": str(key.public_key), "private": str(key)}
        file = tmp_path / f"agent-{len(list(tmp_path.iterdir()))}.json"
        file.touch(0o600)
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


@pytest.fixture(params=[*LIBRARIES, "auth"])
def gather(request: pytest.FixtureRequest) -> Gather:
    """Makes a bundle of a token, by each library's client and by ours in turn."""
    return _gather(request, request.param)


@pytest.fixture(params=[*LIBRARIES, "auth", "command"])
def gather_by_all(request: pytest.FixtureRequest) -> Gather:
    """Makes a bundle of a token, by our command line too."""
    return _gather(request, request.param)


def _gather(request: pytest.FixtureRequest, by: str) -> Gather:
    if by in LIBRARIES:
        found: Library = request.getfixturevalue(by)
        return found.gather
    service: Service = request.getfixturevalue("service")
    return service.by_auth if by == "auth" else service.by_command


@pytest.fixture(scope="session")
def trust(request: pytest.FixtureRequest, service: Service) -> tuple[str, ...]:
    """The first parties that our dischargers answer: the service, and others' dischargers that send on to ours."""
    others = [f"{name}_discharger" for name in LIBRARIES if name != "go" or has_go()]
    return service.public_key, *(request.getfixturevalue(name).public_key for name in others)


@pytest.fixture(scope="session")
def static(tmp_path_factory: pytest.TempPathFactory, trust: tuple[str, ...], robot: Any) -> Iterator[OurDischarger]:
    """Our discharger for machines, which knows the agent."""
    where = tmp_path_factory.mktemp("static")
    (where / "principals.toml").write_text(PRINCIPALS.replace("NAME", AGENT).replace("KEY", str(robot.public_key)))
    discharger = OurDischarger(where, "static", "--principals", "principals.toml", trust=trust)
    yield discharger
    discharger.close()


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory, trust: tuple[str, ...]) -> Iterator[OurDischarger]:
    """Our discharger for people, which knows `PERSON`."""
    where = tmp_path_factory.mktemp("session")
    discharger = OurDischarger(where, "session", "--users", "users", trust=trust, users=[PERSON])
    yield discharger
    discharger.close()
