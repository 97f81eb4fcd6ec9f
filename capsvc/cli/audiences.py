"""Audiences and their signing keys at a running service."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import click

from capsvc import wire
from capsvc.cli.connect import Service, json_option, segment, service_options
from capsvc.cli.inputs import DURATION
from capsvc.cli.render import emit_list, emit_one, emit_rows
from capsvc.grants import KeyInfo

__all__ = ["audiences", "keys"]

AUDIENCE_COLUMNS: Final = ("name", "max_ttl", "created_at")
KEY_COLUMNS: Final = ("kid", "state", "created_at")


@click.group(no_args_is_help=False)
def audiences() -> None:
    """Sets of services that accept the same tokens."""


@audiences.command("list")
@json_option
@service_options
def list_audiences(service: Service, *, as_json: bool) -> None:
    """List audiences."""
    rows = service.rows("/v1/audiences", "audiences", wire.read_audience)
    if as_json:
        emit_list("audiences", rows)
    else:
        emit_rows(AUDIENCE_COLUMNS, rows)


@audiences.command("add")
@click.argument("name")
@click.option("--max-ttl", type=DURATION, help="The longest life of its tokens: 90s, 15m, 7d; 30 days by default.")
@json_option
@service_options
def add_audience(service: Service, *, name: str, max_ttl: int | None, as_json: bool) -> None:
    """Add an audience, with a key of its own."""
    given = {} if max_ttl is None else {"max_ttl": max_ttl}
    emit_one(service.ask("POST", "/v1/audiences", wire.read_audience, {"name": name, **given}), as_json=as_json)


@audiences.command("set")
@click.argument("name")
@click.option("--max-ttl", type=DURATION, required=True, help="The longest life of its tokens, old ones too.")
@json_option
@service_options
def set_audience(service: Service, *, name: str, max_ttl: int, as_json: bool) -> None:
    """Change an audience."""
    value = service.ask("PATCH", f"/v1/audiences/{segment(name)}", wire.read_audience, {"max_ttl": max_ttl})
    emit_one(value, as_json=as_json)


@click.group(no_args_is_help=False)
def keys() -> None:
    """The keys that sign an audience's tokens."""


@keys.command("list")
@click.option("--audience", default="default", show_default=True, help="Whose keys.")
@json_option
@service_options
def list_keys(service: Service, *, audience: str, as_json: bool) -> None:
    """List an audience's keys, without their secrets."""
    rows = service.rows(f"/v1/audiences/{segment(audience)}/keys", "keys", _key(audience))
    if as_json:
        emit_list("keys", rows)
    else:
        emit_rows(KEY_COLUMNS, rows)


@keys.command("rotate")
@click.option("--audience", default="default", show_default=True, help="Whose key.")
@json_option
@service_options
def rotate_key(service: Service, *, audience: str, as_json: bool) -> None:
    """Mint with a fresh key from now on; tokens of the old one stay good."""
    emit_one(service.ask("POST", f"/v1/audiences/{segment(audience)}/keys", _key(audience)), as_json=as_json)


@keys.command("revoke")
@click.argument("kid")
@click.option("--audience", help="Refuse unless it is this audience's key.")
@json_option
@service_options
def revoke_key(service: Service, *, kid: str, audience: str | None, as_json: bool) -> None:
    """Revoke the key KID and every token that it minted."""
    if audience is None:
        shape = partial(wire.read_revocation, repeated=False)
        emit_one(service.ask("POST", "/v1/revocations", shape, {"key": kid}), as_json=as_json)
    else:
        service.call("DELETE", f"/v1/audiences/{segment(audience)}/keys/{segment(kid)}")


def _key(audience: str) -> Callable[[object], KeyInfo]:
    return partial(wire.read_key, audience=audience)
