"""A root and its discharges as one string, and the bounds of both: step 1 of the decision.

``root~discharge~discharge…``. The first is the root, all others are discharges, whatever their ids. A bundle is final:
its discharges are bound to the root as it is.

The same bounds hold for the service, its clients and the command line, and all are checked before any cryptography.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from capsvc.errors import TokenError
from capsvc.macaroon.decode import UnverifiedMacaroon, decode

__all__ = [
    "LIMITS",
    "MAX_BATCH_BODY_OCTETS",
    "MAX_BODY_OCTETS",
    "MAX_BUNDLE_CAVEATS",
    "MAX_BUNDLE_OCTETS",
    "MAX_CAVEATS",
    "MAX_CAVEAT_OCTETS",
    "MAX_DEPTH",
    "MAX_DISCHARGES",
    "MAX_THIRD_PARTY_ID_OCTETS",
    "MAX_TOKEN_OCTETS",
    "SEPARATOR",
    "check_caveats",
    "split",
    "too_large",
]

SEPARATOR: Final = "~"

MAX_TOKEN_OCTETS: Final = 16_384  # 16 KiB of text
MAX_BUNDLE_OCTETS: Final = 32_768  # 32 KiB of text
MAX_CAVEATS: Final = 64  # of one token
MAX_BUNDLE_CAVEATS: Final = 192  # of root and discharges together
MAX_CAVEAT_OCTETS: Final = 512  # of a first-party caveat
MAX_THIRD_PARTY_ID_OCTETS: Final = 1_024  # of a third-party caveat's id
MAX_DISCHARGES: Final = 16
MAX_DEPTH: Final = 4  # of discharges of discharges; the root has depth 0
MAX_BODY_OCTETS: Final = 65_536  # 64 KiB: of a request
MAX_BATCH_BODY_OCTETS: Final = 524_288  # 512 KiB: of a batch of requests

LIMITS: Final = MappingProxyType(
    {
        "token": MAX_TOKEN_OCTETS,
        "bundle": MAX_BUNDLE_OCTETS,
        "caveats": MAX_CAVEATS,
        "bundle_caveats": MAX_BUNDLE_CAVEATS,
        "caveat": MAX_CAVEAT_OCTETS,
        "third_party_id": MAX_THIRD_PARTY_ID_OCTETS,
        "discharges": MAX_DISCHARGES,
        "depth": MAX_DEPTH,
        "body": MAX_BODY_OCTETS,
        "batch_body": MAX_BATCH_BODY_OCTETS,
    }
)
"""The bounds by their published names."""


def too_large(message: str) -> TokenError:
    """The refusal of what is past a bound."""
    return TokenError("too-large", message)


def split(text: str) -> tuple[UnverifiedMacaroon, ...]:
    """The macaroons of a token or bundle, root first, within every bound but those that need keys.

    First the lengths of text and the number of parts, then every part is decoded, then the numbers and lengths of
    caveats.

    Raises:
        TokenError: ``too-large`` or ``malformed``.

    """
    if len(text) > MAX_BUNDLE_OCTETS:
        raise too_large(f"a bundle has at most {MAX_BUNDLE_OCTETS} octets")
    parts = text.split(SEPARATOR)
    if len(parts) > 1 + MAX_DISCHARGES:
        raise too_large(f"a bundle has at most {MAX_DISCHARGES} discharges")
    for part in parts:
        if len(part) > MAX_TOKEN_OCTETS:
            raise too_large(f"a token has at most {MAX_TOKEN_OCTETS} octets")
    macaroons = tuple([decode(part) for part in parts])
    for macaroon in macaroons:
        check_caveats(macaroon)
    if len(parts) > 1 and sum([len(macaroon.caveats) for macaroon in macaroons]) > MAX_BUNDLE_CAVEATS:
        raise too_large(f"a bundle has at most {MAX_BUNDLE_CAVEATS} caveats")
    return macaroons


def check_caveats(macaroon: UnverifiedMacaroon) -> None:
    """Hold a token's caveats to their number and lengths.

    Raises:
        TokenError: ``too-large``.

    """
    if len(macaroon.caveats) > MAX_CAVEATS:
        raise too_large(f"a token has at most {MAX_CAVEATS} caveats")
    for cid, vid, _ in macaroon.caveats:
        if len(cid) > MAX_CAVEAT_OCTETS and (vid is None or len(cid) > MAX_THIRD_PARTY_ID_OCTETS):
            raise too_large(
                f"a first-party caveat has at most {MAX_CAVEAT_OCTETS} octets,"
                f" a third-party caveat's id {MAX_THIRD_PARTY_ID_OCTETS}"
            )
