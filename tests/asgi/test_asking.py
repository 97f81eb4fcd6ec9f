"""Asking the authority together: who shares a request, that each gets his own answer, that nobody waits long."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from itertools import chain
from typing import Any

import httpx
import pytest

from capsvc import wire
from capsvc.asgi import RemoteVerifier
from capsvc.asgi.asking import ALONE_AT_ONCE, ALONE_SECONDS, AT_ONCE, TOGETHER, Asker, _Question
from capsvc.client.connection import AsyncConnection
from capsvc.errors import Denied
from capsvc.macaroon.build import mint
from capsvc.macaroon.bundle import MAX_BATCH_BODY_OCTETS, MAX_BODY_OCTETS
from capsvc.token import Token

from .conftest import PATIENCE, Office, narrowed
from .test_remote import CREDENTIAL, GRANTED, TOKEN, URL, problem

Decide = Callable[[Mapping[str, Any]], object]
REFUSED = {"allowed": False, "code": "caveat-refused", "message": "no", "caveat": "action = read"}


def denial(code: str) -> dict[str, object]:
    """A result that does not allow."""
    return {"allowed": False, "code": code, "message": "no", "caveat": None}


def odd_ones(question: Mapping[str, Any]) -> object:
    """Refuse every other question."""
    return REFUSED if question["context"]["floor"] % 2 else GRANTED


class Played:
    """An authority that holds its answers back until it is told to ``go``."""

    def __init__(self, decide: Decide = odd_ones) -> None:
        self.decide = decide
        self.refusal: Callable[[Sequence[Any]], httpx.Response | None] = lambda _questions: None
        self.go = asyncio.Event()
        self.paths: list[str] = []
        self.floors: list[list[int]] = []
        """What each request asked about, in their order."""

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer a question, or a batch."""
        assert request.method == "POST"
        assert len(request.content) <= MAX_BATCH_BODY_OCTETS
        body = json.loads(request.content)
        questions = body["requests"] if request.url.path == "/v1/verify/batch" else [body]
        self.paths.append(request.url.path)
        self.floors.append([question["context"]["floor"] for question in questions])
        await self.go.wait()
        refusal = self.refusal(questions)
        if refusal is not None:
            return refusal
        results = [self.decide(question) for question in questions]
        return httpx.Response(200, json={"results": results} if len(questions) > 1 else results[0])


def asking(played: Callable[[httpx.Request], Coroutine[Any, Any, httpx.Response]], timeout: float = PATIENCE) -> Asker:
    """One whose authority is played."""
    transport = httpx.MockTransport(played)
    return Asker(AsyncConnection(URL, CREDENTIAL, timeout=timeout, transport=transport), timeout=timeout)


async def code_of(asker: Asker, floor: int = 0, token: str = TOKEN, context: Mapping[str, object] | None = None) -> str:
    """What comes of a question, "" where it is allowed."""
    try:
        await asker.ask(token, audience="default", context={"floor": floor} if context is None else context)
    except Denied as no:
        return no.code
    return ""


class Crowd:
    """Questions of one asker's: as many on their way as may be, one in each request, and others behind them."""

    def __init__(self, asker: Asker, played: Played) -> None:
        self.asker = asker
        self.played = played
        self.tasks: list[asyncio.Task[str]] = []

    async def ask(self, count: int, token: str = TOKEN) -> None:
        """Ask so many more, until each is on its way or waits."""
        for _ in range(count):
            self.tasks.append(asyncio.create_task(code_of(self.asker, len(self.tasks), token)))
        for _ in range(20):
            await asyncio.sleep(0)

    async def codes(self) -> list[str]:
        """What came of each; the first ones, in front of the others, are left out."""
        return (await asyncio.gather(*self.tasks))[AT_ONCE:]


def crowd(played: Played, timeout: float = PATIENCE) -> AbstractAsyncContextManager[Crowd]:
    """A crowd behind its first ones."""

    @asynccontextmanager
    async def opened() -> Any:
        asker = asking(played, timeout)
        made = Crowd(asker, played)
        for _ in range(AT_ONCE):
            await made.ask(1)
        assert played.floors == [[number] for number in range(AT_ONCE)]
        yield made
        await asker.close()

    return opened()


def test_who_shares_a_request() -> None:
    """Who comes while others are on their way; each is asked about once, in turn, and gets his own answer."""
    assert TOGETHER == 100  # as the service has it

    async def run() -> None:
        played = Played()
        async with crowd(played) as made:
            await made.ask(2 * TOGETHER + 50)
            assert len(played.paths) == AT_ONCE
            played.go.set()
            assert await made.codes() == ["", "caveat-refused"] * (TOGETHER + 25)
        assert played.paths == ["/v1/verify"] * AT_ONCE + ["/v1/verify/batch"] * 3
        assert [len(floors) for floors in played.floors[AT_ONCE:]] == [TOGETHER, TOGETHER, 50]
        assert [*chain(*played.floors)] == list(range(AT_ONCE + 2 * TOGETHER + 50))

    asyncio.run(run())


def test_what_a_body_holds() -> None:
    """Large questions go in more requests, so that none is refused for its size."""
    room = "a" * 380
    large = mint(
        b"k" * 32,
        "https://x",
        b"cap1.0123456789abcdef.AAAAAAAAAAAAAAAAAAAAAA.1795348800.0",
        [f"path = /{number}/{room}"[:250] for number in range(46)],
    )

    async def run() -> None:
        played = Played()
        async with crowd(played) as made:
            await made.ask(40, large)
            played.go.set()
            assert await made.codes() == ["", "caveat-refused"] * 20
        assert [len(floors) for floors in played.floors[AT_ONCE:]] == [
            fit := MAX_BATCH_BODY_OCTETS // (len(large) + 80),
            40 - fit,
        ]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (denial("caveat-refused"), "caveat-refused"),
        (denial("revoked"), "revoked"),
        (denial("unavailable"), "unavailable"),
        (denial("forbidden"), "unavailable"),  # to our credential: it says nothing about the token
        (denial("audience-unknown"), "wrong-audience"),
        ({"allowed": False, "code": "fine"}, "unavailable"),
        ({"allowed": 1}, "unavailable"),
        ({**GRANTED, "audience": "others"}, "unavailable"),
        ({**GRANTED, "id": "B" * 21 + "A"}, "unavailable"),
        ({**GRANTED, "expires_at": None}, "unavailable"),
        ([], "unavailable"),
        (None, "unavailable"),
        ({"code": []}, "unavailable"),
    ],
)
def test_a_result_is_its_own_question_s(result: object, code: str) -> None:
    """What is wrong with one says nothing about its neighbours; alone it would come to the same."""

    async def run() -> None:
        played = Played(lambda question: result if question["context"]["floor"] == AT_ONCE + 1 else GRANTED)
        async with crowd(played) as made:
            await made.ask(3)
            played.go.set()
            assert await made.codes() == ["", code, ""]
        assert len(played.paths) == AT_ONCE + 1

    asyncio.run(run())


def test_a_batch_of_two_that_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """It is one already; and nothing is told of what went well in the end."""

    async def run() -> None:
        played = Played()
        played.refusal = lambda questions: problem(400, "bad-request") if len(questions) > 1 else None
        async with crowd(played) as made:
            await made.ask(2)
            played.go.set()
            assert await made.codes() == ["", "caveat-refused"]

    with caplog.at_level(logging.INFO, "capsvc.asgi"):
        asyncio.run(run())
    assert caplog.records == []


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413])
def test_a_batch_that_is_refused(status: int) -> None:
    """For one of its questions, or as such: each is asked alone, so that only the one to blame gets no decision.

    And so are those that come in the next while; then batches are tried again.
    """

    def refuse(questions: Sequence[Any]) -> httpx.Response | None:
        to_blame = any(question["context"]["floor"] == AT_ONCE + 1 for question in questions)
        return problem(status, "bad-request") if to_blame else None

    async def run() -> None:
        played = Played()
        played.refusal = refuse
        async with crowd(played) as made:
            await made.ask(4)
            played.go.set()
            assert await made.codes() == ["", "unavailable", "", "caveat-refused"]
            assert played.paths[AT_ONCE:] == ["/v1/verify/batch", *["/v1/verify"] * 4]
            assert 0 < made.asker._alone_until - asyncio.get_running_loop().time() <= ALONE_SECONDS
            for paths in (["/v1/verify"] * 3, ["/v1/verify/batch"]):
                asked = len(played.paths)
                await asyncio.gather(*[code_of(made.asker) for _ in range(3)])
                assert played.paths[asked:] == paths
                made.asker._alone_until -= ALONE_SECONDS

    asyncio.run(run())


@pytest.mark.parametrize(
    "failure",
    [
        problem(401, "expired"),
        problem(429, "rate-limited"),
        problem(503, "unavailable"),
        httpx.Response(502, content=b"<html>"),
        httpx.Response(204),
        httpx.Response(200, json={}),
        httpx.Response(200, json={"results": None}),
        httpx.Response(200, json={"results": {"0": GRANTED, "1": GRANTED}}),
        httpx.Response(200, json={"results": [GRANTED]}),
        httpx.Response(200, json={"results": [GRANTED] * 3}),
        httpx.Response(200, json={"results": []}),
    ],
)
def test_a_batch_that_fails(failure: httpx.Response, caplog: pytest.LogCaptureFixture) -> None:
    """It fails for all who share it, and is asked once."""

    async def run() -> None:
        played = Played(lambda _question: GRANTED)
        played.refusal = lambda questions: failure if len(questions) > 1 else None
        async with crowd(played) as made:
            await made.ask(2)
            played.go.set()
            assert await made.codes() == ["unavailable"] * 2
        assert len(played.paths) == AT_ONCE + 1

    with caplog.at_level(logging.INFO, "capsvc.asgi"):
        asyncio.run(run())
    assert "the authority cannot be asked" in caplog.text


def test_how_many_are_asked_alone() -> None:
    """Far more at once than with batches."""
    gate = asyncio.Event()
    under_way = most = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        if request.url.path == "/v1/verify/batch":
            return problem(403, "forbidden")
        under_way += 1
        most = max(most, under_way)
        await gate.wait()
        under_way -= 1
        return httpx.Response(200, json=GRANTED)

    async def run() -> None:
        asker = asking(answer)
        tasks = [asyncio.create_task(code_of(asker)) for _ in range(TOGETHER + 20)]
        async with asyncio.timeout(PATIENCE):
            while under_way < ALONE_AT_ONCE:  # noqa: ASYNC110 - of others' doing
                await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(*tasks) == [""] * (TOGETHER + 20)
        await asker.close()

    asyncio.run(run())
    assert most == ALONE_AT_ONCE == 64


def test_how_much_goes_into_a_body() -> None:
    """As much as the service takes, to the octet."""

    async def run() -> None:
        asker = asking(Played())
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        frame, most = len('{"requests":[]}'), MAX_BATCH_BODY_OCTETS
        for sizes, taken in (
            ([10] * (TOGETHER + 1), TOGETHER),
            ([1000, most - frame - 1001], 2),
            ([1000, most - frame - 1000], 2),
            ([1000, most - frame - 999], 1),
            ([1000, most, 1000], 1),  # those that came later do not overtake it
            ([most], 0),
        ):
            asker._waiting = dict.fromkeys([_Question({}, size, future) for size in sizes])
            assert len(asker._next()) == taken, sizes
            assert len(asker._waiting) == len(sizes) - taken
        asker._waiting.clear()
        await asker.close()

    asyncio.run(run())


def test_what_a_question_takes(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted as it is sent, with its comma; one that no request holds is not asked at all."""
    sent: list[bytes] = []
    counted: list[int] = []
    real = Asker._settle

    async def settle(self: Asker, questions: Sequence[_Question]) -> None:
        counted.append(sum(question.octets for question in questions))
        await real(self, questions)

    async def keep(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        count = len(json.loads(request.content).get("requests", [0]))
        return httpx.Response(200, json=GRANTED if count == 1 else {"results": [GRANTED] * count})

    monkeypatch.setattr(Asker, "_settle", settle)

    async def run() -> None:
        asker = asking(keep)
        await asyncio.gather(*[code_of(asker, number) for number in range(3)])
        assert counted == [len(sent[0]) - len('{"requests":[]}') + 1]
        assert await code_of(asker) == ""
        context: dict[str, object] = {f"{number:02}": "x" * 2048 for number in range(31)}
        body = wire.verify_request(TOKEN, audience="default", context={**context, "zz": ""})
        room = MAX_BODY_OCTETS - len(json.dumps(body, separators=(",", ":")))
        for more, code in ((1, "unavailable"), (0, "")):
            context["zz"] = "x" * (room + more)
            assert await code_of(asker, context=context) == code
        assert len(sent[-1]) == MAX_BODY_OCTETS
        assert f"(too-large): the question is over {MAX_BODY_OCTETS} octets" in caplog.text
        await asker.close()

    asyncio.run(run())


def test_an_audience_that_there_is_not_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """It is the program's doing, and says nothing of the authority, however often callers come there."""

    async def answer(request: httpx.Request) -> httpx.Response:
        found = json.loads(request.content)["audience"] == "default"
        return httpx.Response(200, json=GRANTED) if found else problem(422, "audience-unknown")

    async def run() -> None:
        asker = asking(answer)
        for _ in range(5):
            assert await code_of(asker) == ""
            for audience in ("others", "more"):
                with pytest.raises(Denied) as caught:
                    await asker.ask(TOKEN, audience=audience, context={})
                assert caught.value.code == "wrong-audience"
        await asker.close()

    with caplog.at_level(logging.INFO, "capsvc.asgi"):
        asyncio.run(run())
    assert [record.getMessage() for record in caplog.records if record.name == "capsvc.asgi"] == [
        "the authority has no audience others: every token is refused there",
        "the authority has no audience more: every token is refused there",
    ]


def test_not_every_audience_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """A program that makes them up does not fill a log."""

    async def answer(_request: httpx.Request) -> httpx.Response:
        return problem(422, "audience-unknown")

    async def run() -> None:
        asker = asking(answer)
        for number in range(70):
            with pytest.raises(Denied):
                await asker.ask(TOKEN, audience=f"audience{number}", context={})
        await asker.close()

    with caplog.at_level(logging.INFO, "capsvc.asgi"):
        asyncio.run(run())
    assert caplog.text.count("the authority has no audience") == 64


def test_nobody_waits_for_longer_than_he_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Neither on the way nor behind others; who has given up is not asked about any more."""

    async def run() -> None:
        played = Played()
        async with crowd(played, timeout=0.2) as made:
            await made.ask(3)
            assert await made.codes() == ["unavailable"] * 3
            assert await made.tasks[0] == "unavailable"
            assert f"(unavailable): {URL} did not answer in 0.2 s" in caplog.text
            played.go.set()
            made.asker._timeout = PATIENCE
            await made.ask(2)
            assert (await made.codes())[3:] == ["caveat-refused", ""]
            assert made.asker._waiting == {}
        assert played.floors[-1] == [AT_ONCE + 3, AT_ONCE + 4]

    asyncio.run(run())


def test_an_authority_that_drips_its_answer() -> None:
    """However slowly it is still coming: it is given up, those who wait are not kept, and the next are asked."""
    dripping = True

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError), closing(writer):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-le"))
                questions = json.loads(await reader.readexactly(length)).get("requests", [None])
                writer.write(b"HTTP/1.1 200 OK\r\n")
                while dripping:
                    writer.write(b"x: y\r\n")
                    await asyncio.sleep(0.01)
                body = json.dumps(GRANTED if len(questions) == 1 else {"results": [GRANTED] * len(questions)}).encode()
                writer.write(b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    async def run() -> None:
        nonlocal dripping
        server = await asyncio.start_server(drip, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        asker = Asker(AsyncConnection(url, CREDENTIAL, timeout=0.3), timeout=0.3)
        for _ in range(2):
            assert set(await asyncio.gather(*[code_of(asker) for _ in range(AT_ONCE + 4)])) == {"unavailable"}
            assert asker._waiting == {}
        dripping = False
        asker._timeout = PATIENCE
        assert await asyncio.gather(*[code_of(asker) for _ in range(AT_ONCE + 4)]) == [""] * (AT_ONCE + 4)
        await asker.close()
        server.close()
        await server.wait_closed()

    asyncio.run(run())


def test_a_context_that_nobody_can_send() -> None:
    """One that is too large is not asked about, a name that is no text is none that is declared; others are fine."""

    async def run() -> None:
        played = Played()
        bodies: list[Any] = []
        played.decide = lambda question: bodies.append(question) or GRANTED  # type: ignore[func-returns-value]
        async with crowd(played) as made:
            wrong = asyncio.create_task(made.asker.ask(TOKEN, audience="default", context={b"x": 1, "floor": 1}))  # type: ignore[dict-item]
            many = {f"a{number}": "x" * 2048 for number in range(32)}
            large = asyncio.create_task(made.asker.ask(TOKEN, audience="default", context=many))
            await made.ask(2)
            played.go.set()
            assert await made.codes() == ["", ""]
            assert (await wrong).audience == "default"
            with pytest.raises(Denied) as caught:
                await large
            assert caught.value.code == "unavailable"
        assert {"": 1, "floor": 1} in [body["context"] for body in bodies]

    asyncio.run(run())


def test_who_goes_away() -> None:
    """He takes nobody with him, neither from a request that is on its way nor from those who wait."""

    async def run() -> None:
        played = Played()
        async with crowd(played) as made:
            await made.ask(3)
            made.tasks[0].cancel()
            made.tasks[AT_ONCE + 1].cancel()
            played.go.set()
            first = await asyncio.gather(*made.tasks[1:AT_ONCE])
            assert first == [("caveat-refused" if number % 2 else "") for number in range(1, AT_ONCE)]
            assert await made.tasks[AT_ONCE] == await made.tasks[AT_ONCE + 2] == ""
        assert played.floors[AT_ONCE:] == [[AT_ONCE, AT_ONCE + 2]]

    asyncio.run(run())


def test_closing(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever is on the way, waits, or has only just asked gets told at once."""

    async def run() -> None:
        played = Played()
        async with crowd(played) as made:
            await made.ask(3)
            closing = asyncio.create_task(made.asker.close())
            assert set(await asyncio.gather(*made.tasks)) == {"unavailable"}
            assert "(unavailable): the verifier was closed" in caplog.text
            await closing
        asker = asking(played)
        task = asyncio.create_task(code_of(asker))
        await asyncio.sleep(0)
        await asker.close()
        assert await task == "unavailable"
        assert await code_of(asker) == "unavailable"
        assert repr(asker) == f"<Asker {URL}>"

    asyncio.run(run())


def test_what_nobody_foresaw(caplog: pytest.LogCaptureFixture) -> None:
    """There is no answer; the next question is asked as ever."""

    async def fail(_request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    async def run() -> None:
        asker = asking(fail)
        for _ in range(2):
            assert set(await asyncio.gather(*[code_of(asker) for _ in range(8)])) == {"unavailable"}
        await asker.close()

    asyncio.run(run())
    assert "(unavailable): asking fails with ZeroDivisionError" in caplog.text


def test_what_is_no_token_by_its_text() -> None:
    """Nobody is asked about it."""

    async def run() -> None:
        played = Played()
        asker = asking(played)
        assert [await code_of(asker, token=text) for text in ("nonsense", "A" * 16_385)] == ["malformed", "too-large"]
        assert played.paths == []
        await asker.close()

    asyncio.run(run())


@pytest.mark.parametrize("refused", [False, True])
def test_who_gives_up_in_the_middle_of_a_batch(refused: bool) -> None:
    """He takes nobody with him, and where it is asked again he is not asked about."""
    gate = asyncio.Event()
    floors: list[int] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if "requests" not in body:
            floors.append(body["context"]["floor"])
            return httpx.Response(200, json=GRANTED)
        await gate.wait()
        return problem(403, "forbidden") if refused else httpx.Response(200, json={"results": [GRANTED] * 3})

    async def run() -> None:
        asker = asking(answer)
        tasks = [asyncio.create_task(code_of(asker, number)) for number in range(3)]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(*tasks[1:]) == ["", ""]
        assert asker._waiting == {}
        await asker.close()

    asyncio.run(run())
    assert floors == ([1, 2] if refused else [])


def test_one_request_s_context_stays_its_own() -> None:
    """What a request of the application has in its context variables is not with the questions of others."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    async def look(_request: httpx.Request) -> httpx.Response:
        seen.append(variable.get())
        return httpx.Response(200, json=GRANTED)

    async def run() -> None:
        variable.set("of the first")
        asker = asking(look)
        assert await code_of(asker) == ""
        await asker.close()

    asyncio.run(run())
    assert seen == ["none"]


def test_a_token_of_another_kind() -> None:
    """Its text holds no id that an answer could be about: it may be denied, and never allowed."""
    foreign = mint(b"k" * 32, "https://x", b"something else", [])

    async def run() -> None:
        played = Played(lambda question: GRANTED if question["context"]["floor"] else denial("invalid-token"))
        played.go.set()
        asker = asking(played)
        assert [await code_of(asker, floor, foreign) for floor in (0, 1)] == ["invalid-token", "unavailable"]
        await asker.close()

    asyncio.run(run())


@pytest.mark.parametrize("bounds", [(), ("path = /v1/verify",)])
def test_with_the_service(office: Office, bounds: tuple[str, ...]) -> None:
    """Hundreds at once, of all kinds: each decision is the authority's about that token and that context.

    Also with a credential that is for single decisions alone.
    """
    tokens = [office.mint("floor < 3", subject=f"user{number}") for number in range(40)]
    for token in tokens[::4]:
        office.authority.revoke(id=Token.parse(token).id)
    tokens.append(narrowed(tokens[1], "action = write"))
    questions = [(token, floor) for token in tokens for floor in range(6)]

    def expected(token: str, floor: int) -> tuple[str, object]:
        try:
            grant = office.authority.authorize(token, audience="default", context={"floor": floor})
        except Denied as no:
            return no.code, no.caveat
        return "", grant

    async def run() -> None:
        credential = narrowed(office.credential, *bounds) if bounds else office.credential
        verifier = RemoteVerifier(office.url, credential, clock=office.clock, timeout=PATIENCE)

        async def told(token: str, floor: int) -> tuple[str, object]:
            try:
                grant = await verifier.authorize(token, audience="default", context={"floor": floor}, critical=True)
            except Denied as no:
                return no.code, no.caveat
            return "", grant

        assert await asyncio.gather(*[told(*question) for question in questions]) == [
            expected(*question) for question in questions
        ]
        await verifier.aclose()

    asyncio.run(run())
    assert {expected(*question)[0] for question in questions} == {"", "revoked", "caveat-refused", "context-missing"}
