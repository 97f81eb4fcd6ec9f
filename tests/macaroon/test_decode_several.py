"""Macaroons one after another, as bakery's agents send them: read whole, or not at all."""

from __future__ import annotations

import pytest

from capsvc.errors import TokenError
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, decode_binaries, encode_binary

SIGNATURE = bytes(range(32))
MACAROONS = (
    UnverifiedMacaroon(b"http://x", b"a", (), SIGNATURE),
    UnverifiedMacaroon(None, b"b" * 200, (RawCaveat(b"c"), RawCaveat(b"d" * 300, b"v" * 72, b"local")), SIGNATURE),
    UnverifiedMacaroon(b"", b"", (RawCaveat(b""),), SIGNATURE),
)
OCTETS = b"".join(map(encode_binary, MACAROONS))


def test_there_and_back() -> None:
    """Any number of them, of every shape; none is none."""
    assert decode_binaries(OCTETS) == MACAROONS
    assert decode_binaries(encode_binary(MACAROONS[1])) == MACAROONS[1:2]
    assert decode_binaries(b"") == ()


def test_every_place_to_cut() -> None:
    """What ends where a macaroon ends is read; cut off anywhere else it is refused."""
    ends = {sum(len(encode_binary(one)) for one in MACAROONS[:count]): count for count in range(4)}
    for cut in range(len(OCTETS) + 1):
        if cut in ends:
            assert decode_binaries(OCTETS[:cut]) == MACAROONS[: ends[cut]]
            continue
        with pytest.raises(TokenError) as caught:
            decode_binaries(OCTETS[:cut])
        assert caught.value.code == "malformed"


@pytest.mark.parametrize(
    "octets",
    [
        b"\0" + OCTETS,
        OCTETS + b"\0",
        OCTETS + b"\2",
        encode_binary(MACAROONS[0]) + b"~" + encode_binary(MACAROONS[1]),
        b"\1" + OCTETS[1:],
        b"\2" * 1_000,
        b"\2\2\xff\xff\xff\xff\xff\xff\xff\xff\xff\1",
    ],
)
def test_anything_between(octets: bytes) -> None:
    """Nothing stands before, between or after them, and each is read as strictly as one."""
    with pytest.raises(TokenError) as caught:
        decode_binaries(octets)
    assert caught.value.code == "malformed"
