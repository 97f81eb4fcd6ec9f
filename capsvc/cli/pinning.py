"""Which key a discharger serves: read once, over a connection that can be trusted, shown, and pinned.

This is the one connection to a third party that an administrator makes; the service makes none.
"""

from __future__ import annotations

import sys
from http import HTTPStatus
from typing import Final

import click
import httpx

from capsvc.cli.exits import REFUSED, USAGE, Failure
from capsvc.cli.render import escape
from capsvc.client.bakery import told_key
from capsvc.client.connection import FAILURES, failure, http_options
from capsvc.client.errors import ServiceError
from capsvc.client.messages import Body
from capsvc.client.origin import Origin, read_origin
from capsvc.macaroon.location import check_location

__all__ = ["confirmed_key", "read_location"]

INFO_OCTETS: Final = 65_536  # 64 KiB
VERSION: Final = 3  # of the caveat ids that we seal


def read_location(url: str) -> Origin:
    """A discharger's address, as far as its key can be asked there.

    Raises:
        Failure: exit 2 for what is no https address, nor an http one of this machine.

    """
    try:
        check_location(url)
        return read_origin(url)
    except ValueError:
        raise Failure(
            USAGE,
            "usage",
            "a discharger's address is an https URL, or an http one of this machine: host, port and path alone, and"
            " no equals sign in it",
        ) from None


def confirmed_key(origin: Origin, expected: str | None, *, sure: bool, timeout: float) -> str:
    """The key that a discharger serves: the one that is expected, or whichever it is, shown on standard error.

    On a terminal somebody is asked before that is taken.

    Args:
        origin: its address.
        expected: the key that it should be, in base64.
        sure: whether to take whatever is served, unasked.
        timeout: seconds, for connecting, each wait and the whole.

    Raises:
        Failure: exit 1 for another key or a no.
        ServiceError: it cannot be reached, or is no discharger.

    """
    served = _served_key(origin, timeout)
    if expected is None:
        if sure or not _can_ask():
            click.echo(f"capsvc: {escape(origin.base)} serves the public key {served}, which is to be pinned", err=True)
        else:
            _ask(origin, served)
    elif served != expected:
        raise Failure(
            REFUSED,
            "key-differs",
            f"{origin.base} serves the key {served}, not the given one: ask whoever runs it which is right, by another"
            " way than this address, and pin nothing before",
        )
    return served


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _ask(origin: Origin, served: str) -> None:
    click.echo(
        f"{escape(origin.base)} serves the public key\n\n    {served}\n\n"
        "Compare it with the one that whoever runs it tells you, by another way than this address:\n"
        "whoever has its private half answers for this discharger from now on.",
        err=True,
    )
    if not click.confirm("Pin it?", err=True):
        raise Failure(REFUSED, "not-confirmed", "nothing was registered")


def _served_key(origin: Origin, timeout: float) -> str:
    """The public key in ``/discharge/info``."""
    status, octets = _fetch(f"{origin.base}/discharge/info", origin, timeout)
    if status != HTTPStatus.OK:
        raise _no_discharger(status, origin, _why_not(status))
    key, version = told_key(octets)
    if key is None:
        raise _no_discharger(status, origin, "does not tell a public key as a discharger does")
    if type(version) is not int or version < VERSION:
        raise _no_discharger(status, origin, f"tells of no caveats of bakery's version {VERSION}, which ours are")
    return key


def _why_not(status: int) -> str:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"failed ({status}); try again later"
    is_redirect = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
    return f"answered {status}{'; redirects are not followed' if is_redirect else ''}"


def _no_discharger(status: int, origin: Origin, reason: str) -> ServiceError:
    code = "unavailable" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "bad-answer"
    return ServiceError(status, code, f"{origin.base}/discharge/info {escape(reason)}")


def _fetch(url: str, origin: Origin, timeout: float) -> tuple[int, bytes]:
    options = http_options(encrypted=origin.encrypted, timeout=timeout)
    try:
        with httpx.Client(**options) as client, client.stream("GET", url) as response:
            body = Body(response.status_code, response.headers.get("content-encoding"), timeout, INFO_OCTETS)
            for chunk in response.iter_bytes():
                body.add(chunk)
            return response.status_code, body.octets()
    except FAILURES as error:
        code, reason = failure(error)
        raise ServiceError(None, code, f"{origin.base} {reason}") from None
