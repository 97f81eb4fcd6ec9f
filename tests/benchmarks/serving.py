"""Rows over HTTP: `/v1/verify` against a bare route, `/v1/tokens` against one insert and commit at a time."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from capsvc.authority import Authority
from capsvc.config import Settings
from tests.benchmarks import servers
from tests.benchmarks.load import post, put_under_load
from tests.benchmarks.material import AUDIENCE, CONTEXT, FOUR, OurTokens
from tests.benchmarks.report import AT_LEAST, Bound, Line
from tests.benchmarks.rounds import Rounds, Turn, interleave
from tests.benchmarks.size import Size

__all__ = ["http_mint", "http_verify"]

CONNECTIONS: Final = 32
TOKENS: Final = 64
"""Different ones that `/v1/verify` is asked about."""

OURS: Final = "capsvc"
ECHO: Final = "Starlette echo"
EMPTY: Final = "empty ASGI"
ALONE: Final = "insert, commit"
ROLLBACK: Final = "the same, rollback journal"
ONE: Final = "one connection"

ALLOWED: Final = b"HTTP/1.1 200 "
CREATED: Final = b"HTTP/1.1 201 "


def http_verify(directory: Path, size: Size) -> list[Line]:
    """POST /v1/verify, keep-alive; the load comes from this process, each server is another."""
    ours = OurTokens(directory)
    tokens = ours.mint(FOUR, TOKENS)
    ours.authority.close()
    credential = _credential(directory)
    bodies = [{"token": token, "audience": AUDIENCE, "context": CONTEXT} for token in tokens]
    requests = [post("/v1/verify", body, credential) for body in bodies]

    by_clock: dict[str, list[float]] = {}

    def turn(name: str, server: servers.Served) -> Turn:
        def measure(_: int) -> float:
            load = put_under_load(
                server, requests, connections=CONNECTIONS, seconds=size.http_seconds, expected=ALLOWED
            )
            by_clock.setdefault(name, []).append(load.per_second)
            return load.per_processor_second

        return measure

    with ExitStack() as held:
        running = {
            OURS: held.enter_context(servers.capsvc(directory)),
            ECHO: held.enter_context(servers.bare("echo")),
            EMPTY: held.enter_context(servers.bare("empty")),
        }
        found = interleave({name: turn(name, server) for name, server in running.items()}, size.http_rounds)
    what, clock = "POST /v1/verify, times the rate of", Rounds(by_clock)
    return [
        _line(f"{what}: a second of the server's processor", found, ECHO, Bound(AT_LEAST, 1, 1.5)),
        _line(f"{what}: a second of the server's processor", found, EMPTY, None),
        _line(f"{what}: a second by the clock", clock, ECHO, None),
        _line(f"{what}: a second by the clock", clock, EMPTY, None),
    ]


def _line(what: str, found: Rounds, peer: str, bound: Bound | None) -> Line:
    return Line("http-verify", what, found.median(OURS), "/s", peer, found.median(peer), found.ratio(OURS, peer), bound)


def http_mint(directory: Path, size: Size) -> list[Line]:
    """POST /v1/tokens with 32 connections, against inserting the same row and committing, one at a time."""
    copies = {ALONE: directory / "wal.db", ROLLBACK: directory / "rollback.db"}
    Authority.open(Settings(data_dir=directory)).close()
    for copy in copies.values():
        shutil.copyfile(directory / "capsvc.db", copy)
    body = {"audience": AUDIENCE, "ttl": 3600, "subject": "alice", "caveats": list(FOUR)}
    requests = [post("/v1/tokens", body, _credential(directory))]
    with ExitStack() as held:
        served = held.enter_context(servers.capsvc(directory))
        alone = held.enter_context(closing(_connect(copies[ALONE], "WAL")))
        rollback = held.enter_context(closing(_connect(copies[ROLLBACK], "DELETE")))

        def minting(connections: int) -> Turn:
            return lambda _: (
                put_under_load(
                    served, requests, connections=connections, seconds=size.http_seconds, expected=CREATED
                ).per_second
            )

        turns: dict[str, Turn] = {
            OURS: minting(CONNECTIONS),
            ALONE: lambda _: _one_at_a_time(alone, _a_row(directory), size.http_seconds),
            ROLLBACK: lambda _: _one_at_a_time(rollback, _a_row(directory), size.http_seconds),
            ONE: minting(1),
        }
        found = interleave(turns, size.http_rounds)
    what = f"POST /v1/tokens, {CONNECTIONS} connections: times the rate of"
    return [
        Line("http-mint", what, found.median(OURS), "/s", peer, found.median(peer), found.ratio(OURS, peer), bound)
        for peer, bound in ((ALONE, Bound(AT_LEAST, 5)), (ROLLBACK, None), (ONE, None))
    ]


def _credential(directory: Path) -> str:
    return (directory / "admin.token").read_text().strip()


def _connect(path: Path, journal: str) -> sqlite3.Connection:
    """As the store connects, which keeps a write-ahead log; SQLite's own default is a rollback journal, ``DELETE``."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _a_row(directory: Path) -> dict[str, object]:
    """The last row that the service wrote of a token, or its administrator's while there is no other."""
    with closing(sqlite3.connect(directory / "capsvc.db")) as connection:
        connection.row_factory = sqlite3.Row
        row = connection.execute("SELECT * FROM tokens ORDER BY seq DESC LIMIT 1").fetchone()
    return {name: row[name] for name in row.keys() if name != "seq"}  # noqa: SIM118 - a Row iterates over its values


def _one_at_a_time(connection: sqlite3.Connection, row: dict[str, object], seconds: float) -> float:
    """Insert that row under new ids, each in a transaction of its own; how many in a second."""
    names = ", ".join(row)
    insert = f"INSERT INTO tokens ({names}) VALUES ({', '.join(f':{name}' for name in row)})"  # noqa: S608 - our columns
    started, count = time.perf_counter(), 0
    while (now := time.perf_counter()) < started + seconds:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(insert, row | {"id": f"{time.time_ns():022}"})
        connection.execute("COMMIT")
        count += 1
    return count / (now - started)
