"""Commands that need no service and no key: inspect, attenuate, convert, check. None of them opens a connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import click

from capsvc.cli.inputs import DURATION, TOKEN_FILE, read_token
from capsvc.cli.render import draw, emit, emit_json, escape
from capsvc.errors import TokenError
from capsvc.macaroon.decode import UnverifiedMacaroon, encode
from capsvc.macaroon.formats import read_any, to_v1, to_v2json
from caveats import Vocabulary, parse

__all__ = ["attenuate", "check", "convert", "inspect"]

_WRITERS: Final[Mapping[str, Callable[[UnverifiedMacaroon], str]]] = MappingProxyType(
    {"v1": to_v1, "v2": encode, "v2json": to_v2json}
)

_CONFIG: Final = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A capsvc.toml, for its [attributes]; without it unknown names pass if they fit the grammar.",
)


@click.command()
@TOKEN_FILE
@click.option("--json", "as_json", is_flag=True, help="Write an object: location, id, caveats, expires_at.")
def inspect(file: str | None, as_json: bool) -> None:
    """Show what the token or bundle in FILE or on standard input says, UNVERIFIED."""
    from capsvc.cli import reading as told  # noqa: PLC0415

    reading = told.read_bundle(read_any(read_token(file)))
    if as_json:
        emit_json(told.as_json(reading))
        return
    from capsvc.cli.drawing import picture  # noqa: PLC0415 - rich, for people

    draw(picture(reading, int(time.time())))


@click.command()
@TOKEN_FILE
@click.option("--caveat", "caveats", multiple=True, help="A restriction, as 'action in read'. Repeatable.")
@click.option("--ttl", type=DURATION, help="How long what is made lives, at most: 90, 90s, 15m, 1h, 7d.")
@_CONFIG
def attenuate(file: str | None, caveats: tuple[str, ...], ttl: int | None, config: Path | None) -> None:
    """Narrow the token in FILE or on standard input; the narrower one goes to standard output."""
    from capsvc.token import Token  # noqa: PLC0415 - loads a library that reading needs not

    if not caveats and ttl is None:
        raise click.UsageError("Nothing to add: give --caveat or --ttl", click.get_current_context())
    if ttl is not None and ttl <= 0:
        raise click.UsageError("--ttl must be over 0", click.get_current_context())
    vocabulary = _vocabulary(config)
    for text in caveats:
        parse(text, vocabulary)
    emit(f"{Token.parse(read_token(file)).attenuate(*caveats, ttl=ttl)}\n")


@click.command()
@TOKEN_FILE
@click.option("--to", "form", type=click.Choice(list(_WRITERS)), required=True, help="The format to write.")
def convert(file: str | None, form: str) -> None:
    """Write the token in FILE or on standard input in another format; its content stays as it is."""
    emit(_WRITERS[form](_token(file)) + "\n")


@click.command()
@click.argument("caveat")
@_CONFIG
def check(caveat: str, config: Path | None) -> None:
    """Check that CAVEAT is one, and say what it means."""
    from capsvc.cli.words import meaning  # noqa: PLC0415

    emit(escape(meaning(parse(caveat, _vocabulary(config)), int(time.time()))) + "\n")


def _token(file: str | None) -> UnverifiedMacaroon:
    """The one macaroon of the input.

    Raises:
        TokenError: ``bound`` for a bundle, ``too-large`` or ``malformed``.

    """
    root, *discharges = read_any(read_token(file))
    if discharges:
        raise TokenError("bound", "a bundle is final: use the root and the discharges that it was made from")
    return root


def _vocabulary(config: Path | None) -> Vocabulary:
    """What caveats may be on: with a configuration, what it declares and no more."""
    if config is None:
        return Vocabulary.built_in().away
    from capsvc.config import Settings  # noqa: PLC0415 - only a configuration needs it

    return Vocabulary.from_declarations(Settings.load({}, {}, config).attributes).administrative
