"""Bodies that do not come whole: what they hold of the process, and what is refused without them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from capsvc.http.budget import BodyBudget
from capsvc.http.incoming import Incoming
from capsvc.http.problems import Problem

BEARER = (b"authorization", b"Bearer x")
JSON = (b"content-type", b"application/json")


class Caller:
    """Sends a body in pieces; counts how many were asked for."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.asked = 0

    async def receive(self) -> dict[str, Any]:
        """The next piece."""
        self.asked += 1
        body = self.pieces.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(self.pieces)}


def incoming(caller: Caller, budget: BodyBudget, *headers: tuple[bytes, bytes]) -> Incoming:
    """A request with those headers, from that caller."""
    scope = {"method": "POST", "query_string": b"", "headers": list(headers)}
    return Incoming(scope, caller.receive, "/v1/verify", budget)


def status_of(request: Incoming) -> int:
    """What reading the body is refused with; 0 if it is read."""
    try:
        asyncio.run(request.json_octets())
    except Problem as problem:
        return problem.status
    return 0


@pytest.mark.parametrize(
    ("headers", "status", "asked"),
    [
        ((BEARER, JSON, (b"content-length", b"6")), 0, 3),
        ((JSON, (b"content-length", b"6")), 401, 0),
        ((BEARER, (b"content-length", b"6")), 415, 0),
        (((b"content-length", b"6"),), 415, 0),
        (((b"content-length", b"65537"),), 413, 0),
        ((JSON,), 401, 3),
    ],
)
def test_what_is_refused_anyway_is_not_read(headers: Any, status: int, asked: int) -> None:
    """Where its length is told; else only reading tells whether it is too large, which comes first."""
    caller = Caller(b"ab", b"cd", b"ef")
    assert status_of(incoming(caller, BodyBudget(), *headers)) == status
    assert caller.asked == asked


def test_pieces_count_until_the_body_is_whole() -> None:
    """Two bodies under way fit or not, for all callers together; what was counted in is counted out."""
    budget = BodyBudget(6)
    budget.take(2)
    assert status_of(incoming(Caller(b"ab", b"cd", b"ef"), budget, BEARER, JSON)) == 0
    budget.take(1)
    assert status_of(incoming(Caller(b"ab", b"cd", b"ef"), budget, BEARER, JSON)) == 503
    assert status_of(incoming(Caller(b"abcdefghi"), budget, BEARER, JSON)) == 0  # whole at once: nothing waits
    assert status_of(incoming(Caller(b"abc", b"d" * 70_000), budget, BEARER, JSON)) == 413
    budget.give(3)
    budget.take(6)
    with pytest.raises(Problem) as refused:
        budget.take(1)
    assert (refused.value.status, refused.value.code) == (503, "unavailable")
