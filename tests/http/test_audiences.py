"""/v1/audiences and their keys."""

from typing import Any

import pytest

from .conftest import Api, Header

NOON = "2026-11-22T12:00:00Z"
MONTH = 2_592_000
TEN_YEARS = 315_360_000


def keys_of(api: Api, name: str = "default") -> Any:
    """The keys of an audience."""
    return api.get(f"/v1/audiences/{name}/keys").json["keys"]


def test_there_from_the_start(api: Api) -> None:
    """The audiences default and capsvc."""
    answer = api.get("/v1/audiences")
    assert answer.status == 200
    assert set(answer.json) == {"audiences", "next"}
    assert answer.json["next"] is None
    by_name = {row["name"]: row for row in answer.json["audiences"]}
    assert by_name["default"] == {"name": "default", "max_ttl": MONTH, "created_at": NOON}
    assert by_name["capsvc"]["max_ttl"] == 90 * 86_400


def test_add(api: Api) -> None:
    """A new audience has 30 days, a key, and mints."""
    answer = api.post("/v1/audiences", {"name": "photos:v1"})
    assert (answer.status, answer.json) == (201, {"name": "photos:v1", "max_ttl": MONTH, "created_at": NOON})
    assert answer.headers["location"] == "/v1/audiences/photos:v1"
    assert api.get("/v1/audiences/photos:v1").json == answer.json
    assert api.mint(audience="photos:v1")["audience"] == "photos:v1"
    assert api.post("/v1/audiences", {"name": "photos:v1"}).outcome == (409, "exists")
    assert api.post("/v1/audiences", {"name": "capsvc"}).outcome == (409, "exists")


@pytest.mark.parametrize(
    ("max_ttl", "outcome"),
    [
        (1, 201),
        (TEN_YEARS, 201),
        (0, (422, "ttl-invalid")),
        (-1, (422, "ttl-invalid")),
        (TEN_YEARS + 1, (422, "ttl-too-long")),
        (2**63, (422, "ttl-too-long")),
    ],
)
def test_bounds_of_max_ttl(shared: Api, max_ttl: int, outcome: int | tuple[int, str]) -> None:
    """1 to 315,360,000 seconds, for a new audience and a changed one."""
    added = shared.post("/v1/audiences", {"name": f"a{max_ttl}", "max_ttl": max_ttl})
    changed = shared.call("PATCH", "/v1/audiences/default", {"max_ttl": max_ttl})
    if outcome == 201:
        assert (added.status, changed.status) == (201, 200)
        assert added.json["max_ttl"] == changed.json["max_ttl"] == max_ttl
    else:
        assert added.outcome == changed.outcome == outcome


def test_change(api: Api) -> None:
    """A changed max_ttl holds for mints and for tokens that are out there."""
    token = api.mint(ttl=600)["token"]
    answer = api.call("PATCH", "/v1/audiences/default", {"max_ttl": 60})
    assert (answer.status, answer.json) == (200, {"name": "default", "max_ttl": 60, "created_at": NOON})
    assert api.post("/v1/tokens", {"audience": "default", "ttl": 61}).outcome == (422, "ttl-too-long")
    assert api.mint(ttl=60)["id"]
    api.clock.now += 60
    assert api.verify(token)["code"] == "expired"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/audiences/nothing", None),
        ("PATCH", "/v1/audiences/nothing", {"max_ttl": 5}),
        ("GET", "/v1/audiences/nothing/keys", None),
        ("POST", "/v1/audiences/nothing/keys", None),
        ("DELETE", "/v1/audiences/nothing/keys/0000000000000000", None),
        ("DELETE", "/v1/audiences/default/keys/0000000000000000", None),
        ("DELETE", "/v1/audiences/default/keys/x", None),
        ("GET", "/v1/audiences/!", None),
        ("GET", "/v1/audiences/%C3%A9", None),
    ],
)
def test_not_found(shared: Api, method: str, path: str, body: Any) -> None:
    """What is not there is 404 in a path."""
    assert shared.call(method, path, body).outcome == (404, "not-found")


def test_rotation(api: Api) -> None:
    """A new key mints, the old one still verifies; both are listed, oldest first."""
    (first,) = keys_of(api)
    old = api.mint()["token"]
    answer = api.post("/v1/audiences/default/keys")
    assert answer.status == 201
    assert list(answer.json) == ["kid", "state", "created_at"]
    assert (answer.json["state"], answer.json["created_at"]) == ("active", NOON)
    assert keys_of(api) == [{**first, "state": "retiring"}, answer.json]
    assert api.verify(old)["allowed"] is True
    assert api.verify(api.mint()["token"], prefix=True)["kid"] == answer.json["kid"]


@pytest.mark.parametrize("headers", [[], [("content-type", "application/json")], [("content-type", "text/plain")]])
def test_rotation_takes_no_body(shared: Api, headers: list[Header]) -> None:
    """An empty body, with or without a Content-Type; any other is refused."""
    authorized = [*headers, ("authorization", f"Bearer {shared.admin}")]
    path = "/v1/audiences/default/keys"
    assert shared.send("POST", path, authorized).status == 201
    refused = shared.send("POST", path, authorized, [b"{}"])
    json = ("content-type", "application/json") in headers
    assert refused.outcome == ((400, "bad-request") if json else (415, "media-type"))
    assert shared.send("POST", path, headers).outcome == (401, "credential-missing")


def test_deleting_a_key(api: Api) -> None:
    """204 without a body, again too; what the key minted is revoked, what others minted is not."""
    (first,) = keys_of(api)
    old = api.mint()["token"]
    api.post("/v1/audiences/default/keys")
    young = api.mint()["token"]
    path = f"/v1/audiences/default/keys/{first['kid']}"
    for _ in range(2):
        answer = api.call("DELETE", path)
        assert (answer.status, answer.body) == (204, b"")
        assert "content-length" not in answer.headers
    assert [api.verify(token).get("code") for token in (old, young)] == ["revoked", None]
    assert [key["state"] for key in keys_of(api)] == ["revoked", "active"]


def test_a_key_hangs_under_its_own_audience(api: Api) -> None:
    """Another audience's path does not reach it."""
    api.post("/v1/audiences", {"name": "photos"})
    (photos,) = keys_of(api, "photos")
    assert api.call("DELETE", f"/v1/audiences/default/keys/{photos['kid']}").outcome == (404, "not-found")
    assert keys_of(api, "photos") == [photos]


def test_pages(api: Api) -> None:
    """Lists come in pages, which together are the list."""
    for n in range(5):
        api.post("/v1/audiences", {"name": f"a{n}"})
        api.post("/v1/audiences/default/keys")
    for path, plural in (("/v1/audiences", "audiences"), ("/v1/audiences/default/keys", "keys")):
        whole = api.get(path).json[plural]
        rows: list[Any] = []
        after: str | None = ""
        sizes: list[int] = []
        while after is not None:
            page = api.get(f"{path}?limit=2" + (f"&after={after}" if after else "")).json
            rows += page[plural]
            sizes.append(len(page[plural]))
            after = page["next"]
        assert rows == whole
        assert sizes[:-1] == [2] * (len(sizes) - 1)
        assert sizes[-1] > 0
