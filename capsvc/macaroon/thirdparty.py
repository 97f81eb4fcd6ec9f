"""Secrets that an issuer and a third party share: bakery's caveat ids, version 3.

A caveat id is a message to the discharger that only he and the issuer can open (macaroon-bakery, ``bakery/codec.go``)::

    03 | first 4 octets of the third party's public key | the first party's public key (32) | nonce (24) |
    box( 03 | uvarint length and root key | uvarint length and namespace | condition )

The box is NaCl's (Curve25519, XSalsa20-Poly1305) and symmetric: whoever sealed an id can open it again. Versions 1 and
2 are refused. A condition that begins ``need-declared a,b `` asks the discharger to state those names.
"""

from __future__ import annotations

import binascii
from typing import Final, NamedTuple, NoReturn

from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey

from capsvc.errors import TokenError
from capsvc.macaroon.encoding import malformed, read_uvarint, uvarint

__all__ = [
    "KEY_OCTETS",
    "Channel",
    "KeyPair",
    "Sealed",
    "asked_names",
    "key_text",
    "plain_key",
    "read_key",
    "read_parties",
]

KEY_OCTETS: Final = 32
_VERSION: Final = b"\x03"
_PREFIX_OCTETS: Final = 4
_BOX_AT: Final = 1 + _PREFIX_OCTETS + KEY_OCTETS
_NAMESPACE: Final = b"std:"  # bakery's own conditions, under no prefix
_NEED_DECLARED: Final = "need-declared "
_MODULUS: Final = 2**255 - 19  # a public key is a number below it (RFC 7748), so that each has one spelling


def read_key(text: str) -> bytes:
    """A public key of 32 octets from its one spelling, standard padded base64.

    Raises:
        ValueError: for anything else, and for a key of low order, with which nothing is secret.

    """
    try:
        key = binascii.a2b_base64(text.encode("ascii"))  # lenient: what it dropped is missed below
    except (UnicodeEncodeError, AttributeError, binascii.Error):
        key = b""
    if len(key) != KEY_OCTETS or key_text(key) != text:
        raise ValueError(f"a public key is {KEY_OCTETS} octets in standard base64")
    KeyPair.generate().box(plain_key(key))
    return key


def plain_key(key: bytes) -> bytes:
    """The spelling that X25519 itself gives a public key of 32 octets (RFC 7748: a number below 2^255 - 19).

    It ignores the highest bit and reduces the rest, so that a key has other spellings too, which no generator makes.
    """
    number = int.from_bytes(key, "little") % 2**255 % _MODULUS
    return number.to_bytes(KEY_OCTETS, "little")


def key_text(key: bytes) -> str:
    """A public key as text: standard padded base64."""
    return binascii.b2a_base64(key, newline=False).decode("ascii")


class KeyPair:
    """A Curve25519 key pair. ``public`` is 32 octets; the private half is shown nowhere."""

    __slots__ = ("_private", "public")

    def __init__(self, private: bytes) -> None:
        """Take the private half, 32 octets. Raises `ValueError` for any other number of them."""
        if len(private) != KEY_OCTETS:
            raise ValueError(f"a private key has {KEY_OCTETS} octets")
        self._private = PrivateKey(private)
        self.public = bytes(self._private.public_key)

    @classmethod
    def generate(cls) -> KeyPair:
        """A fresh one."""
        return cls(bytes(PrivateKey.generate()))

    def private(self) -> bytes:
        """The private half, for whoever keeps it."""
        return bytes(self._private)

    def box(self, other: bytes) -> Box:
        """What this pair's owner and another's share.

        Raises:
            ValueError: for a key that is none: not 32 octets, spelled otherwise than X25519 spells it, of low order.

        """
        if len(other) != KEY_OCTETS or int.from_bytes(other, "little") >= _MODULUS:
            raise ValueError(f"a public key is {KEY_OCTETS} octets, a number below 2^255 - 19")
        try:
            return Box(self._private, PublicKey(other))
        except CryptoError:
            raise ValueError("a public key of low order keeps no secret") from None

    def __repr__(self) -> str:
        return f"<KeyPair {key_text(self.public)}>"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a key pair holds a secret: it is neither copied nor pickled")


class Sealed(NamedTuple):
    """What a caveat id holds: the discharge's root key, a secret; the condition; bakery's namespace."""

    root_key: bytes
    condition: bytes
    namespace: bytes

    def __repr__(self) -> str:
        return f"<Sealed {self.condition!r}>"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("what was sealed holds a secret: it is neither copied nor pickled")

    @property
    def speaks_std(self) -> bool:
        """Whether bakery's own conditions have the empty prefix there, as all that is written here assumes."""
        return any(entry == _NAMESPACE for entry in self.namespace.split(b" "))


class Channel:
    """What a first and a third party share; made by either, from its own pair and the other's public key."""

    __slots__ = ("_box", "_header", "first_party", "third_party")

    def __init__(self, first_party: bytes, third_party: bytes, box: Box) -> None:
        """Not for callers: see `of_first_party` and `of_third_party`."""
        self.first_party = first_party
        self.third_party = third_party
        self._header = _VERSION + third_party[:_PREFIX_OCTETS] + first_party
        self._box = box

    @classmethod
    def of_first_party(cls, own: KeyPair, third_party: bytes) -> Channel:
        """The issuer's side. Raises `ValueError` for a key that is none."""
        return cls(own.public, third_party, own.box(third_party))

    @classmethod
    def of_third_party(cls, own: KeyPair, first_party: bytes) -> Channel:
        """The discharger's side. Raises `ValueError` for a key that is none."""
        return cls(first_party, own.public, own.box(first_party))

    def __repr__(self) -> str:
        return f"<Channel {key_text(self.first_party)} to {key_text(self.third_party)}>"

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a channel holds a shared secret: it is neither copied nor pickled")

    def seal(self, root_key: bytes, condition: str) -> bytes:
        """A fresh caveat id that asks for a condition. Raises `ValueError` for an empty root key or condition."""
        if not root_key or not condition:
            raise ValueError("a caveat id holds a root key and a condition")
        secret = _VERSION + _counted(root_key) + _counted(_NAMESPACE) + condition.encode()
        return self._header + bytes(self._box.encrypt(secret))

    def open(self, caveat_id: bytes) -> Sealed | None:
        """What a caveat id of these two parties holds; None for any other octets."""
        if caveat_id[:_BOX_AT] != self._header:
            return None
        try:
            secret = self._box.decrypt(caveat_id[_BOX_AT:])
        except CryptoError:
            return None
        return _read(secret)


def read_parties(caveat_id: bytes) -> tuple[bytes, bytes]:
    """The first four octets of the third party's key and the first party's whole key, which a caveat id begins with.

    Raises:
        ValueError: for what is no caveat id of version 3.

    """
    if caveat_id[:1] != _VERSION or len(caveat_id) <= _BOX_AT:
        raise ValueError("not a caveat id of bakery's version 3")
    return caveat_id[1 : 1 + _PREFIX_OCTETS], caveat_id[1 + _PREFIX_OCTETS : _BOX_AT]


def asked_names(condition: str) -> tuple[tuple[str, ...], str]:
    """The names that a condition wants declared, and the condition itself: ``need-declared a,b condition``.

    Raises:
        ValueError: where names or condition are missing.

    """
    if not condition.startswith(_NEED_DECLARED):
        return (), condition
    names, _, rest = condition.removeprefix(_NEED_DECLARED).partition(" ")
    parts = tuple(names.split(","))
    if not rest or not all(parts):
        raise ValueError("need-declared is followed by names and a condition")
    return parts, rest


def _counted(octets: bytes) -> bytes:
    return uvarint(len(octets)) + octets


def _read(secret: bytes) -> Sealed | None:
    if secret[:1] != _VERSION:
        return None
    try:
        root_key, at = _read_counted(secret, 1)
        namespace, at = _read_counted(secret, at)
    except TokenError:
        return None
    return Sealed(root_key, secret[at:], namespace) if root_key else None


def _read_counted(octets: bytes, at: int) -> tuple[bytes, int]:
    length, at = read_uvarint(octets, at)
    value = octets[at : at + length]
    if len(value) != length:
        raise malformed("a length runs past the end")
    return value, at + length
