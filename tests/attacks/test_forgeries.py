"""Tokens that nobody minted: made under keys that can be guessed, of parts that can be known, by odd shapes."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from nacl.secret import SecretBox
from pymacaroons import Macaroon

from capsvc.macaroon.bundle import MAX_BUNDLE_CAVEATS, MAX_CAVEATS, MAX_DISCHARGES
from capsvc.macaroon.chain import compute, extend
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, decode, encode
from capsvc.macaroon.identifier import parse

TID = "A" * 22
BOUND = b"time < 2026-11-22T13:00:00Z"


def kid(target: Any, audience: str = "default") -> str:
    """The active key's id, which every token shows."""
    return str(next(key.kid for key in target.authority.keys(audience) if key.state == "active"))


def identifier(key_id: str, issuer_caveats: int = 1) -> bytes:
    """A fresh root's."""
    return f"cap1.{key_id}.{TID}.1795348800.{issuer_caveats}".encode()


def forged(chain_key: bytes, name: bytes, *caveats: bytes) -> str:
    """A root signed under the key of a chain."""
    macaroon = UnverifiedMacaroon(b"l", name, tuple(RawCaveat(octets) for octets in caveats), bytes(32))
    return encode(macaroon._replace(signature=compute(chain_key, macaroon)[-1]))


GUESSES = {
    "zeros": bytes(32),
    "ones": b"\xff" * 32,
    "the key generator": b"macaroons-key-generator".ljust(32, b"\0"),
    "a random key": secrets.token_bytes(32),
}


@pytest.mark.parametrize("guess", GUESSES.values(), ids=GUESSES)
@pytest.mark.parametrize("known", [True, False], ids=["a known key id", "an unknown key id"])
def test_no_key_that_can_be_guessed_verifies(target: Any, guess: bytes, known: bool) -> None:
    """Neither as key of the chain nor, through the key generator, as root key."""
    name = identifier(kid(target) if known else "0123456789abcdef")
    assert target.outcome(forged(target.authority._follower.view().active_key("default").chain, name, BOUND)) == (
        "allowed" if known else "invalid-token"
    )
    assert target.outcome(forged(guess, name, BOUND)) == "invalid-token"
    for secret in (guess, guess.rstrip(b"\0") or b"\0"):
        macaroon = Macaroon(location="l", identifier=name, key=secret, version=2)
        macaroon.add_first_party_caveat(BOUND)
        assert target.outcome(macaroon.serialize()) == "invalid-token"


@pytest.mark.parametrize("signature", [bytes(32), b"\xff" * 32, b"A" * 32])
def test_no_signature_is_right_for_any_token(target: Any, signature: bytes) -> None:
    """As empty comparisons and default digests would have it."""
    macaroon = decode(target.token)
    assert target.outcome(encode(macaroon._replace(signature=signature))) == "invalid-token"
    assert target.outcome(encode(macaroon._replace(signature=signature, caveats=()))) == "invalid-token"


def test_a_key_of_one_audience_signs_for_no_other(target: Any) -> None:
    """The key id says the audience, and is under the MAC."""
    view = target.authority._follower.view()
    ours, theirs = view.active_key("default"), view.active_key("capsvc")
    assert target.outcome(forged(ours.chain, identifier(ours.kid), BOUND)) == "allowed"
    assert target.outcome(forged(theirs.chain, identifier(theirs.kid), BOUND)) == "wrong-audience"
    assert target.outcome(forged(ours.chain, identifier(theirs.kid), BOUND)) == "invalid-token"
    assert target.outcome(forged(theirs.chain, identifier(ours.kid), BOUND)) == "invalid-token"


def test_a_holder_cannot_make_his_caveats_the_issuers(target: Any) -> None:
    """The number of issuer's caveats stands in the identifier: any other is another token."""
    macaroon = decode(target.token)
    found = parse(macaroon.identifier)
    fact = RawCaveat(b"sub = admin")
    added = macaroon._replace(caveats=(*macaroon.caveats, fact), signature=extend(macaroon.signature, fact))
    assert target.outcome(encode(added)) == "caveat-refused"
    for number in range(8):
        name = found._replace(issuer_caveats=number).encode()
        expected = "caveat-refused" if number == found.issuer_caveats else "invalid-token"
        assert target.outcome(encode(added._replace(identifier=name))) == expected


def test_a_discharge_made_for_oneself(target: Any) -> None:
    """Whoever adds a third-party caveat can answer it, and gains nothing: it states no fact and lifts no caveat."""
    macaroon = decode(target.token)
    secret = secrets.token_bytes(32)
    caveat = RawCaveat(b"mine", bytes(SecretBox(macaroon.signature).encrypt(secret)), b"https://mine.example")
    root = macaroon._replace(caveats=(*macaroon.caveats, caveat), signature=extend(macaroon.signature, caveat))
    discharge = UnverifiedMacaroon(b"l", b"mine", (RawCaveat(b"declared username admin"),), bytes(32))
    from capsvc.macaroon.chain import bind

    signed = discharge._replace(signature=bind(root.signature, compute(secret, discharge)[-1]))
    bundle = f"{encode(root)}~{encode(signed)}"
    assert target.outcome(bundle) == "allowed"
    grant = target.authority.authorize(bundle, audience="default", context={"action": "read", "path": "/a"})
    assert (grant.subject, dict(grant.declared)) == ("alice", {})


def test_a_bundle_past_every_bound_costs_no_cryptography(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before a single MAC is computed."""
    from capsvc.macaroon import chain, discharges

    def never(*_: object) -> Any:
        raise AssertionError("a MAC was computed")

    root = Macaroon.deserialize(target.token)
    many = root.copy()
    for _ in range(MAX_CAVEATS):
        many.add_first_party_caveat("action = read")
    long = root.copy()
    long.add_first_party_caveat("x" * 513)
    crowd = "~".join([target.token] * (MAX_DISCHARGES + 2))
    half = root.copy()
    for _ in range(MAX_CAVEATS - 5):
        half.add_first_party_caveat("path under /a")
    full = "~".join([str(half.serialize())] * (MAX_BUNDLE_CAVEATS // (MAX_CAVEATS - 1) + 1))
    monkeypatch.setattr(chain, "_hmac", never)
    monkeypatch.setattr(discharges, "compute", never)
    for text in (str(many.serialize()), str(long.serialize()), crowd, full, "A" * 16_385):
        assert target.outcome(text) == "too-large"


def test_one_discharge_for_many_caveats_is_no_work_without_end(target: Any) -> None:
    """Discharges that ask for each other in a circle, or of which each asks for two more, end by the bounds."""
    root = Macaroon.deserialize(target.token)
    root.add_third_party_caveat("l", "k", "a")
    one = Macaroon(location="l", identifier="a", key="k", version=2)
    one.add_third_party_caveat("l", "k", "b")
    two = Macaroon(location="l", identifier="b", key="k", version=2)
    two.add_third_party_caveat("l", "k", "a")
    bound = [str(root.prepare_for_request(each).serialize()) for each in (one, two)]
    assert target.outcome("~".join([str(root.serialize()), *bound])) == "discharge-missing"
    assert target.outcome("~".join([str(root.serialize()), *bound, *bound, *bound])) == "too-large"
    fan = Macaroon(location="l", identifier="a", key="k", version=2)
    for _ in range(2):
        fan.add_third_party_caveat("l", "k", "a")
    crowd = [str(root.prepare_for_request(fan).serialize())] * MAX_DISCHARGES
    assert target.outcome("~".join([str(root.serialize()), *crowd])) == "too-large"
    assert target.outcome("~".join([str(root.serialize()), *crowd[:15]])) == "discharge-missing"
