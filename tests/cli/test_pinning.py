"""`dischargers add`: the key that a discharger serves, read, shown, compared, confirmed, and registered."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from capsvc.macaroon.thirdparty import KeyPair, key_text

from ..required import missing  # noqa: TID252 - what all folders share
from .conftest import Ask, Live, Outcome, Run, command, environment

Serve = Callable[[bytes], str]
KEY = key_text(KeyPair(b"k" * 32).public)


def fresh_key() -> str:
    """A public key of nobody else."""
    return key_text(KeyPair.generate().public)


class Served:
    """A discharger of which nothing but its key can be asked; keeps what it was asked."""

    def __init__(self, server: ThreadingHTTPServer, key: str) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.key = key
        self.name = f"d{server.server_port}"
        self.requests: list[tuple[str, dict[str, str]]] = []


class _Quiet(ThreadingHTTPServer):
    """A server that says nothing of whoever hangs up: standard error is the command's."""

    def handle_error(self, *_: Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def _served(certificate: ssl.SSLContext | None = None) -> Iterator[Served]:
    """Serve the key of a discharger, over TLS where there is a certificate."""

    class Handler(BaseHTTPRequestHandler):
        served: ClassVar[Served]

        def do_GET(self) -> None:
            self.served.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            body = json.dumps({"PublicKey": self.served.key, "Version": 3}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing on standard error."""

    with _Quiet(("127.0.0.1", 0), Handler) as server:
        Handler.served = Served(server, fresh_key())
        if certificate is not None:
            server.socket = certificate.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            Handler.served.url = f"https://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Handler.served
        finally:
            server.shutdown()
            thread.join()


def pinned(outcome: Outcome, url: str, key: str) -> str:
    """The output of a command that showed the key which a discharger serves, and had it pinned."""
    assert outcome.code == 0, outcome
    assert outcome.err == f"capsvc: {url} serves the public key {key}, which is to be pinned\n"
    assert key in outcome.out
    return outcome.out


@pytest.fixture
def discharger() -> Iterator[Served]:
    """A discharger that serves a key of its own."""
    with _served() as served:
        yield served


@pytest.fixture
def registered(ask: Ask) -> Callable[[str], bool]:
    """Whether a name is registered at the live service."""
    return lambda name: f"{name}\t" in ask("dischargers", "list").done()


def test_the_key_that_was_told(ask: Ask, discharger: Served) -> None:
    """With --public-key nobody is asked; what is registered is shown, the location as it was given."""
    out = ask(
        "dischargers", "add", f"{discharger.url}/", "--name", discharger.name, "--public-key", discharger.key
    ).done()
    lines = out.splitlines()
    assert lines[:3] == [f"name: {discharger.name}", f"location: {discharger.url}/", f"public_key: {discharger.key}"]
    assert len(lines) == 4
    assert lines[3].startswith("created_at: 20")
    ((path, headers),) = discharger.requests
    assert path == "/discharge/info"
    assert not {"authorization", "cookie"} & headers.keys()


def test_whatever_is_served(ask: Ask, discharger: Served) -> None:
    """With --yes the key is pinned unasked, and still shown; --json is HTTP's object."""
    outcome = ask("dischargers", "add", discharger.url, "--name", discharger.name, "--yes", "--json")
    value = json.loads(pinned(outcome, discharger.url, discharger.key))
    assert list(value) == ["name", "location", "public_key", "next_public_key", "created_at"]
    assert (value["public_key"], value["location"]) == (discharger.key, discharger.url)


@pytest.mark.parametrize("stdin", ["", "n\n"])
def test_nobody_to_ask(ask: Ask, discharger: Served, stdin: str) -> None:
    """Without a terminal the key that is served is shown and pinned; what is on standard input is no answer."""
    outcome = ask("dischargers", "add", discharger.url, "--name", discharger.name, stdin=stdin)
    out = pinned(outcome, discharger.url, discharger.key)
    assert out.splitlines()[:3] == [
        f"name: {discharger.name}",
        f"location: {discharger.url}",
        f"public_key: {discharger.key}",
    ]


def test_nobody_to_ask_in_a_process(process: Run, live: Live, discharger: Served) -> None:
    """As a script runs it, its standard input closed to all."""
    words = ["dischargers", "add", discharger.url, "--name", discharger.name]
    assert pinned(process(*words, env=live.env), discharger.url, discharger.key)


def test_another_key(ask: Ask, discharger: Served, registered: Callable[[str], bool]) -> None:
    """A key that differs from the one that was told is refused, --yes or not, shown, with what to do."""
    for options in ([], ["--yes"]):
        words = ["dischargers", "add", discharger.url, "--name", discharger.name, "--public-key", fresh_key(), *options]
        line = ask(*words).refused(1, "key-differs")
        assert discharger.key in line
        assert "ask whoever runs it" in line
    assert not registered(discharger.name)


def _on_terminal(live: Live, answer: bytes, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, and what a person at a terminal sees who types the answer."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command("dischargers", "add", *arguments),
        stdin=slave, stdout=subprocess.PIPE, stderr=slave, env=environment(live.env),
    )  # fmt: skip
    os.close(slave)
    os.write(master, answer)
    out, _ = process.communicate(timeout=60)
    seen = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while chunk := os.read(master, 65_536):
            seen += chunk
    os.close(master)
    return process.returncode, out.decode(), seen.decode()


def test_asked_on_a_terminal(live: Live, discharger: Served, registered: Callable[[str], bool]) -> None:
    """The key is shown, with what to compare it with; only a yes registers it. Standard output has the object alone."""
    arguments = [discharger.url, "--name", discharger.name]
    for answer in (b"n\n", b"\n"):
        code, out, seen = _on_terminal(live, answer, *arguments)
        assert (code, out) == (1, "")
        assert discharger.key in seen
        assert "Compare it" in seen
        assert "not-confirmed" in seen
    assert _on_terminal(live, b"\x04", *arguments)[:2] == (130, "")
    assert not registered(discharger.name)
    code, out, seen = _on_terminal(live, b"y\n", *arguments)
    assert (code, out.splitlines()[0]) == (0, f"name: {discharger.name}")
    assert registered(discharger.name)
    other = [discharger.url, "--name", "another", "--public-key", discharger.key]
    code, _, seen = _on_terminal(live, b"", *other)
    assert code == 1  # its key is taken, which was found without a question
    assert "Pin it" not in seen


def test_what_is_taken(ask: Ask, discharger: Served) -> None:
    """409 says what is taken, and what to do: by another key, by this one, by somebody else."""

    def add(name: str) -> Outcome:
        return ask("dischargers", "add", discharger.url, "--public-key", discharger.key, "--name", name)

    add(discharger.name).done()
    assert "that key already" in add(discharger.name).refused(1, "exists")
    assert "dischargers list" in add(f"{discharger.name}b").refused(1, "exists")
    discharger.key = fresh_key()
    line = add(discharger.name).refused(1, "exists")
    assert "another key" in line
    assert f"capsvc dischargers set {discharger.name} --next-public-key" in line
    ask("dischargers", "set", discharger.name, "--next-public-key", discharger.key).done()
    assert "that key already" in add(discharger.name).refused(1, "exists")


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example.org",
        "http://192.0.2.1",
        "ftp://127.0.0.1",
        "id.example.org",
        "127.0.0.1:8701",
        "https://",
        "https://user@id.example.org",
        "https://user:secret@id.example.org",
        "https://id.example.org?x",
        "https://id.example.org#x",
        "https://id.example.org/a=b",
        "https://id.example.org:0",
        "https://id.example.org/ x",
        "",
        "https://id.example.org/" + "x" * 512,
    ],
)
def test_addresses_that_are_not_asked(ask: Ask, url: str) -> None:
    """https, or http on this machine; nothing but host, port and path. Exit 2, and the address is not repeated."""
    line = ask("dischargers", "add", url, "--name", "x", "--yes").refused(2, "usage")
    assert "https" in line
    assert line.rstrip().endswith("and no equals sign in it")
    assert "secret" not in line


@pytest.mark.parametrize("key", ["", "x", "A" * 44, KEY[:-1], key_text(bytes(32)), key_text(b"k" * 31)])
def test_keys_that_are_none(ask: Ask, discharger: Served, key: str) -> None:
    """What can be no key is a usage error, before anybody is asked anything."""
    words = ["dischargers", "add", discharger.url, "--name", "x", "--public-key"]
    ask(*words, key).refused(2, "usage")
    ask("dischargers", "set", "x", "--public-key", key).refused(2, "usage")
    assert discharger.requests == []


def _http(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"content-type: application/json", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"connection: close", b"", body])


def _info(**fields: object) -> bytes:
    return _http(json.dumps({"PublicKey": KEY, "Version": 3, **fields}).encode())


ANSWERS = [
    ("noise", b"\x00\x01\r\n\r\n", 3, "bad-answer"),
    ("a redirect", _http(b"", b"302 F", b"location: http://127.0.0.1:1/"), 3, "bad-answer"),
    ("a moved page", _http(b"", b"301 M", b"location: https://example.org/"), 3, "bad-answer"),
    ("created", _http(b"{}", b"201 C"), 3, "bad-answer"),
    ("not there", _http(b"{}", b"404 N"), 1, "bad-answer"),
    ("refused", _http(b'{"Code": "\\u001b[31m"}', b"401 U"), 1, "bad-answer"),
    ("failing", _http(b"<h1>500</h1>", b"500 F"), 3, "unavailable"),
    ("a bad gateway", _http(b"", b"502 B"), 3, "unavailable"),
    ("HTML", _http(b"<h1>hello</h1>"), 3, "bad-answer"),
    ("empty", _http(b""), 3, "bad-answer"),
    ("a list", _http(b"[]"), 3, "bad-answer"),
    ("nested", _http(b"[" * 30_000), 3, "bad-answer"),
    ("no key", _http(b'{"Version": 3}'), 3, "bad-answer"),
    ("a null key", _info(PublicKey=None), 3, "bad-answer"),
    ("a number", _info(PublicKey=5), 3, "bad-answer"),
    ("31 octets", _info(PublicKey=key_text(b"k" * 31)), 3, "bad-answer"),
    ("33 octets", _info(PublicKey=key_text(b"k" * 33)), 3, "bad-answer"),
    ("unpadded", _info(PublicKey=KEY.rstrip("=")), 3, "bad-answer"),
    ("base64url", _info(PublicKey=key_text(b"\xfb\xef" * 16).replace("+", "-").replace("/", "_")), 3, "bad-answer"),
    ("low order", _info(PublicKey=key_text(bytes(32))), 3, "bad-answer"),
    ("hostile", _info(PublicKey="\x1b]0;owned\x07"), 3, "bad-answer"),
    ("an older version", _info(Version=2), 3, "bad-answer"),
    ("no version", _http(json.dumps({"PublicKey": KEY}).encode()), 3, "bad-answer"),
    ("a version that is none", _info(Version="3"), 3, "bad-answer"),
    ("true", _info(Version=True), 3, "bad-answer"),
    ("twice", _http(f'{{"PublicKey": "{KEY}", "PublicKey": "{KEY}", "Version": 3}}'.encode()), 3, "bad-answer"),
    ("over 64 KiB", _info(Padding="x" * 65_536), 3, "bad-answer"),
    ("200 MB", _http(b"{}").replace(b"length: 2", b"length: 200000000") + b" " * 1_000_000, 3, "bad-answer"),
    ("compressed", _http(b"{}", b"200 OK", b"content-encoding: gzip"), 3, "bad-answer"),
    ("cut off", _info()[:-10], 3, "bad-answer"),
]


@pytest.mark.parametrize(("octets", "code", "kind"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_dischargers_that_are_none(ask: Ask, serve_octets: Serve, octets: bytes, code: int, kind: str) -> None:
    """Whatever else answers: exit 3, or 1 for a 4xx; one line in plain characters, and nothing is registered."""
    line = ask("dischargers", "add", serve_octets(octets), "--name", "nobody", "--yes").refused(code, kind)
    assert ("redirects" in line) == octets.startswith(b"HTTP/1.1 30")
    assert ("failed (50" in line) == octets.startswith(b"HTTP/1.1 50")
    ask("dischargers", "remove", "nobody").refused(1, "not-found")


def test_a_later_version(ask: Ask, serve_octets: Serve) -> None:
    """A discharger that reads later formats too, and says more than we know, is one."""
    key = fresh_key()
    url = serve_octets(_info(PublicKey=key, Version=4, Ns="std:"))
    assert pinned(ask("dischargers", "add", url, "--name", f"later{url[-5:]}", "--yes"), url, key)


def test_one_that_hangs(ask: Ask, serve_octets: Serve) -> None:
    """It is given up in time."""
    words = ["dischargers", "add", serve_octets(b""), "--name", "x", "--yes", "--timeout", "1s"]
    assert "in time" in ask(*words).refused(3, "unavailable")


def test_one_that_is_not_there(ask: Ask, closed_port: int) -> None:
    """Nobody listens: exit 3, as for a name that nobody has."""
    ask("dischargers", "add", f"http://127.0.0.1:{closed_port}", "--name", "x", "--yes").refused(3, "unavailable")
    ask("dischargers", "add", "https://nobody.invalid", "--name", "x", "--yes").refused(3, "unavailable")


def test_over_tls(process: Run, live: Live, tmp_path: Path) -> None:
    """A certificate that nobody vouches for is refused, and nothing registered; one that is vouched for is good."""
    openssl = shutil.which("openssl")
    if openssl is None:
        missing("openssl makes the certificate: apt-get install openssl")
    options = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run([openssl, *options, *names], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with _served(context) as served:
        add = ["dischargers", "add", served.url, "--name", served.name, "--yes"]
        process(*add, env=live.env).refused(3, "unavailable")
        assert served.requests == []
        vouching = {**live.env, "SSL_CERT_FILE": str(tmp_path / "cert.pem")}
        out = pinned(process(*add, env=vouching), served.url, served.key)
        assert f"location: {served.url}\npublic_key: {served.key}\n" in out
        plain = ["dischargers", "add", served.url.replace("https", "http"), "--name", "x", "--yes"]
        process(*plain, env=live.env).refused(3, "bad-answer")


def test_no_proxy_is_asked(ask: Ask, discharger: Served, serve_octets: Serve) -> None:
    """Over http, what the environment calls a proxy could serve a key of its own."""
    proxy = serve_octets(_info())
    names = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    words = ["dischargers", "add", discharger.url, "--name", discharger.name, "--yes"]
    assert pinned(ask(*words, env=dict.fromkeys(names, proxy)), discharger.url, discharger.key)
