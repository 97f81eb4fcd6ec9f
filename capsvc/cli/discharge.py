"""Getting from a token to a bundle: the command that asks the third parties of a token for their discharges."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from capsvc.cli.connect import address_options
from capsvc.cli.exits import REFUSED, UNAVAILABLE, USAGE, Failure
from capsvc.cli.inputs import TOKEN_FILE, read_token
from capsvc.cli.render import emit, escape
from capsvc.client.agents import Agents
from capsvc.client.book import Book
from capsvc.client.driving import WAIT, Manner, carry_out
from capsvc.client.errors import DischargeError
from capsvc.client.gathering import gather
from capsvc.client.origin import Origin
from capsvc.keyfile import KeyFileError, read_agent_file
from capsvc.token import Token

__all__ = ["discharge"]

REPORT: Final = 30  # seconds between two lines of progress, where there is no terminal to write over the last one
_STDOUT: Final = 1
_STDERR: Final = 2


@click.command()
@TOKEN_FILE
@click.option(
    "--discharger",
    "dischargers",
    multiple=True,
    metavar="URL",
    help="A third party that may be asked, beside those that the service's document names. Repeatable.",
)
@click.option(
    "--agent-file",
    envvar="CAPSVC_AGENT_FILE",
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="A macaroon-bakery agent file: log in as an agent where it names the third party.",
)
@click.option("--no-browser", is_flag=True, help="Do not open a browser: say what is to be visited.")
@address_options
def discharge(
    file: str | None,
    *,
    origin: Origin,
    timeout: int,
    dischargers: tuple[str, ...],
    agent_file: Path | None,
    no_browser: bool,
) -> None:
    """Ask the third parties of the token in FILE or on standard input; the bundle goes to standard output."""
    book = _book(dischargers, origin)
    agents = None if agent_file is None else _agents(agent_file)
    token = Token.parse(read_token(file))
    desk = _Desk(opens_browser=not no_browser)
    steps = gather(token, book, agents=agents, visits=True, clock=time.time)
    try:
        discharges = carry_out(steps, Manner(timeout, desk.visit, desk.progress))
    except DischargeError as error:
        raise Failure(_exit_code(error), error.code, str(error)) from None
    finally:
        desk.clear()
    emit(f"{token.bind(*discharges)}\n")


def _book(dischargers: tuple[str, ...], issuer: Origin) -> Book:
    try:
        return Book(list(dict.fromkeys(dischargers)), issuer.base)
    except ValueError as error:
        raise click.UsageError(f"--discharger: {error}.", click.get_current_context()) from None


def _agents(path: Path) -> Agents:
    try:
        return Agents.of(read_agent_file(path))
    except KeyFileError as error:
        raise Failure(USAGE, error.code, str(error)) from None


def _exit_code(error: DischargeError) -> int:
    """Refused by whoever was asked; or nobody there who could, or who does what a discharger should."""
    if error.code == "bad-answer":
        return UNAVAILABLE
    if error.status is not None and 400 <= error.status < 500:
        return REFUSED
    return UNAVAILABLE if error.code == "unavailable" else REFUSED


class _Desk:
    """What the person at the terminal sees while a third party waits for a visit, on standard error."""

    def __init__(self, *, opens_browser: bool) -> None:
        self._opens_browser = opens_browser
        self._told = 0.0
        self._has_line = False

    def visit(self, url: str) -> None:
        """Open an address in the browser, or say that it is to be opened; it is shown in either case."""
        self.clear()
        opened = self._opens_browser and _open(url)
        what = "opened in your browser" if opened else "open this address in a browser"
        _tell(f"capsvc: {what}: {escape(url)}\ncapsvc: waiting for you there, up to {WAIT:.0f} s\n")
        self._told = 0.0

    def progress(self, seconds: float) -> None:
        """Say how long it has been: in one line on a terminal, now and then elsewhere."""
        if sys.stderr is not None and sys.stderr.isatty():
            _tell(f"\rcapsvc: waiting, {seconds:.0f} s ")
            self._has_line = True
        elif seconds >= self._told + REPORT:
            self._told = seconds
            _tell(f"capsvc: waiting, {seconds:.0f} s\n")

    def clear(self) -> None:
        """End the line that is written over."""
        if self._has_line:
            _tell("\n")
            self._has_line = False


def _tell(text: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads it: what matters is standard output
        sys.stderr.write(text)
        sys.stderr.flush()


def _open(url: str) -> bool:
    with _output_kept_clean():
        try:
            return webbrowser.open(url)
        except (webbrowser.Error, OSError):
            return False


@contextlib.contextmanager
def _output_kept_clean() -> Iterator[None]:
    """Standard output is the bundle's alone: a browser that is started meanwhile inherits standard error for it."""
    try:
        kept = os.dup(_STDOUT)
    except OSError:  # it is closed
        yield
        return
    try:
        with contextlib.suppress(OSError):
            os.dup2(_STDERR, _STDOUT)
        yield
    finally:
        os.dup2(kept, _STDOUT)
        os.close(kept)
