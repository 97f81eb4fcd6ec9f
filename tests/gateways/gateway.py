"""A gateway as a process, set up with the very lines that the examples have, and a client that sends any octets."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..required import missing  # noqa: TID252 - what all folders share

__all__ = ["GATEWAYS", "Answer", "Gateway", "Places", "exchange", "free_port", "request", "snippet"]

EXAMPLES: Final = Path(__file__).parents[2] / "examples" / "gateways"
GATEWAYS: Final[Mapping[str, str]] = {"nginx": "nginx.conf", "caddy": "Caddyfile"}
"""The programs, and the examples for them."""

PATIENCE: Final = 60  # seconds: a loaded machine is slow

NGINX: Final = """
daemon off;
worker_processes 1;
pid {where}/nginx.pid;
error_log stderr warn;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {where}/body;
    proxy_temp_path {where}/proxy;
    fastcgi_temp_path {where}/fastcgi;
    uwsgi_temp_path {where}/uwsgi;
    scgi_temp_path {where}/scgi;
    {example}
}}
"""
CADDY: Final = """
{{
	admin off
	auto_https off
	default_bind 127.0.0.1
}}
{example}
"""


def snippet(name: str) -> str:
    """What the example says for that gateway."""
    return (EXAMPLES / GATEWAYS[name]).read_text(encoding="utf-8")


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The one header of that name."""
        found = [value for given, value in self.headers if given.lower() == name]
        assert len(found) <= 1
        return found[0] if found else None


@dataclass(frozen=True)
class Places:
    """Where a gateway finds what it stands in front of: two ports of this machine, and a directory."""

    authority: int
    application: int
    site: Path


class Gateway:
    """nginx or Caddy, running."""

    def __init__(self, name: str, where: Path, places: Places, example: str | None = None) -> None:
        """Start it with the example, or with another text in its place."""
        if shutil.which(name) is None:
            missing(f"there is no {name}: apt-get install {'nginx-light' if name == 'nginx' else name}")
        self.name = name
        self.port = free_port()
        where.mkdir()
        config = where / GATEWAYS[name]
        config.write_text(self._config(where, places, snippet(name) if example is None else example))
        command = (
            ["nginx", "-e", "stderr", "-p", str(where), "-c", str(config)]
            if name == "nginx"
            else ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"]
        )
        env = {**os.environ, "HOME": str(where), "XDG_DATA_HOME": str(where), "XDG_CONFIG_HOME": str(where)}
        self._log = where / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, env=env, cwd=where, stdin=subprocess.DEVNULL, stderr=log)
        try:
            self._await()
        except BaseException:
            self.close()
            raise

    def _config(self, where: Path, places: Places, example: str) -> str:
        """The example with this machine's ports in the place of its own."""
        listen = (
            ("listen 8080", f"listen 127.0.0.1:{self.port}") if self.name == "nginx" else (":8080", f":{self.port}")
        )
        for written, here in (
            listen,
            ("127.0.0.1:8700", f"127.0.0.1:{places.authority}"),
            ("127.0.0.1:9000", f"127.0.0.1:{places.application}"),
            ("/srv/www", str(places.site)),
        ):
            assert example.count(written) == 1, written
            example = example.replace(written, here)
        user = "user root;" if os.geteuid() == 0 else ""  # else its workers could not read a test's directory
        template = NGINX if self.name == "nginx" else CADDY
        return template.format(where=where, user=user, example=example)

    def _await(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self._process.poll() is None, self._log.read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "the gateway does not answer"
                time.sleep(0.02)
            else:
                return

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def send(self, octets: bytes, method: str = "GET", source: str = "127.0.0.1") -> Answer:
        """What it answers to these octets, on a connection of their own from that address of this machine."""
        return exchange(self.port, octets, method, source)

    def converse(self, *requests: bytes) -> list[Answer]:
        """What it answers to each in turn, all on one connection."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            return [_answer(connection, octets, "GET") for octets in requests]

    def ask(
        self,
        target: str | bytes = "/photos/1",
        *headers: tuple[str, str | bytes],
        token: str | None = None,
        method: str = "GET",
        host: str | None = "app.example.org",
        version: str = "1.1",
        body: bytes = b"",
        source: str = "127.0.0.1",
    ) -> Answer:
        """One request: exactly that target and those headers, and a credential if one is given."""
        octets = request(target, *headers, token=token, method=method, host=host, version=version, body=body)
        return self.send(octets, method, source)


def exchange(port: int, octets: bytes, method: str = "GET", source: str = "127.0.0.1") -> Answer:
    """What a port of this machine answers to these octets, on a connection of their own from that address."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0)) as connection:
        return _answer(connection, octets, method)


def request(
    target: str | bytes = "/photos/1",
    *headers: tuple[str, str | bytes],
    token: str | None = None,
    method: str = "GET",
    host: str | None = "app.example.org",
    version: str = "1.1",
    body: bytes = b"",
) -> bytes:
    """A request's octets: what is given, and a Host and an end of the connection unless something else is."""
    given: list[tuple[str, str | bytes]] = [] if host is None else [("Host", host)]
    given += [] if token is None else [("Authorization", f"Bearer {token}")]
    given += [*headers, *([("Content-Length", str(len(body)))] if body else [])]
    if not any(name.lower() == "connection" for name, _ in headers):
        given.append(("Connection", "close"))
    line = b" ".join([method.encode(), _octets(target), f"HTTP/{version}".encode()])
    lines = [line, *(name.encode("latin-1") + b": " + _octets(value) for name, value in given), b"", body]
    return b"\r\n".join(lines)


def _answer(connection: socket.socket, octets: bytes, method: str) -> Answer:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has answered already, and reads no more
        connection.sendall(octets)
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    body = response.read()
    return Answer(response.status, response.getheaders(), body)


def _octets(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
