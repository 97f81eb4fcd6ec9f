"""Both clients' `introspect`: a form goes out, and what comes back is the value that `Authority.introspect` gives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest

from capsvc.client import AsyncClient, Client, ServiceError
from capsvc.grants import Introspection
from capsvc.wire import introspection_form, introspection_object, read_introspection

from ..cli.conftest import Live, live  # noqa: TID252 - the same service
from .conftest import CREDENTIAL, Played

__all__ = ["live"]

URL = "https://tokens.example.org"
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ACTIVE: dict[str, Any] = {
    "active": True,
    "iss": "https://tokens.example.org",
    "aud": "photos",
    "jti": "A" * 22,
    "iat": 1_795_348_800,
    "exp": 1_795_352_400,
    "token_type": "Bearer",
    "sub": "alice",
    "scope": "read write",
    "client_id": "app",
}
FOUND = Introspection(
    active=True,
    issuer="https://tokens.example.org",
    audience="photos",
    id="A" * 22,
    issued_at=NOON,
    expires_at=NOON.replace(hour=13),
    subject="alice",
    scope=("read", "write"),
    client="app",
)
INACTIVE = Introspection(active=False)

Run = Callable[..., Any]


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def asynchronous(request: pytest.FixtureRequest) -> bool:
    """Which of the two clients."""
    chosen: bool = request.param
    return chosen


@pytest.fixture
def run(asynchronous: bool) -> Run:
    """Calls ``introspect`` of a client whose service is played, or really there."""

    def call(service: Played | Live, *arguments: Any, **named: Any) -> Any:
        if isinstance(service, Played):
            where: Any = (URL, CREDENTIAL)
            options: Any = {"transport": httpx.MockTransport(service)}
        else:
            where, options = (service.url, (service.data / "admin.token").read_text()), {}
        if not asynchronous:
            with Client(*where, **options) as client:
                return client.introspect(*arguments, **named)

        async def ask() -> Introspection:
            async with AsyncClient(*where, **options) as client:
                return await client.introspect(*arguments, **named)

        return asyncio.run(ask())

    return call


def test_what_goes_out(run: Run) -> None:
    """A form with what was given and nothing else, with the credential in its header."""
    service = Played(httpx.Response(200, json=ACTIVE), httpx.Response(200, json={"active": False}))
    context = {"floor": 2, "path": "/a&b=c", "action": "read"}
    assert run(service, "AgEE~AgEE", audience="photos", context=context) == FOUND
    assert run(service, "AgEE") == INACTIVE
    first, second = service.requests
    assert (first.method, str(first.url)) == ("POST", f"{URL}/v1/introspect")
    assert first.headers["content-type"] == "application/x-www-form-urlencoded"
    assert first.headers["authorization"] == f"Bearer {CREDENTIAL}"
    assert parse_qsl(first.content.decode(), strict_parsing=True) == [
        ("token", "AgEE~AgEE"),
        ("audience", "photos"),
        ("context.floor", "2"),
        ("context.path", "/a&b=c"),
        ("context.action", "read"),
    ]
    assert second.content == b"token=AgEE"


@pytest.mark.parametrize("value", [True, None, 1.0, [], b"x"])
def test_values_that_no_form_holds(run: Run, value: object) -> None:
    """What is neither text nor a whole number is refused before anything is sent."""
    service = Played(httpx.Response(200, json=ACTIVE))
    with pytest.raises(TypeError, match="context"):
        run(service, "AgEE", context={"floor": value})
    assert service.requests == []
    assert run(service, "AgEE", context={"floor": 1}).active


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        {"active": 1},
        {"active": "true"},
        {"active": None},
        {"active": True},
        {**ACTIVE, "aud": "default"},
        {**ACTIVE, "aud": ["photos"]},
        {**ACTIVE, "iat": "1795348800"},
        {**ACTIVE, "iat": True},
        {**ACTIVE, "exp": 1.5},
        {**ACTIVE, "exp": -1},
        {**ACTIVE, "exp": 10**12},
        {**ACTIVE, "jti": None},
        {**ACTIVE, "token_type": "mac"},
        {**ACTIVE, "scope": ""},
        {**ACTIVE, "scope": "read  write"},
        {**ACTIVE, "sub": 5},
    ],
)
def test_answers_that_are_none(run: Run, answer: object) -> None:
    """Whatever is not an answer to what was asked is neither active nor inactive."""
    assert run(Played(httpx.Response(200, json=ACTIVE)), "AgEE", audience="photos").active
    with pytest.raises(ServiceError) as caught:
        run(Played(httpx.Response(200, json=answer)), "AgEE", audience="photos")
    assert (caught.value.status, caught.value.code) == (200, "bad-answer")


def test_a_created_answer_is_none(run: Run) -> None:
    """200 alone answers."""
    with pytest.raises(ServiceError, match="not a capsvc service"):
        run(Played(httpx.Response(201, json=ACTIVE)), "AgEE")


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (401, {"error": "invalid_client", "error_description": "No.", "code": "expired"}, "expired", "No."),
        (503, {"error": "temporarily_unavailable", "code": "unavailable"}, "unavailable", "answered 503"),
        (400, {"error": "invalid_request", "error_description": 5}, "bad-answer", "answered 400"),
        (502, {"message": "x", "code": "expired"}, "unavailable", "answered 502"),
        (400, {"error": {"code": 1}, "code": "expired"}, "bad-answer", "answered 400"),
        (502, "<html>", "unavailable", "answered 502"),
    ],
)
def test_refusals(run: Run, status: int, body: object, code: str, message: str) -> None:
    """RFC 6749's errors are told by our code; what others answer is not taken for one."""
    content = body if isinstance(body, str) else json.dumps(body)
    answer = httpx.Response(status, headers={"content-type": "application/json"}, content=content)
    with pytest.raises(ServiceError, match=message) as caught:
        run(Played(answer), "AgEE")
    assert (caught.value.status, caught.value.code) == (status, code)


def test_values_go_both_ways() -> None:
    """An answer read back is the value that it was, with everything and with what is always there."""
    assert introspection_object(FOUND) == ACTIVE
    assert read_introspection(ACTIVE) == FOUND
    assert introspection_object(INACTIVE) == {"active": False}
    assert read_introspection({"active": False, "sub": "alice"}) == INACTIVE
    least = {name: ACTIVE[name] for name in ("active", "iss", "aud", "jti", "iat", "exp", "token_type")}
    assert introspection_object(read_introspection(least)) == least
    assert read_introspection({**least, "username": "x"}) == read_introspection(least)
    assert introspection_form("t") == {"token": "t"}


def test_live(run: Run, live: Live) -> None:
    """Against the service: active, narrowed, revoked; and what it refuses."""
    with Client(live.url, (live.data / "admin.token").read_text()) as client:
        minted = client.mint(
            audience="default", ttl=600, subject="alice", caveats=["action in read,write", "floor = 2"]
        )
        found = run(live, minted.token, context={"floor": 2})
        assert (found.active, found.id, found.subject, found.scope) == (True, minted.id, "alice", ("read", "write"))
        assert (found.issued_at, found.expires_at) == (minted.issued_at, minted.expires_at)
        assert found.issuer == live.url
        assert run(live, minted.token, audience="default", context={"floor": 2, "action": "write"}) == found
        assert run(live, minted.token) == INACTIVE
        assert run(live, minted.token, context={"floor": 2, "action": "delete"}) == INACTIVE
        with pytest.raises(ServiceError) as caught:
            run(live, minted.token, audience="no word")
        assert (caught.value.status, caught.value.code) == (400, "bad-request")
        client.revoke(id=minted.id)
        assert run(live, minted.token, context={"floor": 2}) == INACTIVE
