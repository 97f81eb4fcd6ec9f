"""/v1/revocations and /v1/revoke."""

from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import urlencode

import pytest

from capsvc.errors import RequestError
from capsvc.token import Token

from .conftest import Answer, Api, Header

NOON = "2026-11-22T12:00:00Z"
FORM = ("content-type", "application/x-www-form-urlencoded")


def revoke(api: Api, credential: str | None = None, **body: Any) -> Answer:
    """POST /v1/revocations."""
    return api.post("/v1/revocations", body, credential)


def present(api: Api, body: bytes | Mapping[str, str], *headers: Header, query: str = "") -> Answer:
    """POST /v1/revoke, by form."""
    octets = body if isinstance(body, bytes) else urlencode(body).encode()
    return api.send("POST", f"/v1/revoke{query}", headers or [FORM], [octets])


def test_by_id(api: Api) -> None:
    """The whole family dies; the same again is 200 and the same answer."""
    minted = api.mint()
    child = str(Token.parse(minted["token"]).attenuate("action = read"))
    answer = revoke(api, id=minted["id"])
    assert (answer.status, answer.json) == (201, {"kind": "id", "audience": "default", "at": NOON})
    api.clock.now += 5
    again = revoke(api, id=minted["id"])
    assert (again.status, again.json) == (200, answer.json)
    for token in (minted["token"], child):
        assert api.verify(token, context={"action": "read"})["code"] == "revoked"
    assert api.get(f"/v1/tokens/{minted['id']}").json["state"] == "revoked"


def test_by_token(api: Api) -> None:
    """That branch and what is made from it dies, its parent and its sister live."""
    parent = Token.parse(api.mint()["token"])
    child = parent.attenuate("action = read")
    grandchild = child.attenuate("method = GET")
    answer = revoke(api, token=str(child))
    assert (answer.status, answer.json) == (201, {"kind": "branch", "audience": "default", "at": NOON})
    api.clock.now += 5
    for token in (child, grandchild):
        again = revoke(api, token=str(token))
        assert (again.status, again.json) == (200, answer.json)
    context = {"action": "read", "method": "GET"}
    codes = [api.verify(str(token), context=context).get("code") for token in (parent, child, grandchild)]
    assert codes == [None, "revoked", "revoked"]
    assert api.verify(str(parent.attenuate("action in read")), context=context)["allowed"] is True


def test_by_subject(api: Api) -> None:
    """Every token of the subject in that audience, minted up to the watermark."""
    alice, bob = api.mint(subject="alice"), api.mint(subject="bob")
    answer = revoke(api, audience="default", subject="alice")
    assert (answer.status, answer.json) == (201, {"kind": "subject", "audience": "default", "at": NOON})
    assert api.verify(alice["token"])["code"] == "revoked"
    assert api.verify(bob["token"])["allowed"] is True
    again = revoke(api, audience="default", subject="alice")
    assert (again.status, again.json) == (200, answer.json)
    api.clock.now += 1
    assert api.verify(api.mint(subject="alice")["token"])["allowed"] is True


def test_by_subject_before(api: Api) -> None:
    """A watermark in the past spares what was minted after it."""
    old = api.mint(subject="alice")
    api.clock.now += 10
    young = api.mint(subject="alice")
    answer = revoke(api, audience="default", subject="alice", before="2026-11-22T12:00:09Z")
    assert (answer.status, answer.json["at"]) == (201, "2026-11-22T12:00:09Z")
    assert [api.verify(minted["token"])["allowed"] for minted in (old, young)] == [False, True]


def test_by_key(api: Api) -> None:
    """Every token of the key dies, and the key's state tells so; the same as deleting it."""
    minted = api.mint()
    kid = api.get("/v1/audiences/default/keys").json["keys"][0]["kid"]
    answer = revoke(api, key=kid)
    assert (answer.status, answer.json) == (201, {"kind": "key", "audience": "default", "at": NOON})
    assert revoke(api, key=kid).status == 200
    assert api.verify(minted["token"])["code"] == "revoked"
    assert api.get("/v1/audiences/default/keys").json["keys"][0]["state"] == "revoked"
    assert api.call("DELETE", f"/v1/audiences/default/keys/{kid}").status == 204


def test_what_does_not_exist(shared: Api) -> None:
    """404 for an id or key, 422 for a token that is none of ours, an audience, a subject that cannot be."""
    assert revoke(shared, id="A" * 22).outcome == (404, "not-found")
    assert revoke(shared, id="").outcome == (404, "not-found")
    assert revoke(shared, key="0" * 16).outcome == (404, "not-found")
    assert revoke(shared, token="x").outcome == (422, "malformed")
    assert revoke(shared, token="A" * 16_385).outcome == (422, "too-large")
    token = shared.mint()["token"]
    foreign = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    assert revoke(shared, token=foreign).outcome == (422, "invalid-token")
    assert revoke(shared, audience="nothing", subject="alice").outcome == (422, "audience-unknown")
    assert revoke(shared, audience="default", subject="a b").outcome == (422, "caveat-malformed")
    assert shared.verify(token)["allowed"] is True


def test_permissions(shared: Api) -> None:
    """tokens:revoke, but keys:write where a key is named."""
    shared.post("/v1/audiences", {"name": "photos"})
    kid = shared.get("/v1/audiences/photos/keys").json["keys"][0]["kid"]
    for body in (
        {"id": shared.mint()["id"]},
        {"token": shared.mint()["token"]},
        {"audience": "default", "subject": "x"},
    ):
        assert revoke(shared, shared.narrowed("action = keys:write"), **body).outcome == (403, "caveat-refused")
        assert revoke(shared, shared.narrowed("action = tokens:revoke"), **body).status == 201
    assert revoke(shared, shared.narrowed("action = tokens:revoke"), key=kid).outcome == (403, "caveat-refused")
    assert revoke(shared, shared.narrowed("action = keys:write"), key=kid).status == 201


def test_presented(api: Api) -> None:
    """RFC 7009: whoever holds a token revokes it and what is made from it, without a credential."""
    parent = Token.parse(api.mint()["token"])
    child = parent.attenuate("action = read")
    answer = present(api, {"token": str(child), "token_type_hint": "access_token", "colour": "red"})
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["cache-control"] == "no-store"
    context = {"action": "read"}
    assert api.verify(str(child), context=context)["code"] == "revoked"
    assert api.verify(str(parent), context=context)["allowed"] is True
    assert present(api, {"token": str(child)}).raw_headers[:-1] == answer.raw_headers[:-1]


def test_presented_tells_nothing(shared: Api) -> None:
    """The answer is the same bytes whatever the token is: none of ours, altered, good, revoked, too large, a bundle."""
    token = shared.mint()["token"]
    altered = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    for value in ("x", "é", altered, token, token, "A" * 40_000, f"{token}~{token}"):
        answer = present(shared, {"token": value})
        assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
    assert shared.verify(token)["code"] == "revoked"


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "Basic YTpi")],
        [("authorization", "Bearer nonsense")],
        [("authorization", "Bearer a"), ("authorization", "Bearer b")],
    ],
)
def test_presented_looks_at_no_credential(shared: Api, headers: list[Header]) -> None:
    """Any credential is passed over, since OAuth clients send theirs."""
    token = shared.mint()["token"]
    assert present(shared, {"token": token}, FORM, *headers).status == 200
    assert shared.verify(token)["code"] == "revoked"


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (b"", ""),
        (b"colour=red", ""),
        (b"token=", ""),
        (b"token", ""),
        (b"Token=x", ""),
        (b"token=x&token=x", ""),
        (b"token=x&token=", ""),
        (b"token=x", "?token=x"),
        (b"", "?token=x"),
        (b"token=\xff", ""),
        (b"token=%ff", ""),
        (b"&".join([b"a=b"] * 200) + b"&token=x", ""),
    ],
)
def test_presented_invalid_request(shared: Api, body: bytes, query: str) -> None:
    """The token exactly once, in the form alone; errors are RFC 6749's."""
    answer = present(shared, body, query=query)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert set(answer.json) == {"error", "error_description", "code"}
    assert (answer.json["error"], answer.code) == ("invalid_request", "bad-request")
    assert not set(answer.json["error_description"]) & set('"\\')
    if len(body) < 100 and b"\xff" not in body and b"%ff" not in body:
        assert answer.json["error_description"] == (
            "The field token has to be in the form exactly once, and not in the address."
        )


def test_presented_other_errors(shared: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Media type, size and storage in RFC 6749's form; another method is no OAuth matter."""
    wrong = present(shared, b"{}", ("content-type", "application/json"))
    assert (wrong.status, wrong.json["error"], wrong.code) == (415, "invalid_request", "media-type")
    large = present(shared, b"token=" + b"x" * 65_536)
    assert (large.status, large.json["error"], large.code) == (413, "invalid_request", "too-large")
    method = shared.send("GET", "/v1/revoke")
    assert method.outcome == (405, "method-not-allowed")
    assert method.headers["allow"] == "POST"

    def busy(_token: object) -> NoReturn:
        raise RequestError("unavailable")

    monkeypatch.setattr(shared.authority, "revoke_presented", busy)
    full = present(shared, {"token": "x"})
    assert (full.status, full.json["error"], full.code) == (503, "temporarily_unavailable", "unavailable")
    assert int(full.headers["retry-after"]) >= 1


def test_presented_keeps_at_most_64_branches(api: Api) -> None:
    """The 65th branch of one family is 503 with Retry-After; an administrator has no such bound."""
    parent = Token.parse(api.mint()["token"])
    children = [str(parent.attenuate(f"floor = {n}")) for n in range(66)]
    assert {present(api, {"token": child}).status for child in children[:64]} == {200}
    refused = present(api, {"token": children[64]})
    assert (refused.status, refused.code) == (503, "unavailable")
    assert present(api, {"token": children[0]}).status == 200
    assert revoke(api, token=children[65]).status == 201
