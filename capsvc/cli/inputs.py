"""What commands read: tokens and credentials from files or standard input, durations and pairs from options."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from capsvc.cli.exits import USAGE, Failure
from capsvc.errors import TokenError
from capsvc.macaroon.thirdparty import read_key

__all__ = [
    "DURATION",
    "PUBLIC_KEY",
    "STDIN",
    "TOKEN_FILE",
    "Duration",
    "PublicKey",
    "read_credential",
    "read_pairs",
    "read_token",
    "typed",
]

INPUT_OCTETS: Final = 256 * 1024  # the largest token in V2 JSON, every octet of it escaped
CREDENTIAL_OCTETS: Final = 64 * 1024
STDIN: Final = "-"

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"([0-9]{1,12})([smhd]?)")
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,17}")

TOKEN_FILE: Final = click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=str))


class Duration(click.ParamType[int]):
    """``90``, ``90s``, ``15m``, ``1h``, ``7d``; in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Seconds; a usage error that does not repeat what was given."""
        if isinstance(value, int):
            return value
        found = _DURATION.fullmatch(value)
        if found is None:
            self.fail("a duration is written 90, 90s, 15m, 1h or 7d.", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


DURATION: Final = Duration()


class PublicKey(click.ParamType[str]):
    """A Curve25519 public key in its one spelling: 32 octets in standard base64."""

    name = "key"

    def __init__(self, *, or_nothing: bool = False) -> None:
        """``or_nothing`` takes the empty text, too."""
        self._or_nothing = or_nothing

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same text; a usage error for what is no key."""
        if value == "" and self._or_nothing:
            return ""
        try:
            read_key(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        return str(value)


PUBLIC_KEY: Final = PublicKey()


def read_token(file: str | None) -> str:
    """The text of FILE or of standard input, without the white space around it.

    Raises:
        Failure: exit 2 for no input.
        TokenError: ``too-large``, ``malformed``.

    """
    octets = _octets(file, INPUT_OCTETS)
    if not octets:
        raise Failure(USAGE, "usage", f"no token {_where(file)}: give it there, never as an argument")
    if len(octets) > INPUT_OCTETS:
        raise TokenError("too-large", f"the input is over {INPUT_OCTETS} octets: no token is")
    return _ascii(octets, "the token")


def read_credential(path: Path) -> str:
    """A credential from a file.

    Raises:
        Failure: exit 2 where there is none.
        TokenError: ``too-large``, ``malformed``.

    """
    try:
        with path.open("rb") as stream:
            octets = stream.read(CREDENTIAL_OCTETS + 1).strip()
    except OSError as error:
        raise Failure(USAGE, "credential-missing", f"{path}: {error.strerror}") from None
    if not octets:
        raise Failure(USAGE, "credential-missing", f"{path} is empty")
    if len(octets) > CREDENTIAL_OCTETS:
        raise TokenError("too-large", f"{path} is over {CREDENTIAL_OCTETS} octets: no credential is")
    return _ascii(octets, "the credential")


def _octets(file: str | None, limit: int) -> bytes:
    try:
        if file is not None and file != STDIN:
            with Path(file).open("rb") as stream:
                return _bounded(stream, limit)
        return b"" if sys.stdin is None else _bounded(sys.stdin.buffer, limit)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it cannot be opened"
        raise Failure(USAGE, "usage", f"no token {_where(file)}: {reason}") from None


def _bounded(stream: BinaryIO, limit: int) -> bytes:
    octets = stream.read(limit + 1)
    return octets if len(octets) > limit else octets.strip()


def _where(file: str | None) -> str:
    return "on standard input" if file is None or file == STDIN else f"in {file}"


def _ascii(octets: bytes, what: str) -> str:
    try:
        return octets.decode("ascii")
    except UnicodeDecodeError:
        raise TokenError("malformed", f"{what} is not text in ASCII") from None


def read_pairs(values: Iterable[str], option: str) -> dict[str, str]:
    """``NAME=VALUE`` options, split at the first ``=``, each name once.

    Raises:
        UsageError: for one without ``=``, and for a name that is given twice.

    """
    pairs: dict[str, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{option} is written NAME=VALUE.", click.get_current_context())
        if name in pairs:
            raise click.UsageError(f"{option} names {name} twice.", click.get_current_context())
        pairs[name] = value
    return pairs


def typed(pairs: Mapping[str, str], types: Mapping[str, str]) -> dict[str, object]:
    """The values as the service wants them: integers where an attribute is one, text else.

    What is no integer is left as it is, for the service to refuse.
    """
    return {
        name: int(value) if types.get(name) == "integer" and _INTEGER.fullmatch(value) else value
        for name, value in pairs.items()
    }
