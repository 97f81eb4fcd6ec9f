"""The bodies that both ends speak."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from capsvc import wire
from capsvc.errors import SENTENCES, Denied
from capsvc.grants import (
    Audience,
    BakeryKey,
    Discharger,
    Grant,
    KeyInfo,
    Minted,
    MintedBy,
    Revocation,
    TokenRow,
    Verdict,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ISSUED: dict[str, Any] = {
    "id": "A" * 22,
    "audience": "default",
    "subject": None,
    "facts": {"seats": 2},
    "label": "x",
    "issued_at": NOON,
    "expires_at": NOON + timedelta(hours=1),
    "caveats": ("time < 2026-11-22T13:00:00Z",),
}
PARTY = {
    "name": "login",
    "location": "https://id.example.org",
    "public_key": "A" * 43 + "=",
    "next_public_key": None,
    "created_at": "2026-11-22T12:00:00Z",
}
GRANT = Grant(
    id="A" * 22,
    audience="default",
    subject="alice",
    issued_at=NOON,
    expires_at=NOON,
    facts={},
    declared={"bank": {"iban": "DE 1"}},
    caveats=("a = b",),
    verdicts=(Verdict("a = b", "holder", "satisfied"),),
    kid="0" * 16,
    branches=("B" * 43,),
)


def test_minted_goes_both_ways() -> None:
    """Mint's answer read back is the value that it was."""
    minted = Minted(token="secret", **ISSUED)
    assert list(wire.minted_object(minted)) == ["token", *ISSUED]
    assert wire.read_minted(wire.minted_object(minted)) == minted


@pytest.mark.parametrize("by", [None, MintedBy("A" * 22, "B" * 43)])
def test_rows_go_both_ways(by: MintedBy | None) -> None:
    """A token row read back is the value that it was, but for its place."""
    row = TokenRow(**ISSUED, state="live", minted_by=by, seq=7)
    body = wire.token_row_object(row)
    assert list(body) == [*ISSUED, "state", "minted_by"]
    assert wire.token_row_object(wire.read_token_row(body)) == body


def test_grants_go_both_ways() -> None:
    """A grant read back is the value that it was, with what was asked for beside it."""
    body = wire.grant_object(GRANT, explain=True, prefix=True)
    assert body["verdicts"] == [{"caveat": "a = b", "from": "holder", "verdict": "satisfied"}]
    assert wire.read_decision(body) == GRANT
    assert not {"verdicts", "kid", "branches"} & wire.grant_object(GRANT).keys()


def test_denials_go_both_ways() -> None:
    """A denial read back is raised, with the same code, caveat and verdicts."""
    denied = Denied("caveat-refused", "a = b")
    denied.verdicts = (Verdict("a = b", "holder", "caveat-refused"),)
    body = wire.denial_object(denied, explain=True)
    assert body["message"] == SENTENCES["caveat-refused"]
    with pytest.raises(Denied) as caught:
        wire.read_decision(body)
    assert (str(caught.value), caught.value.detail) == (SENTENCES["caveat-refused"], "")
    assert (caught.value.code, caught.value.caveat, caught.value.verdicts) == (
        "caveat-refused",
        "a = b",
        denied.verdicts,
    )


SENTENCE = SENTENCES["context-invalid"]


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        (SENTENCE, ""),
        (f"{SENTENCE} 'floor': no.", "'floor': no."),
        ("", ""),
        ("it is of a later version", "it is of a later version"),
        (f"{SENTENCE} \x1b[2Jé\n\ud800", r"\x1b[2J\xc3\xa9\x0a\xed\xa0\x80"),
        (f"{SENTENCE} the token {'A' * 80}", "the token ..."),
        (f"{SENTENCE} {'no ' * 10_000}", ("no " * 100)[:299].strip()),
    ],
)
def test_what_a_message_says_beyond_its_code(message: str, detail: str) -> None:
    """Somebody else's words are kept, in plain characters, bounded, without what could be a token."""
    with pytest.raises(Denied) as caught:
        wire.read_decision({"allowed": False, "code": "context-invalid", "message": message, "caveat": None})
    assert caught.value.detail == detail
    assert str(caught.value) == f"{SENTENCE} {detail}".strip()


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "allowed",
        {},
        {**wire.grant_object(GRANT), "allowed": 1},
        {**wire.grant_object(GRANT), "allowed": "true"},
        {**wire.grant_object(GRANT), "expires_at": 5},
        {**wire.grant_object(GRANT), "subject": 5},
        {"allowed": True},
        {"allowed": False},
        {"allowed": False, "code": "of another world", "message": "x", "caveat": None},
        {"allowed": False, "code": 5, "message": "x", "caveat": None},
    ],
)
def test_answers_of_no_shape(body: Any) -> None:
    """Only an answer of its shape is a decision; whatever else comes is neither a grant nor a denial."""
    with pytest.raises(ValueError, match="answer is not of its shape"):
        wire.read_decision(body)


def test_more_fields_may_come() -> None:
    """A reader passes over fields that a newer service adds."""
    assert wire.read_decision({**wire.grant_object(GRANT), "mood": "fine"}).id == GRANT.id


def test_small_values_go_both_ways() -> None:
    """Revocations, audiences, keys and pages read back are what they were."""
    revocation = Revocation("id", "default", NOON, repeated=True)
    assert wire.read_revocation(wire.revocation_object(revocation), repeated=True) == revocation
    audience = Audience("default", 60, NOON)
    assert wire.read_audience(wire.audience_object(audience)) == audience
    key = KeyInfo("0" * 16, "default", "active", NOON)
    assert wire.read_key(wire.key_object(key), audience="default") == key
    discharger = Discharger("login", "https://id.example.org", "A" * 43 + "=", None, NOON)
    assert list(wire.discharger_object(discharger)) == [
        "name", "location", "public_key", "next_public_key", "created_at",
    ]  # fmt: skip
    assert wire.read_discharger(wire.discharger_object(discharger)) == discharger
    pair = BakeryKey("A" * 43 + "=", "retiring", NOON)
    assert wire.read_bakery_key(wire.bakery_key_object(pair)) == pair
    assert wire.read_page({"keys": [{"a": 1}], "next": "keys.1"}, "keys") == ([{"a": 1}], "keys.1")
    assert wire.read_page({"keys": [], "next": None}, "keys") == ([], None)


@pytest.mark.parametrize(
    "body", [[], {}, {"keys": {}, "next": None}, {"keys": [1], "next": None}, {"keys": [], "next": 1}]
)
def test_pages_of_no_shape(body: Any) -> None:
    """A page is a list of objects and a cursor or null."""
    with pytest.raises(ValueError, match="answer is not of its shape"):
        wire.read_page(body, "keys")


def test_requests_leave_out_what_is_not_given() -> None:
    """A request holds what was given, zero and empty text included."""
    assert wire.mint_request(audience="a", ttl=0, subject="") == {"audience": "a", "ttl": 0, "subject": ""}
    assert wire.mint_request(
        audience="a", expires_at=NOON, facts={"x": 1}, caveats=("y = z",), third_party=({"location": "l"},), label="m"
    ) == {
        "audience": "a",
        "expires_at": "2026-11-22T12:00:00Z",
        "facts": {"x": 1},
        "caveats": ["y = z"],
        "third_party": [{"location": "l"}],
        "label": "m",
    }
    assert wire.verify_request("t", audience="a") == {"token": "t", "audience": "a"}
    assert wire.verify_request("t", audience="a", context={"x": 0}, explain=True, prefix=True) == {
        "token": "t",
        "audience": "a",
        "context": {"x": 0},
        "explain": True,
        "prefix": True,
    }
    assert wire.revocation_request(audience="a", subject="s", before=NOON) == {
        "audience": "a",
        "subject": "s",
        "before": "2026-11-22T12:00:00Z",
    }


def test_requests_about_third_parties() -> None:
    """What is not given is left out, but for a next key that is to go."""
    registration = {"name": "login", "location": "https://id.example.org", "public_key": "a"}
    assert wire.discharger_request(**registration) == registration
    assert wire.discharger_request(**registration, next_public_key="b") == {**registration, "next_public_key": "b"}
    assert wire.discharger_change(public_key="a") == {"public_key": "a"}
    assert wire.discharger_change(next_public_key="b") == {"next_public_key": "b"}
    assert wire.discharger_change(public_key="a", clear_next=True) == {"public_key": "a", "next_public_key": None}
    assert wire.discharger_change() == {}
    assert wire.exchange_request("a~b") == {"token": "a~b"}


@pytest.mark.parametrize("body", [None, [], {}, {"name": "login"}, {**PARTY, "name": 5}, {**PARTY, "public_key": None}])
def test_dischargers_of_no_shape(body: Any) -> None:
    """A discharger has all of its fields, each of its type; with them it is read."""
    assert wire.read_discharger(PARTY).name == "login"
    with pytest.raises(ValueError, match="answer is not of its shape"):
        wire.read_discharger(body)


@pytest.mark.parametrize("body", [None, {}, {"public_key": "a", "state": "next"}, {"public_key": 5, "state": "next"}])
def test_bakery_keys_of_no_shape(body: Any) -> None:
    """The same of a key pair."""
    with pytest.raises(ValueError, match="answer is not of its shape"):
        wire.read_bakery_key(body)


def test_instants_are_utc_and_whole() -> None:
    """An instant is written in UTC, rounded down."""
    berlin = timezone(timedelta(hours=1))
    assert wire.instant_text(datetime(2026, 11, 22, 13, 0, 0, 999_999, tzinfo=berlin)) == "2026-11-22T12:00:00Z"
    assert wire.parse_instant("2026-11-22T12:00:00Z") == NOON


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-22",
        "2026-11-22T12:00:00",
        "2026-11-22T12:00:00z",
        "2026-11-22t12:00:00Z",
        "2026-11-22 12:00:00Z",
        "2026-11-22T12:00:00+00:00",
        "2026-11-22T12:00:00.0Z",
        "2026-11-22T12:00Z",
        "2026-11-22T12:00:60Z",
        "2026-11-22T24:00:00Z",
        "2026-02-29T12:00:00Z",
        "1999-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z",
        "2026-11-22T12:00:00Z\n",
        " 2026-11-22T12:00:00Z",
        "２０２６-11-22T12:00:00Z",
    ],
)
def test_instants_have_one_spelling(text: str) -> None:
    """Every other spelling, and what is no instant of 2000 to 2099, is refused."""
    with pytest.raises(ValueError, match=r"instant|day is out of range|must be in"):
        wire.parse_instant(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a = b", "a = b"),
        ("a\\x00", "a\\x00"),
        (b"a\x00\x7f\xff", "a\\x00\\x7f\\xff"),
        ("a\n\x1b[31m", "a\\x0a\\x1b[31m"),
        ("é", "\\xc3\\xa9"),
        ("\ud800", "\\xed\\xa0\\x80"),
        ("\u202e", "\\xe2\\x80\\xae"),
    ],
)
def test_octets_are_shown(text: str | bytes, shown: str) -> None:
    """What is not visible ASCII is shown by its octets."""
    assert wire.visible(text) == shown
