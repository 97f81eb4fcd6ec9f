"""`Client` and `AsyncClient`: the same requests, results and errors."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import pickle
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from capsvc.client import AsyncClient, Client, Denied, ServiceError, messages
from capsvc.client.messages import ANSWER_OCTETS
from capsvc.errors import TokenError
from capsvc.grants import Grant, Minted, Revocation

from .conftest import CREDENTIAL, DENIED, GRANTED, MINTED, REVOKED, Played

URL = "https://tokens.example.org"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

Call = Callable[[Any], Any]
Run = Callable[[Played, Call], Any]


def _sync(service: Played, call: Call) -> Any:
    with Client(URL, CREDENTIAL, transport=httpx.MockTransport(service)) as client:
        return call(client)


def _async(service: Played, call: Call) -> Any:
    async def run() -> Any:
        async with AsyncClient(URL, CREDENTIAL, transport=httpx.MockTransport(service)) as client:
            return await call(client)

    return asyncio.run(run())


@pytest.fixture(params=[_sync, _async], ids=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    """Calls one of the two clients."""
    chosen: Run = request.param
    return chosen


def _problem(status: int, code: str, detail: str = "no", **members: object) -> httpx.Response:
    problem = {"type": "about:blank", "title": "No", "status": status, "detail": detail, "code": code, **members}
    content = json.dumps(problem)
    return httpx.Response(status, headers={"content-type": "application/problem+json"}, content=content)


def _authorize(client: Any) -> Any:
    return client.authorize("AgEE", audience="photos")


def test_mint(run: Run) -> None:
    """Minting sends what was given and nothing else, and gives what `Authority.mint` gives."""
    service = Played(httpx.Response(201, json=MINTED))
    minted = run(
        service,
        lambda client: client.mint(
            audience="photos", ttl=3600, subject="alice", facts={"floor": 3}, caveats=("action in read",)
        ),
    )
    assert minted == Minted(
        token="AgEEaGVyZQ",
        id="A" * 22,
        audience="photos",
        subject="alice",
        facts={"floor": 3},
        label=None,
        issued_at=NOON,
        expires_at=NOON.replace(hour=13),
        caveats=("time < 2026-11-22T13:00:00Z", "sub = alice"),
    )
    assert service.bodies == [
        {"audience": "photos", "ttl": 3600, "subject": "alice", "facts": {"floor": 3}, "caveats": ["action in read"]}
    ]
    request = service.requests[0]
    assert (request.method, str(request.url)) == ("POST", f"{URL}/v1/tokens")
    assert request.headers["authorization"] == f"Bearer {CREDENTIAL}"
    assert "AgEEaGVyZQ" not in repr(minted)


def test_mint_with_everything(run: Run) -> None:
    """An instant, third parties and a label are sent as the contract spells them."""
    service = Played(httpx.Response(201, json=MINTED))
    third = {"location": "https://id.example.org", "condition": "is-user", "declare": ["username"]}
    run(
        service,
        lambda client: client.mint(audience="photos", expires_at=NOON, third_party=[third], label="for the shop"),
    )
    assert service.bodies == [
        {"audience": "photos", "expires_at": "2026-11-22T12:00:00Z", "third_party": [third], "label": "for the shop"}
    ]


def test_authorize_allowed(run: Run) -> None:
    """A grant comes back as `Authority.authorize` gives it, explanation and prefix included when asked for."""
    explained = {
        **GRANTED,
        "verdicts": [{"caveat": "floor in 1", "from": "holder", "verdict": "satisfied"}],
        "kid": "0123456789abcdef",
        "branches": ["B" * 43],
    }
    service = Played(httpx.Response(200, json=explained))
    grant = run(
        service,
        lambda client: client.authorize("AgEE", audience="photos", context={"floor": 1}, explain=True, prefix=True),
    )
    assert isinstance(grant, Grant)
    assert (grant.id, grant.subject, grant.issued_at) == ("A" * 22, None, NOON)
    assert [(verdict.caveat, verdict.source, verdict.verdict) for verdict in grant.verdicts] == [
        ("floor in 1", "holder", "satisfied")
    ]
    assert (grant.kid, grant.branches) == ("0123456789abcdef", ("B" * 43,))
    assert service.bodies == [
        {"token": "AgEE", "audience": "photos", "context": {"floor": 1}, "explain": True, "prefix": True}
    ]


def test_authorize_denied(run: Run) -> None:
    """A denial raises `Denied` with code and caveat; the same answer with allowed is a grant."""
    with pytest.raises(Denied) as caught:
        run(Played(httpx.Response(200, json=DENIED)), _authorize)
    assert (caught.value.code, caught.value.caveat) == ("caveat-refused", "action in read")
    assert run(Played(httpx.Response(200, json=GRANTED)), _authorize).audience == "photos"


def test_revoke(run: Run) -> None:
    """Every way of naming what is revoked is sent as it is; 201 and 200 tell a first time from a repetition."""
    service = Played(*(httpx.Response(status, json=REVOKED) for status in (201, 200, 201, 201)))
    first = run(service, lambda client: client.revoke(id="A" * 22))
    assert first == Revocation(kind="id", audience="photos", at=NOON, repeated=False)
    assert run(service, lambda client: client.revoke(token="AgEE")).repeated is True
    run(service, lambda client: client.revoke(key="0123456789abcdef"))
    run(service, lambda client: client.revoke(audience="photos", subject="alice", before=NOON))
    assert service.bodies == [
        {"id": "A" * 22},
        {"token": "AgEE"},
        {"key": "0123456789abcdef"},
        {"audience": "photos", "subject": "alice", "before": "2026-11-22T12:00:00Z"},
    ]


def test_exchange(run: Run) -> None:
    """A bundle is sent whole, and what comes back is what minting gives."""
    service = Played(httpx.Response(201, json=MINTED))
    minted = run(service, lambda client: client.exchange("AgEE~AgEF"))
    assert (minted.token, minted.subject, minted.issued_at) == ("AgEEaGVyZQ", "alice", NOON)
    assert service.bodies == [{"token": "AgEE~AgEF"}]
    assert (service.requests[0].method, str(service.requests[0].url)) == ("POST", f"{URL}/v1/exchange")


DECISIONS = [
    "too-large", "malformed", "invalid-token", "wrong-audience", "discharge-missing", "discharge-invalid",
    "discharge-unused", "revoked", "no-expiry", "expired", "not-yet-valid", "context-invalid", "caveat-malformed",
    "caveat-unknown", "context-missing", "caveat-refused", "fact-conflict",
]  # fmt: skip


@pytest.mark.parametrize("code", DECISIONS)
def test_exchange_denied(run: Run, code: str) -> None:
    """Every code of the decision, with 422, is a denial of the bundle, with the caveat that is to blame."""
    problem = _problem(422, code, caveat="https://id.example.org")
    with pytest.raises(Denied) as caught:
        run(Played(problem), lambda client: client.exchange("AgEE"))
    assert (caught.value.code, caught.value.caveat) == (code, "https://id.example.org")
    with pytest.raises(Denied) as caught:
        run(Played(_problem(422, code)), lambda client: client.exchange("AgEE"))
    assert (caught.value.code, caught.value.caveat) == (code, None)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "bad-request"),
        (401, "expired"),
        (401, "discharge-missing"),
        (401, "credential-missing"),
        (403, "caveat-refused"),
        (403, "forbidden"),
        (413, "too-large"),
        (422, "forbidden"),
        (422, "unavailable"),
        (422, "credential-missing"),
        (422, "something-new"),
        (503, "unavailable"),
    ],
)
def test_exchange_failed(run: Run, status: int, code: str) -> None:
    """What is said of the credential, the request or the service is no denial of the bundle."""
    with pytest.raises(ServiceError) as caught:
        run(Played(_problem(status, code)), lambda client: client.exchange("AgEE"))
    assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(201, json={**MINTED, "token": None}),
        httpx.Response(201, json={**MINTED, "expires_at": "2026-11-22T13:00:00"}),
        httpx.Response(201, json={}),
        httpx.Response(204),
        httpx.Response(422, json={"code": "expired"}),
    ],
)
def test_exchange_answered_by_something_else(run: Run, answer: httpx.Response) -> None:
    """An answer that is none gives neither a token nor a denial."""
    service = Played(httpx.Response(answer.status_code, headers=answer.headers, content=answer.content))
    with pytest.raises(ServiceError) as caught:
        run(service, lambda client: client.exchange("AgEE"))
    assert (caught.value.status, caught.value.code) == (answer.status_code, "bad-answer")


@pytest.mark.parametrize(
    ("caveat", "shown"),
    [
        ("action in read", "action in read"),
        ("\x1b[31m\u00e9", "\\x1b[31m\\xc3\\xa9"),
        (None, None),
        (5, None),
        (["x"], None),
        ("x" * 65_537, None),
    ],
)
def test_a_refusal_names_the_caveat(run: Run, caveat: object, shown: str | None) -> None:
    """The caveat of the credential that a problem names is kept, in plain characters; no other value is."""
    with pytest.raises(ServiceError) as caught:
        run(Played(_problem(403, "caveat-refused", caveat=caveat)), _authorize)
    assert caught.value.caveat == shown


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "bad-request"),
        (401, "expired"),
        (403, "forbidden"),
        (409, "exists"),
        (413, "too-large"),
        (422, "caveat-malformed"),
        (429, "rate-limited"),
        (503, "unavailable"),
    ],
)
def test_problems_are_service_errors(run: Run, status: int, code: str) -> None:
    """A problem keeps its status and code; one of the caller's own credential is no `Denied`."""
    with pytest.raises(ServiceError, match="why") as caught:
        run(Played(_problem(status, code, "why")), _authorize)
    assert (caught.value.status, caught.value.code) == (status, code)


BAD_ANSWERS = [
    ("html", httpx.Response(200, html="<h1>hello</h1>"), 200),
    ("text", httpx.Response(200, text="{}"), 200),
    ("no media type", httpx.Response(200, content=b"{}"), 200),
    ("not JSON", httpx.Response(200, headers={"content-type": "application/json"}, content=b"{"), 200),
    ("not UTF-8", httpx.Response(200, headers={"content-type": "application/json"}, content=b'{"a":"\xff"}'), 200),
    ("a list", httpx.Response(200, json=[GRANTED]), 200),
    ("a number", httpx.Response(200, json=1), 200),
    ("empty", httpx.Response(200, headers={"content-type": "application/json"}, content=b""), 200),
    ("deep", httpx.Response(200, headers={"content-type": "application/json"}, content=b"[" * 100_000), 200),
    ("NaN", httpx.Response(200, headers={"content-type": "application/json"}, content=b'{"a":NaN}'), 200),
    ("infinite", httpx.Response(200, headers={"content-type": "application/json"}, content=b'{"a":1e999}'), 200),
    ("long digits", httpx.Response(200, headers={"content-type": "application/json"}, content=b"9" * 5000), 200),
    ("allowed twice", httpx.Response(200, headers={"content-type": "application/json"},
                                     content=b'{"allowed":false,"allowed":true}'), 200),
    ("another status", httpx.Response(202, json=GRANTED), 202),
    ("no content", httpx.Response(204), 204),
    ("created", httpx.Response(201, json=GRANTED), 201),
    ("a redirect", httpx.Response(307, headers={"location": "https://evil.example.org/"}), 307),
    ("a redirect to GET", httpx.Response(302, headers={"location": "https://evil.example.org/"}), 302),
    ("allowed as text", httpx.Response(200, json={**GRANTED, "allowed": "true"}), 200),
    ("allowed as 1", httpx.Response(200, json={**GRANTED, "allowed": 1}), 200),
    ("allowed is absent", httpx.Response(200, json={k: v for k, v in GRANTED.items() if k != "allowed"}), 200),
    ("another audience", httpx.Response(200, json={**GRANTED, "audience": "default"}), 200),
    ("no expiry", httpx.Response(200, json={**GRANTED, "expires_at": None}), 200),
    ("an instant without a zone", httpx.Response(200, json={**GRANTED, "expires_at": "2026-11-22T13:00:00"}), 200),
    ("an instant with an offset", httpx.Response(200, json={**GRANTED, "issued_at": "2026-11-22T13:00:00+02:00"}), 200),
    ("an instant as a number", httpx.Response(200, json={**GRANTED, "issued_at": 1795348800}), 200),
    ("a wrong instant", httpx.Response(200, json={**GRANTED, "expires_at": "soon"}), 200),
    ("caveats as text", httpx.Response(200, json={**GRANTED, "caveats": "action in read"}), 200),
    ("an unknown code", httpx.Response(200, json={**DENIED, "code": "because"}), 200),
    ("a code that is none", httpx.Response(200, json={**DENIED, "code": None}), 200),
    ("a page that is not there", httpx.Response(404, html="<h1>nothing</h1>"), 404),
    ("a problem without code", httpx.Response(400, headers={"content-type": "application/problem+json"},
                                              content=b'{"title":"no"}'), 400),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "status"), [row[1:] for row in BAD_ANSWERS], ids=[row[0] for row in BAD_ANSWERS])
def test_answers_of_something_else(run: Run, answer: httpx.Response, status: int) -> None:
    """What no capsvc service would answer allows nothing: `bad-answer`, whichever way it is wrong."""
    service = Played(httpx.Response(answer.status_code, headers=answer.headers, content=answer.content))
    with pytest.raises(ServiceError) as caught:
        run(service, _authorize)
    assert (caught.value.status, caught.value.code) == (status, "bad-answer")
    assert len(service.requests) == 1


def test_server_failures_without_a_problem(run: Run) -> None:
    """A proxy's own 502 is `unavailable`: the service may be there again soon."""
    with pytest.raises(ServiceError) as caught:
        run(Played(httpx.Response(502, html="<h1>Bad gateway</h1>")), _authorize)
    assert (caught.value.status, caught.value.code) == (502, "unavailable")


def test_fields_that_a_newer_service_adds(run: Run) -> None:
    """An answer with more fields than this client knows is read."""
    answer = {**GRANTED, "zone": {"a": 1.5}}
    assert run(Played(httpx.Response(200, json=answer)), _authorize).audience == "photos"


def test_other_words_repeat_no_token(run: Run) -> None:
    """A service that quotes the credential, or control characters, does not get them into messages or logs."""
    quoting = _problem(401, "malformed", f"\x1b[31mnot good: {CREDENTIAL}\n" + "x " * 1000)
    with pytest.raises(ServiceError) as caught:
        run(Played(quoting), _authorize)
    message = str(caught.value)
    assert CREDENTIAL not in message
    assert message.isprintable()
    assert len(message) <= 300
    assert "not good" in message


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.mint(audience="photos", expires_at=datetime(2026, 11, 22)),  # noqa: DTZ001
        lambda client: client.revoke(audience="photos", subject="a", before=datetime(2026, 11, 22)),  # noqa: DTZ001
        lambda client: client.authorize("AgEE", audience="photos", context={"floor": float("nan")}),
    ],
)
def test_values_without_one_meaning(run: Run, call: Call) -> None:
    """An instant without a zone and a number that JSON has not are refused before anything is sent."""
    service = Played()
    with pytest.raises(ValueError, match=r"zone|JSON"):
        run(service, call)
    assert service.requests == []


def test_one_text_for_caveats(run: Run) -> None:
    """One text for the sequence of caveats would be one caveat a letter: refused, nothing sent."""
    service = Played()
    with pytest.raises(TypeError, match="sequence"):
        run(service, lambda client: client.mint(audience="photos", ttl=1, caveats="action in read"))
    assert service.requests == []


class Dripping(httpx.SyncByteStream, httpx.AsyncByteStream):
    """An answer's body that comes bit by bit, without an end; counts what was taken of it."""

    def __init__(self, part: bytes, pause: float) -> None:
        self._part = part
        self._pause = pause
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        """For ever."""
        while True:
            time.sleep(self._pause)
            self.taken += len(self._part)
            yield self._part

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """For ever."""
        for part in self:
            yield part


def test_an_answer_without_an_end_in_size(run: Run) -> None:
    """It is given up as soon as it is too large."""
    body = Dripping(b" " * 1_000_000, 0)
    headers = {"content-type": "application/json"}
    with pytest.raises(ServiceError) as refused:
        run(Played(httpx.Response(200, headers=headers, stream=body)), _authorize)
    assert (refused.value.status, refused.value.code) == (200, "bad-answer")
    assert body.taken <= ANSWER_OCTETS + 1_000_000


def test_an_answer_without_an_end_in_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part comes soon enough, and the whole never."""
    seconds = itertools.count()
    monkeypatch.setattr(messages, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    body = Dripping(b" ", 0)
    headers = {"content-type": "application/json"}
    with pytest.raises(ServiceError, match="in time") as refused:
        run(Played(httpx.Response(200, headers=headers, stream=body)), _authorize)
    assert (refused.value.status, refused.value.code) == (None, "unavailable")
    assert body.taken == 11  # a second each, of the ten that there are by default


def test_no_cookies_no_compression(run: Run) -> None:
    """The service keeps no state with the client, and is asked for plain octets."""
    service = Played(
        httpx.Response(200, json=GRANTED, headers={"set-cookie": "sid=1; Path=/"}), httpx.Response(200, json=GRANTED)
    )

    if run is _sync:
        with Client(URL, CREDENTIAL, transport=httpx.MockTransport(service)) as client:
            _authorize(client)
            _authorize(client)
    else:
        run(service, _authorize)
        run(service, _authorize)
    assert "cookie" not in service.requests[1].headers
    assert service.requests[1].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("credential", "code"),
    [
        ("", "malformed"),
        ("a b", "malformed"),
        ("a\nAuthorization: Bearer b", "malformed"),
        ("a\r\nX: y", "malformed"),
        ("AgEE=", "malformed"),
        ("AgEE~", "malformed"),
        ("AgÉE", "malformed"),
        ("A" * (32 * 1024 + 1), "too-large"),
    ],
)
def test_credentials_that_are_none(kind: type[Client | AsyncClient], credential: str, code: str) -> None:
    """What does not fit one header is refused at once and not repeated; a bundle with a last newline is taken."""
    with pytest.raises(TokenError) as caught:
        kind(URL, credential)
    assert caught.value.code == code
    assert not credential or credential not in str(caught.value)
    kind(URL, "AgEE~AgEF\n")


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("credential", [None, CREDENTIAL.encode(), 5, [CREDENTIAL]])
def test_credentials_that_are_no_text(kind: Any, credential: object) -> None:
    """None, as of a variable that was not set, makes no client that asks without a credential: nothing does."""
    with pytest.raises(TypeError, match="the credential is text"):
        kind(URL, credential)
    kind(URL, CREDENTIAL)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("url", [None, URL.encode(), 8700, [URL]])
def test_addresses_that_are_no_text(kind: Any, url: object) -> None:
    """None, as of a variable that was not set, is told apart from an address that is wrong."""
    with pytest.raises(TypeError, match=r"^the service's address is text$"):
        kind(url, CREDENTIAL)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_the_name_of_a_file_is_no_credential(kind: type[Client | AsyncClient]) -> None:
    """The likeliest mistake is named."""
    with pytest.raises(TokenError, match=r"is not a token or bundle \(the text, not the name of a file\)"):
        kind(URL, "capsvc-data/admin.token")


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_addresses_that_get_no_credential(kind: type[Client | AsyncClient]) -> None:
    """A client for plain http to another machine cannot be made; for this machine it can."""
    with pytest.raises(ValueError, match="https"):
        kind("http://tokens.example.org", CREDENTIAL)
    kind("http://127.0.0.1:8700", CREDENTIAL)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_no_credential_in_repr(kind: type[Client | AsyncClient]) -> None:
    """Neither repr nor str nor what is below shows the credential."""
    client = kind(URL, CREDENTIAL)
    shown = f"{client!r} {client!s} {client._connection!r} {client._connection._http.headers!r}"
    assert CREDENTIAL not in shown
    assert "tokens.example.org" in shown
    with pytest.raises(TypeError):
        pickle.dumps(client)


def test_both_clients_are_alike() -> None:
    """Same parameters, defaults and results in both clients."""
    for name in ("__init__", "mint", "authorize", "exchange", "introspect", "revoke"):
        one, other = (inspect.signature(getattr(kind, name)) for kind in (Client, AsyncClient))
        names = [(p.name, p.kind, p.default) for p in one.parameters.values()]
        assert names == [(p.name, p.kind, p.default) for p in other.parameters.values()]
