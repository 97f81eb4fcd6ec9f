"""Exchange: nothing that restricted the bundle is lost, and whatever kills the bundle kills what came of it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsvc.errors import Denied, RequestError
from capsvc.macaroon.decode import decode
from capsvc.macaroon.identifier import parse
from capsvc.macaroon.thirdparty import KeyPair, key_text

NOON = 1_795_348_800
DAY = 86_400


def refused(office: Any, bundle: str, credential: Any = None) -> tuple[str, str | None]:
    """The denial of an exchange: its code and caveat."""
    with pytest.raises(Denied) as denied:
        office.authority.exchange(bundle, credential=credential)
    return denied.value.code, denied.value.caveat


def discharged(office: Any, login: Any, *caveats: str, **asked: Any) -> str:
    """A bundle of a fresh token that asks for a login, and its discharge with those caveats."""
    token = office.mint(third_party=[login.asks()], **asked)
    return str(office.bundle(token, login.discharge(token, *caveats)))


# What the new token is.


def test_what_the_new_token_says(office: Any, instant: Any) -> None:
    """The issuer's own caveats are the issuer's still; the holder's and the discharges' follow; declarations do not."""
    login = office.register()
    source = office.minted(
        "action in read,write", subject="ada", facts={"seats": 3}, third_party=[login.asks("c", "u")]
    )
    narrowed = office.narrow(source.token, "floor = 1")
    nesting = login.discharge(narrowed, f"time-before {instant(60)}", "room = 2", u="ada")
    nesting.add_third_party_caveat("https://nested.example", "nested key", "nested")
    nested = office.discharge("nested", "action = read", key="nested key")
    bundle = office.bundle(narrowed, nesting, nested)
    before = office.grant(bundle, action="read", floor=1, room=2)
    minted = office.authority.exchange(bundle)
    told = (*source.caveats, "floor = 1", f"time-before {instant(60)}", "room = 2", "action = read")
    assert minted.caveats == told
    macaroon = decode(minted.token)
    assert [caveat.cid.decode() for caveat in macaroon.caveats if caveat.vid is None] == list(told)
    assert len(macaroon.caveats) == len(told)
    old, new = parse(decode(source.token).identifier), parse(macaroon.identifier)
    assert (new.kid, new.issued_at, new.issuer_caveats) == (old.kid, old.issued_at, len(source.caveats))
    assert minted.id == new.tid != source.id
    assert (minted.audience, minted.subject, minted.facts, minted.label) == ("default", "ada", {"seats": 3}, None)
    assert (minted.issued_at, minted.expires_at) == (source.issued_at, before.expires_at)
    after = office.grant(minted.token, action="read", floor=1, room=2)
    assert (after.subject, after.facts, after.expires_at) == (before.subject, before.facts, before.expires_at)
    assert before.declared == {"login": {"u": "ada"}}
    assert after.declared == {}
    row = office.authority.token(minted.id)
    assert (row.caveats, row.expires_at, row.state) == (minted.caveats, minted.expires_at, "live")


def test_a_token_without_third_parties_is_exchanged_too(office: Any) -> None:
    """It becomes a sibling of its own, that dies with it."""
    source = office.minted("action = read")
    minted = office.authority.exchange(source.token)
    assert office.outcome(minted.token, action="read") == "allowed"
    assert office.outcome(minted.token, action="write") == "caveat-refused"


@pytest.mark.parametrize(("offset", "outcome"), [(-1, "allowed"), (0, "expired"), (1, "expired")])
def test_the_earliest_bound_of_all_ends_it(office: Any, instant: Any, offset: int, outcome: str) -> None:
    """Here the discharge's."""
    login = office.register()
    minted = office.authority.exchange(discharged(office, login, f"time-before {instant(60)}"))
    assert office.at(60 + offset, minted.token) == outcome


def test_the_longest_lifetime_counts_from_the_sources_issue(office: Any) -> None:
    """An exchange does not begin it anew."""
    login = office.register()
    office.authority.add_audience("short", 100)
    bundle = discharged(office, login, audience="short", ttl=100)
    office.clock.now += 50
    office.authority.set_max_ttl("short", 60)
    minted = office.authority.exchange(bundle)
    assert int(minted.expires_at.timestamp()) == NOON + 60
    assert int(office.authority.token(minted.id).expires_at.timestamp()) == NOON + 100  # max_ttl may change again
    assert office.outcome(minted.token, "short") == "allowed"
    office.clock.now += 10
    assert office.outcome(minted.token, "short") == "expired"


# What is refused.


def test_a_bundle_that_is_not_good_is_not_exchanged(office: Any, instant: Any) -> None:
    """Each step's code, up to the time; the good one is exchanged."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    good = office.bundle(token, login.discharge(token))
    assert office.authority.exchange(good)
    assert refused(office, "x")[0] == "malformed"
    assert refused(office, good[:-1])[0] == "malformed"
    other = office.mint()
    assert refused(office, other[:-4] + "AAAA")[0] == "invalid-token"
    assert refused(office, token) == ("discharge-missing", login.location)
    assert refused(office, f"{good}~{good.partition('~')[2]}") == ("discharge-unused", None)
    late = office.bundle(token, login.discharge(token, f"time-before {instant(0)}"))
    assert refused(office, late) == ("expired", None)
    early = office.bundle(token, login.discharge(token, f"time >= {instant(1)}"))
    assert refused(office, early) == ("not-yet-valid", None)
    office.authority.revoke(token=token)
    assert refused(office, good) == ("revoked", None)


def test_of_the_caveats_only_facts_and_declarations_are_judged(office: Any) -> None:
    """All others are for a request that is yet to come, and go along."""
    login = office.register()
    asks = [login.asks("c", "username")]
    token = office.mint("action = read", "floor = 1", subject="ada", third_party=asks)
    told = login.discharge(token, username="ada")
    assert office.authority.exchange(office.bundle(token, told))
    assert refused(office, office.bundle(token, login.discharge(token))) == ("discharge-invalid", login.location)
    told.add_first_party_caveat("declared username bo")
    assert refused(office, office.bundle(token, told)) == ("fact-conflict", "declared username bo")
    crooked = login.discharge(token, "declared x", username="ada")
    assert refused(office, office.bundle(token, crooked)) == ("caveat-malformed", "declared x")
    for caveat, code in (
        ("sub = bo", "caveat-refused"),
        ("seats = 3", "fact-conflict"),
        ("declared username ada", "caveat-unknown"),
    ):
        narrowed = office.narrow(token, caveat)
        bundle = office.bundle(narrowed, login.discharge(narrowed, username="ada"))
        assert refused(office, bundle) == (code, caveat)
    for caveat in ("nonsense", "colour = red", "audience = other", "error never", "x:time-before y"):
        narrowed = office.narrow(token, caveat)
        bundle = office.bundle(narrowed, login.discharge(narrowed, username="ada"))
        minted = office.authority.exchange(bundle)
        assert office.outcome(minted.token, action="read", floor=1) == office.outcome(bundle, action="read", floor=1)
        assert office.outcome(minted.token, action="read", floor=1) != "allowed"


def test_octets_that_no_token_of_ours_has(office: Any) -> None:
    """A holder's caveat that is no text: it could never hold, and is not carried."""
    token = office.append(office.mint(), b"\xff\n")
    assert refused(office, token) == ("caveat-malformed", "\\xff\\x0a")


def test_the_bounds_of_the_new_token(office: Any) -> None:
    """64 caveats, 16 KiB; what a bundle may hold three times over."""
    login = office.register()
    whole = discharged(office, login, *["action = read"] * 31, caveats=["action = read"] * 32)
    minted = office.authority.exchange(whole)
    assert len(minted.caveats) == 64
    over = discharged(office, login, *["action = read"] * 32, caveats=["action = read"] * 32)
    assert refused(office, over) == ("too-large", None)
    wide = f"action in {','.join(sorted(f'a{number:05}' for number in range(64)))}"
    long = discharged(office, login, *[wide] * 16, caveats=[wide] * 16)
    assert refused(office, long) == ("too-large", None)
    assert office.authority.exchange(discharged(office, login, *[wide] * 8, caveats=[wide] * 8))


def test_the_services_own_credentials_are_not_exchanged(office: Any) -> None:
    """They would lose nothing but their owners."""
    with pytest.raises(RequestError) as error:
        office.authority.exchange(office.authority.admin_token())
    assert error.value.code == "forbidden"


@pytest.mark.parametrize(
    ("caveat", "covered"),
    [
        ("for.audience = default", True),
        ("for.audience = other", False),
        ("for.sub = ada", True),
        ("for.sub = bo", False),
        ("for.ttl <= 60", True),
        ("for.ttl <= 59", False),
        ("for.tenant = acme", True),
        ("for.tenant = other", False),
        ("for.seats = 3", False),
    ],
)
def test_what_a_credential_covers(office: Any, instant: Any, caveat: str, covered: bool) -> None:
    """Audience, subject, seconds left and facts of the source; what is not covered looks like no token of ours."""
    login = office.register()
    bundle = discharged(office, login, f"time-before {instant(60)}", subject="ada", facts={"tenant": "acme"})
    token = office.narrow(office.authority.admin_token(), caveat)
    credential = office.authority.authenticate(token, context={"action": "tokens:exchange"})
    if covered:
        minted = office.authority.exchange(bundle, credential=credential)
        assert office.authority.token(minted.id).minted_by.id == credential.id
    else:
        assert refused(office, bundle, credential) == ("invalid-token", None)
        office.authority.revoke(token=bundle.partition("~")[0])
        assert refused(office, bundle, credential) == ("invalid-token", None)


def test_seconds_left_are_rounded_up(office: Any, instant: Any) -> None:
    """Half a second over sixty is sixty-one."""
    login = office.register()
    token = office.narrow(office.authority.admin_token(), "for.ttl <= 60")
    credential = office.authority.authenticate(token, context={"action": "tokens:exchange"})
    bundle = discharged(office, login, f"time-before {instant(60)[:-1]}.5Z")
    assert refused(office, bundle, credential) == ("invalid-token", None)
    office.clock.now += 0.5
    assert office.authority.exchange(bundle, credential=credential)


# What dies with what.


@pytest.mark.parametrize(
    "way", ["id", "subject", "key", "root", "narrowed", "presented", "discharger", "discharger key"]
)
def test_what_kills_the_source_kills_what_came_of_it(office: Any, way: str) -> None:
    """In one act, and what came of that in turn; with an entry in the log for each that it did not reach by itself."""
    login = office.register()
    source = office.minted(subject="ada", third_party=[login.asks()])
    narrowed = office.narrow(source.token, "floor = 1")
    child = office.authority.exchange(office.bundle(narrowed, login.discharge(narrowed)))
    grandchild = office.authority.exchange(office.narrow(child.token, "room = 2"))
    bystander = office.minted(subject="bo")
    tokens = (child.token, grandchild.token)
    assert [office.outcome(token, floor=1, room=2) for token in tokens] == ["allowed", "allowed"]
    with office.another() as other:
        if way == "id":
            office.authority.revoke(id=source.id)
        elif way == "subject":
            office.authority.revoke(audience="default", subject="ada")
        elif way == "key":
            office.authority.revoke(key=parse(decode(child.token).identifier).kid)
        elif way == "root":
            office.authority.revoke(token=source.token)
        elif way == "narrowed":
            office.authority.revoke(token=narrowed)
        elif way == "presented":
            office.authority.revoke_presented(narrowed)
        elif way == "discharger":
            office.authority.remove_discharger("login")
        else:
            office.authority.set_discharger("login", public_key=key_text(KeyPair.generate().public))
        for token in tokens:
            assert office.outcome(token, floor=1, room=2) == "revoked"
            with pytest.raises(Denied) as denied:
                other.authorize(token, audience="default", context={"floor": 1, "room": 2})
            assert denied.value.code == "revoked"
    assert [office.authority.token(one.id).state for one in (child, grandchild)] == ["revoked", "revoked"]
    if way != "key":
        assert office.outcome(bystander.token) == "allowed"
        entries = [change.id for change in office.authority._store.changes(0) if change.kind == "id"]
        reached = {child.id, grandchild.id} if way != "subject" else set()
        assert set(entries) - {source.id} == reached
        assert len(entries) == len(set(entries))


def test_a_branch_beside_the_way_to_the_exchanged_token_does_not_kill_it(office: Any) -> None:
    """Nor does revoking the new token touch its source."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    bundle = office.bundle(token, login.discharge(token))
    child = office.authority.exchange(bundle)
    office.authority.revoke(token=office.narrow(token, "floor = 1"))
    assert office.outcome(child.token) == "allowed"
    office.authority.revoke(id=child.id)
    assert office.outcome(child.token) == "revoked"
    assert office.outcome(bundle) == "allowed"


def test_another_dischargers_removal_does_not_kill_it(office: Any) -> None:
    """Nor the drop of a key that its source did not use."""
    login, till = office.register("login"), office.register("till")
    child = office.authority.exchange(discharged(office, login))
    office.authority.set_discharger("login", next_public_key=key_text(KeyPair.generate().public))
    office.authority.set_discharger("login", clear_next=True)
    office.authority.remove_discharger(till.name)
    assert office.outcome(child.token) == "allowed"


def test_a_clock_that_is_set_back_behind_a_sweep_revives_nothing(office: Any, instant: Any) -> None:
    """The new token's row and revocation go after its own end, which comes before its issuer's bound."""
    login = office.register()
    bundle = discharged(office, login, f"time-before {instant(60)}", ttl=20 * DAY)
    child = office.authority.exchange(bundle)
    office.authority.revoke(id=child.id)
    assert office.outcome(child.token) == "revoked"
    office.clock.now += 8 * DAY
    office.authority.sweep()
    assert office.authority.token(child.id) is None
    office.clock.now = NOON
    assert office.outcome(child.token) == "expired"


# Races.


def test_an_exchange_that_races_a_revocation_loses(office: Any) -> None:
    """500 times, each in one of four ways, with three exchanges at once: no token is good afterwards."""
    made = 0
    with ThreadPoolExecutor(4) as pool:
        for turn in range(500):
            login = office.register(f"login-{turn}")
            source = office.minted(subject=f"s{turn}", third_party=[login.asks()])
            bundle = office.bundle(source.token, login.discharge(source.token))
            start = threading.Barrier(4)
            exchanges = [pool.submit(_exchanged, office, bundle, start) for _ in range(3)]
            revocation = pool.submit(_killed, office, source, login, turn, start)
            revocation.result()
            tokens = [token for token in (exchange.result() for exchange in exchanges) if token is not None]
            made += len(tokens)
            assert [office.outcome(token) for token in tokens] == ["revoked"] * len(tokens)
    assert 0 < made < 1500  # some came before the revocation, some after it


def _exchanged(office: Any, bundle: str, start: threading.Barrier) -> str | None:
    start.wait()
    try:
        return str(office.authority.exchange(bundle).token)
    except Denied:
        return None


def _killed(office: Any, source: Any, login: Any, turn: int, start: threading.Barrier) -> None:
    start.wait()
    time.sleep(turn % 11 / 2000)
    way = turn % 4
    if way == 0:
        office.authority.revoke(id=source.id)
    elif way == 1:
        office.authority.revoke(token=source.token)
    elif way == 2:
        office.authority.revoke(audience="default", subject=source.subject)
    else:
        office.authority.remove_discharger(login.name)


# The property.

CAVEATS = st.sampled_from(
    [
        "action = read",
        "action in read,write",
        "method = GET",
        "floor = 1",
        "floor in 1,2",
        "floor >= 2",
        "path under /a",
        "ip in 10.0.0.0/8",
        "clock < 12:01",
        "clock >= 12:01",
        "weekday = sun",
        "weekday = mon",
        "audience = default",
        "audience = other",
        "sub = ada",
        "sub in ada,bo",
        "time < 2026-11-22T12:10:00Z",
        "time-before 2026-11-22T12:00:30.25Z",
        "time >= 2026-11-22T12:00:00Z",
        "colour = red",
        "nonsense",
    ]
)
DISCHARGED = st.lists(CAVEATS | st.sampled_from(["declared u ada", "declared x y"]), max_size=3)
REQUESTABLE = [
    "action = read",
    "action in read,write",
    "floor in 1,2",
    "path under /a",
    "time-before 2026-11-22T12:30:00Z",
]
CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(["read", "write", "delete"]),
        "method": st.sampled_from(["GET", "POST"]),
        "floor": st.integers(0, 3),
        "path": st.sampled_from(["/a", "/a/b", "/b"]),
        "ip": st.sampled_from(["10.1.2.3", "192.0.2.1"]),
    },
)


@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    requested=st.lists(st.sampled_from(REQUESTABLE), max_size=2),
    subject=st.sampled_from([None, "ada", "bo"]),
    held=st.lists(CAVEATS, max_size=3),
    first=DISCHARGED,
    nested=st.none() | st.lists(CAVEATS, max_size=2),
    contexts=st.lists(CONTEXTS, min_size=1, max_size=3),
    later=st.sampled_from([0, 29, 30.25, 59, 60, 600, 3600]),
)
def test_whatever_the_bundle_denies_the_new_token_denies(
    *,
    shared: Any,
    requested: list[str],
    subject: str | None,
    held: list[str],
    first: list[str],
    nested: list[str] | None,
    contexts: list[dict[str, object]],
    later: float,
) -> None:
    """And what it allows, that allows: to the same request, with the same code, at any time."""
    login = _registered(shared)
    root = shared.mint(*requested, subject=subject, third_party=[login.asks("c", "u")])
    token = shared.narrow(root, *held)
    discharge = login.discharge(token, *first, u="ada")
    discharges = [discharge]
    if nested is not None:
        discharge.add_third_party_caveat("https://nested.example", "nested key", "nested")
        discharges.append(shared.discharge("nested", *nested, key="nested key"))
    bundle = shared.bundle(token, *discharges)
    try:
        minted = shared.authority.exchange(bundle)
    except Denied:
        minted = None
    if minted is None:
        assert "allowed" not in {shared.outcome(bundle, **context) for context in contexts}
        return
    for context in contexts:
        assert shared.at(later, minted.token, **context) == shared.at(later, bundle, **context)


def _registered(office: Any) -> Any:
    """The shared authority's one discharger."""
    if not office.authority.dischargers():
        office.login = office.register()
    return office.login
