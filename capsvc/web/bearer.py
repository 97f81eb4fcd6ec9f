"""How a credential stands in an Authorization header (RFC 6750, section 2.1)."""

from __future__ import annotations

__all__ = ["credential_of", "scheme_of"]


def scheme_of(authorization: bytes) -> bytes:
    """The scheme, in lower case; ``bearer`` where a token is presented."""
    return authorization.partition(b" ")[0].lower()


def credential_of(authorization: bytes) -> str:
    """What follows the scheme and its spaces, whatever it is: each octet is a character."""
    return authorization.partition(b" ")[2].lstrip(b" ").decode("latin-1")
