"""Python's macaroonbakery as others would use it: a client that gathers discharges, one that fetches, a discharger.

    python peer.py client [-agent FILE] [-browser]    a token on standard input, V2 in base64url
    python peer.py fetch [-agent FILE] URL...         what each answers to one and the same client, a JSON object a line
    python peer.py discharger                         what it answers on standard input, a JSON object a line

It is the twin of the program in `go`, and knows nothing of capsvc.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl

from macaroonbakery import bakery, checkers, httpbakery
from macaroonbakery.httpbakery.agent import AgentInteractor, load_auth_info
from pymacaroons import Macaroon
from pymacaroons.serializers import JsonSerializer


def client(agent: str | None, *, browser: bool) -> None:
    """Gather the discharges of a token and write the list, bound, as JSON; "visit URL" before it where asked to."""
    ways = _ways(agent)
    if browser:
        ways.append(httpbakery.WebBrowserInteractor(lambda page: print("visit", page, flush=True)))
    asking = httpbakery.Client(interaction_methods=ways)
    token = Macaroon.deserialize(sys.stdin.read().strip())
    root = bakery.Macaroon.from_dict({"m": json.loads(token.serialize(JsonSerializer())), "v": 3, "ns": "std:"})
    gathered = bakery.discharge_all(root, asking.acquire_discharge)
    print(json.dumps([json.loads(one.serialize(JsonSerializer())) for one in gathered]))


def fetch(agent: str | None, places: list[str]) -> None:
    """Get each URL in turn, with one client, and write the status and the body of what it answers at last."""
    asking = httpbakery.Client(interaction_methods=_ways(agent))
    for place in places:
        answer = asking.request("GET", place)
        print(json.dumps({"status": answer.status_code, "body": answer.text}), flush=True)


def _ways(agent: str | None) -> list[Any]:
    return [AgentInteractor(load_auth_info(agent))] if agent else []


class Table(bakery.ThirdPartyCaveatChecker):  # type: ignore[misc]
    """The conditions that the discharger knows, and the caveats that each is answered with."""

    def __init__(self) -> None:
        self._answers: dict[str, list[dict[str, Any]]] = {}

    def learn(self) -> None:
        """Take the lines of standard input, and say "ok" after each, until there are no more."""
        for line in sys.stdin:
            answer = json.loads(line)
            self._answers[answer["condition"]] = answer["caveats"]
            print("ok", flush=True)

    def check_third_party_caveat(self, _ctx: object, info: Any) -> list[Any]:
        """Bakery's: the caveats of the discharge, or an exception."""
        if info.condition not in self._answers:
            raise bakery.ThirdPartyCaveatCheckFailed("no such condition")
        return [_caveat(**added) for added in self._answers[info.condition]]


def _caveat(
    declare: tuple[str, str] | None = None, before: float | None = None, location: str | None = None, text: str = ""
) -> Any:
    """One caveat of a discharge: a declaration, seconds until it expires, a third party's, or a first-party one."""
    if declare is not None:
        return checkers.declared_caveat(*declare)
    if before is not None:
        # A naive time in UTC is what the library writes with its fraction.
        return checkers.time_before_caveat(datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=before))
    return checkers.Caveat(text, location)


class Handler(BaseHTTPRequestHandler):
    """The three paths of a discharger; the library has no server of its own."""

    protocol_version = "HTTP/1.1"
    key: Any
    table: Table
    locator: Any

    def do_GET(self) -> None:
        """The public key."""
        key = {"PublicKey": str(self.key.public_key)}
        known = {"/publickey": key, "/discharge/info": {**key, "Version": bakery.LATEST_VERSION}}
        if self.path in known:
            self._say(200, known[self.path])
        else:
            self._say(404, {"Code": "not found", "Message": self.path})

    def do_POST(self) -> None:
        """A discharge, or bakery's error."""
        form = self._body().decode()
        _path, _, query = self.path.partition("?")
        content = dict(parse_qsl(form) + parse_qsl(query))
        try:
            made = httpbakery.discharge(checkers.AuthContext(), content, self.key, self.locator, self.table)
        except bakery.ThirdPartyCaveatCheckFailed as refused:
            self._say(401, {"Code": "permission denied", "Message": str(refused)})
        else:
            self._say(200, {"Macaroon": made.to_dict()})

    def _body(self) -> bytes:
        """What was posted; Go sends nothing, in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        octets = b""
        while length := int(self.rfile.readline(), 16):
            octets += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return octets

    def _say(self, status: int, value: object) -> None:
        octets = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, *_: object) -> None:
        """Nothing: standard error is for what goes wrong."""


def discharger() -> None:
    """Serve on a free port until standard input ends."""
    Handler.key = bakery.generate_key()
    Handler.table = Table()
    Handler.locator = httpbakery.ThirdPartyLocator(allow_insecure=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        print(json.dumps({"url": url, "public_key": str(Handler.key.public_key)}), flush=True)
        Handler.table.learn()
        server.shutdown()


def main() -> None:
    """Do as the first argument says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["client", "fetch", "discharger"])
    parser.add_argument("-agent")
    parser.add_argument("-browser", action="store_true")
    parser.add_argument("places", nargs="*")
    asked = parser.parse_intermixed_args()  # places come after options
    if asked.role == "discharger":
        discharger()
    elif asked.role == "fetch":
        fetch(asked.agent, asked.places)
    else:
        client(asked.agent, browser=asked.browser)


if __name__ == "__main__":
    main()
