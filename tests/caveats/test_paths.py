"""The one normal form of paths. The table of caveats holds most of its cases; here are its bounds and sentences."""

from __future__ import annotations

import string

import pytest

from caveats import normal_path

PLAIN = string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@/"
# What needs an escape: everything else that is visible, but what may never stand in a path at all.
ESCAPED = set(map(chr, range(0x20, 0x7F))) - set(string.ascii_letters + string.digits + "-._~/\\%?#")


@pytest.mark.parametrize("octet", range(256))
def test_every_octet_plain(octet: int) -> None:
    """Each octet stands for itself in a path, or the path is refused."""
    raw = b"/a" + bytes([octet]) + b"b"
    if chr(octet) in PLAIN:
        assert normal_path(raw) == normal_path(raw.decode("latin-1")) == raw.decode("ascii")
    else:
        with pytest.raises(ValueError, match="characters"):
            normal_path(raw)


@pytest.mark.parametrize("octet", range(128))
def test_every_ascii_octet_escaped(octet: int) -> None:
    """Each octet may be escaped, or the path is refused."""
    raw = f"/a%{octet:02X}b"
    if chr(octet) in ESCAPED:
        assert normal_path(raw) == raw
    else:
        with pytest.raises(ValueError, match="escapes no unreserved"):
            normal_path(raw)


@pytest.mark.parametrize("code", [*range(0x80, 0xA1), 0xFF, 0x7FF, 0x800, 0xFFFD, 0x10FFFF])
def test_characters_past_ascii_escaped(code: int) -> None:
    """Characters past ASCII are escaped as UTF-8; C1 controls, U+0080 to U+009F, never are."""
    raw = "/" + "".join(f"%{octet:02X}" for octet in chr(code).encode())
    if code > 0x9F:
        assert normal_path(raw) == raw
    else:
        with pytest.raises(ValueError, match=r"U\+0080"):
            normal_path(raw)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ("", "begins with /"),
        ("a", "begins with /"),
        ("/a%2f", "upper-case"),
        ("//", "empty segment"),
        ("/a//", "empty segment"),
        ("/..", "no segment"),
        ("/.", "no segment"),
        ("/a/.;b", "no segment"),
        ("/a/..%3Bb/c", "no segment"),
        ("/%2E", "unreserved"),
        ("/%C3", "UTF-8"),
        ("/%C0%80", "UTF-8"),
        ("/a%C3%A9%A9", "UTF-8"),
    ],
)
def test_sentences(raw: str, sentence: str) -> None:
    """Each refusal says which rule is broken."""
    with pytest.raises(ValueError, match=sentence):
        normal_path(raw)


def test_bounds() -> None:
    """2,048 octets by default, or what is asked for."""
    assert normal_path("/" + "a" * 2047)
    assert normal_path(b"/" + b"a" * 2047)
    assert normal_path("/a", 2) == "/a"
    assert normal_path("/" + "a" * 2047, limit=2048)
    for raw, limit in (("/" + "a" * 2048, 2048), ("/aa", 2)):
        with pytest.raises(ValueError, match=f"at most {limit} octets"):
            normal_path(raw, limit)
    with pytest.raises(ValueError, match="at most 2048 octets"):
        normal_path("/" + "a" * 2048)


@pytest.mark.parametrize(
    "raw", ["/...", "/..a", "/a..", "/.a", "/a.", "/.well-known/a", "/..%20", "/.%3D", "/a/..b/.c;d"]
)
def test_dots_that_are_names(raw: str) -> None:
    """A segment of dots and more is a name."""
    assert normal_path(raw) == raw


def test_long_paths_take_no_longer_than_they_are() -> None:
    """Nothing backtracks: the greatest refused path of each shape is refused at once."""
    for shape in ("a", "%20", "/a", "/..a", "a%20", "%C3%A9", "."):
        with pytest.raises(ValueError, match="characters"):
            normal_path("/" + (shape * 2048)[:2046] + '"')
