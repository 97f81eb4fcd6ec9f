"""Rows about resident memory: a service that has nothing to do, and one with a million tokens to look after."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from capsvc.authority import Authority
from capsvc.config import Settings
from capsvc.store.records import Change, Minter, TokenRecord
from capsvc.store.transaction import SqliteTransaction
from tests.benchmarks import servers
from tests.benchmarks.load import post, put_under_load
from tests.benchmarks.material import AUDIENCE, CONTEXT, FOUR, OurTokens
from tests.benchmarks.report import AT_MOST, Bound, Line
from tests.benchmarks.serving import ALLOWED
from tests.benchmarks.size import Size

__all__ = ["memory"]

YEAR: Final = 365 * 86_400  # seconds


def memory(directory: Path, size: Size) -> list[Line]:
    """Resident memory, idle, and with many live tokens and revocations: by id, by branch and by subject alike."""
    ours = OurTokens(directory)
    tokens = ours.mint(FOUR, 16)
    ours.authority.close()
    idle = _resident(directory, tokens, size)
    _fill(directory, size)
    full = _resident(directory, tokens, size)
    many = f"{size.live_tokens:,} tokens, {size.revocations:,} revocations"
    return [
        _line("idle", idle, 80),
        _line(many, full, 150),
    ]


def _line(what: str, megabytes: float, limit: float) -> Line:
    return Line("memory", f"resident, {what}", megabytes, "MB", "", None, megabytes, Bound(AT_MOST, limit))


def _resident(directory: Path, tokens: list[str], size: Size) -> float:
    """The memory of a process that has just served some requests, in 10⁶ octets."""
    credential = (directory / "admin.token").read_text().strip()
    requests = [
        post("/v1/verify", {"token": token, "audience": AUDIENCE, "context": CONTEXT}, credential) for token in tokens
    ]
    with servers.capsvc(directory) as served:
        put_under_load(served, requests, connections=8, seconds=size.http_seconds, expected=ALLOWED)
        return served.resident_megabytes()


def _fill(directory: Path, size: Size) -> None:
    """Write the rows as the store writes them, all in one transaction."""
    with Authority.open(Settings(data_dir=directory)) as authority:
        (kid,) = [key.kid for key in authority.keys(AUDIENCE) if key.state == "active"]
    with closing(sqlite3.connect(directory / "capsvc.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = -400000")  # KiB: for the indexes of a million rows
        transaction = SqliteTransaction(connection)
        connection.execute("BEGIN IMMEDIATE")
        for record in _tokens(kid, size.live_tokens):
            transaction.insert_token(record)
        for change in _revocations(size.revocations):
            transaction.append_change(change)
        connection.execute("COMMIT")


def _token_id(number: int) -> str:
    return f"{number:021}A"


def _tokens(kid: str, count: int) -> Iterator[TokenRecord]:
    now = int(time.time())
    minter = Minter(_token_id(0), os.urandom(32))
    for number in range(count):
        yield TokenRecord(
            id=_token_id(number),
            kid=kid,
            audience=AUDIENCE,
            subject=f"user-{number % 50_000}",
            facts={},
            label=None,
            issued_at=now,
            expires_at=now + YEAR,
            caveats=("time < 2026-11-22T12:00:00Z", *FOUR),
            branch=os.urandom(32),
            minter=minter,
        )


def _revocations(count: int) -> Iterator[Change]:
    now = int(time.time())
    of = partial(Change, audience=AUDIENCE, at=now, keep_until=now + YEAR)
    for number in range(count):
        if number % 3 == 0:
            yield of("id", id=_token_id(number))
        elif number % 3 == 1:
            branch = os.urandom(32)
            yield of("branch", id=_token_id(number), branch=branch, path=branch)
        else:
            yield of("subject", subject=f"user-{number}", before=now - 1)
