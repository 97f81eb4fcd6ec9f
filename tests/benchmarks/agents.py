"""Agents that log in at a discharger and get a discharge, as bakery's clients do: three requests each time.

The first is answered that an interaction is required, the second gives the agent's own macaroon, which it discharges
with its key, and the third gives the discharge.
"""

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from capsvc.macaroon import build
from capsvc.macaroon.bundle import split
from capsvc.macaroon.chain import compute, derive_key
from capsvc.macaroon.decode import UnverifiedMacaroon, encode_binary
from capsvc.macaroon.formats import read_v2json
from capsvc.macaroon.thirdparty import Channel, KeyPair, key_text, read_parties
from tests.benchmarks.load import WrongAnswerError

__all__ = ["AGENT", "CONDITION", "Agent", "Question", "questions"]

AGENT: Final = "build-bot"
CONDITION: Final = "is-authenticated-user"
DECLARED: Final = f"declared username {AGENT}".encode()
FORM: Final = "application/x-www-form-urlencoded"


class Question(NamedTuple):
    """A caveat id, and the root key in it, a secret."""

    id: bytes
    root_key: bytes

    def __repr__(self) -> str:
        return "<Question>"

    def check(self, discharge: UnverifiedMacaroon) -> None:
        """Raise `WrongAnswerError` unless it answers this question, within an expiry, with what was to be declared."""
        texts = [caveat.cid for caveat in discharge.caveats]
        right = compute(derive_key(self.root_key), discharge)[-1] == discharge.signature
        if not right or discharge.identifier != self.id or min(texts) != DECLARED or len(texts) != 2:
            raise WrongAnswerError(f"a discharge of {texts!r}")


def questions(first_party: KeyPair, discharger: bytes, count: int) -> list[Question]:
    """Caveat ids of an issuer for a discharger, each of which asks who somebody is."""
    channel = Channel.of_first_party(first_party, discharger)
    keys = [number.to_bytes(24, "big") for number in range(1, count + 1)]  # of 24 octets, as bakery's
    return [Question(channel.seal(key, f"need-declared username {CONDITION}"), key) for key in keys]


class Agent:
    """One agent's `tests.benchmarks.load.Script`: gets one discharge after another; each counts."""

    def __init__(self, pair: KeyPair, asked: Sequence[Question]) -> None:
        self._pair = pair
        self._channels: dict[bytes, Channel] = {}
        self._asked = cycle(asked)
        self._steps = self._discharges()
        self.done = 0

    def begin(self) -> bytes:
        """See `Script.begin`."""
        return next(self._steps)

    def go_on(self, answer: bytes) -> bytes:
        """See `Script.go_on`."""
        self._answer = answer
        return next(self._steps)

    def _discharges(self) -> Iterator[bytes]:
        while True:
            question = next(self._asked)
            asked = {"id64": _base64(question.id)}
            yield _post("/discharge", asked)
            needed = self._read(401)["Info"]["InteractionMethods"]["agent"]["login-url"]
            yield _get(needed, {"username": AGENT, "public-key": key_text(self._pair.public)})
            token = self._login(self._read(200)["macaroon"])
            yield _post("/discharge", {**asked, "token64": _base64(token), "token-kind": "agent"})
            question.check(read_v2json(json.dumps(self._read(200)["Macaroon"]["m"])))
            self.done += 1

    def _read(self, status: int) -> Any:
        head, _, body = self._answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 %d " % status):
            raise WrongAnswerError(f"an answer was {self._answer[:300]!r}")
        return json.loads(body)

    def _login(self, macaroon: Any) -> bytes:
        """The agent's macaroon and its own discharge, bound to it."""
        root = read_v2json(json.dumps(macaroon["m"]))
        (caveat,) = [one for one in root.caveats if one.vid is not None]
        beside = macaroon.get("cdata", {}).get(_base64(caveat.cid))
        sealed = self._open(caveat.cid if beside is None else a2b_base64(beside))
        discharge = build.discharge(sealed, "local", caveat.cid, ())
        return b"".join(map(encode_binary, split(build.bind(root, [discharge]))))

    def _open(self, caveat_id: bytes) -> bytes:
        _, first_party = read_parties(caveat_id)
        if first_party not in self._channels:
            self._channels[first_party] = Channel.of_third_party(self._pair, first_party)
        sealed = self._channels[first_party].open(caveat_id)
        if sealed is None or sealed.condition != b"true":
            raise WrongAnswerError("the agent's macaroon is for another key")
        return sealed.root_key


def _base64(octets: bytes) -> str:
    return b2a_base64(octets, newline=False).decode("ascii")


def _post(path: str, fields: dict[str, str]) -> bytes:
    body = urlencode(fields).encode("ascii")
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {FORM}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "Bakery-Protocol-Version: 3", "", ""]).encode("ascii") + body


def _get(url: str, parameters: dict[str, str]) -> bytes:
    target = f"{urlsplit(url).path}?{urlencode(parameters)}"
    head = [f"GET {target} HTTP/1.1", "Host: 127.0.0.1", "Bakery-Protocol-Version: 3", "", ""]
    return "\r\n".join(head).encode("ascii")
