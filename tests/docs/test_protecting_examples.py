"""The examples that protect something: each is served as its docstring says, and lets in whom it says."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from capsvc import Authority, Settings, Token, create_app
from capsvc.asgi import EmbeddedVerifier, PrefixVerifier, RemoteVerifier, Verifier

from ..serve.conftest import Service, eventually  # noqa: TID252 - a service is run in one way
from .running import EXAMPLES, PATIENCE, load, serving, started

VERIFIERS = ["embedded", "remote", "prefix"]


class Installation(NamedTuple):
    """A real service in a thread: its address, its data, and the authority itself."""

    url: str
    data: Path
    authority: Authority

    def credential(self, audience: str, *actions: str) -> str:
        """What the docstrings' first commands make of the administrator's token."""
        admin = Token.parse((self.data / "admin.token").read_text().strip())
        return str(admin.attenuate(f"action in {','.join(sorted(actions))}", f"for.audience = {audience}"))

    def verifier(self, kind: str, audience: str) -> Verifier:
        """One of the three, for that audience."""
        if kind == "embedded":
            return EmbeddedVerifier(self.authority)
        if kind == "remote":
            return RemoteVerifier(self.url, self.credential(audience, "tokens:verify"))
        return PrefixVerifier(self.url, self.credential(audience, "tokens:verify", "revocations:read"))


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One for all, with the audiences of the examples."""
    data = tmp_path_factory.mktemp("authority") / "data"
    app = create_app(Settings(data_dir=data))
    for audience in ("newsroom", "chat", "books"):
        app.state.authority.add_audience(audience)
    with serving(app) as url:
        yield Installation(url, data, app.state.authority)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _code(answer: httpx.Response) -> str | int:
    """The code of a refusal, the status of anything else."""
    refused = answer.headers["content-type"] == "application/problem+json"
    code: str = answer.json()["code"] if refused else ""
    return code or answer.status_code


@pytest.mark.parametrize("kind", VERIFIERS)
def test_the_newsroom_has_three_roles(installation: Installation, kind: str) -> None:
    """Editors do all, writers write at their desk, readers read; taking the editor's token away ends all three."""
    editor = Token.parse(installation.authority.mint(audience="newsroom", ttl=300, subject="ada").token)
    writer = editor.attenuate("action in read,write", "path under /sports", ttl=100)
    reader = editor.attenuate("action = read", ttl=100)
    tokens = {"editor": str(editor), "writer": str(writer), "reader": str(reader)}
    asked: list[tuple[str, str, dict[str, str | int]]] = [
        ("PUT", "/sports/final", {"reader": "caveat-refused", "writer": 200, "editor": 200}),
        ("GET", "/sports/final", {"reader": 404, "writer": 404, "editor": 404}),
        ("POST", "/sports/final/publication", {"reader": "caveat-refused", "writer": "caveat-refused", "editor": 200}),
        ("GET", "/sports/final", {"reader": 200, "writer": 200, "editor": 200}),
        ("PUT", "/politics/vote", {"reader": "caveat-refused", "writer": "caveat-refused", "editor": 200}),
    ]
    with serving(load("newsroom").create_service(installation.verifier(kind, "newsroom"))) as url:
        for method, path, answers in asked:
            for role, expected in answers.items():
                answer = httpx.request(method, url + path, headers=_bearer(tokens[role]), json="Three to one.")
                assert _code(answer) == expected, (method, path, role)
        assert answer.json() == {"title": "vote", "by": "ada"}
        assert httpx.get(f"{url}/sports/final").status_code == 401
        assert httpx.get(f"{url}/openapi.json").json()["components"]["securitySchemes"]["capsvc"]["scheme"] == "bearer"
        installation.authority.revoke(token=str(editor))
        for token in tokens.values():
            _until("revoked", "GET", f"{url}/sports/final", token)


def _until(code: str | int, method: str, address: str, token: str) -> None:
    """Ask until that is the answer."""
    deadline = time.monotonic() + PATIENCE
    while (found := _code(httpx.request(method, address, headers=_bearer(token)))) != code:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def test_the_books_know_oauth_alone(installation: Installation) -> None:
    """Scopes are actions; who has none, or is narrowed by what OAuth does not ask about, is refused as OAuth has it."""
    full = Token.parse(
        installation.authority.mint(audience="books", ttl=300, subject="ada", caveats=["action in read,write"]).token
    )
    reader = full.attenuate("action = read")
    scopeless = installation.authority.mint(audience="books", ttl=300).token
    other = installation.authority.mint(audience="chat", ttl=300, caveats=["action in read,write"]).token
    asked = [
        ("GET", str(full), 200, None),
        ("PUT", str(full), 200, None),
        ("GET", str(reader), 200, None),
        ("PUT", str(reader), 403, "insufficient_scope"),
        ("GET", scopeless, 403, "insufficient_scope"),
        ("GET", str(full.attenuate("path under /books")), 401, "invalid_token"),
        ("GET", other, 401, "invalid_token"),
        ("GET", "nonsense", 401, "invalid_token"),
    ]
    service = load("oauth_service").create_service(installation.url, installation.credential("books", "tokens:verify"))
    with serving(service) as url:
        for method, token, status, error in asked:
            answer = httpx.request(method, f"{url}/books/1", headers=_bearer(token))
            assert (answer.status_code, answer.json().get("error")) == (status, error), (method, token)
        assert httpx.get(f"{url}/books/1", headers=_bearer(str(full))).json()["for"] == "ada"
        assert httpx.get(f"{url}/books/1").status_code == 401
        installation.authority.revoke(token=str(full))
        assert httpx.get(f"{url}/books/1", headers=_bearer(str(full))).json()["error"] == "invalid_token"


def test_the_books_admit_nobody_when_there_is_no_decision(installation: Installation) -> None:
    """Neither an authority that refuses the service's credential nor one that does not answer lets anybody in."""
    token = installation.authority.mint(audience="books", ttl=300, caveats=["action = read"]).token
    wrong = installation.credential("books", "tokens:mint")
    for where, credential in ((installation.url, wrong), ("http://127.0.0.1:9", wrong)):
        with serving(load("oauth_service").create_service(where, credential)) as url:
            assert httpx.get(f"{url}/books/1", headers=_bearer(token)).status_code == 503


@contextmanager
def _entered(url: str, room: str, token: str) -> Iterator[ClientConnection]:
    address = f"{url.replace('http', 'ws')}/rooms/{room}"
    with connect(address, additional_headers=_bearer(token), open_timeout=PATIENCE) as connection:
        yield connection


def _refused(url: str, room: str, token: str) -> int:
    """The status with which a handshake ends."""
    with pytest.raises(InvalidStatus) as refused, _entered(url, room, token):
        pass
    return refused.value.response.status_code


@pytest.mark.parametrize("kind", VERIFIERS)
def test_the_chat_ends_with_its_token(installation: Installation, kind: str) -> None:
    """Who is let in hears the others; when one token is revoked that person is out, and everybody else goes on."""
    ada, bo = (installation.authority.mint(audience="chat", ttl=300, subject=who).token for who in ("ada", "bo"))
    harbour = str(Token.parse(ada).attenuate("path under /rooms/harbour"))
    with (
        serving(load("chat").create_service(installation.verifier(kind, "chat"))) as url,
        _entered(url, "harbour", bo) as bos,
        _entered(url, "harbour", harbour) as adas,
    ):
        assert _refused(url, "attic", harbour) == 403
        assert _refused(url, "harbour", "nonsense") == 401
        for who, said, heard in ((adas, "hello", "ada: hello"), (bos, "hi", "bo: hi")):
            who.send(said)
            assert [adas.recv(PATIENCE), bos.recv(PATIENCE)] == [heard] * 2
        installation.authority.revoke(token=ada)
        with pytest.raises(ConnectionClosed) as closed:
            adas.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "revoked")
        assert bos.recv(PATIENCE) == "ada has left"
        bos.send("who was that?")
        assert bos.recv(PATIENCE) == "bo: who was that?"
        assert _refused(url, "harbour", harbour) == 401


@contextmanager
def _edges(where: Path, url: str, credential: Path) -> Iterator[list[str]]:
    """Two processes, as the docstring starts them, on free ports; their addresses."""
    with ExitStack() as stack:
        yield [stack.enter_context(_edge(where / name, url, credential)) for name in ("one", "two")]


@contextmanager
def _edge(where: Path, url: str, credential: Path) -> Iterator[str]:
    where.mkdir()
    command = ["-m", "uvicorn", "--app-dir", str(EXAMPLES), "--no-proxy-headers", "--factory", "edge:create_edge"]
    with started(where, *command, "--port", "0", MAPS_CREDENTIAL=str(credential), CAPSVC_URL=url) as (process, _):

        def listens() -> str:
            errors = (where / "stderr").read_text()
            assert process.poll() is None, errors
            found = re.search(r"running on (http://\S+)", errors)
            return found[1] if found else ""

        yield eventually(listens)


def test_two_edges_and_one_authority(tmp_path: Path) -> None:
    """Both decide by themselves, obey a revocation, admit nobody while they hear nothing, and recover by themselves."""
    data = tmp_path / "data"
    authority = Service(data)
    port = authority.address.port
    try:
        assert authority.ask("POST", "/v1/audiences", {"name": "maps"})[0] == 201
        admin = Token.parse((data / "admin.token").read_text().strip())
        credential = tmp_path / "maps.credential"
        credential.write_text(str(admin.attenuate("action in revocations:read,tokens:verify", "for.audience = maps")))
        ada = Token.parse(authority.mint(audience="maps", subject="ada"))
        bo = authority.mint(audience="maps", subject="bo")
        oslo = str(ada.attenuate("action = read", "path under /maps/oslo"))
        with _edges(tmp_path, authority.url, credential) as edges:

            def at_both(method: str, path: str, token: str, code: str | int) -> None:
                for edge in edges:
                    _until(code, method, edge + path, token)

            at_both("GET", "/maps/oslo", str(ada), 200)
            for path, token, code in (
                ("/maps/oslo", oslo, 200),
                ("/maps/rome", oslo, "caveat-refused"),
                ("/maps/rome", bo, 200),
            ):
                at_both("GET", path, token, code)
            at_both("DELETE", "/maps/oslo", oslo, "caveat-refused")
            at_both("DELETE", "/maps/oslo", bo, 200)
            assert authority.ask("POST", "/v1/revocations", {"token": str(ada)})[0] == 201
            at_both("GET", "/maps/oslo", oslo, "revoked")
            authority.process.kill()
            at_both("GET", "/maps/rome", bo, "unavailable")
            authority.clear_away()
            authority = Service(data, "--port", port)
            at_both("GET", "/maps/rome", bo, 200)
            at_both("GET", "/maps/oslo", oslo, "revoked")
    finally:
        authority.clear_away()
