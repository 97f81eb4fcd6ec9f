"""What stands behind a gateway: a small application that believes what it is told, and writes all of it down."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

__all__ = ["Application", "Seen"]

SAID: Final = ("x-capsvc-subject", "x-capsvc-token-id")


@dataclass
class Seen:
    """A request as it arrived: its line's method and target, every header, and its body."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def said(self, name: str) -> list[str]:
        """What stands in headers that some framework could take for that one.

        WSGI and CGI make one variable of ``X-Capsvc-Subject``, ``x_capsvc_subject`` and every mixture of them.
        """
        return [value for given, value in self.headers if given.lower().replace("_", "-") == name]

    @property
    def subjects(self) -> list[str]:
        """What it says of the subject."""
        return self.said("x-capsvc-subject")

    @property
    def token_ids(self) -> list[str]:
        """What it says of the token."""
        return self.said("x-capsvc-token-id")


@dataclass
class Application:
    """It answers everything with 200 and a line, on a port of this machine, in threads."""

    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        application = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                method, target, _ = self.requestline.split(" ")  # its ``path`` is not what was sent
                application.seen.append(Seen(method, target, self.headers.items(), self._body()))
                content = b"from the application\n"
                self.send_response(200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                if method != "HEAD":
                    self.wfile.write(content)

            def _body(self) -> bytes:
                if self.headers.get("transfer-encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("content-length", 0)))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def __getattr__(self, name: str) -> object:
                if name.startswith("do_"):
                    return self.answer
                raise AttributeError(name)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join(30)
        self._server.server_close()
