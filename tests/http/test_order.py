"""Several things wrong at once: which of them is told."""

from typing import Any

import pytest

from .conftest import Api, Header

JSON = ("content-type", "application/json")
TEXT = ("content-type", "text/plain")
LARGE = ("content-length", "65537")
MINT = b'{"audience":"default","ttl":600}'
NO_SHAPE = b"{}"


def bearer(credential: str) -> Header:
    """An Authorization header."""
    return ("authorization", f"Bearer {credential}")


@pytest.mark.parametrize(
    ("line", "headers", "body", "outcome"),
    [
        ("POST /v1/nothing", [TEXT, LARGE], NO_SHAPE, (404, "not-found")),
        ("PUT /v1/tokens", [TEXT, LARGE], NO_SHAPE, (405, "method-not-allowed")),
        ("POST /v1/tokens", [TEXT, LARGE], NO_SHAPE, (413, "too-large")),
        ("POST /v1/tokens", [TEXT], NO_SHAPE, (415, "media-type")),
        ("POST /v1/tokens", [JSON], NO_SHAPE, (401, "credential-missing")),
        ("POST /v1/tokens", [JSON, bearer("x")], NO_SHAPE, (400, "bad-request")),
        ("POST /v1/tokens", [JSON, bearer("x")], MINT, (401, "malformed")),
        ("GET /v1/tokens?colour=1", [], b"", (401, "credential-missing")),
        ("GET /v1/tokens?colour=1", [bearer("x")], b"", (400, "bad-request")),
        ("GET /v1/tokens/nothing", [bearer("x")], b"", (401, "malformed")),
        ("POST /v1/tokens?colour=1", [JSON, bearer("x")], MINT, (400, "bad-request")),
        ("GET /v1/audiences/nothing", [LARGE], b"", (413, "too-large")),
        ("POST /v1/dischargers", [JSON, bearer("x")], NO_SHAPE, (400, "bad-request")),
        ("PATCH /v1/dischargers/nothing", [JSON, bearer("x")], b'{"public_key":null}', (400, "bad-request")),
        ("PATCH /v1/dischargers/nothing", [JSON, bearer("x")], b'{"next_public_key":null}', (401, "malformed")),
        ("DELETE /v1/dischargers/nothing?colour=1", [bearer("x")], b"", (400, "bad-request")),
        ("DELETE /v1/dischargers/nothing", [bearer("x")], b"", (401, "malformed")),
        ("POST /v1/bakery-keys", [bearer("x")], b"{}", (415, "media-type")),
        ("POST /v1/bakery-keys", [JSON], b"{}", (401, "credential-missing")),
        ("POST /v1/bakery-keys/rotate", [JSON, bearer("x")], b"{}", (400, "bad-request")),
        ("POST /v1/bakery-keys/rotate", [bearer("x")], b"", (401, "malformed")),
        ("POST /v1/exchange", [JSON, bearer("x")], b'{"token":"y"}', (401, "malformed")),
    ],
)
def test_before_the_decision(
    shared: Api, line: str, headers: list[Header], body: bytes, outcome: tuple[int, str]
) -> None:
    """404, 405, 413, 415, credential-missing, 400, the credential: each hides what comes later."""
    method, target = line.split()
    assert shared.send(method, target, headers, [body]).outcome == outcome


@pytest.mark.parametrize(
    ("method", "path", "body", "permission"),
    [
        ("GET", "/v1/audiences/nothing", None, "keys:read"),
        ("POST", "/v1/audiences", {"name": "default", "max_ttl": 0}, "keys:write"),
        ("POST", "/v1/tokens", {"audience": "nothing", "ttl": 0}, "tokens:mint"),
        ("POST", "/v1/verify", {"audience": "nothing", "token": "x"}, "tokens:verify"),
        ("POST", "/v1/revocations", {"id": "nothing"}, "tokens:revoke"),
        ("GET", "/v1/dischargers/nothing", None, "dischargers:read"),
        ("PATCH", "/v1/dischargers/nothing", {"next_public_key": None}, "dischargers:write"),
        ("DELETE", "/v1/dischargers/nothing", None, "dischargers:write"),
        ("POST", "/v1/exchange", {"token": "x"}, "tokens:exchange"),
    ],
)
def test_the_decision_comes_before_404_409_422(shared: Api, method: str, path: str, body: Any, permission: str) -> None:
    """A credential without the permission learns nothing of what it asked about; one with it does."""
    refused = shared.call(method, path, body, shared.narrowed("action = something:else"))
    assert refused.outcome == (403, "caveat-refused")
    allowed = shared.call(method, path, body, shared.narrowed(f"action = {permission}"))
    assert allowed.status in {404, 409, 422}


def test_404_and_409_come_before_422(shared: Api) -> None:
    """That a name is taken or is none is told before that a number is wrong."""
    assert shared.post("/v1/audiences", {"name": "default", "max_ttl": 0}).outcome == (409, "exists")
    assert shared.call("PATCH", "/v1/audiences/nothing", {"max_ttl": 0}).outcome == (404, "not-found")
    assert shared.post("/v1/audiences", {"name": "other", "max_ttl": 0}).outcome == (422, "ttl-invalid")
    assert shared.call("PATCH", "/v1/audiences/default", {"max_ttl": 0}).outcome == (422, "ttl-invalid")


def test_minting_for_the_service_is_forbidden_before_any_422(shared: Api) -> None:
    """Whatever else is wrong with it."""
    body = {"audience": "capsvc", "ttl": 0, "caveats": ["nonsense"], "subject": "a b"}
    assert shared.post("/v1/tokens", body).outcome == (403, "forbidden")
    assert shared.post("/v1/tokens", {**body, "audience": "default"}).status == 422
