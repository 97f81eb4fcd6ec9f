"""The row about dischargers: what agents get of the `static` checker, beside macaroonbakery doing the same work."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from capsvc.keyfile import key_file_text
from capsvc.macaroon.thirdparty import KeyPair, key_text, read_key
from capsvc.secretfiles import write_new_secret
from tests.benchmarks import servers
from tests.benchmarks.agents import AGENT, CONDITION, Agent, Question, questions
from tests.benchmarks.load import play
from tests.benchmarks.report import Line
from tests.benchmarks.rounds import Rounds, Turn, interleave
from tests.benchmarks.size import Size

__all__ = ["discharge"]

CLIENTS: Final = 32
QUESTIONS: Final = 8
"""Different ones that each client asks."""

OURS: Final = "capsvc"
PEER: Final = "macaroonbakery, Starlette"


def discharge(directory: Path, size: Size) -> list[Line]:
    """Agents who log in with their key and get a discharge: three requests and three boxes each time."""
    issuer, pair, agent = KeyPair.generate(), KeyPair.generate(), KeyPair.generate()
    write_new_secret(directory / "key.json", key_file_text(pair).encode("ascii"))
    known = {"public_keys": [key_text(agent.public)], "conditions": [CONDITION]}
    lines = [f"[principals.{AGENT}]", *(f"{name} = {json.dumps(value)}" for name, value in known.items())]
    (directory / "principals.toml").write_text("\n".join([*lines, f'declare = {{ username = "{AGENT}" }}', ""]))

    by_clock: dict[str, list[float]] = {}

    def turn(name: str, server: servers.Served, key: bytes) -> Turn:
        asked = questions(issuer, key, CLIENTS * QUESTIONS)

        def measure(_: int) -> float:
            load = play(server, _agents(agent, asked), size.http_seconds)
            by_clock.setdefault(name, []).append(load.per_second)
            return load.per_processor_second

        return measure

    with ExitStack() as held:
        ours = held.enter_context(servers.discharger(directory, key_text(issuer.public)))
        peer, peer_key = held.enter_context(servers.bakery(key_text(agent.public)))
        turns = {OURS: turn(OURS, ours, pair.public), PEER: turn(PEER, peer, read_key(peer_key))}
        found = interleave(turns, size.http_rounds)
    what = f"agent login and discharge, {CLIENTS} clients, times the rate of"
    return [
        _line(f"{what}: a second of the server's processor", found),
        _line(f"{what}: a second by the clock", Rounds(by_clock)),
    ]


def _agents(pair: KeyPair, asked: list[Question]) -> list[Agent]:
    return [Agent(pair, asked[number * QUESTIONS : (number + 1) * QUESTIONS]) for number in range(CLIENTS)]


def _line(what: str, found: Rounds) -> Line:
    return Line("discharge", what, found.median(OURS), "/s", PEER, found.median(PEER), found.ratio(OURS, PEER))
