"""Octets as text and numbers as octets, in one spelling each.

Base64 is RFC 4648's URL-safe alphabet (section 5) without padding, with the leftover bits zero (section 3.5). Numbers
are unsigned LEB128 ("uvarint"), the shortest spelling alone.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from typing import Final

from capsvc.errors import TokenError

__all__ = ["b64decode", "b64encode", "malformed", "printable", "read_uvarint", "uvarint"]

_URLSAFE: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_STANDARD: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

# An octet outside the URL-safe alphabet becomes "!", which the strict base64 decoder refuses.
_TO_STANDARD: Final = bytes(_STANDARD[_URLSAFE.index(octet)] if octet in _URLSAFE else 0x21 for octet in range(256))
_TO_URLSAFE: Final = bytes.maketrans(b"+/", b"-_")

# By the length modulo 4: what completes the last group, and the last characters that leave no bit over.
_ENDINGS: Final = {
    2: (b"==", frozenset("AQgw")),
    3: (b"=", frozenset("AEIMQUYcgkosw048")),
}

_UVARINT_OCTETS: Final = 10  # 64 bits
_MAX_UVARINT: Final = (1 << 64) - 1


def malformed(message: str) -> TokenError:
    """The refusal of every octet that is not where the format wants it."""
    return TokenError("malformed", message)


def b64decode(text: str) -> bytes:
    """The octets that canonical, unpadded, URL-safe base64 stands for.

    Raises:
        TokenError: ``malformed`` for padding, the other alphabet, white space, any other character, an impossible
            length, or leftover bits that are not zero.

    """
    try:
        raw = text.encode("ascii").translate(_TO_STANDARD)
        remainder = len(raw) & 3
        if remainder:
            padding, last = _ENDINGS[remainder]
            if text[-1] not in last:
                raise malformed("the last character of the base64 leaves bits over")
            raw += padding
        return a2b_base64(raw, strict_mode=True)
    except (UnicodeEncodeError, Base64Error, KeyError):
        raise malformed("not unpadded URL-safe base64") from None


def b64encode(octets: bytes) -> str:
    """The one spelling of octets as unpadded URL-safe base64."""
    return b2a_base64(octets, newline=False).translate(_TO_URLSAFE, b"=").decode("ascii")


def uvarint(number: int) -> bytes:
    """A number from 0 on as unsigned LEB128: seven bits an octet, the lowest first."""
    if number < 0:
        raise ValueError("a uvarint is not negative")
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_uvarint(octets: bytes, start: int) -> tuple[int, int]:
    """The number spelled at ``start``, and where it ends.

    Raises:
        TokenError: ``malformed`` if it runs past the end, is over 64 bits, or is not the shortest spelling.

    """
    number = 0
    for count, octet in enumerate(octets[start : start + _UVARINT_OCTETS]):
        number |= (octet & 0x7F) << 7 * count
        if octet < 0x80:
            if (count and not octet) or number > _MAX_UVARINT:
                raise malformed("a number is too large, or not in its shortest spelling")
            return number, start + count + 1
    raise malformed("a number runs past its end")


def printable(octets: bytes) -> str:
    r"""Octets for people: printable ASCII as it is, every other octet as ``\xNN``."""
    text = octets.decode("latin-1")
    if text.isascii() and text.isprintable():
        return text
    return "".join(chr(octet) if 0x20 <= octet <= 0x7E else f"\\x{octet:02x}" for octet in octets)
