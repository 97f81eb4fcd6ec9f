"""libmacaroons in C through ctypes (Debian's ``libmacaroons0``), where it is installed: the peer to keep up with."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from ctypes.util import find_library
from typing import Final, Self

__all__ = ["LibMacaroons", "Verifier"]

_SIGNATURES: Final = {
    "macaroon_verifier_create": (ctypes.c_void_p, ()),
    "macaroon_verifier_destroy": (None, (ctypes.c_void_p,)),
    "macaroon_verifier_satisfy_exact": (
        ctypes.c_int,
        (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p),
    ),
    "macaroon_deserialize": (ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_void_p)),
    "macaroon_verify": (
        ctypes.c_int,
        (
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_void_p,
        ),
    ),
    "macaroon_destroy": (None, (ctypes.c_void_p,)),
}
"""``macaroons.h`` of 0.3.0: each function's result and arguments; pointers are all ``void *`` here."""


class Verifier:
    """A C verifier that is satisfied by exactly these caveats; freed with this object."""

    def __init__(self, library: ctypes.CDLL, caveats: Iterable[str]) -> None:
        self._library = library
        self.pointer = library.macaroon_verifier_create()
        self._error = ctypes.c_int()
        for caveat in caveats:
            octets = caveat.encode()
            library.macaroon_verifier_satisfy_exact(self.pointer, octets, len(octets), ctypes.byref(self._error))

    def __del__(self) -> None:
        self._library.macaroon_verifier_destroy(self.pointer)


class LibMacaroons:
    """The library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        self._library = library
        self._deserialize = library.macaroon_deserialize
        self._verify = library.macaroon_verify
        self._destroy = library.macaroon_destroy
        self._code = ctypes.c_int()
        self._error = ctypes.byref(self._code)

    @classmethod
    def find(cls) -> Self | None:
        """The installed library, or None."""
        name = find_library("macaroons")
        return None if name is None else cls(ctypes.CDLL(name))

    def verifier(self, caveats: Iterable[str]) -> Verifier:
        """A verifier that is satisfied by exactly these caveats."""
        return Verifier(self._library, caveats)

    def verify(self, text: bytes, key: bytes, verifier: Verifier) -> bool:
        """Whether a token in V1 text is good: deserialize, verify, free."""
        macaroon = self._deserialize(text, self._error)
        if not macaroon:
            return False
        try:
            return bool(self._verify(verifier.pointer, macaroon, key, len(key), None, 0, self._error) == 0)
        finally:
            self._destroy(macaroon)
