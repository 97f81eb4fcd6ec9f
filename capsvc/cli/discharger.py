"""Commands of a third party: make a key pair, serve a discharger, give its users their passwords."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from capsvc.cli.exits import UNAVAILABLE, USAGE, Failure
from capsvc.cli.inputs import DURATION, STDIN
from capsvc.cli.render import emit, escape, is_terminal
from capsvc.errors import StartError
from capsvc.keyfile import KeyFileError, key_file_text
from capsvc.macaroon.thirdparty import KeyPair, key_text, read_key
from capsvc.secretfiles import write_new_secret

__all__ = ["discharger", "keygen"]

DEFAULT_PORT: Final = 8701
MAX_PASSWORD_OCTETS: Final = 8_192
FILE: Final = click.Path(path_type=Path)


class _FirstParty(NamedTuple):
    """Whose conditions are answered; ``name`` is what the consent page calls it."""

    name: str
    key: str


class _FirstPartyType(click.ParamType[_FirstParty]):
    """``KEY`` or ``NAME:KEY``."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> _FirstParty:
        """The key, checked."""
        if isinstance(value, _FirstParty):
            return value
        name, _, key = value.rpartition(":")
        try:
            read_key(key)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        return _FirstParty(name, key)


class _OwnFileType(click.ParamType[Path]):
    """A file that is written: standard output is none, since nothing would guard what is secret there."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path, if it can be a file's."""
        path = Path(value)
        if not path.name or value == STDIN:
            self.fail("give the name of a file to write.", param, ctx)
        return path


@click.command()
@click.argument("file", type=_OwnFileType())
def keygen(file: Path) -> None:
    """Make a key pair in a new FILE, and write its public key to standard output.

    Dischargers and agents have one each. The file is macaroon-bakery's; whoever reads it can act for its owner.
    """
    pair = KeyPair.generate()
    if not _written(file, key_file_text(pair).encode("ascii")):
        raise Failure(USAGE, "exists", f"{file} is there already, and is never overwritten; name another file")
    if is_terminal():
        click.echo(f"{escape(str(file))} holds the pair. Its public key, which everybody may know:", err=True)
    emit(f"{key_text(pair.public)}\n")


def _written(file: Path, octets: bytes) -> bool:
    """Write a new file; False if one of that name is there already."""
    if not file.parent.is_dir():
        raise Failure(UNAVAILABLE, KeyFileError.code, f"{file}: there is no such directory; make it first")
    try:
        return write_new_secret(file, octets)
    except StartError as error:
        raise Failure(UNAVAILABLE, KeyFileError.code, str(error)) from None


@click.group()
def discharger() -> None:
    """Serve a third party, which answers conditions of tokens; give its users their passwords."""


@discharger.command()
@click.option("--key", "key_file", type=FILE, required=True, help="The discharger's key pair; capsvc keygen makes one.")
@click.option(
    "--former-key",
    "former_key_files",
    type=FILE,
    multiple=True,
    help="A pair that --key replaced: tokens from before are still answered; repeats.",
)
@click.option("--checker", "checker_name", required=True, help="What judges conditions: module:name, static, session.")
@click.option(
    "--trust",
    type=_FirstPartyType(),
    multiple=True,
    metavar="[NAME:]KEY",
    help="The public key of a first party whose conditions are answered, and what the consent page calls it; repeats.",
)
@click.option("--allow-any", is_flag=True, help="Answer the conditions of every first party there is, instead.")
@click.option("--location", help="The address by which clients know it; else the one that it listens on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=int, default=DEFAULT_PORT, show_default=True, help="The port; 0 for any free one.")
@click.option("--users", type=FILE, help="Users and their passwords: people log in with a browser.")
@click.option("--principals", type=FILE, help="Principals, their conditions and keys: agents log in.")
@click.option("--same-address", is_flag=True, help="Let nobody consent to what was begun from another address.")
@click.option("--discharge-ttl", type=DURATION, default=300, help="How long a discharge is good: 5m, or 1h at most.")
@click.option("--ssl-certfile", type=FILE, help="The certificate, for TLS.")
@click.option("--ssl-keyfile", type=FILE, help="Its key, where that is in a file of its own.")
@click.option("--behind-proxy", is_flag=True, help="A proxy ends TLS: listen on any address without it.")
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    help="An address or network whose X-Forwarded-For says who asks; repeats.",
)
def serve(**options: Any) -> None:
    """Serve a discharger until ^C.

    Its logins, visits and waits are in memory: a restart ends them.
    """
    from capsvc.cli.discharging import run  # noqa: PLC0415 - the other commands need no server

    run(options)


@discharger.command()
@click.argument("file", type=_OwnFileType())
@click.argument("name")
def passwd(file: Path, name: str) -> None:
    """Give a user a password in FILE, which is made if it is not there.

    On a terminal the password is asked for twice, else it is the first line of standard input.
    """
    from capsvc.discharge.users import set_password  # noqa: PLC0415 - slow to import

    try:
        is_new = set_password(file, name, _password(name))
    except ValueError as error:
        if hasattr(error, "code"):
            raise
        raise Failure(USAGE, "usage", str(error)) from None
    emit(f"{escape(name)} {'is a user in' if is_new else 'has another password in'} {escape(str(file))} now.\n")


def _password(name: str) -> str:
    if sys.stdin is not None and sys.stdin.isatty():
        label = f"Password of {escape(name)}"
        typed: str = click.prompt(label, hide_input=True, confirmation_prompt="Again", err=True)
        return typed
    octets = b"" if sys.stdin is None else sys.stdin.buffer.readline(MAX_PASSWORD_OCTETS)
    try:
        password = octets.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Failure(USAGE, "usage", "the password on standard input is not UTF-8") from None
    if not password:
        raise Failure(USAGE, "usage", "no password on standard input: give it there, in one line")
    return password
