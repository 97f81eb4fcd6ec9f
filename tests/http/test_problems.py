"""How refusals look, and what they never hold."""

from typing import NoReturn

import pytest

from capsvc.errors import SENTENCES, STATUS, Denied, RequestError
from capsvc.http import answers
from capsvc.http.problems import of_denial, of_request, problem_answer

from .conftest import Api

DECISIONS = [code for code, status in STATUS.items() if status in {401, 403} and code != "credential-missing"]


def fields(answer: answers.Answer) -> dict[str, str]:
    """An answer's headers by name."""
    return {name.decode(): value.decode() for name, value in answer.headers}


def test_problem_details(shared: Api) -> None:
    """RFC 9457: type, title, status and detail, and our code."""
    answer = shared.get("/v1/audiences/nothing")
    assert answer.json == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "code": "not-found",
        "detail": SENTENCES["not-found"],
    }


@pytest.mark.parametrize("code", DECISIONS)
def test_challenges(code: str) -> None:
    """401 says invalid_token, 403 insufficient_scope; neither quotes a caveat, and both are what RFC 6750 allows."""
    answer = problem_answer(of_denial(Denied(code, 'path = /"secret"')))
    assert answer.status == STATUS[code]
    challenge = fields(answer)["www-authenticate"]
    error = "invalid_token" if answer.status == 401 else "insufficient_scope"
    assert challenge == f'Bearer realm="capsvc", error="{error}", error_description="{SENTENCES[code]}"'
    assert not set(SENTENCES[code]) & set('"\\')
    assert SENTENCES[code].isascii()


@pytest.mark.parametrize(
    ("path", "body", "begins"),
    [
        ("/v1/audiences", {"name": "a b"}, "name: a word has"),
        ("/v1/dischargers", {"name": "a b", "location": "https://a", "public_key": "x"}, "name: a word has"),
        ("/v1/dischargers", {"name": "a", "location": "https://a", "public_key": "x"}, "public_key: a public key is"),
        ("/v1/tokens", {"audience": "a b", "ttl": 5}, "audience: a word has"),
        ("/v1/tokens", {"audience": "a", "ttl": 5, "label": "\n"}, "label: it has no control"),
        ("/v1/tokens", {"audience": "a", "ttl": 5, "facts": {"sub": "b"}}, "facts: sub is not among them"),
        ("/v1/verify", {"token": "x", "audience": "a", "context": {"b": None}}, "context: no value is null"),
        ("/v1/verify/batch", {"requests": []}, "requests: 1 to 100"),
        ("/v1/tokens", {"audience": "a"}, "Exactly one of ttl and expires_at is given."),
        ("/v1/exchange", {"token": 5}, "Expected `str`, got `int` - at `$.token`."),
    ],
)
def test_fields_as_they_are_written(shared: Api, path: str, body: dict[str, object], begins: str) -> None:
    """A detail that begins with a field's name has it as the body has; all others begin as sentences do."""
    answer = shared.post(path, body)
    assert answer.outcome == (400, "bad-request")
    assert answer.json["detail"].startswith(begins)


def test_storage_gone(shared: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision that cannot be made is 503, with when to try again and no challenge."""

    def gone(*_args: object, **_fields: object) -> NoReturn:
        raise Denied("unavailable")

    monkeypatch.setattr(shared.authority, "authenticate", gone)
    for answer in (shared.get("/v1/tokens"), shared.post("/v1/verify", {"token": "x", "audience": "default"})):
        assert answer.outcome == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("bad-request", 400),
        ("forbidden", 403),
        ("not-found", 404),
        ("exists", 409),
        ("ttl-invalid", 422),
        ("ttl-too-long", 422),
        ("audience-unknown", 422),
        ("discharger-unknown", 422),
        ("too-large", 422),
        ("malformed", 422),
        ("invalid-token", 422),
        ("caveat-malformed", 422),
        ("caveat-unknown", 422),
        ("fact-conflict", 422),
        ("rate-limited", 429),
        ("unavailable", 503),
    ],
)
def test_status_of_requests_refused(code: str, status: int) -> None:
    """Where a code is the subject's rather than the credential's, the status is the request's."""
    answer = problem_answer(of_request(RequestError(code)))
    assert answer.status == status
    assert ("retry-after" in fields(answer)) is (status in {429, 503})


@pytest.mark.parametrize("path", ["/v1/tokens", "/v1/tokens/x", "/healthz"])
def test_faults(shared: Api, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """A fault of ours is 500, told by nothing but that."""

    def fault(*_args: object, **_fields: object) -> NoReturn:
        raise RuntimeError("a secret")

    monkeypatch.setattr(shared.authority, "authenticate", fault)
    monkeypatch.setattr("capsvc.http.meta.json_answer", fault)
    monkeypatch.setattr(shared.authority, "ready", fault)
    answer = shared.get("/readyz" if path == "/healthz" else path)
    assert answer.outcome == (500, "internal-error")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert "secret" not in answer.body.decode()
    assert "RuntimeError" not in answer.body.decode()


def test_a_fault_on_the_hot_route(shared: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The short way to verify answers faults alike."""

    def fault(*_args: object, **_fields: object) -> NoReturn:
        raise RuntimeError("a secret")

    monkeypatch.setattr(shared.authority, "authorize", fault)
    answer = shared.post("/v1/verify", {"token": "x", "audience": "default"})
    assert answer.outcome == (500, "internal-error")
    assert "secret" not in answer.body.decode()


def test_secrets_are_not_echoed(shared: Api, capfd: pytest.CaptureFixture[str]) -> None:
    """A token put where it does not belong comes back in no answer, header or log line."""
    secret = shared.mint()["token"]
    capfd.readouterr()
    answers = [
        shared.post("/v1/tokens", {"audience": secret, "ttl": 1}),
        shared.post("/v1/tokens", {"audience": "default", "ttl": 1, "caveats": [secret]}),
        shared.post("/v1/tokens", {"audience": "default", "ttl": 1, "caveats": [f"{secret} = x"]}),
        shared.post("/v1/tokens", {"audience": "default", "ttl": 1, "facts": {secret: "x"}}),
        shared.post("/v1/tokens", {"audience": "default", "ttl": 1, "label": secret * 2}),
        shared.post("/v1/tokens", {"audience": "default", "ttl": 1, "expires_at": secret}),
        shared.post("/v1/tokens", {"audience": "default", "ttl": 1, secret: 1}),
        shared.post("/v1/verify", {"token": secret + "x", "audience": "default"}),
        shared.post("/v1/verify", {"token": secret, "audience": "default", "context": {secret: 1}}),
        shared.post("/v1/verify", {"token": secret, "audience": "default", "context": {"floor": secret}}),
        shared.post("/v1/revocations", {"id": secret}),
        shared.post("/v1/revocations", {"key": secret}),
        shared.post("/v1/audiences", {"name": secret}),
        shared.get(f"/v1/tokens/{secret}"),
        shared.get(f"/v1/tokens?after={secret}"),
        shared.get(f"/v1/tokens?{secret}=1"),
        shared.get(f"/v1/audiences/{secret}"),
        shared.get("/v1/tokens", secret),
        shared.get("/v1/tokens", f"{secret}~{secret}"),
        shared.get(f"/{secret}"),
        shared.call(secret, "/v1/tokens"),
        shared.call("POST", "/v1/verify", secret.encode()),
        shared.send("POST", "/v1/revoke", [("content-type", secret)], [secret.encode()]),
    ]
    shared.logged()
    captured = capfd.readouterr()
    for answer in answers:
        assert answer.status >= 400 or answer.json["allowed"] is False
        assert secret[:40] not in answer.body.decode()
        assert not any(secret[:40] in value for value in answer.headers.values())
    assert secret[:40] not in captured.out + captured.err
