"""Caveat ids: whose a discharger opens, and what of those that are not for it, or are no ids, it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from macaroonbakery import bakery, checkers
from macaroonbakery.bakery import _codec
from nacl.public import Box, PrivateKey, PublicKey

from capsvc.discharge import KeyPair
from capsvc.discharge.bakery import Refusal
from capsvc.discharge.conditions import MAX_NAMES, Conditions
from capsvc.discharge.waits import digest
from capsvc.macaroon.encoding import uvarint
from capsvc.macaroon.thirdparty import Channel, key_text

from .conftest import ROOT_KEY, Discharger, Serve, caveats, discharged, refused

OWN = KeyPair.generate()
FIRST = KeyPair.generate()
CHANNEL = Channel.of_first_party(FIRST, OWN.public)
LOW_ORDER = bytes(32)


def _trusting(*keys: KeyPair) -> Conditions:
    return Conditions([OWN], [key_text(one.public) for one in keys or (FIRST,)], allow_any=False)


def _sealed(secret: bytes, first: KeyPair = FIRST) -> bytes:
    """An id whose box holds any octets at all."""
    box = Box(PrivateKey(first.private()), PublicKey(OWN.public))
    return b"\3" + OWN.public[:4] + first.public + bytes(box.encrypt(secret))


def _secret(condition: bytes, root_key: bytes = ROOT_KEY, namespace: bytes = b"std:", version: bytes = b"\3") -> bytes:
    return version + uvarint(len(root_key)) + root_key + uvarint(len(namespace)) + namespace + condition


def test_what_an_id_holds() -> None:
    """Root key, condition, names, whose it is, and the digest that logins know it by; the key is not shown."""
    caveat = CHANNEL.seal(ROOT_KEY, "need-declared a,b,a is it so")
    wanted = _trusting().open(caveat)
    assert wanted == (ROOT_KEY, "is it so", ("a", "b"), FIRST.public, digest(caveat))
    assert repr(wanted) == "<Wanted 'is it so'>"


@pytest.mark.parametrize("namespace", [b"std:", b"std: http://x:y", b"x:y std:", b"other:o std:"])
def test_namespaces_that_speak_std(namespace: bytes) -> None:
    """Any namespace is taken that gives bakery's own conditions the empty prefix."""
    assert _trusting().open(_sealed(_secret(b"holds", namespace=namespace))).condition == "holds"


OTHER = KeyPair.generate()


def _bad_ids() -> dict[str, Callable[[], bytes]]:
    good = CHANNEL.seal(ROOT_KEY, "holds")
    return {
        "empty": lambda: b"",
        "garbage": lambda: b"garbage" * 20,
        "garbage of the right version": lambda: b"\3" + b"garbage" * 20,
        "version 0": lambda: b"\0" + good[1:],
        "version 2 outside": lambda: b"\2" + good[1:],
        "version 2 inside": lambda: _sealed(_secret(b"holds", version=b"\2")),
        "version 4": lambda: b"\4" + good[1:],
        "truncated to its head": lambda: good[:37],
        "truncated in its nonce": lambda: good[:50],
        "truncated at the end": lambda: good[:-1],
        "with something after it": lambda: good + b"\0",
        "made for another discharger": lambda: Channel.of_first_party(FIRST, OTHER.public).seal(ROOT_KEY, "holds"),
        "for another discharger of our prefix": lambda: (
            b"\3" + OWN.public[:4] + Channel.of_first_party(FIRST, OTHER.public).seal(ROOT_KEY, "holds")[5:]
        ),
        "changed in its box": lambda: good[:-1] + bytes([good[-1] ^ 1]),
        "another's box under a trusted key": lambda: (
            good[:5] + FIRST.public + Channel.of_first_party(OTHER, OWN.public).seal(ROOT_KEY, "holds")[37:]
        ),
        "with an empty root key": lambda: _sealed(_secret(b"holds", root_key=b"")),
        "with a root key that runs past the end": lambda: _sealed(b"\3\x7frrr"),
        "with nothing in its box": lambda: _sealed(b""),
        "with an empty namespace": lambda: _sealed(_secret(b"holds", namespace=b"")),
        "with a namespace that prefixes std": lambda: _sealed(_secret(b"holds", namespace=b"std:x")),
        "without a condition": lambda: _sealed(_secret(b"")),
        "with a condition that is no UTF-8": lambda: _sealed(_secret(b"\xff")),
        "with a newline in its condition": lambda: _sealed(_secret(b"holds\nholds")),
        "with a NUL in its condition": lambda: _sealed(_secret(b"holds\0")),
        "with a character that turns text around": lambda: _sealed(_secret("holds\u202e".encode())),
        "with names and no condition": lambda: _sealed(_secret(b"need-declared a")),
        "with names and an empty condition": lambda: _sealed(_secret(b"need-declared a ")),
        "with no names": lambda: _sealed(_secret(b"need-declared  holds")),
        "with an empty name": lambda: _sealed(_secret(b"need-declared a,,b holds")),
        "with a name that is none": lambda: _sealed(_secret(b"need-declared a\xc3\xbc holds")),
        "with a name that is too long": lambda: _sealed(_secret(b"need-declared " + b"a" * 65 + b" holds")),
        "with too many names": lambda: _sealed(_secret(b"need-declared %s holds" % _names(MAX_NAMES + 1))),
    }


def _names(number: int) -> bytes:
    return ",".join(f"n{index}" for index in range(number)).encode()


@pytest.mark.parametrize("about", _bad_ids())
def test_ids_that_are_refused(about: str) -> None:
    """What is no id of version 3 for this key, or holds no condition, is bakery's 400, whatever is wrong with it."""
    with pytest.raises(Refusal) as caught:
        _trusting().open(_bad_ids()[about]())
    assert (caught.value.status, caught.value.code) == (400, "bad request")


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (b"need-declared \xc3\xbc holds", "a name that is to be declared is none"),
        (b"need-declared a", "the caveat holds no condition"),
        (b"\xff", "the caveat holds no condition"),
        (b"", "the caveat's condition is empty, or not printable"),
    ],
)
def test_what_is_wrong_is_said(condition: bytes, message: str) -> None:
    """Whoever made the caveat learns what a discharger cannot read in it."""
    with pytest.raises(Refusal) as caught:
        _trusting().open(_sealed(_secret(condition)))
    assert str(caught.value) == message


def test_every_octet_counts() -> None:
    """An id with any one bit changed is refused; that of a key, as one of a first party that is not trusted."""
    good = CHANNEL.seal(ROOT_KEY, "holds")
    assert _trusting().open(good).condition == "holds"
    for index in range(len(good)):
        changed = good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :]
        with pytest.raises(Refusal) as caught:
            _trusting().open(changed)
        assert caught.value.status == (401 if 5 <= index < 37 else 400), index
        with pytest.raises(Refusal) as caught:
            Conditions([OWN], (), allow_any=True).open(changed)
        assert caught.value.status == 400, index


def test_the_most_names() -> None:
    """63 names and the expiry are the 64 caveats that a token can have."""
    wanted = _trusting().open(_sealed(_secret(b"need-declared %s holds" % _names(MAX_NAMES))))
    assert len(wanted.names) == MAX_NAMES == 63


@pytest.mark.parametrize("version", [bakery.VERSION_1, bakery.VERSION_2])
def test_older_ids_of_bakerys_own(plain: Discharger, version: int) -> None:
    """What macaroonbakery itself writes in versions 1 and 2 is refused, and its version 3 answered."""
    assert discharged(plain.ask(_bakerys(plain, bakery.VERSION_3)), root_key=ROOT_KEY)
    old = _bakerys(plain, version)
    refused(plain.http.post("/discharge", data={"id64": old.hex()}), 400, "bad request")
    refused(plain.ask(old), 400, "bad request")


def _bakerys(plain: Discharger, version: int) -> bytes:
    info = bakery.ThirdPartyInfo(version=version, public_key=bakery.PublicKey(PublicKey(plain.key.public)))
    pair = bakery.PrivateKey(PrivateKey(plain.first.private()))
    made: Any = _codec.encode_caveat("holds", ROOT_KEY, info, pair, checkers.Namespace({checkers.STD_NAMESPACE: ""}))
    return bytes(made)


def test_first_parties_that_are_not_trusted() -> None:
    """Another's id is refused as such, before its box is looked at; one of the trusted ones is answered."""
    others = Channel.of_first_party(OTHER, OWN.public).seal(ROOT_KEY, "holds")
    for caveat in (others, others[:-1]):
        with pytest.raises(Refusal) as caught:
            _trusting().open(caveat)
        assert (caught.value.status, caught.value.code) == (401, "permission denied")
    assert _trusting(FIRST, OTHER).open(others).first_party == OTHER.public
    assert Conditions([OWN], (), allow_any=True).open(others).first_party == OTHER.public


def test_keys_that_keep_no_secret() -> None:
    """Where any first party is answered, one whose key is of low order is not: anybody could have made its ids."""
    with pytest.raises(Refusal) as caught:
        Conditions([OWN], (), allow_any=True).open(b"\3" + OWN.public[:4] + LOW_ORDER + bytes(80))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("trust", "allow_any"),
    [((), False), ((key_text(FIRST.public),), True), (("no key",), False), ((key_text(LOW_ORDER),), False)],
)
def test_whom_to_trust_has_to_be_said(trust: tuple[str, ...], allow_any: bool) -> None:
    """Nobody, somebody beside anybody, and what is no key are all refused."""
    with pytest.raises(ValueError, match=r"key"):
        Conditions([OWN], trust, allow_any=allow_any)


def test_former_keys(serve: Serve) -> None:
    """What was asked under a key that was replaced is still answered; under one that was not its own, it is not."""
    former = KeyPair.generate()
    discharger = serve(former_keys=[former, KeyPair.generate()])
    for key in (former.public, discharger.key.public):
        caveat = Channel.of_first_party(discharger.first, key).seal(ROOT_KEY, "holds")
        assert discharged(discharger.ask(caveat)).identifier == caveat
        refused(discharger.ask(caveat[:-1]), 400, "bad request")
    foreign = Channel.of_first_party(discharger.first, OTHER.public).seal(ROOT_KEY, "holds")
    refused(discharger.ask(foreign), 400, "bad request")
    assert discharger.http.get("/publickey").json() == {"PublicKey": key_text(discharger.key.public)}


def test_over_http(plain: Discharger, serve: Serve) -> None:
    """Who is not trusted gets 401, a foreign id 400; a discharger for any first party answers any."""
    refused(plain.ask(plain.caveat(first=OTHER)), 401, "permission denied")
    refused(plain.ask(CHANNEL.seal(ROOT_KEY, "holds")), 400, "bad request")
    refused(plain.ask(plain.caveat()[:-1]), 400, "bad request")
    anybodys = serve(allow_any=True)
    assert caveats(discharged(anybodys.ask(anybodys.caveat(first=OTHER)))) == ["time-before 2026-11-22T12:05:00Z"]
