"""One FastAPI application behind the middleware, under each verifier, on real servers; the authority beside it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp

from capsvc.asgi import CapsvcMiddleware, EmbeddedVerifier, PrefixVerifier, RemoteVerifier, Verifier
from capsvc.authority import Authority
from capsvc.config import Settings
from capsvc.http.app import create_app
from capsvc.token import Token

from .application import application

NOON = 1_795_348_800  # 2026-11-22T12:00:00Z
PATIENCE = 60  # seconds: a loaded machine is slow
RECHECK = 0.02  # seconds
ATTRIBUTES: dict[str, dict[str, object]] = {
    "floor": {"type": "integer"},
    "album": {"type": "word"},
    "tenant": {"type": "word", "fact": True},
}
VERIFIERS = ("embedded", "remote", "prefix")
PARSERS = ("h11", "httptools")


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        """Unix seconds."""
        return self.now


def eventually(condition: Callable[[], Any]) -> Any:
    """The first true value of something that takes a moment."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)
    return value


@contextmanager
def serving(make: Callable[[str], Any], **options: Any) -> Iterator[str]:
    """Serve what is made for an address on 127.0.0.1, in a thread, with uvicorn's defaults but for what is given."""
    with socket.create_server(("127.0.0.1", options.pop("port", 0))) as sock:
        address = f"http://127.0.0.1:{sock.getsockname()[1]}"
        config = uvicorn.Config(
            make(address), **{"log_config": None, "access_log": False, "proxy_headers": False, **options}
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        try:
            eventually(lambda: server.started or not thread.is_alive())
            assert server.started, "the application did not start"
            yield address
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


@dataclass
class Heard:
    """A response as it came."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)

    @property
    def outcome(self) -> tuple[int, str]:
        """Status and code; every refusal is one problem of the service's shape, with its challenge."""
        if self.status < 400:
            return self.status, ""
        body = self.json
        assert self.headers["content-type"] == "application/problem+json"
        assert self.headers["cache-control"] == "no-store"
        assert self.headers["x-content-type-options"] == "nosniff"
        assert body["status"] == self.status
        challenges = self.headers.get_list("www-authenticate")
        assert len(challenges) == (1 if self.status in {401, 403} else 0)
        if challenges:
            error = {401: 'error="invalid_token"', 403: 'error="insufficient_scope"'}[self.status]
            assert challenges[0].startswith('Bearer realm="capsvc"')
            assert (error in challenges[0]) == (body["code"] != "credential-missing")
        assert ("retry-after" in self.headers) == (self.status in {429, 503})
        return self.status, body["code"]


@dataclass
class Office:
    """The authority and the service that it answers through: its ``url``, its ``clock``, its ``credential``."""

    authority: Authority
    url: str
    clock: Clock
    credential: str
    app: Any

    def mint(self, *caveats: str, ttl: int = 3600, **fields: Any) -> str:
        """A token for ``default``, of alice, with these caveats of the issuer's."""
        given = {"audience": "default", "ttl": ttl, "subject": "alice", "caveats": caveats, **fields}
        return self.authority.mint(**given).token

    def verifier(self, kind: str, **options: Any) -> Verifier:
        """A verifier by its name."""
        if kind == "embedded":
            return EmbeddedVerifier(self.authority, recheck=RECHECK, **options)
        if kind == "remote":
            return RemoteVerifier(
                self.url, self.credential, recheck=RECHECK, clock=self.clock, timeout=PATIENCE, **options
            )
        verifier = PrefixVerifier(
            self.url, self.credential, clock=self.clock, revocation_max_lag=10.0, timeout=PATIENCE, **options
        )
        verifier.recheck = RECHECK
        return verifier


@contextmanager
def an_office(where: Path, **options: Any) -> Iterator[Office]:
    """A service that runs."""
    clock = Clock()
    app = create_app(Settings(data_dir=where, attributes=ATTRIBUTES), clock=clock)
    with serving(lambda _: app, ws="none", **options) as url:
        yield Office(app.state.authority, url, clock, (where / "admin.token").read_text().strip(), app)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """A service of a test's own."""
    with an_office(tmp_path / "data") as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """A service for tests that change nothing that another looks at; its clock stands still."""
    with an_office(tmp_path_factory.mktemp("office") / "data") as opened:
        yield opened


@dataclass
class Guarded:
    """An application that runs behind the middleware, and its authority."""

    url: str
    office: Office
    http: httpx.Client = field(repr=False)

    def ask(self, method: str, target: str, token: str | None = None, **headers: Any) -> Heard:
        """One request with a Bearer token, if one is given."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        answer = self.http.request(method, target, headers=sent)
        return Heard(answer.status_code, answer.headers, answer.content)

    def get(self, target: str, token: str | None = None, **headers: Any) -> Heard:
        """A GET."""
        return self.ask("GET", target, token, **headers)

    def outcome(self, target: str, token: str | None = None, method: str = "GET") -> tuple[int, str]:
        """Status and code of a request."""
        return self.ask(method, target, token).outcome

    def raw(self, octets: bytes) -> Heard:
        """Send octets, and read the one answer that they get; the connection ends with it."""
        place = urlsplit(self.url)
        with socket.create_connection((place.hostname, place.port), PATIENCE) as connection:
            connection.sendall(octets)
            parts = []
            while part := connection.recv(65_536):
                parts.append(part)
        head, _, body = b"".join(parts).partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        return Heard(int(first.split(" ")[1]), httpx.Headers(pairs), body)

    def send(
        self, target: str, token: str | None, *lines: str | bytes, version: str = "1.1", host: str | None = "localhost"
    ) -> Heard:
        """A GET whose target and header lines are sent as they are."""
        head = [f"GET {target} HTTP/{version}".encode("latin-1")]
        head += [] if host is None else [f"Host: {host}".encode("latin-1")]
        head += [] if token is None else [f"Authorization: Bearer {token}".encode("latin-1")]
        head += [line.encode("latin-1") if isinstance(line, str) else line for line in lines]
        return self.raw(b"\r\n".join([*head, b"Connection: close", b"", b""]))


@contextmanager
def guarding(app: ASGIApp, office: Office, **options: Any) -> Iterator[Guarded]:
    """Serve an application that has its middleware already."""
    with (
        serving(lambda _: app, **options) as url,
        httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as http,
    ):
        yield Guarded(url, office, http)


Guard = Callable[..., Guarded]


@pytest.fixture
def guard() -> Iterator[Guard]:
    """Serve an application behind the middleware: ``guard(office, app, verifier="remote", optional=True)``."""
    with ExitStack() as held:

        def start(
            office: Office,
            app: Any = None,
            verifier: str | Verifier = "embedded",
            server: Mapping[str, Any] = {},
            **options: Any,
        ) -> Guarded:
            made: Any = application() if app is None else app
            judge = office.verifier(verifier) if isinstance(verifier, str) else verifier
            given = {"audience": "default", "clock": office.clock, **options}
            guarded: AbstractContextManager[Guarded] = guarding(
                CapsvcMiddleware(made, verifier=judge, **given), office, **server
            )
            return held.enter_context(guarded)

        yield start


@pytest.fixture(params=VERIFIERS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each verifier in turn, by name."""
    found: str = request.param
    return found


@pytest.fixture(scope="session", params=[(kind, parser) for kind in VERIFIERS for parser in PARSERS], ids="-".join)
def guarded(request: pytest.FixtureRequest, shared_office: Office) -> Iterator[Guarded]:
    """The application under each verifier and each of uvicorn's parsers, for tests that change nothing."""
    verifier, parser = request.param
    app = application()
    app.add_middleware(
        CapsvcMiddleware,
        verifier=shared_office.verifier(verifier),
        audience="default",
        exempt=["/open", "/assets/"],
        trusted_proxies=["127.0.0.1"],
        clock=shared_office.clock,
    )
    ws = {"h11": "wsproto", "httptools": "websockets-sansio"}[parser]
    with guarding(app, shared_office, http=parser, ws=ws) as running:
        yield running


def narrowed(token: str, *caveats: str, **options: Any) -> str:
    """A token, as its holder narrows it."""
    return str(Token.parse(token).attenuate(*caveats, attributes=ATTRIBUTES, **options))
