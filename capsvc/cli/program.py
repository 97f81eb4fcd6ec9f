"""The command `capsvc`: finds a sub-command, loads its module and no other, runs it, ends as `exits` says."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final, NoReturn

import click

from capsvc.cli.exits import DONE, report
from capsvc.cli.render import emit

__all__ = ["Program", "main"]

NAME: Final = "capsvc"

COMMANDS: Final = MappingProxyType(
    {
        "init": "data:init",
        "serve": "data:serve",
        "admin-token": "data:admin_token",
        "mint": "minting:mint",
        "verify": "tokens:verify",
        "discharge": "discharge:discharge",
        "exchange": "minting:exchange",
        "revoke": "tokens:revoke",
        "tokens": "tokens:tokens",
        "audiences": "audiences:audiences",
        "keys": "audiences:keys",
        "dischargers": "dischargers:dischargers",
        "bakery-keys": "dischargers:bakery_keys",
        "inspect": "local:inspect",
        "attenuate": "local:attenuate",
        "convert": "local:convert",
        "check": "local:check",
        "keygen": "discharger:keygen",
        "discharger": "discharger:discharger",
    }
)


class Program(click.Group):
    """A group whose commands live in modules that are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """Every command, in the order in which one meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """The command of that name, or None."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(f"capsvc.cli.{module}"), attribute)
        return command

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,  # noqa: ARG002 - always capsvc: completion's variable is named after it
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 - this and the next are click's
        windows_expand_args: bool = True,  # noqa: ARG002
        **extra: Any,
    ) -> NoReturn:
        """Run the command line and end the process: click's own ending knows other exit codes and longer messages."""
        arguments = list(sys.argv[1:] if args is None else args)
        self._main_shell_completion(extra, NAME, complete_var)
        sys.exit(self._run(arguments, extra))

    def _run(self, arguments: list[str], extra: dict[str, Any]) -> int:
        exit_code = DONE
        try:
            try:
                with self.make_context(NAME, list(arguments), **extra) as context:
                    self.invoke(context)
            except click.exceptions.Exit as ended:
                exit_code = ended.exit_code
            emit("")  # nothing is done that is still in a buffer
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - no traceback: it could show a token
            return report(error, arguments)
        return exit_code


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - slow to import

        emit(f"{NAME} {version(NAME)}\n")
        context.exit()


@click.group(cls=Program, no_args_is_help=False, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
def main() -> None:
    """A token authority: macaroons that holders narrow, that always expire, and that can be revoked at once."""
