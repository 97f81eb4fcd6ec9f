"""/v1/bakery-keys: the installation's own pairs, rotated with overlap."""

from typing import Any

import pytest

from capsvc.macaroon.decode import decode
from capsvc.macaroon.thirdparty import key_text, read_key, read_parties

from .conftest import Api, Header, Party

NOON = "2026-11-22T12:00:00Z"


def keys_of(api: Api) -> Any:
    """The pairs, as public key and state."""
    return [(key["public_key"], key["state"]) for key in api.get("/v1/bakery-keys").json["bakery_keys"]]


def published(api: Api) -> Any:
    """The key that dischargers are told."""
    return api.get("/.well-known/capsvc").json["public_key"]


def sealed_with(token: str) -> list[str]:
    """Our key in each of a token's caveat ids."""
    return [key_text(read_parties(caveat.cid)[1]) for caveat in decode(token).caveats if caveat.vid is not None]


def test_one_from_the_start(api: Api) -> None:
    """An active pair, whose public half is published."""
    answer = api.get("/v1/bakery-keys")
    (key,) = answer.json["bakery_keys"]
    assert (answer.status, answer.json["next"]) == (200, None)
    assert list(key) == ["public_key", "state", "created_at"]
    assert (key["public_key"], key["state"], key["created_at"]) == (published(api), "active", NOON)
    assert read_key(key["public_key"])


def test_rotated_with_overlap(api: Api) -> None:
    """Announced, then taken; tokens sealed under the former stay good."""
    login, first = Party().registered(api), published(api)
    old = api.mint(third_party=[login.asks()])["token"]
    answer = api.post("/v1/bakery-keys")
    following = answer.json["public_key"]
    assert (answer.status, answer.json) == (201, {"public_key": following, "state": "next", "created_at": NOON})
    assert keys_of(api) == [(first, "active"), (following, "next")]
    assert published(api) == first
    assert sealed_with(api.mint(third_party=[login.asks()])["token"]) == [first]
    assert api.post("/v1/bakery-keys").outcome == (409, "exists")
    answer = api.post("/v1/bakery-keys/rotate")
    assert (answer.status, answer.json["public_key"], answer.json["state"]) == (201, following, "active")
    assert keys_of(api) == [(first, "retiring"), (following, "active")]
    assert published(api) == following
    young = api.mint(third_party=[login.asks()])["token"]
    assert (sealed_with(old), sealed_with(young)) == ([first], [following])
    assert [api.verify(login.bundle(token))["allowed"] for token in (old, young)] == [True, True]


def test_rotated_at_once(api: Api) -> None:
    """Without a next pair, a fresh one is taken; each time another."""
    first = published(api)
    second = api.post("/v1/bakery-keys/rotate").json["public_key"]
    third = api.post("/v1/bakery-keys/rotate").json["public_key"]
    assert len({first, second, third}) == 3
    assert published(api) == third
    assert [state for _, state in keys_of(api)] == ["retiring", "retiring", "active"]


@pytest.mark.parametrize("path", ["/v1/bakery-keys", "/v1/bakery-keys/rotate"])
@pytest.mark.parametrize("headers", [[], [("content-type", "application/json")], [("content-type", "text/plain")]])
def test_no_body(api: Api, headers: list[Header], path: str) -> None:
    """An empty body, with or without a Content-Type; any other is refused, and makes no key."""
    authorized = [*headers, ("authorization", f"Bearer {api.admin}")]
    json = ("content-type", "application/json") in headers
    for body in (b"{}", b'{"public_key":"x"}', b" "):
        refused = api.send("POST", path, authorized, [body])
        assert refused.outcome == ((400, "bad-request") if json else (415, "media-type"))
    assert api.send("POST", f"{path}?x=1", authorized).outcome == (400, "bad-request")
    assert len(keys_of(api)) == 1
    assert api.send("POST", path, authorized).status == 201


def test_pages(api: Api) -> None:
    """Pages together are the list."""
    for _ in range(3):
        api.post("/v1/bakery-keys/rotate")
    whole = api.get("/v1/bakery-keys").json["bakery_keys"]
    first = api.get("/v1/bakery-keys?limit=3").json
    second = api.get(f"/v1/bakery-keys?limit=3&after={first['next']}").json
    assert first["bakery_keys"] + second["bakery_keys"] == whole
    assert ([len(page["bakery_keys"]) for page in (first, second)], second["next"]) == ([3, 1], None)
    assert api.get("/v1/bakery-keys?after=keys.1").outcome == (400, "bad-request")


def test_no_private_half(api: Api) -> None:
    """No answer holds more than a public half."""
    api.post("/v1/bakery-keys")
    for key in api.get("/v1/bakery-keys").json["bakery_keys"]:
        assert set(key) == {"public_key", "state", "created_at"}
