"""Each example runs as its docstring says, and does what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from capsvc import Settings, Token, create_app
from capsvc.client import Client
from capsvc.errors import STATUS

from .running import load, run, serving


def test_the_building_pass() -> None:
    """Each door opens or refuses as the story says, and the revocation in the middle spares what is above it."""
    told = [tuple(part.strip() for part in line.split(":  ")) for line in run("building_pass.py")]
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
    for line in run("access_levels.py"):
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
    with serving(app) as url:
        yield url, (tmp_path / "data" / "admin.token").read_text().strip()


def test_the_invoice_service_asks_for_every_request(authority: tuple[str, str]) -> None:
    """It lets in whom the authority allows, refuses others by the authority's code, and admits nobody without it."""
    url, admin = authority
    credential = str(Token.parse(admin).attenuate("action in tokens:verify", "for.audience = invoices"))
    service = load("invoice_service").create_service(url, credential)
    with Client(url, admin) as client, serving(service) as invoices:
        token = client.mint(audience="invoices", ttl=300, subject="ada", caveats=["path under /invoices"]).token
        reader = str(Token.parse(token).attenuate("action = read"))
        other = client.mint(audience="default", ttl=300, subject="ada").token
        asked = [
            ("GET", "/invoices/7", reader, 200, '{"invoice":7,"for":"ada"}'),
            ("HEAD", "/invoices/7", reader, 200, ""),
            ("PUT", "/invoices/7", reader, 403, "caveat-refused"),
            ("PUT", "/invoices/7", token, 200, '{"invoice":7,"for":"ada"}'),
            ("GET", "/invoices/%37", reader, 403, "context-invalid"),
            ("GET", "/invoices/7", other, 401, "wrong-audience"),
            ("GET", "/invoices/7", "nonsense", 401, "malformed"),
        ]
        for method, path, bearer, status, text in asked:
            answer = httpx.request(method, invoices + path, headers={"Authorization": f"Bearer {bearer}"})
            assert (answer.status_code, answer.text) == (status, text), (method, path)
        assert httpx.get(invoices + "/invoices/7").status_code == 401
        twice = httpx.Headers([("Authorization", f"Bearer {reader}"), ("Authorization", f"Bearer {token}")])
        assert httpx.get(invoices + "/invoices/7", headers=twice).status_code == 401
        client.revoke(token=token)
        answer = httpx.get(invoices + "/invoices/7", headers={"Authorization": f"Bearer {reader}"})
        assert (answer.status_code, answer.text) == (401, "revoked")
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_the_invoice_service_answers_as_the_rules_have_it() -> None:
    """Each code of a decision has the status that the middleware gives it."""
    refused = load("invoice_service")._refused
    decisions = {code: status for code, status in STATUS.items() if status in {401, 403, 503}}
    asked = decisions.keys() - {"credential-missing", "forbidden"}  # of the service's own credential
    assert {code: refused(code).status_code for code in asked} == {code: decisions[code] for code in asked}


def test_the_invoice_service_admits_nobody_when_there_is_no_decision(authority: tuple[str, str]) -> None:
    """Neither an authority that refuses the service's credential nor one that does not answer lets anybody in."""
    url, admin = authority
    with Client(url, admin) as client:
        token = client.mint(audience="invoices", ttl=300).token
    narrow = str(Token.parse(admin).attenuate("for.audience = other"))
    for where, credential in ((url, narrow), ("http://127.0.0.1:9", admin)):
        app = load("invoice_service").create_service(where, credential)
        assert asyncio.run(_status(app, token)) == 503


async def _status(app: ASGIApp, token: str) -> int:
    async with (
        app.router.lifespan_context(app),  # type: ignore[attr-defined]
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://invoices") as client,
    ):
        answer = await client.get("/invoices/7", headers={"Authorization": f"Bearer {token}"})
        return answer.status_code
