"""Dischargers that are played: macaroonbakery's own code answers, in the process or on a loopback socket."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from macaroonbakery import bakery, checkers, httpbakery
from pymacaroons import Macaroon

from capsvc.client.errors import ServiceError
from capsvc.client.steps import Ask, Reply, Step, Steps, Visit
from capsvc.macaroon.build import ThirdPartyCaveat, mint
from capsvc.macaroon.bundle import split
from capsvc.macaroon.chain import derive_key, verify
from capsvc.macaroon.decode import decode_binaries, encode
from capsvc.macaroon.discharges import match
from capsvc.macaroon.identifier import Identifier
from capsvc.macaroon.thirdparty import Channel, KeyPair, read_key
from capsvc.token import Token

__all__ = [
    "NOW",
    "Answer",
    "BakeryDischarger",
    "Desk",
    "Request",
    "World",
    "conditional",
    "fixed",
    "matched",
    "play",
    "serving",
]

NOW = 1_790_000_000  # 2026-09-21T14:13:20Z
ROOT_KEY = bytes(range(32))
ISSUER = KeyPair(b"\1" * 32)


def fixed() -> float:
    """A clock that stands still."""
    return NOW


def conditional(*asked: tuple[str, BakeryDischarger], condition: str = "is-user") -> Token:
    """A root whose third-party caveats ask for a condition, each at a location."""
    third_parties = []
    for number, (location, discharger) in enumerate(asked):
        root_key = bytes([number]) * 32
        channel = Channel.of_first_party(ISSUER, read_key(discharger.public_key))
        third_parties.append(ThirdPartyCaveat(location, root_key, channel.seal(root_key, condition)))
    identifier = Identifier("0123456789abcdef", "A" * 22, NOW, 1 + len(asked)).encode()
    return Token.parse(
        mint(ROOT_KEY, "https://tokens.example", identifier, ["time < 2098-01-01T00:00:00Z"], third_parties)
    )


def matched(token: Token, discharges: tuple[Token, ...]) -> int:
    """How many discharges answer their caveats, each one; raises `Denied` if that is not so of all."""
    root, *bound = split(str(token.bind(*discharges)))
    verified = verify(root, derive_key(ROOT_KEY))
    assert verified is not None
    return len(match(verified, bound))


@dataclass(frozen=True)
class Request:
    """What a server saw: parameters of query and form together, headers by lower-case names."""

    method: str
    path: str
    parameters: dict[str, str]
    headers: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """What a server says: an object as JSON, or octets as they are."""

    value: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def octets(self) -> bytes:
        """The body."""
        return self.value if isinstance(self.value, bytes) else json.dumps(self.value).encode()


class _Quiet(ThreadingHTTPServer):
    """A server that says nothing of whoever hangs up."""

    def handle_error(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(answer: Callable[[Request], Answer]) -> Iterator[str]:
    """A server on a free port of loopback, each request in a thread; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def _respond(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", "0"))).decode()
            parameters = dict(parse_qsl(parts.query, keep_blank_values=True)) | dict(parse_qsl(body))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answered = answer(Request(self.command, parts.path, parameters, headers))
            self.send_response(answered.status)
            for name, value in {"content-type": "application/json", **answered.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answered.octets)))
            self.end_headers()
            self.wfile.write(answered.octets)

        do_GET = do_POST = _respond  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    server = _Quiet(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


Caveats = Callable[[str], list[Any]]
"""What a discharger adds to a discharge, from the condition; raises what macaroonbakery's checkers raise."""


class BakeryDischarger:
    """macaroonbakery's own discharging, for one location. ``seen`` keeps the requests for discharges."""

    def __init__(self, caveats: Caveats = lambda _: []) -> None:
        self.key = bakery.generate_key()
        self.caveats = caveats
        self.others = bakery.ThirdPartyStore()
        self.seen: list[Request] = []
        self.before: Callable[[Request], Answer | None] = lambda _: None

    @property
    def public_key(self) -> str:
        """Standard base64."""
        return str(self.key.public_key)

    def knows(self, location: str, other: BakeryDischarger) -> None:
        """Let it ask another one with its discharges."""
        info = bakery.ThirdPartyInfo(public_key=other.key.public_key, version=bakery.LATEST_VERSION)
        self.others.add_info(location, info)

    def __call__(self, request: Request) -> Answer:
        """Answer a request."""
        self.seen.append(request)
        special = self.before(request)
        if special is not None:
            return special
        match request.path:
            case "/discharge":
                return self.discharge(request.parameters)
            case "/discharge/info":
                return self.info()
        return Answer({"Code": "not found", "Message": "no such page"}, 404)

    def info(self) -> Answer:
        """Its public key."""
        return Answer({"PublicKey": self.public_key, "Version": bakery.LATEST_VERSION})

    def discharge(self, parameters: Mapping[str, str]) -> Answer:
        """What macaroonbakery gives or refuses."""
        outer = self

        class Checker(bakery.ThirdPartyCaveatChecker):  # type: ignore[misc]
            def check_third_party_caveat(self, _: Any, info: Any) -> Any:
                return outer.caveats(info.condition)

        try:
            made = httpbakery.discharge(checkers.AuthContext(), dict(parameters), self.key, self.others, Checker())
        except bakery.ThirdPartyCaveatCheckFailed as error:
            return Answer({"Code": "permission denied", "Message": str(error)}, 401)
        except (bakery.VerificationError, ValueError) as error:
            return Answer({"Code": "bad request", "Message": str(error)}, 400)
        return Answer({"Macaroon": made.to_dict()})


class Desk(BakeryDischarger):
    """One that discharges for whoever has shown who he is, by macaroonbakery's protocols.

    ``agents`` are names and public keys; ``urls`` what it sends as its own addresses; a person's visit brings
    ``brings``. ``methods`` are those that it offers.
    """

    def __init__(self, base: str, *methods: str) -> None:
        super().__init__()
        self.methods = methods
        self.agents: dict[str, str] = {}
        self.urls = {
            "login-url": f"{base}/login",
            "VisitURL": f"{base}/visit?visit=v1",
            "WaitTokenURL": f"{base}/wait?wait=w1",
        }
        self.brings: Any = {"kind": "browser-window", "token64": base64.b64encode(b"\xfftoken").decode()}
        self.oven = bakery.Bakery(key=self.key)
        self.login = [bakery.Op(entity="agent", action="login")]
        self.version = bakery.LATEST_VERSION

    def __call__(self, request: Request) -> Answer:
        """Answer a request."""
        self.seen.append(request)
        special = self.before(request)
        if special is not None:
            return special
        match request.path:
            case "/discharge":
                return self.discharge(request.parameters) if self.knows_who(request) else self.asks_who()
            case "/discharge/info":
                return self.info()
            case "/login":
                return self.logs_in(request.parameters)
            case "/wait":
                return Answer(self.brings)
        return Answer({"Code": "not found", "Message": "no such page"}, 404)

    def asks_who(self) -> Answer:
        """Want an interaction."""
        offers = {
            "agent": {"login-url": self.urls["login-url"]},
            "browser-window": {name: self.urls[name] for name in ("VisitURL", "WaitTokenURL")},
        }
        methods = {name: offers.get(name, {}) for name in self.methods}
        info = {"InteractionMethods": methods}
        return Answer({"Code": "interaction required", "Message": "who is there?", "Info": info}, 401)

    def logs_in(self, parameters: Mapping[str, str]) -> Answer:
        """Give an agent its macaroon to complete."""
        if self.agents.get(parameters["username"]) != parameters["public-key"]:
            return Answer({"Code": "permission denied", "Message": "no such agent"}, 401)
        caveats = [bakery.local_third_party_caveat(parameters["public-key"], version=self.version)]
        macaroon = self.oven.oven.macaroon(self.version, datetime(2098, 1, 1), caveats, self.login)  # noqa: DTZ001 - bakery's
        return Answer({"macaroon": macaroon.to_dict()})

    def knows_who(self, request: Request) -> bool:
        """Whether the token that a request shows is right."""
        value = base64.b64decode(request.parameters.get("token64", ""))
        match request.parameters.get("token-kind"):
            case "agent":
                macaroons = [Macaroon.deserialize(encode(one)) for one in decode_binaries(value)]
                self.oven.checker.auth([macaroons]).allow(checkers.AuthContext(), self.login)
                return True
            case None:
                return False
            case kind:
                return kind == self.brings["kind"] and value == b"\xfftoken"


@dataclass
class World:
    """Servers by their addresses, without a network; what was asked and visited, in order."""

    servers: dict[str, Callable[[Request], Answer]] = field(default_factory=dict)
    asked: list[Ask] = field(default_factory=list)
    visited: list[Visit] = field(default_factory=list)

    def result(self, step: Step) -> Reply | None:
        """What comes of a step; raises `ServiceError` where nobody is."""
        if isinstance(step, Visit):
            self.visited.append(step)
            return None
        self.asked.append(step)
        parts = urlsplit(step.url)
        method = "GET" if step.form is None else "POST"
        parameters = dict(parse_qsl(parts.query)) | dict(step.form or {})
        for base, server in self.servers.items():
            if step.url.startswith(f"{base}/"):
                path = step.url.removeprefix(base).partition("?")[0]
                answered = server(Request(method, path, parameters, {}))
                media_type = answered.headers.get("content-type", "application/json")
                return Reply(answered.status, media_type, answered.octets)
        raise ServiceError(None, "unavailable", f"{parts.netloc}: nobody there")


T = TypeVar("T")


def play(steps: Steps[T], world: World) -> T:
    """Carry out a gathering in a world without a network."""
    try:
        step = next(steps)
        while True:
            try:
                result = world.result(step)
            except ServiceError as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as over:
        returned: T = over.value
        return returned
