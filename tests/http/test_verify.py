"""POST /v1/verify and its batch: decisions in the body."""

import json
import re
from typing import Any

import pytest

from capsvc.errors import SENTENCES, Denied
from capsvc.macaroon.chain import extend
from capsvc.macaroon.decode import RawCaveat, decode, encode
from capsvc.token import Token
from capsvc.wire import read_decision

from .conftest import Api

FLOOR_1 = {"floor": 1}


def with_raw(token: str, *caveats: RawCaveat) -> str:
    """The token with caveats after its own, as whoever holds it can add them: any octets."""
    macaroon = decode(token)
    for caveat in caveats:
        macaroon = macaroon._replace(caveats=(*macaroon.caveats, caveat), signature=extend(macaroon.signature, caveat))
    return encode(macaroon)


def narrowed(minted: dict[str, Any], caveat: str) -> str:
    """The minted token with one first-party caveat more."""
    return with_raw(minted["token"], RawCaveat(caveat.encode()))


def test_allowed(shared: Api) -> None:
    """Every field of a grant, in the contract's order."""
    minted = shared.mint(subject="alice", facts={"seats": 2}, caveats=["floor in 1,2"])
    token = str(Token.parse(minted["token"]).attenuate("time < 2026-11-22T12:01:00Z"))
    assert list(shared.verify(token, context=FLOOR_1).items()) == [
        ("allowed", True),
        ("id", minted["id"]),
        ("audience", "default"),
        ("subject", "alice"),
        ("issued_at", "2026-11-22T12:00:00Z"),
        ("expires_at", "2026-11-22T12:01:00Z"),
        ("facts", {"seats": 2}),
        ("declared", {}),
        ("caveats", [*minted["caveats"], "time < 2026-11-22T12:01:00Z"]),
    ]


def test_denied(shared: Api) -> None:
    """Every field of a denial: code, sentence, and the caveat that is to blame."""
    minted = shared.mint(caveats=["floor in 1,2"])
    assert list(shared.verify(minted["token"], context={"floor": 3}).items()) == [
        ("allowed", False),
        ("code", "caveat-refused"),
        ("message", SENTENCES["caveat-refused"]),
        ("caveat", "floor in 1,2"),
    ]
    assert shared.verify(minted["token"], context=FLOOR_1)["allowed"] is True


@pytest.mark.parametrize(
    ("caveat", "context", "code"),
    [
        ("floor = 1", {}, "context-missing"),
        ("floor = 1", {"floor": 2}, "caveat-refused"),
        ("floor = 1", {"floor": "1"}, "context-invalid"),
        ("floor = 1", {"floor": True}, "context-invalid"),
        ("floor = 1", {"floor": 1.0}, "context-invalid"),
        ("floor = 1", {"floor": [1]}, "context-invalid"),
        ("floor = 1", {"floor": {"a": None}}, "context-invalid"),
        ("floor = 1", {"floor": 1, "nothing": 1}, "context-invalid"),
        ("floor = 1", {"floor": 1, "time": "2026-11-22T12:00:00Z"}, "context-invalid"),
        ("floor = 1", {"floor": 1, "sub": "alice"}, "context-invalid"),
        ("floor = 1", {"floor": 1, "audience": "default"}, "context-invalid"),
        ("floor = 1", {"floor": 1, "for.sub": "alice"}, "context-invalid"),
        ("floor = 1", {"floor": 1, "plan": "enterprise"}, "context-invalid"),
        ("floor = 1", {"floor": 1, "path": "/a/../b"}, "context-invalid"),
        ("floor = 1", {"floor": 2**63}, "context-invalid"),
        ("nothing = 1", {}, "caveat-unknown"),
        ("for.audience = default", {}, "caveat-unknown"),
        ("floor=1", {}, "caveat-malformed"),
        ("tenant = acme", {}, "fact-conflict"),
    ],
)
def test_codes_of_caveats_and_contexts(shared: Api, caveat: str, context: dict[str, Any], code: str) -> None:
    """What a holder's caveat or the context makes of an otherwise good token."""
    minted = shared.mint()
    answer = shared.verify(narrowed(minted, caveat), context=context)
    assert (answer["allowed"], answer["code"]) == (False, code)
    assert shared.verify(minted["token"])["allowed"] is True


CONTEXT_SENTENCE = SENTENCES["context-invalid"]


@pytest.mark.parametrize(
    ("context", "why"),
    [
        ({"floor": "x"}, "'floor': it is given as a whole number."),
        ({"colour": "red"}, "'colour': no such attribute is declared."),
        ({"floor": 1, "sub": "alice"}, "'sub': the service supplies it, never a request."),
        ({"plan": "gold"}, "'plan': the word is one of a closed set, and this is none of them."),
        ({"x\u202e\n": 1}, r"'x\u202e\n': no such attribute is declared."),
        ({"A" * 41: 1}, "(a name of another kind): no such attribute is declared."),
    ],
)
def test_the_value_at_fault_is_named(shared: Api, context: dict[str, Any], why: str) -> None:
    """To whoever sent the context, in the message: which value it is and what would be right, never what it was."""
    token = shared.mint()["token"]
    denied = {"allowed": False, "code": "context-invalid", "message": f"{CONTEXT_SENTENCE} {why}", "caveat": None}
    assert shared.verify(token, context=context) == denied
    asked = {"token": token, "audience": "default", "context": context}
    assert shared.post("/v1/verify/batch", {"requests": [asked, asked]}).json["results"] == [denied, denied]
    assert shared.verify(token, context=context, explain=True)["message"] == denied["message"]
    with pytest.raises(Denied, match=re.escape(why)) as caught:
        read_decision(denied)
    assert (str(caught.value), caught.value.detail) == (denied["message"], why)


def test_codes_of_tokens(api: Api) -> None:
    """What is wrong with the token itself is answered in the body, too."""
    api.post("/v1/audiences", {"name": "photos"})
    minted = api.mint(subject="alice")
    token = minted["token"]
    flipped = token[:-1] + ("A" if token[-1] != "A" else "B")
    assert api.verify("")["code"] == "malformed"
    assert api.verify("é")["code"] == "malformed"
    assert api.verify("A" * 16_385)["code"] == "too-large"
    assert api.verify(flipped)["code"] in {"malformed", "invalid-token"}
    assert api.verify(token, audience="photos")["code"] == "wrong-audience"
    assert api.verify(api.admin)["code"] == "wrong-audience"
    assert api.verify(token)["allowed"] is True
    api.clock.now += 600
    assert api.verify(token)["code"] == "expired"
    api.clock.now -= 1
    assert api.verify(token)["allowed"] is True
    api.post("/v1/revocations", {"id": minted["id"]})
    assert api.verify(token)["code"] == "revoked"


def test_unknown_audience(shared: Api) -> None:
    """422, whatever the token is."""
    for token in ("x", shared.mint()["token"]):
        answer = shared.post("/v1/verify", {"token": token, "audience": "nothing"})
        assert answer.outcome == (422, "audience-unknown")


def test_explain(shared: Api) -> None:
    """Every caveat's verdict, the issuer's and the holder's, for a grant and for a denial."""
    token = narrowed(shared.mint(caveats=["floor in 1,2"]), "action = read")
    granted = shared.verify(token, context={"floor": 1, "action": "read"}, explain=True)
    assert granted["verdicts"] == [
        {"caveat": "time < 2026-11-22T12:10:00Z", "from": "issuer", "verdict": "satisfied"},
        {"caveat": "floor in 1,2", "from": "issuer", "verdict": "satisfied"},
        {"caveat": "action = read", "from": "holder", "verdict": "satisfied"},
    ]
    denied = shared.verify(token, context={"floor": 3}, explain=True)
    assert [verdict["verdict"] for verdict in denied["verdicts"]] == ["satisfied", "caveat-refused", "context-missing"]
    assert shared.verify("x", explain=True)["verdicts"] == []
    assert "verdicts" not in shared.verify(token)


def test_prefix(shared: Api) -> None:
    """The key and the branches from the last issuer caveat on, only when asked for and granted."""
    minted = shared.mint()
    token = narrowed(minted, "action = read")
    granted = shared.verify(token, context={"action": "read"}, prefix=True)
    assert len(granted["branches"]) == 2
    assert all(len(branch) == 43 for branch in granted["branches"])
    assert granted["kid"] == shared.get("/v1/audiences/default/keys").json["keys"][0]["kid"]
    assert shared.verify(minted["token"], prefix=True)["branches"] == granted["branches"][:1]
    assert not {"kid", "branches"} & shared.verify(token, context={"action": "read"}).keys()
    assert not {"kid", "branches"} & shared.verify(token, prefix=True).keys()


def test_the_same_question_again(api: Api) -> None:
    """An answer that is remembered in writing is still an answer of now."""
    token = api.mint(caveats=["floor = 1"])["token"]
    first = api.verify(token, context=FLOOR_1)
    assert api.verify(token, context=FLOOR_1) == first
    assert api.verify(token, context={"floor": 2})["allowed"] is False
    api.call("PATCH", "/v1/audiences/default", {"max_ttl": 60})
    assert api.verify(token, context=FLOOR_1)["expires_at"] == "2026-11-22T12:01:00Z"
    api.clock.now += 60
    assert api.verify(token, context=FLOOR_1)["code"] == "expired"


def test_third_party_by_its_location(shared: Api) -> None:
    """A caveat without a good discharge is named by the caveat's location, as visible text."""
    caveat = RawCaveat(b"an id", b"v" * 72, b"https://a\n")
    answer = shared.verify(with_raw(shared.mint()["token"], caveat), explain=True)
    assert (answer["code"], answer["caveat"]) == ("discharge-invalid", "https://a\\x0a")
    assert answer["verdicts"] == []


def test_batch(shared: Api) -> None:
    """Results in order, each a decision of its own; an unknown audience is a denial here."""
    good = shared.mint(caveats=["floor = 1"])["token"]
    requests = [
        {"token": good, "audience": "default", "context": {"floor": 1}},
        {"token": good, "audience": "default", "context": {"floor": 2}},
        {"token": "x", "audience": "default"},
        {"token": good, "audience": "nothing"},
        {"token": good, "audience": "capsvc", "explain": True},
        {"token": good, "audience": "default", "context": {"floor": 1}, "prefix": True, "explain": True},
    ]
    answer = shared.post("/v1/verify/batch", {"requests": requests})
    assert answer.status == 200
    results = answer.json["results"]
    assert list(answer.json) == ["results"]
    assert [result.get("code") for result in results] == [
        None,
        "caveat-refused",
        "malformed",
        "audience-unknown",
        "wrong-audience",
        None,
    ]
    assert results[0] == shared.verify(good, context=FLOOR_1)
    assert results[3] == {
        "allowed": False,
        "code": "audience-unknown",
        "message": SENTENCES["audience-unknown"],
        "caveat": None,
    }
    assert results[5]["kid"]


def test_batch_that_a_credential_covers_in_part(shared: Api) -> None:
    """What it does not cover is a denial with forbidden, be the audience there or not."""
    good = shared.mint()["token"]
    credential = shared.narrowed("for.audience = default")
    requests = [{"token": good, "audience": name, "explain": True} for name in ("default", "capsvc", "nothing")]
    results = shared.post("/v1/verify/batch", {"requests": requests}, credential).json["results"]
    assert [(result["allowed"], result.get("code")) for result in results] == [
        (True, None),
        (False, "forbidden"),
        (False, "forbidden"),
    ]
    assert results[1] == results[2]


def test_octets_are_shown_in_answers(shared: Api) -> None:
    """A caveat of any octets is shown as visible text."""
    answer = shared.verify(with_raw(shared.mint()["token"], RawCaveat(b"a\x00\n\xff")), explain=True)
    assert answer["code"] == "caveat-malformed"
    assert answer["caveat"] == "a\\x00\\x0a\\xff"
    assert answer["verdicts"][-1]["caveat"] == "a\\x00\\x0a\\xff"
    assert json.dumps(answer).isascii()
