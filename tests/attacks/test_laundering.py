"""Exchange used to get rid of something: restrictions, third parties, an audience, an expiry, a revocation."""

from __future__ import annotations

from typing import Any

import pytest

from capsvc.errors import Denied, RequestError
from capsvc.macaroon.decode import decode
from capsvc.macaroon.identifier import parse

from ..authority.conftest import instant  # noqa: TID252 - one way to spell it
from .nesting import asked


def refusal(office: Any, bundle: str, credential: Any = None) -> tuple[str, str | None]:
    """The denial of an exchange: its code and caveat."""
    with pytest.raises(Denied) as denied:
        office.authority.exchange(bundle, credential=credential)
    return denied.value.code, denied.value.caveat


def issuers(token: str) -> list[str]:
    """The first-party caveats that count as the issuer's."""
    macaroon = decode(token)
    count = parse(macaroon.identifier).issuer_caveats
    return [caveat.cid.decode() for caveat in macaroon.caveats[:count] if caveat.vid is None]


# What others state.


def test_declarations_are_not_carried(office: Any) -> None:
    """Not the genuine one, not one that was not asked for; and nobody can put one into the new token."""
    login = office.register()
    token = office.mint(third_party=[login.asks("c", "username")])
    told = login.discharge(token, "declared admin yes", username="ada")
    bundle = office.bundle(token, told)
    assert office.grant(bundle).declared == {"login": {"username": "ada"}}
    minted = office.authority.exchange(bundle)
    assert office.grant(minted.token).declared == {}
    assert not any("declared" in caveat for caveat in minted.caveats)
    stated = office.narrow(minted.token, "declared username root")
    assert office.denial(stated) == ("caveat-unknown", "declared username root")
    assert refusal(office, stated) == ("caveat-unknown", "declared username root")


@pytest.mark.parametrize(
    "words",
    [b"declared", b"declared username", b"Declared username root", b"declared\tusername root", b"declaredx y z"],
)
def test_what_resembles_a_declaration_is_carried_or_refused(office: Any, words: bytes) -> None:
    """Never dropped, as declarations are: the bundle that it forbids is good for nothing afterwards, either."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    assert office.authority.exchange(office.bundle(token, login.discharge(token, "declared username root")))
    bundle = office.bundle(token, login.discharge(token, words))
    assert office.outcome(bundle) != "allowed"
    try:
        minted = office.authority.exchange(bundle)
    except Denied as denied:
        assert denied.code == "caveat-malformed"  # noqa: PT017 - either will do
    else:
        assert office.outcome(minted.token) == office.outcome(bundle) != "allowed"


@pytest.mark.parametrize("place", ["holder", "discharge", "nested", "own"])
def test_nobody_but_the_issuer_states_facts(office: Any, place: str) -> None:
    """What others say of a fact restricts, and stays behind the issuer's own caveats in the new token."""
    login = office.register()
    written = {**dict.fromkeys(["holder", "discharge", "nested", "own"], ()), place: ("sub = ada", "seats = 3")}

    def bundle(token: str) -> str:
        token = office.with_thirds(office.narrow(token, *written["holder"]), "mine")
        outer = asked(login.discharge(token, *written["discharge"]), ("nested", "k"))
        inner = office.discharge("nested", *written["nested"], key="k")
        return str(office.bundle(token, outer, inner, office.discharge("mine", *written["own"])))

    source = office.minted(subject="ada", facts={"seats": 3}, third_party=[login.asks()])
    minted = office.authority.exchange(bundle(source.token))
    assert issuers(minted.token) == list(source.caveats) == issuers(source.token)
    assert minted.caveats == (*source.caveats, "sub = ada", "seats = 3")
    nobody = office.mint(third_party=[login.asks()])
    assert refusal(office, bundle(nobody)) == ("fact-conflict", "sub = ada")
    other = office.mint(subject="bo", facts={"seats": 3}, third_party=[login.asks()])
    assert refusal(office, bundle(other)) == ("caveat-refused", "sub = ada")


# What somebody still has to answer.


def test_a_holders_third_party_is_not_dropped(office: Any) -> None:
    """Without its discharge there is no exchange; with it, what the discharge says stays."""
    login = office.register()
    token = office.with_thirds(office.mint(third_party=[login.asks()]), "mine")
    genuine = login.discharge(token)
    assert refusal(office, office.bundle(token, genuine)) == ("discharge-missing", "https://who.example/")
    minted = office.authority.exchange(office.bundle(token, genuine, office.discharge("mine", "action = read")))
    assert all(caveat.vid is None for caveat in decode(minted.token).caveats)
    assert office.outcome(minted.token, action="read") == "allowed"
    assert office.denial(minted.token, action="write") == ("caveat-refused", "action = read")


def test_a_nested_third_party_is_not_dropped(office: Any) -> None:
    """Nor one of a discharge."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    outer, inner = asked(login.discharge(token), ("nested", "k")), office.discharge("nested", "floor = 1", key="k")
    assert refusal(office, office.bundle(token, outer)) == ("discharge-missing", "https://nested.example")
    minted = office.authority.exchange(office.bundle(token, outer, inner))
    assert office.outcome(minted.token, floor=1) == "allowed"
    assert office.outcome(minted.token, floor=2) == "caveat-refused"


def test_a_discharge_of_another_token_is_not_exchanged(office: Any) -> None:
    """Step 4 is the decision's: unbound, borrowed, forged."""
    login = office.register()
    token, other = (office.mint(third_party=[login.asks()]) for _ in range(2))
    good = login.discharge(token)
    assert office.authority.exchange(office.bundle(token, good))
    assert refusal(office, f"{token}~{good.serialize()}") == ("discharge-invalid", login.location)
    assert refusal(office, f"{token}~{office.bundle(other, good).partition('~')[2]}")[0] == "discharge-invalid"
    assert refusal(office, office.bundle(token, login.discharge(other))) == ("discharge-missing", login.location)


# Audiences.


def test_an_exchange_changes_no_audience(office: Any) -> None:
    """The new token is for the source's, under the source's key, and for no other."""
    login = office.register()
    office.authority.add_audience("photos")
    token = office.mint(audience="photos", third_party=[login.asks()])
    minted = office.authority.exchange(office.bundle(token, login.discharge(token)))
    assert minted.audience == "photos"
    assert parse(decode(minted.token).identifier).kid == parse(decode(token).identifier).kid
    assert office.outcome(minted.token, "photos") == "allowed"
    assert office.outcome(minted.token, "default") == office.outcome(minted.token, "capsvc") == "wrong-audience"


@pytest.mark.parametrize(
    ("bound", "covered"),
    [
        ("for.audience = photos", True),
        ("for.audience = default", False),
        ("for.audience in default,photos", True),
        ("for.sub = ada", True),
        ("for.sub = root", False),
    ],
)
def test_a_credential_for_another_target(office: Any, bound: str, covered: bool) -> None:
    """It is judged by the source as it is, whatever holders and discharges add: not covered looks like no token."""
    login = office.register()
    office.authority.add_audience("photos")
    token = office.mint(audience="photos", subject="ada", third_party=[login.asks()])
    narrowed = office.narrow(token, "audience in default,photos", "sub in ada,root")
    bundle = office.bundle(narrowed, login.discharge(narrowed, "audience in default,photos", "sub in ada,root"))
    admin = office.narrow(office.authority.admin_token(), bound)
    credential = office.authority.authenticate(admin, context={"action": "tokens:exchange"})
    if covered:
        assert office.authority.exchange(bundle, credential=credential).audience == "photos"
    else:
        assert refusal(office, bundle, credential) == ("invalid-token", None)


def test_a_restriction_to_an_audience_goes_along(office: Any) -> None:
    """One that does not hold forbids the new token, too."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    for audience, outcome in (("default", "allowed"), ("photos", "caveat-refused")):
        minted = office.authority.exchange(office.bundle(token, login.discharge(token, f"audience = {audience}")))
        assert office.outcome(minted.token) == outcome


def test_a_credential_of_the_service_is_never_exchanged(office: Any) -> None:
    """Narrowed, or with a third party that its holder added and discharged: forbidden all the same."""
    login = office.register()
    plain = office.mint(third_party=[login.asks()])
    assert office.authority.exchange(office.bundle(plain, login.discharge(plain)))
    admin = office.authority.admin_token()
    asking = office.with_thirds(admin, "mine")
    for bundle in (
        admin,
        office.narrow(admin, "for.audience = default"),
        asking,
        office.bundle(asking, office.discharge("mine")),
    ):
        with pytest.raises(RequestError) as error:
            office.authority.exchange(bundle)
        assert error.value.code == "forbidden"


# Time and keys.


def test_an_exchange_of_a_retiring_keys_token(office: Any) -> None:
    """It stays under that key: good as long as the source is, dead with the key."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    bundle = office.bundle(token, login.discharge(token))
    old = parse(decode(token).identifier).kid
    fresh = office.authority.rotate_key("default").kid
    assert {key.kid: key.state for key in office.authority.keys("default")} == {old: "retiring", fresh: "active"}
    minted = office.authority.exchange(bundle)
    assert parse(decode(minted.token).identifier).kid == old
    assert office.outcome(minted.token) == "allowed"
    office.authority.revoke(key=old)
    assert office.outcome(minted.token) == office.outcome(bundle) == "revoked"
    assert refusal(office, bundle) == ("revoked", None)
    assert refusal(office, minted.token) == ("revoked", None)


def test_an_exchange_after_our_own_pair_was_rotated(office: Any) -> None:
    """What was sealed before opens still; the rotation revokes nothing."""
    login = office.register()
    token = office.mint(third_party=[login.asks("c", "u")])
    bundle = office.bundle(token, login.discharge(token, u="ada"))
    office.authority.rotate_bakery_key()
    office.authority.rotate_bakery_key()
    minted = office.authority.exchange(bundle)
    assert office.outcome(minted.token) == office.outcome(bundle) == "allowed"


def test_no_lifetime_is_gained_by_exchanging_again(office: Any) -> None:
    """Ten times, each just before the end: the end stays where it was, and so does the beginning."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    bundle = office.bundle(token, login.discharge(token, f"time-before {instant(60)}", f"time >= {instant(0)}"))
    texts = [office.authority.exchange(bundle).token]
    office.clock.now += 59
    for _ in range(10):
        texts.append(office.authority.exchange(texts[-1]).token)
    assert {office.outcome(text) for text in texts} == {"allowed"}
    office.clock.now += 1
    assert {office.outcome(text) for text in texts} == {"expired"}
    assert refusal(office, texts[-1]) == refusal(office, bundle) == ("expired", None)
    office.clock.now -= 61
    assert {office.outcome(text) for text in texts} == {"not-yet-valid"}


def test_a_revocation_is_not_left_behind(office: Any) -> None:
    """Revoking the source kills a whole line of tokens, each made of the one before, however they were narrowed."""
    login = office.register()
    source = office.minted(third_party=[login.asks()])
    line = [office.authority.exchange(office.bundle(source.token, login.discharge(source.token)))]
    bystander = office.authority.exchange(office.mint())
    for number in range(5):
        line.append(office.authority.exchange(office.narrow(line[-1].token, f"floor >= {number}")))
    assert {office.outcome(one.token, floor=9) for one in line} == {"allowed"}
    office.authority.revoke(id=source.id)
    assert {office.outcome(one.token, floor=9) for one in line} == {"revoked"}
    assert office.outcome(bystander.token) == "allowed"
    for one in line:
        assert refusal(office, one.token) == ("revoked", None)
