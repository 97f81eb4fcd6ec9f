"""How a command ends: every exception becomes an exit code and one line, here and nowhere else.

====  =============================================================================================
0     done
1     denied or refused: a bad token or caveat, or any 4xx answer
2     usage; no input, no credential
3     service or storage unavailable; output that cannot be written
130   interrupted from the keyboard, as a shell counts it
====  =============================================================================================
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import click

from capsvc.cli.render import OutputError, escape
from caveats import CaveatError

__all__ = ["DONE", "INTERRUPTED", "REFUSED", "UNAVAILABLE", "USAGE", "Failure", "report", "tell"]

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
UNAVAILABLE: Final = 3
INTERRUPTED: Final = 130

SHOWN_ARGUMENT: Final = 40  # characters: a longer one may be a token that was given as an argument by mistake
_LONG_WORD: Final = re.compile(rf"[^\s'\"]{{{SHOWN_ARGUMENT + 1},}}")


class Failure(Exception):  # noqa: N818 - it is one
    """A command cannot do what it was asked, for a reason of its own."""

    def __init__(self, exit_code: int, code: str, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.code = code


def report(error: BaseException, arguments: Sequence[str]) -> int:
    """Say on standard error what went wrong, in one line; the exit code."""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return INTERRUPTED
    exit_code, code, message = _outcome(error)
    if isinstance(error, OutputError | OSError):
        _drop_output()
    tell(code, _without(arguments, " ".join(message.split())))
    return exit_code


def tell(code: str, message: str) -> None:
    """Say on standard error what is wrong, in one line."""
    line = escape(f"capsvc: {code}: {message}")
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nowhere to say it: the exit code still does
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _outcome(error: BaseException) -> tuple[int, str, str]:
    """Exit code, code and message. capsvc's own exceptions all have a ``code``, wherever they come from."""
    match error:
        case click.UsageError():
            return USAGE, "usage", error.format_message().rstrip(".") + _hint(error)
        case click.ClickException():
            return USAGE, "usage", error.format_message()
        case OSError():
            return UNAVAILABLE, "unavailable", error.strerror or type(error).__name__
    code = getattr(error, "code", None)
    if isinstance(code, str):
        return _exit_code(error, code), code, _message(error)
    return UNAVAILABLE, "internal", f"a fault in capsvc itself: {type(error).__name__}"


def _message(error: BaseException) -> str:
    if isinstance(error, CaveatError) and error.position is not None:
        return f"{error} (at octet {error.position})"
    caveat = getattr(error, "caveat", None)  # of a `Denied`, and of a `ServiceError` about the credential
    return f"{error} {caveat}" if isinstance(caveat, str) else str(error)


def _exit_code(error: BaseException, code: str) -> int:
    """What the exception itself says; else by the answer's status, where one came; else by the code."""
    stated = getattr(error, "exit_code", None)
    if isinstance(stated, int):
        return stated
    if hasattr(error, "status"):
        return REFUSED if error.status is not None and 400 <= error.status < 500 else UNAVAILABLE
    return UNAVAILABLE if code == "unavailable" else REFUSED


def _hint(error: click.UsageError) -> str:
    return "." if error.ctx is None else f". See '{error.ctx.command_path} --help'."


def _without(arguments: Iterable[str], message: str) -> str:
    """The message without any argument, or part of one, of over 40 characters."""
    for text in _spellings(arguments):
        message = message.replace(text, "...")
    given = "\n".join(arguments)
    return _LONG_WORD.sub(lambda word: "..." if word.group() in given else word.group(), message)


def _spellings(arguments: Iterable[str]) -> Iterator[str]:
    """Long arguments as a message might repeat them: whole, the value after ``=``, quoted, with blanks collapsed."""
    for argument in arguments:
        for text in (argument, argument.partition("=")[2]):
            for spelling in (text, repr(text)[1:-1], " ".join(text.split()), escape(text)):
                if len(spelling) > SHOWN_ARGUMENT:
                    yield spelling


def _drop_output() -> None:
    """Send what is still buffered nowhere, so that the interpreter's own last flush does not complain."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)
