"""Third parties that the issuer asks: minting for them, what their discharges are worth, what they declare."""

from __future__ import annotations

from typing import Any

import pytest

from capsvc.errors import Denied, RequestError
from capsvc.macaroon.decode import decode, encode
from capsvc.macaroon.discharges import MAX_CHAINS
from capsvc.macaroon.identifier import parse
from capsvc.macaroon.thirdparty import Channel, KeyPair, asked_names, key_text, read_parties
from caveats import CaveatError

# Minting.


def test_a_third_party_is_asked_last(office: Any) -> None:
    """The time, the facts, what was requested, the third parties: all of them the issuer's, by the id's count."""
    login, till = office.register("login"), office.register("till")
    asked = [login.asks("is-known", "username", "group"), till.asks("paid 3 EUR")]
    minted = office.minted("action in read", subject="ada", third_party=asked)
    macaroon = decode(minted.token)
    assert [caveat.vid is None for caveat in macaroon.caveats] == [True, True, True, False, False]
    assert parse(macaroon.identifier).issuer_caveats == 5
    assert [(caveat.location or b"").decode() for caveat in macaroon.caveats[3:]] == [login.location, till.location]
    assert minted.caveats[1:] == ("sub = ada", "action in read")
    ((_, root_key, condition),) = login.questions(minted.token)
    assert asked_names(condition) == (("username", "group"), "is-known")
    assert len(root_key) == 32
    assert [condition for _, _, condition in till.questions(minted.token)] == ["paid 3 EUR"]
    assert office.authority.token(minted.id).caveats == minted.caveats


def test_each_caveat_has_a_root_key_and_a_nonce_of_its_own(office: Any) -> None:
    """The same question to the same third party, twice in one token and in two tokens."""
    login = office.register()
    tokens = [office.mint(third_party=[login.asks(), login.asks()]) for _ in range(2)]
    questions = [question for token in tokens for question in login.questions(token)]
    assert len({root_key for _, root_key, _ in questions}) == len({caveat_id for caveat_id, _, _ in questions}) == 4
    assert len({caveat.vid for token in tokens for caveat in decode(token).caveats if caveat.vid}) == 4


@pytest.mark.parametrize("spelling", ["https://login.example/discharge", "https://login.example/discharge/"])
def test_a_location_is_compared_without_its_trailing_slash(office: Any, spelling: str) -> None:
    """One is registered, either is asked for; another path is nobody's."""
    office.register(location="https://login.example/discharge/")
    assert office.mint(third_party=[{"location": spelling, "condition": "c"}])
    for other in ("https://login.example", "https://login.example/discharge//", "https://login.example/Discharge", ""):
        with pytest.raises(RequestError) as refused:
            office.mint(third_party=[{"location": other, "condition": "c"}])
        assert refused.value.code == "discharger-unknown"


@pytest.mark.parametrize(
    "condition", ["", "need-declared a c", "need-declared", "need-declaredx", "a\nb", "\u202ex", "\x7f", "é" * 451]
)
def test_conditions_that_are_refused(office: Any, condition: str) -> None:
    """Empty, with names that have a field of their own, not printable, too long in octets."""
    login = office.register()
    for good in ("c" * 900, "é" * 450):
        token = office.mint(third_party=[login.asks(good)])
        assert [asked for _, _, asked in login.questions(token)] == [good]
        assert office.outcome(office.bundle(token, login.discharge(token))) == "allowed"
    with pytest.raises(CaveatError) as refused:
        office.mint(third_party=[login.asks(condition)])
    assert refused.value.code == "caveat-malformed"


@pytest.mark.parametrize("names", [["a", "a"], ["a,b"], [""], ["a b"], ["é"], ["n" * 65]])
def test_names_to_declare_that_are_refused(office: Any, names: list[str]) -> None:
    """Twice the same, a comma, empty, a space, not ASCII, too long."""
    login = office.register()
    assert office.mint(third_party=[login.asks("c", "n" * 64, "b")])
    with pytest.raises(CaveatError) as refused:
        office.mint(third_party=[login.asks("c", *names)])
    assert refused.value.code == "caveat-malformed"


@pytest.mark.parametrize(
    "entry",
    [{}, {"location": "x"}, {"location": 1, "condition": "c"}, {"location": "x", "condition": "c", "more": 1}, "x"],
)
def test_third_parties_of_another_shape(office: Any, entry: Any) -> None:
    """What is not location, condition and names."""
    with pytest.raises(RequestError) as refused:
        office.mint(third_party=[entry])
    assert refused.value.code == "bad-request"


def test_as_many_third_parties_as_a_bundle_can_answer(office: Any) -> None:
    """Sixteen; one more could never be satisfied."""
    login = office.register()
    token = office.mint(third_party=[login.asks()] * 16)
    discharges = [login.discharge(token, question=number) for number in range(16)]
    assert office.outcome(office.bundle(token, *discharges)) == "allowed"
    with pytest.raises(RequestError) as refused:
        office.mint(third_party=[login.asks()] * 17)
    assert refused.value.code == "too-large"


def test_third_parties_count_among_the_caveats(office: Any) -> None:
    """64 in all."""
    login = office.register()
    assert office.mint(*["action in read"] * 62, third_party=[login.asks()])
    with pytest.raises(RequestError) as refused:
        office.mint(*["action in read"] * 63, third_party=[login.asks()])
    assert refused.value.code == "too-large"


# Discharges.


def test_a_genuine_discharge(office: Any) -> None:
    """Made under the key in the id, bound to the root: allowed; nothing was declared."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    grant = office.grant(office.bundle(token, login.discharge(token)))
    assert grant.declared == {}
    assert office.denial(token) == ("discharge-missing", login.location)


def test_discharges_that_are_worth_nothing(office: Any) -> None:
    """Unbound, bound to another root, used twice, unused, made with another key: each with its code."""
    login = office.register()
    token, other = (office.mint(third_party=[login.asks()]) for _ in range(2))
    good = login.discharge(token)
    assert office.outcome(office.bundle(token, good)) == "allowed"
    assert office.denial(f"{token}~{good.serialize()}") == ("discharge-invalid", login.location)
    elsewhere = office.bundle(other, good).partition("~")[2]
    assert office.denial(f"{token}~{elsewhere}") == ("discharge-invalid", login.location)
    bundle = office.bundle(token, good)
    assert office.denial(f"{bundle}~{bundle.partition('~')[2]}") == ("discharge-unused", None)
    assert office.denial(office.bundle(token, login.discharge(other))) == ("discharge-missing", login.location)
    ((caveat_id, _, _),) = login.questions(token)
    forged = office.discharge(caveat_id, key="another key")
    assert office.denial(office.bundle(token, forged)) == ("discharge-invalid", login.location)


def test_one_discharge_answers_one_caveat(office: Any) -> None:
    """The same id twice in one root, put there by a holder: one discharge is not enough, though its key is known."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    ((caveat_id, root_key, _),) = login.questions(token)
    twice = office.with_thirds(token, caveat_id, key=root_key, location=login.location)
    good = login.discharge(token)
    assert office.denial(office.bundle(twice, good)) == ("discharge-missing", login.location)
    assert office.outcome(office.bundle(twice, good, login.discharge(token))) == "allowed"


@pytest.mark.parametrize(("offset", "outcome"), [(-1, "allowed"), (0, "expired"), (1, "expired")])
def test_an_expired_discharge(office: Any, instant: Any, offset: int, outcome: str) -> None:
    """Its bound counts as the root's does."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    bundle = office.bundle(token, login.discharge(token, f"time-before {instant(60)}"))
    assert office.at(60 + offset, bundle) == outcome


def test_a_bundle_that_would_be_exponential_for_others_is_decided_by_a_bounded_number_of_chains(office: Any) -> None:
    """Thirty-two, the root's among them."""
    assert MAX_CHAINS == 32


# Registration.


def test_a_removed_discharger(office: Any) -> None:
    """What depends on it is dead at once, and stays so when name, location and key are registered again."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    bundle = office.bundle(token, login.discharge(token))
    assert [office.outcome(bundle) for _ in range(3)] == ["allowed"] * 3  # whatever is remembered of it by then
    office.authority.remove_discharger("login")
    assert office.denial(bundle) == ("discharge-invalid", login.location)
    office.clock.now += 1
    office.register(pair=login.pair)
    assert office.denial(bundle) == ("discharge-invalid", login.location)
    fresh = office.mint(third_party=[login.asks()])
    assert office.outcome(office.bundle(fresh, login.discharge(fresh))) == "allowed"


def test_a_removal_is_seen_by_another_process_at_once(office: Any) -> None:
    """Registration and removal, each obeyed by an authority that was open before."""
    with office.another() as other:
        login = office.register()
        token = other.mint(audience="default", ttl=60, third_party=[login.asks()]).token
        bundle = office.bundle(token, login.discharge(token))
        assert other.authorize(bundle, audience="default")
        office.authority.remove_discharger("login")
        with pytest.raises(Denied) as denied:
            other.authorize(bundle, audience="default")
        assert denied.value.code == "discharge-invalid"


def test_a_key_that_is_replaced_with_overlap(office: Any) -> None:
    """While both are registered, discharges under either count; what was sealed for a dropped key is dead for good."""
    login = office.register()
    old = office.mint(third_party=[login.asks()])
    fresh = KeyPair.generate()
    office.authority.set_discharger("login", next_public_key=key_text(fresh.public))
    bundle = office.bundle(old, login.discharge(old))
    assert office.outcome(bundle) == "allowed"
    office.authority.set_discharger("login", public_key=key_text(fresh.public))
    assert office.denial(bundle) == ("discharge-invalid", login.location)
    login.pair, before = fresh, login.pair
    new = office.mint(third_party=[login.asks()])
    assert office.outcome(office.bundle(new, login.discharge(new))) == "allowed"
    office.clock.now += 1
    office.authority.set_discharger("login", next_public_key=key_text(before.public))
    assert office.denial(bundle) == ("discharge-invalid", login.location)


def test_a_caveat_id_for_a_key_that_was_never_registered(office: Any) -> None:
    """An issuer's caveat that somebody with the root key forged: no registered key opens it."""
    login, stranger = office.register(), KeyPair.generate()
    pair = office.authority._follower.view().registry.pairs[-1][1]
    known = Channel.of_first_party(pair, login.pair.public).seal(b"k" * 32, "is-known")
    unknown = Channel.of_first_party(pair, stranger.public).seal(b"k" * 32, "is-known")
    lone = Channel.of_first_party(KeyPair.generate(), login.pair.public).seal(b"k" * 32, "is-known")
    for caveat_id, outcome in ((known, "allowed"), (unknown, "discharge-invalid"), (lone, "discharge-invalid")):
        root = office.forge("time < 2026-11-23T00:00:00Z", thirds=[(caveat_id, b"k" * 32)])
        assert office.outcome(office.bundle(root, office.discharge(caveat_id, key=b"k" * 32))) == outcome
    for damaged in (known[:-1], known[:60], known[:5], b"\x02" + known[1:], known[:1] + b"\0\0\0\0" + known[5:]):
        root = office.forge("time < 2026-11-23T00:00:00Z", thirds=[(damaged, b"k" * 32)])
        assert office.outcome(office.bundle(root, office.discharge(damaged, key=b"k" * 32))) == "discharge-invalid"


# The installation's own key pair.


def test_the_own_key_pair_is_rotated_with_overlap(office: Any) -> None:
    """Announced first, taken by the rotation; what was sealed with the one before stays good."""
    login = office.register()
    before = office.authority.public_key
    old = office.mint(third_party=[login.asks()])
    announced = office.authority.add_bakery_key().public_key
    assert office.authority.public_key == before != announced
    assert office.authority.rotate_bakery_key().public_key == announced == office.authority.public_key
    new = office.mint(third_party=[login.asks()])
    firsts = [key_text(read_parties(login.questions(token)[0][0])[1]) for token in (old, new)]
    assert firsts == [before, announced]
    for token in (old, new):
        assert office.outcome(office.bundle(token, login.discharge(token))) == "allowed"
    assert [key.state for key in office.authority.bakery_keys()] == ["retiring", "active"]


def test_a_retired_pair_goes_with_the_last_token_that_needs_it(office: Any) -> None:
    """Kept while such a token's row is there; then swept."""
    login = office.register()
    office.mint(third_party=[login.asks()], ttl=60)
    office.authority.rotate_bakery_key()
    for _ in range(2):
        office.clock.now += 120
        office.authority.sweep()
        assert [key.state for key in office.authority.bakery_keys()] == ["retiring", "active"]
    for _ in range(2):
        office.clock.now += 8 * 86_400
        office.authority.sweep()
    assert [key.state for key in office.authority.bakery_keys()] == ["active"]


# Declarations.


def test_what_was_asked_for_is_reported_under_its_dischargers_name(office: Any) -> None:
    """Of two dischargers each its own; what nobody asked for is reported nowhere."""
    login, till = office.register("login"), office.register("till")
    token = office.mint(third_party=[login.asks("c", "username", "group"), till.asks("c", "price")])
    bundle = office.bundle(
        token,
        login.discharge(token, username="ada", group="", price="0", colour="red"),
        till.discharge(token, price="3 EUR", username="root"),
    )
    declared = {"login": {"username": "ada", "group": ""}, "till": {"price": "3 EUR"}}
    assert office.grant(bundle).declared == declared


def test_a_discharger_that_was_asked_nothing_reports_nothing(office: Any) -> None:
    """Whatever it declares."""
    login = office.register()
    token = office.mint(third_party=[login.asks("c")])
    assert office.grant(office.bundle(token, login.discharge(token, username="root"))).declared == {}


def test_a_required_declaration_that_is_missing_comes_last(office: Any) -> None:
    """After every other caveat of the bundle, with the code of a discharge that does not do."""
    login = office.register()
    token = office.mint("action = read", third_party=[login.asks("c", "username", "group")])
    whole = office.bundle(token, login.discharge(token, username="ada", group="x"))
    assert office.outcome(whole, action="read") == "allowed"
    partly = office.bundle(token, login.discharge(token, "method = GET", username="ada"))
    assert office.denial(partly, action="read", method="GET") == ("discharge-invalid", login.location)
    assert office.denial(partly, action="read") == ("context-missing", "method = GET")
    assert office.denial(partly, action="write", method="GET") == ("caveat-refused", "action = read")


def test_a_missing_declaration_in_an_explanation(office: Any) -> None:
    """The third party's caveat is the one that is to blame."""
    login = office.register()
    token = office.mint(third_party=[login.asks("c", "username")])
    with pytest.raises(Denied) as denied:
        office.grant(office.bundle(token, login.discharge(token)), explain=True)
    assert [verdict.verdict for verdict in denied.value.verdicts] == ["satisfied", "discharge-invalid"]
    grant = office.grant(office.bundle(token, login.discharge(token, username="ada")), explain=True)
    assert [verdict.verdict for verdict in grant.verdicts] == ["satisfied"] * 3


def test_each_questions_own_discharge_states_its_own_names(office: Any) -> None:
    """A name that the other discharge of the same discharger states does not stand in."""
    login = office.register()
    token = office.mint(third_party=[login.asks("c", "username"), login.asks("c", "group")])
    first, second = login.discharge(token, username="ada"), login.discharge(token, question=1, group="x")
    assert office.grant(office.bundle(token, first, second)).declared == {"login": {"username": "ada", "group": "x"}}
    both, none = login.discharge(token, username="ada", group="x"), login.discharge(token, question=1)
    assert office.denial(office.bundle(token, both, none)) == ("discharge-invalid", login.location)


def test_a_name_stated_twice(office: Any) -> None:
    """With the same value it is one statement; with another, in one discharge or in two, a conflict at the later."""
    login = office.register()
    token = office.mint(third_party=[login.asks("c", "username"), login.asks("c", "username")])
    second = login.discharge(token, question=1, username="ada")
    agreed = office.bundle(token, login.discharge(token, "declared username ada", username="ada"), second)
    assert office.grant(agreed).declared == {"login": {"username": "ada"}}
    inside = office.bundle(token, login.discharge(token, "declared username ada", username="bo"), second)
    assert office.denial(inside) == ("fact-conflict", "declared username bo")
    across = office.bundle(token, login.discharge(token, username="bo"), second)
    assert office.denial(across) == ("fact-conflict", "declared username ada")


def test_names_that_are_not_reported_cannot_conflict(office: Any) -> None:
    """Two values of a name that nobody asked for; the same name at two dischargers."""
    login, till = office.register("login"), office.register("till")
    token = office.mint(third_party=[login.asks("c", "username"), till.asks("c", "username")])
    first = login.discharge(token, "declared colour red", "declared colour blue", username="ada")
    bundle = office.bundle(token, first, till.discharge(token, username="bo"))
    assert office.grant(bundle).declared == {"login": {"username": "ada"}, "till": {"username": "bo"}}


def test_what_a_holder_appends_is_never_reported(office: Any) -> None:
    """To a genuine discharge (for a name not asked for; for one that was, it contradicts), or to the root."""
    login = office.register()
    token = office.mint(third_party=[login.asks("c", "username")])
    genuine = login.discharge(token, username="ada")
    assert office.grant(office.bundle(token, genuine)).declared == {"login": {"username": "ada"}}
    genuine.add_first_party_caveat("declared admin yes")
    assert office.grant(office.bundle(token, genuine)).declared == {"login": {"username": "ada"}}
    genuine.add_first_party_caveat("declared username root")
    assert office.denial(office.bundle(token, genuine)) == ("fact-conflict", "declared username root")
    rooted = office.narrow(token, "declared username root")
    bundle = office.bundle(rooted, login.discharge(rooted, username="ada"))
    assert office.denial(bundle) == ("caveat-unknown", "declared username root")


def test_a_holders_own_discharger_states_nothing(office: Any) -> None:
    """Not even where it is a registered one, asked in the issuer's words, under an id that the issuer could open."""
    login = office.register()
    token = office.mint(third_party=[login.asks("c", "username")])
    pair = office.authority._follower.view().registry.pairs[-1][1]
    caveat_id = Channel.of_first_party(pair, login.pair.public).seal(b"k" * 32, "need-declared username c")
    added = office.with_thirds(token, caveat_id, key=b"k" * 32, location=login.location)
    own = office.discharge(caveat_id, "declared username root", key=b"k" * 32)
    bundle = office.bundle(added, login.discharge(added, username="ada"), own)
    assert office.grant(bundle).declared == {"login": {"username": "ada"}}


def test_a_nested_discharge_states_nothing(office: Any) -> None:
    """It neither reports, nor does it stand in for what is missing."""
    login = office.register()
    token = office.mint(third_party=[login.asks("c", "username")])
    stated, silent = login.discharge(token, username="ada"), login.discharge(token)
    for outer in (stated, silent):
        outer.add_third_party_caveat("https://nested.example", "nested key", "nested")
    nested = office.discharge("nested", "declared username root", key="nested key")
    assert office.grant(office.bundle(token, stated, nested)).declared == {"login": {"username": "ada"}}
    assert office.denial(office.bundle(token, silent, nested)) == ("discharge-invalid", login.location)


def test_a_holder_cannot_put_his_caveat_among_the_issuers(office: Any) -> None:
    """The count is in the identifier, and that is under the MAC."""
    login = office.register()
    token = office.mint()
    pair = office.authority._follower.view().registry.pairs[-1][1]
    caveat_id = Channel.of_first_party(pair, login.pair.public).seal(b"k" * 32, "need-declared username c")
    added = office.with_thirds(token, caveat_id, key=b"k" * 32, location=login.location)
    own = office.discharge(caveat_id, "declared username root", key=b"k" * 32)
    assert office.grant(office.bundle(added, own)).declared == {}
    macaroon = decode(added)
    moved = macaroon._replace(identifier=macaroon.identifier[:-1] + b"2")
    assert office.outcome(office.bundle(encode(moved), own)) == "invalid-token"


def test_a_malformed_declaration(office: Any) -> None:
    """In whatever discharge, asked for or not: all of them must parse."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    good = office.bundle(token, login.discharge(token, "declared x "))
    assert office.outcome(good) == "allowed"
    bad = office.bundle(token, login.discharge(token, "declared x"))
    assert office.denial(bad) == ("caveat-malformed", "declared x")
