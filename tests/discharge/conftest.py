"""A discharger with a checker of a few conditions, served on 127.0.0.1, and a first party that it trusts."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp

from capsvc.discharge import Answer, Declared, Interaction, KeyPair, Refused, create_discharger
from capsvc.macaroon.chain import derive_key, verify
from capsvc.macaroon.decode import UnverifiedMacaroon
from capsvc.macaroon.encoding import b64encode
from capsvc.macaroon.formats import read_v2json
from capsvc.macaroon.thirdparty import Channel, key_text

NOON = 1_795_348_800  # 2026-11-22T12:00:00Z
PATIENCE = 60  # seconds: a loaded machine is slow
ROOT_KEY = b"r" * 24  # as bakery has them


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def __call__(self) -> int:
        """Unix seconds."""
        return self.now


async def checker(condition: str, request: Request) -> Answer:
    """Hold one condition true, another false, a third for whoever has logged in."""
    match condition:
        case "holds":
            return Declared({"colour": "green", "size": "2 m"})
        case "somebody":
            user = request.state.user
            return Interaction() if user is None else Declared({"username": user})
    return Refused("it does not hold")


class Discharger:
    """A discharger that runs: its ``location`` and ``app``, its ``key``, its ``clock``, its ``first`` party."""

    def __init__(self, location: str, **options: Any) -> None:
        self.location = location
        self.key: KeyPair = options.pop("key", None) or KeyPair.generate()
        self.first = KeyPair.generate()
        self.clock = options.pop("clock", None) or Clock()
        trust: dict[str, Any] = (
            {} if "allow_any" in options or "trust" in options else {"trust": [key_text(self.first.public)]}
        )
        self.app = create_discharger(
            options.pop("checker", checker), key=self.key, location=location, clock=self.clock, **trust, **options
        )
        self.http = httpx.Client(base_url=location, timeout=PATIENCE)

    def caveat(self, condition: str = "holds", first: KeyPair | None = None) -> bytes:
        """A caveat id for it, under `ROOT_KEY`."""
        return Channel.of_first_party(first or self.first, self.key.public).seal(ROOT_KEY, condition)

    def ask(self, caveat: bytes, **parameters: str) -> httpx.Response:
        """Ask for a discharge, as a program does; ``token_kind`` is the parameter of that name with a hyphen."""
        data = {"id64": b64encode(caveat), **{name.replace("_", "-"): text for name, text in parameters.items()}}
        return self.http.post("/discharge", data=data)


def discharged(answer: httpx.Response, root_key: bytes = ROOT_KEY) -> UnverifiedMacaroon:
    """The discharge in an answer, which is of bakery's shape and signed with the caveat's root key."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"Macaroon"}
    assert body["Macaroon"].keys() == {"m", "v", "ns"}
    assert (body["Macaroon"]["v"], body["Macaroon"]["ns"]) == (3, "std:")
    text = answer.text.partition('"m": ')[2].rpartition(', "v": 3')[0]
    macaroon = read_v2json(text)
    assert verify(macaroon, derive_key(root_key)) is not None
    return macaroon


def caveats(macaroon: UnverifiedMacaroon) -> list[str]:
    """Its caveats as text."""
    return [caveat.cid.decode() for caveat in macaroon.caveats]


def refused(answer: httpx.Response, status: int, code: str) -> str:
    """The message of an answer that is bakery's error, whose status and code are these."""
    assert (answer.status_code, answer.json()["Code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert ("Info" in answer.json()) == (code == "interaction required")
    assert answer.headers.get("www-authenticate") == ("Macaroon" if code == "interaction required" else None)
    message = answer.json()["Message"]
    assert isinstance(message, str)
    assert message.isprintable()
    return message


def eventually(condition: Callable[[], Any]) -> Any:
    """The first true value of something that takes a moment."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return value


@contextmanager
def listening(app: Callable[[str], ASGIApp]) -> Iterator[str]:
    """Serve what ``app`` makes for an address, in a thread; end it by itself."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = f"http://127.0.0.1:{sock.getsockname()[1]}"
        config = uvicorn.Config(
            app(address), log_config=None, access_log=False, lifespan="off", ws="none", proxy_headers=False
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        try:
            eventually(lambda: server.started)
            yield address
        finally:
            server.should_exit = True
            thread.join()


Serve = Callable[..., Discharger]


def _serve(held: ExitStack, **options: Any) -> Discharger:
    made: list[Discharger] = []

    def app(address: str) -> ASGIApp:
        made.append(Discharger(address, **options))
        held.callback(made[0].http.close)
        return made[0].app

    held.enter_context(listening(app))
    return made[0]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve a discharger: ``serve(ttl=60, logins=[…])``, with what `create_discharger` takes."""
    with ExitStack() as held:
        yield lambda **options: _serve(held, **options)


@pytest.fixture(scope="module")
def plain() -> Iterator[Discharger]:
    """One with nothing special and no login, for all tests of a module; its clock stands at `NOON`."""
    with ExitStack() as held:
        yield _serve(held)
