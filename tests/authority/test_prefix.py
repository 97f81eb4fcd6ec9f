"""Deciding on what is confirmed: the same decision and the same code as the authority's, without its key."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsvc.decision import prefix
from capsvc.decision.branches import branch_of
from capsvc.decision.prefix import CONFIRMED_SECONDS, PrefixDecider
from capsvc.errors import Denied
from capsvc.macaroon.decode import decode, encode
from capsvc.macaroon.encoding import b64encode

NOON = 1_795_348_800


class Edge:
    """A prefix decider beside an authority, on one clock."""

    def __init__(self, office: Any) -> None:
        self.office = office
        self.monotonic = 1000.0
        self.decider = PrefixDecider(office.clock, lambda: self.monotonic)
        self.decider.begin_era(office.authority.vocabulary)

    def confirm(self, token: str, audience: str = "default", /, **context: object) -> None:
        """Ask the authority about a token and keep its answer."""
        grant = self.office.authority.authorize(token, audience=audience, context=context, prefix=True)
        self.decider.confirm(token, grant, self.decider.era)

    def outcome(self, token: str, audience: str = "default", /, **context: object) -> str | None:
        """``allowed``, the denial's code, or None where the authority has to be asked."""
        try:
            grant = self.decider.decide(token, audience, context)
        except Denied as denied:
            return denied.code
        return None if grant is None else "allowed"


@pytest.fixture
def edge(office: Any) -> Edge:
    """An edge beside a fresh authority."""
    return Edge(office)


def test_what_is_not_confirmed_is_for_the_authority(edge: Any, office: Any) -> None:
    """And what is, and all that is narrowed from it, is decided here, with the authority's own answer."""
    token = office.mint("action in read,write", subject="ada", facts={"seats": 3})
    narrowed = office.narrow(token, "floor = 1", "sub = ada")
    assert edge.outcome(token, action="read") is edge.outcome(narrowed, action="read", floor=1) is None
    edge.confirm(token, action="read")
    for one in (token, narrowed):
        for context in ({"action": "read", "floor": 1}, {"action": "delete", "floor": 1}, {"floor": 1}, {"x": 1}):
            assert edge.outcome(one, **context) == office.outcome(one, **context)
        context = {"action": "read", "floor": 1}
        assert edge.decider.decide(one, "default", context) == office.grant(one, **context)
    assert edge.outcome(office.mint("action = read"), action="read") is None


def test_what_it_was_narrowed_from_is_not_confirmed_with_it(edge: Any, office: Any) -> None:
    """Nor what else was narrowed from that: their MACs cannot be known here."""
    token = office.mint()
    one, other = office.narrow(token, "floor = 1"), office.narrow(token, "floor = 2")
    edge.confirm(one, floor=1)
    assert edge.outcome(one, floor=1) == "allowed"
    assert edge.outcome(token) is edge.outcome(other, floor=2) is None


def test_forgeries(edge: Any, office: Any) -> None:
    """The confirmed octets with another signature, a caveat added without its MAC, any octet flipped."""
    token = office.mint("floor in 1,2")
    edge.confirm(token, floor=1)
    narrowed = office.narrow(token, "floor = 1")
    macaroon = decode(narrowed)
    assert edge.outcome(narrowed, floor=1) == "allowed"
    ghost = macaroon._replace(signature=decode(token).signature)
    assert edge.outcome(encode(ghost), floor=1) == "invalid-token"
    swapped = decode(token)._replace(signature=macaroon.signature)
    assert edge.outcome(encode(swapped), floor=1) == "invalid-token"
    octets = encode(macaroon)
    for position in range(len(octets)):
        altered = octets[:position] + ("A" if octets[position] != "A" else "B") + octets[position + 1 :]
        told = office.outcome(altered, floor=1)
        assert edge.outcome(altered, floor=1) in {None, told}
        assert told != "allowed" or decode(altered).location != macaroon.location  # which is under no MAC


def test_third_parties_are_for_the_authority(edge: Any, office: Any) -> None:
    """Before the confirmed point or after it, and bundles: none is decided here, nothing of them is kept."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    bundle = office.bundle(token, login.discharge(token))
    edge.confirm(bundle)
    assert edge.outcome(bundle) is edge.outcome(token) is None
    plain = office.mint()
    edge.confirm(plain)
    held = office.with_thirds(plain, "cid")
    assert edge.outcome(held) is edge.outcome(office.bundle(held, office.discharge("cid"))) is None
    assert edge.outcome(plain) == "allowed"


@pytest.mark.parametrize(("offset", "outcome"), [(-1, "allowed"), (0, "expired"), (1, "expired")])
@pytest.mark.parametrize("ends", ["issuer", "holder", "max_ttl"])
def test_it_ends_when_the_authority_says(edge: Any, instant: Any, ends: str, offset: int, outcome: str) -> None:
    """By the issuer's bound, by a holder's, or by the audience's longest lifetime, which only the answer tells."""
    office = edge.office
    token = office.mint(ttl=60 if ends == "issuer" else 3600)
    if ends == "max_ttl":
        office.authority.set_max_ttl("default", 60)
    edge.confirm(token)
    if ends == "holder":
        token = office.narrow(token, f"time < {instant(60)}")
    office.clock.now = NOON + 60 + offset
    assert edge.outcome(token) == office.outcome(token) == outcome


def test_an_answer_is_relied_on_for_five_minutes(edge: Any, office: Any) -> None:
    """By the monotonic clock, remembered or not; then it is asked for again."""
    token = office.mint()
    edge.confirm(token)
    narrowed = office.narrow(token, "floor = 1")
    assert [edge.outcome(one, floor=1) for one in (token, narrowed)] == ["allowed", "allowed"]
    edge.monotonic += CONFIRMED_SECONDS - 0.001
    assert [edge.outcome(one, floor=1) for one in (token, narrowed)] == ["allowed", "allowed"]
    edge.monotonic += 0.001
    assert edge.outcome(token) is edge.outcome(narrowed, floor=1) is None
    assert edge.outcome(office.narrow(token, "floor = 2"), floor=2) is None
    edge.confirm(token)
    assert [edge.outcome(one, floor=1) for one in (token, narrowed)] == ["allowed", "allowed"]


def test_revocations_that_the_feed_tells(edge: Any, office: Any) -> None:
    """By id, subject, key and branch: at the confirmed point, between it and the last, at an earlier one."""
    parent = office.mint(subject="ada")
    token = office.narrow(parent, "floor in 1,2")
    edge.confirm(token, floor=1)
    child = office.narrow(token, "floor = 1")
    grandchild = office.narrow(child, "room = 2")
    family = decode(token).identifier.decode().split(".")
    kid, tid = family[1], family[2]

    def outcomes() -> list[str | None]:
        return [edge.outcome(one, floor=1, room=2) for one in (token, child, grandchild)]

    def branch(one: str) -> bytes:
        return branch_of(decode(one).signature)

    assert outcomes() == ["allowed"] * 3
    for point, dead in ((grandchild, 1), (child, 2), (token, 3), (parent, 3)):
        fresh = Edge(office)
        fresh.confirm(token, floor=1)
        fresh.decider.revocations.revoke_branch(tid, branch(office.narrow(parent, "floor = 9")), 10**9)
        told = [fresh.outcome(one, floor=1, room=2) for one in (token, child, grandchild)]
        assert told == ["allowed"] * 3
        fresh.decider.revocations.revoke_branch(tid, branch(point), 10**9)
        told = [fresh.outcome(one, floor=1, room=2) for one in (token, child, grandchild)]
        assert told == ["allowed"] * (3 - dead) + ["revoked"] * dead
    edge.decider.revocations.revoke_id("another", 10**9)
    edge.decider.revocations.revoke_subject("default", "bo", NOON, 10**9)
    edge.decider.revocations.revoke_subject("other", "ada", NOON, 10**9)
    edge.decider.revocations.revoke_subject("default", "ada", NOON - 1, 10**9)
    edge.decider.revoked_keys["0" * 16] = 10**9
    assert outcomes() == ["allowed"] * 3
    edge.decider.revocations.revoke_subject("default", "ada", NOON, 10**9)
    assert outcomes() == ["revoked"] * 3
    edge.decider.revocations.forget(10**9 + 1)
    assert outcomes() == ["allowed"] * 3
    edge.decider.revoked_keys[kid] = 500
    assert outcomes() == ["revoked"] * 3
    edge.decider.forget(501)
    assert outcomes() == ["allowed"] * 3
    edge.decider.revocations.revoke_id(tid, 10**9)
    assert outcomes() == ["revoked"] * 3


def test_an_era_that_ends_takes_everything_with_it(edge: Any, office: Any) -> None:
    """What is confirmed, what is remembered of it, and answers that were asked for before."""
    token = office.mint()
    era = edge.decider.era
    grant = office.authority.authorize(token, audience="default", prefix=True)
    edge.decider.confirm(token, grant, era)
    assert edge.outcome(token) == "allowed"
    edge.decider.begin_era()
    assert edge.outcome(token) is None
    edge.decider.confirm(token, grant, era)
    assert edge.outcome(token) is None
    edge.decider.confirm(token, grant, edge.decider.era)
    assert edge.outcome(token) == "allowed"


def test_answers_that_are_not_about_the_token(edge: Any, office: Any) -> None:
    """One without what a prefix verifier needs, one about another token, one with too few branches: none is kept."""
    token, other = office.mint("floor = 1"), office.mint("floor = 1")
    grant = office.authority.authorize(token, audience="default", context={"floor": 1}, prefix=True)
    plain = office.authority.authorize(token, audience="default", context={"floor": 1})
    for about, answer in ((token, plain), (other, grant), (office.narrow(token, "floor = 1"), grant)):
        edge.decider.confirm(about, answer, edge.decider.era)
        assert len(edge.decider) == 0
    edge.decider.confirm(token, grant, edge.decider.era)
    assert edge.outcome(token, floor=1) == "allowed"


def test_values_that_are_equal_and_mean_different_things(edge: Any, office: Any) -> None:
    """What is remembered of a context does not answer for another one: 1, 1.0 and True."""
    token = office.mint("floor = 1")
    edge.confirm(token, floor=1)
    assert [edge.outcome(token, floor=1) for _ in range(3)] == ["allowed"] * 3
    for value in (True, 1.0, "1", None, [1]):
        assert edge.outcome(token, floor=value) == office.outcome(token, floor=value) == "context-invalid"
    assert edge.decider.decide(token, "default", {"floor": 1})
    with pytest.raises(Denied) as denied:
        edge.decider.decide(token, "default", [("floor", 1)])
    assert denied.value.code == "context-invalid"


def test_a_caveat_on_the_hour_is_judged_each_time(edge: Any, office: Any) -> None:
    """With the same context, as the clock goes on."""
    token = office.mint("clock < 12:01", "floor = 1")
    edge.confirm(token, floor=1)
    assert [edge.outcome(token, floor=1) for _ in range(3)] == ["allowed"] * 3
    office.clock.now = NOON + 60
    assert edge.outcome(token, floor=1) == office.outcome(token, floor=1) == "caveat-refused"


def test_another_audience(edge: Any, office: Any) -> None:
    """A confirmed token is for the audience of its key."""
    office.authority.add_audience("photos")
    token = office.mint()
    edge.confirm(token)
    assert edge.outcome(token) == "allowed"
    assert edge.outcome(token, "photos") == office.outcome(token, "photos") == "wrong-audience"


def test_what_is_kept_is_bounded(edge: Any, office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Families, confirmed tokens of one, readings, contexts: the oldest gives way, and is asked for again."""
    monkeypatch.setattr(prefix, "FAMILIES", 3)
    monkeypatch.setattr(prefix, "YOUNG", 2)
    tokens = [office.mint() for _ in range(5)]
    for token in tokens:
        edge.confirm(token)
    assert len(edge.decider) == 3
    assert [edge.outcome(token) for token in tokens] == [None, None, "allowed", "allowed", "allowed"]
    assert len(edge.decider._young) + len(edge.decider._old) <= 4
    family = [office.narrow(tokens[4], f"floor < {number}") for number in range(2, 12)]
    for token in family:
        edge.confirm(token, floor=1)
    kept = edge.decider._families[decode(tokens[4]).identifier]
    assert len(kept) == prefix.OF_FAMILY
    for number in range(100):
        assert edge.outcome(family[-1], floor=1, room=number) == "allowed"
    known = edge.decider._young.get(family[-1]) or edge.decider._old[family[-1]]
    assert len(known.allowed) <= prefix.CONTEXTS
    for length, kept in ((255, 1), (256, 1), (257, 0)):
        known.allowed.clear()
        assert edge.outcome(family[-1], floor=1, path="/" + "a" * (length - 1)) == "allowed"
        assert len(known.allowed) == kept, length


def test_no_secret_is_shown(edge: Any, office: Any) -> None:
    """A confirmed token's signature is the key to everything below it."""
    token = office.mint()
    edge.confirm(token)
    narrowed = office.narrow(token, "floor = 1")
    assert edge.outcome(narrowed, floor=1) == "allowed"
    known = edge.decider._young[narrowed]
    signature = decode(narrowed).signature
    shown = f"{known!r} {known.confirmed!r} {edge.decider!r}"
    assert signature.hex() not in shown
    assert repr(signature)[2:-1] not in shown
    assert b64encode(signature) not in shown


CAVEATS = st.sampled_from(
    [
        "action = read",
        "action in read,write",
        "floor = 1",
        "floor >= 2",
        "path under /a",
        "ip in 10.0.0.0/8",
        "clock >= 12:01",
        "weekday = sun",
        "audience = default",
        "audience = other",
        "sub = ada",
        "seats = 3",
        "time < 2026-11-22T12:10:00Z",
        "time-before 2026-11-22T12:00:30.25Z",
        "time >= 2026-11-22T12:00:30Z",
        "colour = red",
        "declared a b",
        "nonsense",
    ]
)
CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(["read", "write", "delete"]),
        "floor": st.sampled_from([0, 1, 2, True, "1"]),
        "path": st.sampled_from(["/a", "/a/b", "/b", "/a/../b"]),
        "ip": st.sampled_from(["10.1.2.3", "192.0.2.1", "nowhere"]),
    },
)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requested=st.lists(st.sampled_from(["action in read,write", "floor in 1,2", "clock < 13:00"]), max_size=2),
    subject=st.sampled_from([None, "ada", "bo"]),
    before=st.lists(st.sampled_from(["floor in 1,2", "action in read,write"]), max_size=1),
    after=st.lists(CAVEATS, max_size=3),
    contexts=st.lists(CONTEXTS, min_size=1, max_size=4),
    later=st.sampled_from([0, 30, 30.25, 59, 600, 3599, 3600]),
)
def test_the_same_decision_and_the_same_code(
    *,
    shared: Any,
    requested: list[str],
    subject: str | None,
    before: list[str],
    after: list[str],
    contexts: list[dict[str, object]],
    later: float,
) -> None:
    """For whatever is narrowed from what is confirmed, in whatever context, whenever."""
    edge = Edge(shared)
    token = shared.narrow(shared.mint(*requested, subject=subject), *before)
    edge.confirm(token, action="read", floor=1)
    narrowed = shared.narrow(token, *after)
    shared.clock.now = NOON + later
    try:
        for context in contexts:
            for _ in range(2):
                assert edge.outcome(narrowed, **context) == shared.outcome(narrowed, **context)
    finally:
        shared.clock.now = NOON
