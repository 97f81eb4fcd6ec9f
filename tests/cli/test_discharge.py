"""`discharge`: from a token to a bundle, with a real service, macaroonbakery's dischargers and ours."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from macaroonbakery import bakery, checkers
from starlette.requests import Request as WebRequest

from capsvc.cli import discharge as discharge_command
from capsvc.discharge import AgentLogin, Declared, Interaction, create_discharger
from capsvc.keyfile import key_file_text
from capsvc.macaroon.thirdparty import KeyPair, key_text
from capsvc.token import Token

from ..client.dischargers import Answer, BakeryDischarger, Desk, Request, conditional, serving  # noqa: TID252
from ..discharge.conftest import listening  # noqa: TID252
from .conftest import Ask, Live, Root, Run, command, environment

Serve = Callable[[bytes], str]
NOWHERE = "http://127.0.0.1:1"


class Named(BakeryDischarger):
    """One of macaroonbakery's that serves its key, so that it can be registered, and knows who calls."""

    def __init__(self) -> None:
        super().__init__(lambda _: [checkers.declared_caveat("username", "alice")])
        self.before = self._key

    def _key(self, request: Request) -> Answer | None:
        return Answer({"PublicKey": self.public_key, "Version": 3}) if request.path == "/discharge/info" else None


class Keyed(BakeryDischarger):
    """Of one of ours nothing but its key."""

    def __init__(self, pair: KeyPair) -> None:
        super().__init__()
        self._pair = pair

    @property
    def public_key(self) -> str:
        """In standard base64."""
        return key_text(self._pair.public)


@pytest.fixture
def named(ask: Ask) -> Iterator[str]:
    """The address of a discharger that is registered at the live service, for the time of a test."""
    with serving(Named()) as url:
        name = f"d{url.rpartition(':')[2]}"
        assert ask("dischargers", "add", url, "--name", name, "--yes").code == 0
        yield url
        ask("dischargers", "remove", name).done()


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A browser that opens nothing, and the addresses that it got."""
    opened: list[str] = []

    def open_page(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", open_page)
    return opened


@contextlib.contextmanager
def desk(*methods: str) -> Iterator[tuple[str, Desk]]:
    """A discharger that wants to know who asks."""
    discharger = Desk("", *methods)
    with serving(discharger) as url:
        discharger.urls = {name: url + path for name, path in discharger.urls.items()}
        yield url, discharger


def bundle(out: str) -> Token:
    """The bundle that standard output is, with its newline and nothing else."""
    assert out.endswith("\n")
    assert out.count("\n") == 1
    token = Token.parse(out[:-1])
    assert token.is_bundle
    return token


# the whole way


def test_mint_discharge_verify(ask: Ask, named: str) -> None:
    """The three commands, each reading what the one before it wrote; without the second the third denies."""
    token = ask("mint", "--ttl", "5m", "--third-party", f"{named}=need-declared username is-user").done()
    assert ask("verify", stdin=token).out.startswith("denied: discharge-missing")
    text = ask("discharge", stdin=token).done()
    assert bundle(text)
    out = ask("verify", stdin=text).done()
    assert out.startswith("allowed\n")
    assert f"declared.d{named.rpartition(':')[2]}.username: alice\n" in out
    Path("token").write_text(token)
    assert bundle(ask("discharge", "token").done())
    assert bundle(ask("discharge", "-", stdin=token).done())


def test_as_a_pipe_of_processes(live: Live, named: str) -> None:
    """As one types it."""
    line = " | ".join(
        [
            f'capsvc mint --ttl 5m --third-party "{named}=is-user"',
            "capsvc discharge",
            "capsvc verify",
        ]
    ).replace("capsvc ", f"{' '.join(command())} ")
    done = subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, text=True, env=environment(live.env), timeout=120, check=False
    )
    assert (done.returncode, done.stderr, done.stdout.splitlines()[0]) == (0, "", "allowed")


def test_named_by_option(run: Run, ask: Ask, named: str) -> None:
    """Then no service is needed to find it; a name given twice is one."""
    token = ask("mint", "--ttl", "5m", "--third-party", f"{named}=is-user").done()
    options = ["--discharger", named, "--discharger", named, "--url", NOWHERE]
    assert bundle(run("discharge", *options, stdin=token).done())
    outcome = run("discharge", "--url", NOWHERE, stdin=token)
    assert named in outcome.refused(3, "unavailable")
    assert bundle(run("discharge", "--discharger", f"{named}/", stdin=token).done())


def test_no_credential_is_needed_or_sent(run: Run, live: Live, named: str, ask: Ask) -> None:
    """The service is asked for its document alone, without Authorization; no admin.token has to be there."""
    token = ask("mint", "--ttl", "5m", "--third-party", f"{named}=is-user").done()
    seen: list[Request] = []

    def issuer(request: Request) -> Answer:
        seen.append(request)
        return Answer(httpx.get(f"{live.url}{request.path}", trust_env=False).json())

    with serving(issuer) as url:
        assert bundle(run("discharge", "--url", url, stdin=token).done())
        assert bundle(run("discharge", stdin=token, env={"CAPSVC_URL": url}).done())
        Path("data").mkdir()
        Path("data/serve.url").write_text(url)
        assert bundle(run("discharge", "--data-dir", "data", stdin=token).done())
    assert [(request.path, "authorization" in request.headers) for request in seen] == [
        ("/.well-known/capsvc", False)
    ] * 3


def test_a_token_without_third_parties(run: Run, root: Root) -> None:
    """Comes out as it went in, with nobody asked."""
    token = root("action in read")
    assert run("discharge", "--url", NOWHERE, stdin=token).done() == f"{token}\n"
    assert run("discharge", "--url", NOWHERE, stdin=Token.parse(token).to_v2json()).done() == f"{token}\n"


def test_nested_discharges(run: Run) -> None:
    """A discharger that asks another one, both named."""
    a, b = BakeryDischarger(), BakeryDischarger()
    with serving(a) as at_a, serving(b) as at_b:
        a.knows(at_b, b)
        a.caveats = lambda _: [checkers.Caveat(location=at_b, condition="ok")]
        token = str(conditional((at_a, a)))
        out = run("discharge", "--discharger", at_a, "--discharger", at_b, stdin=token).done()
        assert len(bundle(out).discharges) == 2
        outcome = run("discharge", "--discharger", at_a, "--url", NOWHERE, stdin=token)
        assert at_b in outcome.refused(3, "unavailable")


# people


def test_the_browser_is_opened(run: Run, browser: list[str]) -> None:
    """At the visit's address, which standard error shows too; standard output is the bundle's alone."""
    with desk("browser-window") as (url, discharger):
        outcome = run("discharge", "--discharger", url, stdin=str(conditional((url, discharger))))
    assert bundle(outcome.out)
    assert (outcome.code, browser) == (0, [f"{url}/visit?visit=v1"])
    assert f"{url}/visit?visit=v1" in outcome.err
    assert "waiting" in outcome.err


def test_no_browser(run: Run, browser: list[str]) -> None:
    """The address is said on standard error, and nothing is opened."""
    with desk("browser-window") as (url, discharger):
        outcome = run("discharge", "--no-browser", "--discharger", url, stdin=str(conditional((url, discharger))))
    assert bundle(outcome.out)
    assert (outcome.code, browser) == (0, [])
    assert f"open this address in a browser: {url}/visit?visit=v1\n" in outcome.err


@pytest.mark.parametrize("trouble", [False, webbrowser.Error("no browser"), OSError("none")])
def test_a_browser_that_does_not_open(run: Run, monkeypatch: pytest.MonkeyPatch, trouble: Any) -> None:
    """As if there were none: the address is said, and waited for."""

    def open_page(_: str) -> bool:
        if isinstance(trouble, Exception):
            raise trouble
        return False

    monkeypatch.setattr(webbrowser, "open", open_page)
    with desk("browser-window") as (url, discharger):
        outcome = run("discharge", "--discharger", url, stdin=str(conditional((url, discharger))))
    assert bundle(outcome.out)
    assert "open this address in a browser: " in outcome.err


def test_a_browser_that_writes(process: Run, tmp_path: Path) -> None:
    """What it says goes to standard error: the bundle is all that comes out."""
    script = tmp_path / "browser"
    script.write_text('#!/bin/sh\necho "noise of $1"\n')
    script.chmod(0o700)
    with desk("browser-window") as (url, discharger):
        token = str(conditional((url, discharger)))
        outcome = process("discharge", "--discharger", url, stdin=token, env={"BROWSER": str(script), "DISPLAY": ""})
    assert bundle(outcome.out)
    assert f"noise of {url}/visit" in outcome.err


def test_a_visit_that_is_refused(run: Run, browser: list[str]) -> None:
    """The discharger's refusal: exit 1, nothing on standard output."""
    with desk("browser-window") as (url, discharger):
        discharger.before = lambda request: (
            Answer({"Code": "permission denied", "Message": "refused"}, 401) if request.path == "/wait" else None
        )
        outcome = run("discharge", "--discharger", url, stdin=str(conditional((url, discharger))))
    assert (outcome.code, outcome.out, len(browser)) == (1, "", 1)
    assert outcome.err.splitlines()[-1] == f"capsvc: permission-denied: {url}: refused"


def test_a_page_of_somebody_else_is_not_opened(run: Run, browser: list[str]) -> None:
    """Another host's address, one that a terminal would act on: neither opened nor shown."""
    for address in ("https://evil.example/visit", "https://evil.example/\x1b[2J", "javascript:alert(1)"):
        with desk("browser-window") as (url, discharger):
            discharger.urls["VisitURL"] = address
            outcome = run("discharge", "--discharger", url, stdin=str(conditional((url, discharger))))
        line = outcome.refused(3, "bad-answer")
        assert "evil" not in line
        assert browser == []


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that is written over on a terminal, a line now and then elsewhere; standard error may be closed."""
    table: list[tuple[io.StringIO, str]] = [
        (_Terminal(), "\rcapsvc: waiting, 1 s \rcapsvc: waiting, 2 s \rcapsvc: waiting, 31 s \n"),
        (io.StringIO(), "capsvc: waiting, 31 s\n"),
    ]
    for stream, expected in table:
        monkeypatch.setattr("sys.stderr", stream)
        shown = discharge_command._Desk(opens_browser=False)
        for seconds in (1.0, 2.0, 31.0):
            shown.progress(seconds)
        shown.clear()
        shown.clear()
        assert stream.getvalue() == expected
    monkeypatch.setattr("sys.stderr", None)
    discharge_command._Desk(opens_browser=False).progress(40.0)


# agents


@pytest.fixture
def agent_file(tmp_path: Path) -> Callable[[str, KeyPair], Path]:
    """Writes a file of an agent that is known at an address as ``bot``."""

    def write(url: str, pair: KeyPair) -> Path:
        path = tmp_path / "agent.json"
        path.touch(0o600)
        path.write_text(f'{{"key": {key_file_text(pair)}, "agents": [{{"url": "{url}", "username": "bot"}}]}}')
        return path

    return write


def test_an_agent_needs_nobody(run: Run, browser: list[str], agent_file: Callable[[str, KeyPair], Path]) -> None:
    """With its file by option or variable; a discharger of macaroonbakery, then ours."""
    pair = KeyPair.generate()
    key = KeyPair.generate()

    async def check(_: str, request: WebRequest) -> Declared | Interaction:
        return Interaction() if request.state.user is None else Declared({})

    def ours(url: str) -> Any:
        login = AgentLogin({"bot": [key_text(pair.public)]})
        return create_discharger(check, key=key, location=url, allow_any=True, logins=[login])

    with desk("agent", "browser-window") as (url, discharger), listening(ours) as at_ours:
        discharger.agents["bot"] = key_text(pair.public)
        for place, known in ((url, discharger), (at_ours, Keyed(key))):
            token = str(conditional((place, known)))
            path = str(agent_file(place, pair))
            assert bundle(run("discharge", "--discharger", place, "--agent-file", path, stdin=token).done())
            assert bundle(run("discharge", "--discharger", place, stdin=token, env={"CAPSVC_AGENT_FILE": path}).done())
    assert browser == []


def test_a_discharger_whose_key_has_changed(run: Run) -> None:
    """A token that asks it under its former key is refused with what to do; one under its key of now is discharged."""
    former, now = KeyPair.generate(), KeyPair.generate()

    async def check(_: str, _request: WebRequest) -> Declared:
        return Declared({})

    with listening(lambda url: create_discharger(check, key=now, location=url, allow_any=True)) as url:
        ask = ("discharge", "--discharger", url)
        line = run(*ask, stdin=str(conditional((url, Keyed(former))))).refused(1, "bad-request")
        assert f"{url}: the caveat is for another discharger's key: " in line
        assert "mint anew once the issuer has the new key ('capsvc dischargers set'), or ask whoever runs" in line
        assert bundle(run(*ask, stdin=str(conditional((url, Keyed(now))))).done())


def test_agent_files_that_are_refused(run: Run, agent_file: Callable[[str, KeyPair], Path]) -> None:
    """Readable by others, missing, or none: exit 2, before anybody is asked, and nothing of it is shown."""
    pair = KeyPair.generate()
    path = agent_file(NOWHERE, pair)
    token = str(conditional((NOWHERE, BakeryDischarger())))
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        line = run("discharge", "--agent-file", str(path), stdin=token).refused(2, "key-file")
        assert "chmod 600" in line
    path.chmod(0o600)
    path.write_text(json.dumps({"key": {"public": "x", "private": key_text(pair.private())}}))
    line = run("discharge", "--agent-file", str(path), stdin=token).refused(2, "key-file")
    assert key_text(pair.private()) not in line
    run("discharge", "--agent-file", "nosuch", stdin=token).refused(2, "key-file")


# what goes wrong


def test_no_input(run: Run) -> None:
    """Exit 2; what is no token, or is a bundle: exit 1."""
    run("discharge").refused(2, "usage")
    run("discharge", "nosuch").refused(2, "usage")
    run("discharge", stdin="nonsense!").refused(1, "malformed")
    token = conditional()
    run("discharge", stdin=str(token.bind(conditional()))).refused(1, "bound")
    assert run("discharge", stdin=str(token)).done()


@pytest.mark.parametrize(
    "url", ["http://login.example", "login.example", "https://u:pw@login.example", "https://l.example/?a=b", ""]
)
def test_addresses_that_are_none(run: Run, url: str) -> None:
    """Exit 2, for a discharger and for the service, and a password is not repeated."""
    token = str(conditional())
    assert "pw" not in run("discharge", "--discharger", url, stdin=token).refused(2, "usage")
    if url:
        assert "pw" not in run("discharge", "--url", url, stdin=token).refused(2, "usage")
    assert run("discharge", "--discharger", "https://login.example", stdin=token).done()


def test_a_discharger_that_nobody_named(ask: Ask) -> None:
    """Exit 1, and what to do about it; the service's document was read."""
    line = ask("discharge", stdin=str(conditional(("https://login.example", BakeryDischarger())))).refused(
        1, "discharger-unknown"
    )
    assert "https://login.example: " in line
    assert "--discharger" in line


def test_a_location_that_would_act_on_the_terminal(ask: Ask) -> None:
    """Is shown with its odd octets escaped, and cut."""
    token = str(conditional(("https://login.example/\x1b[2J" + "x" * 400, BakeryDischarger())))
    line = ask("discharge", stdin=token).refused(1, "discharger-unknown")
    assert r"\x1b[2J" in line
    assert "x" * 300 not in line


@pytest.mark.parametrize(
    ("octets", "code", "kind"),
    [
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", 3, "unavailable"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", 3, "bad-answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>", 3, "bad-answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n" + b" " * 100_000, 3, "bad-answer"),
        (b"HTTP/1.1 404 No\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>", 3, "bad-answer"),
        (b"HTTP/1.1 429 No\r\ncontent-length: 2\r\n\r\n[]", 3, "bad-answer"),
        (b'HTTP/1.1 404 No\r\ncontent-length: 36\r\n\r\n{"Code":"not found","Message":"no"}  ', 1, "not-found"),
        (b'HTTP/1.1 403 No\r\ncontent-length: 16\r\n\r\n{"Message":"no"}', 1, "discharge-refused"),
        (b"nonsense\r\n\r\n", 3, "bad-answer"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_dischargers_that_are_none(run: Run, serve_octets: Serve, octets: bytes, code: int, kind: str) -> None:
    """Exit 1 for what it refuses, 3 for what is no discharger's answer or fails; one line, no standard output."""
    url = serve_octets(octets)
    token = str(conditional((url, BakeryDischarger())))
    assert url in run("discharge", "--discharger", url, stdin=token).refused(code, kind)


def test_a_discharger_that_is_slow(run: Run, serve_octets: Serve) -> None:
    """`--timeout` bounds each of its answers."""
    url = serve_octets(b"")
    token = str(conditional((url, BakeryDischarger())))
    run("discharge", "--discharger", url, "--timeout", "1s", stdin=token).refused(3, "unavailable")


def test_a_discharge_that_is_over(run: Run) -> None:
    """And one that is refused, too deep, or too many: exit 1."""
    discharger = BakeryDischarger()
    with serving(discharger) as url:
        discharger.knows(url, discharger)
        token = str(conditional((url, discharger)))

        def refusal(caveats: Sequence[Any], kind: str) -> None:
            discharger.caveats = lambda _: list(caveats)
            run("discharge", "--discharger", url, stdin=token).refused(1, kind)

        refusal([checkers.Caveat("time-before 2020-01-01T00:00:00Z")], "expired")
        refusal([checkers.Caveat(location=url, condition="x")], "too-large")
        refusal([checkers.Caveat(location=url, condition="x")] * 17, "too-large")

        def never(_: str) -> list[Any]:
            raise bakery.ThirdPartyCaveatCheckFailed("no \x1b[2J")

        discharger.caveats = never
        assert r"no \x1b[2J" in run("discharge", "--discharger", url, stdin=token).refused(1, "permission-denied")
        discharger.caveats = lambda _: []
        assert bundle(run("discharge", "--discharger", url, stdin=token).done())


def test_output_that_is_closed(tmp_path: Path) -> None:
    """Exit 3, as everywhere."""
    discharger = BakeryDischarger()
    with serving(discharger) as url, Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("discharge", "--discharger", url),
            input=str(conditional((url, discharger))).encode(),
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd=tmp_path,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr.split(b": ")[:2]) == (3, [b"capsvc", b"output"])


def test_a_wait_that_is_interrupted() -> None:
    """^C while a person is waited for: exit 130, as a shell counts it, and no bundle."""
    over = threading.Event()
    with desk("browser-window") as (url, discharger):

        def before(request: Request) -> None:
            if request.path == "/wait":
                over.wait(30)

        discharger.before = before
        process = subprocess.Popen(
            command("discharge", "--no-browser", "--discharger", url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
        )
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(str(conditional((url, discharger))))
        process.stdin.close()
        process.stdin = None
        assert "open this address" in process.stderr.readline()
        assert "waiting" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        over.set()
    assert (process.returncode, out) == (130, "")
