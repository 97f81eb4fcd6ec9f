"""What gateways let through, and what they refuse, with the examples' own lines."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from pymacaroons import Macaroon

from capsvc.token import Token

from .conftest import Behind
from .gateway import request

Headers = list[tuple[str, str | bytes]]


def test_allowed(behind: Behind) -> None:
    """The application gets the request as it was sent, with the subject and the token's id that the service says."""
    status, _, minted = behind.authority.ask(
        "POST", "/v1/tokens", {"audience": "photos", "ttl": 600, "subject": "alice"}
    )
    assert status == 201
    seen = behind.reached("/photos/1?size=%2F..%2f", ("X-Other", "kept"), token=minted["token"])
    assert (seen.method, seen.target) == ("GET", "/photos/1?size=%2F..%2f")
    assert (seen.subjects, seen.token_ids) == (["alice"], [minted["id"]])
    assert ("X-Other", "kept") in seen.headers


def test_without_a_subject(behind: Behind) -> None:
    """The application is told of none."""
    seen = behind.reached(token=behind.authority.token())
    assert "".join(seen.subjects) == ""
    assert len(seen.token_ids) == 1


def test_a_revocation_is_in_force_at_once(behind: Behind) -> None:
    """Every request is a question to the authority: after a revocation no path is served, for that token alone."""
    token = behind.authority.token(subject="alice")
    narrow = str(Token.parse(token).attenuate("path under /photos"))
    for _ in range(3):
        behind.reached(token=narrow)
    behind.authority.revoke(token=narrow)
    refused = behind.refused(token=narrow)
    assert (refused.status, 'error="invalid_token"' in str(refused.header("www-authenticate"))) == (401, True)
    behind.reached(token=token)
    behind.authority.revoke(audience="photos", subject="alice")
    assert behind.refused(token=token).status == 401
    assert behind.gateway.ask("/files/public.txt", token=token).status == 401


def _basic(token: str) -> Headers:
    return [("Authorization", "Basic " + base64.b64encode(f"x:{token}".encode()).decode())]


CREDENTIALS: dict[str, tuple[int, Callable[[str], Headers]]] = {
    "none": (401, lambda _: []),
    "basic": (401, _basic),
    "no scheme": (401, lambda token: [("Authorization", token)]),
    "another header": (401, lambda token: [("Proxy-Authorization", f"Bearer {token}")]),
    "underscore": (401, lambda token: [("Authorization_", f"Bearer {token}")]),
    "cookie": (401, lambda token: [("Cookie", f"macaroon-capsvc={token}")]),
    "comma": (401, lambda token: [("Authorization", f"Bearer {token}, Bearer {token}")]),
    "two in one": (401, lambda token: [("Authorization", f"Bearer {token} {token}")]),
    "not ascii": (401, lambda token: [("Authorization", f"Bearer {token}\xe9")]),
    "too large": (401, lambda token: [("Authorization", "Bearer " + token * (33_000 // len(token)))]),
    "altered": (401, lambda token: [("Authorization", f"Bearer {token[:-4]}AAAA")]),
}


@pytest.mark.parametrize("case", CREDENTIALS)
def test_credentials(behind: Behind, case: str) -> None:
    """One Bearer credential that is good, or 401 with the challenge."""
    status, headers = CREDENTIALS[case]
    token = behind.authority.token()
    behind.reached("/photos/1", ("aUTHORIZATION", f"bEARER   {token}"))
    answer = behind.refused("/photos/1", *headers(token))
    assert answer.status == status
    assert str(answer.header("www-authenticate")).startswith('Bearer realm="capsvc"')


@pytest.mark.parametrize("second", ["Bearer {}", "Bearer x", "Basic eDp5", ""])
def test_two_credentials(behind: Behind, second: str) -> None:
    """Two headers are refused, in either order; nginx does so itself."""
    token = behind.authority.token()
    one, other = ("Authorization", f"Bearer {token}"), ("Authorization", second.format(token))
    behind.reached("/photos/1", one)
    expected = 400 if behind.gateway.name == "nginx" else 401
    assert behind.refused("/photos/1", one, other).status == expected
    assert behind.refused("/photos/1", other, one).status == expected


def test_a_token_in_the_address_is_none(behind: Behind) -> None:
    """Whatever it is called; beside a credential it is no more than a part of the address."""
    token = behind.authority.token()
    for name in ("access_token", "token", "Authorization"):
        assert behind.refused(f"/photos/1?{name}={token}").status == 401
    assert behind.reached("/photos/1?access_token=x", token=token).target == "/photos/1?access_token=x"


def test_headers_that_are_too_large(behind: Behind) -> None:
    """64 KiB in one header or in many are refused; a bundle's 32 KiB pass, beside as much of others."""
    token = behind.authority.token()
    some: Headers = [(f"X-{n}", "x" * 6_000) for n in range(4)]
    behind.reached("/photos/1", *some, token=token)
    for many in ([("Cookie", "x" * 66_000)], [(f"X-{n}", "x" * 6_000) for n in range(11)]):
        assert behind.refused("/photos/1", *many, token=token).status in {400, 431, 500}


def test_a_large_bundle_passes(behind: Behind) -> None:
    """As large as bundles may be, through gateway and service."""
    root = Macaroon.deserialize(behind.authority.token(subject="alice"))
    discharges = []
    for n in range(16):
        root.add_third_party_caveat("https://who.example.org", "key", f"cid{n}")
        discharges.append(Macaroon(location="https://who.example.org", identifier=f"cid{n}", key="key", version=2))
        for _ in range(3):
            words = ",".join(["read", "w" * 30, "x" * 128, "y" * 128, "z" * 128])
            discharges[-1].add_first_party_caveat(f"action in {words}")
    bundle = "~".join([root.serialize(), *(root.prepare_for_request(one).serialize() for one in discharges)])
    assert 31_000 < len(bundle) <= 32_768
    assert behind.reached(token=bundle).subjects == ["alice"]
    assert behind.refused(token=bundle + "~x").status == 401


@pytest.mark.parametrize(
    ("caveat", "allowed", "refused"),
    [
        ("method = GET", {"method": "GET"}, {"method": "POST"}),
        ("method in GET,PROPFIND", {"method": "PROPFIND"}, {"method": "DELETE"}),
        ("action = read", {"method": "HEAD"}, {"method": "PUT"}),
        ("action = write", {"method": "PUT"}, {"method": "POST"}),
        ("path under /photos", {"target": "/photos/2"}, {"target": "/photosx"}),
        ("path = /", {"target": "/"}, {"target": "/photos/1"}),
        ("host = app.example.org", {"host": "APP.example.org:8080"}, {"host": "evil.example"}),
        ("ip in 127.0.0.2/32", {"source": "127.0.0.2"}, {"source": "127.0.0.3"}),
    ],
)
def test_caveats(behind: Behind, caveat: str, allowed: dict[str, Any], refused: dict[str, Any]) -> None:
    """Each is judged by what the request is: 403 where it does not hold."""
    token = behind.authority.token(caveat)
    if allowed.get("method") == "HEAD":
        assert behind.gateway.ask(token=token, **allowed).status == 200
    else:
        behind.reached(token=token, **allowed)
    assert behind.refused(token=token, **refused).status == 403


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_requests_without_a_host(behind: Behind, version: str) -> None:
    """What a caveat on the host needs is not there, so that it does not hold; HTTP/1.1 has a Host always."""
    token = behind.authority.token("host = app.example.org")
    behind.reached(token=token, version=version)
    assert behind.refused(token=token, version=version, host=None).status == (403 if version == "1.0" else 400)


def test_bodies_go_to_the_application_alone(behind: Behind) -> None:
    """A body of a megabyte, whole or in chunks: the gateway asks without it."""
    token = behind.authority.token()
    body = bytes(range(256)) * 4096
    assert behind.reached(method="POST", body=body, token=token).body == body
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    head = request("/photos/1", ("Transfer-Encoding", "chunked"), token=token, method="POST")
    behind.seen()
    assert behind.gateway.send(head + chunked, "POST").status == 200
    (seen,) = behind.seen()
    assert seen.body == body
    assert behind.refused(method="POST", body=body).status == 401


def test_one_connection_many_callers(behind: Behind) -> None:
    """Each request of a connection is judged by itself."""
    alice, bob = behind.authority.token(subject="alice"), behind.authority.token("method = PUT", subject="bob")
    keep = ("Connection", "keep-alive")
    behind.seen()
    answers = behind.gateway.converse(
        request("/photos/1", keep, token=alice),
        request("/photos/2", keep),
        request("/photos/3", keep, token=bob),
        request("/photos/4", token=alice),
    )
    assert [answer.status for answer in answers] == [200, 401, 403, 200]
    assert [(seen.target, *seen.subjects) for seen in behind.seen()] == [("/photos/1", "alice"), ("/photos/4", "alice")]


@pytest.mark.parametrize(
    "smuggled",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\nContent-Length: 0\r\n\r\n",
        b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
        b"Content-Length: +0\r\n\r\n",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_smuggled_requests(behind: Behind, smuggled: bytes) -> None:
    """What one program along the way could take for a second request reaches nobody without its own credential."""
    token = behind.authority.token("path under /photos")
    head = request("/photos/1", ("Connection", "keep-alive"), token=token, method="POST").removesuffix(b"\r\n")
    behind.seen()
    behind.gateway.send(head + smuggled + request("/admin", ("X-Capsvc-Subject", "root")), "POST")
    assert {seen.target for seen in behind.seen()} <= {"/photos/1"}


def test_a_static_site(behind: Behind) -> None:
    """Files are served to whom the token allows their path, and to nobody else."""
    token = behind.authority.token()
    public = str(Token.parse(token).attenuate("path = /files/public.txt"))
    ask = behind.gateway.ask
    for target, content in (
        ("/files/public.txt", b"for many\n"),
        ("/files/secret/plan.txt", b"for few\n"),
        ("/files/a%20b.txt", b"with a space\n"),
        ("/files/%C3%A9.txt", b"accented\n"),
    ):
        answer = ask(target, token=token)
        assert (answer.status, answer.body) == (200, content)
        assert ask(target).status == 401
    assert ask("/files/public.txt", token=public).status == 200
    assert ask("/files/secret/plan.txt", token=public).status == 403
    assert ask("/files/nothing.txt", token=token).status == 404


def test_nginx_asks_where_nobody_else_can(behind: Behind) -> None:
    """The place where nginx asks is no address of its own; Caddy has none."""
    token = behind.authority.token()
    if behind.gateway.name == "nginx":
        assert behind.refused("/_capsvc", token=token).status == 404
    assert behind.refused("/_capsvc").status in {401, 404}
    behind.reached("/v1/forward-auth", token=token)
    assert behind.refused("/v1/forward-auth").status == 401
