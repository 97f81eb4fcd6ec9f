"""One question to the authority, whose every failure is a denial."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final
from weakref import WeakKeyDictionary

from capsvc.client.calls import authorize_call, read_grant
from capsvc.client.connection import AsyncConnection
from capsvc.client.errors import ServiceError
from capsvc.client.messages import Answer, Call
from capsvc.errors import Denied
from capsvc.grants import Grant

__all__ = ["ask"]

ATTEMPTS: Final = 2
"""How often a question is asked at most, where the connection is what fails."""

LONGEST_VALUE: Final = 2048  # characters: no legal value of a context is longer
LARGEST_INTEGER: Final = 2**63
ILLEGAL: Final = ""  # of every type, so that the decision is context-invalid in its turn

logger = logging.getLogger("capsvc.asgi")

_failing: WeakKeyDictionary[AsyncConnection, str] = WeakKeyDictionary()
"""The code with which each connection failed last, so that it is logged once and not with every request."""


async def ask(
    connection: AsyncConnection, bundle: str, *, audience: str, context: Mapping[str, object], prefix: bool = False
) -> Grant:
    """The authority's grant, or `Denied`: ``unavailable`` where there is no answer that can be relied on.

    That the service does not accept our own credential is among the failures: it says nothing about the bundle.
    """
    values = {name: _sendable(value) for name, value in context.items()}
    call = authorize_call(bundle, audience=audience, context=values, explain=False, prefix=prefix)
    try:
        grant = read_grant(await _called(connection, call), audience)
    except ServiceError as error:
        _failed(connection, error)
        raise Denied("wrong-audience" if error.code == "audience-unknown" else "unavailable") from None
    except Denied:
        _answered(connection)
        raise
    _answered(connection)
    return grant


async def _called(connection: AsyncConnection, call: Call) -> Answer:
    """The answer; a decision changes nothing, so one that a lost connection swallowed can be asked for again."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await connection.call(call)
        except ServiceError as error:
            if not error.lost:
                raise
    return await connection.call(call)


def _sendable(value: object) -> object:
    """A value as JSON can carry it, where it is legal at all; no attribute is of any other type."""
    match value:
        case bool():
            return ILLEGAL
        case int() if abs(value) <= LARGEST_INTEGER:
            return value
        case str() if len(value) <= LONGEST_VALUE and value.isascii():  # as every legal one is
            return value
    return ILLEGAL


def _failed(connection: AsyncConnection, error: ServiceError) -> None:
    if _failing.get(connection) != error.code:
        _failing[connection] = error.code
        logger.warning("the authority cannot be asked (%s): %s", error.code, error)


def _answered(connection: AsyncConnection) -> None:
    if _failing.pop(connection, None) is not None:
        logger.warning("the authority answers again")
