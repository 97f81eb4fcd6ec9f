"""The identifier of a root: ``cap1.<kid>.<tid>.<iat>.<n>``, ASCII, all of it under the MAC.

=====  ==================================================================================
kid    the key's id, 16 lower-case hexadecimal digits; by it the key is found
tid    the token's id, 128 random bits in 22 characters of base64url
iat    when it was minted, in Unix seconds, decimal
n      how many of its caveats are the issuer's: the first ones, whatever else they are
=====  ==================================================================================
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["Identifier", "parse"]

# Decimals in their shortest spelling; the last character of a tid leaves no bit over.
_PATTERN: Final = re.compile(rb"cap1\.([0-9a-f]{16})\.([A-Za-z0-9_-]{21}[AQgw])\.(0|[1-9][0-9]{0,10})\.(0|[1-9][0-9]?)")


# A NamedTuple's own constructor is a Python function around this one, and costs twice the time.
_new: Final = tuple.__new__


class Identifier(NamedTuple):
    """What a root's identifier says; ``issued_at`` is in Unix seconds."""

    kid: str
    tid: str
    issued_at: int
    issuer_caveats: int

    def encode(self) -> bytes:
        """The octets: the exact inverse of :func:`parse`.

        Raises:
            ValueError: if a part does not fit its place.

        """
        octets = b"cap1.%s.%s.%d.%d" % (self.kid.encode(), self.tid.encode(), self.issued_at, self.issuer_caveats)
        if parse(octets) != self:
            raise ValueError("an identifier's part does not fit its place")
        return octets


def parse(raw: bytes) -> Identifier:
    """The identifier that the octets spell.

    Raises:
        ValueError: if they are anything else.

    """
    match = _PATTERN.fullmatch(raw)
    if match is None:
        raise ValueError("not an identifier of this authority")
    kid, tid, issued_at, issuer_caveats = match.groups()
    return _new(Identifier, (kid.decode(), tid.decode(), int(issued_at), int(issuer_caveats)))
