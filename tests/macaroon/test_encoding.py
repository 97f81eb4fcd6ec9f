"""Base64 and numbers: one spelling each."""

from base64 import urlsafe_b64encode
from contextlib import suppress
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsvc.errors import TokenError
from capsvc.macaroon.encoding import b64decode, b64encode, printable, read_uvarint, uvarint

ALPHABET = ascii_letters + digits + "-_"


@given(st.binary(max_size=100))
def test_base64_is_the_unpadded_url_safe_one(octets: bytes) -> None:
    """Writing agrees with the standard library, reading is its inverse."""
    text = b64encode(octets)
    assert text == urlsafe_b64encode(octets).decode().rstrip("=")
    assert b64decode(text) == octets


@given(st.text(alphabet=ALPHABET + "+/= \n!~.é\x00", max_size=12))
def test_what_is_read_is_written_the_same(text: str) -> None:
    """There is no second spelling of anything that is accepted."""
    if _reads(text):
        assert b64encode(b64decode(text)) == text


@pytest.mark.parametrize("length", [1, 2, 3])
def test_every_last_character(length: int) -> None:
    """Of the 64 last characters those alone are read whose leftover bits are zero."""
    octets = b"\xa5\x5a\xc3"[:length]
    text = b64encode(octets)
    accepted = [last for last in ALPHABET if _reads(text[:-1] + last)]
    assert len(accepted) == {1: 4, 2: 16, 3: 64}[length]
    assert text[-1] in accepted


@pytest.mark.parametrize(
    "text",
    [
        "QQ==", "QUI=", "QQ=", "QUJD=", "QUJD====", "=", "====", "A", "AAAAA", "QR", "QUJ", "Q+Jj", "Q/Jj", " QUJD",
        "QUJD ", "QUJD\n", "QU JD", "QU\nJD", "QUJ\tD", "QU!JD", "QU.JD", "QU~JD", "QUJÐ", "\ufeffQUJD", "QUJD\x00",
        "QUJ\ud800", "ＱUJD", "QUJ%44", "Bearer QUJD", "data:QUJD",
    ],
)  # fmt: skip
def test_other_base64_is_refused(text: str) -> None:
    """Padding, the other alphabet, white space, junk, other scripts, impossible lengths, leftover bits."""
    assert b64decode("QUJD") == b"ABC"
    with pytest.raises(TokenError) as refused:
        b64decode(text)
    assert refused.value.code == "malformed"


@given(st.integers(0, 2**64 - 1))
def test_numbers_round_trip(number: int) -> None:
    """A number is read from where it stands, and its end found."""
    encoded = uvarint(number)
    assert read_uvarint(b"\xff" + encoded + b"\x01", 1) == (number, 1 + len(encoded))


@given(st.binary(max_size=12))
def test_a_number_has_one_spelling(octets: bytes) -> None:
    """What is read as a number is what writing it gives."""
    with suppress(TokenError):
        number, end = read_uvarint(octets, 0)
        assert uvarint(number) == octets[:end]


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x80",
        b"\x80\x00",
        b"\x85\x00",
        b"\xff\x80\x00",
        b"\x80" * 9,
        b"\xff" * 9 + b"\x02",
        b"\xff" * 10 + b"\x01",
    ],
)
def test_other_numbers_are_refused(octets: bytes) -> None:
    """No end, a longer spelling, or more than 64 bits."""
    assert read_uvarint(b"\xff" * 9 + b"\x01", 0) == (2**64 - 1, 10)
    with pytest.raises(TokenError) as refused:
        read_uvarint(octets, 0)
    assert refused.value.code == "malformed"


def test_no_number_is_negative() -> None:
    """A negative number has no spelling."""
    assert uvarint(0) == b"\x00"
    with pytest.raises(ValueError, match="negative"):
        uvarint(-1)


def test_octets_are_shown_as_ascii() -> None:
    """Printable ASCII as it is, all else as an escape."""
    assert printable(b" a~\\") == " a~\\"
    for octet in range(256):
        shown = chr(octet) if 32 <= octet < 127 else f"\\x{octet:02x}"
        assert printable(b"a" + bytes([octet])) == f"a{shown}"
        assert printable(b"\0" + bytes([octet])) == f"\\x00{shown}"
    assert printable(b"\x00\x1f\x7f\xc3\xa9\n\x1b[31m") == r"\x00\x1f\x7f\xc3\xa9\x0a\x1b[31m"


def _reads(text: str) -> bool:
    try:
        b64decode(text)
    except TokenError:
        return False
    return True
