"""Targets that programs read in different ways: none of them gets past a gateway, and none is repaired."""

from __future__ import annotations

import pytest

from .conftest import SITE, Behind

CLEAR = (
    "/",
    "/photos",
    "/photos/",
    "/photos/1",
    "/photos/1?",
    "/photos/1?a=/../&b=%2F..%2f%00",
    "/photos/1?a?b",
    "/photos/a;b=c",
    "/photos/a%20b",
    "/photos/%C3%A9",
    "/photos/%5B1%5D",
    "/photos/!$&'()*+,;=:@~",
    "/photos/" + "a" * 2040,
)
UNCLEAR = (
    "*",
    "app.example.org:443",
    "photos/1",
    "//photos/1",
    "/photos//1",
    "/photos/./1",
    "/photos/.",
    "/photos/../photos/1",
    "/photos/1/..",
    "/photos/..;/1",
    "/photos/..;x=1/1",
    "/photos/.;/1",
    "/photos/..%3Bx/1",
    "/photos%2F1",
    "/photos%2f1",
    "/admin/..%2fphotos",
    "/photos/%2E%2E/1",
    "/photos/%2e%2e%2fadmin",
    "/photos/%2E/1",
    "/photos/%252E%252E/1",
    "/photos/%252F",
    "/photos/%31",
    "/photos/%5C1",
    "/photos\\1",
    "/photos/..\\1",
    "/photos/%00",
    "/photos/\x00",
    "/photos/1%0d%0aX-Capsvc-Subject:%20root",
    "/photos/1%0D%0AX-Capsvc-Subject:%20root",
    "/photos/%0A",
    "/photos/%09",
    "/photos/1#x",
    "/photos/%23",
    "/photos/%3Fx",
    "/photos/%",
    "/photos/%4",
    "/photos/%zz",
    "/photos/%u002e",
    "/photos/%c3%a9",
    "/photos/%FF",
    "/photos/%C0%AE%C0%AE/1",
    "/photos/%C2%85",
    "/photos/\xe9",
    "/photos/ 1",
    "/photos/\t1",
    "/photos/\x7f",
    "/photos/" + "a" * 2041,
    "http://app.example.org/photos/../photos/1",
    "http://app.example.org//photos/1",
    "http://app.example.org/photos%2F1",
)
STATIC = (
    "/files/../files/public.txt",
    "/files/secret/../public.txt",
    "/files//public.txt",
    "/files/%70ublic.txt",
    "/files%2Fpublic.txt",
    "/files/secret/..%2fpublic.txt",
    "/files/%2e%2e/files/public.txt",
    "/files/./public.txt",
    "/files/public.txt/.",
    "/files/%C3%A9.txt/../public.txt",
    "/files/..%5Cfiles%5Cpublic.txt",
    "//files/public.txt",
    "/x/../files/public.txt",
)


@pytest.mark.parametrize("target", CLEAR)
def test_clear_targets(behind: Behind, target: str) -> None:
    """A path in normal form is judged, and arrives octet for octet as it was sent; the query is no part of it."""
    path = target.partition("?")[0]
    token = (
        behind.authority.token(f"path = {path}") if len(path) < 256 and "*" not in path else behind.authority.token()
    )
    assert behind.reached(target, token=token).target == target
    assert behind.refused(target, token=behind.authority.token("path = /other")).status == 403


@pytest.mark.parametrize("target", UNCLEAR)
def test_unclear_targets(behind: Behind, target: str) -> None:
    """They are refused to a token that says nothing of paths, by the gateway itself or by the service."""
    token = behind.authority.token(subject="alice")
    behind.reached(token=token)
    for suffix in ("", "?x=1"):
        assert behind.refused(target + suffix, token=token).status in {400, 403}


@pytest.mark.parametrize("target", STATIC)
def test_unclear_files(behind: Behind, target: str) -> None:
    """No file is served by another name than its own."""
    token = behind.authority.token()
    assert behind.gateway.ask("/files/public.txt", token=token).body == SITE["public.txt"].encode()
    answer = behind.gateway.ask(target, token=token)
    assert answer.status in {400, 403}
    assert not any(content.encode() in answer.body for content in SITE.values())


@pytest.mark.parametrize("scheme", ["http", "HTTP", "https"])
def test_absolute_targets(behind: Behind, scheme: str) -> None:
    """A proxy's form of a target names the host: the caveat on it is judged by that, and the path is what is asked."""
    token = behind.authority.token("path = /photos/1", "host = app.example.org")
    seen = behind.reached(f"{scheme}://app.example.org/photos/1", token=token, host="evil.example")
    assert seen.target == "/photos/1"
    assert behind.refused(f"{scheme}://evil.example/photos/1", token=token).status == 403
    assert behind.refused(f"{scheme}://app.example.org/admin", token=token).status == 403
    assert behind.refused(f"{scheme}://app.example.org/photos/1").status == 401
