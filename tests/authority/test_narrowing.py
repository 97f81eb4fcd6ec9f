"""Attenuation: whoever adds a caveat, by whatever library, can only take away."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsvc.token import Token
from caveats import TYPES, CaveatError

ROOT = Path(__file__).parents[2]
ATTRIBUTES: dict[str, dict[str, object]] = {
    "floor": {"type": "integer"},
    "room": {"type": "integer"},
    "body": {"type": "digest"},
    "plan": {"type": "word", "values": ["free", "team"]},
    "tenant": {"type": "word", "fact": True},
    "seats": {"type": "integer", "fact": True},
}
NAMES = ["time", "clock", "weekday", "action", "method", "path", "host", "ip", "audience", "sub", "client", *ATTRIBUTES]
VALUES = [
    "read", "write", "read,write", "GET", "GET,POST", "1", "0", "-1", "1,2", "999999999999999999", "/", "/a", "/a/b",
    "a.example", "192.0.2.0/24", "::/1", "192.0.2.7", "2026-11-22T12:00:00Z", "2026-11-22T11:00:00Z",
    "2099-12-31T23:59:59Z", "12:00", "00:00", "23:59", "sun", "mon", "default", "capsvc", "alice", "bob", "acme",
    "free", "team", "gold", "", "*", "sha256:" + "A" * 43,
]  # fmt: skip

written = st.builds(
    "{} {} {}".format,
    st.sampled_from(NAMES),
    st.sampled_from(["=", "<", "<=", ">", ">=", "in", "under", "==", "!="]),
    st.sampled_from(VALUES),
).map(str.encode)
dialect = st.sampled_from(
    [
        b"time-before 2026-11-22T12:30:00.5Z", b"time-before 2026-11-22T11:30:00Z", b"time-before 2020-01-01T00:00:00Z",
        b"time-before 2099-12-31T23:59:59.999999999Z", b"declared user alice", b"need-declared a b", b"error no",
        b"allow read", b"deny write", b"true", b"for.audience = default", b"for.sub = alice", b"for.ttl < 60",
    ]
)  # fmt: skip
garbage = st.binary(min_size=0, max_size=40) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace"))
any_caveat = written | dialect | garbage

contexts = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(["read", "write"]),
        "method": st.sampled_from(["GET", "POST"]),
        "floor": st.sampled_from([0, 1, 2, True, "1"]),
        "room": st.sampled_from([1, -1]),
        "path": st.sampled_from(["/", "/a", "/a/b", "/ab", "//"]),
        "host": st.sampled_from(["a.example", "192.0.2.7"]),
        "ip": st.sampled_from(["192.0.2.7", "::1", "::ffff:192.0.2.7"]),
        "plan": st.sampled_from(["free", "team", "gold"]),
    },
)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)


@pytest.fixture(scope="module")
def roots(shared: Any) -> list[str]:
    """Tokens to begin with: bare, bounded, with facts, of odd shape, hopeless, and one whose branch is revoked."""
    revoked = shared.mint("action = read")
    shared.authority.revoke(token=revoked)
    return [
        shared.mint(),
        shared.mint("action in read,write", subject="alice", facts={"tenant": "acme", "seats": 1}),
        shared.mint("floor = 1", "path under /a"),
        shared.mint("time >= 2026-11-22T12:30:00Z"),
        shared.forge(),
        shared.forge("time < 2026-11-22T13:00:00Z", n=0),
        shared.forge("time < 2026-11-22T13:00:00Z", "sub = alice", "sub = bob"),
        shared.forge("time < 2026-11-22T13:00:00Z", "nonsense"),
        revoked,
    ]


@unhurried
@given(data=st.data(), caveats=st.lists(any_caveat, min_size=1, max_size=4), context=contexts)
def test_an_added_caveat_never_turns_a_denial_into_a_grant(
    shared: Any, roots: list[str], data: st.DataObject, caveats: list[bytes], context: dict[str, object]
) -> None:
    """Whatever the caveat: legal, of the dialect, garbage; once denied, denied with everything that is added later."""
    token = data.draw(st.sampled_from(roots))
    outcomes = [shared.outcome(token, **context)]
    for caveat in caveats:
        token = shared.append(token, caveat)
        outcomes.append(shared.outcome(token, **context))
    allowed = [outcome == "allowed" for outcome in outcomes]
    assert allowed == sorted(allowed, reverse=True), outcomes


@unhurried
@given(caveats=st.lists(any_caveat, max_size=3), context=contexts)
def test_a_discharges_caveat_never_turns_a_denial_into_a_grant(
    shared: Any, caveats: list[bytes], context: dict[str, object]
) -> None:
    """A discharge with more caveats allows at most what the one without them does."""
    bare = shared.outcome(shared.discharged(token=shared.mint("floor = 1")), **context)
    root = shared.with_thirds(shared.mint("floor = 1"), "cid")
    fuller = shared.outcome(
        shared.bundle(root, shared.discharge("cid", *[caveat for caveat in caveats if _is_text(caveat)])), **context
    )
    assert fuller != "allowed" or bare == "allowed"


def _is_text(octets: bytes) -> bool:
    return octets.decode("utf-8", "replace").encode() == octets and b"\0" not in octets


AGREE = [
    ("action in read,write", {"action": "read"}, {"action": "delete"}),
    ("action = read", {"action": "read"}, {}),
    ("floor = 1", {"floor": 1}, {"floor": 2}),
    ("floor <= 3", {"floor": 3}, {"floor": 4}),
    ("path under /a", {"path": "/a/b"}, {"path": "/ab"}),
    ("host = a.example", {"host": "a.example"}, {"host": "b.example"}),
    ("ip in 192.0.2.0/24", {"ip": "192.0.2.7"}, {"ip": "192.0.3.7"}),
    ("plan = team", {"plan": "team"}, {"plan": "free"}),
    ("clock < 12:01", {}, None),
    ("weekday = mon", None, {}),
    ("time < 2026-11-22T12:00:01Z", {}, None),
    ("time-before 2026-11-22T12:00:00Z", None, {}),
    ("sub = alice", {}, None),
    ("sub = bob", None, {}),
    ("audience = default", {}, None),
]


@pytest.mark.parametrize(("caveat", "allowed", "denied"), AGREE, ids=[row[0] for row in AGREE])
def test_pymacaroons_and_our_token_narrow_alike(
    shared: Any, caveat: str, allowed: dict[str, object] | None, denied: dict[str, object] | None
) -> None:
    """To the very same octets, allowed and refused alike."""
    token = shared.mint(subject="alice")
    theirs = shared.narrow(token, caveat)
    ours = str(Token.parse(token).attenuate(caveat, attributes=ATTRIBUTES))
    assert ours == theirs == shared.append(token, caveat.encode())
    if allowed is not None:
        assert shared.outcome(ours, **allowed) == "allowed"
    if denied is not None:
        assert shared.outcome(token, **denied) == "allowed"
        assert shared.outcome(ours, **denied) in {"caveat-refused", "context-missing", "expired"}


def test_the_command_line_narrows_alike(shared: Any, tmp_path: Path) -> None:
    """Several caveats in one go, on standard input; away from the service it does not know `floor`."""
    token = shared.mint()
    caveats = ["action in read,write", "floor = 1", "path under /a"]
    done = subprocess.run(
        [sys.executable, "-m", "capsvc.cli", "attenuate", *(part for one in caveats for part in ("--caveat", one))],
        input=token,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        timeout=60,
    )
    assert done.stdout == shared.narrow(token, *caveats) + "\n"
    context = {"action": "read", "floor": 1, "path": "/a/b"}
    assert shared.outcome(done.stdout.strip(), **context) == "allowed"
    for name, value in (("action", "delete"), ("floor", 2), ("path", "/b")):
        assert shared.outcome(done.stdout.strip(), **{**context, name: value}) == "caveat-refused"


@settings(max_examples=200, deadline=None)
@given(caveat=any_caveat)
def test_what_our_token_adds_the_service_knows(caveat: bytes) -> None:
    """`attenuate` raises `CaveatError` alone; what it adds is exactly the text that was asked for."""
    with contextlib.suppress(CaveatError):
        narrowed = Token.parse(SAMPLE).attenuate(caveat.decode("utf-8", "surrogateescape"), attributes=ATTRIBUTES)
        assert narrowed.caveats[-1].encode() == caveat


SAMPLE = "AgEBbAIBaQAABiA" + "A" * 43


def test_every_type_of_value_is_among_the_properties() -> None:
    """The strategy above names an attribute of each."""
    built_in = {"time": "instant", "clock": "clock", "action": "word", "path": "path", "host": "host", "ip": "network"}
    assert {*built_in.values(), *(str(entry["type"]) for entry in ATTRIBUTES.values())} == set(TYPES)
