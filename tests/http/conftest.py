"""The application as an ASGI server drives it: whole messages, so that a test can send what no HTTP library would."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from capsvc.authority import Authority
from capsvc.config import Settings
from capsvc.http.app import create_app
from capsvc.token import Token

NOON = 1_795_348_800  # 2026-11-22T12:00:00Z
ATTRIBUTES = {
    "floor": {"type": "integer"},
    "tenant": {"type": "word", "fact": True},
    "seats": {"type": "integer", "fact": True},
    "plan": {"type": "word", "values": ["free", "team"]},
}


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now=NOON):
        self.now = now

    def __call__(self):
        """Unix seconds."""
        return self.now


@dataclass
class Answer:
    """A response: every header, and the body as it came."""

    status: int
    raw_headers: list
    body: bytes
    headers: dict = field(init=False)

    def __post_init__(self):
        self.headers = {name.decode(): value.decode() for name, value in self.raw_headers}
        assert len(self.headers) == len(self.raw_headers), "a header came twice"

    @property
    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)

    @property
    def code(self):
        """The body's code."""
        return self.json["code"]

    @property
    def outcome(self):
        """Status and code, which is what a refusal is known by."""
        return self.status, self.code


class Api:
    """An open application, its clock, and the administrator's credential."""

    def __init__(self, data_dir):
        self.clock = Clock()
        self.settings = Settings(data_dir=data_dir, attributes=ATTRIBUTES)
        self.app = create_app(self.settings, clock=self.clock)
        self.admin = (data_dir / "admin.token").read_text().strip()
        self._runner = asyncio.Runner()

    @property
    def authority(self) -> Authority:
        """What the application opened."""
        return self.app.state.authority

    def close(self):
        """Let go of everything."""
        self._runner.close()
        self.authority.close()

    def send(self, method, target, headers=(), chunks=(b"",), raw_path=None):
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
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8700),
        }
        return self._runner.run(self._drive(scope, list(chunks)))

    async def _drive(self, scope, chunks):
        sent = []
        waiting = [
            {"type": "http.request", "body": chunk, "more_body": n < len(chunks)} for n, chunk in enumerate(chunks, 1)
        ]

        async def receive():
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        await self.app(scope, receive, send)
        start, *rest = sent
        return Answer(start["status"], start["headers"], b"".join(part.get("body", b"") for part in rest))

    def logged(self):
        """Have the access log written."""
        self.app.log.flush()

    def call(self, method, target, body=None, credential=None, headers=()):
        """One ordinary request: a JSON body, the administrator's credential unless another is given ("" for none)."""
        given = [("content-type", "application/json")] if body is not None else []
        credential = self.admin if credential is None else credential
        if credential:
            given.append(("authorization", f"Bearer {credential}"))
        octets = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(method, target, [*given, *headers], [octets])

    def get(self, target, credential=None):
        """An ordinary GET."""
        return self.call("GET", target, credential=credential)

    def post(self, target, body=None, credential=None):
        """An ordinary POST."""
        return self.call("POST", target, body, credential)

    def mint(self, credential=None, **fields):
        """A minted token's answer, which must have succeeded."""
        answer = self.post("/v1/tokens", {"audience": "default", "ttl": 600, **fields}, credential)
        assert answer.status == 201, answer.body
        return answer.json

    def verify(self, token, credential=None, **fields):
        """Verify's answer, which must have been one."""
        answer = self.post("/v1/verify", {"token": token, "audience": "default", **fields}, credential)
        assert answer.status == 200, answer.body
        return answer.json

    def narrowed(self, *caveats):
        """The administrator's credential with more caveats."""
        return str(Token.parse(self.admin).attenuate(*caveats, attributes=ATTRIBUTES))


def _octets(value):
    return value if isinstance(value, bytes) else value.encode()


@pytest.fixture
def api(tmp_path):
    """A fresh service."""
    opened = Api(tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A service for tests that change nothing that another test looks at."""
    opened = Api(tmp_path_factory.mktemp("shared"))
    yield opened
    opened.close()
