"""/v1/introspect, who may ask it and how, and RFC 8414's document."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

import pytest
from pymacaroons import Macaroon

from capsvc.errors import RequestError
from capsvc.http.answers import JSON, NO_STORE
from capsvc.http.oauth import oauth_answer
from capsvc.http.problems import Problem
from capsvc.token import Token

from .conftest import NOON, Answer, Api, Header, Party

FORM = ("content-type", "application/x-www-form-urlencoded")
INACTIVE = b'{"active":false}'
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, section 5.2

Fields = Mapping[str, str] | Sequence[tuple[str, str]]


def bearer(credential: str) -> Header:
    """The usual credential."""
    return "authorization", f"Bearer {credential}"


def basic(password: str, user: str = "service") -> Header:
    """What OAuth's clients send."""
    return "authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def ask(api: Api, fields: Fields, *headers: Header, query: str = "") -> Answer:
    """POST /v1/introspect, as the administrator unless other headers are given."""
    body = urlencode(fields).encode()
    return api.send("POST", f"/v1/introspect{query}", [FORM, *(headers or [bearer(api.admin)])], [body])


def introspect(api: Api, token: str, *headers: Header, **fields: str) -> Any:
    """The answer's object, which must have been one."""
    answer = ask(api, {"token": token, **fields}, *headers)
    assert answer.status == 200, answer.body
    assert answer.json["active"] is True or answer.body == INACTIVE
    return answer.json


def refused(answer: Answer) -> tuple[int, str, str]:
    """Status, RFC 6749's error and our code of a refusal, which is of that RFC's form."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert list(answer.json) == ["error", "error_description", "code"]
    assert DESCRIPTION.fullmatch(answer.json["error_description"])
    return answer.status, answer.json["error"], answer.code


def test_active(api: Api) -> None:
    """What is told of a good token, in the order of the contract; the expiry is the effective one."""
    minted = api.mint(subject="alice", facts={"client": "app", "tenant": "acme"}, caveats=["action in read,write"])
    answer = ask(api, {"token": str(Token.parse(minted["token"]).attenuate("action in delete,read"))})
    assert answer.json == {
        "active": True,
        "iss": api.authority.issuer,
        "aud": "default",
        "jti": minted["id"],
        "iat": NOON,
        "exp": NOON + 600,
        "token_type": "Bearer",
        "sub": "alice",
        "scope": "read",
        "client_id": "app",
    }
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    narrowed = str(Token.parse(minted["token"]).attenuate("time < 2026-11-22T12:01:00Z"))
    assert introspect(api, narrowed)["exp"] == NOON + 60
    plain = introspect(api, api.mint()["token"])
    assert list(plain) == ["active", "iss", "aud", "jti", "iat", "exp", "token_type"]


def test_a_scope_is_words_and_spaces(shared: Api) -> None:
    """Ascending, as RFC 6749 writes it."""
    token = shared.mint(caveats=["action in a:b,docs.read,x~y"])["token"]
    assert introspect(shared, token)["scope"] == "a:b docs.read x~y"


def test_the_context(shared: Api) -> None:
    """Values are typed by what they are for: digits for integers, else text; each caveat has to hold."""
    caveats = ["floor in 1,2", "plan = free", "path under /a", "ip in 10.0.0.0/8", "action = read"]
    token = shared.mint(caveats=caveats)["token"]
    context = {
        "context.floor": "2",
        "context.plan": "free",
        "context.path": "/a/b",
        "context.ip": "10.1.2.3",
    }
    assert introspect(shared, token, **context)["scope"] == "read"
    assert introspect(shared, token, **context, **{"context.action": "read"})["scope"] == "read"
    for name, value in (
        ("context.action", "write"),
        ("context.floor", "3"),
        ("context.floor", "02"),
        ("context.floor", "+2"),
        ("context.floor", "2.0"),
        ("context.floor", " 2"),
        ("context.floor", "２"),
        ("context.floor", "true"),
        ("context.floor", ""),
        ("context.floor", "2" * 5000),
        ("context.plan", "team"),
        ("context.path", "/b"),
        ("context.path", "/a/../a"),
        ("context.ip", "11.1.2.3"),
        ("context.colour", "red"),
        ("context.sub", "alice"),
        ("context.time", "2026-11-22T12:00:00Z"),
        ("context.", "x"),
    ):
        assert introspect(shared, token, **{**context, name: value}) == {"active": False}, (name, value)
    for name in context:
        assert introspect(shared, token, **{key: value for key, value in context.items() if key != name}) == {
            "active": False
        }


def test_values_of_other_types(tmp_path: Path) -> None:
    """What is no integer stays text, whatever it spells."""
    opened = Api(tmp_path, attributes={"due": {"type": "instant"}, "at": {"type": "clock"}, "sum": {"type": "digest"}})
    digest = "sha256:" + "A" * 43
    try:
        token = opened.mint(caveats=["due < 2027-01-01T00:00:00Z", "at >= 08:00", f"sum = {digest}"])["token"]
        context = {"context.due": "2026-12-31T00:00:00Z", "context.at": "08:30", "context.sum": digest}
        assert introspect(opened, token, **context)["active"] is True
        for name, value in (
            ("context.due", "1798675200"),
            ("context.at", "510"),
            ("context.due", "2027-01-01T00:00:00Z"),
        ):
            assert introspect(opened, token, **{**context, name: value}) == {"active": False}
    finally:
        opened.close()


def test_inactive_answers_are_one(api: Api) -> None:
    """Whatever the reason, the same octets and headers: not ours, dead, not for this audience, not covered."""
    api.post("/v1/audiences", {"name": "photos"})
    login = Party().registered(api)
    good = api.mint(subject="alice")
    revoked = api.mint()
    api.post("/v1/revocations", {"id": revoked["id"]})
    expired = str(Token.parse(good["token"]).attenuate("time < 2026-11-22T12:00:00Z"))
    tokens = {
        "malformed": "x",
        "too large": "A" * 40_000,
        "foreign": good["token"][:-4] + "AAAA",
        "wrong audience": api.mint(audience="photos")["token"],
        "expired": expired,
        "not yet valid": str(Token.parse(good["token"]).attenuate("time >= 2026-11-22T12:00:01Z")),
        "revoked": revoked["token"],
        "undischarged": api.mint(third_party=[login.asks()])["token"],
        "needs a value": str(Token.parse(good["token"]).attenuate("method = GET")),
        "no action left": str(Token.parse(good["token"]).attenuate("action = a", "action = b")),
        "an administrator's": api.admin,
    }
    answers = {name: ask(api, {"token": token}) for name, token in tokens.items()}
    answers["unknown audience"] = ask(api, {"token": good["token"], "audience": "nothing"})
    answers["another audience"] = ask(api, {"token": good["token"], "audience": "photos"})
    answers["not well formed"] = ask(api, {"token": good["token"], "context.floor": "x"})
    for caveat in ("for.audience = photos", "for.sub = bob", "for.ttl < 5"):
        credential = bearer(api.narrowed(caveat))
        answers[caveat] = ask(api, {"token": good["token"], "audience": "default"}, credential)
    for name, answer in answers.items():
        headers = {key: value for key, value in answer.headers.items() if key != "x-request-id"}
        assert (answer.status, answer.body) == (200, INACTIVE), name
        assert headers == {
            "content-type": "application/json",
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "content-length": str(len(INACTIVE)),
        }
    discharged = login.bundle(tokens["undischarged"])
    for token in (good["token"], discharged):
        assert introspect(api, token)["active"] is True


def test_the_audience(api: Api) -> None:
    """That which is named, else the one that the credential is bounded to, else ``default``."""
    api.post("/v1/audiences", {"name": "photos"})
    photo, token = api.mint(audience="photos")["token"], api.mint()["token"]
    assert introspect(api, photo, audience="photos")["aud"] == "photos"
    assert introspect(api, token)["aud"] == "default"
    only = bearer(api.narrowed("for.audience = photos"))
    assert introspect(api, photo, only)["aud"] == "photos"
    assert introspect(api, token, only) == {"active": False}
    either = bearer(api.narrowed("for.audience in default,photos"))
    assert introspect(api, photo, either) == {"active": False}
    assert introspect(api, photo, either, audience="photos")["active"] is True
    assert introspect(api, token, either)["aud"] == "default"


@pytest.mark.parametrize(
    ("fields", "query"),
    [
        ([], ""),
        ([("token", "")], ""),
        ([("token_type_hint", "access_token")], ""),
        ([("token", "TOKEN"), ("token", "TOKEN")], ""),
        ([("token", "TOKEN"), ("token", "x")], ""),
        ([("token", "TOKEN"), ("audience", "default"), ("audience", "default")], ""),
        ([("token", "TOKEN"), ("audience", "")], ""),
        ([("token", "TOKEN"), ("audience", "no word")], ""),
        ([("token", "TOKEN"), ("context.floor", "1"), ("context.floor", "2")], ""),
        ([("token", "TOKEN"), ("other", "1"), ("other", "1")], ""),
        ([("token", "TOKEN")] + [(f"x{n}", "") for n in range(100)], ""),
        ([], "?token=TOKEN"),
        ([("token", "TOKEN")], "?token=TOKEN"),
        ([("token", "TOKEN")], "?audience=default"),
        ([("token", "TOKEN")], "?x"),
    ],
)
def test_requests_that_are_none(shared: Api, fields: list[tuple[str, str]], query: str) -> None:
    """The form has one token, and nothing twice; the address has nothing."""
    token = shared.mint()["token"]
    assert introspect(shared, token, token_type_hint="refresh_token", other="1")["active"] is True
    loose = shared.send("POST", "/v1/introspect", [FORM, bearer(shared.admin)], [f"other&token={token}&&".encode()])
    assert loose.json["active"] is True
    filled = [(name, value.replace("TOKEN", token)) for name, value in fields]
    answer = ask(shared, filled, query=query.replace("TOKEN", token))
    assert refused(answer) == (400, "invalid_request", "bad-request")
    assert token not in answer.body.decode()


@pytest.mark.parametrize("body", [b"token=%ff", b"token=\xff", b"token=\xc3\xa9", b"\x00\xff=1&token=x"])
def test_forms_that_are_none(shared: Api, body: bytes) -> None:
    """Names and values are UTF-8, percent-encoded."""
    assert refused(shared.send("POST", "/v1/introspect", [FORM, bearer(shared.admin)], [body])) == (
        400,
        "invalid_request",
        "bad-request",
    )


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense", "", "é"])
def test_hints_are_ignored(shared: Api, hint: str) -> None:
    """Whatever kind of token it is said to be, the answer is the same."""
    token = shared.mint()["token"]
    assert introspect(shared, token, token_type_hint=hint) == introspect(shared, token)


def test_the_password_is_a_credential(shared: Api) -> None:
    """Basic authentication, whoever the user is."""
    token = shared.mint()["token"]
    narrowed = shared.narrowed("action = tokens:verify", "path = /v1/introspect", "method = POST")
    for header in (
        basic(narrowed),
        basic(narrowed, ""),
        basic(narrowed, "ä"),
        ("authorization", f"bAsIc   {basic(narrowed)[1][6:]!s}"),
        bearer(narrowed),
    ):
        assert introspect(shared, token, header)["active"] is True


@pytest.mark.parametrize(
    "value",
    [
        "Basic",
        "Basic ",
        "Basic x",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"user:").decode(),
        "Basic " + base64.b64encode(b"user:x").decode(),
        "Basic " + base64.b64encode(b"user:\xff").decode(),
        "Basic " + base64.b64encode(b"user:x:y").decode(),
        "Basic dXNlcjp4=",
        "Basic dXNlcjp4\xe9",
    ],
)
def test_passwords_that_are_none(shared: Api, value: str) -> None:
    """They are refused as a credential that is malformed, with the challenge of the same scheme."""
    answer = ask(shared, {"token": "x"}, ("authorization", value.encode("latin-1")))
    assert refused(answer) == (401, "invalid_client", "malformed")
    assert answer.headers["www-authenticate"] == 'Basic realm="capsvc", charset="UTF-8"'


def test_passwords_have_one_spelling(shared: Api) -> None:
    """Base64 with its padding and nothing beside it."""
    for user in ("a", "ab", "abc"):
        name, value = basic(shared.admin, user)
        assert isinstance(value, str)
        assert ask(shared, {"token": "x"}, (name, value)).status == 200
        loose = [value + "=", value + " ", value[:10] + " " + value[10:], value.replace("Basic ", "Basic :")]
        assert refused(ask(shared, {"token": "x"}, basic(f"x:{shared.admin}", user)))[2] == "malformed"
        if value.endswith("="):
            loose.append(value.rstrip("="))
            last = value.rstrip("=")[-1]
            loose.append(value.rstrip("=")[:-1] + chr(ord(last) + 1) + "=" * value.count("="))
        for wrong in loose:
            assert refused(ask(shared, {"token": "x"}, (name, wrong)))[:2] == (401, "invalid_client"), wrong


def test_who_may_ask(api: Api) -> None:
    """Without a credential nothing is told, with one the permission is needed; a token of users is none."""
    token = api.mint()["token"]
    none = api.send("POST", "/v1/introspect", [FORM], [urlencode({"token": token}).encode()])
    assert refused(none) == (401, "invalid_client", "credential-missing")
    assert none.headers["www-authenticate"] == 'Bearer realm="capsvc", Basic realm="capsvc", charset="UTF-8"'
    other = ask(api, {"token": token}, ("authorization", "Digest x"))
    assert refused(other) == (401, "invalid_client", "credential-missing")
    users = ask(api, {"token": token}, bearer(token))
    assert refused(users) == (401, "invalid_client", "wrong-audience")
    assert 'Bearer realm="capsvc", error="invalid_token"' in users.headers["www-authenticate"]
    assert refused(ask(api, {"token": token}, basic(token))) == (401, "invalid_client", "wrong-audience")
    for header in (bearer(api.narrowed("action = tokens:mint")), basic(api.narrowed("action = tokens:mint"))):
        forbidden = ask(api, {"token": token}, header)
        assert refused(forbidden) == (403, "unauthorized_client", "caveat-refused")
        assert 'error="insufficient_scope"' in forbidden.headers["www-authenticate"]
    two = ask(api, {"token": token}, bearer(api.admin), basic(api.admin))
    assert refused(two) == (400, "invalid_request", "bad-request")
    assert introspect(api, token, basic(api.narrowed("action = tokens:verify")))["active"] is True


def test_a_bundle_as_password(api: Api) -> None:
    """A credential with discharges is a password like any other; its ``~`` may be escaped, as some clients do."""
    login = Party().registered(api)
    token = api.mint()["token"]
    root = api.narrowed("action = tokens:verify")
    bundle = _discharged(api, root, login)
    assert "~" in bundle
    for password in (bundle, bundle.replace("~", "%7E"), bundle.replace("~", "%7e"), quote(bundle, safe="")):
        assert introspect(api, token, basic(password))["active"] is True
    assert refused(ask(api, {"token": token}, basic(bundle.replace("~", "%257E"))))[2] == "malformed"
    assert refused(ask(api, {"token": token}, basic(bundle.replace("~", "+"))))[2] == "malformed"


def _discharged(api: Api, root: str, login: Party) -> str:
    """A credential whose holder made it depend on somebody, with that discharge."""
    macaroon = Macaroon.deserialize(root)
    macaroon.add_third_party_caveat(login.location, "between us", "cid")
    answer = Macaroon(location=login.location, identifier="cid", key="between us", version=2)
    bound = macaroon.prepare_for_request(answer)
    return f"{macaroon.serialize()}~{bound.serialize()}"


@pytest.mark.parametrize(
    ("headers", "body", "outcome"),
    [
        ([("content-length", "65537")], b"", (413, "invalid_request", "too-large")),
        ([("content-type", "application/json")], b"{}", (415, "invalid_request", "media-type")),
        ([], b"token=x", (415, "invalid_request", "media-type")),
        ([FORM, FORM], b"token=x", (415, "invalid_request", "media-type")),
        ([FORM], b"", (401, "invalid_client", "credential-missing")),
        ([FORM, ("authorization", "Bearer x")], b"", (400, "invalid_request", "bad-request")),
        ([FORM, ("authorization", "Bearer x")], b"token=y", (401, "invalid_client", "malformed")),
        ([FORM, ("authorization", "Basic x")], b"", (400, "invalid_request", "bad-request")),
    ],
)
def test_what_is_told_first(shared: Api, headers: list[Header], body: bytes, outcome: tuple[int, str, str]) -> None:
    """413, 415, the missing credential, 400, the credential, in RFC 6749's form."""
    assert refused(shared.send("POST", "/v1/introspect", headers, [body])) == outcome


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
def test_other_methods(shared: Api, method: str) -> None:
    """Nobody puts a token into an address: only POST is answered."""
    token = shared.mint()["token"]
    answer = shared.send(method, f"/v1/introspect?token={token}", [bearer(shared.admin)])
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_no_storage_is_no_answer(shared: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After, not ``active`` false: the caller must not take it for a refusal."""

    def unavailable(*_: object, **__: object) -> NoReturn:
        raise RequestError("unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(shared.authority, "introspect", unavailable)
        answer = ask(shared, {"token": "x"})
    assert refused(answer) == (503, "temporarily_unavailable", "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert introspect(shared, "x") == {"active": False}


def test_metadata(shared: Api) -> None:
    """RFC 8414's document: the issuer, two endpoints, and nothing that this authority does not do."""
    answer = shared.send("GET", "/.well-known/oauth-authorization-server")
    issuer = shared.authority.issuer
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == {
        "issuer": issuer,
        "introspection_endpoint": f"{issuer}/v1/introspect",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "Bearer"],
        "revocation_endpoint": f"{issuer}/v1/revoke",
        "revocation_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
        "response_types_supported": [],
        "grant_types_supported": [],
    }


def test_metadata_of_an_issuer_below_a_path(tmp_path: Path) -> None:
    """The issuer is told as it is configured, and the endpoints lie below it."""
    opened = Api(tmp_path, issuer="https://tokens.example.org/unit-X/")
    try:
        told = opened.get("/.well-known/oauth-authorization-server").json
        assert told["issuer"] == "https://tokens.example.org/unit-X/"
        assert told["introspection_endpoint"] == "https://tokens.example.org/unit-X/v1/introspect"
        assert told["revocation_endpoint"] == "https://tokens.example.org/unit-X/v1/revoke"
        assert introspect(opened, opened.mint()["token"])["iss"] == told["issuer"]
    finally:
        opened.close()


def test_other_addresses_are_no_oauth_matter(shared: Api) -> None:
    """What is no address of ours is told as everywhere."""
    for path in ("/v1/introspect", "/v1/revoke"):
        assert shared.send("POST", path, [FORM], [b"token=x"]).status != 404
        answer = shared.send("POST", path, [FORM], [b"token=x"], raw_path=path.replace("r", "%72").encode())
        assert answer.outcome == (404, "not-found")
        assert answer.headers["content-type"] == "application/problem+json"


def test_headers_of_refusals_are_kept() -> None:
    """All but what speaks of a body of another form."""
    closing = (b"connection", b"close")
    kept = oauth_answer(Problem(503, "unavailable", headers=(closing,))).headers
    assert set(kept) == {JSON, NO_STORE, closing, (b"retry-after", b"1")}


@pytest.mark.parametrize("authorization", ["Basic eDp5", "Basic x", "Bearer x", "Digest x", ""])
def test_revoke_looks_at_no_credential(api: Api, authorization: str) -> None:
    """What an OAuth client sends along does not disturb it, good or bad, once or twice."""
    token = api.mint()["token"]
    headers = [FORM, ("authorization", authorization), ("authorization", f"Bearer {api.admin}")]
    answer = api.send("POST", "/v1/revoke", headers, [urlencode({"token": token}).encode()])
    assert (answer.status, answer.body) == (200, b"")
    assert "www-authenticate" not in answer.headers
    assert introspect(api, token) == {"active": False}
    assert introspect(api, api.mint()["token"])["active"] is True


def test_answers_are_json_of_their_schema(shared: Api) -> None:
    """OpenAPI's schemas are what is answered, and errors are among those that it tells."""
    schemas = shared.get("/openapi.json").json["components"]["schemas"]
    minted = shared.mint(subject="alice", facts={"client": "app"}, caveats=["action = read"])
    assert list(introspect(shared, minted["token"])) == list(schemas["Active"]["properties"])
    assert schemas["Inactive"]["properties"] == {"active": {"const": json.loads(INACTIVE)["active"]}}
    document = shared.get("/.well-known/oauth-authorization-server").json
    assert list(document) == list(schemas["OAuthMetadata"]["properties"])
    told = set(schemas["OAuthError"]["properties"]["error"]["enum"])
    assert {refused(ask(shared, {}))[1], refused(ask(shared, {"token": "x"}, basic("x")))[1]} <= told
