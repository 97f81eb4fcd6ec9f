"""The verifier that asks: when it does, when it does not, and what becomes of every failure."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import httpx
import pytest

from capsvc.asgi import EmbeddedVerifier, RemoteVerifier
from capsvc.asgi.asking import Asker
from capsvc.asgi.remote import KEPT, _Refusals
from capsvc.client.connection import AsyncConnection
from capsvc.errors import Denied, TokenError
from capsvc.macaroon.build import mint
from capsvc.macaroon.decode import decode, encode
from capsvc.token import Token

from .conftest import PATIENCE, Office, narrowed

URL = "http://127.0.0.1:8700"
CREDENTIAL = "AgEVaHR0cDovLzEyNy4wLjAuMTo4NzAwAjpjYXAx"
TOKEN = mint(b"k" * 32, "https://tokens.example", b"cap1.0123456789abcdef.AAAAAAAAAAAAAAAAAAAAAA.1795348800.0", [])
"""A token that says nothing of time."""
GRANTED = {
    "allowed": True,
    "id": "A" * 22,
    "audience": "default",
    "subject": None,
    "issued_at": "2026-11-22T12:00:00Z",
    "expires_at": "2026-11-22T13:00:00Z",
    "facts": {},
    "declared": {},
    "caveats": [],
}

Run = Callable[[RemoteVerifier], Coroutine[Any, Any, Any]]
Answer = httpx.Response | Exception


def granted() -> httpx.Response:
    """An answer that allows."""
    return httpx.Response(200, json=GRANTED)


def denied(code: str) -> httpx.Response:
    """An answer that does not."""
    return httpx.Response(200, json={"allowed": False, "code": code, "message": "no", "caveat": None})


def problem(status: int, code: str) -> httpx.Response:
    """A refusal of the request itself."""
    content = json.dumps({"status": status, "code": code, "detail": "no"}).encode()
    return httpx.Response(status, content=content, headers={"content-type": "application/problem+json"})


class Played:
    """An authority that answers in turn, the last answer again and again; it counts."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.asked = 0
        self.contexts: list[Any] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The next answer."""
        self.asked += 1
        self.contexts.append(json.loads(request.content).get("context"))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def outcomes(
    played: Played, times: int = 1, token: str = TOKEN, context: Mapping[str, object] = {}, **options: Any
) -> list[str]:
    """What the verifier says, so many times, on one event loop; "" where it allows."""

    async def run() -> list[str]:
        verifier = RemoteVerifier(URL, CREDENTIAL, transport=httpx.MockTransport(played))
        said: list[str] = []
        for _ in range(times):
            try:
                await verifier.authorize(token, audience="default", context=context, **options)
                said.append("")
            except Denied as no:
                said.append(no.code)
        await verifier.aclose()
        return said

    return asyncio.run(run())


def test_what_is_allowed_is_asked_every_time() -> None:
    """Nothing that is allowed is remembered: the next answer may be another."""
    played = Played(granted(), granted(), denied("caveat-refused"), granted())
    assert outcomes(played, 4) == ["", "", "caveat-refused", ""]
    assert played.asked == 4


@pytest.mark.parametrize("code", ["wrong-audience", "revoked", "no-expiry"])
def test_refusals_that_cannot_change(code: str) -> None:
    """They are asked once; a critical request asks nevertheless."""
    played = Played(denied(code))
    assert outcomes(played, 3) == [code] * 3
    assert played.asked == 1
    assert outcomes(played, 3, critical=True) == [code] * 3
    assert played.asked == 4


@pytest.mark.parametrize(
    "code",
    [
        "invalid-token",
        "expired",  # by the audience's max_ttl, which can be raised: the token itself bears no bound that has passed
        "not-yet-valid",
        "discharge-missing",
        "discharge-invalid",
        "discharge-unused",
        "too-large",
        "caveat-malformed",
        "caveat-unknown",
        "caveat-refused",
        "context-invalid",
        "context-missing",
        "fact-conflict",
        "unavailable",
    ],
)
def test_refusals_that_can(code: str) -> None:
    """They depend on the request, on keys, on who is registered, or on time: asked every time."""
    played = Played(denied(code), denied(code), granted())
    assert outcomes(played, 3) == [code, code, ""]
    assert played.asked == 3


def test_expired_for_good(office: Office) -> None:
    """A token whose own bound has passed is asked about once; one that its audience let expire, every time."""
    authority = office.authority
    authority.add_audience("short", 60)
    own = office.mint(ttl=30)
    short = office.mint(audience="short", ttl=60)
    authority.set_max_ttl("short", 10)
    office.clock.now += 30
    counted: list[str] = []

    class Counting(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            counted.append("asked")
            return await super().handle_async_request(request)

    async def run() -> None:
        verifier = RemoteVerifier(
            office.url, office.credential, clock=office.clock, timeout=PATIENCE, transport=Counting()
        )
        for token, audience in ((own, "default"), (short, "short")):
            for _ in range(2):
                with pytest.raises(Denied) as caught:
                    await verifier.authorize(token, audience=audience, context={})
                assert caught.value.code == "expired"
        assert len(counted) == 3
        authority.set_max_ttl("short", 60)
        assert (await verifier.authorize(short, audience="short", context={})).audience == "short"
        await verifier.aclose()

    asyncio.run(run())


def test_another_token_and_another_audience(office: Office) -> None:
    """What is remembered of one says nothing of any other."""

    async def run() -> None:
        verifier = RemoteVerifier(office.url, office.credential, clock=office.clock, timeout=PATIENCE)
        token, other = office.mint(), office.mint()
        office.authority.add_audience("others", None)
        office.authority.revoke(id=Token.parse(token).id)

        async def code(text: str, audience: str = "default") -> str:
            try:
                await verifier.authorize(text, audience=audience, context={})
            except Denied as no:
                return no.code
            return ""

        assert [await code(token), await code(token, "others"), await code(other)] == ["revoked", "wrong-audience", ""]
        assert [await code(token), await code(narrowed(token, "method = GET")), await code(other)] == [
            "revoked"
        ] * 2 + [""]
        await verifier.aclose()

    asyncio.run(run())


def test_a_refusal_is_remembered_of_a_chain_and_its_discharges() -> None:
    """Not of a text: another location, which is under no MAC, changes nothing; another discharge does."""
    played = Played(denied("revoked"))
    root = decode(TOKEN)
    elsewhere = encode(root._replace(location=b"https://elsewhere.example"))
    bundle = f"{TOKEN}~{encode(root)}"

    async def run() -> None:
        verifier = RemoteVerifier(URL, CREDENTIAL, transport=httpx.MockTransport(played))
        for text, asked in (
            (TOKEN, 1),
            (elsewhere, 1),
            (encode(root._replace(signature=b"s" * 32)), 2),
            (bundle, 3),
            (f"{elsewhere}~{encode(root)}", 3),
            (f"{TOKEN}~{encode(root._replace(signature=b's' * 32))}", 4),
            (TOKEN, 4),
        ):
            with pytest.raises(Denied):
                await verifier.authorize(text, audience="default", context={})
            assert played.asked == asked
        with pytest.raises(Denied):
            await verifier.authorize(TOKEN, audience="others", context={})
        assert played.asked == 5
        await verifier.aclose()

    asyncio.run(run())


def test_what_is_remembered_is_bounded() -> None:
    """In number, and to a minute; what comes again is the youngest."""
    now = [0.0]
    refusals = _Refusals(lambda: now[0])
    keys = [number.to_bytes(4, "big") for number in range(KEPT + 1)]
    for key in keys[:KEPT]:
        refusals.keep(key, "revoked")
    refusals.keep(keys[0], "revoked")
    refusals.keep(keys[KEPT], "expired")
    assert refusals.find(keys[1]) is None
    assert refusals.find(keys[0]) == refusals.find(keys[2]) == "revoked"
    assert refusals.find(keys[KEPT]) == "expired"
    assert len(refusals._known) == KEPT == 4096
    now[0] = 59.9
    assert refusals.find(keys[0]) == "revoked"
    now[0] = 60.0
    assert refusals.find(keys[0]) is None


def test_what_is_no_token_by_its_text() -> None:
    """Nobody is asked about it."""
    played = Played(granted())
    for text, code in {
        "": "malformed",
        "nonsense": "malformed",
        TOKEN + "=": "malformed",
        f"{TOKEN}~": "malformed",
        "A" * 16_385: "too-large",
        "~".join([TOKEN] * 18): "too-large",
        "\udcff": "malformed",
        TOKEN[:-1] + "é": "malformed",
    }.items():
        assert outcomes(played, token=text) == [code], text[:20]
    assert played.asked == 0
    assert outcomes(played) == [""]


CONNECT = httpx.ConnectError("refused")
CLOSED = httpx.RemoteProtocolError("Server disconnected without sending a response.")


@pytest.mark.parametrize("lost", [CONNECT, CLOSED, httpx.ReadError("reset"), httpx.WriteError("broken pipe")])
def test_a_lost_connection_is_tried_again_once(lost: Exception) -> None:
    """An authority that restarts, or closes a connection just as it is used again, costs nobody anything."""
    played = Played(lost, granted())
    assert (outcomes(played), played.asked) == ([""], 2)
    played = Played(lost)
    assert (outcomes(played), played.asked) == (["unavailable"], 2)
    played = Played(lost, denied("caveat-refused"))
    assert (outcomes(played), played.asked) == (["caveat-refused"], 2)


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ReadTimeout("slow"),
        httpx.ConnectTimeout("slow"),
        httpx.PoolTimeout("busy"),
        problem(503, "unavailable"),
        problem(429, "rate-limited"),
        problem(401, "expired"),
        problem(401, "revoked"),
        problem(401, "credential-missing"),
        problem(403, "forbidden"),
        problem(403, "caveat-refused"),
        problem(400, "bad-request"),
        problem(413, "too-large"),
        problem(404, "not-found"),
        httpx.Response(502, content=b"<html>"),
        httpx.Response(302, headers={"location": "http://example.org"}),
        httpx.Response(200, content=b"{"),
        httpx.Response(200, content=b"<html>", headers={"content-type": "text/html"}),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={}),
        httpx.Response(200, json={"allowed": 1}),
        httpx.Response(200, json={"allowed": "true"}),
        httpx.Response(200, json={**GRANTED, "audience": "others"}),
        httpx.Response(200, json={**GRANTED, "expires_at": None}),
        httpx.Response(200, json={"allowed": False, "code": "fine"}),
        httpx.Response(201, json=GRANTED),
    ],
)
def test_every_other_failure(failure: Answer) -> None:
    """``unavailable``, asked once and remembered by nobody; what is said of our own credential is not of the token."""
    played = Played(failure, granted())
    assert outcomes(played, 2) == ["unavailable", ""]
    assert played.asked == 2


def test_an_audience_that_there_is_not() -> None:
    """No token is for it."""
    assert outcomes(Played(problem(422, "audience-unknown"))) == ["wrong-audience"]


def test_failures_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Once a kind, and once when it is well again: whoever asks in vain does not fill a disk."""
    down, forbidden = CONNECT, problem(403, "forbidden")
    played = Played(*[down] * 6, *[forbidden] * 3, denied("caveat-refused"), *[down] * 2, granted(), granted())
    with caplog.at_level(logging.INFO, "capsvc.asgi"):
        assert outcomes(played, 10) == ["unavailable"] * 6 + ["caveat-refused", "unavailable", "", ""]
    said = [record.getMessage() for record in caplog.records if record.name == "capsvc.asgi"]
    assert [line.partition(":")[0] for line in said] == [
        "the authority cannot be asked (unavailable)",
        "the authority cannot be asked (forbidden)",
        "the authority answers again",
        "the authority cannot be asked (unavailable)",
        "the authority answers again",
    ]
    assert not any(CREDENTIAL in line or TOKEN in line for line in said)


@pytest.mark.parametrize(
    "value", [True, 1.0, float("nan"), None, [1], {}, 2**64, -(2**64), "\ud800", "é", "a" * 2049, b"a"]
)
def test_values_that_no_context_has(value: object) -> None:
    """They become one that is of no type, so that the authority refuses the context in its turn."""
    played = Played(denied("context-invalid"))
    assert outcomes(played, context={"floor": value, "action": "read"}) == ["context-invalid"]
    assert played.contexts == [{"floor": "", "action": "read"}]


def test_values_that_one_may_have() -> None:
    """They travel as they are."""
    played = Played(granted())
    context = {"floor": -(2**63), "plan": 2**63, "action": "read", "path": "/" + "a" * 2047, "album": ""}
    assert outcomes(played, context=context) == [""]
    assert played.contexts == [context]


def test_closed_and_opened_again() -> None:
    """As an application that is started twice does it; closing twice is closing once."""
    played = Played(granted())

    async def run() -> None:
        verifier = RemoteVerifier(URL, CREDENTIAL, transport=httpx.MockTransport(played))
        for _ in range(2):
            await verifier.open()
            await verifier.open()
            await verifier.authorize(TOKEN, audience="default", context={})
            await verifier.aclose()
            await verifier.aclose()
        await verifier.authorize(TOKEN, audience="default", context={})
        assert CREDENTIAL not in repr(verifier)
        await verifier.aclose()

    asyncio.run(run())
    assert played.asked == 3


def test_what_it_takes() -> None:
    """An address to which a credential may go, a credential, a time over 0: or it does not come to be."""
    with pytest.raises(ValueError, match="https"):
        RemoteVerifier("http://example.org", CREDENTIAL)
    with pytest.raises(TokenError):
        RemoteVerifier(URL, "not a token")
    for recheck in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="recheck"):
            RemoteVerifier(URL, CREDENTIAL, recheck=recheck)


def test_asking_for_a_prefix() -> None:
    """The same question, with what a prefix verifier needs."""
    bodies: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return granted()

    async def run() -> None:
        connection = AsyncConnection(URL, CREDENTIAL, timeout=PATIENCE, transport=httpx.MockTransport(answer))
        asker = Asker(connection, timeout=PATIENCE)
        await asker.ask(TOKEN, audience="default", context={}, prefix=True)
        await asker.ask(TOKEN, audience="default", context={})
        await asker.close()

    asyncio.run(run())
    assert bodies[0]["prefix"] is True
    assert not any(body.get("explain") for body in bodies)
    assert not bodies[1].get("prefix")


def test_a_token_that_somebody_made_up() -> None:
    """That its text says it has expired is not what it was refused for: the next answer may be another."""
    old = mint(
        b"k" * 32, "https://x", b"cap1.0123456789abcdef.AAAAAAAAAAAAAAAAAAAAAA.1.1", ["time < 2020-01-01T00:00:00Z"]
    )
    played = Played(denied("invalid-token"), denied("expired"), granted())
    assert outcomes(played, 3, token=old) == ["invalid-token", "expired", "expired"]
    assert played.asked == 2


def test_verifiers_tell_how_often_they_are_asked_again(shared_office: Office) -> None:
    """By default, and as they are told; never with no pause at all."""
    embedded = EmbeddedVerifier(shared_office.authority)
    assert (embedded.recheck, RemoteVerifier(URL, CREDENTIAL).recheck) == (0.25, 0.5)
    assert EmbeddedVerifier(shared_office.authority, recheck=0.1).recheck == 0.1
    assert RemoteVerifier(URL, CREDENTIAL, recheck=0.1).recheck == 0.1
    for recheck in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="recheck"):
            EmbeddedVerifier(shared_office.authority, recheck=recheck)
    assert repr(embedded) == f"<EmbeddedVerifier {shared_office.authority.issuer}>"
    assert repr(RemoteVerifier(URL, CREDENTIAL)) == f"<RemoteVerifier {URL}>"


def test_an_embedded_verifier_asks_the_authority(shared_office: Office) -> None:
    """About everything, critical or not, with the whole context."""
    verifier = EmbeddedVerifier(shared_office.authority)
    token = shared_office.mint("action = read")

    async def code(audience: str, critical: bool, **context: object) -> str:
        try:
            await verifier.authorize(token, audience=audience, context=context, critical=critical)
        except Denied as no:
            return no.code
        return ""

    async def run() -> None:
        await verifier.open()
        for critical in (False, True):
            assert await code("default", critical, action="read") == ""
            assert await code("default", critical) == "context-missing"
            assert await code("capsvc", critical, action="read") == "wrong-audience"
        await verifier.aclose()
        assert await code("default", False, action="read") == ""  # noqa: FBT003

    asyncio.run(run())
