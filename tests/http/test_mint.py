"""POST /v1/tokens: what is minted, and what is well formed but not acceptable."""

import re
from concurrent.futures import Future
from typing import Any

import pytest

from capsvc.grants import Minted
from capsvc.token import Token

from .conftest import Api

YEAR_2100 = "2100-01-01T00:00:00Z"


def refusal(api: Api, **fields: Any) -> tuple[int, Any]:
    """Status and code of a mint with those fields."""
    body = {"audience": "default", "ttl": 600, **fields}
    return api.post("/v1/tokens", {name: value for name, value in body.items() if value is not ...}).outcome


def test_answer(shared: Api) -> None:
    """Every field is there, in the contract's order, with what was asked for."""
    answer = shared.post(
        "/v1/tokens",
        {
            "audience": "default",
            "ttl": 600,
            "subject": "alice",
            "facts": {"tenant": "acme", "seats": 2},
            "caveats": ["action in read,write", "floor in 1,2"],
            "label": "for the demo",
        },
    )
    assert answer.status == 201
    minted = answer.json
    token = minted.pop("token")
    token_id = minted.pop("id")
    assert re.fullmatch("[A-Za-z0-9_-]{22}", token_id)
    assert answer.headers["location"] == f"/v1/tokens/{token_id}"
    assert answer.headers["content-type"] == "application/json"
    caveats = [
        "time < 2026-11-22T12:10:00Z",
        "sub = alice",
        "seats = 2",
        "tenant = acme",
        "action in read,write",
        "floor in 1,2",
    ]
    assert list(minted.items()) == [
        ("audience", "default"),
        ("subject", "alice"),
        ("facts", {"seats": 2, "tenant": "acme"}),
        ("label", "for the demo"),
        ("issued_at", "2026-11-22T12:00:00Z"),
        ("expires_at", "2026-11-22T12:10:00Z"),
        ("caveats", caveats),
    ]
    assert shared.verify(token, context={"action": "read", "floor": 1})["allowed"] is True


def test_nothing_to_say(shared: Api) -> None:
    """What is not given is null, empty or absent as the contract has it."""
    minted = shared.mint()
    assert (minted["subject"], minted["facts"], minted["label"]) == (None, {}, None)
    assert minted["caveats"] == ["time < 2026-11-22T12:10:00Z"]


def test_expires_at(shared: Api) -> None:
    """An instant instead of a ttl; a requested bound that is earlier is what the answer tells."""
    minted = shared.mint(ttl=None, expires_at="2026-11-22T12:00:01Z")
    assert minted["expires_at"] == "2026-11-22T12:00:01Z"
    minted = shared.mint(caveats=["time < 2026-11-22T12:05:00Z", "time-before 2026-11-22T12:04:00.5Z"])
    assert minted["expires_at"] == "2026-11-22T12:04:00Z"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"ttl": 0}, "ttl-invalid"),
        ({"ttl": -1}, "ttl-invalid"),
        ({"ttl": -(2**63)}, "ttl-invalid"),
        ({"ttl": ..., "expires_at": "2026-11-22T12:00:00Z"}, "ttl-invalid"),
        ({"ttl": ..., "expires_at": "2000-01-01T00:00:00Z"}, "ttl-invalid"),
        ({"ttl": 2_592_001}, "ttl-too-long"),
        ({"ttl": 2**63}, "ttl-too-long"),
        ({"ttl": 10**18}, "ttl-too-long"),
        ({"ttl": ..., "expires_at": "2026-12-22T12:00:01Z"}, "ttl-too-long"),
        ({"ttl": ..., "expires_at": YEAR_2100}, "ttl-too-long"),
        ({"audience": "nothing"}, "audience-unknown"),
        ({"subject": ""}, "caveat-malformed"),
        ({"subject": "a b"}, "caveat-malformed"),
        ({"subject": "a" * 129}, "caveat-malformed"),
        ({"subject": "a\n"}, "caveat-malformed"),
        ({"facts": {"tenant": 5}}, "caveat-malformed"),
        ({"facts": {"tenant": "a b"}}, "caveat-malformed"),
        ({"facts": {"seats": "2"}}, "caveat-malformed"),
        ({"facts": {"seats": 10**18}}, "caveat-malformed"),
        ({"facts": {"nothing": "x"}}, "caveat-unknown"),
        ({"facts": {"floor": 1}}, "caveat-unknown"),
        ({"facts": {"audience": "default"}}, "caveat-unknown"),
        ({"caveats": [""]}, "caveat-malformed"),
        ({"caveats": ["action"]}, "caveat-malformed"),
        ({"caveats": ["action  = read"]}, "caveat-malformed"),
        ({"caveats": ["action ~ read"]}, "caveat-malformed"),
        ({"caveats": ["action = é"]}, "caveat-malformed"),
        ({"caveats": ["action = " + "a" * 504]}, "caveat-malformed"),
        ({"caveats": ["nothing = x"]}, "caveat-unknown"),
        ({"caveats": ["for.audience = default"]}, "caveat-unknown"),
        ({"caveats": ["error x"]}, "caveat-unknown"),
        ({"caveats": ["declared a b"]}, "caveat-unknown"),
        ({"caveats": ["sub = alice"]}, "fact-conflict"),
        ({"caveats": ["tenant = acme"], "facts": {"tenant": "acme"}}, "fact-conflict"),
        ({"caveats": ["action = a"] * 64}, "too-large"),
        ({"third_party": [{"location": "https://a", "condition": "b"}]}, "discharger-unknown"),
        ({"third_party": [{"location": "https://a", "condition": "b", "declare": ["x"]}]}, "discharger-unknown"),
        ({"third_party": [{"location": "https://a", "condition": "need-declared x b"}]}, "caveat-malformed"),
        (
            {"third_party": [{"location": "https://a", "condition": "b", "declare": ["x", "x"]}]},
            "caveat-malformed",
        ),
        ({"third_party": [{"location": "https://a", "condition": "b", "declare": ["a,b"]}]}, "caveat-malformed"),
    ],
)
def test_not_acceptable(shared: Api, fields: dict[str, Any], code: str) -> None:
    """What is well formed but no token of ours is 422."""
    assert refusal(shared, **fields) == (422, code)


@pytest.mark.parametrize(
    "fields",
    [
        {"ttl": 1},
        {"ttl": 2_592_000},
        {"ttl": ..., "expires_at": "2026-12-22T12:00:00Z"},
        {"subject": "a" * 128},
        {"facts": {"seats": 10**18 - 1}},
        {"caveats": ["action = " + "a" * 128]},
        {"caveats": ["action = a"] * 63},
    ],
)
def test_just_acceptable(shared: Api, fields: dict[str, Any]) -> None:
    """The last value that each bound allows is taken."""
    body = {"audience": "default", "ttl": 600, **fields}
    answer = shared.post("/v1/tokens", {name: value for name, value in body.items() if value is not ...})
    assert answer.status == 201, answer.body


def test_where_a_caveat_goes_wrong(shared: Api) -> None:
    """A refused caveat comes with a sentence and the octet."""
    problem = shared.post("/v1/tokens", {"audience": "default", "ttl": 1, "caveats": ["action = a b"]}).json
    assert problem["position"] == 9
    assert problem["detail"]


def test_nobody_mints_for_the_service(shared: Api) -> None:
    """Not even an administrator."""
    assert refusal(shared, audience="capsvc") == (403, "forbidden")


def test_rows_know_who_minted(shared: Api) -> None:
    """The row names the credential and its last point, not its parent's."""
    narrowed = shared.narrowed("method = POST")
    row = shared.get(f"/v1/tokens/{shared.mint(narrowed)['id']}").json
    other = shared.get(f"/v1/tokens/{shared.mint()['id']}").json
    assert row["minted_by"]["id"] == other["minted_by"]["id"] == Token.parse(shared.admin).id
    assert row["minted_by"]["branch"] != other["minted_by"]["branch"]


def test_no_active_key(api: Api) -> None:
    """With its only active key revoked an audience mints again after rotation; until then 503 and when to retry."""
    kid = api.get("/v1/audiences/default/keys").json["keys"][0]["kid"]
    api.call("DELETE", f"/v1/audiences/default/keys/{kid}")
    answer = api.post("/v1/tokens", {"audience": "default", "ttl": 1})
    assert answer.outcome == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    api.post("/v1/audiences/default/keys")
    assert api.mint()["id"]


def test_a_fault_while_minting(shared: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong in the writer is a fault, and the caller learns nothing of it."""
    future: Future[Minted] = Future()
    future.set_exception(RuntimeError("something secret"))
    monkeypatch.setattr(shared.authority, "submit_mint", lambda **_: future)
    answer = shared.post("/v1/tokens", {"audience": "default", "ttl": 1})
    assert answer.outcome == (500, "internal-error")
    assert "secret" not in answer.body.decode()
