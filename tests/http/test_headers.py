"""Headers and bodies as no well-behaved client sends them."""

import gzip
from collections.abc import Sequence

import pytest

from .conftest import Answer, Api, Header

BODY = b'{"token":"x","audience":"default"}'
JSON = ("content-type", "application/json")
PROOF = {"allowed": False, "code": "malformed"}


def verify(api: Api, headers: Sequence[Header], chunks: Sequence[bytes] = (BODY,)) -> Answer:
    """One request to the hot route with exactly those headers."""
    return api.send("POST", "/v1/verify", headers, chunks)


def is_decision(answer: Answer) -> bool:
    """Whether it got through to a decision about the token."""
    return answer.status == 200 and PROOF.items() <= answer.json.items()


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer  ", "Bearer     "])
def test_bearer_spellings(shared: Api, scheme: str) -> None:
    """The scheme in any case, one or more spaces."""
    assert is_decision(verify(shared, [JSON, ("authorization", scheme + shared.admin)]))


@pytest.mark.parametrize(
    "value", ["", "Basic YTpi", "Bearerx", "Token x", "Macaroon x", "Bearer\tx", "=", "Bear er x", "Digest x"]
)
def test_other_schemes(shared: Api, value: str) -> None:
    """Another scheme is no credential, and the challenge then names no error."""
    answer = verify(shared, [JSON, ("authorization", value)])
    assert answer.outcome == (401, "credential-missing")
    assert answer.headers["www-authenticate"] == 'Bearer realm="capsvc"'


def test_no_authorization(shared: Api) -> None:
    """No header at all is the same."""
    assert verify(shared, [JSON]).outcome == (401, "credential-missing")
    assert is_decision(verify(shared, [JSON, ("authorization", f"Bearer {shared.admin}")]))


@pytest.mark.parametrize("form", ["Bearer", "Bearer ", "Bearer {} {}", "Bearer {},{}", "Bearer {} x", "Bearer {}\t"])
def test_bearer_and_then_not_one_token(shared: Api, form: str) -> None:
    """Anything but one token or bundle after the scheme is malformed."""
    answer = verify(shared, [JSON, ("authorization", form.format(shared.admin, shared.admin))])
    assert answer.outcome == (401, "malformed")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("octets", [b"\xc3\xa9", b"\xff", b"\x00", b'"', b"=", b"%41"])
def test_octets_after_the_token(shared: Api, octets: bytes) -> None:
    """One octet more, of whatever kind, and it is no token."""
    answer = verify(shared, [JSON, ("authorization", b"Bearer " + shared.admin.encode() + octets)])
    assert answer.outcome == (401, "malformed")


@pytest.mark.parametrize("second", ["Bearer x", "Basic YTpi", "", None])
def test_two_authorization_headers(shared: Api, second: str | None) -> None:
    """Two are one too many, be they the same."""
    good = f"Bearer {shared.admin}"
    answer = verify(shared, [JSON, ("authorization", good), ("authorization", good if second is None else second)])
    assert answer.outcome == (400, "bad-request")


@pytest.mark.parametrize("name", ["authorization_", "x-authorization", "proxy-authorization", "cookie", "capsvc-token"])
def test_look_alike_headers(shared: Api, name: str) -> None:
    """A credential anywhere else is none."""
    assert verify(shared, [JSON, (name, f"Bearer {shared.admin}")]).outcome == (401, "credential-missing")


def test_token_in_the_address(shared: Api) -> None:
    """A credential in the query is no credential, and the query no part of the route."""
    answer = shared.send("POST", f"/v1/verify?access_token={shared.admin}", [JSON], [BODY])
    assert answer.outcome == (401, "credential-missing")


def test_long_credentials(shared: Api) -> None:
    """A credential past the limits is the credential's own too-large."""
    outcome = (401, "too-large")
    assert verify(shared, [JSON, ("authorization", "Bearer " + "A" * 16_385)]).outcome == outcome
    assert verify(shared, [JSON, ("authorization", "Bearer " + "A" * 32_769)]).outcome == outcome


@pytest.mark.parametrize(
    "value",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'application/json ; charset="utf-8"',
    ],
)
def test_media_types_taken(shared: Api, value: str) -> None:
    """JSON, in UTF-8 if a charset is named."""
    assert is_decision(verify(shared, [("content-type", value), ("authorization", f"Bearer {shared.admin}")]))


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["text/plain"],
        ["text/json"],
        ["application/x-www-form-urlencoded"],
        ["application/problem+json"],
        ["application/jsonx"],
        ["application/json; charset=utf-16"],
        ["application/json; charset=latin-1"],
        ["application/json; version=1"],
        ["application/json; charset=utf-8; charset=utf-8"],
        ["application/json,text/plain"],
        ["application/json", "application/json"],
    ],
)
def test_media_types_refused(shared: Api, values: list[str]) -> None:
    """Anything else is 415."""
    headers = [("content-type", value) for value in values] + [("authorization", f"Bearer {shared.admin}")]
    assert verify(shared, headers).outcome == (415, "media-type")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "zstd"])
def test_compressed_bodies(shared: Api, encoding: str) -> None:
    """Nothing is decompressed."""
    headers = [JSON, ("authorization", f"Bearer {shared.admin}"), ("content-encoding", encoding)]
    assert verify(shared, headers, [gzip.compress(BODY)]).outcome == (415, "media-type")


@pytest.mark.parametrize(
    ("path", "limit"), [("/v1/verify", 65_536), ("/v1/tokens", 65_536), ("/v1/verify/batch", 524_288)]
)
def test_size_of_bodies(shared: Api, path: str, limit: int) -> None:
    """The greatest body is read; one octet more is 413, by its header, in one piece and in many."""
    headers = [JSON, ("authorization", f"Bearer {shared.admin}")]
    full = b" " * limit
    assert shared.send("POST", path, headers, [full]).outcome == (400, "bad-request")
    assert shared.send("POST", path, [*headers, ("content-length", str(limit))], [full]).outcome == (400, "bad-request")
    too_large = (413, "too-large")
    assert shared.send("POST", path, headers, [full + b" "]).outcome == too_large
    assert shared.send("POST", path, headers, [full, b" "]).outcome == too_large
    assert shared.send("POST", path, headers, [b" " * 1000] * (limit // 1000 + 1)).outcome == too_large
    assert shared.send("POST", path, [*headers, ("content-length", str(limit + 1))], [b""]).outcome == too_large
    assert shared.send("POST", path, [*headers, ("content-length", "9" * 4400)], [b""]).outcome == too_large


@pytest.mark.parametrize("length", ["-1", "x", "", "1.0", "+5", "0x10", "1e3"])
def test_lengths_that_are_none(shared: Api, length: str) -> None:
    """A server in front refuses these; if one does not, we do."""
    headers = [JSON, ("authorization", f"Bearer {shared.admin}"), ("content-length", length)]
    assert verify(shared, headers).outcome == (400, "bad-request")


def test_body_in_parts(shared: Api) -> None:
    """A body may come in any parts, and as nothing but parts."""
    headers = [JSON, ("authorization", f"Bearer {shared.admin}")]
    assert is_decision(verify(shared, headers, [bytes([octet]) for octet in BODY]))
    assert is_decision(verify(shared, headers, [b"", BODY, b""]))


@pytest.mark.parametrize("path", ["/v1/tokens", "/v1/tokens/x", "/v1/audiences", "/v1/audiences/default"])
def test_bodies_of_get(shared: Api, path: str) -> None:
    """A body of GET is no part of the request, but bounded."""
    headers = [("authorization", f"Bearer {shared.admin}")]
    bare = shared.send("GET", path, headers)
    assert shared.send("GET", path, headers, [b"anything"]).status == bare.status
    assert shared.send("GET", path, headers, [b" " * 65_537]).outcome == (413, "too-large")


def test_nobody_waits_for_the_answer(shared: Api) -> None:
    """A caller who leaves before the body is whole is no fault, and nothing is decided."""
    with pytest.raises((ValueError, IndexError)):  # the driver finds no answer at all
        shared.send("POST", "/v1/verify", [JSON], chunks=())


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/verify"), ("GET", "/v1/tokens"), ("GET", "/healthz")])
def test_headers_of_every_answer(shared: Api, method: str, path: str) -> None:
    """Nothing is stored, sniffed or shared with other origins."""
    for headers in ([], [JSON, ("authorization", f"Bearer {shared.admin}"), ("origin", "https://evil.example")]):
        answer = shared.send(method, path, headers, [BODY])
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert not [name for name in answer.headers if name.startswith("access-control")]
