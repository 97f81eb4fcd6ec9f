"""The MAC chain, with pymacaroons' builder as an independent oracle, and every way to alter a macaroon."""

import copy
import hashlib
import hmac
import pickle
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymacaroons import Macaroon

from capsvc.errors import TokenError
from capsvc.macaroon import chain
from capsvc.macaroon.chain import VerifiedMacaroon, bind, compute, continue_from, derive_key, extend, verify
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, decode, decode_binary, encode, encode_binary

ROOT_KEY = bytes(range(32))
KEY = derive_key(ROOT_KEY)


def built(
    caveats: list[str | tuple[str, bytes, bytes]], *, root_key: bytes = ROOT_KEY, identifier: str = "id"
) -> tuple[UnverifiedMacaroon, list[bytes]]:
    """A macaroon by pymacaroons, decoded, and the signature that it had at every point."""
    macaroon = Macaroon(location="http://here/", identifier=identifier, key=root_key, version=2)
    signatures = [bytes.fromhex(macaroon.signature)]
    for caveat in caveats:
        if isinstance(caveat, str):
            macaroon.add_first_party_caveat(caveat)
        else:
            macaroon.add_third_party_caveat(*caveat)
        signatures.append(bytes.fromhex(macaroon.signature))
    return decode(macaroon.serialize()), signatures


GENUINE = built(["a = 1", "b = 22", ("http://there/", b"secret", b"cid"), "c = 333"])[0]


@given(
    root_key=st.binary(min_size=1, max_size=100),
    caveats=st.lists(
        st.text(max_size=40)
        | st.tuples(
            st.text("abc:/.", min_size=1), st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40)
        ),
        max_size=5,
    ),
)
def test_every_point_is_what_pymacaroons_signs(root_key: bytes, caveats: list[str | tuple[str, bytes, bytes]]) -> None:
    """First- and third-party caveats, root keys of any length."""
    macaroon, signatures = built(caveats, root_key=root_key)
    key = derive_key(root_key)
    assert compute(key, macaroon) == signatures
    verified = verify(macaroon, key)
    assert verified is not None
    assert verified.macs == tuple(signatures)
    assert verified.macaroon is macaroon


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_the_mac_is_hmac_sha256(key: bytes, message: bytes) -> None:
    """Ours, made for speed, is the standard library's."""
    expected = hmac.digest(key, message, hashlib.sha256)
    assert extend(key, RawCaveat(message)) == expected
    assert compute(key, UnverifiedMacaroon(None, message, (), b"")) == [expected]


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_binding_is_what_pymacaroons_binds(root_mac: bytes, discharge_mac: bytes) -> None:
    """The signature of a discharge that `prepare_for_request` has bound."""
    root = Macaroon(location="l", identifier="r", signature=root_mac.hex(), version=2)
    discharge = Macaroon(location="l", identifier="d", signature=discharge_mac.hex(), version=2)
    assert bind(root_mac, discharge_mac).hex() == root.prepare_for_request(discharge).signature
    assert bind(root_mac, root_mac) != root_mac  # no shortcut where both are the same


def test_the_whole_chain_is_under_one_key() -> None:
    """The right key verifies; its neighbours, the root key itself, and another chain's do not."""
    assert verify(GENUINE, KEY)
    assert verify(GENUINE, ROOT_KEY) is None
    assert verify(GENUINE, bytes(32)) is None
    assert verify(GENUINE, derive_key(ROOT_KEY + b"\0")) is None
    for position in range(32):
        other = bytearray(KEY)
        other[position] ^= 1
        assert verify(GENUINE, bytes(other)) is None


def test_keys_of_other_lengths_are_refused() -> None:
    """An empty key signs for anybody; a longer or shorter one is a mistake."""
    assert len(compute(bytes(32), GENUINE)) == 5
    for length in (0, 1, 31, 33, 64, 65):
        with pytest.raises(ValueError, match="32 octets"):
            compute(bytes(length), GENUINE)
        with pytest.raises(ValueError, match="32 octets"):
            verify(GENUINE, bytes(length))
    with pytest.raises(ValueError, match="not empty"):
        derive_key(b"")


def test_no_key_never_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown key id costs a whole chain and ends in None, even for who has guessed the key that stands in."""
    computed: list[bytes] = []

    def counting(key: bytes, macaroon: UnverifiedMacaroon) -> list[bytes]:
        computed.append(key)
        return compute(key, macaroon)

    monkeypatch.setattr(chain, "_NO_KEY", KEY)
    monkeypatch.setattr(chain, "compute", counting)
    assert verify(GENUINE, KEY)
    assert verify(GENUINE, None) is None
    assert computed == [KEY, KEY]


def test_the_key_that_stands_in_is_random() -> None:
    """Nobody knows it: it is no constant of the program."""
    assert len(chain._NO_KEY) == 32
    assert len(set(chain._NO_KEY)) > 8
    assert verify(GENUINE._replace(signature=compute(bytes(32), GENUINE)[-1]), None) is None


def test_macs_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """`hmac.compare_digest` decides, on all 32 octets of both."""
    compared: list[tuple[bytes, bytes]] = []

    def comparing(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return hmac.compare_digest(left, right)

    monkeypatch.setattr(chain, "compare_digest", comparing)
    assert verify(GENUINE, KEY)
    assert verify(GENUINE, bytes(32)) is None
    assert compared == [(compute(key, GENUINE)[-1], GENUINE.signature) for key in (KEY, bytes(32))]


def test_part_of_a_signature_is_not_enough() -> None:
    """A signature that begins or ends right is wrong."""
    for position in range(32):
        wrong = bytearray(GENUINE.signature)
        wrong[position] ^= 0x80
        assert verify(GENUINE._replace(signature=bytes(wrong)), KEY) is None
    for wrong_length in (GENUINE.signature[:31], GENUINE.signature + b"\0", b""):
        assert verify(GENUINE._replace(signature=wrong_length), KEY) is None


def refusal(step_input: bytes) -> str:
    """What becomes of the octets of an altered token: the code that its bearer sees."""
    try:
        macaroon = decode_binary(step_input)
    except TokenError as error:
        return error.code
    return "allowed" if verify(macaroon, KEY) else "invalid-token"


def test_every_octet_flipped() -> None:
    """Each octet in each of its bits: no macaroon, or not signed. The location alone is outside the MAC, and inert."""
    octets = encode_binary(GENUINE)
    location = range(octets.index(b"http://here/"), octets.index(b"http://here/") + len(b"http://here/"))
    third = octets.index(b"http://there/")
    third_location = range(third, third + len(b"http://there/"))
    assert refusal(octets) == "allowed"
    for position in range(len(octets)):
        for bit in range(8):
            altered = octets[:position] + bytes([octets[position] ^ 1 << bit]) + octets[position + 1 :]
            if position in location or position in third_location:
                assert refusal(altered) == "allowed"
                assert decode_binary(altered).identifier == GENUINE.identifier
                assert [caveat[:2] for caveat in decode_binary(altered).caveats] == [c[:2] for c in GENUINE.caveats]
            else:
                assert refusal(altered) in {"malformed", "invalid-token"}
    assert refusal(octets[:-1] + bytes([octets[-1] ^ 1])) == "invalid-token"
    assert refusal(b"\x03" + octets[1:]) == "malformed"


def test_every_truncation_and_every_cut() -> None:
    """No part of a token is a token, and no octet can be left out or put in twice."""
    octets = encode_binary(GENUINE)
    for position in range(len(octets)):
        assert refusal(octets[:position]) == "malformed"
        assert refusal(octets[position + 1 :]) == "malformed"
        assert refusal(octets[:position] + octets[position + 1 :]) in {"malformed", "invalid-token"}
        assert refusal(octets[:position] + octets[position : position + 1] * 2 + octets[position + 1 :]) in {
            "malformed",
            "invalid-token",
        }


def test_every_character_of_the_text() -> None:
    """Each character replaced by every other one of the alphabet: refused, or the same octets but for the location."""
    text = encode(GENUINE)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. ~"
    for position, character in enumerate(text):
        for other in alphabet.replace(character, ""):
            altered = text[:position] + other + text[position + 1 :]
            try:
                macaroon = decode(altered)
            except TokenError as error:
                assert error.code == "malformed"  # noqa: PT017
                continue
            assert encode(macaroon) == altered
            if verify(macaroon, KEY):
                assert macaroon.identifier == GENUINE.identifier
                assert [caveat[:2] for caveat in macaroon.caveats] == [caveat[:2] for caveat in GENUINE.caveats]


def with_caveats(*caveats: RawCaveat) -> UnverifiedMacaroon:
    """The genuine macaroon with other caveats and its own signature."""
    return GENUINE._replace(caveats=caveats)


def test_no_caveat_can_be_removed() -> None:
    """Not one, not several, not all; nor with the signature of another point, which its bearer does not know."""
    caveats = GENUINE.caveats
    assert verify(with_caveats(*caveats), KEY)
    for kept in range(1 << len(caveats)):
        remaining = [caveat for position, caveat in enumerate(caveats) if kept >> position & 1]
        assert (verify(with_caveats(*remaining), KEY) is not None) is (len(remaining) == len(caveats))


def test_no_order_but_the_one() -> None:
    """Every other order of the caveats is refused."""
    orders = [order for order in permutations(GENUINE.caveats) if verify(with_caveats(*order), KEY)]
    assert orders == [GENUINE.caveats]


def test_no_caveat_can_be_put_in() -> None:
    """A caveat again, an empty one, or a new one, at every place, with the signature as it is."""
    for position in range(len(GENUINE.caveats) + 1):
        for extra in (*GENUINE.caveats, RawCaveat(b""), RawCaveat(b"d = 4"), RawCaveat(b"d", bytes(72))):
            longer = (*GENUINE.caveats[:position], extra, *GENUINE.caveats[position:])
            assert verify(with_caveats(*longer), KEY) is None


def test_no_caveat_of_another_token() -> None:
    """Caveats, chains and signatures of two genuine tokens do not mix."""
    other, _ = built(["a = 1", "b = 22", ("http://there/", b"secret", b"cid"), "c = 334"])
    sibling, _ = built(["a = 1", "b = 22"], identifier="id2")
    assert verify(other, KEY)
    assert verify(sibling, KEY)
    for position in range(len(GENUINE.caveats)):
        spliced = (*GENUINE.caveats[:position], other.caveats[position], *GENUINE.caveats[position + 1 :])
        expected = spliced == GENUINE.caveats
        assert (verify(with_caveats(*spliced), KEY) is not None) is expected
    assert verify(GENUINE._replace(identifier=sibling.identifier), KEY) is None
    assert verify(GENUINE._replace(signature=sibling.signature), KEY) is None
    assert verify(sibling._replace(signature=GENUINE.signature), KEY) is None
    assert (
        verify(sibling._replace(caveats=(*sibling.caveats, *GENUINE.caveats[2:]), signature=GENUINE.signature), KEY)
        is None
    )


def test_first_and_third_party_are_told_apart() -> None:
    """A third party's caveat cannot become a first party's, nor be cut otherwise into vid and cid."""
    first, second, third, last = GENUINE.caveats
    assert third.vid is not None
    for disguise in (
        RawCaveat(third.cid),
        RawCaveat(third.vid),
        RawCaveat(third.vid + third.cid),
        RawCaveat(third.cid + third.vid),
        RawCaveat(third.vid, third.cid),
        RawCaveat(third.cid[1:], third.vid + third.cid[:1]),
        RawCaveat(third.vid[-1:] + third.cid, third.vid[:-1]),
        RawCaveat(third.cid, third.vid[:-1] + b"\0"),
    ):
        assert verify(with_caveats(first, second, disguise, last), KEY) is None
    moved = RawCaveat(first.cid, third.vid)
    assert verify(with_caveats(moved, second, third, last), KEY) is None


def test_where_one_caveat_ends_and_the_next_begins() -> None:
    """No octet moves from one caveat, or the identifier, to its neighbour."""
    first, second, *rest = GENUINE.caveats
    assert verify(with_caveats(RawCaveat(first.cid + second.cid[:1]), RawCaveat(second.cid[1:]), *rest), KEY) is None
    assert verify(with_caveats(RawCaveat(first.cid + second.cid), *rest), KEY) is None
    moved = GENUINE._replace(
        identifier=GENUINE.identifier + first.cid[:1], caveats=(RawCaveat(first.cid[1:]), second, *rest)
    )
    assert verify(moved, KEY) is None


def test_a_holder_can_only_add() -> None:
    """What is extended from the signature verifies, and has every caveat before it."""
    caveat = RawCaveat(b"d = 4")
    longer = GENUINE._replace(caveats=(*GENUINE.caveats, caveat), signature=extend(GENUINE.signature, caveat))
    verified = verify(longer, KEY)
    assert verified is not None
    assert verified.macs[:-1] == tuple(compute(KEY, GENUINE))
    assert verify(longer._replace(signature=GENUINE.signature), KEY) is None


def test_a_verified_macaroon_keeps_its_secrets() -> None:
    """Neither shown, nor copied, nor pickled; no attribute can be added to it."""
    verified = verify(GENUINE, KEY)
    assert verified is not None
    shown = f"{verified!r} {verified} {[verified]}"
    assert "VerifiedMacaroon with 4 caveats" in shown
    for secret in (KEY, *verified.macs):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="secrets"):
            leak(verified)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="secrets"):
            pickle.dumps(verified, protocol)
    with pytest.raises(AttributeError):
        verified.extra = 1  # type: ignore[attr-defined]
    assert isinstance(verified, VerifiedMacaroon)


def test_extending_leaves_its_inputs() -> None:
    """Values are immutable; the macaroon that was verified is the one that was given."""
    before = encode(GENUINE)
    verify(GENUINE, KEY)
    assert encode(GENUINE) == before
    with pytest.raises(AttributeError):
        GENUINE.signature = b""  # type: ignore[misc]


def test_a_chain_goes_on_from_a_signature() -> None:
    """Whoever has a macaroon proves what was narrowed from it, and nothing else."""
    root = Macaroon(location="l", identifier="root", key=ROOT_KEY, version=2)
    root.add_first_party_caveat("a = b")
    confirmed = decode(root.serialize())
    assert continue_from(confirmed, confirmed) == []
    root.add_first_party_caveat("c = d")
    root.add_third_party_caveat("http://there", "secret", "cid")
    narrowed = decode(root.serialize())
    macs = compute(derive_key(ROOT_KEY), narrowed)
    assert continue_from(confirmed, narrowed) == macs[2:]
    for position in range(32):
        altered = bytearray(narrowed.signature)
        altered[position] ^= 1
        assert continue_from(confirmed, narrowed._replace(signature=bytes(altered))) is None
    swapped = narrowed._replace(caveats=(narrowed.caveats[0], narrowed.caveats[2], narrowed.caveats[1]))
    assert continue_from(confirmed, swapped) is None
    assert continue_from(confirmed, narrowed._replace(caveats=narrowed.caveats[:2])) is None
    for other in (narrowed._replace(identifier=b"other"), narrowed._replace(caveats=narrowed.caveats[1:])):
        with pytest.raises(ValueError, match="not narrowed"):
            continue_from(confirmed, other)
