"""Facts come from the issuer, restrictions from anyone; and what a request may say of itself."""

from __future__ import annotations

from typing import Any

import pytest

from caveats import CaveatError

NOON = 1_795_348_800
BOUND = "time < 2026-11-22T13:00:00Z"


def test_facts_are_reported_typed(shared: Any) -> None:
    """The subject by itself, the others by name."""
    grant = shared.grant(shared.mint(subject="alice", facts={"tenant": "acme", "seats": -5}))
    assert (grant.subject, dict(grant.facts)) == ("alice", {"tenant": "acme", "seats": -5})
    grant = shared.grant(shared.mint())
    assert (grant.subject, dict(grant.facts)) == (None, {})


@pytest.mark.parametrize(
    ("caveat", "expected"),
    [
        ("sub = alice", "allowed"),
        ("sub in alice,bob", "allowed"),
        ("seats <= 5", "allowed"),
        ("seats in 1,5", "allowed"),
        ("sub = bob", "caveat-refused"),
        ("sub = Alice", "caveat-refused"),
        ("sub in bob,carol", "caveat-refused"),
        ("seats < 5", "caveat-refused"),
        ("seats > 5", "caveat-refused"),
        ("tenant = acme", "fact-conflict"),
        ("client in a,b", "fact-conflict"),
    ],
)
@pytest.mark.parametrize("where", ["holder", "discharge"])
def test_others_restrict_on_a_fact_and_state_none(shared: Any, where: str, caveat: str, expected: str) -> None:
    """What holds is allowed, what does not is refused; on a fact that the issuer is silent of it is a conflict."""
    token = shared.mint(subject="alice", facts={"seats": 5})
    bundle = shared.narrow(token, caveat) if where == "holder" else shared.discharged(caveat, token=token)
    assert shared.outcome(bundle) == expected
    if expected == "allowed":
        assert shared.grant(bundle).subject == "alice"
    else:
        assert shared.denial(bundle) == (expected, caveat)


def test_two_statements_of_the_issuer(shared: Any) -> None:
    """The same twice is one; two values are a conflict, which the second shows; a restriction may stand beside."""
    assert shared.outcome(shared.forge(BOUND, "sub = alice", "sub = alice")) == "allowed"
    assert shared.denial(shared.forge(BOUND, "sub = alice", "sub = bob")) == ("fact-conflict", "sub = bob")
    assert shared.denial(shared.forge(BOUND, "sub = alice", "sub = bob", n=2)) == ("caveat-refused", "sub = bob")
    assert shared.outcome(shared.forge(BOUND, "sub = alice", "sub in alice,bob")) == "allowed"
    assert shared.denial(shared.forge(BOUND, "sub = alice", "sub in bob,carol")) == (
        "caveat-refused",
        "sub in bob,carol",
    )
    assert shared.denial(shared.forge(BOUND, "sub in alice,bob")) == ("fact-conflict", "sub in alice,bob")


def test_position_alone_makes_an_issuers_caveat(shared: Any) -> None:
    """The caveat after the n-th states nothing."""
    assert shared.grant(shared.forge(BOUND, "sub = alice", n=2)).subject == "alice"
    assert shared.denial(shared.forge(BOUND, "sub = alice", n=1)) == ("fact-conflict", "sub = alice")
    assert shared.denial(shared.narrow(shared.mint(), "sub = admin")) == ("fact-conflict", "sub = admin")


@pytest.mark.parametrize("name", ["sub", "client", "tenant", "seats", "audience", "for.audience", "for.sub", "colour"])
def test_a_request_supplies_no_fact_and_nothing_undeclared(shared: Any, name: str) -> None:
    """Its context is then not well formed, whatever the token asks."""
    assert shared.outcome(shared.mint()) == "allowed"
    assert shared.outcome(shared.mint(), **{name: 5 if name == "seats" else "alice"}) == "context-invalid"


def test_audience_as_a_caveat(shared: Any) -> None:
    """Settled by the key; a false one is refused."""
    assert shared.outcome(shared.mint("audience = default")) == "allowed"
    assert shared.outcome(shared.narrow(shared.mint(), "audience in default,photos")) == "allowed"
    assert shared.denial(shared.narrow(shared.mint(), "audience = photos")) == ("caveat-refused", "audience = photos")
    assert shared.denial(shared.discharged("audience = photos")) == ("caveat-refused", "audience = photos")


@pytest.mark.parametrize(
    "caveat", ["for.audience = default", "for.sub = alice", "for.ttl < 60", "for.tenant = acme", "for.floor = 1"]
)
def test_what_bounds_administrators_is_unknown_elsewhere(shared: Any, caveat: str) -> None:
    """To decisions, and to minting."""
    assert shared.denial(shared.narrow(shared.mint(), caveat)) == ("caveat-unknown", caveat)
    assert shared.denial(shared.discharged(caveat)) == ("caveat-unknown", caveat)
    with pytest.raises(CaveatError) as error:
        shared.mint(caveat)
    assert error.value.code == "caveat-unknown"


@pytest.mark.parametrize(
    ("caveat", "code"),
    [
        ("colour = red", "caveat-unknown"),
        ("error nothing", "caveat-unknown"),
        ("std:time-before 2026-11-22T13:00:00Z", "caveat-unknown"),
        ("need-declared user is-authenticated", "caveat-malformed"),
        ("declared user alice", "caveat-unknown"),
        ("allow read", "caveat-malformed"),
        ("Action = read", "caveat-malformed"),
        ("action == read", "caveat-malformed"),
        ("action = read\n", "caveat-malformed"),
        ("action = read,write", "caveat-malformed"),
        ("action in write,read", "caveat-malformed"),
        ("action in ", "caveat-malformed"),
        ("plan = gold", "caveat-malformed"),
        ("floor = 01", "caveat-malformed"),
        ("floor under 1", "caveat-malformed"),
        ("", "caveat-malformed"),
    ],
)
def test_what_nobody_knows_is_refused(shared: Any, caveat: str, code: str) -> None:
    """In every place where a caveat may stand; never skipped, never informational."""
    octets = caveat.encode()
    context = {"action": "read", "floor": 1, "plan": "free"}
    assert shared.outcome(shared.append(shared.mint(), b"action = read"), **context) == "allowed"
    assert shared.denial(shared.append(shared.mint(), octets), **context)[0] == code
    assert shared.denial(shared.forge(BOUND, octets), **context)[0] == code
    if not caveat.startswith("declared"):
        assert shared.denial(shared.discharged(octets), **context)[0] == code


def test_declarations_of_a_discharge_are_parsed_and_reported_nowhere(shared: Any) -> None:
    """A holder's discharger states nothing; what does not parse is refused all the same."""
    for caveat in ("declared user alice", "declared user ", "declared user a b c"):
        grant = shared.grant(shared.discharged(caveat))
        assert (grant.declared, grant.subject) == ({}, None)
        assert shared.denial(shared.narrow(shared.mint(), caveat)) == ("caveat-unknown", caveat)
    assert shared.denial(shared.discharged("declared user")) == ("caveat-malformed", "declared user")
    assert shared.outcome(shared.discharged("declared user alice", "declared user bob")) == "allowed"


CONTEXTS: list[tuple[str, object, list[object]]] = [
    ("action", "read", ["", "read write", "read,write", 1, True, ["read"], "r" * 129, "réad"]),
    ("floor", 10**18 - 1, [10**18, 2**63, -(10**18), True, 1.0, "1", [1]]),
    ("plan", "team", ["gold", "TEAM", ""]),
    ("path", "/a/" + "b" * 2045, ["/a/" + "b" * 2046, "a", "/a//b", "/a/../b", "/a/%2e", "/a?b", "/é", "/a/%2f", 1]),
    ("host", "a.example", ["A.example", "a.example.", "a.example:80", "[::1]", "-a.example", "1.2.3", ""]),
    ("ip", "::1", ["::1%lo", "127.1", "127.0.0.1/32", "0:0:0:0:0:0:0:1", "", 1]),
    ("method", "GET", ["GET ", "", 1]),
    ("body", "sha256:" + "A" * 43, ["sha256:" + "A" * 42, "sha256:" + "A" * 42 + "B", "sha1:" + "A" * 43]),
]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [(name, good, value) for name, good, values in CONTEXTS for value in values],
    ids=lambda value: repr(value)[:30],
)
def test_a_context_is_typed_as_strictly_as_a_caveat(shared: Any, name: str, good: object, bad: object) -> None:
    """Whatever the token asks for, even nothing."""
    assert shared.outcome(shared.mint(), **{name: good}) == "allowed"
    assert shared.denial(shared.mint(), **{name: bad}) == ("context-invalid", None)


@pytest.mark.parametrize("address", ["192.0.2.7", "::ffff:192.0.2.7", "::ffff:c000:207"])
def test_an_ipv4_mapped_address_is_the_ipv4_address(shared: Any, address: str) -> None:
    """Both spellings of a mapped address, in a context; in a caveat, neither."""
    assert shared.outcome(shared.mint("ip in 192.0.2.0/24"), ip=address) == "allowed"
    assert shared.outcome(shared.mint("ip in 192.0.3.0/24"), ip=address) == "caveat-refused"
    for network in ("::ffff:192.0.2.0/120", "::ffff:c000:200/120", "::ffff:0:0/96"):
        assert shared.outcome(shared.narrow(shared.mint(), f"ip in {network}"), ip=address) == "caveat-malformed"


def test_integers_at_the_edge(shared: Any) -> None:
    """18 digits are compared exactly."""
    token = shared.mint("floor >= 999999999999999999")
    assert shared.outcome(token, floor=10**18 - 1) == "allowed"
    assert shared.outcome(token, floor=10**18 - 2) == "caveat-refused"
    assert shared.outcome(token) == "context-missing"


def test_no_context_value_carries_over(shared: Any) -> None:
    """A value of one request is not there in the next about the same token."""
    token = shared.mint("action in read", "floor in 1,2")
    assert shared.outcome(token, action="read", floor=1) == "allowed"
    assert shared.denial(token, action="read") == ("context-missing", "floor in 1,2")
    assert shared.denial(token, floor=1) == ("context-missing", "action in read")
    assert shared.denial(token, action="read", floor=3) == ("caveat-refused", "floor in 1,2")
