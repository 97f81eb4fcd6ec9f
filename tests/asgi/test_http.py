"""One application, one suite, every verifier: what HTTP requests with which tokens are answered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from capsvc.token import Token

from .conftest import Guarded, Office, narrowed

OK = (200, "")
MISSING = (401, "credential-missing")
REFUSED = (403, "caveat-refused")
NO_VALUE = (403, "context-missing")
INVALID = (403, "context-invalid")


@pytest.fixture
def token(shared_office: Office) -> str:
    """A token of alice, without caveats but its expiry."""
    return shared_office.mint()


def test_the_grant_is_on_the_request(guarded: Guarded, token: str) -> None:
    """``request.state.grant``, ``request.user`` and ``request.auth`` say what was decided."""
    assert guarded.get("/photos", token).json == {
        "subject": "alice",
        "authenticated": True,
        "scopes": ["authenticated", "read"],
        "id": Token.parse(token).id,
        "facts": {},
        "path": "/photos",
    }
    plain = guarded.get("/plain", token).json
    assert (plain["subject"], plain["scopes"]) == ("alice", ["authenticated"])


def test_a_token_without_subject_is_nobody_s(guarded: Guarded, shared_office: Office) -> None:
    """It allows what it allows, and is no user: two of them are not one person named ''."""
    token = shared_office.mint(subject=None, facts={"tenant": "blue"})
    seen = guarded.get("/photos", token).json
    assert (seen["subject"], seen["authenticated"], seen["scopes"]) == ("", False, ["read"])
    assert seen["facts"] == {"tenant": "blue"}


def test_no_token(guarded: Guarded) -> None:
    """Nothing is answered to nobody: a route that requires something, one that does not, and none."""
    for target in ("/photos", "/plain", "/nothing-there", "/docs"):
        assert guarded.outcome(target) == MISSING, target
    assert guarded.outcome("/photos", method="DELETE") == MISSING


@pytest.mark.parametrize(
    ("caveat", "target", "outcome"),
    [
        ("action = read", "/photos", OK),
        ("action in list,read", "/photos", OK),
        ("action = write", "/photos", REFUSED),
        ("action = read", "/plain", NO_VALUE),
        ("method = GET", "/photos", OK),
        ("method = GET", "/plain", OK),
        ("method = POST", "/photos", REFUSED),
        ("method = POST", "/plain", REFUSED),
        ("path = /photos", "/photos", OK),
        ("path = /photos", "/photos?path=/other", OK),
        ("path under /plain", "/plain/a/b", OK),
        ("path under /plain", "/photos", REFUSED),
        ("path = /photo", "/photos", REFUSED),
        ("host = 127.0.0.1", "/photos", OK),
        ("host = photos.example.org", "/photos", REFUSED),
        ("ip in 127.0.0.0/8", "/photos", OK),
        ("ip in 10.0.0.0/8", "/photos", REFUSED),
        ("album = summer", "/photos", NO_VALUE),
        ("album = summer", "/albums/summer", OK),
        ("album = winter", "/albums/summer", REFUSED),
        ("action in list,read", "/albums/summer", OK),
        ("action = read", "/albums/summer", REFUSED),
        ("floor < 4", "/rooms/3/a", OK),
        ("floor < 4", "/rooms/4/a", REFUSED),
        ("sub = alice", "/photos", OK),
        ("sub = bob", "/photos", REFUSED),
        ("time >= 2026-11-22T12:00:01Z", "/photos", (401, "not-yet-valid")),
        ("time < 2026-11-22T12:00:00Z", "/photos", (401, "expired")),
    ],
)
def test_caveats(guarded: Guarded, token: str, caveat: str, target: str, outcome: tuple[int, str]) -> None:
    """A token that its holder narrowed, against what the request is; twice, since a verifier may remember."""
    for _ in range(2):
        assert guarded.outcome(target, narrowed(token, caveat)) == outcome
    assert guarded.outcome("/photos", token) == OK


def test_a_refusal_names_the_caveat(guarded: Guarded, token: str) -> None:
    """In the body, where its holder can read it; the challenge quotes nothing."""
    heard = guarded.get("/photos", narrowed(token, "action = write"))
    assert heard.outcome == REFUSED
    assert heard.json["caveat"] == "action = write"
    assert "write" not in heard.headers["www-authenticate"]


def test_a_context_function(guarded: Guarded, token: str) -> None:
    """What a route adds is asked about; what it raises is a fault, and lets nobody in."""
    low = narrowed(token, "floor <= 3")
    assert guarded.get("/floors", low, x_floor="3").outcome == OK
    assert guarded.get("/floors", low, x_floor="4").outcome == REFUSED
    assert guarded.send("/floors", low, "X-Floor: third").status == 500  # after which uvicorn hangs up
    assert guarded.get("/floors", None, x_floor="third").outcome == MISSING


def test_another_audience(guarded: Guarded, shared_office: Office, token: str) -> None:
    """A route may be for other tokens than the rest."""
    if shared_office.authority.audience("others") is None:
        shared_office.authority.add_audience("others", None)
    theirs = shared_office.mint(audience="others")
    assert guarded.outcome("/others", theirs) == OK
    assert guarded.outcome("/photos", theirs) == (401, "wrong-audience")
    assert guarded.outcome("/others", token) == (401, "wrong-audience")


def test_before_the_body(guarded: Guarded, token: str) -> None:
    """A request is judged before its body is parsed: nobody learns from 422 what the body should be."""
    bad = {"content": b"{", "headers": {"content-type": "application/json"}}
    assert guarded.http.post("/photos", **bad).status_code == 401  # type: ignore[arg-type]
    headers = {"content-type": "application/json", "authorization": f"Bearer {narrowed(token, 'action = read')}"}
    assert guarded.http.post("/photos", content=b"{", headers=headers).status_code == 403
    headers["authorization"] = f"Bearer {token}"
    assert guarded.http.post("/photos", content=b"{", headers=headers).status_code == 422
    assert guarded.http.post("/photos", content=b'{"n": 1}', headers=headers).json()["n"] == 1


def test_exempt_paths(guarded: Guarded, token: str) -> None:
    """They need no token, and show none; their neighbours do, and their other spellings too."""
    for target in ("/open", "/assets/logo"):
        seen = guarded.get(target, token)
        assert (seen.status, seen.json["id"], seen.json["scopes"]) == (200, None, [])
        assert guarded.outcome(target) == OK
    for target in ("/open/", "/opens", "/assets", "/%6fpen", "/assets/%2E%2E/plain", "//open"):
        assert guarded.send(target, None).outcome == MISSING, target


def test_the_client_behind_a_proxy(guarded: Guarded, token: str) -> None:
    """The peer is a trusted proxy here: the rightmost address that is none counts; what is no address refuses."""
    here = narrowed(token, "ip in 10.1.2.0/24")
    assert guarded.get("/photos", here, x_forwarded_for="10.1.2.3").outcome == OK
    assert guarded.get("/photos", here, x_forwarded_for="9.9.9.9, 10.1.2.3").outcome == OK
    assert guarded.get("/photos", here, x_forwarded_for="::ffff:10.1.2.3").outcome == OK
    assert guarded.get("/photos", here, x_forwarded_for="10.1.2.3, 9.9.9.9").outcome == REFUSED
    assert guarded.get("/photos", here).outcome == REFUSED
    for nonsense in ("10.1.2.3, unknown", "10.1.2.3,", "10.1.2.3:80", "fe80::1%eth0"):
        assert guarded.get("/photos", here, x_forwarded_for=nonsense).outcome == INVALID, nonsense
    two = ["X-Forwarded-For: 10.1.2.3", "X-Forwarded-For: 9.9.9.9"]
    assert guarded.send("/photos", here, *two).outcome == REFUSED
    assert guarded.send("/photos", here, *reversed(two)).outcome == OK
    for name in ("X_Forwarded_For", "Forwarded", "X-Real-IP", "X-Forwarded-For-Ip"):
        assert guarded.send("/photos", here, f"{name}: 10.1.2.3").outcome == REFUSED, name


def test_keep_alive_with_changing_tokens(guarded: Guarded, shared_office: Office) -> None:
    """Each request of a connection is its own: no grant is left over for the next."""
    one, two = shared_office.mint(), shared_office.mint(subject="bob")
    seen: list[Any] = []
    for token in (one, None, two, narrowed(one, "action = write"), one):
        heard = guarded.get("/photos", token)
        seen.append(heard.json.get("subject") if heard.status == 200 else heard.status)
    assert seen == ["alice", 401, "bob", 403, "alice"]


def test_many_at_once(guarded: Guarded, shared_office: Office) -> None:
    """Requests that overlap are each their own caller's: nobody is taken for another, and refusals stay refusals."""
    tokens = {f"user-{number}": shared_office.mint(subject=f"user-{number}") for number in range(8)}

    def ask(number: int) -> bool:
        who = f"user-{number % 8}"
        refused = narrowed(tokens[who], "floor > 3") if number % 3 == 0 else tokens[who]
        heard = guarded.get("/floors", refused, x_floor=str(number % 7))
        if number % 3 == 0 and number % 7 <= 3:
            return heard.outcome == REFUSED
        return heard.status == 200 and heard.json["subject"] == who

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(64)))


def test_every_method(guarded: Guarded, token: str) -> None:
    """A method is judged as it was sent; what no route answers is refused or not found, in that order."""
    assert guarded.outcome("/photos", narrowed(token, "method = HEAD"), "GET") == REFUSED
    answer = guarded.http.request("HEAD", "/photos", headers={"authorization": "Bearer x"})
    assert (answer.status_code, answer.content) == (401, b"")
    assert guarded.ask("DELETE", "/photos", token).status == 405
    assert guarded.ask("GET", "/nothing-there", token).status == 404
