"""Commands on the data directory: make it, serve from it, make a fresh administrator's token."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from capsvc.authority import Authority
from capsvc.cli.render import emit, escape
from capsvc.config import Settings

__all__ = ["admin_token", "data_options", "init", "serve"]

DEFAULT_DATA_DIR: Final = Path("capsvc-data")


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which data directory and which configuration file."""
    config = click.option(
        "--config",
        type=click.Path(path_type=Path),
        help="The configuration file; else CAPSVC_CONFIG, else capsvc.toml in the data directory.",
    )
    data_dir = click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        help="Where everything is kept; else CAPSVC_DATA_DIR, else ./capsvc-data.",
    )
    return data_dir(config(command))


@click.command()
@data_options
def init(data_dir: Path | None, config: Path | None) -> None:
    """Make the data directory: database, master key, administrator's token."""
    settings = Settings.load({"data_dir": data_dir}, config_path=config)
    missing = _missing(settings)
    Authority.open(settings).close()
    if missing:
        emit(_made(settings, missing))
        emit(f"Next: {_command('serve', settings)}\n")
    else:
        emit(f"{escape(str(settings.data_dir))} has everything already; nothing was changed.\n")


@click.command()
@data_options
@click.option("--host", help="The address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="The port to listen on; 0 for any free one.  [default: 8700]")
@click.option("--workers", type=int, help="How many processes answer.  [default: 1]")
@click.option("--issuer", help="The address by which others know this service; else the one that it listens on.")
@click.option("--ssl-certfile", type=click.Path(path_type=Path), help="The certificate, for TLS.")
@click.option("--ssl-keyfile", type=click.Path(path_type=Path), help="Its key, where that is in a file of its own.")
@click.option("--behind-proxy", is_flag=True, default=None, help="A proxy ends TLS: listen on any address without it.")
def serve(config: Path | None, **options: Any) -> None:
    """Serve until ^C. The first start makes the data directory."""
    from capsvc.http.server import run  # noqa: PLC0415 - the other commands need no server

    settings = Settings.load(options, config_path=config)
    missing = _missing(settings)

    def announce(url: str) -> None:
        if missing:
            emit(_made(settings, missing))
        emit(f"capsvc serves {escape(url)} from {escape(str(settings.data_dir))}. ^C stops it.\n")
        if missing:
            mint = _command("mint", settings, "--ttl", "1h", "--caveat", "action in read")
            emit(f"Next, in another terminal: {mint}\n")

    run(settings, announce)


@click.command("admin-token")
@data_options
def admin_token(data_dir: Path | None, config: Path | None) -> None:
    """Write a fresh administrator's token, good for 90 days, to standard output."""
    settings = Settings.load({"data_dir": data_dir}, config_path=config)
    with Authority.open(settings, make=False) as authority:
        token = authority.admin_token()
    emit(token + "\n")


def _missing(settings: Settings) -> list[Path]:
    """What the first start makes and is not there yet."""
    parts = (settings.database_path, settings.master_key_path, settings.data_dir / "admin.token")
    return [path for path in parts if not path.exists()]


def _made(settings: Settings, missing: list[Path]) -> str:
    names = ", ".join(escape(path.name) for path in missing)
    return (
        f"Made in {escape(str(settings.data_dir))}: {names}. "
        f"Whoever reads {escape(settings.master_key_path.name)} or admin.token can act as this service.\n"
    )


def _command(name: str, settings: Settings, *arguments: str) -> str:
    """A command line to type, for this data directory."""
    where = () if settings.data_dir == DEFAULT_DATA_DIR else ("--data-dir", str(settings.data_dir))
    return escape(shlex.join(["capsvc", name, *arguments, *where]))
