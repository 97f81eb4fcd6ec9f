"""Small slips in the decision that nobody else would notice: found by breaking it on purpose (`make mutants`)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from capsvc.authority import presented
from capsvc.decision import judging
from capsvc.decision.reading import HOLDER, ParsedCaveats
from capsvc.errors import Denied
from capsvc.macaroon.decode import RawCaveat, decode, encode
from capsvc.macaroon.encoding import b64encode
from caveats import read_context

WEEK = 7 * 86_400


def test_what_an_administrators_caveat_asks_for_is_asked_here_too(office: Any) -> None:
    """Without a target, a credential that is bounded to one is refused: nothing is left to somebody else."""
    admin = office.authority.admin_token()
    assert office.outcome(admin, "capsvc") == "allowed"
    for caveat in ("for.audience = photos", "for.ttl < 60"):
        assert office.denial(office.narrow(admin, caveat), "capsvc") == ("context-missing", caveat)


def test_a_denial_tells_verdicts_only_when_asked(office: Any) -> None:
    """By default it holds none."""
    token = office.mint("action = read")
    with pytest.raises(Denied) as denied:
        office.authority.authorize(token, audience="default", context={"action": "write"})
    assert not denied.value.verdicts
    with pytest.raises(Denied) as denied:
        office.authority.authorize(token, audience="default", context={"action": "write"}, explain=True)
    assert [verdict.verdict for verdict in denied.value.verdicts] == ["satisfied", "caveat-refused"]


def test_a_remembered_token_expires_as_its_audience_now_says(office: Any) -> None:
    """Shorter lives are seen in the very next answer."""
    token = office.mint(ttl=3600)
    before = [office.grant(token).expires_at for _ in range(4)]
    office.authority.set_max_ttl("default", 60)
    after = [office.grant(token).expires_at for _ in range(4)]
    assert {(one - office.grant(token).issued_at).total_seconds() for one in before} == {3600}
    assert {(one - office.grant(token).issued_at).total_seconds() for one in after} == {60}


def test_the_same_answer_is_the_same_value(office: Any) -> None:
    """So that whoever renders it need not do it twice."""
    token = office.mint("action = read")
    grants = [office.grant(token, action="read") for _ in range(4)]
    assert grants[2] is grants[3]
    assert grants[0] == grants[3]


def test_a_third_party_caveat_without_a_location(office: Any) -> None:
    """It is a third party's by its vid alone; a discharge answers it, and nobody reads its id as a caveat."""
    bare = decode(office.with_thirds(office.mint(), "cid"))
    bare = bare._replace(caveats=tuple(RawCaveat(cid, vid) for cid, vid, _ in bare.caveats))
    token = encode(bare)
    assert office.outcome(token) == "discharge-missing"
    bundle = office.bundle(token, office.discharge("cid"))
    assert office.outcome(bundle) == "allowed"
    verdicts = office.grant(bundle, explain=True).verdicts
    assert [verdict.caveat for verdict in verdicts][1:] == [""], "there is no location to name it by"


def test_the_sweeps_mark_to_the_second(office: Any) -> None:
    """A token that expired at the mark is there still; one that expired before it is expired for good."""
    gone, there = office.mint(ttl=3599), office.mint(ttl=3600)
    begun = office.clock.now
    office.clock.now = begun + 3600 + WEEK
    office.authority.sweep()
    office.clock.now = begun + 10
    assert office.outcome(gone) == "expired"
    assert office.outcome(there) == "allowed"


def test_a_fact_that_a_request_claims_says_nothing_of_a_restriction(office: Any) -> None:
    """The request's claim is what is wrong with the context; the restriction does not hold all the same."""
    token = office.narrow(office.mint(subject="alice"), "sub = bob", "action = read")
    with pytest.raises(Denied) as denied:
        office.authority.authorize(token, audience="default", context={"sub": "bob", "action": 1}, explain=True)
    assert denied.value.code == "context-invalid"
    assert denied.value.detail == "'sub': the service supplies it, never a request."
    assert {verdict.caveat: verdict.verdict for verdict in denied.value.verdicts if " = b" in verdict.caveat} == {
        "sub = bob": "caveat-refused"
    }
    assert denied.value.verdicts[-1].verdict == "context-invalid"


@pytest.mark.parametrize("outcome", [None, True, "satisfied", object()])
def test_a_verdict_of_no_known_kind_is_a_refusal(office: Any, monkeypatch: pytest.MonkeyPatch, outcome: object) -> None:
    """Only `Satisfied` allows."""
    token = office.mint("action = read")
    assert office.outcome(token, action="read") == "allowed"
    monkeypatch.setattr(judging, "check", lambda *_: outcome)
    assert office.denial(token, action="read") == ("caveat-refused", "action = read")


def test_a_credentials_denial_tells_nothing(office: Any) -> None:
    """Nobody asked for verdicts of an administrator's own credential."""
    credential = office.narrow(office.authority.admin_token(), "method = GET")
    assert office.authority.authenticate(credential, context={"method": "GET"})
    with pytest.raises(Denied) as denied:
        office.authority.authenticate(credential, context={"method": "POST"})
    assert denied.value.code == "caveat-refused"
    assert not denied.value.verdicts


def test_a_context_that_was_read_before_can_be_explained(office: Any) -> None:
    """The verdicts are those of the same context as it came."""
    decider, token = office.authority._decider, office.mint("action = read", "floor = 1")
    context = {"action": "read", "floor": 1}
    read = judging.ReadContext(read_context(context, office.authority.vocabulary))
    (_, plain), (_, ruling) = [
        decider.decide(token, "default", given, int(office.clock()), explain=True) for given in (context, read)
    ]
    assert [verdict.verdict for verdict in ruling.grant.verdicts] == ["satisfied"] * 3
    assert ruling.grant.verdicts == plain.grant.verdicts


def test_only_a_fact_is_stated(office: Any) -> None:
    """A caveat of the issuer's that names one value for something else is no fact, and reported as none."""
    grant = office.grant(office.mint("action = read", "floor = 1", facts={"tenant": "acme"}), action="read", floor=1)
    assert dict(grant.facts) == {"tenant": "acme"}
    assert grant.subject is None


def test_who_minted_is_the_credentials_last_point(office: Any) -> None:
    """Its branch is made of the credential's signature, the last MAC there is."""
    text = office.narrow(office.authority.admin_token(), "for.audience = default", "for.ttl <= 60")
    credential = office.authority.authenticate(text, context={})
    minted = office.authority.mint(audience="default", ttl=60, credential=credential)
    branch = hashlib.sha256(b"capsvc branch 1\0" + decode(text).signature).digest()
    row = office.authority.token(minted.id)
    assert row.minted_by.branch == credential.branch == b64encode(branch)


def test_a_target_answers_for_targets_alone(office: Any) -> None:
    """What a credential asks of the request itself was judged at once, and is not asked of the target."""
    text = office.narrow(office.authority.admin_token(), "method = GET", "for.audience = default")
    credential = office.authority.authenticate(text, context={"method": "GET"})
    credential.permits({"for.audience": "default"})
    with pytest.raises(Denied) as denied:
        credential.permits({"for.audience": "photos"})
    assert (denied.value.code, denied.value.caveat) == ("caveat-refused", "for.audience = default")


def test_what_was_presented_shows_its_id(office: Any) -> None:
    """And none of its MACs."""
    minted = office.minted()
    found, _ = office.authority._decider.presenter.present(minted.token)
    assert repr(found) == f"<Presented {minted.id}>"


def test_what_is_remembered_and_for_how_long(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second sight on, until as many others as there may be have come twice; nothing past its bound."""
    monkeypatch.setattr(presented, "SEEN", 3)
    monkeypatch.setattr(presented, "YOUNG", 2)
    monkeypatch.setattr(presented, "REMEMBERED_OCTETS", 8)
    found, _ = office.authority._decider.presenter.present(office.mint())
    memory = presented._Memory()

    def shown(bundle: str) -> bool:
        """Show it once more; whether it is remembered then."""
        memory.keep(bundle, found)
        assert len(memory._seen) <= 3
        assert max(len(memory._young), len(memory._old)) <= 2
        return memory.find(bundle) is not None

    assert [shown("a") for _ in range(2)] == [False, True]
    assert [shown("8 octets") for _ in range(2)] == [False, True]
    assert [shown("9 octets!") for _ in range(3)] == [False] * 3
    assert [shown("c"), shown("c")] == [False, True]
    assert memory.find("a") is memory.find("8 octets") is found, "those are the old ones now"
    assert [shown("d") for _ in range(2)] == [False, True]
    assert [shown("e") for _ in range(2)] == [False, True]
    assert memory.find("a") is None
    assert memory.find("c") is memory.find("e") is found
    assert [shown(one) for one in "vwxy"] == [False] * 4
    assert len(memory._seen) == 3


def test_what_was_never_kept_is_good_up_to_the_sweeps_mark(office: Any, instant: Any) -> None:
    """A token without a row is expired for good only if it expired before the mark, not at it."""
    before, at_it = office.forge(f"time < {instant(3599)}"), office.forge(f"time < {instant(3600)}")
    assert office.outcome(before) == office.outcome(at_it) == "allowed"
    begun = office.clock.now
    office.clock.now = begun + 3600 + WEEK
    office.authority.sweep()
    office.clock.now = begun
    assert (office.outcome(before), office.outcome(at_it)) == ("expired", "allowed")


def test_an_audience_that_cannot_be_read(office: Any) -> None:
    """Its key is there and its row is not: nobody can say how long its tokens live."""
    token = office.mint()
    audiences = office.authority._follower.view().audiences
    record = audiences.pop("default")
    assert office.outcome(token) == "unavailable"
    audiences["default"] = record
    assert office.outcome(token) == "allowed"


def test_the_clocks_verdict_is_told_too(office: Any) -> None:
    """A caveat on the hour or the day is explained by the clock's own reading."""
    token = office.mint("clock < 12:01", "weekday = sun", "clock >= 12:01")
    with pytest.raises(Denied) as denied:
        office.authority.authorize(token, audience="default", context={}, explain=True)
    told = [verdict.verdict for verdict in denied.value.verdicts]
    assert told == ["satisfied", "satisfied", "satisfied", "caveat-refused"]


def test_which_parsed_caveats_are_kept(office: Any) -> None:
    """Those of up to 128 octets, by their octets; longer ones are read anew each time."""
    parsed = ParsedCaveats(office.authority.vocabulary)
    short, long = (RawCaveat(b"path under /" + b"a" * length) for length in (128 - 12, 129 - 12))
    for caveat in (short, long):
        (known,) = parsed.known([caveat], HOLDER)
        assert known.check.text.encode() == caveat.cid
        assert (parsed.known([caveat], HOLDER)[0] is known) == (caveat is short)
