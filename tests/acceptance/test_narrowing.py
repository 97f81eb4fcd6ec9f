"""A token of the real service, narrowed by three programs: each verifies, and refuses what the added caveat refuses."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import TYPE_CHECKING, TypeAlias

import pytest
from pymacaroons import Macaroon

from capsvc import Token

if TYPE_CHECKING:
    from tests.acceptance.conftest import Running

Narrower: TypeAlias = "Callable[[Running, str, str], str]"


def by_pymacaroons(_service: Running, token: str, caveat: str) -> str:
    """As somebody would who has never heard of capsvc."""
    macaroon = Macaroon.deserialize(token)
    macaroon.add_first_party_caveat(caveat)
    return str(macaroon.serialize())


def by_token(_service: Running, token: str, caveat: str) -> str:
    """By the library that comes with capsvc."""
    return str(Token.parse(token).attenuate(caveat))


def by_command_line(service: Running, token: str, caveat: str) -> str:
    """By the command line, which opens no connection for it."""
    done = service.command("attenuate", "--caveat", caveat, given=f"{token}\n")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.removesuffix("\n")


NARROWERS = (by_pymacaroons, by_token, by_command_line)
CASES = (
    ("action in read,write", {"action": "read"}, {"action": "delete"}),
    ("floor in -1,2", {"floor": 2}, {"floor": 1}),
    ("path under /invoices", {"path": "/invoices/7"}, {"path": "/invoicesx"}),
    ("ip in 2001:db8::/32", {"ip": "2001:db8::7"}, {"ip": "2001:db9::7"}),
    ("host = api.example.org", {"host": "api.example.org"}, {"host": "example.org"}),
)
DIGEST = "sha256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"


@pytest.mark.parametrize("narrow", NARROWERS)
@pytest.mark.parametrize(("caveat", "fits", "does_not"), CASES, ids=[case[0] for case in CASES])
def test_each_narrows_as_it_says(
    service: Running, narrow: Narrower, caveat: str, fits: dict[str, object], does_not: dict[str, object]
) -> None:
    """What the caveat lets through is allowed; all else is refused by it, and allowed to the token before."""
    token = service.mint(subject="ada")
    narrowed = narrow(service, token, caveat)
    assert narrowed != token
    assert service.verify(narrowed, **fits) == "allowed"
    assert service.verify(narrowed, **does_not) == f"caveat-refused: {caveat}"
    assert service.verify(narrowed) == f"context-missing: {caveat}"
    assert service.verify(token, **does_not) == "allowed"


def test_the_three_write_the_same_token(service: Running) -> None:
    """One spelling for everybody: narrowed in the same way, it is the same text."""
    token = service.mint(subject="ada", caveats=["action in read,write"])
    written = {narrow(service, token, f"build = {DIGEST}") for narrow in NARROWERS}
    assert len(written) == 1
    assert service.verify(written.pop(), action="read", build=DIGEST) == "allowed"


def test_one_narrows_what_another_narrowed(service: Running) -> None:
    """In every order, each caveat counts, and revoking one point of the chain spares what is above it."""
    for order in permutations(NARROWERS):
        token = service.mint()
        chain = [token]
        for narrow, caveat in zip(order, ("floor = 1", "action = read", "path under /a"), strict=True):
            chain.append(narrow(service, chain[-1], caveat))
        good: dict[str, object] = {"floor": 1, "action": "read", "path": "/a/b"}
        assert service.verify(chain[-1], **good) == "allowed"
        assert service.verify(chain[-1], **good | {"floor": 2}) == "caveat-refused: floor = 1"
        assert service.verify(chain[-1], **good | {"action": "write"}) == "caveat-refused: action = read"
        assert service.verify(chain[-1], **good | {"path": "/b"}) == "caveat-refused: path under /a"
        service.post("/v1/revocations", {"token": chain[2]})
        assert [service.verify(link, **good) for link in chain] == [
            "allowed",
            "allowed",
            "revoked: None",
            "revoked: None",
        ]


def test_none_can_widen(service: Running) -> None:
    """A caveat that sounds wider, a fact that is not the issuer's and a later expiry change nothing."""
    token = service.mint(subject="ada", caveats=["floor = 1"])
    for narrow in NARROWERS:
        assert service.verify(narrow(service, token, "floor in 1,2"), floor=2) == "caveat-refused: floor = 1"
        assert service.verify(narrow(service, token, "sub = bo"), floor=1) == "caveat-refused: sub = bo"
        assert service.verify(narrow(service, token, "client = web"), floor=1) == "fact-conflict: client = web"
        later = narrow(service, token, "time < 2099-12-31T23:59:59Z")
        answer = service.post("/v1/verify", {"token": later, "audience": "default", "context": {"floor": 1}})
        assert answer["allowed"] is True
        assert answer["expires_at"] < "2099"


def test_what_capsvc_would_not_write_is_refused_from_others(service: Running) -> None:
    """Others add any text; the service refuses what is no caveat of its language, by its code."""
    token = service.mint()
    for text, code in (
        ("floor = 01", "caveat-malformed"),
        ("floor in 2,1", "caveat-malformed"),
        ("colour = red", "caveat-unknown"),
        ("room 101 only", "caveat-malformed"),
    ):
        assert service.verify(by_pymacaroons(service, token, text), floor=1) == f"{code}: {text}"


def test_the_command_line_decides_the_same(service: Running) -> None:
    """`capsvc verify` allows and denies what the service does, with its exit code."""
    narrowed = by_token(service, service.mint(), "floor = 1")
    allowed = service.command("verify", "--context", "floor=1", given=narrowed)
    assert (allowed.returncode, allowed.stdout.splitlines()[0]) == (0, "allowed")
    denied = service.command("verify", "--context", "floor=2", given=narrowed)
    assert (denied.returncode, denied.stdout) == (1, "denied: caveat-refused\ncaveat: floor = 1\n")
