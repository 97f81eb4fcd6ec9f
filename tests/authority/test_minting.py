"""What can be minted, by which code everything else is refused, and what an administrator's credential covers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymacaroons import Macaroon

from capsvc.authority import minting
from capsvc.errors import Denied, RequestError
from capsvc.macaroon.identifier import parse
from caveats import CaveatError

NOON = 1_795_348_800
DAY = 86_400
THIRD = {"location": "https://who.example", "condition": "x"}


def at(seconds: int) -> datetime:
    """An instant, so many seconds after noon."""
    return datetime.fromtimestamp(NOON + seconds, UTC)


def refusal(call: Callable[[], object]) -> str:
    """The code by which a mint is refused."""
    try:
        call()
    except (RequestError, CaveatError) as error:
        return error.code
    return "allowed"


def test_what_a_token_is_made_of(shared: Any) -> None:
    """Issuer's caveats in their order, the identifier, a location; libmacaroons' format, by pymacaroons' reading."""
    minted = shared.minted(
        "floor = 1",
        "action in read,write",
        subject="alice",
        facts={"tenant": "acme", "seats": 5},
        label="Zoë's\u2003key",
    )
    macaroon = Macaroon.deserialize(minted.token)
    assert [caveat.caveat_id_bytes.decode() for caveat in macaroon.caveats] == list(minted.caveats)
    assert minted.caveats == (
        "time < 2026-11-22T13:00:00Z",
        "sub = alice",
        "seats = 5",
        "tenant = acme",
        "floor = 1",
        "action in read,write",
    )
    found = parse(macaroon.identifier_bytes)
    assert (found.tid, found.issued_at, found.issuer_caveats) == (minted.id, NOON, 6)
    assert [found.kid] == [key.kid for key in shared.authority.keys("default")]
    assert macaroon.location == shared.authority.issuer
    row = shared.authority.token(minted.id)
    assert (row.audience, row.subject, row.facts, row.label) == ("default", "alice", minted.facts, minted.label)
    assert (row.issued_at, row.expires_at, row.caveats) == (minted.issued_at, minted.expires_at, minted.caveats)
    assert (row.state, row.minted_by) == ("live", None)


def test_ids_are_random_and_never_repeated(shared: Any) -> None:
    """128 bits each."""
    ids = {shared.minted().id for _ in range(50)}
    assert len(ids) == 50
    assert {len(one) for one in ids} == {22}


def test_expires_at_is_the_earliest_bound(shared: Any) -> None:
    """Of the issuer's, however it is spelled."""
    assert shared.minted(ttl=600).expires_at == at(600)
    assert shared.minted("time < 2026-11-22T12:05:00Z").expires_at == at(300)
    assert shared.minted("time-before 2026-11-22T12:05:00.999Z").expires_at == at(300)
    assert shared.minted("time < 2026-11-22T14:00:00Z").expires_at == at(3600)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"ttl": None}, "bad-request"),
        ({"expires_at": at(60)}, "bad-request"),
        ({"ttl": True}, "bad-request"),
        ({"ttl": 1.5}, "bad-request"),
        ({"ttl": "60"}, "bad-request"),
        ({"ttl": 0}, "ttl-invalid"),
        ({"ttl": -1}, "ttl-invalid"),
        ({"ttl": 30 * DAY + 1}, "ttl-too-long"),
        ({"ttl": 10**30}, "ttl-too-long"),
        ({"ttl": None, "expires_at": datetime(2026, 11, 22, 13)}, "bad-request"),  # noqa: DTZ001
        ({"ttl": None, "expires_at": at(0)}, "ttl-invalid"),
        ({"ttl": None, "expires_at": at(0) + timedelta(seconds=0.9)}, "ttl-invalid"),
        ({"ttl": None, "expires_at": at(30 * DAY + 1)}, "ttl-too-long"),
        ({"audience": "nowhere"}, "audience-unknown"),
        ({"audience": "capsvc"}, "forbidden"),
        ({"label": "x" * 201}, "bad-request"),
        ({"label": "two\nlines"}, "bad-request"),
        ({"label": "\x85"}, "bad-request"),
        ({"label": "\ud800"}, "bad-request"),
        ({"label": 7}, "bad-request"),
        ({"subject": ""}, "caveat-malformed"),
        ({"subject": "two words"}, "caveat-malformed"),
        ({"subject": "alice,bob"}, "caveat-malformed"),
        ({"subject": "alice\n"}, "caveat-malformed"),
        ({"subject": "a" * 129}, "caveat-malformed"),
        ({"subject": 7}, "caveat-malformed"),
        ({"facts": {"sub": "alice"}}, "bad-request"),
        ({"facts": {"floor": 1}}, "caveat-unknown"),
        ({"facts": {"colour": "red"}}, "caveat-unknown"),
        ({"facts": {"for.sub": "x"}}, "caveat-unknown"),
        ({"facts": {"seats": "5"}}, "caveat-malformed"),
        ({"facts": {"seats": True}}, "caveat-malformed"),
        ({"facts": {"seats": 10**18}}, "caveat-malformed"),
        ({"facts": {"tenant": 5}}, "caveat-malformed"),
        ({"caveats": ["sub = alice"]}, "fact-conflict"),
        ({"caveats": ["tenant in acme,zeta"], "facts": {"tenant": "acme"}}, "fact-conflict"),
        ({"caveats": ["colour = red"]}, "caveat-unknown"),
        ({"caveats": ["for.audience = default"]}, "caveat-unknown"),
        ({"caveats": ["floor = 01"]}, "caveat-malformed"),
        ({"caveats": ["declared a b"]}, "caveat-unknown"),
        ({"caveats": ["action = read\nfloor = 1"]}, "caveat-malformed"),
        ({"caveats": ["path = /" + "a" * 500]}, "caveat-malformed"),
        ({"caveats": ["x" * 513]}, "caveat-malformed"),
        ({"caveats": ["floor = 1"] * 64}, "too-large"),
        ({"caveats": ["floor = 1"] * 63, "subject": "alice"}, "too-large"),
        ({"caveats": ["path under /" + "a" * 240] * 60}, "too-large"),
        ({"third_party": [THIRD]}, "discharger-unknown"),
        ({"third_party": [{**THIRD, "declare": ["a", "b"]}]}, "discharger-unknown"),
        ({"third_party": [{**THIRD, "declare": None}]}, "discharger-unknown"),
        ({"third_party": [{**THIRD, "condition": "need-declared a x"}]}, "caveat-malformed"),
        ({"third_party": [{**THIRD, "declare": ["a", "a"]}]}, "caveat-malformed"),
        ({"third_party": [{**THIRD, "declare": ["a,b"]}]}, "caveat-malformed"),
        ({"third_party": [{**THIRD, "declare": "ab"}]}, "bad-request"),
        ({"third_party": [{**THIRD, "declare": [1]}]}, "bad-request"),
        ({"third_party": [{**THIRD, "condition": None}]}, "bad-request"),
        ({"third_party": [{"condition": "x"}]}, "bad-request"),
        ({"third_party": [{**THIRD, "more": "x"}]}, "bad-request"),
        ({"third_party": ["https://who.example"]}, "bad-request"),
        ({"ttl": None, "expires_at": "2030-01-01T00:00:00Z"}, "bad-request"),
    ],
)
def test_what_is_refused(shared: Any, fields: dict[str, Any], code: str) -> None:
    """By its code, and nothing was minted."""
    before = len(shared.authority.tokens(limit=1000)[0])
    asked: dict[str, Any] = {"audience": "default", "ttl": 60, **fields}
    assert refusal(lambda: shared.authority.mint(**asked)) == code
    assert len(shared.authority.tokens(limit=1000)[0]) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"ttl": 1},
        {"ttl": 30 * DAY},
        {"ttl": None, "expires_at": at(1)},
        {"ttl": None, "expires_at": at(30 * DAY) + timedelta(seconds=0.9)},
        {"label": "x" * 200},
        {"label": ""},
        {"subject": "a" * 128},
        {"facts": {"seats": 10**18 - 1, "tenant": "acme"}},
        {"facts": {}},
        {"caveats": ["floor = 1"] * 63},
        {"caveats": ["floor = 1"] * 62, "subject": "alice"},
        {"caveats": ["time-before 2026-11-22T12:00:30.5Z"]},
    ],
)
def test_what_is_just_allowed(shared: Any, fields: dict[str, Any]) -> None:
    """The other side of each bound above; what is minted verifies."""
    asked: dict[str, Any] = {"audience": "default", "ttl": 60, **fields}
    assert shared.outcome(shared.authority.mint(**asked).token, floor=1) == "allowed"


def test_no_token_outlives_the_last_year(make_office: Any) -> None:
    """Years end with 2099, whatever the audience allows."""
    office = make_office("data")
    office.authority.set_max_ttl("default", 315_360_000)
    end = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
    office.clock.now = end - 60
    assert office.outcome(office.mint(ttl=59)) == "allowed"
    assert refusal(lambda: office.mint(ttl=60)) == "ttl-too-long"
    until = datetime.fromtimestamp(end, UTC)
    assert refusal(lambda: office.mint(ttl=None, expires_at=until)) == "ttl-too-long"


def test_a_key_that_changes_while_a_token_is_made(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is made anew under the key that is active when it is written down."""
    original = minting.Minting.make
    fresh: list[str] = []

    def rotated_meanwhile(self: Any, request: Any, key: Any, registry: Any, now: int) -> Any:
        made = original(self, request, key, registry, now)
        if not fresh:
            fresh.append("")
            fresh[0] = office.authority.rotate_key("default").kid
        return made

    monkeypatch.setattr(minting.Minting, "make", rotated_meanwhile)
    token = office.mint()
    assert office.authority.authorize(token, audience="default", prefix=True).kid == fresh[0]


def credential(office: Any, *caveats: str) -> Any:
    """An administrator's, narrowed."""
    return office.authority.authenticate(
        office.narrow(office.authority.admin_token(), *caveats), context={"action": "tokens:mint"}
    )


def covers(found: Any, **target: object) -> str:
    """Whether a target is covered, by the code."""
    try:
        found.permits({name.replace("__", "."): value for name, value in target.items()})
    except Denied as denied:
        return denied.code
    return "allowed"


def test_a_whole_credential_covers_everything(shared: Any) -> None:
    """Whatever the target has or has not."""
    whole = credential(shared)
    assert not whole.bounded
    assert covers(whole) == covers(whole, for__audience="photos", for__ttl=10**9) == "allowed"


@pytest.mark.parametrize(
    ("caveat", "covered", "refused"),
    [
        ("for.audience = photos", {"for__audience": "photos"}, {"for__audience": "default"}),
        ("for.audience in default,photos", {"for__audience": "photos"}, {"for__audience": "capsvc"}),
        ("for.sub = alice", {"for__sub": "alice"}, {"for__sub": "bob"}),
        ("for.ttl < 60", {"for__ttl": 59}, {"for__ttl": 60}),
        ("for.ttl <= 60", {"for__ttl": 60}, {"for__ttl": 61}),
        ("for.tenant = acme", {"for__tenant": "acme"}, {"for__tenant": "zeta"}),
        ("for.seats in 1,2", {"for__seats": 2}, {"for__seats": 3}),
    ],
)
def test_a_bounded_credential(shared: Any, caveat: str, covered: dict[str, object], refused: dict[str, object]) -> None:
    """Covers what it names; a target without a value there, None or of another type is refused."""
    bounded = credential(shared, caveat)
    (name,) = covered
    assert bounded.bounded
    assert covers(bounded, **covered) == "allowed"
    assert covers(bounded, **{"for__audience": "photos", **covered}) == "allowed"
    assert covers(bounded, **refused) == "caveat-refused"
    assert covers(bounded) == covers(bounded, **{name: None}) == "context-missing"
    assert covers(bounded, **{name: "not a value"}) == covers(bounded, **{name: True}) == "caveat-refused"


def test_all_bounds_hold_at_once(shared: Any) -> None:
    """The first that does not gives the code and the caveat."""
    bounded = credential(shared, "for.audience = photos", "for.ttl < 60")
    assert covers(bounded, for__audience="photos", for__ttl=59) == "allowed"
    with pytest.raises(Denied) as denied:
        bounded.permits({"for.audience": "default", "for.ttl": 99})
    assert (denied.value.code, denied.value.caveat) == ("caveat-refused", "for.audience = photos")
    with pytest.raises(Denied) as denied:
        bounded.permits({"for.audience": "photos", "for.ttl": 60})
    assert (denied.value.code, denied.value.caveat) == ("caveat-refused", "for.ttl < 60")


def test_every_other_caveat_of_a_credential_counts_at_once(shared: Any) -> None:
    """Its action, its time, what is unknown; a bound on an undeclared fact is unknown too."""
    admin = shared.authority.admin_token()
    for caveat, code in (
        ("action = tokens:read", "caveat-refused"),
        ("method = GET", "context-missing"),
        ("time < 2026-11-22T12:00:00Z", "expired"),
        ("for.colour = red", "caveat-unknown"),
        ("for.floor = 1", "caveat-unknown"),
        ("colour = red", "caveat-unknown"),
    ):
        with pytest.raises(Denied) as denied:
            shared.authority.authenticate(shared.narrow(admin, caveat), context={"action": "tokens:mint"})
        assert denied.value.code == code
    with pytest.raises(Denied) as denied:
        shared.authority.authenticate(shared.mint(), context={})
    assert denied.value.code == "wrong-audience"


def test_what_a_token_says_of_itself(shared: Any) -> None:
    """Once its MAC is right: expired, revoked, undischarged all the same."""
    minted = shared.minted(subject="alice", facts={"tenant": "acme"})
    shared.authority.revoke(id=minted.id)
    for text in (minted.token, shared.with_thirds(minted.token, "cid"), shared.narrow(minted.token, "nonsense")):
        found = shared.authority.target_of(text)
        assert (found.id, found.audience, found.subject) == (minted.id, "default", "alice")
        assert dict(found.facts) == {"tenant": "acme"}
    assert refusal(lambda: shared.authority.target_of(minted.token[:-4] + "AAAA")) == "invalid-token"
    assert refusal(lambda: shared.authority.target_of("x")) == "malformed"


def test_what_cannot_become_a_token_is_refused_before_it_is_read(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the lengths of its caveats; one that is too long by itself is no caveat at all."""
    long = "ip in " + ",".join(f"10.0.{n // 10}{n % 10}.0/24" for n in range(10, 45))
    assert len(long) <= 512
    assert office.mint(*[long] * 20)
    with monkeypatch.context() as patched:
        patched.setattr(minting, "parse", None)
        with pytest.raises(RequestError) as refused:
            office.mint(*[long] * 27)
    assert refused.value.code == "too-large"
    with pytest.raises(CaveatError) as malformed:
        office.mint(*[long] * 20, "x" * 513)
    assert malformed.value.code == "caveat-malformed"
