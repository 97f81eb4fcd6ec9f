"""What stands around every page: faults and callers that go, wherever they come."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from capsvc.discharge.around import Around

START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"max-age=5")]}


def sent(*steps: Message | BaseException) -> list[Message]:
    """What reaches the server when an application sends these, and raises what is an exception."""
    messages: list[Message] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        for step in steps:
            if isinstance(step, BaseException):
                raise step
            await send(dict(step))

    async def send(message: Message) -> None:
        messages.append(message)

    async def receive() -> Message:
        raise AssertionError

    scope: dict[str, Any] = {"type": "http", "method": "GET", "headers": []}
    asyncio.run(Around(app)(scope, receive, send))
    return messages


def test_headers_of_every_answer() -> None:
    """An answer keeps what it says itself, and gets what it does not."""
    (start,) = sent(START)
    assert start["headers"] == [(b"cache-control", b"max-age=5"), (b"x-content-type-options", b"nosniff")]


@pytest.mark.parametrize(("error", "status"), [(RuntimeError("SECRET"), 500), (ClientDisconnect(), 400)])
def test_before_and_after_an_answer_began(error: Exception, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """There is one answer: the error's, or as much as had been sent of another. Only a fault is worth a line."""
    with caplog.at_level(logging.INFO):
        start, body = sent(error)
        assert (start["status"], b"SECRET" in body["body"]) == (status, False)
        assert [message["type"] for message in sent(START, error)] == ["http.response.start"]
    assert len(caplog.records) == (2 if status == 500 else 0)
    assert "SECRET" not in caplog.text
