"""/v1/exchange, and the third parties' caveats of /v1/tokens that it is for."""

from typing import Any

import pytest

from capsvc.macaroon.build import bind
from capsvc.macaroon.decode import decode
from capsvc.token import Token

from .conftest import Api, Party

FIELDS = ["token", "id", "audience", "subject", "facts", "label", "issued_at", "expires_at", "caveats"]


def exchange(api: Api, bundle: str, credential: str | None = None) -> Any:
    """A POST."""
    return api.post("/v1/exchange", {"token": bundle}, credential)


def test_minted_with_third_parties(api: Api) -> None:
    """Each is asked in its own caveat, last; the answer's caveats are first-party ones alone."""
    login, till = Party().registered(api), Party("till", "https://till.example.org/").registered(api)
    asked = [login.asks("is-known", "username"), {**till.asks("paid"), "location": "https://till.example.org"}]
    minted = api.mint(caveats=["action in read"], third_party=asked)
    assert minted["caveats"] == ["time < 2026-11-22T12:10:00Z", "action in read"]
    assert [caveat.location for caveat in decode(minted["token"]).caveats] == [
        None, None, login.location.encode(), till.location.encode(),
    ]  # fmt: skip
    token = minted["token"]
    bundle = bind(decode(token), login.discharges(token, username="ada") + till.discharges(token))
    granted = api.verify(bundle, context={"action": "read"}, explain=True)
    assert (granted["allowed"], granted["declared"]) == (True, {"login": {"username": "ada"}})
    assert granted["caveats"] == minted["caveats"]
    assert {"caveat": login.location, "from": "issuer", "verdict": "satisfied"} in granted["verdicts"]
    denied = api.verify(login.bundle(token), context={"action": "read"})
    assert (denied["code"], denied["caveat"]) == ("discharge-missing", till.location)
    (row,) = [row for row in api.get("/v1/tokens").json["tokens"] if row["id"] == minted["id"]]
    assert row["caveats"] == minted["caveats"]


@pytest.mark.parametrize(
    ("entry", "outcome"),
    [
        ({}, 201),
        ({"location": "https://login.example.org/"}, 201),
        ({"declare": None}, 201),
        ({"declare": []}, 201),
        ({"declare": ["username", "group"]}, 201),
        ({"location": "https://other.example.org"}, (422, "discharger-unknown")),
        ({"location": "https://login.example.org//"}, (422, "discharger-unknown")),
        ({"location": "https://LOGIN.example.org"}, (422, "discharger-unknown")),
        ({"location": "login"}, (422, "discharger-unknown")),
        ({"location": ""}, (422, "discharger-unknown")),
        ({"condition": ""}, (422, "caveat-malformed")),
        ({"condition": "a\nb"}, (422, "caveat-malformed")),
        ({"condition": "\u202ex"}, (422, "caveat-malformed")),
        ({"condition": "c" * 1025}, (422, "caveat-malformed")),
        ({"condition": "need-declared a b"}, (422, "caveat-malformed")),
        ({"condition": "need-declaredly"}, (422, "caveat-malformed")),
        ({"declare": ["a", "a"]}, (422, "caveat-malformed")),
        ({"declare": [""]}, (422, "caveat-malformed")),
        ({"declare": ["a b"]}, (422, "caveat-malformed")),
        ({"declare": ["a,b"]}, (422, "caveat-malformed")),
        ({"declare": ["a" * 65]}, (422, "caveat-malformed")),
        ({"declare": ["é"]}, (422, "caveat-malformed")),
        ({"location": None}, (400, "bad-request")),
        ({"condition": None}, (400, "bad-request")),
        ({"condition": 5}, (400, "bad-request")),
        ({"declare": "a"}, (400, "bad-request")),
        ({"declare": [None]}, (400, "bad-request")),
        ({"declare": {"a": "b"}}, (400, "bad-request")),
        ({"root_key": "x"}, (400, "bad-request")),
    ],
)
def test_what_may_be_asked(shared: Api, entry: dict[str, Any], outcome: int | tuple[int, str]) -> None:
    """Registered locations, conditions and names that a discharger can be asked for, and nothing else."""
    if shared.get("/v1/dischargers/login").status == 404:
        Party().registered(shared)
    asked = {"location": "https://login.example.org", "condition": "is-known", **entry}
    answer = shared.post("/v1/tokens", {"audience": "default", "ttl": 60, "third_party": [asked]})
    if outcome == 201:
        assert answer.status == 201, answer.body
    else:
        assert answer.outcome == outcome


def test_at_most_sixteen(api: Api) -> None:
    """As many as a bundle may have discharges; one more could never be satisfied."""
    login = Party().registered(api)
    minted = api.mint(third_party=[login.asks()] * 16)
    assert api.verify(login.bundle(minted["token"]))["allowed"] is True
    body = {"audience": "default", "ttl": 60, "third_party": [login.asks()] * 17}
    assert api.post("/v1/tokens", body).outcome == (422, "too-large")


def test_exchanged(api: Api) -> None:
    """201 as mint's: a new id, the source's audience, subject, facts and restrictions, and nobody left to ask."""
    login = Party().registered(api)
    source = api.mint(
        subject="alice", facts={"tenant": "acme"}, caveats=["action in read,write"], label="first",
        third_party=[login.asks("is-known", "username")],
    )  # fmt: skip
    api.clock.now += 5
    narrowed = str(Token.parse(source["token"]).attenuate("action in read"))
    answer = exchange(api, login.bundle(narrowed, username="ada"))
    assert answer.status == 201
    made = answer.json
    assert list(made) == FIELDS
    assert made["id"] != source["id"]
    assert made == {**source, "id": made["id"], "token": made["token"], "label": None, "caveats": made["caveats"]}
    assert made["caveats"] == [*source["caveats"], "action in read"]
    assert answer.headers["location"] == f"/v1/tokens/{made['id']}"
    assert answer.headers["cache-control"] == "no-store"
    granted = api.verify(made["token"], context={"action": "read"})
    assert (granted["id"], granted["subject"], granted["declared"]) == (made["id"], "alice", {})
    assert api.verify(made["token"], context={"action": "write"})["code"] == "caveat-refused"
    row = api.get(f"/v1/tokens/{made['id']}").json
    assert (row["state"], row["label"]) == ("live", None)
    assert row["minted_by"]["id"] == Token.parse(api.admin).id


@pytest.mark.parametrize("what", ["id", "subject", "key", "token", "discharger"])
def test_what_kills_the_source_kills_it(api: Api, what: str) -> None:
    """Id, subject, key, branch and discharger of the source: each ends what was exchanged; another's stays."""
    login, other = Party().registered(api), Party("other").registered(api)
    source = api.mint(subject="alice", third_party=[login.asks()])
    made = exchange(api, login.bundle(source["token"])).json["token"]
    api.post("/v1/audiences/default/keys")
    spared = exchange(api, other.bundle(api.mint(subject="bob", third_party=[other.asks()])["token"])).json["token"]
    assert [api.verify(token)["allowed"] for token in (made, spared)] == [True, True]
    key = next(key["kid"] for key in api.get("/v1/audiences/default/keys").json["keys"] if key["state"] == "retiring")
    acts: dict[str, tuple[str, str, Any]] = {
        "id": ("POST", "/v1/revocations", {"id": source["id"]}),
        "subject": ("POST", "/v1/revocations", {"audience": "default", "subject": "alice"}),
        "key": ("POST", "/v1/revocations", {"key": key}),
        "token": ("POST", "/v1/revocations", {"token": source["token"]}),
        "discharger": ("DELETE", "/v1/dischargers/login", None),
    }
    assert api.call(*acts[what]).status in {201, 204}
    assert api.verify(made)["code"] == "revoked"
    assert api.verify(spared)["allowed"] is True


def test_bundles_that_are_refused(api: Api) -> None:
    """422 with the decision's code, and the caveat where one is to blame; the same bundle made whole is taken."""
    login = Party().registered(api)
    token = api.mint(third_party=[login.asks("is-known", "username")])["token"]
    (good,) = login.discharges(token)
    root = decode(token)
    other = api.mint(third_party=[login.asks()])["token"]
    unbound = f"{token}~{bind(good, [])}"
    for bundle, code, caveat in [
        (token, "discharge-missing", login.location),
        (f"{token}~{login.bundle(other).partition('~')[2]}", "discharge-missing", login.location),
        (unbound, "discharge-invalid", login.location),
        (bind(root, [good, good]), "discharge-unused", None),
        (bind(root, [good, *login.discharges(other)]), "discharge-unused", None),
        ("x", "malformed", None),
        ("", "malformed", None),
        (token[:-2] + ("AA" if token[-2:] != "AA" else "BA"), "invalid-token", None),
        ("~".join(["A" * 10] * 18), "too-large", None),
        ("A" * 40_000, "too-large", None),
        (str(Token.parse(token).attenuate("time < 2026-11-22T12:00:00Z")), "discharge-missing", login.location),
        (login.bundle(str(Token.parse(token).attenuate("time < 2026-11-22T12:00:00Z"))), "expired", None),
        (login.bundle(str(Token.parse(token).attenuate("time >= 2026-11-22T12:00:01Z"))), "not-yet-valid", None),
        (login.bundle(str(Token.parse(token).attenuate("sub = alice"))), "fact-conflict", "sub = alice"),
    ]:
        answer = exchange(api, bundle)
        assert answer.outcome == (422, code), (bundle, answer.body)
        assert answer.json.get("caveat") == caveat, (code, answer.body)
        assert answer.headers["content-type"] == "application/problem+json"
        assert "www-authenticate" not in answer.headers
    assert exchange(api, bind(root, [good])).status == 201


def test_revoked_and_unknown(api: Api) -> None:
    """A revoked source, and one whose discharger was removed."""
    login = Party().registered(api)
    bundles = [login.bundle(api.mint(third_party=[login.asks()])["token"]) for _ in range(2)]
    api.post("/v1/revocations", {"id": Token.parse(bundles[0].partition("~")[0]).id})
    assert exchange(api, bundles[0]).outcome == (422, "revoked")
    assert exchange(api, bundles[1]).status == 201
    api.call("DELETE", "/v1/dischargers/login")
    assert exchange(api, bundles[1]).outcome == (422, "discharge-invalid")


def test_the_service_s_own_credentials(api: Api) -> None:
    """A credential is not exchanged, whatever it asks for."""
    assert exchange(api, api.admin).outcome == (403, "forbidden")
    assert exchange(api, api.narrowed("action = tokens:mint")).outcome == (403, "forbidden")


@pytest.mark.parametrize(
    ("caveat", "status"),
    [
        ("for.audience = default", 201),
        ("for.audience = photos", 422),
        ("for.sub = alice", 201),
        ("for.sub = bob", 422),
        ("for.tenant = acme", 201),
        ("for.tenant = other", 422),
        ("for.seats <= 2", 422),
        ("for.ttl <= 600", 201),
        ("for.ttl <= 599", 422),
    ],
)
def test_a_bounded_credential(api: Api, caveat: str, status: int) -> None:
    """Audience, subject, facts and seconds left are the source's; not covered looks like a token of nobody."""
    source = api.mint(subject="alice", facts={"tenant": "acme"})["token"]
    answer = exchange(api, source, api.narrowed(caveat))
    assert answer.status == status, answer.body
    if status == 422:
        stranger = exchange(api, source[:-2] + ("AA" if source[-2:] != "AA" else "BA"), api.narrowed(caveat))
        assert answer.outcome == (422, "invalid-token")
        assert answer.body == stranger.body


def test_the_permission_comes_first(api: Api) -> None:
    """A credential that may not exchange learns nothing of the token."""
    for bundle in ("x", api.admin, api.mint()["token"]):
        answer = exchange(api, bundle, api.narrowed("action in tokens:mint,tokens:verify"))
        assert answer.outcome == (403, "caveat-refused")
        assert answer.json["caveat"] == "action in tokens:mint,tokens:verify"
    assert exchange(api, api.mint()["token"], api.narrowed("action = tokens:exchange")).status == 201


def test_an_exchanged_token_may_be_exchanged(api: Api) -> None:
    """And is then as dead as the first when the first one's source is revoked."""
    source = api.mint()
    first = exchange(api, source["token"]).json
    second = exchange(api, first["token"]).json
    assert len({source["id"], first["id"], second["id"]}) == 3
    api.post("/v1/revocations", {"id": source["id"]})
    assert [api.verify(token["token"])["code"] for token in (first, second)] == ["revoked"] * 2
