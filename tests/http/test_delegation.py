"""What an administrator may hand on: a credential narrowed by permission, target, method and path."""

from typing import Any

import pytest

from capsvc.macaroon.thirdparty import KeyPair
from capsvc.token import Token

from .conftest import Api, Party

MINT = {"audience": "default", "ttl": 600}
OTHER = {"audience": "photos"}
PERMISSIONS: dict[str, list[tuple[str, str, Any]]] = {
    "tokens:mint": [("POST", "/v1/tokens", MINT)],
    "tokens:read": [("GET", "/v1/tokens", None), ("GET", "/v1/tokens/x", None)],
    "tokens:verify": [
        ("POST", "/v1/verify", {"token": "x", "audience": "default"}),
        ("POST", "/v1/verify/batch", {"requests": [{"token": "x", "audience": "default"}]}),
    ],
    "tokens:revoke": [
        ("POST", "/v1/revocations", {"id": "x"}),
        ("POST", "/v1/revocations", {"token": "x"}),
        ("POST", "/v1/revocations", {"audience": "default", "subject": "nobody"}),
    ],
    "revocations:read": [("GET", "/v1/revocations", None)],
    "keys:read": [
        ("GET", "/v1/audiences", None),
        ("GET", "/v1/audiences/default", None),
        ("GET", "/v1/audiences/default/keys", None),
    ],
    "keys:write": [
        ("POST", "/v1/audiences", {"name": "default"}),
        ("PATCH", "/v1/audiences/default", {"max_ttl": 2_592_000}),
        ("POST", "/v1/audiences/photos/keys", None),
        ("DELETE", "/v1/audiences/default/keys/x", None),
        ("POST", "/v1/revocations", {"key": "x"}),
    ],
    "tokens:exchange": [("POST", "/v1/exchange", {"token": "x"})],
    "dischargers:read": [
        ("GET", "/v1/dischargers", None),
        ("GET", "/v1/dischargers/x", None),
        ("GET", "/v1/bakery-keys", None),
    ],
    "dischargers:write": [
        ("POST", "/v1/dischargers", Party(pair=KeyPair(b"k" * 32)).body),
        ("PATCH", "/v1/dischargers/x", {"next_public_key": None}),
        ("DELETE", "/v1/dischargers/x", None),
        ("POST", "/v1/bakery-keys", None),
        ("POST", "/v1/bakery-keys/rotate", None),
    ],
}
CALLS = [(permission, *call) for permission, calls in PERMISSIONS.items() for call in calls]


@pytest.fixture(autouse=True)
def photos(shared: Api) -> None:
    """A second audience, there for every test."""
    shared.post("/v1/audiences", {"name": "photos"})


@pytest.mark.parametrize(("permission", "method", "path", "body"), CALLS)
def test_each_permission(shared: Api, permission: str, method: str, path: str, body: Any) -> None:
    """Each call needs its own permission, and all others together do not do."""
    others = ",".join(sorted(PERMISSIONS.keys() - {permission}))
    refused = shared.call(method, path, body, shared.narrowed(f"action in {others}"))
    assert refused.outcome == (403, "caveat-refused")
    assert refused.json["caveat"] == f"action in {others}"
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
    allowed = shared.call(method, path, body, shared.narrowed(f"action = {permission}"))
    assert allowed.status not in {401, 403}


@pytest.mark.parametrize(
    ("caveat", "status"),
    [
        ("method = GET", 200),
        ("method in GET,POST", 200),
        ("method = POST", 403),
        ("path = /v1/audiences", 200),
        ("path under /v1", 200),
        ("path = /v1/tokens", 403),
        ("path under /v1/audiences/photos", 403),
        ("host = localhost", 403),
        ("ip in 127.0.0.0/8", 403),
        ("floor = 1", 403),
        ("weekday = sun", 200),
        ("weekday = mon", 403),
        ("clock < 12:01", 200),
        ("clock < 12:00", 403),
        ("audience = capsvc", 200),
        ("audience = default", 403),
    ],
)
def test_the_request_itself(shared: Api, caveat: str, status: int) -> None:
    """Method and path of the request are in the context, and nothing else of it."""
    assert shared.get("/v1/audiences", shared.narrowed(caveat)).status == status


def test_the_method_as_sent(shared: Api) -> None:
    """HEAD is not GET."""
    assert shared.call("HEAD", "/v1/audiences", credential=shared.narrowed("method = HEAD")).status == 200
    assert shared.call("HEAD", "/v1/audiences", credential=shared.narrowed("method = GET")).status == 403


def test_the_path_as_sent(shared: Api) -> None:
    """The path in its normal form, without the query."""
    credential = shared.narrowed("path = /v1/audiences/a%C3%A9")
    assert (
        shared.send(
            "GET", "/v1/audiences/aé", [("authorization", f"Bearer {credential}")], raw_path=b"/v1/audiences/a%C3%A9"
        ).status
        == 404
    )
    assert shared.get("/v1/audiences?limit=1", shared.narrowed("path = /v1/audiences")).status == 200


MINT_FULL = {"audience": "photos", "ttl": 600, "subject": "alice", "facts": {"tenant": "acme", "seats": 2}}


@pytest.mark.parametrize(
    ("caveat", "outcome"),
    [
        ("for.audience = photos", 201),
        ("for.audience = default", "caveat-refused"),
        ("for.sub = alice", 201),
        ("for.sub in alice,bob", 201),
        ("for.sub = bob", "caveat-refused"),
        ("for.ttl <= 600", 201),
        ("for.ttl < 601", 201),
        ("for.ttl < 600", "caveat-refused"),
        ("for.ttl <= 599", "caveat-refused"),
        ("for.tenant = acme", 201),
        ("for.tenant = other", "caveat-refused"),
        ("for.seats <= 2", 201),
        ("for.seats < 2", "caveat-refused"),
        ("for.client = x", "context-missing"),
        ("for.floor = 1", "caveat-unknown"),
        ("for.time < 5", "caveat-unknown"),
    ],
)
def test_mint(shared: Api, caveat: str, outcome: int | str) -> None:
    """Audience, subject, lifetime and facts of what is to be minted."""
    credential = _unchecked(shared, caveat)
    answer = shared.post("/v1/tokens", MINT_FULL, credential)
    if outcome == 201:
        assert answer.status == 201, answer.body
    else:
        assert answer.outcome == (403, outcome)
        assert answer.json["caveat"] == caveat


def _unchecked(api: Api, caveat: str) -> str:
    from capsvc.macaroon import build
    from capsvc.macaroon.decode import decode, encode

    return encode(build.attenuate(decode(api.admin), [caveat]))


@pytest.mark.parametrize("caveat", ["for.sub = alice", "for.tenant = acme", "for.seats <= 2"])
def test_mint_without_what_is_bounded(shared: Api, caveat: str) -> None:
    """A mint that states nothing there is refused, null or left out."""
    credential = shared.narrowed(caveat)
    assert shared.post("/v1/tokens", MINT, credential).outcome == (403, "context-missing")
    assert shared.post("/v1/tokens", {**MINT, "subject": None, "facts": {}}, credential).outcome == (
        403,
        "context-missing",
    )


def test_ttl_of_expires_at(shared: Api) -> None:
    """An absolute expiry counts as the seconds that the token will live."""
    credential = shared.narrowed("for.ttl <= 60")
    for second, status in (("01:00", 201), ("01:01", 403)):
        body = {"audience": "default", "expires_at": f"2026-11-22T12:{second}Z"}
        assert shared.post("/v1/tokens", body, credential).status == status


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "a b"},
        {"facts": {"seats": "2"}},
        {"facts": {"seats": 10**18}},
        {"ttl": 10**18},
        {"facts": {"x": "y"}},
    ],
)
def test_values_of_no_type(shared: Api, fields: dict[str, Any]) -> None:
    """A value outside its type is no way round a bound on it; without a bound it is 422."""
    assert shared.post("/v1/tokens", {**MINT, **fields}).status == 422
    bounds = {"subject": "for.sub = ab", "facts": "for.seats <= 2", "ttl": "for.ttl <= 60"}
    credential = shared.narrowed(bounds[next(iter(fields))])
    assert shared.post("/v1/tokens", {**MINT, **fields}, credential).status == 403


def test_facts_take_no_other_place(shared: Api) -> None:
    """A fact named like one of the three others does not stand in for it."""
    credential = shared.narrowed("for.audience = photos", "for.ttl <= 60")
    body = {**MINT, "facts": {"audience": "photos", "ttl": 60}}
    assert shared.post("/v1/tokens", body, credential).outcome == (403, "caveat-refused")


def test_refused_audiences_that_a_request_names(shared: Api) -> None:
    """403, whether or not it exists."""
    credential = shared.narrowed("for.audience = photos")
    for name in ("default", "nothing"):
        for method, path, body in [
            ("POST", "/v1/tokens", {**MINT, "audience": name}),
            ("POST", "/v1/verify", {"token": "x", "audience": name}),
            ("POST", "/v1/revocations", {"audience": name, "subject": "alice"}),
            ("POST", "/v1/audiences", {"name": name}),
            ("GET", f"/v1/audiences/{name}", None),
            ("PATCH", f"/v1/audiences/{name}", {"max_ttl": 60}),
            ("GET", f"/v1/audiences/{name}/keys", None),
            ("POST", f"/v1/audiences/{name}/keys", None),
            ("DELETE", f"/v1/audiences/{name}/keys/x", None),
        ]:
            assert shared.call(method, path, body, credential).outcome == (403, "caveat-refused"), path
    assert shared.get("/v1/audiences/photos", credential).status == 200
    assert shared.post("/v1/verify", {"token": "x", "audience": "photos"}, credential).status == 200


def test_targets_that_imply_an_audience(api: Api) -> None:
    """Not covered looks exactly like not existing: 404, for a token 422 invalid-token."""
    api.post("/v1/audiences", {"name": "photos"})
    minted = api.mint(subject="alice")
    (key,) = api.get("/v1/audiences/default/keys").json["keys"]
    hidden, shown = api.narrowed("for.audience = photos"), api.narrowed("for.audience = default")
    absent = api.get("/v1/tokens/AAAAAAAAAAAAAAAAAAAAAA", hidden)
    assert absent.outcome == (404, "not-found")
    assert api.get(f"/v1/tokens/{minted['id']}", hidden).body == absent.body
    for body in ({"id": minted["id"]}, {"key": key["kid"]}):
        assert api.post("/v1/revocations", body, hidden).body == absent.body
    token = minted["token"]
    foreign = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    refused = api.post("/v1/revocations", {"token": token}, hidden)
    assert refused.outcome == (422, "invalid-token")
    assert refused.body == api.post("/v1/revocations", {"token": foreign}, hidden).body
    assert api.verify(token)["allowed"] is True
    assert api.get(f"/v1/tokens/{minted['id']}", shown).status == 200
    for body in ({"token": token}, {"id": minted["id"]}, {"key": key["kid"]}):
        assert api.post("/v1/revocations", body, shown).status == 201


@pytest.mark.parametrize(
    ("caveat", "sees"),
    [
        ("for.audience = default", True),
        ("for.audience = photos", False),
        ("for.sub = alice", True),
        ("for.sub = bob", False),
        ("for.tenant = acme", True),
        ("for.tenant = other", False),
        ("for.seats <= 2", True),
        ("for.seats < 2", False),
        ("for.client = x", False),
        ("for.ttl <= 1000", False),
    ],
)
def test_rows_and_revocation_of_tokens(api: Api, caveat: str, sees: bool) -> None:
    """A row is judged by the token's audience, subject and facts; it has no lifetime to ask for."""
    minted = api.mint(subject="alice", facts={"tenant": "acme", "seats": 2})
    credential = api.narrowed(caveat)
    ids = [row["id"] for row in api.get("/v1/tokens", credential).json["tokens"]]
    assert (minted["id"] in ids) is sees
    assert api.get(f"/v1/tokens/{minted['id']}", credential).status == (200 if sees else 404)
    assert api.post("/v1/revocations", {"token": minted["token"]}, credential).status == (201 if sees else 422)
    assert api.post("/v1/revocations", {"id": minted["id"]}, credential).status == (201 if sees else 404)


@pytest.mark.parametrize(
    ("caveat", "status"),
    [
        ("for.audience = default", 201),
        ("for.audience = photos", 403),
        ("for.sub = alice", 201),
        ("for.sub = bob", 403),
        ("for.tenant = acme", 403),
        ("for.ttl <= 60", 403),
    ],
)
def test_revocation_by_subject(api: Api, caveat: str, status: int) -> None:
    """Judged by audience and subject."""
    api.mint(subject="alice", facts={"tenant": "acme"})
    body = {"audience": "default", "subject": "alice"}
    assert api.post("/v1/revocations", body, api.narrowed(caveat)).status == status


@pytest.mark.parametrize("caveat", ["for.sub = alice", "for.ttl <= 60", "for.tenant = acme"])
def test_requests_that_have_an_audience_alone(shared: Api, caveat: str) -> None:
    """A credential bounded by what the request has no value for is refused, or sees nothing."""
    credential = shared.narrowed(caveat)
    for method, path, body in [
        ("POST", "/v1/verify", {"token": "x", "audience": "default"}),
        ("POST", "/v1/audiences", {"name": "another"}),
        ("GET", "/v1/audiences/default", None),
        ("PATCH", "/v1/audiences/default", {"max_ttl": 60}),
        ("GET", "/v1/audiences/default/keys", None),
        ("POST", "/v1/audiences/default/keys", None),
    ]:
        assert shared.call(method, path, body, credential).outcome == (403, "context-missing"), path
    assert shared.get("/v1/audiences", credential).json == {"audiences": [], "next": None}
    kid = shared.get("/v1/audiences/default/keys").json["keys"][0]["kid"]
    assert shared.post("/v1/revocations", {"key": kid}, credential).outcome == (404, "not-found")
    batch = {"requests": [{"token": "x", "audience": "default"}]}
    assert shared.post("/v1/verify/batch", batch, credential).json["results"][0]["code"] == "forbidden"


def test_audiences_row_by_row(shared: Api) -> None:
    """A list shows the audiences that the credential covers."""
    credential = shared.narrowed("for.audience in default,photos")
    names = [row["name"] for row in shared.get("/v1/audiences", credential).json["audiences"]]
    assert sorted(names) == ["default", "photos"]


def test_other_caveats_come_at_once(shared: Api) -> None:
    """For lists and batches too, what is not for.… is decided for the whole request."""
    credential = shared.narrowed("for.audience = photos", "floor = 1")
    assert shared.get("/v1/tokens", credential).outcome == (403, "context-missing")
    batch = {"requests": [{"token": "x", "audience": "default"}]}
    assert shared.post("/v1/verify/batch", batch, credential).outcome == (403, "context-missing")


def test_everybody_else(api: Api) -> None:
    """A user's token is no credential; nor is one that expired, was revoked or altered."""
    user = api.mint()["token"]
    assert api.get("/v1/tokens", user).outcome == (401, "wrong-audience")
    narrowed = api.narrowed("time < 2026-11-22T12:00:01Z")
    assert api.get("/v1/tokens", narrowed).status == 200
    api.clock.now += 1
    assert api.get("/v1/tokens", narrowed).outcome == (401, "expired")
    later = api.narrowed("time >= 2026-11-22T12:00:02Z")
    assert api.get("/v1/tokens", later).outcome == (401, "not-yet-valid")
    api.post("/v1/revocations", {"token": narrowed})
    assert api.get("/v1/tokens", narrowed).outcome == (401, "revoked")
    altered = api.admin[:-2] + ("A" if api.admin[-2] != "A" else "B") + api.admin[-1]
    assert api.get("/v1/tokens", altered).outcome == (401, "invalid-token")
    assert api.get("/v1/tokens", f"{api.admin}~{user}").outcome == (401, "discharge-unused")
    assert api.get("/v1/tokens").status == 200
    api.post("/v1/revocations", {"id": Token.parse(api.admin).id})
    assert api.get("/v1/tokens").outcome == (401, "revoked")
