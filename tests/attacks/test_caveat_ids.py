"""Caveat ids and keys in the wrong hands: other dischargers', other tokens', other keys', older versions'."""

from __future__ import annotations

import base64
from functools import partial
from typing import Any

import pytest
from macaroonbakery import bakery, checkers
from nacl.public import PrivateKey, PublicKey

from capsvc.errors import RequestError
from capsvc.macaroon.chain import extend
from capsvc.macaroon.decode import decode, encode
from capsvc.macaroon.thirdparty import Channel, KeyPair, key_text

EXPIRES = "time < 2026-11-23T00:00:00Z"


def own_pair(office: Any) -> KeyPair:
    """The authority's own: what an insider could seal with."""
    pair: KeyPair = office.authority._follower.view().registry.pairs[-1][1]
    return pair


# Other dischargers.


def test_an_id_for_one_discharger_offered_to_another(office: Any) -> None:
    """He cannot open it; what he makes under any key that he has answers nothing."""
    login, till = office.register("login"), office.register("till")
    token = office.mint(third_party=[login.asks("c", "u"), till.asks("c", "u")])
    ((login_id, login_key, _),), ((_, till_key, _),) = login.questions(token), till.questions(token)
    own = till.discharge(token, u="bo")
    assert office.outcome(office.bundle(token, login.discharge(token, u="ada"), own)) == "allowed"
    assert login_id not in [caveat_id for caveat_id, _, _ in till.questions(token)]
    for key in (till_key, till.pair.private(), till.pair.public, login.pair.public):
        assert key != login_key
        forged = office.discharge(login_id, "declared u root", key=key)
        assert office.denial(office.bundle(token, forged, own)) == ("discharge-invalid", login.location)


def test_what_one_discharger_states_is_never_anothers(office: Any) -> None:
    """Asked at the same place in the same words, each speaks under its own name and for its own names alone."""
    login, till = office.register("login"), office.register("till")
    token = office.mint(third_party=[login.asks("c", "u"), till.asks("c", "price")])
    told = till.discharge(token, "declared u root", "declared login root", price="3")
    bundle = office.bundle(token, login.discharge(token, u="ada"), told)
    assert office.grant(bundle).declared == {"login": {"u": "ada"}, "till": {"price": "3"}}
    silent = office.bundle(token, login.discharge(token), told)
    assert office.denial(silent) == ("discharge-invalid", login.location)


@pytest.mark.parametrize("stated", ["U", "u2", "uu", "u-u"])
def test_a_name_that_only_resembles_the_one_that_was_asked_for(office: Any, stated: str) -> None:
    """Names are compared as they are: it is not reported, and stands in for nothing."""
    login = office.register()
    token = office.mint(third_party=[login.asks("c", "u")])
    both = office.bundle(token, login.discharge(token, f"declared {stated} root", u="ada"))
    assert office.grant(both).declared == {"login": {"u": "ada"}}
    alone = office.bundle(token, login.discharge(token, f"declared {stated} ada"))
    assert office.denial(alone) == ("discharge-invalid", login.location)


# Other tokens.


def test_an_id_replayed_into_another_token(office: Any) -> None:
    """By a holder, with its vid or one of his own: the genuine discharge is no answer, and his own states nothing."""
    login = office.register()
    victim = office.mint(subject="root", third_party=[login.asks("c", "u")])
    mine = office.mint(subject="mallory")
    ((caveat_id, _, _),) = login.questions(victim)
    genuine = login.discharge(victim, u="root")
    assert office.grant(office.bundle(victim, genuine)).declared == {"login": {"u": "root"}}
    replayed = office.with_thirds(mine, caveat_id, key="own key", location=login.location)
    assert office.denial(office.bundle(replayed, genuine)) == ("discharge-invalid", login.location)
    own = office.discharge(caveat_id, "declared u root", key="own key")
    grant = office.grant(office.bundle(replayed, own))
    assert (grant.subject, grant.declared) == ("mallory", {})
    macaroon, whole = decode(mine), decode(victim).caveats[-1]
    copied = encode(macaroon._replace(caveats=(*macaroon.caveats, whole), signature=extend(macaroon.signature, whole)))
    assert office.denial(office.bundle(copied, genuine)) == ("discharge-invalid", login.location)


def test_a_holder_cannot_answer_the_issuers_question_again(office: Any) -> None:
    """Its id once more in the same token, under his own key, comes after the issuer's, and is his alone."""
    login = office.register()
    token = office.mint(third_party=[login.asks("c", "u")])
    ((caveat_id, _, _),) = login.questions(token)
    twice = office.with_thirds(token, caveat_id, key="own key", location=login.location)
    genuine, own = login.discharge(twice, u="mallory"), office.discharge(caveat_id, "declared u root", key="own key")
    for given in ((genuine, own), (own, genuine)):
        assert office.grant(office.bundle(twice, *given)).declared == {"login": {"u": "mallory"}}
    assert office.denial(office.bundle(twice, own, own)) == ("discharge-invalid", login.location)


def test_a_discharge_for_another_token(office: Any) -> None:
    """Somebody's own, honestly come by, under its id or renamed to the victim's."""
    login = office.register()
    victim, mine = (office.mint(third_party=[login.asks("c", "u")]) for _ in range(2))
    ((caveat_id, _, _),) = login.questions(victim)
    own = login.discharge(mine, u="mallory")
    assert office.outcome(office.bundle(mine, own)) == "allowed"
    assert office.denial(office.bundle(victim, own)) == ("discharge-missing", login.location)
    root, bound = office.bundle(victim, own).split("~")
    renamed = encode(decode(bound)._replace(identifier=caveat_id))
    assert office.denial(f"{root}~{renamed}") == ("discharge-invalid", login.location)


# Other keys.


def test_a_key_put_in_anothers_place(office: Any) -> None:
    """Not beside it; and in its stead it answers nothing that was asked of the one before, and so not for him."""
    login, thief = office.register(), KeyPair.generate()
    token = office.mint(third_party=[login.asks("c", "u")])
    bundle = office.bundle(token, login.discharge(token, u="ada"))
    assert office.outcome(bundle) == "allowed"
    stolen, slash = key_text(thief.public), login.location + "/"
    for name, location, key in (
        ("login", "https://thief.example", stolen),
        ("thief", login.location, stolen),
        ("thief", slash, stolen),
        ("thief", "https://thief.example", key_text(login.pair.public)),
    ):
        with pytest.raises(RequestError) as refused:
            office.authority.add_discharger(name=name, location=location, public_key=key)
        assert refused.value.code == "exists"
    assert office.outcome(bundle) == "allowed"
    office.authority.set_discharger("login", public_key=stolen)
    assert office.denial(bundle) == ("discharge-invalid", login.location)
    login.pair = thief
    assert login.questions(token) == []
    fresh = office.mint(third_party=[login.asks("c", "u")])
    assert office.outcome(office.bundle(fresh, login.discharge(fresh, u="ada"))) == "allowed"


@pytest.mark.parametrize("first", [True, False])
def test_a_key_that_begins_as_anothers(office: Any, first: bool) -> None:
    """Four octets stand in an id: registered before or after, such a key neither answers nor speaks for the other."""
    login = KeyPair.generate()
    lookalike = {
        "name": "shadow",
        "location": "https://shadow.example",
        "public_key": key_text(login.public[:4] + KeyPair.generate().public[4:]),
    }
    if first:
        office.authority.add_discharger(**lookalike)
    known = office.register("login", pair=login)
    if not first:
        office.authority.add_discharger(**lookalike)
    token = office.mint(third_party=[known.asks("c", "u")])
    bundle = office.bundle(token, known.discharge(token, u="ada"))
    assert office.grant(bundle).declared == {"login": {"u": "ada"}}
    office.authority.remove_discharger("shadow")
    assert office.grant(bundle).declared == {"login": {"u": "ada"}}
    office.clock.now += 1
    office.authority.add_discharger(**lookalike)
    office.authority.remove_discharger("login")
    assert office.denial(bundle) == ("discharge-invalid", known.location)


def test_a_key_that_begins_as_anothers_and_counts_later(office: Any) -> None:
    """It stands before the other's, and was not registered when the token was minted: it is passed over."""
    office.register("shadow")
    login = office.register("login")
    token = office.mint(third_party=[login.asks("c", "u")])
    bundle = office.bundle(token, login.discharge(token, u="ada"))
    office.clock.now += 1
    lookalike = login.pair.public[:4] + KeyPair.generate().public[4:]
    office.authority.set_discharger("shadow", next_public_key=key_text(lookalike))
    assert office.grant(bundle).declared == {"login": {"u": "ada"}}
    assert repr(office.authority._follower.view().registry) == "<Registry of 2 dischargers>"


def test_keys_with_which_nothing_is_secret(office: Any) -> None:
    """Of low order, in whatever spelling: never pinned, neither as current nor as next."""
    login, authority = office.register(), office.authority
    other = {"name": "x", "location": "https://x.example"}
    for number in (0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18, 2**255, 2**255 + 1):
        text = key_text(number.to_bytes(32, "little"))
        changes = [
            partial(authority.add_discharger, **other, public_key=text),
            partial(authority.set_discharger, "login", public_key=text),
            partial(authority.set_discharger, "login", next_public_key=text),
        ]
        for change in changes:
            with pytest.raises(RequestError) as refused:
                change()
            assert refused.value.code == "bad-request"
    assert [one.public_key for one in authority.dischargers()] == [key_text(login.pair.public)]
    assert authority.add_discharger(**other, public_key=key_text(KeyPair.generate().public))


# Ids that are none.


def test_every_octet_of_an_id(office: Any) -> None:
    """Altered by a holder it breaks the root's MAC; by an insider who signs it again it opens for nobody."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    macaroon = decode(token)
    genuine = macaroon.caveats[-1]
    assert office.outcome(office.bundle(token, login.discharge(token))) == "allowed"
    for position in range(len(genuine.cid)):
        altered = genuine.cid[:position] + bytes([genuine.cid[position] ^ 1]) + genuine.cid[position + 1 :]
        held = encode(macaroon._replace(caveats=(*macaroon.caveats[:-1], genuine._replace(cid=altered))))
        assert office.outcome(held) == "invalid-token", position
        root = office.forge(EXPIRES, thirds=[(altered, b"k")])
        assert office.outcome(office.bundle(root, office.discharge(altered, key=b"k"))) == "discharge-invalid", position


@pytest.mark.parametrize(("version", "outcome"), [(1, "discharge-invalid"), (2, "discharge-invalid"), (3, "allowed")])
def test_bakerys_older_versions(office: Any, version: int, outcome: str) -> None:
    """As its own library seals them with the right keys, in a root that an insider signed: 3 alone is read."""
    login = office.register()
    third = bakery.ThirdPartyInfo(version=version, public_key=bakery.PublicKey(PublicKey(login.pair.public)))
    key, spoken = bakery.PrivateKey(PrivateKey(own_pair(office).private())), checkers.deserialize_namespace(b"std:")
    caveat_id = bytes(bakery.encode_caveat("is-known", b"k" * 24, third, key, spoken))
    root = office.forge(EXPIRES, thirds=[(caveat_id, b"k" * 24)])
    assert office.outcome(office.bundle(root, office.discharge(caveat_id, key=b"k" * 24))) == outcome


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        ("is-known", "allowed"),
        ("need-declared u c", "allowed"),
        ("need-declared u", "discharge-invalid"),
        ("need-declared  c", "discharge-invalid"),
        ("need-declared u, c", "discharge-invalid"),
        ("need-declared ", "discharge-invalid"),
    ],
)
def test_conditions_that_we_never_write(office: Any, condition: str, outcome: str) -> None:
    """Sealed by an insider with the right keys: what names which declarations is read strictly, or not at all."""
    login = office.register()
    caveat_id = Channel.of_first_party(own_pair(office), login.pair.public).seal(b"k" * 32, condition)
    root = office.forge(EXPIRES, thirds=[(caveat_id, b"k" * 32)])
    told = office.discharge(caveat_id, "declared u ada", key=b"k" * 32)
    assert office.outcome(office.bundle(root, told)) == outcome


# What is shown of them.


def test_a_condition_is_between_issuer_and_discharger(office: Any) -> None:
    """Neither the token nor its row nor an answer shows it, nor the root key; the two of them read both."""
    login = office.register()
    condition = "account 4711 of the bank at the corner"
    minted = office.minted(third_party=[login.asks(condition, "balance-of-it")])
    ((caveat_id, root_key, sealed),) = login.questions(minted.token)
    assert sealed == f"need-declared balance-of-it {condition}"
    bundle = office.bundle(minted.token, login.discharge(minted.token, **{"balance-of-it": "1"}))
    octets = base64.urlsafe_b64decode(minted.token + "=" * (-len(minted.token) % 4))
    for shown in (
        octets,
        repr(minted).encode(),
        repr(office.authority.token(minted.id)).encode(),
        repr(office.grant(bundle, explain=True)).encode(),
        repr(office.denial(minted.token)).encode(),
        (office.settings.data_dir / "capsvc.db").read_bytes(),
        (office.settings.data_dir / "capsvc.db-wal").read_bytes(),
    ):
        assert condition.encode() not in shown
        assert root_key not in shown
    assert caveat_id in octets
