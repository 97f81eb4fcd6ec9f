"""The examples with third parties: each runs as its docstring says, and does what it says."""

from __future__ import annotations

import ast
import re
import shlex
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest

from capsvc import Authority, Denied, Settings, Token, create_app
from capsvc.client import CapabilityAuth, DischargeError
from capsvc.discharge import KeyPair

from .conftest import PORTS
from .running import EXAMPLES, PATIENCE, Person, capsvc, load, run, serving, started

if TYPE_CHECKING:
    from tests.docs.conftest import Readme

PASSWORD = "correct horse battery"


def test_every_example_has_a_test() -> None:
    """No example is left to itself."""
    plain = {"building_pass", "access_levels", "invoice_service"}
    protecting = {"newsroom", "oauth_service", "chat", "edge"}
    third_parties = {"pay_per_request", "renewing_agent", "mounted_discharger", "photo_service", "photo_client"}
    assert {path.stem for path in EXAMPLES.glob("**/*.py")} == plain | protecting | third_parties


def test_commands_in_docstrings_are_commands() -> None:
    """Whoever does what a docstring says finds every file, command and option that it names."""
    from .test_claims import COMMANDS, options

    told = 0
    for path in EXAMPLES.glob("*.py"):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert f"examples/{path.name}" in docstring or f"{path.stem}:" in docstring, path.name
        for line in re.sub(r"\\\n\s*", "", docstring).splitlines():
            if not line.startswith("    capsvc "):
                continue
            words = shlex.split(re.sub(r"\$\([^)]*\)", "X", line).partition(" | ")[0])
            name = next((name for name in COMMANDS if tuple(words[: len(name)]) == name), None)
            assert name is not None, line
            assert {word for word in words if word.startswith("--")} <= options(COMMANDS[name]), line
            told += 1
    assert told > 10


SERVED = ["newsroom", "oauth_service", "chat", "edge", "invoice_service", "photo_service", "mounted_discharger"]


@pytest.mark.parametrize("name", SERVED)
def test_an_example_that_is_served_says_how(name: str) -> None:
    """Run by itself it shows what serves it."""
    assert f"--factory {name}:create_" in "".join(run(f"{name}.py"))


def _servers() -> list[tuple[str, str]]:
    """Every command in docstrings that serves, and where it stands."""
    found = []
    for path in EXAMPLES.glob("*.py"):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found += [(path.stem, line) for line in docstring.splitlines() if re.search(r"uvicorn |discharger serve", line)]
    return found


def test_the_examples_can_be_served_beside_each_other(readme: Readme) -> None:
    """Each has a port of its own, none of them one of the README's, and makes an audience that the README does not."""
    ports = [port for _, line in _servers() for port in re.findall(r"--port (\d+)", line)]
    assert len(ports) == len(_servers()) == len(SERVED) + 2  # two edges, and the discharger of photo_service
    taken = {"8700", *PORTS, "8080", "9000"}  # the gateways', and what is behind them
    assert len({*ports, *taken}) == len(ports) + len(taken)
    for path in EXAMPLES.glob("*.py"):
        for name in re.findall(r"capsvc audiences add (\S+)", path.read_text(encoding="utf-8")):
            assert f"capsvc audiences add {name}" not in readme.text


def test_no_server_believes_a_caller_on_its_own_machine(readme: Readme) -> None:
    """By itself uvicorn lets him say from which address he asks."""
    shown = [line for block in readme.of("sh") for line in block.text.splitlines() if line.startswith("uvicorn ")]
    commands = [line for _, line in _servers() if "uvicorn " in line]
    assert len(shown) == 1
    assert len(commands) == len(SERVED) + 1
    for line in [*shown, *commands]:
        assert " --no-proxy-headers " in line, line


def _told(name: str) -> dict[str, str]:
    return {key.strip(): value for key, value in (line.split(":  ", 1) for line in run(name))}


def test_paying_per_request() -> None:
    """Nothing is sold without its own preimage, for another path, or twice; what was paid for comes once."""
    lines = [tuple(part.strip() for part in line.split(":  ")) for line in run("pay_per_request.py")]
    assert lines == [
        ("without paying", "402"),
        ("the token alone", "402"),
        ("without its preimage", "that does not show that this invoice was paid"),
        ("without its preimage", "that does not show that this invoice was paid"),
        ("paid, for another city", "402"),
        ("paid", '{"city":"oslo","weather":"rain"}'),
        ("a second time", "402"),
    ]


def test_the_agent_that_renews_by_itself() -> None:
    """An hour of requests is let in with a twelfth of it in confirmations, and none any more without the office."""
    told = {key: value.strip() for key, value in _told("renewing_agent.py").items()}
    assert told == {
        "deployments in an hour": "60",
        "confirmations for them": "12",
        "the office is removed": "discharge-invalid",
    }


def test_the_discharger_in_an_application(tmp_path: Path) -> None:
    """Only while the ticket is open there are discharges; its owner is declared; the application's own pages work."""
    key = KeyPair.generate()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    location = f"http://127.0.0.1:{port}/third-party"
    with Authority.open(Settings(data_dir=tmp_path / "data")) as authority:
        (trust,) = [pair.public_key for pair in authority.bakery_keys()]
        app = load("mounted_discharger").create_app(key, trust, location)
        authority.add_discharger(name="tickets", location=location, public_key=b64encode(key.public).decode())
        with serving(app, port) as url:
            for number, code in ((41, None), (42, "permission-denied")):
                asked = {"location": location, "condition": f"ticket-is-open {number}", "declare": ["owner"]}
                token = authority.mint(audience="default", ttl=60, third_party=[asked]).token
                if code is None:
                    bundle = _bundle(token, location)
                    assert authority.authorize(bundle, audience="default").declared == {"tickets": {"owner": "ada"}}
                    assert httpx.put(f"{url}/tickets/{number}", params={"open": False}).json() == {"open": False}
                with pytest.raises(DischargeError, match=f"ticket {number} is not open") as refused:
                    _bundle(token, location)
                assert refused.value.code == "permission-denied"
                with pytest.raises(Denied, match="no discharge"):
                    authority.authorize(token, audience="default")
            assert httpx.put(f"{url}/tickets/43", params={"open": True}).status_code == 404


def _bundle(token: str, location: str) -> str:
    """What `CapabilityAuth` presents, where the one discharger is at ``location``."""
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"].removeprefix("Bearer "))
        return httpx.Response(200)

    auth = CapabilityAuth(token, "https://service.example", dischargers=[location])
    with httpx.Client(auth=auth, transport=httpx.MockTransport(answer)) as http:
        http.get("https://service.example/")
    return seen[0]


class Photos(NamedTuple):
    """The photo service with all that belongs to it: its address and others', and where the files are."""

    authority: str
    login: str
    service: str
    where: Path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Photos]:
    """What the docstring of `photo_service.py` sets up, on free ports."""
    tmp_path = tmp_path_factory.mktemp("photos")
    data = tmp_path / "capsvc-data"
    app = create_app(Settings(data_dir=data))
    with serving(app) as url, _login(tmp_path, url) as login:
        capsvc(tmp_path, "dischargers", "add", login, "--name", "login", "--yes", CAPSVC_URL=url)
        capsvc(tmp_path, "audiences", "add", "albums", CAPSVC_URL=url)
        admin = Token.parse((data / "admin.token").read_text().strip())
        credential = str(admin.attenuate("action in tokens:verify", "for.audience = albums"))
        with serving(load("photo_service").create_service(url, credential)) as service:
            made = Photos(url, login, service, tmp_path)
            (tmp_path / "albums.token").write_text(_minted(made))
            yield made


@contextmanager
def _login(where: Path, url: str) -> Iterator[str]:
    """The discharger that the docstring starts; its address."""
    capsvc(where, "keygen", "login.key")
    capsvc(where, "discharger", "passwd", "users", "alice", given=f"{PASSWORD}\n")
    rows = [line.split("\t") for line in capsvc(where, "bakery-keys", "list", CAPSVC_URL=url).splitlines()]
    (trust,) = [key for key, state, _ in rows if state == "active"]
    command = ["discharger", "serve", "--checker", "session", "--users", "users", "--key", "login.key"]
    more = ["--trust", f"photos:{trust}", "--port", "0"]
    with started(where, "-m", "capsvc.cli", *command, *more) as (_, stdout):
        found = re.match(r"capsvc discharger serves (http://\S+)\. ", stdout.readline())
        assert found is not None, (where / "stderr").read_text()
        yield found[1]


@contextmanager
def _looking(photos: Photos, where: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The client, which waits for a person at an address."""
    program, token = EXAMPLES / "photo_client.py", photos.where / "albums.token"
    with started(where, program, token, photos.service, CAPSVC_URL=photos.authority) as (process, stdout):
        line = stdout.readline()
        assert "http" in line, (where / "stderr").read_text()
        yield line.split(": ", 1)[1].strip(), process


def test_the_photos_of_whoever_logs_in(photos: Photos, tmp_path: Path) -> None:
    """A person logs in once, consents on a page that says to whom, and gets her own photos, twice."""
    alice = Person()
    with _looking(photos, tmp_path) as (address, client):
        page = alice.log_in(address, "alice", PASSWORD)
        assert "Refuse unless you began this yourself" in page
        assert "photos" in page
        assert "is-authenticated-user" in page
        alice.answer(address, "allow")
        assert client.stdout is not None
        assert client.stdout.read() == "alice: harbour.jpg, lighthouse.jpg\n" * 2
        assert client.wait(PATIENCE) == 0


def test_no_photos_without_consent(photos: Photos, tmp_path: Path) -> None:
    """Whoever refuses shows nothing, and neither does the token by itself, or one that nobody has to log in for."""
    alice = Person()
    with _looking(photos, tmp_path) as (address, client):
        alice.log_in(address, "alice", PASSWORD)
        alice.answer(address, "refuse")
        assert client.wait(PATIENCE) == 1
        assert "whoever was asked refused" in (tmp_path / "stderr").read_text()
    bare = (photos.where / "albums.token").read_text().strip()
    other = capsvc(photos.where, "mint", "--audience", "albums", "--ttl", "60", CAPSVC_URL=photos.authority).strip()
    for token, status, text in (
        (bare, 401, '"code":"discharge-missing"'),
        (other, 403, "this token does not say who is there"),
    ):
        answer = httpx.get(f"{photos.service}/album", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status
        assert text in answer.text


def test_the_session_hybrid(photos: Photos, tmp_path: Path) -> None:
    """An exchanged token works without the bundle; without a session no new one comes; revoked, the old one is dead."""
    where, url = photos.where, {"CAPSVC_URL": photos.authority}
    token = _minted(photos)
    alice = Person()
    with _discharging(photos, tmp_path, token) as (address, program):
        alice.log_in(address, "alice", PASSWORD)
        alice.answer(address, "allow")
        assert program.stdout is not None
        bundle = program.stdout.read()
    short = capsvc(where, "exchange", given=bundle, **url)
    assert not Token.parse(short.strip()).third_parties
    allowed = capsvc(where, "verify", "--audience", "albums", given=short, **url)
    assert allowed.startswith("allowed\n")
    assert "declared" not in allowed
    with _discharging(photos, tmp_path, token) as (address, _):
        assert "Refuse unless you began this yourself" in alice.see(address)
        assert "You are logged out" in alice.log_out(address)
        assert "Logging in allows nothing yet" in alice.see(address)
    capsvc(where, "revoke", given=token, **url)
    asked = httpx.get(f"{photos.service}/album", headers={"Authorization": f"Bearer {short.strip()}"})
    assert (asked.status_code, asked.json()["code"]) == (401, "revoked")


def _minted(photos: Photos) -> str:
    third_party = f"{photos.login}=need-declared username is-authenticated-user"
    arguments = ["--audience", "albums", "--ttl", "7d", "--third-party", third_party]
    return capsvc(photos.where, "mint", *arguments, CAPSVC_URL=photos.authority)


@contextmanager
def _discharging(photos: Photos, where: Path, token: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`capsvc discharge`, which waits for a person at an address."""
    (where / "token").write_text(token)
    command = ["discharge", "--no-browser", "token"]
    with started(where, "-m", "capsvc.cli", *command, CAPSVC_URL=photos.authority) as (process, _):
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(r"open this address in a browser: (\S+)", _errors(where))) is None:
            assert process.poll() is None, _errors(where)
            assert time.monotonic() < deadline, "nobody is asked to visit a page"
            time.sleep(0.05)
        yield found[1], process


def _errors(where: Path) -> str:
    return (where / "stderr").read_text()
