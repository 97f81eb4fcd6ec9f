"""Tokens at a running service: verify, revoke, list, show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

import click

from capsvc import wire
from capsvc.cli.connect import Service, json_option, segment, service_options
from capsvc.cli.exits import REFUSED, UNAVAILABLE, tell
from capsvc.cli.inputs import TOKEN_FILE, read_pairs, read_token
from capsvc.cli.render import emit, emit_json, emit_list, emit_one, emit_rows, escape, field_lines
from capsvc.client.messages import Answer, unreadable
from capsvc.errors import Denied

__all__ = ["revoke", "tokens", "verify"]

ROW_COLUMNS: Final = ("id", "state", "audience", "subject", "expires_at", "label")


@click.command()
@TOKEN_FILE
@click.option("--audience", default="default", show_default=True, help="The services that it is presented to.")
@click.option("--context", "context", multiple=True, metavar="NAME=VALUE", help="A value of the request. Repeatable.")
@click.option("--explain", is_flag=True, help="Tell the verdict on every caveat.")
@json_option
@service_options
def verify(
    service: Service, *, file: str | None, audience: str, context: tuple[str, ...], explain: bool, as_json: bool
) -> None:
    """Decide whether the token in FILE or on standard input allows a request."""
    pairs = read_pairs(context, "--context")
    token = read_token(file)
    request = wire.verify_request(token, audience=audience, context=service.typed(pairs), explain=explain)
    answer = service.call("POST", "/v1/verify", request)
    denied = _denial(answer)
    if as_json:
        emit_json(answer.value)
    else:
        emit("".join(f"{line}\n" for line in _decision_lines(answer.value, denied)))
        if denied is not None and denied.detail:
            tell(denied.code, str(denied))
    if denied is not None:
        raise click.exceptions.Exit(UNAVAILABLE if denied.code == "unavailable" else REFUSED)


def _denial(answer: Answer) -> Denied | None:
    try:
        wire.read_decision(answer.value)
    except ValueError:
        raise unreadable(answer.status) from None
    except Denied as denied:
        return denied
    return None


def _decision_lines(value: Mapping[str, Any], denied: Denied | None) -> Iterable[str]:
    if denied is None:
        yield "allowed"
        yield from field_lines({name: item for name, item in value.items() if name != "allowed"})
        return
    yield f"denied: {escape(denied.code)}"
    yield from field_lines({name: item for name, item in value.items() if name in {"caveat", "verdicts"}})


@click.command()
@TOKEN_FILE
@click.option("--id", "id", help="A token's id: the whole family of what was made from it.")
@click.option("--key", help="A signing key's id: everything that it minted.")
@click.option("--audience", help="With --subject: everything minted for it.")
@click.option("--subject", help="With --audience.")
@click.option("--before", metavar="INSTANT", help="With --subject: only what was minted until then (default: now).")
@json_option
@service_options
def revoke(
    service: Service,
    *,
    file: str | None,
    id: str | None,
    key: str | None,
    audience: str | None,
    subject: str | None,
    before: str | None,
    as_json: bool,
) -> None:
    """Revoke the token in FILE or on standard input and all made from it, or all that the options name."""
    named = {"id": id, "key": key, "audience": audience, "subject": subject, "before": before}
    request = {name: value for name, value in named.items() if value is not None}
    _check_revocation(request, file)
    if not request:
        request["token"] = read_token(file)
    value = service.ask("POST", "/v1/revocations", partial(wire.read_revocation, repeated=False), request)
    emit_one(value, as_json=as_json)


def _check_revocation(request: Mapping[str, str], file: str | None) -> None:
    """One way of naming what is to be revoked."""
    if request.keys() not in ({"id"}, {"key"}, {"audience", "subject"}, {"audience", "subject", "before"}, set()):
        raise click.UsageError(
            "Give a token, or --id, or --key, or --audience with --subject.", click.get_current_context()
        )
    if request and file is not None:
        raise click.UsageError("Give a token or options, not both.", click.get_current_context())
    if "before" in request:
        try:
            wire.parse_instant(request["before"])
        except ValueError as error:
            raise click.UsageError(f"--before: {error}.", click.get_current_context()) from None


@click.group(no_args_is_help=False)
def tokens() -> None:
    """What was minted: never the tokens themselves."""


@tokens.command("list")
@click.option("--audience", help="Only of this audience.")
@click.option("--subject", help="Only of this subject.")
@json_option
@service_options
def list_tokens(service: Service, *, audience: str | None, subject: str | None, as_json: bool) -> None:
    """List tokens, oldest first."""
    rows = service.rows("/v1/tokens", "tokens", wire.read_token_row, {"audience": audience, "subject": subject})
    if as_json:
        emit_list("tokens", rows)
    else:
        emit_rows(ROW_COLUMNS, rows)


@tokens.command("show")
@click.argument("id")
@json_option
@service_options
def show_token(service: Service, *, id: str, as_json: bool) -> None:
    """Show what is kept of the token with this ID."""
    value = service.ask("GET", f"/v1/tokens/{segment(id)}", wire.read_token_row)
    emit_one(value, as_json=as_json)
