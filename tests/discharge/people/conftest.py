"""A discharger that people log in to, over real HTTP on 127.0.0.1, and what browsers and programs do with it."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from argon2 import PasswordHasher
from starlette.applications import Starlette
from starlette.routing import Mount

from capsvc.discharge import KeyPair, create_discharger
from capsvc.discharge.session import CONDITION, SessionLogin, session_checker, username_alone
from capsvc.discharge.users import Users
from capsvc.macaroon.thirdparty import Channel, key_text

NOON = 1_795_348_800  # 2026-11-22T12:00:00Z
PATIENCE = 60  # seconds
PASSWORDS = {"alice": "correct horse", "bob": "päßwörd & <b>"}
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # the tests are about other things
PARTY_NAME = "Photo <service>"


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now: int = NOON) -> None:
        self.now = now

    def __call__(self) -> int:
        """Unix seconds."""
        return self.now


class UsersFile:
    """A users file, with cheap hashes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = {name: CHEAP.hash(password) for name, password in PASSWORDS.items()}
        self.write()

    def write(self, text: str | None = None) -> None:
        """Put the lines, or another text, in the file's place, as an editor does."""
        draft = self.path.with_name("draft")
        draft.write_text("".join(f"{name}:{hashed}\n" for name, hashed in self.lines.items()) if text is None else text)
        draft.chmod(0o600)
        draft.replace(self.path)


class Form(dict[str, str]):
    """A form of a page: the values of its fields; ``action`` is where it goes."""

    action: str = ""


class _Forms(HTMLParser):
    """The forms of a page and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.words: list[str] = []
        self.roles: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a form and its fields."""
        given = {name: value or "" for name, value in attrs}
        if "role" in given:
            self.roles.append(given["role"])
        if tag == "form":
            self.forms.append(Form())
            self.forms[-1].action = given["action"]
        elif tag == "input":
            self.forms[-1][given["name"]] = given.get("value", "")

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.words.append(data)


class Page:
    """A response that is a page."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.status = response.status_code
        parsed = _Forms(response.text)
        self.text = " ".join(" ".join(parsed.words).split())
        self.forms = {form.action.rpartition("/")[2]: form for form in parsed.forms}
        self.roles = parsed.roles

    def __repr__(self) -> str:
        return f"<{self.status} {self.text}>"


@dataclass
class Pending:
    """A discharge that waits for somebody."""

    caveat: bytes
    visit_url: str
    wait_url: str

    @property
    def visit(self) -> str:
        """The visit's secret."""
        return self.visit_url.rpartition("=")[2]


class Person:
    """A browser's user: keeps cookies, ``Secure`` ones on loopback too, and sends what Chromium sends with posts."""

    def __init__(self, discharger: Discharger, address: str | None = None) -> None:
        self.discharger = discharger
        self.cookies: dict[str, str] = {}
        self.headers = {} if address is None else {"x-forwarded-for": address}
        self.sent = {"origin": "null", "sec-fetch-site": "same-origin"}
        self.http = httpx.Client(timeout=PATIENCE)

    @property
    def session(self) -> str | None:
        """The session cookie's value."""
        return next((value for name, value in self.cookies.items() if "session" in name), None)

    def request(self, method: str, url: str, headers: Mapping[str, str] = {}, **body: Any) -> httpx.Response:
        """Send a request with the cookies, and keep those that the answer sets."""
        sent = {**self.headers, **headers}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        response = self.http.request(method, self.discharger.reached(url), headers=sent, **body)
        for line in response.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
            if line.endswith("; Max-Age=0"):
                del self.cookies[name]
        return response

    def see(self, url: str) -> Page:
        """Open an address."""
        return Page(self.request("GET", url))

    def post(self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Page:
        """Send a form, and go on to where that leads."""
        sent = self.sent if headers is None else headers
        response = self.request("POST", f"{self.discharger.location}/{path}", sent, data=dict(fields))
        return self.see(response.headers["location"]) if response.status_code == 303 else Page(response)

    def log_in(self, pending: Pending, name: str = "alice", password: str | None = None) -> Page:
        """Open a visit and log in there; the page that follows."""
        form = self.see(pending.visit_url).forms["login"]
        return self.post("login", {**form, "username": name, "password": password or PASSWORDS[name]})

    def answer(self, page: Page, answer: str = "allow") -> Page:
        """Press a button of a page that asks."""
        return self.post("visit", {**page.forms["visit"], "answer": answer})


class Discharger:
    """A discharger that runs. ``clock`` and ``users`` are its own, ``first`` a first party that it trusts.

    It is reached at ``location``, and may be known by another address, as one behind a proxy is.
    """

    def __init__(self, location: str, users: UsersFile, clock: Clock, **options: Any) -> None:
        self.location = location
        self.known_as: str = options.pop("known_as", location)
        self.clock = clock
        self.users = users
        self.key = KeyPair.generate()
        self.first = KeyPair.generate()
        self._channel = Channel.of_first_party(self.first, self.key.public)
        known = Users(users.path)
        self.checker = options.pop("checker", None)
        states: dict[str, Any] = {} if self.checker else {"stated": username_alone}
        names = {key_text(self.first.public): PARTY_NAME}
        self.login = SessionLogin(known, names=names, **states, **options.pop("login", {}))
        self.app = create_discharger(
            self.checker or session_checker(known),
            key=self.key,
            location=self.known_as,
            trust=[key_text(self.first.public)],
            logins=[self.login, *options.pop("more_logins", ())],
            clock=clock,
            **options,
        )
        self._people: list[Person] = []

    def reached(self, url: str) -> str:
        """One of its own URLs, as it is reached without a proxy."""
        return url.replace(self.known_as, self.location, 1)

    def caveat(self, condition: str = f"need-declared username {CONDITION}") -> bytes:
        """A caveat id for it."""
        return self._channel.seal(b"r" * 24, condition)

    def ask(self, caveat: bytes, headers: Mapping[str, str] | None = None, **parameters: str) -> httpx.Response:
        """Ask for a discharge, as a program does."""
        data = {"id64": base64.urlsafe_b64encode(caveat).decode(), **parameters}
        return httpx.post(f"{self.location}/discharge", data=data, headers=dict(headers or {}), timeout=PATIENCE)

    def begin(self, caveat: bytes | None = None, address: str | None = None) -> Pending:
        """Begin a discharge that somebody has to consent to."""
        caveat = caveat or self.caveat()
        answer = self.ask(caveat, {} if address is None else {"x-forwarded-for": address})
        assert answer.status_code == 401, answer.text
        ways = answer.json()["Info"]["InteractionMethods"]["browser-window"]
        return Pending(caveat, ways["VisitURL"], ways["WaitTokenURL"])

    def wait(self, pending: Pending) -> httpx.Response:
        """Ask for what a wait brings."""
        return httpx.get(self.reached(pending.wait_url), timeout=PATIENCE)

    def caveats(self, answer: httpx.Response) -> list[str]:
        """The caveats of a discharge that an answer holds."""
        assert answer.status_code == 200, answer.text
        return [caveat["i"] for caveat in answer.json()["Macaroon"]["m"]["c"]]

    def finish(self, pending: Pending) -> httpx.Response:
        """Wait, and ask again with what that brings."""
        brought = self.wait(pending)
        assert brought.status_code == 200, brought.text
        return self.ask(pending.caveat, token64=brought.json()["token64"], **{"token-kind": brought.json()["kind"]})

    def is_open(self, pending: Pending) -> bool:
        """Whether a visit can still be answered."""
        return self.app.state.waits.find(pending.visit) is not None

    def person(self, address: str | None = None) -> Person:
        """Somebody else with a browser."""
        self._people.append(Person(self, address))
        return self._people[-1]

    def close(self) -> None:
        """Close all browsers."""
        for person in self._people:
            person.http.close()


@contextmanager
def _listening(app: Callable[[str], Any]) -> Iterator[str]:
    """Serve what ``app`` makes for an address, and end it by itself."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = f"http://127.0.0.1:{sock.getsockname()[1]}"
        config = uvicorn.Config(app(address), log_config=None, lifespan="off", ws="none", proxy_headers=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        try:
            deadline = time.monotonic() + PATIENCE
            while not server.started:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            yield address
        finally:
            server.should_exit = True
            thread.join()


Start = Callable[..., Discharger]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a discharger: ``start(same_address=True)``; with ``prefix`` it is mounted below a path."""
    with ExitStack() as held:

        def start(prefix: str = "", **options: Any) -> Discharger:
            made: list[Discharger] = []

            def app(address: str) -> Any:
                clock = options.pop("clock", None) or Clock()
                made.append(Discharger(address + prefix, UsersFile(tmp_path / "users"), clock, **options))
                held.callback(made[0].close)
                return Starlette(routes=[Mount(prefix, made[0].app)]) if prefix else made[0].app

            held.enter_context(_listening(app))
            return made[0]

        yield start


@pytest.fixture
def discharger(start: Start) -> Discharger:
    """One with nothing special, whose clock stands at `NOON`."""
    return start()
