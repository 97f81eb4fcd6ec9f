"""/v1/forward-auth: what gateways ask, who may ask it, and that nothing unclear is allowed."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pymacaroons import Macaroon

from capsvc.errors import SENTENCES, STATUS, Denied
from capsvc.token import Token

from .conftest import Answer, Api, Header, Party

TOLD = {"Method": "GET", "Uri": "/photos/1", "Host": "app.example.org", "For": "192.0.2.7"}
"""What a gateway tells of an ordinary request, by the ends of the headers' names."""

ACTIONS = {"GET": "read", "HEAD": "read", "PUT": "write"}
PROXIES = ("127.0.0.1", "10.0.0.0/8", "2001:db8::/32")
SAID = {"x-capsvc-subject", "x-capsvc-token-id"}


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A service behind gateways, for the audience ``photos``."""
    opened = Api(
        tmp_path_factory.mktemp("gate"),
        trusted_proxies=PROXIES,
        forward_auth_audience="photos",
        forward_auth_actions=ACTIONS,
    )
    opened.post("/v1/audiences", {"name": "photos"})
    yield opened
    opened.close()


def mint(api: Api, *caveats: str, **fields: Any) -> str:
    """A token for the gateway's audience."""
    token: str = api.mint(**{"audience": "photos", "caveats": caveats, **fields})["token"]
    return token


def forwarded(**told: str | bytes | None) -> list[Header]:
    """The headers of an ordinary request, but for what is given; None leaves one out."""
    return [(f"X-Forwarded-{name}", value) for name, value in {**TOLD, **told}.items() if value is not None]


def ask(api: Api, token: str | None, *more: Header, **told: str | bytes | None) -> Answer:
    """A gateway's question, with a credential if there is one."""
    credential: list[Header] = [] if token is None else [("authorization", f"Bearer {token}")]
    return api.send("GET", "/v1/forward-auth", [*credential, *forwarded(**told), *more])


def allowed(answer: Answer) -> bool:
    """Whether it is allowed; what is not says nothing of the caller that a gateway could pass on."""
    assert answer.headers["cache-control"] == "no-store"
    if answer.status == 200:
        assert answer.body == b""
        assert answer.headers.keys() >= SAID
        return True
    assert answer.status in {401, 403, 503}
    assert not SAID & answer.headers.keys()
    return False


def test_allowed(gate: Api) -> None:
    """200, no body, whom the token speaks for and its id."""
    minted = gate.mint(audience="photos", subject="alice")
    answer = ask(gate, minted["token"])
    assert allowed(answer)
    assert (answer.headers["x-capsvc-subject"], answer.headers["x-capsvc-token-id"]) == ("alice", minted["id"])


def test_nothing_to_say_is_said(gate: Api) -> None:
    """Without a subject the header is there and empty: a gateway would else pass the caller's own."""
    answer = ask(gate, mint(gate), ("x-capsvc-subject", "root"))
    assert allowed(answer)
    assert answer.headers["x-capsvc-subject"] == ""
    assert answer.headers["x-capsvc-token-id"]


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "M-X"]
)
def test_any_method(gate: Api, method: str) -> None:
    """A gateway may ask with any; what counts is the one that it tells."""
    headers = [("authorization", "Bearer " + mint(gate, "method = GET"))]
    assert allowed(gate.send(method, "/v1/forward-auth", [*headers, *forwarded()]))
    refused = gate.send(method, "/v1/forward-auth", [*headers, *forwarded(Method="PUT")])
    assert refused.status == 403
    assert not SAID & refused.headers.keys()


CONTEXT: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "method = GET": ("Method", {"GET": "", "HEAD": "caveat-refused", "get": "caveat-refused"}),
    "action = read": (
        "Method",
        {"GET": "", "HEAD": "", "PUT": "caveat-refused", "POST": "context-missing", "get": "context-missing"},
    ),
    "path under /photos": (
        "Uri",
        {
            "/photos": "",
            "/photos/1": "",
            "/photos?path=/admin": "",
            "/photos/1?/../../admin": "",
            "/photos/%C3%A9": "",
            "/photosx": "caveat-refused",
            "/admin?/photos/": "caveat-refused",
            "/": "caveat-refused",
        },
    ),
    "host = app.example.org": (
        "Host",
        {
            "app.example.org": "",
            "APP.example.org.:443": "",
            "example.org": "caveat-refused",
            "": "context-missing",
            "_": "context-missing",
            "app.example.org,evil.example": "context-missing",
            "user@app.example.org": "context-missing",
        },
    ),
    "ip in 192.0.2.0/24": (
        "For",
        {
            "192.0.2.7": "",
            "::ffff:192.0.2.7": "",
            "198.51.100.1, 192.0.2.7": "",
            "nonsense, 192.0.2.7": "",
            "192.0.2.7, 10.1.1.1": "",
            "198.51.100.1, 192.0.2.7, 10.1.1.1,2001:db8::5": "",
            "192.0.2.7, 198.51.100.1": "caveat-refused",
            "192.0.2.7, 198.51.100.1, 10.1.1.1": "caveat-refused",
            "2001:db9::1": "caveat-refused",
        },
    ),
    "ip in 10.1.0.0/16": (
        "For",
        {"10.1.2.3": "", "10.1.2.3, 10.9.9.9": "", "10.9.9.9, 10.1.2.3": "caveat-refused"},
    ),
}


@pytest.mark.parametrize("caveat", CONTEXT)
def test_what_a_gateway_tells_is_the_context(gate: Api, caveat: str) -> None:
    """Method, action, path without query, host and address: each caveat holds for what it is told, and for that alone.

    The address is the rightmost that is not a proxy's, the leftmost where all are; the action is the configured one of
    the method, and absent for others.
    """
    header, values = CONTEXT[caveat]
    token = mint(gate, caveat)
    for value, code in values.items():
        answer = ask(gate, token, **{header: value})
        assert allowed(answer) is (code == ""), value
        assert not code or answer.outcome == (403, code), value


@pytest.mark.parametrize("peer", [("192.0.2.1", 5), ("127.0.0.2", 5), ("::1", 5), ("", 0), ("unix", 0), None])
def test_from_trusted_proxies_alone(gate: Api, peer: tuple[str, int] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the address of the socket; nothing that is sent makes anybody a proxy."""
    token = mint(gate)
    assert allowed(ask(gate, token))
    with monkeypatch.context() as patched:
        patched.setattr(gate, "peer", peer)
        for more in ((), (("x-real-ip", "127.0.0.1"),), (("forwarded", "for=127.0.0.1"),)):
            assert ask(gate, token, *more).outcome == (403, "forbidden")
            assert ask(gate, token, *more, For="127.0.0.1").outcome == (403, "forbidden")
        assert ask(gate, None).outcome == (403, "forbidden")


@pytest.mark.parametrize("peer", [("10.255.0.1", 5), ("::ffff:127.0.0.1", 5), ("2001:db8::9", 5)])
def test_every_trusted_proxy(gate: Api, peer: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks, IPv6, and IPv4 on a socket for both."""
    with monkeypatch.context() as patched:
        patched.setattr(gate, "peer", peer)
        assert allowed(ask(gate, mint(gate)))


def test_nobody_is_trusted_by_default(shared: Api) -> None:
    """Not even this machine."""
    token = shared.mint()["token"]
    assert ask(shared, token).outcome == (403, "forbidden")


def test_who_is_not_trusted_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """So that whoever set up a gateway learns which address is missing; nobody can fill the log so."""
    opened = Api(tmp_path / "data", trusted_proxies=["127.0.0.1"])
    peers = [None, ("192.0.2.7", 5), ("192.0.2.7", 6), ("x\n" * 50, 1), *[(f"10.0.0.{n}", 1) for n in range(100)]]
    try:
        assert ask(opened, None).code == "credential-missing"
        for peer in peers:
            opened.peer = peer
            answer = ask(opened, None, For="198.51.100.1")
            assert answer.outcome == (403, "forbidden")
            assert "trusted_proxies" not in answer.body.decode()
    finally:
        opened.close()
    lines = [record.getMessage() for record in caplog.records if record.name == "capsvc.http"]
    assert lines[:3] == [
        f"forward-auth was refused to {who}, which is not among trusted_proxies"
        for who in ("a socket without an address", "192.0.2.7", r"x\x0a" * 32)
    ]
    assert len(lines) == 32


@pytest.mark.parametrize("name", TOLD)
def test_each_header_exactly_once(gate: Api, name: str) -> None:
    """Absent or twice, be they the same, is refused; other spellings are read neither in its place nor beside it."""
    token = mint(gate, "path = /photos/1", "method = GET", "host = app.example.org", "ip in 192.0.2.0/24")
    assert allowed(ask(gate, token))
    absent = ask(gate, token, **{name: None})
    why = f"X-Forwarded-{name} has to be there exactly once."
    assert (*absent.outcome, absent.json["detail"]) == (403, "forbidden", why)
    for spelling in (
        f"X_Forwarded_{name}",
        f"X-Forwarded_{name}",
        f"X_Forwarded-{name}",
        f"X-Original-{name}",
        f"X-Rewrite-{name}",
        f"X-Forwarded-{name}-",
        f"X-Forwarded-{name}X",
        f" X-Forwarded-{name}",
        f"Forwarded-{name}",
        name,
    ):
        assert ask(gate, token, (spelling, TOLD[name]), **{name: None}).outcome == (403, "forbidden"), spelling
        assert allowed(ask(gate, token, (spelling, "/admin"))), spelling
    for second in (TOLD[name], "", "/admin"):
        twice = (f"x-forwarded-{name}", second)
        assert ask(gate, token, twice).outcome == (403, "forbidden")
        headers = [twice, ("authorization", f"Bearer {token}"), *forwarded()]
        assert gate.send("GET", "/v1/forward-auth", headers).outcome == (403, "forbidden")


@pytest.mark.parametrize(
    "target",
    [
        "",
        "photos/1",
        "*",
        "app.example.org:443",
        "//photos/1",
        "/photos//1",
        "/photos/./1",
        "/photos/../photos/1",
        "/photos/1/..",
        "/photos/..;/1",
        "/photos/..;x=1/1",
        "/photos/.;/1",
        "/photos/..%3Bx/1",
        "/photos%2F1",
        "/photos%2f1",
        "/photos/%2E%2E/1",
        "/photos/%2e%2e%2fadmin",
        "/photos/%252E%252E/1",
        "/photos/%31",
        "/photos/%5C1",
        "/photos\\1",
        "/photos/%00",
        "/photos/\x00",
        "/photos/1%0d%0aX-Capsvc-Subject:%20root",
        "/photos/%0A",
        "/photos/1#x",
        "/photos/%3Fx",
        "/photos/%",
        "/photos/%zz",
        "/photos/%c3%a9",
        "/photos/%FF",
        "/photos/%C2%85",
        "/photos/\xe9",
        "/photos/ 1",
        "/photos/\t1",
        "http://app.example.org/photos/1",
        "https://app.example.org/photos/1",
        "http:/photos/1",
        "/photos/" + "a" * 2048,
    ],
)
def test_targets_that_are_not_clear(gate: Api, target: str) -> None:
    """The path is in normal form or the request is refused, whatever the token says of paths; nothing is repaired."""
    token = mint(gate)
    assert allowed(ask(gate, token, Uri="/photos/" + "a" * 2000))
    for suffix in ("", "?x=1"):
        answer = ask(gate, token, Uri=(target + suffix).encode("latin-1"))
        assert answer.outcome == (403, "context-invalid")
        assert answer.json["detail"] == SENTENCES["context-invalid"], "the context is the gateway's, not the caller's"


@pytest.mark.parametrize("method", ["", "GET POST", "GET,POST", "G\xcbT", "GET\x00", "-GET", "A" * 129])
def test_methods_that_are_none(gate: Api, method: str) -> None:
    """A method is a word, or the request is refused."""
    token = mint(gate)
    assert allowed(ask(gate, token, Method="PROPFIND"))
    assert ask(gate, token, Method=method.encode("latin-1")).outcome == (403, "context-invalid")


@pytest.mark.parametrize(
    "addresses",
    [
        "",
        " ",
        ",",
        "unknown",
        "_hidden",
        "192.0.2.7:443",
        "[2001:db9::1]",
        "2001:db9::1%eth0",
        "192.0.2.07",
        "192.0.2",
        "0xC0000207",
        "3221225991",
        "192.0.2.7,",
        "192.0.2.7, ,10.0.0.1",
        "192.0.2.7, unknown",
        "192.0.2.7 10.0.0.1",
        "for=192.0.2.7",
        "192.0.2.7\x00",
        "192.0.2.7\xa0",
    ],
)
def test_addresses_that_are_none(gate: Api, addresses: str) -> None:
    """Where the client's address should stand there is one, or the request is refused."""
    token = mint(gate)
    assert allowed(ask(gate, token, For="192.0.2.7\t,  10.0.0.1"))
    assert ask(gate, token, For=addresses.encode("latin-1")).outcome == (403, "forbidden")


def test_credentials(gate: Api) -> None:
    """401 and a challenge for none, two, another scheme, a comma in one, or octets that no token has."""
    token = mint(gate)
    good = f"Bearer {token}"
    assert allowed(ask(gate, None, ("authorization", good.replace("Bearer", "bEARER  "))))
    missing: list[tuple[Header, ...]] = [
        (),
        (("authorization", "Basic " + base64.b64encode(f"x:{token}".encode()).decode()),),
        (("authorization", token),),
        (("authorization", ""),),
        (("proxy-authorization", good),),
        (("authorization_", good),),
        (("x-authorization", good),),
        (("cookie", f"macaroon-capsvc={token}"),),
    ]
    for headers in missing:
        answer = ask(gate, None, *headers)
        assert answer.outcome == (401, "credential-missing")
        assert answer.headers["www-authenticate"] == 'Bearer realm="capsvc"'
    malformed: list[tuple[Header, ...]] = [
        (("authorization", good), ("authorization", good)),
        (("authorization", good), ("authorization", "")),
        (("authorization", ""), ("authorization", good)),
        (("authorization", good), ("authorization", "Basic eDp5")),
        (("authorization", f"{good}, {good}"),),
        (("authorization", f"{good},"),),
        (("authorization", f"{good} x"),),
        (("authorization", good.encode() + b"\xc3\xa9"),),
        (("authorization", b"\xa0".join([b"Bearer ", token.encode()])),),
        (("authorization", "Bearer"),),
    ]
    for headers in malformed:
        answer = ask(gate, None, *headers)
        assert answer.outcome == (401, "malformed"), headers
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    for query in (f"?access_token={token}", f"?token={token}"):
        assert ask(gate, None, Uri=f"/photos/1{query}").outcome == (401, "credential-missing")
        own = gate.send("GET", f"/v1/forward-auth{query}", forwarded())
        assert own.outcome == (401, "credential-missing")
        both = [("authorization", good), *forwarded()]
        assert allowed(gate.send("GET", f"/v1/forward-auth{query}", both))


def test_decisions(gate: Api) -> None:
    """What the decision says, with its status: of the token 401, of its caveats 403."""
    token = mint(gate, subject="alice")
    parent = Token.parse(token)
    revoked = mint(gate)
    gate.post("/v1/revocations", {"token": revoked})
    login = Party().registered(gate)
    expected = {
        gate.mint()["token"]: "wrong-audience",
        gate.admin: "wrong-audience",
        token[:-4] + "AAAA": "invalid-token",
        "A" * 40_000: "too-large",
        revoked: "revoked",
        str(parent.attenuate("time < 2026-11-22T12:00:00Z")): "expired",
        str(parent.attenuate("time >= 2026-11-22T12:00:01Z")): "not-yet-valid",
        mint(gate, third_party=[login.asks()]): "discharge-missing",
        str(parent.attenuate("floor = 1", attributes={"floor": {"type": "integer"}})): "context-missing",
        str(parent.attenuate("sub = bob")): "caveat-refused",
        str(parent.attenuate("tenant = acme", attributes={"tenant": {"type": "word", "fact": True}})): "fact-conflict",
    }
    for presented, code in expected.items():
        answer = ask(gate, presented)
        assert answer.outcome == (STATUS[code], code)
        assert "www-authenticate" in answer.headers
        assert answer.headers["content-type"] == "application/problem+json"
    third = mint(gate, third_party=[login.asks()])
    assert allowed(ask(gate, login.bundle(third)))
    assert allowed(ask(gate, token))


def test_a_revocation_is_in_force_at_once(api: Api, tmp_path: Path) -> None:
    """Nothing is kept between two questions."""
    gate = Api(tmp_path / "gate", trusted_proxies=PROXIES)
    try:
        minted = gate.mint(subject="alice")
        for _ in range(5):
            assert allowed(ask(gate, minted["token"]))
        gate.post("/v1/revocations", {"id": minted["id"]})
        assert ask(gate, minted["token"]).outcome == (401, "revoked")
        assert allowed(ask(gate, gate.mint()["token"]))
    finally:
        gate.close()


def test_without_an_audience_it_is_the_default_one(tmp_path: Path) -> None:
    """And without actions the context has none."""
    gate = Api(tmp_path / "gate", trusted_proxies=["127.0.0.1"])
    try:
        assert allowed(ask(gate, gate.mint()["token"]))
        gate.post("/v1/audiences", {"name": "photos"})
        assert ask(gate, mint(gate)).outcome == (401, "wrong-audience")
        assert ask(gate, gate.mint(caveats=["action = read"])["token"]).outcome == (403, "context-missing")
    finally:
        gate.close()


def test_no_decision_is_503(gate: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the state cannot be read; never 200, and never as if the token were to blame."""
    token = mint(gate)

    def unavailable(*_: object, **__: object) -> NoReturn:
        raise Denied("unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(gate.authority, "authorize", unavailable)
        answer = ask(gate, token)
        assert answer.outcome == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert not allowed(answer)
    assert allowed(ask(gate, token))


@pytest.mark.parametrize(
    "more",
    [
        (("content-length", "99999999"),),
        (("content-length", "x"),),
        (("transfer-encoding", "chunked"),),
        (("content-type", "application/json"), ("content-encoding", "gzip")),
        (("expect", "100-continue"),),
    ],
)
def test_bodies_are_not_read(gate: Api, more: tuple[Header, ...]) -> None:
    """Whatever is announced, nothing is waited for: with no message of a body there is an answer."""
    token = mint(gate)
    headers = [("authorization", f"Bearer {token}"), *forwarded(), *more]
    assert allowed(gate.send("POST", "/v1/forward-auth", headers, chunks=()))


def test_a_large_bundle_passes(gate: Api) -> None:
    """As large as bundles may be, beside other headers; more is the token's own fault."""
    location = "https://large.example.org"
    root = Macaroon.deserialize(mint(gate))
    discharges = []
    for n in range(16):
        root.add_third_party_caveat(location, "key", f"cid{n}")
        discharges.append(Macaroon(location=location, identifier=f"cid{n}", key="key", version=2))
        for _ in range(3):
            discharges[-1].add_first_party_caveat(f"action in read,{'w' * 30},{'x' * 128},{'y' * 128},{'z' * 128}")
    bundle = bound(root, discharges)
    assert 31_000 < len(bundle) <= 32_768
    assert allowed(ask(gate, bundle, ("cookie", "x" * 20_000)))
    assert ask(gate, bundle + "~" + "A" * (32_768 - len(bundle))).outcome == (401, "too-large")


def bound(root: Macaroon, discharges: Sequence[Macaroon]) -> str:
    """A bundle."""
    return "~".join([root.serialize(), *(root.prepare_for_request(one).serialize() for one in discharges)])


@pytest.mark.parametrize("spelling", ["/v1/forward-auth/", "/v1//forward-auth", "/v1/forward_auth", "/V1/forward-auth"])
def test_other_addresses(gate: Api, spelling: str) -> None:
    """A twin of the address is none."""
    headers = [("authorization", f"Bearer {mint(gate)}"), *forwarded()]
    assert gate.send("GET", "/v1/forward-auth", headers).status == 200
    assert gate.send("GET", spelling, headers).status == 404


def test_the_document_has_every_method(gate: Api) -> None:
    """All that OpenAPI can tell of, but for HEAD, which goes with GET."""
    operations = gate.get("/openapi.json").json["paths"]["/v1/forward-auth"]
    assert operations.keys() == {"get", "put", "post", "delete", "options", "patch", "trace"}
    for operation in operations.values():
        assert operation["responses"].keys() == {"200", "401", "403", "503"}
        assert {one["name"] for one in operation["parameters"]} == {f"X-Forwarded-{name}" for name in TOLD}
