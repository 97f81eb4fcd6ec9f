"""What explain and prefix add to an answer; neither changes it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from pymacaroons import Macaroon

from capsvc.errors import Denied
from capsvc.macaroon.encoding import b64encode

BOUND = "time < 2026-11-22T13:00:00Z"

Told = list[tuple[str, str, str]]


def told(office: Any, bundle: str, audience: str = "default", **context: object) -> tuple[str, Told]:
    """The outcome with an explanation, and the verdicts as tuples."""
    plain = office.outcome(bundle, audience, **context)
    try:
        code, verdicts = "allowed", office.grant(bundle, audience, explain=True, **context).verdicts
    except Denied as denied:
        code, verdicts = denied.code, denied.verdicts
    assert code == plain
    return code, [(one.caveat, one.source, one.verdict) for one in verdicts]


def test_every_caveat_of_every_macaroon_in_order(shared: Any) -> None:
    """`time <` and facts included, a third-party caveat by its location, the discharge's last."""
    token = shared.with_thirds(shared.narrow(shared.mint("floor = 1", subject="alice"), "sub = alice"), "cid")
    bundle = shared.bundle(token, shared.discharge("cid", "action = read", "declared a b"))
    expected = [
        (BOUND, "issuer", "satisfied"),
        ("sub = alice", "issuer", "satisfied"),
        ("floor = 1", "issuer", "satisfied"),
        ("sub = alice", "holder", "satisfied"),
        ("https://who.example/", "holder", "satisfied"),
        ("action = read", "discharge", "satisfied"),
        ("declared a b", "discharge", "satisfied"),
    ]
    assert told(shared, bundle, floor=1, action="read") == ("allowed", expected)
    expected[2] = ("floor = 1", "issuer", "context-missing")
    expected[5] = ("action = read", "discharge", "caveat-refused")
    assert told(shared, bundle, action="write") == ("context-missing", expected)


def test_nothing_is_told_before_step_5(shared: Any) -> None:
    """Of a token that is not proved ours, for this audience, with its discharges, no caveat is shown."""
    token = shared.mint("floor = 1")
    third = shared.with_thirds(token, "cid")
    assert told(shared, token, floor=1)[1]
    for bundle, audience, code in (
        (token + "=", "default", "malformed"),
        (token + "A" * 20_000, "default", "too-large"),
        (token[:-4] + "AAAA", "default", "invalid-token"),
        (token, "capsvc", "wrong-audience"),
        (third, "default", "discharge-missing"),
        (shared.bundle(third, shared.discharge("cid", key="x")), "default", "discharge-invalid"),
        (shared.bundle(token, shared.discharge("cid")), "default", "discharge-unused"),
    ):
        assert told(shared, bundle, audience, floor=1) == (code, [])


def test_everything_is_told_from_step_5_on(shared: Any, instant: Any) -> None:
    """Denials at 5, 6, 7 and 8 all come with the full list."""
    expected = [(BOUND, "issuer", "satisfied"), ("floor = 1", "issuer", "satisfied")]

    revoked = shared.mint("floor = 1")
    shared.authority.revoke(token=revoked)
    assert told(shared, revoked, floor=1) == ("revoked", expected)

    token = shared.mint("floor = 1")
    ended = shared.narrow(token, f"time < {instant(0)}")
    assert told(shared, ended, floor=1) == ("expired", [*expected, (f"time < {instant(0)}", "holder", "expired")])
    ended = shared.narrow(token, f"time-before {instant(0)}")
    assert told(shared, ended, floor=1)[1][-1] == (f"time-before {instant(0)}", "holder", "expired")
    later = shared.narrow(token, f"time >= {instant(1)}")
    begins = (f"time >= {instant(1)}", "holder", "not-yet-valid")
    assert told(shared, later, floor=1) == ("not-yet-valid", [*expected, begins])
    assert told(shared, shared.forge("floor = 1"), floor=1) == (
        "no-expiry",
        [("floor = 1", "issuer", "satisfied")],
    )

    wrong = [expected[0], ("floor = 1", "issuer", "context-invalid")]
    assert told(shared, token, floor="1") == ("context-invalid", wrong)
    assert told(shared, token, floor=1, room="1") == ("context-invalid", expected)

    refused = [expected[0], ("floor = 1", "issuer", "caveat-refused")]
    assert told(shared, token, floor=2) == ("caveat-refused", refused)


def test_every_verdict_stands_beside_its_caveat(shared: Any) -> None:
    """Not the first failure alone."""
    token = shared.narrow(
        shared.mint(), "nonsense", "colour = red", "floor = 1", "action = read", "tenant = acme", "audience = x"
    )
    assert told(shared, token, action="write") == (
        "caveat-malformed",
        [
            (BOUND, "issuer", "satisfied"),
            ("nonsense", "holder", "caveat-malformed"),
            ("colour = red", "holder", "caveat-unknown"),
            ("floor = 1", "holder", "context-missing"),
            ("action = read", "holder", "caveat-refused"),
            ("tenant = acme", "holder", "fact-conflict"),
            ("audience = x", "holder", "caveat-refused"),
        ],
    )


def test_without_explain_nothing_is_told(shared: Any) -> None:
    """Neither by a grant nor by a denial."""
    token = shared.mint("floor = 1")
    assert shared.grant(token, floor=1).verdicts == ()
    with pytest.raises(Denied) as denied:
        shared.grant(token, floor=2)
    assert denied.value.verdicts == ()


def test_prefix_names_key_and_branches(shared: Any) -> None:
    """Of every chain point from the last issuer caveat's to the last: SHA-256 of a tag and the MAC, no MAC itself."""
    minted = shared.minted("floor = 1")
    token = minted.token
    macs = [bytes.fromhex(Macaroon.deserialize(token).signature)]
    for caveat in ("room = 1", "room = 1", "action = read"):
        token = shared.narrow(token, caveat)
        macs.append(bytes.fromhex(Macaroon.deserialize(token).signature))
    context = {"floor": 1, "room": 1, "action": "read"}
    grant = shared.authority.authorize(token, audience="default", context=context, prefix=True)
    assert grant.branches == tuple(b64encode(hashlib.sha256(b"capsvc branch 1\0" + mac).digest()) for mac in macs)
    assert [grant.kid] == [key.kid for key in shared.authority.keys("default")]
    assert grant.caveats == (*minted.caveats, "room = 1", "room = 1", "action = read")
    both = shared.authority.authorize(token, audience="default", context=context, prefix=True, explain=True)
    assert (both.branches, len(both.verdicts)) == (grant.branches, 5)


def test_prefix_of_a_fresh_token_is_its_one_branch(shared: Any) -> None:
    """The point of the last issuer caveat."""
    grant = shared.authority.authorize(shared.mint(), audience="default", prefix=True)
    assert len(grant.branches) == 1
    assert len(grant.branches[0]) == 43


@pytest.mark.parametrize("prefix", [False, True])
def test_a_denial_is_the_same_with_prefix(shared: Any, prefix: bool) -> None:
    """It gives nothing away."""
    with pytest.raises(Denied) as denied:
        shared.authority.authorize(shared.mint("floor = 1"), audience="default", context={"floor": 2}, prefix=prefix)
    assert (denied.value.code, denied.value.caveat) == ("caveat-refused", "floor = 1")
