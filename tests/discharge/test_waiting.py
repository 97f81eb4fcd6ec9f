"""Interaction over HTTP: what is offered, the one blocking question, and the second request for the same caveat."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from capsvc.discharge import AgentLogin, Begun, KeyPair, Surroundings, create_discharger
from capsvc.discharge.waits import MAX_WAITS, digest
from capsvc.macaroon.thirdparty import Channel, key_text

from .conftest import PATIENCE, Discharger, Serve, caveats, checker, discharged, eventually, refused

KEY = KeyPair.generate()
TRUST = key_text(KeyPair.generate().public)


class Button:
    """The simplest login: whoever has a visit's secret is somebody."""

    kind = "browser-window"

    def __init__(self) -> None:
        self.installed: Surroundings | None = None
        self.begun: list[Begun] = []

    @property
    def surroundings(self) -> Surroundings:
        """Whose login it is."""
        assert self.installed is not None
        return self.installed

    def install(self, surroundings: Surroundings) -> None:
        """See `Login`."""
        self.installed = surroundings

    def routes(self) -> Sequence[Route]:
        """See `Login`."""
        return [Route("/broken", self._broken), Route("/address", self._address)]

    def offer(self, begin: Callable[[], Begun]) -> dict[str, object]:
        """See `Login`."""
        begun = begin()
        assert begin() is begun
        self.begun.append(begun)
        return {
            "VisitURL": self.surroundings.url(f"/visit?{begun.visit}"),
            "WaitTokenURL": self.surroundings.wait_url(begun),
        }

    def user(self, token: bytes, caveat: bytes) -> str | None:
        """See `Login`."""
        return self.surroundings.waits.user(token, caveat)

    async def _broken(self, _request: Request) -> PlainTextResponse:
        raise RuntimeError("SECRET of the page")

    async def _address(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(self.surroundings.address_of(request)))


Installed = tuple[Discharger, Button]


@pytest.fixture
def installed(serve: Serve) -> Installed:
    """A discharger with that login."""
    button = Button()
    return serve(logins=[button]), button


def asked(installed: Installed, condition: str = "need-declared username somebody") -> tuple[bytes, Begun]:
    """A discharge that has begun to wait, and its caveat."""
    discharger, button = installed
    caveat = discharger.caveat(condition)
    refused(discharger.ask(caveat), 401, "interaction required")
    return caveat, button.begun[-1]


def test_what_is_offered(serve: Serve) -> None:
    """One way for each login; its URLs begin with the discharger's location, whatever the request says of itself."""
    button = Button()
    discharger = serve(logins=[button, AgentLogin({})])
    caveat = discharger.caveat("need-declared username somebody")
    lies = {"host": "elsewhere.example", "x-forwarded-host": "elsewhere.example", "x-forwarded-proto": "https"}
    answer = discharger.http.post("/discharge", data={"id64": base64.b64encode(caveat).decode()}, headers=lies)
    refused(answer, 401, "interaction required")
    (begun,) = button.begun
    assert answer.json()["Info"] == {
        "InteractionMethods": {
            "browser-window": {
                "VisitURL": f"{discharger.location}/visit?{begun.visit}",
                "WaitTokenURL": f"{discharger.location}/wait?wait={begun.wait}",
            },
            "agent": {"login-url": f"{discharger.location}/agent"},
        }
    }
    assert begun == Begun(
        begun.visit, begun.wait, digest(caveat), discharger.first.public, "somebody", ("username",),
        discharger.clock.now, "127.0.0.1",
    )  # fmt: skip


def test_from_beginning_to_end(installed: Installed) -> None:
    """The wait blocks until somebody consents, and brings what the same caveat is then answered for, once."""
    discharger, _ = installed
    caveat, begun = asked(installed)
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(discharger.http.get(f"/wait?wait={begun.wait}")))
    thread.start()
    eventually(lambda: discharger.app.state.waits._by_wait[digest(begun.wait.encode())].waiter)
    assert answers == []
    assert discharger.app.state.waits.consent(begun.visit, "alice")
    thread.join(PATIENCE)
    (answer,) = answers
    brought = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["cache-control"] == "no-store"
    assert brought.keys() == {"kind", "token64"}
    assert brought["kind"] == "browser-window"
    assert len(base64.b64decode(brought["token64"], validate=True)) == 16
    made = discharged(discharger.ask(caveat, token64=brought["token64"], token_kind="browser-window"))
    assert caveats(made)[1:] == ["declared username alice"]
    second = discharger.ask(caveat, token64=brought["token64"], token_kind="browser-window")
    refused(second, 401, "permission denied")
    assert len(discharger.app.state.waits) == 0


def token(installed: Installed, begun: Begun) -> str:
    """What a wait brings when there has been consent."""
    discharger, _ = installed
    assert discharger.app.state.waits.consent(begun.visit, "alice")
    text: str = discharger.http.get(f"/wait?wait={begun.wait}").json()["token64"]
    return text


def test_a_token_for_another_caveat(installed: Installed) -> None:
    """What was consented to for one caveat is worth nothing for another, not even one of the same condition."""
    discharger, _ = installed
    caveat, begun = asked(installed)
    brought = token(installed, begun)
    another = discharger.caveat("need-declared username somebody")
    refused(discharger.ask(another, token64=brought, token_kind="browser-window"), 401, "permission denied")
    discharged(discharger.ask(caveat, token64=brought, token_kind="browser-window"))


def test_the_third_wrong_caveat(installed: Installed) -> None:
    """Three wrong uses spend a token."""
    discharger, _ = installed
    caveat, begun = asked(installed)
    brought = token(installed, begun)
    for _ in range(3):
        other = discharger.caveat("somebody")
        refused(discharger.ask(other, token64=brought, token_kind="browser-window"), 401, "permission denied")
    refused(discharger.ask(caveat, token64=brought, token_kind="browser-window"), 401, "permission denied")


def test_an_external_caveat(installed: Installed) -> None:
    """Where the condition comes beside a short id, consent is for the condition, whatever id the discharge gets."""
    discharger, button = installed
    caveat = base64.b64encode(discharger.caveat("somebody")).decode()
    refused(discharger.http.post("/discharge", data={"id": "a", "caveat64": caveat}), 401, "interaction required")
    brought = {"token64": token(installed, button.begun[-1]), "token-kind": "browser-window"}
    other = base64.b64encode(discharger.caveat("somebody")).decode()
    refused(
        discharger.http.post("/discharge", data={"id": "a", "caveat64": other, **brought}), 401, "permission denied"
    )
    made = discharged(discharger.http.post("/discharge", data={"id": "b", "caveat64": caveat, **brought}))
    assert made.identifier == b"b"


@pytest.mark.parametrize("kind", ["agent", "Browser-Window", "browser-window ", "x"])
def test_tokens_of_other_kinds(installed: Installed, kind: str) -> None:
    """A token is for the login that it names; another name spends nothing."""
    discharger, _ = installed
    caveat, begun = asked(installed)
    brought = token(installed, begun)
    refused(discharger.ask(caveat, token64=brought, token_kind=kind), 401, "permission denied")
    discharged(discharger.ask(caveat, token64=brought, token_kind="browser-window"))


def test_a_login_that_was_not_needed(installed: Installed) -> None:
    """A token that is none is refused even where the checker would have asked nobody."""
    discharger, _ = installed
    discharged(discharger.ask(discharger.caveat("holds")))
    refused(
        discharger.ask(discharger.caveat("holds"), token64="eHh4", token_kind="browser-window"),
        401,
        "permission denied",
    )


def test_a_refusal(installed: Installed) -> None:
    """Whoever waits is told in bakery's shape."""
    discharger, _ = installed
    _, begun = asked(installed)
    discharger.app.state.waits.refuse(begun.visit)
    refused(discharger.http.get(f"/wait?wait={begun.wait}"), 401, "permission denied")
    refused(discharger.http.get(f"/wait?wait={begun.wait}"), 404, "not found")


def test_a_wait_asked_a_second_time(installed: Installed) -> None:
    """The second GET is refused while the first waits; the first is answered all the same."""
    discharger, _ = installed
    _, begun = asked(installed)
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(httpx.get(f"{discharger.location}/wait?wait={begun.wait}")))
    thread.start()
    wait = discharger.app.state.waits._by_wait[digest(begun.wait.encode())]
    eventually(lambda: wait.waiter)
    refused(discharger.http.get(f"/wait?wait={begun.wait}"), 404, "not found")
    discharger.app.state.waits.consent(begun.visit, "alice")
    thread.join(PATIENCE)
    assert answers[0].status_code == 200


@pytest.mark.parametrize("query", ["", "wait=", "wait", "wait=SECRET&wait=SECRET", "visit=SECRET"])
def test_waits_that_are_misspelt(installed: Installed, query: str) -> None:
    """A wait is asked for by one secret, given once; what was asked otherwise spends nothing."""
    discharger, _ = installed
    _, begun = asked(installed)
    refused(discharger.http.get(f"/wait?{query.replace('SECRET', begun.wait)}"), 400, "bad request")
    token(installed, begun)


def test_waits_that_are_none(installed: Installed) -> None:
    """Guesses and the visit's secret bring nothing."""
    discharger, _ = installed
    _, begun = asked(installed)
    for guess in ("x", "A" * 22, begun.visit, begun.wait[:-1], begun.wait + "A"):
        refused(discharger.http.get("/wait", params={"wait": guess}), 404, "not found")
    assert discharger.app.state.waits.find(begun.visit) == begun


def test_a_client_that_goes_while_it_waits(installed: Installed) -> None:
    """With its connection gone visit and wait are as they were: somebody consents, it asks again and has its token."""
    discharger, _ = installed
    caveat, begun = asked(installed)
    wait = discharger.app.state.waits._by_wait[digest(begun.wait.encode())]
    address = urlsplit(discharger.location)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(f"GET /wait?wait={begun.wait} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        eventually(lambda: wait.waiter)
    eventually(lambda: wait.waiter is None)
    assert discharger.app.state.waits.find(begun.visit) == begun
    brought = token(installed, begun)
    refused(discharger.http.get(f"/wait?wait={begun.wait}"), 404, "not found")
    discharged(discharger.ask(caveat, token64=brought, token_kind="browser-window"))


def _is_another(wait: Any, last: Any) -> bool:
    """Whether somebody asks for a wait's answer who is not the last one."""
    return wait.waiter not in {None, last}


def test_a_client_that_comes_back_at_once(installed: Installed) -> None:
    """Again and again it hangs up and asks anew: each time it waits, and in the end it has its token."""
    discharger, _ = installed
    _, begun = asked(installed)
    wait = discharger.app.state.waits._by_wait[digest(begun.wait.encode())]
    address = urlsplit(discharger.location)
    asking = f"GET /wait?wait={begun.wait} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    last = None
    for _ in range(10):
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(asking)
            eventually(partial(_is_another, wait, last))
            last = wait.waiter
    eventually(lambda: wait.waiter is None)
    assert token(installed, begun)


def test_closing(installed: Installed) -> None:
    """What the process does before it ends: whoever waits is answered at once."""
    discharger, _ = installed
    _, begun = asked(installed)
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(discharger.http.get(f"/wait?wait={begun.wait}")))
    thread.start()
    eventually(lambda: discharger.app.state.waits._by_wait[digest(begun.wait.encode())].waiter)
    discharger.app.state.waits.close()
    thread.join(PATIENCE)
    refused(answers[0], 404, "not found")


def _fill(discharger: Discharger) -> None:
    waits = discharger.app.state.waits
    while len(waits) < MAX_WAITS:
        mark = len(waits).to_bytes(4, "big")
        address = ".".join(map(str, mark))
        waits.begin(caveat=digest(mark), first_party=mark * 8, condition="c", names=(), address=address)


def test_ten_thousand_waits(installed: Installed) -> None:
    """Past them whoever asks is told to come back; what needs nobody goes on, and so does what began before."""
    discharger, _ = installed
    caveat, begun = asked(installed)
    brought = token(installed, begun)
    _fill(discharger)
    answer = discharger.ask(discharger.caveat("somebody"))
    refused(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "60"
    discharged(discharger.ask(discharger.caveat("holds")))
    discharged(discharger.ask(caveat, token64=brought, token_kind="browser-window"))


def test_agents_wait_for_nobody(serve: Serve) -> None:
    """Where there is no room to wait, the login of agents is still offered, alone; and an agent takes no room."""
    discharger = serve(logins=[Button(), AgentLogin({})])
    _fill(discharger)
    answer = discharger.ask(discharger.caveat("somebody"))
    refused(answer, 401, "interaction required")
    assert answer.json()["Info"]["InteractionMethods"].keys() == {"agent"}
    agents = serve(logins=[AgentLogin({})])
    refused(agents.ask(agents.caveat("somebody")), 401, "interaction required")
    assert len(agents.app.state.waits) == 0


def test_a_page_at_fault(installed: Installed, caplog: pytest.LogCaptureFixture) -> None:
    """What a login's page raises is a 500 of which nothing is shown, with one line in the log."""
    discharger, _ = installed
    refused(discharger.http.get("/broken"), 500, "internal error")
    (record,) = [one for one in caplog.records if one.name.startswith(("capsvc", "uvicorn"))]
    assert "RuntimeError at" in record.getMessage()
    assert "SECRET" not in record.getMessage()
    assert record.exc_info is None


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        ([], "192.0.2.7", "127.0.0.1"),
        (["127.0.0.1"], "192.0.2.7", "192.0.2.7"),
        (["127.0.0.0/8"], "198.51.100.1, 192.0.2.7", "192.0.2.7"),
        (["127.0.0.1"], "192.0.2.7, nonsense", "None"),
    ],
)
def test_addresses(serve: Serve, proxies: list[str], forwarded: str, address: str) -> None:
    """Only a proxy that is trusted says who asks; both the page and what has begun have it so."""
    button = Button()
    discharger = serve(logins=[button], trusted_proxies=proxies)
    headers = {"x-forwarded-for": forwarded}
    assert discharger.http.get("/address", headers=headers).text == address
    given: dict[str, Any] = {"id64": base64.b64encode(discharger.caveat("somebody")).decode()}
    discharger.http.post("/discharge", data=given, headers=headers)
    assert str(button.begun[-1].address) == address


def test_no_address() -> None:
    """Behind a Unix socket nobody has an address, and what begins there has none."""
    button, first = Button(), KeyPair.generate()
    app = create_discharger(
        checker, key=KEY, location="http://127.0.0.1:9", trust=[key_text(first.public)], logins=[button]
    )
    caveat = base64.b64encode(Channel.of_first_party(first, KEY.public).seal(b"r", "somebody")).decode()

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=None)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.post("/discharge", data={"id64": caveat})

    refused(asyncio.run(ask()), 401, "interaction required")
    assert button.begun[-1].address is None


def test_one_login_of_a_kind() -> None:
    """Two of one kind cannot both be offered."""
    with pytest.raises(ValueError, match="one of each kind"):
        create_discharger(checker, key=KEY, location="http://127.0.0.1:9", trust=[TRUST], logins=[Button(), Button()])


def test_a_location_with_a_slash_at_its_end() -> None:
    """URLs are made without doubling it."""
    button = Button()
    create_discharger(checker, key=KEY, location="http://127.0.0.1:9/dis/", trust=[TRUST], logins=[button])
    assert button.surroundings.url("/visit") == "http://127.0.0.1:9/dis/visit"


def test_a_wait_url_is_a_query(installed: Installed) -> None:
    """The secret is in the query, which logs leave out."""
    _, button = installed
    _, begun = asked(installed)
    url = urlsplit(button.surroundings.wait_url(begun))
    assert (url.path, parse_qs(url.query)) == ("/wait", {"wait": [begun.wait]})
