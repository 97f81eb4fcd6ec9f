"""`capsvc discharger serve`: how it starts, what it writes, how it ends, and what a restart leaves."""

from __future__ import annotations

import base64
import http.client
import json
import signal
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from capsvc.keyfile import read_key_file
from capsvc.macaroon.thirdparty import Channel, key_text

from .conftest import PATIENCE, ROOT_KEY, caveats, discharged, eventually, refused
from .processes import BOT, COMMON, FIRST, KEY, TRUST, Process, caveat, command, furnished


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with what a discharger needs."""
    return furnished(tmp_path)


def ask(url: str, octets: bytes, **more: str) -> httpx.Response:
    """Ask for a discharge, in the query."""
    parameters = {"id64": base64.urlsafe_b64encode(octets).decode(), **more}
    return httpx.post(f"{url}/discharge", params=parameters, timeout=PATIENCE)


def test_what_it_says_and_does(place: Path) -> None:
    """It says where it serves, its key, and what to type next; answers; and ends on SIGTERM with 0."""
    with Process(place, *COMMON) as discharger:
        url = discharger.url
        assert discharger.out == (
            f"capsvc discharger serves {url}. ^C stops it.\n"
            f"Public key: {key_text(KEY.public)}\n"
            f"Next, where the authority's credential is: capsvc dischargers add {url} --name NAME\n"
        )
        assert httpx.get(f"{url}/discharge/info").json() == {"PublicKey": key_text(KEY.public), "Version": 3}
        made = discharged(ask(url, caveat("need-declared colour holds")))
        assert made.location == url.encode()
        assert caveats(made)[1:] == ["declared colour green"]
        assert discharger.stop() == 0
        assert "Traceback" not in discharger.err


def test_its_log(place: Path) -> None:
    """One line a request with its route, no query, nothing of a token; a fault by its place."""
    with Process(place, *COMMON, "--principals", "principals.toml") as discharger:
        octets = caveat("breaks")
        ask(discharger.url, octets, token="SECRET-token", **{"token-kind": "agent"})
        refused(ask(discharger.url, octets), 500, "internal error")
        httpx.get(f"{discharger.url}/wait?wait=SECRET-wait")
        httpx.get(f"{discharger.url}/SECRET-path")
        assert discharger.stop() == 0
        log = discharger.err
    lines = [line.split(" ", 1)[1].rsplit(" ", 2)[0] for line in log.splitlines() if "ms " in line]
    assert lines == ["POST /discharge 401", "POST /discharge 500", "GET /wait 404", "GET - 404"]
    assert "SECRET" not in log
    assert base64.urlsafe_b64encode(octets).decode()[:20] not in log
    assert "RuntimeError at /" in log
    assert f"{place / 'checks.py'}:10 check" in log


def test_its_options(place: Path) -> None:
    """Its location, ttl, names of first parties and trusted proxies are those that it was given."""
    options = ("--location", "http://localhost:1/dis", "--discharge-ttl", "1h", "--trusted-proxy", "127.0.0.1")
    trust = ("--trust", f"Photo service:{key_text(BOT.public)}")
    with Process(place, *COMMON, *trust, *options, "--users", "users", "--same-address") as discharger:
        assert "capsvc dischargers add http://localhost:1/dis --name NAME" in discharger.out
        assert "serves http://localhost:1/dis on http://127.0.0.1:" in discharger.out
        line = "It answers at / itself: the proxy in front of it has to take /dis off each path.\n"
        assert discharger.out.splitlines(keepends=True)[1] == line
        assert discharged(ask(discharger.url, caveat())).location == b"http://localhost:1/dis"
        for first in (FIRST, BOT):
            octets = Channel.of_first_party(first, KEY.public).seal(ROOT_KEY, "somebody")
            answer = ask(discharger.url, octets)
            refused(answer, 401, "interaction required")
            visit = answer.json()["Info"]["InteractionMethods"]["browser-window"]["VisitURL"]
            assert visit.startswith("http://localhost:1/dis/visit?")
        assert discharger.stop(signal.SIGINT) == 0


def test_a_location_without_a_path(place: Path) -> None:
    """There is nothing for a proxy to take off, with or without a slash at the end."""
    for location in ("http://localhost:1", "http://localhost:1/"):
        with Process(place, *COMMON, "--location", location) as discharger:
            assert [line.partition(" ")[0] for line in discharger.out.splitlines()] == ["capsvc", "Public", "Next,"]
            assert discharger.stop() == 0


def test_a_plug_in(place: Path) -> None:
    """A checker of a distribution that is installed is found by its name."""
    installed = place / "installed"
    (installed / "ours-1.dist-info").mkdir(parents=True)
    (installed / "ours-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1\n")
    (installed / "ours-1.dist-info" / "entry_points.txt").write_text(
        "[capsvc.dischargers]\ncolours = oursinside:check\n"
    )
    (place / "checks.py").rename(installed / "oursinside.py")
    with Process(place, *COMMON, "--checker", "colours", installed=installed) as discharger:
        assert caveats(discharged(ask(discharger.url, caveat("need-declared colour holds"))))[1:] == [
            "declared colour green"
        ]
        assert discharger.stop() == 0


def test_a_former_key(place: Path) -> None:
    """What was asked under a key that was replaced is answered beside what is asked under the new one."""
    assert command(place, "keygen", "new.key").code == 0
    with Process(place, *COMMON, "--key", "new.key", "--former-key", "d.key") as discharger:
        new = read_key_file(place / "new.key").public
        assert httpx.get(f"{discharger.url}/publickey").json() == {"PublicKey": key_text(new)}
        discharged(ask(discharger.url, caveat()))
        discharged(ask(discharger.url, Channel.of_first_party(FIRST, new).seal(ROOT_KEY, "holds")))
        assert discharger.stop() == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--users", "users", "--behind-proxy", "--location", "https://dis.example", "--trusted-proxy", "127.0.0.1"),
        ("--users", "users", "--location", "https://dis.example", "--trusted-proxy", "127.0.0.1"),
        ("--users", "users", "--location", "http://localhost:1"),
        ("--principals", "principals.toml", "--behind-proxy", "--location", "https://dis.example"),
    ],
)
def test_behind_a_proxy(place: Path, options: tuple[str, ...]) -> None:
    """It starts where the proxy is named by whose word people are somewhere, or where nobody is a person."""
    with Process(place, *COMMON, *options) as discharger:
        refused(ask(discharger.url, caveat("somebody")), 401, "interaction required")
        assert discharger.stop() == 0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--key", "d.key", "--checker", "checks:check"), 2, "--trust KEY for every first party"),
        ((*COMMON, "--allow-any"), 2, "--trust KEY for every first party"),
        (("--key", "d.key", "--trust", TRUST), 2, "Missing option '--checker'"),
        (("--checker", "checks:check", "--trust", TRUST), 2, "Missing option '--key'"),
        ((*COMMON, "--trust", "x"), 2, "a public key is 32 octets in standard base64"),
        ((*COMMON, "--former-key", "nosuch"), 3, "nosuch: there is no such file"),
        ((*COMMON, "--key", "nosuch"), 3, "nosuch: there is no such file; capsvc keygen makes one"),
        ((*COMMON, "--key", "principals.toml"), 3, "principals.toml: others can read"),
        ((*COMMON, "--checker", "nosuch"), 2, "there is no checker nosuch: name one of session, static"),
        ((*COMMON, "--checker", "checks:nosuch"), 2, "there is no nosuch in checks"),
        ((*COMMON, "--checker", "session"), 2, "--checker session needs --users"),
        ((*COMMON, "--checker", "static"), 2, "--checker static needs --principals"),
        ((*COMMON, "--principals", "checks.py"), 3, "checks.py: is not TOML"),
        ((*COMMON, "--principals", "nosuch"), 3, "principals-file: nosuch: cannot be read (No such file"),
        ((*COMMON, "--principals", "keyless.toml"), 3, "keyless.toml: principals.mute.public_keys: has one key"),
        ((*COMMON, "--users", "nosuch"), 3, "nosuch: there is no such file"),
        ((*COMMON, "--users", "checks.py"), 3, "users-file: checks.py: "),
        ((*COMMON, "--users", "plain"), 3, "plain: line 1: is not name:$argon2id$...; capsvc discharger passwd"),
        ((*COMMON, "--users", "users", "--location", "http://dis.example", "--trusted-proxy", "::1"), 2, "https"),
        ((*COMMON, "--users", "users", "--behind-proxy", "--host", "::"), 2, "--trusted-proxy"),
        ((*COMMON, "--users", "users", "--behind-proxy", "--same-address"), 2, "--trusted-proxy"),
        ((*COMMON, "--users", "users", "--location", "https://dis.example"), 2, "--trusted-proxy"),
        ((*COMMON, "--users", "users", "--location", "http://[dis"), 2, "--trusted-proxy"),
        ((*COMMON, "--location", "dis.example"), 2, "a location is an http or https URL"),
        ((*COMMON, "--discharge-ttl", "2h"), 2, "1 to 3600 seconds"),
        ((*COMMON, "--discharge-ttl", "0"), 2, "1 to 3600 seconds"),
        ((*COMMON, "--discharge-ttl", "soon"), 2, "a duration is written"),
        ((*COMMON, "--host", "192.0.2.1"), 2, "tokens would travel in the clear"),
        ((*COMMON, "--port", "70000"), 2, "port"),
        ((*COMMON, "--trusted-proxy", "0.0.0.0/0"), 2, "trusted_proxies"),
        ((*COMMON, "--ssl-certfile", "checks.py"), 2, "ssl_certfile"),
        ((*COMMON, "--ssl-keyfile", "checks.py"), 2, "ssl_keyfile"),
    ],
)
def test_starts_that_fail(place: Path, options: tuple[str, ...], code: int, message: str) -> None:
    """Options that are wrong end it with 2, every file that is with 3, in one line that says what to do."""
    (place / "keyless.toml").write_text('[principals.mute]\nconditions = ["c"]\n')
    (place / "plain").write_text("alice:correct horse\n")
    (place / "plain").chmod(0o600)
    ended = command(place, "discharger", "serve", "--port", "0", *options)
    assert (ended.code, ended.out) == (code, ""), ended.err
    assert message in ended.err
    assert ended.err.startswith("capsvc: ")
    assert ended.err.count("\n") == 1


def test_a_port_in_use(place: Path) -> None:
    """Another program's port is exit 3."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = command(place, "discharger", "serve", *COMMON, "--port", taken.getsockname()[1])
    assert (ended.code, ended.out) == (3, "")
    assert "port-in-use" in ended.err


def test_headers_without_end(place: Path) -> None:
    """Over 64 KiB of headers are 431, as at the service."""
    with Process(place, *COMMON) as discharger:
        address = urlsplit(discharger.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE)
        connection.request("GET", "/discharge/info", headers={"x": "y" * 60_000})
        assert connection.getresponse().status == 200
        connection.close()
        connection.request("GET", "/discharge/info", headers={"x": "y" * 66_000})
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (431, "too-large")
        connection.close()
        assert discharger.stop() == 0


def begun(url: str) -> tuple[bytes, dict[str, str]]:
    """A discharge that waits for somebody in a browser, and its addresses."""
    octets = caveat("somebody")
    answer = ask(url, octets)
    refused(answer, 401, "interaction required")
    ways: dict[str, str] = answer.json()["Info"]["InteractionMethods"]["browser-window"]
    return octets, ways


def test_whoever_waits_when_it_is_told_to_stop(place: Path) -> None:
    """It is told that the wait is over, and does not keep the process from ending."""
    with Process(place, *COMMON, "--users", "users") as discharger:
        _, ways = begun(discharger.url)
        answers: list[httpx.Response] = []

        def wait() -> None:
            answers.append(httpx.get(ways["WaitTokenURL"], timeout=PATIENCE))

        threads = [threading.Thread(target=wait) for _ in range(2)]
        for thread in threads:
            thread.start()
        eventually(lambda: answers)  # whichever was second is refused: the other one waits
        assert len(answers) == 1
        assert discharger.stop() == 0
        for thread in threads:
            thread.join(PATIENCE)
    for answer in answers:
        refused(answer, 404, "not found")
    assert len(answers) == 2


def test_killed_between_visit_and_wait(place: Path) -> None:
    """After kill -9 a restarted one knows neither visit nor wait; the program begins anew, and that works."""
    options = (*COMMON, "--users", "users", "--principals", "principals.toml")
    with Process(place, *options) as discharger:
        octets, ways = begun(discharger.url)
        assert "password" in httpx.get(ways["VisitURL"]).text
        assert discharger.stop(signal.SIGKILL) == -signal.SIGKILL
        port = urlsplit(discharger.url).port
    with Process(place, *options, "--port", port) as discharger:
        assert discharger.url in ways["WaitTokenURL"]
        refused(httpx.get(ways["WaitTokenURL"]), 404, "not found")
        page = httpx.get(ways["VisitURL"])
        assert page.status_code >= 400
        assert "password" not in page.text
        refused(ask(discharger.url, octets), 401, "interaction required")
        discharged(ask(discharger.url, caveat()))
        assert discharger.stop() == 0
