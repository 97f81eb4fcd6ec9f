"""/v1/dischargers: registered, shown, changed, removed, and what may be registered beside what."""

from typing import Any

import pytest

from capsvc.macaroon.thirdparty import KeyPair, key_text

from .conftest import Api, Party

NOON = "2026-11-22T12:00:00Z"


def fresh() -> str:
    """A public key of nobody."""
    return key_text(KeyPair.generate().public)


def change(api: Api, name: str, **keys: Any) -> Any:
    """A PATCH."""
    return api.call("PATCH", f"/v1/dischargers/{name}", keys)


def test_registered(api: Api) -> None:
    """201 with its address, then shown, listed, and published without the next key."""
    assert api.get("/v1/dischargers").json == {"dischargers": [], "next": None}
    login, following = Party(), fresh()
    answer = api.post("/v1/dischargers", {**login.body, "next_public_key": following})
    expected = {**login.body, "next_public_key": following, "created_at": NOON}
    assert (answer.status, answer.json) == (201, expected)
    assert list(answer.json) == ["name", "location", "public_key", "next_public_key", "created_at"]
    assert answer.headers["location"] == "/v1/dischargers/login"
    assert answer.headers["cache-control"] == "no-store"
    shown = api.get("/v1/dischargers/login")
    assert (shown.status, shown.json) == (200, expected)
    assert api.get("/v1/dischargers").json == {"dischargers": [expected], "next": None}
    assert api.get("/.well-known/capsvc").json["dischargers"] == [login.body]


@pytest.mark.parametrize("fields", [{}, {"next_public_key": None}])
def test_without_a_next_key(api: Api, fields: dict[str, Any]) -> None:
    """Absent and null are the same."""
    Party().registered(api, **fields)
    assert api.get("/v1/dischargers/login").json["next_public_key"] is None


@pytest.mark.parametrize(
    "location", ["http://127.0.0.1:9", "http://[::1]:8701", "https://a.example.org/discharge/", "https://A.example.org"]
)
def test_locations(api: Api, location: str) -> None:
    """A location is kept as it was given."""
    assert Party(location=location).registered(api).location == location
    assert api.get("/v1/dischargers/login").json["location"] == location


def test_unique(api: Api) -> None:
    """Name, location without its trailing slash, and every key, current or next, are one discharger's alone."""
    following = fresh()
    login = Party().registered(api, next_public_key=following)
    other = Party("other").body
    taken = [
        login.body,
        {**other, "name": "login"},
        {**other, "location": login.location},
        {**other, "location": login.location + "/"},
        {**other, "public_key": login.public_key},
        {**other, "public_key": following},
        {**other, "next_public_key": login.public_key},
        {**other, "next_public_key": following},
        {**other, "next_public_key": other["public_key"]},
    ]
    for body in taken:
        assert api.post("/v1/dischargers", body).outcome == (409, "exists"), body
    for body in (
        {**other, "name": "Login"},
        {**Party("a").body, "location": login.location + "/a"},
        {**Party("b").body, "location": "https://LOGIN.example.org"},
    ):
        assert api.post("/v1/dischargers", body).status == 201, body
    slashed = Party("slashed", "https://slashed.example.org/").registered(api)
    assert api.post("/v1/dischargers", {**Party("c").body, "location": slashed.location[:-1]}).outcome == (
        409,
        "exists",
    )


def test_changed(api: Api) -> None:
    """Each key by itself, both at once; null takes the next one away, and an absent one stays."""
    login = Party().registered(api)
    first, second, third = login.public_key, fresh(), fresh()

    def keys(**given: Any) -> tuple[Any, Any]:
        answer = change(api, "login", **given)
        assert answer.status == 200, answer.body
        assert answer.json == {**login.body, **answer.json, "created_at": NOON}
        assert api.get("/v1/dischargers/login").json == answer.json
        return answer.json["public_key"], answer.json["next_public_key"]

    assert keys(next_public_key=second) == (first, second)
    assert keys(public_key=second, next_public_key=first) == (second, first)
    assert keys(public_key=third) == (third, first)
    assert keys(next_public_key=None) == (third, None)
    assert keys(next_public_key=None) == (third, None)
    assert keys(public_key=fresh(), next_public_key=None)[1] is None
    four, five = fresh(), fresh()
    assert keys(public_key=four, next_public_key=five) == (four, five)
    assert keys(public_key=five) == (five, None)  # the next one has become the one


def test_refused_changes(api: Api) -> None:
    """No key twice, none of another discharger; the name must be there."""
    login, other = Party().registered(api), Party("other").registered(api, next_public_key=fresh())
    theirs = api.get("/v1/dischargers/other").json
    for given in (
        {"next_public_key": login.public_key},
        {"public_key": other.public_key},
        {"public_key": theirs["next_public_key"]},
        {"next_public_key": other.public_key},
    ):
        assert change(api, "login", **given).outcome == (409, "exists"), given
    for name in ("nothing", "%C3%A9", "!", "Login"):
        assert change(api, name, next_public_key=None).outcome == (404, "not-found"), name
        assert api.get(f"/v1/dischargers/{name}").outcome == (404, "not-found"), name
        assert api.call("DELETE", f"/v1/dischargers/{name}").outcome == (404, "not-found"), name
    assert api.get("/v1/dischargers/login").json == {**login.body, "next_public_key": None, "created_at": NOON}


def test_removed(api: Api) -> None:
    """204 without a body, once; the name is free again, for a registration of its own."""
    login = Party().registered(api)
    answer = api.call("DELETE", "/v1/dischargers/login")
    assert (answer.status, answer.body) == (204, b"")
    assert "content-length" not in answer.headers
    assert api.get("/v1/dischargers/login").outcome == (404, "not-found")
    assert api.call("DELETE", "/v1/dischargers/login").outcome == (404, "not-found")
    assert api.get("/.well-known/capsvc").json["dischargers"] == []
    api.clock.now += 1
    login.registered(api)
    assert api.get("/v1/dischargers/login").json["created_at"] == "2026-11-22T12:00:01Z"


def test_removal_takes_effect_at_once(api: Api) -> None:
    """What depended on it is dead with the answer, another's is not, and registering it again revives nothing."""
    login, other = Party().registered(api), Party("other").registered(api)
    mine = login.bundle(api.mint(third_party=[login.asks()])["token"])
    theirs = other.bundle(api.mint(third_party=[other.asks()])["token"])
    assert [api.verify(bundle)["allowed"] for bundle in (mine, theirs)] == [True, True]
    api.call("DELETE", "/v1/dischargers/login")
    denied = api.verify(mine)
    assert (denied["code"], denied["caveat"]) == ("discharge-invalid", login.location)
    api.clock.now += 1
    login.registered(api)
    assert api.verify(mine)["code"] == "discharge-invalid"
    assert api.verify(theirs)["allowed"] is True
    assert api.verify(login.bundle(api.mint(third_party=[login.asks()])["token"]))["allowed"] is True


def test_replaced_with_overlap(api: Api) -> None:
    """Swapped with its next one, a key goes on counting; dropped, it does not."""
    login, following = Party().registered(api), Party("next")
    api.clock.now += 1
    old = login.bundle(api.mint(third_party=[login.asks()])["token"])
    change(api, "login", next_public_key=following.public_key)
    change(api, "login", public_key=following.public_key, next_public_key=login.public_key)
    young = following.bundle(api.mint(third_party=[login.asks()])["token"])
    assert [api.verify(bundle)["allowed"] for bundle in (old, young)] == [True, True]
    change(api, "login", next_public_key=None)
    assert [api.verify(bundle).get("code") for bundle in (old, young)] == ["discharge-invalid", None]


@pytest.mark.parametrize("caveat", ["for.audience = default", "for.sub = alice", "for.ttl <= 60", "for.tenant = acme"])
def test_a_bounded_credential(shared: Api, caveat: str) -> None:
    """Dischargers and the installation's keys belong to nobody in particular: any bound is refused."""
    credential = shared.narrowed(caveat)
    for method, path, body in [
        ("GET", "/v1/dischargers", None),
        ("POST", "/v1/dischargers", Party().body),
        ("GET", "/v1/dischargers/nothing", None),
        ("PATCH", "/v1/dischargers/nothing", {"next_public_key": None}),
        ("DELETE", "/v1/dischargers/nothing", None),
        ("GET", "/v1/bakery-keys", None),
        ("POST", "/v1/bakery-keys", None),
        ("POST", "/v1/bakery-keys/rotate", None),
    ]:
        assert shared.call(method, path, body, credential).outcome == (403, "context-missing"), path
    assert shared.get("/v1/dischargers", shared.narrowed("audience = capsvc")).status == 200


def test_pages(api: Api) -> None:
    """Oldest first; a page goes on where the one before ended, whoever was removed meanwhile."""
    names = ["d", "b", "e", "a", "c"]
    for name in names:
        Party(name).registered(api)
    whole = api.get("/v1/dischargers").json
    assert [row["name"] for row in whole["dischargers"]] == names
    page = api.get("/v1/dischargers?limit=2").json
    assert [row["name"] for row in page["dischargers"]] == ["d", "b"]
    api.call("DELETE", "/v1/dischargers/d")
    api.call("DELETE", "/v1/dischargers/b")
    rest = api.get(f"/v1/dischargers?limit=3&after={page['next']}").json
    assert ([row["name"] for row in rest["dischargers"]], rest["next"]) == (["e", "a", "c"], None)
    for query in ("limit=0", "limit=1001", "after=x", "after=audiences.1", "colour=1", "limit=1&limit=1"):
        assert api.get(f"/v1/dischargers?{query}").outcome == (400, "bad-request"), query


def test_who_registered_it_is_audited(api: Api) -> None:
    """Each write is a line of the audit, which still proves itself."""
    before = api.authority.verify_audit()
    Party().registered(api)
    change(api, "login", next_public_key=fresh())
    api.call("DELETE", "/v1/dischargers/login")
    api.post("/v1/bakery-keys")
    api.post("/v1/bakery-keys/rotate")
    assert api.authority.verify_audit() == before + 5
