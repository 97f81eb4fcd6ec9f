"""Step 1: bundles, their bounds at the limit and one past it, and the order in which they are checked."""

import pytest

from capsvc.errors import TokenError
from capsvc.macaroon import bundle
from capsvc.macaroon.bundle import LIMITS, split
from capsvc.macaroon.decode import RawCaveat, UnverifiedMacaroon, encode, encode_binary


def macaroon(*cids: bytes, location: bytes | None = None) -> UnverifiedMacaroon:
    """A macaroon with first-party caveats, signed by nobody."""
    return UnverifiedMacaroon(location, b"id", tuple(RawCaveat(cid) for cid in cids), bytes(32))


def text_of(length: int) -> str:
    """A token of that many characters (some thousands): its location fills it."""
    overhead = len(encode_binary(macaroon(location=bytes(1000)))) - 1000
    text = encode(macaroon(location=bytes(length * 3 // 4 - overhead)))
    assert len(text) == length
    return text


def refusal(text: str) -> str | None:
    """The code with which a text is refused; None if it is read."""
    try:
        split(text)
    except TokenError as error:
        return error.code
    return None


TOKEN = encode(macaroon(b"a = b"))
LONG = text_of(16_384)


def test_the_first_is_the_root() -> None:
    """A bundle is read in order, whatever the ids are."""
    assert split(TOKEN) == (macaroon(b"a = b"),)
    other = encode(macaroon(b"c = d"))
    assert split(f"{TOKEN}~{other}~{TOKEN}") == (macaroon(b"a = b"), macaroon(b"c = d"), macaroon(b"a = b"))


def test_the_published_bounds() -> None:
    """Their names and values are the contract's."""
    assert LIMITS == {
        "token": 16 * 1024,
        "bundle": 32 * 1024,
        "caveats": 64,
        "bundle_caveats": 192,
        "caveat": 512,
        "third_party_id": 1024,
        "discharges": 16,
        "depth": 4,
        "body": 64 * 1024,
        "batch_body": 512 * 1024,
    }
    with pytest.raises(TypeError):
        LIMITS["token"] = 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("about", "fits", "exceeds"),
    [
        ("token", LONG, text_of(16_386)),
        ("token that is none", "A" * 16_384, "A" * 16_385),
        ("bundle", f"{LONG}~{text_of(16_383)}", f"{LONG}~{LONG}"),
        ("discharges", "~".join([TOKEN] * 17), "~".join([TOKEN] * 18)),
        ("caveats", encode(macaroon(*[b"a = b"] * 64)), encode(macaroon(*[b"a = b"] * 65))),
        (
            "caveats of a discharge",
            f"{TOKEN}~{encode(macaroon(*[b'a'] * 64))}",
            f"{TOKEN}~{encode(macaroon(*[b'a'] * 65))}",
        ),
        (
            "bundle_caveats",
            "~".join([encode(macaroon(*[b"a = b"] * 64))] * 3),
            "~".join([*[encode(macaroon(*[b"a = b"] * 64))] * 3, encode(macaroon(b"a = b"))]),
        ),
        ("caveat", encode(macaroon(b"a", b"x" * 512)), encode(macaroon(b"a", b"x" * 513))),
        (
            "third_party_id",
            encode(macaroon()._replace(caveats=(RawCaveat(b"x" * 1024, bytes(72), b"l"),))),
            encode(macaroon()._replace(caveats=(RawCaveat(b"x" * 1025, bytes(72), b"l"),))),
        ),
    ],
)
def test_each_bound(about: str, fits: str, exceeds: str) -> None:
    """What is at the bound is read (or is no macaroon); what is one past it is too large."""
    assert refusal(fits) == ("malformed" if "none" in about else None), about
    assert refusal(exceeds) == "too-large", about


def test_one_more_octet_than_a_bundle_has() -> None:
    """The bundle's own bound holds where each of its tokens is within theirs."""
    fits = f"{LONG}~{text_of(16_383)}"
    assert (len(fits), refusal(fits)) == (32_768, None)
    exceeds = f"{LONG}~{LONG}"
    assert (len(exceeds), refusal(exceeds)) == (32_769, "too-large")


@pytest.mark.parametrize(
    ("about", "text", "code"),
    [
        ("length before decoding", "!" * 32_769, "too-large"),
        ("length of a part before decoding", "!" * 16_385, "too-large"),
        ("length of the last part before decoding the first", "!~" + "A" * 16_385, "too-large"),
        ("number of parts before decoding", "~" * 17, "too-large"),
        ("number of parts within the bound", "~" * 16, "malformed"),
        ("decoding before caveats", encode(macaroon(*[b"a"] * 65)) + "~!", "malformed"),
        ("decoding before a caveat's length", encode(macaroon(b"x" * 513)) + "~" + TOKEN + "=", "malformed"),
        ("caveats, then", encode(macaroon(*[b"a"] * 65)) + "~" + TOKEN, "too-large"),
    ],
)
def test_the_order_of_bounds(about: str, text: str, code: str) -> None:
    """Lengths of text and number of parts, then every part decoded, then numbers and lengths of caveats."""
    assert refusal(text) == code, about


@pytest.mark.parametrize(
    "text",
    ["", "~", TOKEN + "~", "~" + TOKEN, f"{TOKEN}~~{TOKEN}", f"{TOKEN} ~{TOKEN}", f"{TOKEN},{TOKEN}", f"{TOKEN}\n",
     f"{TOKEN}%7E{TOKEN}", f"{TOKEN}～{TOKEN}", f"Bearer {TOKEN}", f"{TOKEN}.{TOKEN}"],
)  # fmt: skip
def test_other_separators_and_empty_parts_are_refused(text: str) -> None:
    """A bundle is whole tokens between single tildes."""
    assert refusal(f"{TOKEN}~{TOKEN}") is None
    assert refusal(text) == "malformed"


def test_a_bound_says_what_it_is() -> None:
    """The message names the number, and nothing of the token."""
    for text, number in (("!" * 32_769, "32768"), ("!" * 16_385, "16384"), ("~" * 17, "16")):
        with pytest.raises(TokenError, match=number) as error:
            split(text)
        assert "!" not in str(error.value)


def test_no_bound_is_counted_twice() -> None:
    """The module publishes each limit once, under its unit."""
    names = {name for name in bundle.__all__ if name.startswith("MAX_")}
    assert {getattr(bundle, name) for name in names} == set(LIMITS.values())
    assert len(names) == len(LIMITS)
