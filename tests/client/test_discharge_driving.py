"""Gathering over real sockets, synchronous and not: macaroonbakery's dischargers, and servers that misbehave."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from macaroonbakery import checkers

from capsvc.client import DischargeError, driving
from capsvc.client.agents import Agents
from capsvc.client.book import Book
from capsvc.client.driving import Manner, carry_out, carry_out_async
from capsvc.client.gathering import gather
from capsvc.client.steps import DISCHARGE_OCTETS, Steps
from capsvc.keyfile import Agent, AgentKey, read_agent_file
from capsvc.macaroon.thirdparty import KeyPair, key_text
from capsvc.token import Token

from .dischargers import Answer, BakeryDischarger, Desk, Request, conditional, fixed, matched, serving

Serve = Callable[[bytes], str]
Discharges = tuple[Token, ...]
Run = Callable[[Steps[Discharges], Manner], Discharges]

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def _async(steps: Steps[Discharges], manner: Manner) -> Discharges:
    return asyncio.run(carry_out_async(steps, manner))


@pytest.fixture(params=[carry_out, _async], ids=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    """Carries out a gathering in one of the two ways."""
    chosen: Run = request.param
    return chosen


def steps(token: Token, *known: str, agents: Agents | None = None, issuer: str | None = None) -> Steps[Discharges]:
    """A gathering of a token's discharges, from those who are known."""
    return gather(token, Book(list(known), issuer), agents=agents, visits=True, clock=fixed)


def refused(run: Run, url: str, manner: Manner) -> DischargeError:
    """The error that a discharger at an address brings about."""
    with pytest.raises(DischargeError) as caught:
        run(steps(conditional((url, BakeryDischarger())), url), manner)
    assert caught.value.location == url
    return caught.value


def test_macaroonbakery_discharges(run: Run) -> None:
    """Two of its dischargers, one of which asks the other, `need-declared` included; the bundle matches."""
    a, b = BakeryDischarger(), BakeryDischarger(lambda _: [checkers.declared_caveat("username", "alice")])
    with serving(a) as at_a, serving(b) as at_b:
        a.knows(at_b, b)
        a.caveats = lambda _: [checkers.Caveat(location=at_b, condition="ok")]
        token = conditional((at_a, a), (at_b, b), condition="need-declared username,floor is-user")
        discharges = run(steps(token, at_a, at_b), Manner())
    assert matched(token, discharges) == 3
    assert discharges[1].caveats == ("declared username alice", "declared floor ")
    (request,) = a.seen
    assert (request.method, request.path, request.headers["bakery-protocol-version"]) == ("POST", "/discharge", "3")


def test_the_issuer_s_document_is_fetched(run: Run) -> None:
    """And needs nothing but the address: no credential, no cookie, no more than a client's own name."""
    a = BakeryDischarger()
    seen: list[Request] = []
    with serving(a) as at_a:

        def issuer(request: Request) -> Answer:
            seen.append(request)
            return Answer({"dischargers": [{"name": "a", "location": at_a, "public_key": a.public_key}]})

        with serving(issuer) as at_issuer:
            token = conditional((at_a, a))
            assert matched(token, run(steps(token, issuer=at_issuer), Manner())) == 1
    assert [request.path for request in seen] == ["/.well-known/capsvc"]
    assert not {"authorization", "cookie", "macaroons"} & seen[0].headers.keys()


def test_a_long_document_of_the_issuer(run: Run) -> None:
    """It may be longer than a discharge."""
    a = BakeryDischarger()
    with serving(a) as at_a:
        rows = [{"location": f"https://d{n}.example", "public_key": a.public_key} for n in range(2000)]
        document = Answer({"dischargers": [*rows, {"location": at_a, "public_key": a.public_key}]})
        assert len(document.octets) > DISCHARGE_OCTETS
        with serving(lambda _: document) as at_issuer:
            token = conditional((at_a, a))
            assert len(run(steps(token, issuer=at_issuer), Manner())) == 1


def test_a_person_is_shown_the_page(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The callback gets the address before the wait begins; progress is told while it lasts."""
    monkeypatch.setattr(driving, "TICK", 0.05)
    visited: list[str] = []
    told: list[float] = []
    shown = threading.Event()

    def visit(url: str) -> None:
        visited.append(url)
        shown.set()

    def before(request: Request) -> Answer | None:
        if request.path == "/wait":
            assert shown.is_set()
            shown.clear()
            while not told:
                time.sleep(0.01)
        return None

    discharger = Desk("", "browser-window")
    discharger.before = before
    with serving(discharger) as url:
        discharger.urls = {name: url + path for name, path in discharger.urls.items()}
        token = conditional((url, discharger))
        discharges = run(steps(token, url), Manner(visit=visit, progress=told.append))
    assert matched(token, discharges) == 1
    assert visited == [f"{url}/visit?visit=v1"]
    assert told[0] > 0
    assert [request.path for request in discharger.seen] == ["/discharge", "/wait", "/discharge"]


def test_a_callback_of_either_kind() -> None:
    """An asynchronous one is awaited by the asynchronous client; the other refuses it, and waits for nobody."""
    visited: list[str] = []

    async def visit(url: str) -> None:
        await asyncio.sleep(0)
        visited.append(url)

    discharger = Desk("", "browser-window")
    with serving(discharger) as url:
        discharger.urls = {name: url + path for name, path in discharger.urls.items()}
        token = conditional((url, discharger))
        assert matched(token, _async(steps(token, url), Manner(visit=visit))) == 1
        assert len(visited) == 1
        with pytest.raises(TypeError, match="asynchronous"):
            carry_out(steps(token, url), Manner(visit=visit))
        with pytest.raises(TypeError, match="callback"):
            carry_out(steps(token, url), Manner())
    assert len(visited) == 1


def test_an_agent_with_its_file(run: Run, tmp_path: Path) -> None:
    """Bakery's file of agents, read from disk, logs in at macaroonbakery's oven."""
    pair = KeyPair.generate()
    discharger = Desk("", "agent", "browser-window")
    with serving(discharger) as url:
        discharger.urls = {name: url + path for name, path in discharger.urls.items()}
        discharger.agents["bot"] = key_text(pair.public)
        path = tmp_path / "agent.json"
        path.touch(0o600)
        key = f'{{"public": "{key_text(pair.public)}", "private": "{key_text(pair.private())}"}}'
        path.write_text(f'{{"key": {key}, "agents": [{{"url": "{url}/", "username": "bot"}}]}}')
        token = conditional((url, discharger))
        agents = Agents.of(read_agent_file(path))
        assert matched(token, run(steps(token, url, agents=agents), Manner())) == 1
    assert agents == Agents.of(AgentKey(agents.pair, (Agent(url, "bot"),)))


# servers that misbehave


def test_nobody_there(run: Run, closed_port: int) -> None:
    """Unavailable, with no status."""
    error = refused(run, f"http://127.0.0.1:{closed_port}", Manner())
    assert (error.status, error.code) == (None, "unavailable")


@pytest.mark.parametrize(
    ("octets", "status", "code"),
    [
        (b"nonsense\r\n\r\n", None, "bad-answer"),
        (HEAD + b"content-length: 100\r\n\r\n{", None, "bad-answer"),
        (HEAD + b"content-length: 100000000\r\n\r\n" + b" " * 1_000_000, 200, "bad-answer"),
        (HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", 200, "bad-answer"),
        (HEAD + b"content-length: 2\r\n\r\n{}", 200, "bad-answer"),
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", 500, "unavailable"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>", 200, "bad-answer"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_no_discharger(run: Run, serve_octets: Serve, octets: bytes, status: int | None, code: str) -> None:
    """Noise, half an answer, far too much of one, one that is compressed, none that a discharger gives."""
    error = refused(run, serve_octets(octets), Manner())
    assert (error.status, error.code) == (status, code)


def test_the_bound_of_an_answer(run: Run) -> None:
    """64 KiB, and not an octet more."""
    discharger = BakeryDischarger()
    padding = [0]

    def before(request: Request) -> Answer:
        answer = discharger.discharge(request.parameters).octets
        return Answer(answer + b" " * (DISCHARGE_OCTETS - len(answer) + padding[0]))

    discharger.before = before
    with serving(discharger) as url:
        token = conditional((url, discharger))
        assert matched(token, run(steps(token, url), Manner())) == 1
        padding[0] = 1
        assert refused(run, url, Manner()).code == "bad-answer"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(run: Run, status: int) -> None:
    """Whoever they lead to hears nothing."""
    target = BakeryDischarger()
    with serving(target) as at_target:
        answer = Answer(b"", status, {"location": f"{at_target}/discharge"})
        with serving(lambda _: answer) as url:
            error = refused(run, url, Manner())
    assert (error.status, error.code, target.seen) == (status, "bad-answer", [])


class Dripping:
    """A server that sends an octet of its answer now and then, for as long as anybody listens."""

    def __init__(self, start: bytes) -> None:
        self.start = start
        self.gone = threading.Event()
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._drip, daemon=True)
        self._thread.start()

    def _drip(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(0.05)
            try:
                connection.recv(65_536)
                connection.sendall(self.start)
                while not self._over.is_set():
                    connection.sendall(b"x")
                    try:
                        if not connection.recv(65_536):
                            break
                    except TimeoutError:
                        pass
            except OSError:
                pass
        self.gone.set()

    def close(self) -> None:
        """End it."""
        self._over.set()
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def dripping() -> Iterator[Callable[[bytes], Dripping]]:
    """Starts servers that drip."""
    servers: list[Dripping] = []

    def start(octets: bytes) -> Dripping:
        servers.append(Dripping(octets))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_two_hundred_megabytes(run: Run) -> None:
    """Most of them are never read: whoever sends them finds the line cut."""
    sent = [0]

    def flood(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            connection.sendall(HEAD + b"content-length: 200000000\r\n\r\n")
            while sent[0] < 200_000_000:
                connection.sendall(b" " * 1_000_000)
                sent[0] += 1_000_000

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=flood, args=(listener,), daemon=True)
        thread.start()
        error = refused(run, f"http://127.0.0.1:{listener.getsockname()[1]}", Manner())
        thread.join(30)
    assert (error.status, error.code) == (200, "bad-answer")
    assert sent[0] < 50_000_000


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nx-long: ", HEAD + b"content-length: 100000000\r\n\r\n"])
def test_a_slow_answer_has_an_end(run: Run, dripping: Callable[[bytes], Dripping], start: bytes) -> None:
    """An octet now and then, in the status line, the headers or the body: given up in time, and hung up."""
    server = dripping(start)
    error = refused(run, server.url, Manner(timeout=0.3))
    assert (error.status, error.code) == (None, "unavailable")
    assert server.gone.wait(10)


def test_no_answer_at_all(run: Run, serve_octets: Serve) -> None:
    """Given up in time."""
    error = refused(run, serve_octets(b""), Manner(timeout=0.2))
    assert (error.status, error.code) == (None, "unavailable")


def test_a_wait_has_an_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody comes: given up when the wait is over, which is another time than a request's."""
    monkeypatch.setattr(driving, "WAIT", 0.3)
    monkeypatch.setattr(driving, "TICK", 0.05)
    over = threading.Event()
    told: list[float] = []
    discharger = Desk("", "browser-window")

    def before(request: Request) -> None:
        if request.path == "/wait":
            over.wait(20)

    discharger.before = before
    with serving(discharger) as url:
        discharger.urls = {name: url + path for name, path in discharger.urls.items()}
        with pytest.raises(DischargeError) as caught:
            run(steps(conditional((url, discharger)), url), Manner(visit=lambda _: None, progress=told.append))
        over.set()
    assert (caught.value.status, caught.value.code) == (None, "unavailable")
    assert "visited" in str(caught.value)
    assert told == sorted(told) != []


def test_all_requests_together_have_an_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after another is slow: those who come last are not asked any more."""
    monkeypatch.setattr(driving, "REQUESTS", 1)
    discharger = BakeryDischarger()
    discharger.before = lambda _: time.sleep(0.1)
    with serving(discharger) as url:
        token = conditional(*[(url, discharger)] * 16)
        with pytest.raises(DischargeError) as caught:
            run(steps(token, url), Manner(timeout=0.5))
        assert caught.value.code == "unavailable"
        assert len(discharger.seen) < 16
        assert matched(token, run(steps(token, url), Manner(timeout=30))) == 16


def test_no_cookies(run: Run) -> None:
    """What one answer sets is not sent with the next request."""
    discharger = BakeryDischarger()

    def before(request: Request) -> Answer:
        return Answer(discharger.discharge(request.parameters).value, 200, {"set-cookie": "a=b; Path=/"})

    discharger.before = before
    with serving(discharger) as url:
        token = conditional((url, discharger), (url, discharger))
        assert matched(token, run(steps(token, url), Manner())) == 2
    assert [request.headers.get("cookie") for request in discharger.seen] == [None, None]


def test_no_proxy_on_this_machine(run: Run, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    """The environment's proxy counts for https alone: over http it would read what is asked."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    discharger = BakeryDischarger()
    with serving(discharger) as url:
        token = conditional((url, discharger))
        assert matched(token, run(steps(token, url), Manner())) == 1


def test_a_task_that_is_cancelled() -> None:
    """Its request ends with it."""
    asked = threading.Event()
    over = threading.Event()
    discharger = BakeryDischarger()

    def before(_: Request) -> None:
        asked.set()
        over.wait(20)

    discharger.before = before

    async def story(url: str) -> None:
        task = asyncio.create_task(carry_out_async(steps(conditional((url, discharger)), url), Manner()))
        await asyncio.to_thread(asked.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with serving(discharger) as url:
        asyncio.run(story(url))
        over.set()


def test_an_interrupted_wait_hangs_up(dripping: Callable[[bytes], Dripping], monkeypatch: pytest.MonkeyPatch) -> None:
    """^C in the thread that waits ends the request in the other."""
    server = dripping(b"")

    def interrupted(*_: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(concurrent.futures, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        carry_out(steps(conditional((server.url, BakeryDischarger())), server.url), Manner())
    assert server.gone.wait(10)


def test_a_fault_in_the_other_thread_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is nobody's refusal is raised where it is waited for, as it is."""

    def broken(_: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    manner = Manner(transport=httpx.MockTransport(broken))
    token = conditional(("https://a.example", BakeryDischarger()))
    for way in (carry_out, _async):
        with pytest.raises(ZeroDivisionError):
            way(steps(token, "https://a.example"), manner)
