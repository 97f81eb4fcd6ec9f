"""Each example runs as its docstring says, and does what it says."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp

from capsvc import Settings, Token, create_app
from capsvc.client import Client

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def _run(name: str) -> list[str]:
    """The lines that an example writes as a program of its own."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _serving(app: ASGIApp) -> Iterator[str]:
    """The application on a free port of this machine, in a thread; its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="on"))
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


def test_every_example_has_a_test() -> None:
    """No example is left to itself."""
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {"building_pass", "access_levels", "invoice_service"}


def test_the_building_pass() -> None:
    """Each door opens or refuses as the story says, and the revocation in the middle spares what is above it."""
    told = [tuple(part.strip() for part in line.split(":  ")) for line in _run("building_pass.py")]
    assert told == [
        ("all floors, floor 7", "opens"),
        ("floor 1, floor 1", "opens"),
        ("floor 1, floor 2", "caveat-refused: floor = 1"),
        ("daytime, in the morning", "opens"),
        ("daytime, in the evening", "caveat-refused: clock < 17:00"),
        ("room 101, room 101", "opens"),
        ("room 101, room 102", "caveat-refused: room = 101"),
        ("daytime revoked, room 101", "revoked"),
        ("daytime revoked, daytime", "revoked"),
        ("daytime revoked, floor 1", "opens"),
    ]


def test_the_access_levels() -> None:
    """Admin may all, invoice what is under its path, readonly read, and both together read what is under the path."""
    level, answers = "", {"": ""}
    for line in _run("access_levels.py"):
        if line.startswith(" "):
            answers[level] += line.split()[0][0]
        else:
            level = line.rstrip(":")
            answers[level] = ""
    assert answers == {
        "": "",
        "admin": "yyyy",
        "invoice": "nyyn",
        "readonly": "yynn",
        "invoice, readonly, 5 minutes": "nynn",
    }


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A real service with the audience `invoices`: its address and the administrator's credential."""
    app = create_app(Settings(data_dir=tmp_path / "data"))
    app.state.authority.add_audience("invoices")
    with _serving(app) as url:
        yield url, (tmp_path / "data" / "admin.token").read_text().strip()


def test_the_invoice_service_asks_for_every_request(authority: tuple[str, str]) -> None:
    """It lets in whom the authority allows, refuses others by the authority's code, and admits nobody without it."""
    url, admin = authority
    credential = str(Token.parse(admin).attenuate("action in tokens:verify", "for.audience = invoices"))
    service = _load("invoice_service").create_service(url, credential)
    with Client(url, admin) as client, _serving(service) as invoices:
        token = client.mint(audience="invoices", ttl=300, subject="ada", caveats=["path under /invoices"]).token
        reader = str(Token.parse(token).attenuate("action = read"))
        other = client.mint(audience="default", ttl=300, subject="ada").token
        asked = [
            ("GET", "/invoices/7", reader, 200, '{"invoice":7,"for":"ada"}'),
            ("HEAD", "/invoices/7", reader, 200, ""),
            ("PUT", "/invoices/7", reader, 403, "caveat-refused"),
            ("PUT", "/invoices/7", token, 200, '{"invoice":7,"for":"ada"}'),
            ("GET", "/invoices/%37", reader, 403, "context-invalid"),
            ("GET", "/invoices/7", other, 403, "wrong-audience"),
            ("GET", "/invoices/7", "nonsense", 403, "malformed"),
        ]
        for method, path, bearer, status, text in asked:
            answer = httpx.request(method, invoices + path, headers={"Authorization": f"Bearer {bearer}"})
            assert (answer.status_code, answer.text) == (status, text), (method, path)
        assert httpx.get(invoices + "/invoices/7").status_code == 401
        twice = httpx.Headers([("Authorization", f"Bearer {reader}"), ("Authorization", f"Bearer {token}")])
        assert httpx.get(invoices + "/invoices/7", headers=twice).status_code == 401
        client.revoke(token=token)
        answer = httpx.get(invoices + "/invoices/7", headers={"Authorization": f"Bearer {reader}"})
        assert (answer.status_code, answer.text) == (403, "revoked")


def test_the_invoice_service_admits_nobody_when_there_is_no_decision(authority: tuple[str, str]) -> None:
    """Neither an authority that refuses the service's credential nor one that does not answer lets anybody in."""
    url, admin = authority
    with Client(url, admin) as client:
        token = client.mint(audience="invoices", ttl=300).token
    narrow = str(Token.parse(admin).attenuate("for.audience = other"))
    for where, credential in ((url, narrow), ("http://127.0.0.1:9", admin)):
        app = _load("invoice_service").create_service(where, credential)
        assert asyncio.run(_status(app, token)) == 503


async def _status(app: ASGIApp, token: str) -> int:
    async with (
        app.router.lifespan_context(app),  # type: ignore[attr-defined]
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://invoices") as client,
    ):
        answer = await client.get("/invoices/7", headers={"Authorization": f"Bearer {token}"})
        return answer.status_code
