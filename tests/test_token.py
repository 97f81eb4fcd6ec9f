"""Token: what a holder does without key or network."""

import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pymacaroons import Macaroon

from capsvc.errors import Denied, TokenError
from capsvc.macaroon.build import mint
from capsvc.macaroon.bundle import split
from capsvc.macaroon.chain import derive_key, verify
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, decode, encode
from capsvc.macaroon.discharges import match
from capsvc.token import HeldCaveat, ThirdParty, Token
from caveats import CaveatError

ROOT_KEY = bytes(range(32))
TID = "AAECAwQFBgcICQoLDA0ODw"
IDENTIFIER = f"cap1.0123456789abcdef.{TID}.1790000000.2".encode()
CAVEATS = ["time < 2026-11-22T12:00:00Z", "sub = alice"]
TEXT = mint(ROOT_KEY, "https://caps.example", IDENTIFIER, CAVEATS)
NOW = 1_790_000_000  # 2026-09-21T14:13:20Z
REFUSALS: tuple[type[TokenError | CaveatError], ...] = (TokenError, CaveatError)


def fixed() -> float:
    """A clock that stands at NOW, a little later than the whole second."""
    return NOW + 0.75


def bundle() -> str:
    """A token with a holder's third-party caveat, and its bound discharge."""
    root = Macaroon.deserialize(TEXT)
    root.add_third_party_caveat("https://auth.example", "secret", "cid")
    discharge = Macaroon(location="https://auth.example", identifier="cid", key="secret", version=2)
    discharge.add_first_party_caveat("time-before 2026-11-22T11:59:59.999999999Z")
    return f"{root.serialize()}~{root.prepare_for_request(discharge).serialize()}"


def refusal(step: Callable[[], object]) -> str:
    """The code with which a step refuses."""
    with pytest.raises(REFUSALS) as refused:
        step()
    code: str = refused.value.code
    return code


def test_what_a_token_shows() -> None:
    """Its id, caveats, expiry and origin; its text is what it was parsed from."""
    token = Token.parse(TEXT)
    assert token.id == TID
    assert token.identifier == IDENTIFIER.decode()
    assert token.caveats == tuple(CAVEATS)
    assert token.held_caveats == tuple(HeldCaveat(text, None, False) for text in CAVEATS)  # noqa: FBT003
    assert token.expires_at == datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert token.issued_at == datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
    assert token.issuer_caveats == 2
    assert token.location == "https://caps.example"
    assert str(token) == f"{token}" == token.to_v2() == TEXT
    assert not token.is_bundle
    assert token.discharges == ()


def test_a_macaroon_from_elsewhere() -> None:
    """No id of ours, no bound: shown as it is."""
    foreign = encode(UnverifiedMacaroon(None, b"\x03id\n", (RawCaveat(b"any thing\x1b[0m"),), bytes(32)))
    token = Token.parse(foreign)
    assert token.id == token.identifier == r"\x03id\x0a"
    assert token.caveats == (r"any thing\x1b[0m",)
    assert token.expires_at is None
    assert token.issued_at is None
    assert token.issuer_caveats == 0
    assert token.location is None
    assert str(token) == foreign
    assert Token.parse(encode(decode(foreign)._replace(location=b""))).location is None


@pytest.mark.parametrize(
    ("caveats", "expected"),
    [
        ([], None),
        (["sub = alice"], None),
        (["time >= 2026-01-01T00:00:00Z"], None),
        (["time < 2026-01-01T00:00:00Z"], "2026-01-01T00:00:00Z"),
        ([f"time < 2026-01-0{day}T00:00:00Z" for day in (2, 1, 3)], "2026-01-01T00:00:00Z"),
        (["time-before 2026-01-01T00:00:00.999999999Z"], "2026-01-01T00:00:00Z"),
        (["time-before 2026-01-01T00:00:00Z", "time < 2026-01-01T00:00:01Z"], "2026-01-01T00:00:00Z"),
        (["time < never", "no caveat", "time < 2026-01-01T00:00:00Z"], "2026-01-01T00:00:00Z"),
        (["time <2026-01-01T00:00:00Z"], None),
    ],
)  # fmt: skip
def test_the_earliest_bound_is_the_expiry(caveats: list[str], expected: str | None) -> None:
    """Of all upper bounds; what is no caveat states none. Fractions are rounded down."""
    token = Token.parse(mint(ROOT_KEY, "l", IDENTIFIER, caveats))
    assert token.expires_at == (datetime.fromisoformat(expected) if expected else None)


def test_a_third_partys_caveat_states_no_bound() -> None:
    """Its id is no caveat's text, even if it looks like one."""
    root = Macaroon.deserialize(TEXT)
    root.add_third_party_caveat("https://auth.example", "secret", "time < 2026-01-01T00:00:00Z")
    token = Token.parse(root.serialize())
    assert token.expires_at == datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert token.caveats[-1] == "https://auth.example"
    assert token.held_caveats[-1] == HeldCaveat("time < 2026-01-01T00:00:00Z", "https://auth.example", True)  # noqa: FBT003


def test_a_third_partys_caveat_without_location() -> None:
    """Named by its id."""
    macaroon = decode(TEXT)
    for location in (None, b""):
        caveat = RawCaveat(b"\x03\x00", bytes(72), location)
        token = Token.parse(encode(macaroon._replace(caveats=(caveat,))))
        assert token.caveats == (r"\x03\x00",)
        assert token.held_caveats == (HeldCaveat(r"\x03\x00", None, True),)  # noqa: FBT003


def test_a_narrower_token_is_another() -> None:
    """Caveats after its own, in order; the original is untouched, and both verify."""
    token = Token.parse(TEXT)
    narrower = token.attenuate("action in read,write", "floor = 1").attenuate("path under /a")
    assert narrower.caveats == (*CAVEATS, "action in read,write", "floor = 1", "path under /a")
    assert str(token) == TEXT
    assert verify(decode(str(narrower)), derive_key(ROOT_KEY))
    theirs = Macaroon.deserialize(TEXT)
    for caveat in narrower.caveats[2:]:
        theirs.add_first_party_caveat(caveat)
    assert str(narrower) == theirs.serialize()
    assert narrower == Token.parse(str(narrower)) != token


def test_a_ttl_counts_from_now() -> None:
    """Whole seconds, the clock's fraction dropped: never later than asked for."""
    token = Token.parse(TEXT).attenuate(ttl=300, clock=fixed)
    assert token.caveats[-1] == "time < 2026-09-21T14:18:20Z"
    assert token.expires_at == datetime(2026, 9, 21, 14, 18, 20, tzinfo=UTC)
    both = Token.parse(TEXT).attenuate("action in read", ttl=1, clock=fixed)
    assert both.caveats[2:] == ("action in read", "time < 2026-09-21T14:13:21Z")
    assert Token.parse(TEXT).attenuate(ttl=60).expires_at is not None


@pytest.mark.parametrize("ttl", [0, -1, True, False, 1.0, 0.5, "300", 10**12, 10**30, float("nan"), float("inf")])
def test_other_ttls_are_refused(ttl: Any) -> None:
    """Not over 0, no integer, or past what a caveat can say."""
    assert Token.parse(TEXT).attenuate(ttl=1, clock=fixed)
    assert refusal(lambda: Token.parse(TEXT).attenuate(ttl=ttl, clock=fixed)) == "caveat-malformed"
    assert refusal(lambda: Token.parse(TEXT).attenuate("action in read", ttl=ttl, clock=fixed)) == "caveat-malformed"


def test_nothing_to_add_is_refused() -> None:
    """A copy that passes for a narrower token is a mistake."""
    token = Token.parse(TEXT)
    assert refusal(token.attenuate) == "caveat-malformed"
    assert refusal(lambda: token.attenuate(attributes={})) == "caveat-malformed"
    assert refusal(lambda: token.attenuate("")) == "caveat-malformed"


@pytest.mark.parametrize(
    ("caveat", "code"),
    [
        ("action", "caveat-malformed"),
        ("action = read ", "caveat-malformed"),
        (" action = read", "caveat-malformed"),
        ("action = read\n", "caveat-malformed"),
        ("action ~ read", "caveat-malformed"),
        ("Action = read", "caveat-malformed"),
        ("action in write,read", "caveat-malformed"),
        ("action in ", "caveat-malformed"),
        ("floor = one two", "caveat-malformed"),
        ("time < tomorrow", "caveat-malformed"),
        ("path under /a/../b", "caveat-malformed"),
        ("é = 1", "caveat-malformed"),
        ("declared username alice", "caveat-unknown"),
        ("error no", "caveat-unknown"),
        ("std:time-before 2026-01-01T00:00:00Z", "caveat-unknown"),
    ],
)
def test_other_caveats_are_refused(caveat: str, code: str) -> None:
    """What the grammar refuses is not added, alone or after what it accepts."""
    token = Token.parse(TEXT)
    assert token.attenuate("action in read,write")
    assert refusal(lambda: token.attenuate(caveat)) == code
    assert refusal(lambda: token.attenuate("action in read", caveat)) == code


def test_names_that_an_operator_may_have_declared() -> None:
    """Unknown names must fit the grammar; what `attributes` declares is checked in full."""
    token = Token.parse(TEXT)
    attributes = {"floor": {"type": "integer"}, "plan": {"type": "word", "values": ["free", "team"]}}
    assert token.attenuate("floor in 1,2", "plan = gold", "for.audience = a")
    assert token.attenuate("floor in 1,2", "plan = team", attributes=attributes)
    assert refusal(lambda: token.attenuate("floor in b,a")) == "caveat-malformed"
    assert token.attenuate("floor in a,b")
    assert refusal(lambda: token.attenuate("floor in a,b", attributes=attributes)) == "caveat-malformed"
    assert refusal(lambda: token.attenuate("plan = gold", attributes=attributes)) == "caveat-malformed"
    assert refusal(lambda: token.attenuate("floor = 1", attributes={"floor": {"type": "number"}})) == "caveat-unknown"


def test_a_bundle_is_final() -> None:
    """It is shown, and presented as it is, but neither narrowed nor converted; its root alone is."""
    text = bundle()
    token = Token.parse(text)
    assert token.is_bundle
    assert str(token) == token.to_v2() == text
    assert token.id == TID
    assert token.caveats == (*CAVEATS, "https://auth.example")
    assert token.expires_at == datetime(2026, 11, 22, 11, 59, 59, tzinfo=UTC)
    (discharge,) = token.discharges
    assert (discharge.id, discharge.location) == ("cid", "https://auth.example")
    assert discharge.caveats == ("time-before 2026-11-22T11:59:59.999999999Z",)
    for step in (lambda: token.attenuate("action in read"), token.attenuate, token.to_v1, token.to_v2json):
        assert refusal(step) == "bound"
    assert Token.parse(text.partition("~")[0]).attenuate("action in read")


def test_the_other_formats_are_read_and_written() -> None:
    """V1 and V2 JSON of a token are that token; it is presented, and narrowed, as V2."""
    token = Token.parse(TEXT)
    for text in (token.to_v1(), token.to_v2json()):
        assert text != TEXT
        assert Token.parse(text) == token
        assert str(Token.parse(text)) == TEXT
        assert str(Token.parse(text).attenuate("floor = 1")) == str(token.attenuate("floor = 1"))
    theirs = Macaroon.deserialize(token.to_v1())
    assert theirs.signature == decode(TEXT).signature.hex()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "malformed"),
        (TEXT + "=", "malformed"),
        (TEXT + "\n", "malformed"),
        (" " + TEXT, "malformed"),
        (TEXT[:-1], "malformed"),
        (TEXT + "~", "malformed"),
        ("A" * 16_385, "too-large"),
        ("A~" * 17, "too-large"),
        ("é", "malformed"),
        (None, "malformed"),
        (TEXT.encode(), "malformed"),
        (7, "malformed"),
    ],
)
def test_other_text_is_no_token(text: Any, code: str) -> None:
    """TokenError is all that parse raises."""
    assert Token.parse(TEXT)
    assert refusal(lambda: Token.parse(text)) == code


def test_attenuation_keeps_to_the_bounds() -> None:
    """64 caveats, and not one more; 16 KiB."""
    token = Token.parse(TEXT)
    full = token.attenuate(*["floor = 1"] * 62)
    assert len(full.caveats) == 64
    assert refusal(lambda: full.attenuate("floor = 1")) == "too-large"
    long = "path under /" + "a" * 240
    assert token.attenuate(*[long] * 40)
    assert refusal(lambda: token.attenuate(*[long] * 50)) == "too-large"


def test_a_repr_hides_the_token() -> None:
    """It says which token, not what presents it."""
    token = Token.parse(bundle())
    shown = repr(token)
    assert shown == f"<Token '{TID}' with 3 caveats>"
    for part in str(token).split("~"):
        assert part not in shown
    assert repr([token]) == f"[{shown}]"


def test_a_token_is_a_value() -> None:
    """Equal to its like, hashable, unchangeable; a holder may hand it to another process."""
    token = Token.parse(TEXT)
    assert token == Token.parse(TEXT)
    assert {token: 1}[Token.parse(TEXT)] == 1
    text: object = TEXT
    assert token != text
    with pytest.raises((AttributeError, TypeError)):  # CPython's dataclasses with slots say TypeError
        token.extra = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        token._macaroons = ()  # type: ignore[misc]
    assert not hasattr(token, "__dict__")
    assert pickle.loads(pickle.dumps(token)) == token  # noqa: S301


def test_attributes_that_cannot_be_declared_are_a_caveat_error() -> None:
    """Nothing but the two errors of a holder comes out; a right declaration is taken."""
    token = Token.parse(TEXT)
    assert token.attenuate("plan = free", attributes={"plan": {"type": "word"}})
    for attributes in ({"plan": {"type": "bogus"}}, {"time": {"type": "word"}}, {"plan": 5}):
        with pytest.raises(CaveatError) as refused:
            token.attenuate("plan = free", attributes=attributes)
        assert refused.value.code == "caveat-unknown"


def conditional() -> tuple[Token, Token]:
    """A token with a third-party caveat, and the unbound discharge that answers it."""
    root = Macaroon.deserialize(TEXT)
    root.add_third_party_caveat("https://auth.example", "secret", "cid")
    discharge = Macaroon(location="https://auth.example", identifier="cid", key="secret", version=2)
    discharge.add_first_party_caveat("time-before 2026-11-22T11:59:59.999999999Z")
    return Token.parse(root.serialize()), Token.parse(discharge.serialize())


def test_bound_discharges_make_a_bundle() -> None:
    """Bound as pymacaroons binds them, in the order given; token and discharges stay as they were."""
    token, discharge = conditional()
    before = str(token), str(discharge)
    bound = token.bind(discharge)
    theirs = Macaroon.deserialize(str(token)).prepare_for_request(Macaroon.deserialize(str(discharge)))
    assert str(bound) == f"{token}~{theirs.serialize()}"
    assert bound.is_bundle
    assert (str(token), str(discharge)) == before
    assert str(bound.discharges[0]) != str(discharge)
    other = Token.parse(Macaroon(location="l", identifier="other", key="secret", version=2).serialize())
    assert [held.id for held in token.bind(other, discharge).discharges] == ["other", "cid"]
    assert token.bind() == token


def test_the_chain_verifies_what_was_bound() -> None:
    """A bundle made by `bind` passes the matching of discharges; the same discharge unbound does not."""
    token, discharge = conditional()
    root, bound = split(str(token.bind(discharge)))
    verified = verify(root, derive_key(ROOT_KEY))
    assert verified is not None
    assert match(verified, [bound])
    with pytest.raises(Denied, match="does not answer its caveat"):
        match(verified, [decode(str(discharge))])


def test_what_is_final_is_not_bound_again() -> None:
    """A bundle as the token, or among the discharges, is refused; as soon as it is taken apart, it is not."""
    token, discharge = conditional()
    bound = token.bind(discharge)
    assert refusal(lambda: bound.bind(discharge)) == "bound"
    assert refusal(bound.bind) == "bound"
    assert refusal(lambda: token.bind(discharge, bound)) == "bound"
    assert token.bind(discharge)


def test_a_bundle_keeps_to_the_bounds() -> None:
    """16 discharges and 192 caveats in all, and not one more; 32 KiB."""
    token, discharge = conditional()
    assert len(token.bind(*[discharge] * 16).discharges) == 16
    assert refusal(lambda: token.bind(*[discharge] * 17)) == "too-large"
    macaroon = Macaroon(location="l", identifier="i", key="secret", version=2)
    for _ in range(63):
        macaroon.add_first_party_caveat("floor = 1")
    many = Token.parse(macaroon.serialize())
    assert token.bind(many, many, many)  # 3 + 189
    assert refusal(lambda: token.bind(many, many, many, discharge)) == "too-large"
    long = discharge.attenuate(*["path under /" + "a" * 200] * 50)
    assert token.bind(long, long)
    assert refusal(lambda: token.bind(long, long, long)) == "too-large"


def test_which_third_parties_are_asked() -> None:
    """Their caveats' ids as octets and their locations as they are shown; first parties' are none of them."""
    assert Token.parse(TEXT).third_parties == ()
    token, discharge = conditional()
    assert token.third_parties == (ThirdParty(b"cid", "https://auth.example"),)
    assert discharge.raw_identifier == token.third_parties[0].id
    caveats = (RawCaveat(b"\x03\x00", bytes(72), None), RawCaveat(b"x"), RawCaveat(b"y", bytes(72), b"a\n\xff"))
    odd = Token.parse(encode(decode(TEXT)._replace(caveats=caveats)))
    assert odd.third_parties == (ThirdParty(b"\x03\x00", None), ThirdParty(b"y", r"a\x0a\xff"))
