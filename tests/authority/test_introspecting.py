"""Introspection: active is what a decision would allow, and what is left of actions is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsvc.authority import Credential
from capsvc.decision.instants import aware
from capsvc.errors import RequestError
from capsvc.grants import Introspection
from capsvc.store.protocol import StoreUnavailable

NOON = 1_795_348_800
INACTIVE = Introspection(active=False)


def scope(office: Any, token: str, **context: object) -> tuple[str, ...] | str | None:
    """The scope of a token, or ``inactive``."""
    found = office.authority.introspect(token, context=context)
    assert found.active or found == INACTIVE
    return found.scope if found.active else "inactive"


def admin(office: Any, *caveats: str) -> Credential:
    """An administrator's credential with more caveats, as it is once it has been let in."""
    token = office.narrow(office.authority.admin_token(), *caveats)
    credential: Credential = office.authority.authenticate(token, context={"action": "tokens:verify"})
    return credential


def test_what_is_told(shared: Any) -> None:
    """Issuer, audience, id, both instants, subject and the fact ``client``; the expiry is the effective one."""
    minted = shared.minted(subject="alice", facts={"client": "app", "tenant": "acme"})
    token = shared.narrow(minted.token, f"time < {aware(NOON + 600).isoformat()[:19]}Z")
    assert shared.authority.introspect(token) == Introspection(
        active=True,
        issuer=shared.authority.issuer,
        audience="default",
        id=minted.id,
        issued_at=aware(NOON),
        expires_at=aware(NOON + 600),
        subject="alice",
        scope=None,
        client="app",
    )
    plain = shared.authority.introspect(shared.mint())
    assert (plain.active, plain.subject, plain.client, plain.scope) == (True, None, None, None)


@pytest.mark.parametrize(
    ("caveats", "expected"),
    [
        ([], None),
        (["action = read"], ("read",)),
        (["action in read,write"], ("read", "write")),
        (["action in read,write", "action in delete,write"], ("write",)),
        (["action in a,b,c", "action in b,c,d", "action in a,c"], ("c",)),
        (["action = read", "action = read"], ("read",)),
        (["action = read", "action = write"], "inactive"),
        (["action in read,write", "action = delete"], "inactive"),
    ],
)
def test_scope(shared: Any, caveats: list[str], expected: object) -> None:
    """It is what all caveats on the action leave together; a token that they leave nothing of is not active."""
    assert scope(shared, shared.mint(*caveats)) == expected
    assert scope(shared, shared.narrow(shared.mint(), *caveats)) == expected
    assert scope(shared, shared.narrow(shared.mint(*caveats[:1]), *caveats[1:])) == expected


ACTIONS = ("delete", "read", "write")
LISTS = st.lists(st.sampled_from(ACTIONS), min_size=1, unique=True).map(sorted).map(",".join)
CAVEATS = st.one_of(st.sampled_from(ACTIONS).map("action = {}".format), LISTS.map("action in {}".format))


@given(issued=st.lists(CAVEATS, max_size=3), held=st.lists(CAVEATS, max_size=3))
def test_the_scope_is_what_decisions_allow(shared: Any, issued: list[str], held: list[str]) -> None:
    """An action is in the scope of a token exactly if a decision allows it."""
    token = shared.narrow(shared.mint(*issued), *held)
    told = scope(shared, token)
    allowed = [action for action in ACTIONS if shared.outcome(token, action=action) == "allowed"]
    assert allowed == (list(ACTIONS) if told is None else [] if told == "inactive" else list(told))


def test_scope_of_discharges(shared: Any) -> None:
    """A discharge's caveats on the action count."""
    root = shared.mint("action in read,write")
    assert scope(shared, shared.discharged("action = read", token=root)) == ("read",)
    assert scope(shared, shared.discharged("action = delete", token=root)) == "inactive"
    assert scope(shared, shared.with_thirds(root, "cid")) == "inactive"


def test_an_action_that_is_named_is_checked(shared: Any) -> None:
    """With the action in the context its caveats are judged like all others, and the scope is told still."""
    token = shared.mint("action in read,write")
    assert scope(shared, token, action="read") == ("read", "write")
    assert scope(shared, token, action="delete") == "inactive"
    assert scope(shared, token, action="not a word") == "inactive"
    assert scope(shared, shared.mint(), action="delete") is None


def test_every_other_caveat_needs_its_value(shared: Any) -> None:
    """Only caveats on the action may stay open; each of the others holds, or the token is not active."""
    token = shared.mint("action = read", "floor = 1", "method in GET,HEAD")
    assert scope(shared, token, floor=1, method="GET") == ("read",)
    for context in ({}, {"floor": 1}, {"method": "GET"}, {"floor": 2, "method": "GET"}, {"floor": 1, "method": "PUT"}):
        assert scope(shared, token, **context) == "inactive"


@pytest.mark.parametrize(
    "caveats", [["nonsense"], ["colour = red"], ["action < read"], ["action = "], ["action in read,"], ["actions = a"]]
)
def test_caveats_that_nobody_can_meet(shared: Any, caveats: list[str]) -> None:
    """What is malformed or unknown is not passed over, beside a scope or alone."""
    octets = [caveat.encode() for caveat in caveats]
    assert scope(shared, shared.append(shared.mint(), b"action = read")) == ("read",)
    assert scope(shared, shared.append(shared.mint(), *octets)) == "inactive"
    assert scope(shared, shared.append(shared.mint("action = read"), *octets)) == "inactive"


@pytest.mark.parametrize(
    "context",
    [{"colour": "red"}, {"time": "2026-11-22T12:00:00Z"}, {"sub": "alice"}, {"floor": True}, {"floor": "1"}, {"": ""}],
)
def test_contexts_that_are_none(shared: Any, context: dict[str, object]) -> None:
    """A context that is not well formed leaves nothing active."""
    token = shared.mint(subject="alice")
    assert scope(shared, token, floor=1) is None
    assert scope(shared, token, **context) == "inactive"


def ended(office: Any, token: str) -> None:
    """Let the clock go past the token's end."""
    office.clock.now = NOON + 3600


DEATHS: dict[str, Callable[[Any, str], object]] = {
    "expired": ended,
    "id": lambda office, token: office.authority.revoke(id=office.grant(token, action="read").id),
    "branch": lambda office, token: office.authority.revoke(token=token),
    "subject": lambda office, _: office.authority.revoke(audience="default", subject="alice"),
    "key": lambda office, _: office.authority.revoke(key=office.authority.keys("default")[0].kid),
}


@pytest.mark.parametrize("how", DEATHS)
def test_what_is_dead_is_not_active(office: Any, how: str) -> None:
    """Expired, or revoked in any way."""
    token = office.mint("action = read", subject="alice")
    assert scope(office, token) == ("read",)
    DEATHS[how](office, token)
    assert scope(office, token) == "inactive"


@pytest.mark.parametrize("text", ["", "x", "~", "Bearer x", "a" * 20_000, 5, None])
def test_what_is_no_token_is_not_active(shared: Any, text: Any) -> None:
    """Whatever it is."""
    assert shared.authority.introspect(text) == INACTIVE
    assert shared.authority.introspect(shared.mint()[:-2] + "AA") == INACTIVE


def test_audiences(office: Any) -> None:
    """The audience that is named, else ``default``; a token of another is not active."""
    office.authority.add_audience("photos")
    token, photo = office.mint(), office.mint(audience="photos")
    told = office.authority.introspect
    assert told(token).active
    assert told(token, audience="default").active
    assert told(photo, audience="photos").active
    assert told(photo, audience="photos").audience == "photos"
    for wrong, audience in ((photo, None), (photo, "default"), (token, "photos"), (token, "nothing"), (token, "")):
        assert told(wrong, audience=audience) == INACTIVE


@pytest.mark.parametrize(
    ("caveats", "meant"),
    [
        ([], "default"),
        (["for.audience = photos"], "photos"),
        (["for.audience in default,photos"], "default"),
        (["for.audience in default,photos", "for.audience in photos,videos"], "photos"),
        (["for.audience in photos,videos"], None),
        (["for.audience = default"], "default"),
        (["for.audience = photos", "for.audience = default"], None),
    ],
)
def test_audience_of_the_credential(office: Any, caveats: list[str], meant: str | None) -> None:
    """Where none is named, it is the one that the credential is bounded to; of several or none it is ``default``."""
    for name in ("photos", "videos"):
        office.authority.add_audience(name)
    credential = admin(office, *caveats)
    tokens = {name: office.mint(audience=name) for name in ("default", "photos", "videos")}
    active = [
        name for name, token in tokens.items() if office.authority.introspect(token, credential=credential).active
    ]
    assert active == ([meant] if meant else [])


@pytest.mark.parametrize(
    "caveats",
    [["for.audience = photos"], ["for.sub = alice"], ["for.ttl < 9"], ["for.tenant = acme"]],
)
def test_what_a_credential_does_not_cover(office: Any, caveats: list[str]) -> None:
    """It looks like what does not exist, be it another audience or a bound that introspection has no value for."""
    token = office.mint(subject="alice", facts={"tenant": "acme"})
    told = office.authority.introspect
    assert told(token, audience="default", credential=admin(office)).active
    assert told(token, audience="default", credential=admin(office, *caveats)) == INACTIVE


def test_administrators_own_tokens(office: Any) -> None:
    """A credential of the service itself is one of the audience ``capsvc``; bounded ones need what no request has."""
    token = office.authority.admin_token()
    assert office.authority.introspect(token) == INACTIVE
    assert office.authority.introspect(token, audience="capsvc").active
    assert office.authority.introspect(office.narrow(token, "for.audience = photos"), audience="capsvc") == INACTIVE


def test_no_decision_is_no_answer(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the state cannot be read nothing is said of the token."""
    token = office.mint()

    def gone() -> None:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(office.authority._decider.presenter, "_follow", gone)
        with pytest.raises(RequestError) as caught:
            office.authority.introspect(token)
        assert caught.value.code == "unavailable"
    assert office.authority.introspect(token).active


def test_the_value_is_neither_true_nor_false(shared: Any) -> None:
    """Whoever asks the value itself, and not whether it is active, is stopped."""
    found = shared.authority.introspect(shared.mint())
    assert found.active is True
    with pytest.raises(TypeError, match="active"):
        bool(found)
    with pytest.raises(TypeError, match="active"):
        bool(INACTIVE)
