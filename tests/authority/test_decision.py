"""The decision table: every code of every step, and, of two failures at once, the earlier step's code."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest

NOON = 1_795_348_800
HOUR_LATER = "time < 2026-11-22T13:00:00Z"
LIVE = (HOUR_LATER,)


class Case:
    """A token that fails at exactly one step, or at none."""

    def __init__(self, office: Any) -> None:
        self.office = office
        self.caveats = [HOUR_LATER]
        self.iat = NOON
        self.issued = 1  # how many of the caveats are the issuer's
        self.audience = "default"
        self.asked = "default"
        self.context: dict[str, object] = {"action": "read"}
        self.thirds: list[str] = []
        self.discharges: list[Any] = []
        self.text: Callable[[str], str] = str
        self.revoked = False

    def outcome(self) -> tuple[str, str | None]:
        """The code and caveat, or allowed."""
        office = self.office
        token = office.forge(*self.caveats, iat=self.iat, n=self.issued, audience=self.audience)
        if self.revoked:
            office.authority.revoke(token=token)
        token = office.with_thirds(token, *self.thirds) if self.thirds else token
        bundle = self.text(office.bundle(token, *self.discharges))
        if office.outcome(bundle, self.asked, **self.context) == "allowed":
            return "allowed", None
        code, caveat = office.denial(bundle, self.asked, **self.context)
        return code, caveat


def too_large(case: Case) -> None:
    """Step 1: past a bound."""
    before = case.text
    case.text = lambda token: before(token) + "A" * 20_000


def malformed(case: Case) -> None:
    """Step 1: not its one spelling."""
    before = case.text
    case.text = lambda token: before(token) + "="


def invalid_token(case: Case) -> None:
    """Step 2: another MAC."""
    before = case.text

    def damaged(bundle: str) -> str:
        root, *rest = before(bundle).split("~")
        return "~".join([root[:-4] + ("AAAA" if root[-4:] != "AAAA" else "BBBB"), *rest])

    case.text = damaged


def wrong_audience(case: Case) -> None:
    """Step 3."""
    case.asked = "photos"


def discharge_missing(case: Case) -> None:
    """Step 4."""
    case.thirds.append("missing")


def discharge_invalid(case: Case) -> None:
    """Step 4."""
    case.thirds.append("invalid")
    case.discharges.append(case.office.discharge("invalid", key="another"))


def discharge_unused(case: Case) -> None:
    """Step 4."""
    case.discharges.append(case.office.discharge("nobody asked"))


def revoked(case: Case) -> None:
    """Step 5."""
    case.revoked = True


def no_expiry(case: Case) -> None:
    """Step 6: the only bound is the holder's."""
    case.issued = 0


def expired(case: Case) -> None:
    """Step 6, by a holder's bound, which stands after everything else."""
    case.caveats.append("time < 2026-11-22T12:00:00Z")


def not_yet_valid(case: Case) -> None:
    """Step 6."""
    case.caveats.append("time >= 2026-11-22T12:00:01Z")


def context_invalid(case: Case) -> None:
    """Step 7."""
    case.context["floor"] = "1"


def caveat_malformed(case: Case) -> None:
    """Step 8."""
    case.caveats.append("action  in read")


def caveat_unknown(case: Case) -> None:
    """Step 8."""
    case.caveats.append("colour = red")


def context_missing(case: Case) -> None:
    """Step 8."""
    case.caveats.append("room = 101")


def caveat_refused(case: Case) -> None:
    """Step 8."""
    case.caveats.append("action = write")


def fact_conflict(case: Case) -> None:
    """Step 8."""
    case.caveats.append("tenant = acme")


STEPS = [
    [too_large, malformed],
    [invalid_token],
    [wrong_audience],
    [discharge_missing, discharge_invalid, discharge_unused],
    [revoked],
    [no_expiry, expired, not_yet_valid],
    [context_invalid],
    [caveat_malformed, caveat_unknown, context_missing, caveat_refused, fact_conflict],
]
FAILURES = [(number, failure) for number, step in enumerate(STEPS, 1) for failure in step]
BLAMED = {
    "caveat-malformed": "action  in read",
    "caveat-unknown": "colour = red",
    "context-missing": "room = 101",
    "caveat-refused": "action = write",
    "fact-conflict": "tenant = acme",
    "discharge-missing": "https://who.example/",
    "discharge-invalid": "https://who.example/",
}


def code_of(failure: Any) -> str:
    """A failure's code."""
    return str(failure.__name__).replace("_", "-")


@pytest.fixture(scope="module")
def bench(shared: Any) -> Any:
    """The shared authority with a second audience."""
    shared.authority.add_audience("photos")
    return shared


def test_without_any_failure_it_is_allowed(bench: Any) -> None:
    """The positive control of every case below: the same token, whole."""
    assert Case(bench).outcome() == ("allowed", None)
    with_discharge = Case(bench)
    with_discharge.thirds.append("cid")
    with_discharge.discharges.append(bench.discharge("cid", "action = read"))
    assert with_discharge.outcome() == ("allowed", None)


@pytest.mark.parametrize("failure", [failure for _, failure in FAILURES], ids=code_of)
def test_each_failure_alone_gives_its_code(bench: Any, failure: Any) -> None:
    """And names the caveat exactly where one is to blame."""
    case = Case(bench)
    failure(case)
    assert case.outcome() == (code_of(failure), BLAMED.get(code_of(failure)))


PAIRS = [
    pytest.param(earlier, later, id=f"{code_of(earlier)} and {code_of(later)}")
    for (first, earlier), (second, later) in combinations(FAILURES, 2)
    if first < second
]


@pytest.mark.parametrize(("earlier", "later"), PAIRS)
def test_of_two_failures_the_earlier_step_gives_the_code(bench: Any, earlier: Any, later: Any) -> None:
    """Whatever the order of what is wrong in the token."""
    case = Case(bench)
    earlier(case)
    later(case)
    assert case.outcome()[0] == code_of(earlier)


def test_all_failures_at_once(bench: Any) -> None:
    """Taken away one step after the other, each step shows in its turn."""
    for start in range(len(STEPS)):
        case = Case(bench)
        for step in STEPS[start:]:
            step[0](case)
        assert case.outcome()[0] == code_of(STEPS[start][0])


def test_bounds_of_length_come_before_decoding_and_numbers_after(bench: Any) -> None:
    """Too long and undecodable is too large; too many caveats and undecodable is malformed."""
    many = bench.narrow(bench.mint(), *["action = read"] * 64)
    assert bench.outcome(many) == "too-large"
    assert bench.outcome(many + "=") == "malformed"
    assert bench.outcome("=" * 16_385) == "too-large"
    assert bench.outcome("=" * 16_384) == "malformed"
    assert bench.outcome("~".join(["="] * 18)) == "too-large"
    assert bench.outcome("~".join(["="] * 17)) == "malformed"
    assert bench.outcome(bench.narrow(bench.mint(), *["action = read"] * 63), action="read") == "allowed"


@pytest.mark.parametrize("bundle", ["", "~", " ", "\0", "é", "\ud800", "Ａ", None, 7, b"AgE", ["AgE"]])
def test_what_is_no_text_of_a_token_is_malformed(bench: Any, bundle: object) -> None:
    """Empty, foreign characters, lone surrogates, another type: no exception but `Denied`."""
    assert bench.outcome(bench.mint()) == "allowed"
    assert bench.outcome(bundle) == "malformed"


@pytest.mark.parametrize(
    "identifier",
    [
        b"x",
        b"cap2.%(kid)s.AAAAAAAAAAAAAAAAAAAAAA.1795348800.1",
        b"cap1.%(kid)s.AAAAAAAAAAAAAAAAAAAAAA.1795348800.2",
        b"cap1.%(kid)s.AAAAAAAAAAAAAAAAAAAAAA.1795348800.01",
        b"cap1.%(kid)s.AAAAAAAAAAAAAAAAAAAAAB.1795348800.1",
        b"cap1.%(kid)s.AAAAAAAAAAAAAAAAAAAAAA.-1.1",
        b"cap1.%(kid)s.AAAAAAAAAAAAAAAAAAAAAA.1795348800.1\n",
        b"cap1.0123456789abcdef.AAAAAAAAAAAAAAAAAAAAAA.1795348800.1",
        b"CAP1.%(kid)s.AAAAAAAAAAAAAAAAAAAAAA.1795348800.1",
    ],
)
def test_an_identifier_that_is_none_of_ours_is_the_same_failure_as_a_wrong_mac(bench: Any, identifier: bytes) -> None:
    """Another version, an ``n`` past the caveats, an unknown key, a second spelling, all under the right key."""
    (kid,) = [key.kid.encode() for key in bench.authority.keys("default")]
    right = b"cap1.%(kid)s.AAAAAAAAAAAAAAAAAAAAAA.1795348800.1"
    assert bench.outcome(bench.forge(*LIVE, identifier=right % {b"kid": kid})) == "allowed"
    spelled = identifier % {b"kid": kid} if b"%(kid)s" in identifier else identifier
    assert bench.denial(bench.forge(*LIVE, identifier=spelled)) == ("invalid-token", None)


def test_an_audience_that_does_not_exist_is_another_one(bench: Any) -> None:
    """Known after step 2, so that a forged token does not tell which audiences there are."""
    token = bench.mint()
    assert bench.outcome(token) == "allowed"
    assert bench.outcome(token, "nowhere") == "wrong-audience"
    assert bench.outcome(token[:-4] + "AAAA", "nowhere") == "invalid-token"


@pytest.mark.parametrize("audience", ["capsvc", "photos"])
def test_a_token_of_one_audience_is_no_good_for_another(bench: Any, audience: str) -> None:
    """An administrator's credential for a service, and the other way round."""
    theirs = bench.authority.admin_token() if audience == "capsvc" else bench.mint(audience=audience)
    assert bench.outcome(theirs, audience) == "allowed"
    assert bench.outcome(theirs) == "wrong-audience"
    assert bench.outcome(bench.mint(), audience) == "wrong-audience"


def test_the_first_caveat_to_fail_gives_the_code_of_step_8(bench: Any) -> None:
    """Root first, then the discharges in the order of the caveats that they answer, not of the bundle."""
    token = bench.narrow(bench.mint(), "colour = red", "action = write")
    assert bench.denial(token, action="read") == ("caveat-unknown", "colour = red")
    token = bench.narrow(bench.mint(), "action = write", "colour = red", "nonsense")
    assert bench.denial(token, action="read") == ("caveat-refused", "action = write")
    root = bench.with_thirds(bench.mint(), "one", "two")
    one, two = bench.discharge("one", "room = 1"), bench.discharge("two", "colour = red")
    for order in ((one, two), (two, one)):
        assert bench.denial(bench.bundle(root, *order)) == ("context-missing", "room = 1")
        assert bench.denial(bench.bundle(root, *order), room=1) == ("caveat-unknown", "colour = red")
    assert bench.denial(bench.bundle(bench.narrow(root, "plan = team"), one, two)) == ("context-missing", "plan = team")


def test_a_caveat_shows_its_octets_escaped(bench: Any) -> None:
    """What a holder appended may be anything; what is said of it is printable."""
    token = bench.append(bench.mint(), b"action = \x1b[2J\xff~")
    assert bench.denial(token) == ("caveat-malformed", "action = \\x1b[2J\\xff~")


def test_an_issuers_third_party_caveat_needs_a_registered_discharger(bench: Any) -> None:
    """There is none, so that a discharge made by whoever knows its key does not help; a holder's is answered."""
    bundle = bench.bundle(bench.forge(*LIVE, thirds=[("cid", "key")]), bench.discharge("cid", key="key"))
    assert bench.denial(bundle) == ("discharge-invalid", "https://who.example/")
    bundle = bench.bundle(bench.forge(*LIVE, thirds=[("cid", "key")], n=1), bench.discharge("cid", key="key"))
    assert bench.outcome(bundle) == "allowed"


def test_a_discharge_is_bound_to_its_root_and_used_once(bench: Any) -> None:
    """Unbound, bound to a sibling, to the root before its last caveat; for two caveats; twice for one."""
    token = bench.mint()
    root, sibling = bench.with_thirds(token, "cid"), bench.with_thirds(token, "cid")
    discharge = bench.discharge("cid")
    assert bench.outcome(bench.bundle(root, discharge)) == "allowed"
    unbound = f"{root}~{discharge.serialize()}"
    foreign = f"{root}~{bench.bundle(sibling, discharge).split('~')[1]}"
    later = f"{bench.narrow(root, 'room = 1')}~{bench.bundle(root, discharge).split('~')[1]}"
    for bundle in (unbound, foreign, later):
        assert bench.outcome(bundle, room=1) == "discharge-invalid"
    twice = bench.with_thirds(token, "cid", "cid")
    assert bench.outcome(bench.bundle(twice, discharge)) == "discharge-missing"
    assert bench.outcome(bench.bundle(twice, discharge, discharge)) == "allowed"
    assert bench.outcome(bench.bundle(root, discharge, discharge)) == "discharge-unused"


def test_nested_discharges(bench: Any) -> None:
    """Four deep is answered, five deep is too large; what the innermost asks for counts."""

    def line(depth: int, *caveats: str) -> list[Any]:
        return [
            bench.discharge(
                f"d{level}",
                *(caveats if level == depth else ()),
                key=f"k{level}",
                thirds=[(f"d{level + 1}", f"k{level + 1}")] if level < depth else [],
            )
            for level in range(1, depth + 1)
        ]

    root = bench.with_thirds(bench.mint(), "d1", key="k1")
    assert bench.outcome(bench.bundle(root, *line(4, "action = read")), action="read") == "allowed"
    assert bench.outcome(bench.bundle(root, *line(4, "action = read")), action="write") == "caveat-refused"
    assert bench.outcome(bench.bundle(root, *line(4)[:-1])) == "discharge-missing"
    assert bench.outcome(bench.bundle(root, *line(5))) == "too-large"


def test_a_discharge_is_no_root(bench: Any) -> None:
    """Nor a root a discharge, nor two roots a bundle."""
    root = bench.with_thirds(bench.mint(), "cid")
    bundle = bench.bundle(root, bench.discharge("cid"))
    bound = bundle.split("~")[1]
    assert bench.outcome(bundle) == "allowed"
    assert bench.outcome(bound) == "invalid-token"
    assert bench.outcome(f"{bound}~{root}") == "invalid-token"
    assert bench.outcome(f"{bench.mint()}~{bench.mint()}") == "discharge-unused"


def test_what_the_grant_says(bench: Any) -> None:
    """The root's first-party caveats in order, the facts without the subject, the effective expiry."""
    minted = bench.minted("action in read,write", subject="alice", facts={"tenant": "acme", "seats": 5})
    token = bench.with_thirds(bench.narrow(minted.token, "room = 101"), "cid")
    discharge = bench.discharge("cid", "time < 2026-11-22T12:10:00Z", "declared user bob")
    grant = bench.grant(bench.bundle(token, discharge), action="read", room=101)
    assert grant.caveats == (*minted.caveats, "room = 101")
    assert minted.caveats == (HOUR_LATER, "sub = alice", "seats = 5", "tenant = acme", "action in read,write")
    assert (grant.id, grant.audience, grant.subject) == (minted.id, "default", "alice")
    assert (dict(grant.facts), grant.declared) == ({"seats": 5, "tenant": "acme"}, {})
    assert grant.issued_at.isoformat() == "2026-11-22T12:00:00+00:00"
    assert grant.expires_at.isoformat() == "2026-11-22T12:10:00+00:00"
    assert (grant.verdicts, grant.kid, grant.branches) == ((), None, ())
