"""Discharges that are missing, forged, borrowed or bound elsewhere, for third parties that the issuer asks."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from pymacaroons import Macaroon

from capsvc.errors import Denied
from capsvc.macaroon import identifier
from capsvc.macaroon.chain import extend
from capsvc.macaroon.decode import decode, encode
from capsvc.macaroon.thirdparty import read_parties

from .nesting import NESTED, asked

# Missing, and made by somebody else.


def test_a_missing_discharge_is_never_a_satisfied_one(office: Any) -> None:
    """Of the issuer's, a holder's and a nested caveat each one left out, all of them, or all but one's own."""
    login = office.register()
    token = office.with_thirds(office.mint(third_party=[login.asks()]), "mine")
    given = {
        login.location: asked(login.discharge(token), ("nested", "k")),
        "https://who.example/": office.discharge("mine"),
        NESTED: office.discharge("nested", key="k"),
    }
    assert office.outcome(office.bundle(token, *given.values())) == "allowed"
    for missing in given:
        some = [one for location, one in given.items() if location != missing]
        for explain in (False, True):
            with pytest.raises(Denied) as denied:
                office.grant(office.bundle(token, *some), explain=explain)
            assert (denied.value.code, denied.value.caveat) == ("discharge-missing", missing)
    assert office.denial(token) == ("discharge-missing", login.location)


def test_a_discharge_under_every_key_that_is_not_a_secret(office: Any) -> None:
    """Both public keys, the caveat id, the vid, the location, all zeros, the issuer's identifier; the right key cut."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    ((caveat_id, root_key, _),) = login.questions(token)
    caveat = decode(token).caveats[-1]
    assert office.outcome(office.bundle(token, office.discharge(caveat_id, key=root_key))) == "allowed"
    assert caveat.vid is not None
    for key in (
        login.pair.public,
        office.authority._follower.view().registry.public_key,
        caveat_id,
        caveat.vid,
        caveat.location,
        bytes(32),
        decode(token).identifier,
        root_key[:-1],
        root_key + b"\0",
        root_key.hex(),
    ):
        forged = office.discharge(caveat_id, key=key)
        assert office.denial(office.bundle(token, forged)) == ("discharge-invalid", login.location)


def test_signatures_that_need_no_key(office: Any) -> None:
    """Zeros, ones, the root's own signature, the caveat's MAC: none is the binding of anything."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    good = office.bundle(token, login.discharge(token))
    root, discharge = map(decode, good.split("~"))
    assert office.outcome(good) == "allowed"
    for signature in (bytes(32), b"\xff" * 32, root.signature, discharge.identifier[:32]):
        forged = encode(discharge._replace(signature=signature))
        assert office.denial(f"{token}~{forged}") == ("discharge-invalid", login.location)
    for length in (0, 16, 31, 33):
        short = encode(discharge._replace(signature=discharge.signature.ljust(33)[:length]))
        assert office.denial(f"{token}~{short}") == ("malformed", None)


def test_a_caveat_that_nobody_can_answer_is_not_dropped(office: Any) -> None:
    """A holder's with a key that nobody has, or a vid that opens for nobody: the token is good for nothing."""
    token = office.with_thirds(office.mint(), "mine")
    assert office.outcome(office.bundle(token, office.discharge("mine"))) == "allowed"
    assert office.denial(token) == ("discharge-missing", "https://who.example/")
    macaroon = decode(token)
    lost = macaroon.caveats[-1]._replace(vid=bytes(72))
    broken = macaroon._replace(caveats=(*macaroon.caveats[:-1], lost), signature=macaroon.signature)
    assert office.outcome(encode(broken)) == "invalid-token"
    plain = decode(office.mint())
    signed = encode(plain._replace(caveats=(*plain.caveats, lost), signature=extend(plain.signature, lost)))
    assert office.denial(signed) == ("discharge-invalid", "https://who.example/")


# Discharges and roots, each in the other's place.


def test_a_discharge_presented_as_a_root(office: Any) -> None:
    """Alone, first in its own bundle, and one whose id a holder made look like a root's: none is ours."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    discharge = login.discharge(token)
    assert office.outcome(office.bundle(token, discharge)) == "allowed"
    bound = office.bundle(token, discharge).partition("~")[2]
    for text in (str(discharge.serialize()), bound, f"{bound}~{token}", f"{discharge.serialize()}~{bound}"):
        assert office.denial(text) == ("invalid-token", None)
    name = decode(token).identifier.decode()
    asking = office.with_thirds(office.mint(), name)
    posing = office.discharge(name)
    assert office.outcome(office.bundle(asking, posing)) == "allowed"
    assert office.denial(str(posing.serialize())) == ("invalid-token", None)
    assert office.denial(office.bundle(asking, posing).partition("~")[2]) == ("invalid-token", None)


def test_a_root_presented_as_a_discharge(office: Any) -> None:
    """Another token of the same issuer, bound or not, or the token itself, answers nothing."""
    login = office.register()
    token, other = office.mint(third_party=[login.asks()]), office.mint()
    good = login.discharge(token)
    assert office.outcome(office.bundle(token, good)) == "allowed"
    for root in (other, token):
        whole = Macaroon.deserialize(root)
        assert office.denial(office.bundle(token, whole)) == ("discharge-missing", login.location)
        assert office.denial(f"{token}~{root}") == ("discharge-missing", login.location)
        assert office.denial(office.bundle(token, good, whole)) == ("discharge-unused", None)
    named = office.with_thirds(token, decode(other).identifier.decode())
    both = office.bundle(named, login.discharge(named), Macaroon.deserialize(other))
    assert office.denial(both) == ("discharge-invalid", "https://who.example/")


def test_an_identifier_of_ours_is_no_caveat_id_and_none_of_those_is_ours(office: Any) -> None:
    """So that a service which is issuer and discharger at once cannot take the one for the other."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    ((caveat_id, _, _),) = login.questions(token)
    assert read_parties(caveat_id)
    assert identifier.parse(decode(token).identifier)
    with pytest.raises(ValueError, match="version 3"):
        read_parties(decode(token).identifier)
    with pytest.raises(ValueError, match="identifier"):
        identifier.parse(caveat_id)


# Binding.


def test_the_root_narrowed_after_binding(office: Any) -> None:
    """A bundle is final; whoever wants less narrows the root first, and then it holds."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    bundle = office.bundle(token, login.discharge(token))
    assert office.outcome(bundle, action="write") == "allowed"
    narrowed = office.narrow(token, "action = read")
    bound = bundle.partition("~")[2]
    assert office.denial(f"{narrowed}~{bound}") == ("discharge-invalid", login.location)
    anew = office.bundle(narrowed, login.discharge(narrowed))
    assert office.denial(anew, action="write") == ("caveat-refused", "action = read")
    assert office.outcome(anew, action="read") == "allowed"
    assert office.denial(f"{token}~{anew.partition('~')[2]}") == ("discharge-invalid", login.location)


def test_a_bound_discharge_cannot_be_narrowed_or_widened(office: Any) -> None:
    """Nobody can add to it, as nobody can take away: its signature is no point of its chain any more."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    bundle = office.bundle(token, login.discharge(token, "action = read"))
    assert office.outcome(bundle, action="read") == "allowed"
    root, discharge = bundle.split("~")
    assert office.denial(f"{root}~{office.append(discharge, b'floor = 1')}") == ("discharge-invalid", login.location)
    bare = encode(decode(discharge)._replace(caveats=()))
    assert office.denial(f"{root}~{bare}") == ("discharge-invalid", login.location)


def test_a_nested_discharge_bound_to_its_parent(office: Any) -> None:
    """All are bound to the root; a parent is no root."""
    login = office.register()
    token = office.mint(third_party=[login.asks()])
    outer, inner = asked(login.discharge(token), ("nested", "k")), office.discharge("nested", key="k")
    good = office.bundle(token, outer, inner)
    assert office.outcome(good) == "allowed"
    to_parent = outer.prepare_for_request(inner).serialize()
    assert office.denial("~".join([*good.split("~")[:2], to_parent])) == ("discharge-invalid", NESTED)


# Locations.


@pytest.mark.parametrize("where", ["http://169.254.169.254/latest/", "https://localhost:1/x", "file:///etc/passwd"])
def test_nobody_is_called_because_a_token_says_so(office: Any, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Registering, minting, deciding, exchanging: no socket is opened, and no name looked up."""

    def never(*_: object, **__: object) -> Any:
        raise AssertionError("a connection was opened")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, never)
    monkeypatch.setattr(socket, "getaddrinfo", never)
    login = office.register()
    token = office.with_thirds(office.mint(third_party=[login.asks()]), "mine", location=where)
    bundle = office.bundle(token, login.discharge(token), office.discharge("mine"))
    assert office.outcome(bundle) == "allowed"
    assert office.outcome(office.authority.exchange(bundle).token) == "allowed"
    assert office.denial(office.bundle(token, login.discharge(token))) == ("discharge-missing", where)
    office.authority.remove_discharger("login")
    assert office.denial(bundle) == ("discharge-invalid", login.location)


def test_locations_that_change_places(office: Any) -> None:
    """They are outside the MAC: whoever exchanges them changes who is named in a denial, and nothing else."""
    login, till = office.register("login"), office.register("till")
    token = office.mint(third_party=[login.asks("c", "u"), till.asks("c", "u")])
    given = [login.discharge(token, u="ada"), till.discharge(token, u="bo")]
    macaroon = decode(token)
    first, second = macaroon.caveats[-2:]
    moved = (first._replace(location=second.location), second._replace(location=first.location))
    crossed = encode(macaroon._replace(caveats=(*macaroon.caveats[:-2], *moved)))
    told = {"login": {"u": "ada"}, "till": {"u": "bo"}}
    for text in (token, crossed):
        assert office.grant(office.bundle(text, *given)).declared == told
    assert office.denial(office.bundle(crossed, given[1])) == ("discharge-missing", till.location)
