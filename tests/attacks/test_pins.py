"""Pins and what they refuse, word by word: a row that an earlier version wrote has to hold for every later one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from capsvc.authority.pins import proved, with_pin
from capsvc.authority.seal import MasterKey
from capsvc.errors import RequestError
from capsvc.macaroon.thirdparty import KeyPair, key_text
from capsvc.store.records import DischargerRecord

MASTER = MasterKey(bytes(range(32)))
BARE = DischargerRecord("login", "https://login.example", b"\1" * 32, 1_795_348_800, None, None, 1_795_348_800, b"")
WHOLE = replace(BARE, next_public=b"\2" * 32, next_since=1_795_348_801)


@pytest.mark.parametrize(
    ("record", "mac"),
    [
        (BARE, "b6faaadb00657201827d26e5ec2bcd40aec48e1b1efc1a7baf11bedfaf367b0d"),
        (WHOLE, "e0bff98c1973dfa33126c25b4e609ae2b6887c48cb5b97e418ad111a7c540695"),
    ],
    ids=["without", "with"],
)
def test_a_pin_of_before(record: DischargerRecord, mac: str) -> None:
    """Without a next key and with one: its MAC under a known master key."""
    pinned = with_pin(MASTER, record)
    assert pinned.mac.hex() == mac
    assert proved(MASTER, pinned) == pinned


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"location": "ftp://x"},
            "a location is an http or https URL of host, port and path, without =, of 512 octets at most.",
        ),
        ({"location": None}, "A location is text."),
        ({"public_key": "x"}, "a public key is 32 octets in standard base64."),
    ],
)
def test_what_is_wrong_with_a_registration_is_said(office: Any, wrong: dict[str, Any], sentence: str) -> None:
    """In a sentence, which ends as one and repeats nothing of it."""
    good = {"name": "x", "location": "https://x.example", "public_key": key_text(KeyPair.generate().public)}
    with pytest.raises(RequestError) as refused:
        office.authority.add_discharger(**{**good, **wrong})
    assert (refused.value.code, str(refused.value)) == ("bad-request", sentence)
    assert office.authority.add_discharger(**good)
