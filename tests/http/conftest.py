"""The application as an ASGI server drives it: whole messages, so that a test can send what no HTTP library would."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Scope

from capsvc.authority import Authority
from capsvc.config import Settings
from capsvc.http.app import create_app
from capsvc.macaroon.build import bind, discharge
from capsvc.macaroon.decode import UnverifiedMacaroon, decode
from capsvc.macaroon.thirdparty import Channel, KeyPair, asked_names, key_text, read_parties
from capsvc.token import Token

Header = tuple[str, str | bytes]
"""A header as a test writes it; octets where text could not say it."""

NOON = 1_795_348_800  # 2026-11-22T12:00:00Z
ATTRIBUTES: dict[str, dict[str, object]] = {
    "floor": {"type": "integer"},
    "tenant": {"type": "word", "fact": True},
    "seats": {"type": "integer", "fact": True},
    "plan": {"type": "word", "values": ["free", "team"]},
}


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def __call__(self) -> int:
        """Unix seconds."""
        return self.now


@dataclass
class Answer:
    """A response: every header, and the body as it came."""

    status: int
    raw_headers: list[tuple[bytes, bytes]]
    body: bytes
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = {name.decode(): value.decode() for name, value in self.raw_headers}
        assert len(self.headers) == len(self.raw_headers), "a header came twice"

    @property
    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)

    @property
    def code(self) -> Any:
        """The body's code."""
        return self.json["code"]

    @property
    def outcome(self) -> tuple[int, Any]:
        """Status and code, which is what a refusal is known by."""
        return self.status, self.code


class Api:
    """An open application, its clock, and the administrator's credential."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        self.clock = Clock()
        self.settings = Settings(data_dir=data_dir, **{"attributes": ATTRIBUTES, **settings})
        self.peer: tuple[str, int] | None = ("127.0.0.1", 1)
        # Tests look into what the application adds to a Starlette: its log, its routes' resources.
        self.app: Any = create_app(self.settings, clock=self.clock)
        self.admin = (data_dir / "admin.token").read_text().strip()
        self._runner = asyncio.Runner()

    @property
    def authority(self) -> Authority:
        """What the application opened."""
        authority: Authority = self.app.state.authority
        return authority

    def close(self) -> None:
        """Let go of everything."""
        self._runner.close()
        self.authority.close()

    def send(
        self,
        method: str,
        target: str,
        headers: Sequence[Header] = (),
        chunks: Sequence[bytes] = (b"",),
        raw_path: bytes | None = None,
    ) -> Answer:
        """One request; ``chunks`` are the body's messages."""
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode() if raw_path is None else raw_path,
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), _octets(value)) for name, value in headers],
            "client": self.peer,
            "server": ("127.0.0.1", 8700),
        }
        return self._runner.run(self._drive(scope, list(chunks)))

    async def _drive(self, scope: Scope, chunks: list[bytes]) -> Answer:
        sent: list[Message] = []
        waiting: list[Message] = [
            {"type": "http.request", "body": chunk, "more_body": n < len(chunks)} for n, chunk in enumerate(chunks, 1)
        ]

        async def receive() -> Message:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, *rest = sent
        return Answer(start["status"], start["headers"], b"".join(part.get("body", b"") for part in rest))

    def logged(self) -> None:
        """Have the access log written."""
        self.app.log.flush()

    def call(
        self, method: str, target: str, body: Any = None, credential: str | None = None, headers: Sequence[Header] = ()
    ) -> Answer:
        """One ordinary request: a JSON body, the administrator's credential unless another is given ("" for none)."""
        given: list[Header] = [("content-type", "application/json")] if body is not None else []
        credential = self.admin if credential is None else credential
        if credential:
            given.append(("authorization", f"Bearer {credential}"))
        octets = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(method, target, [*given, *headers], [octets])

    def get(self, target: str, credential: str | None = None) -> Answer:
        """An ordinary GET."""
        return self.call("GET", target, credential=credential)

    def post(self, target: str, body: Any = None, credential: str | None = None) -> Answer:
        """An ordinary POST."""
        return self.call("POST", target, body, credential)

    def mint(self, credential: str | None = None, **fields: Any) -> Any:
        """A minted token's answer, which must have succeeded."""
        answer = self.post("/v1/tokens", {"audience": "default", "ttl": 600, **fields}, credential)
        assert answer.status == 201, answer.body
        return answer.json

    def verify(self, token: str, credential: str | None = None, **fields: Any) -> Any:
        """Verify's answer, which must have been one."""
        answer = self.post("/v1/verify", {"token": token, "audience": "default", **fields}, credential)
        assert answer.status == 200, answer.body
        return answer.json

    def narrowed(self, *caveats: str) -> str:
        """The administrator's credential with more caveats."""
        return str(Token.parse(self.admin).attenuate(*caveats, attributes=ATTRIBUTES))


class Party:
    """A third party: registers itself, asks, and answers what was sealed for it."""

    def __init__(self, name: str = "login", location: str | None = None, pair: KeyPair | None = None) -> None:
        self.name = name
        self.location = f"https://{name}.example.org" if location is None else location
        self.pair = KeyPair.generate() if pair is None else pair
        self.public_key = key_text(self.pair.public)

    @property
    def body(self) -> dict[str, Any]:
        """The request that registers it."""
        return {"name": self.name, "location": self.location, "public_key": self.public_key}

    def registered(self, api: Api, **fields: Any) -> "Party":
        """Itself, once it is registered."""
        answer = api.post("/v1/dischargers", {**self.body, **fields})
        assert answer.status == 201, answer.body
        return self

    def asks(self, condition: str = "is-known", *names: str) -> dict[str, Any]:
        """The third-party caveat that a minter asks for."""
        return {"location": self.location, "condition": condition, **({"declare": [*names]} if names else {})}

    def discharges(self, token: str, **declared: str) -> list[UnverifiedMacaroon]:
        """Unbound discharges of all that a token asks of it, which declare what was asked for, or what is given."""
        made: list[UnverifiedMacaroon] = []
        for caveat in decode(token).caveats:
            if caveat.vid is None:
                continue
            _, first_party = read_parties(caveat.cid)
            sealed = Channel.of_third_party(self.pair, first_party).open(caveat.cid)
            if sealed is not None:
                names, _ = asked_names(sealed.condition.decode())
                stated = [
                    f"declared {name} {value}" for name, value in ({**dict.fromkeys(names, ""), **declared}).items()
                ]
                made.append(discharge(sealed.root_key, self.location, caveat.cid, stated))
        return made

    def bundle(self, token: str, **declared: str) -> str:
        """A token with its answers, bound."""
        return bind(decode(token), self.discharges(token, **declared))


def _octets(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """A fresh service."""
    opened = Api(tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A service for tests that change nothing that another test looks at."""
    opened = Api(tmp_path_factory.mktemp("shared"))
    yield opened
    opened.close()
