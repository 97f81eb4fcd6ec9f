"""Third parties that a running service knows, and the key pairs by which they know it."""

from __future__ import annotations

from typing import Final, NoReturn

import click

from capsvc import wire
from capsvc.cli.connect import Service, json_option, segment, service_options
from capsvc.cli.exits import REFUSED, Failure
from capsvc.cli.inputs import PUBLIC_KEY, PublicKey
from capsvc.cli.pinning import confirmed_key, read_location
from capsvc.cli.render import emit_list, emit_one, emit_rows
from capsvc.client.errors import ServiceError

__all__ = ["bakery_keys", "dischargers"]

DISCHARGER_COLUMNS: Final = ("name", "location", "public_key", "next_public_key")
KEY_COLUMNS: Final = ("public_key", "state", "created_at")


@click.group(no_args_is_help=False)
def dischargers() -> None:
    """Third parties that answer conditions, each with a pinned key."""


@dischargers.command("list")
@json_option
@service_options
def list_dischargers(service: Service, *, as_json: bool) -> None:
    """List dischargers."""
    rows = service.rows("/v1/dischargers", "dischargers", wire.read_discharger)
    if as_json:
        emit_list("dischargers", rows)
    else:
        emit_rows(DISCHARGER_COLUMNS, rows)


@dischargers.command("add")
@click.argument("location", metavar="URL")
@click.option("--name", required=True, help="What to call it: its declarations are reported under that name.")
@click.option("--public-key", type=PUBLIC_KEY, help="The key that it must serve, as whoever runs it told you.")
@click.option("--yes", is_flag=True, help="Pin whatever key it serves, without asking on a terminal.")
@json_option
@service_options
def add_discharger(
    service: Service, *, location: str, name: str, public_key: str | None, yes: bool, as_json: bool
) -> None:
    """Register the discharger at URL, with the key that it serves there.

    Its key is read from URL/discharge/info, shown on standard error, and pinned; on a terminal once you say so. With
    --public-key it is pinned only if it is that one. Tokens that ask for URL are then sealed for that key, and nothing
    answers them but its private half.
    """
    key = confirmed_key(read_location(location), public_key, sure=yes, timeout=service.timeout)
    request = wire.discharger_request(name=name, location=location, public_key=key)
    try:
        made = service.ask("POST", "/v1/dischargers", wire.read_discharger, request)
    except ServiceError as error:
        if error.code == "exists":
            _tell_apart(service, name, key)
        raise
    emit_one(made, as_json=as_json)


def _tell_apart(service: Service, name: str, key: str) -> NoReturn:
    """Say what is taken: the name, by another key or by this one, or something else.

    Raises:
        Failure: exit 1, with what to do.
        ServiceError: the credential may not ask.

    """
    try:
        there = wire.read_discharger(service.ask("GET", f"/v1/dischargers/{segment(name)}", wire.read_discharger))
    except ServiceError as error:
        if error.code != "not-found":
            raise
        raise Failure(
            REFUSED, "exists", "another discharger has that location or key: see 'capsvc dischargers list'"
        ) from None
    if key in {there.public_key, there.next_public_key}:
        raise Failure(REFUSED, "exists", f"{name} is registered with that key already, at {there.location}")
    raise Failure(
        REFUSED,
        "exists",
        f"{name} is registered with another key, which stays pinned. If the new one is right, put it beside that:"
        f" 'capsvc dischargers set {name} --next-public-key KEY' (see its --help)",
    )


@dischargers.command("set")
@click.argument("name")
@click.option("--public-key", type=PUBLIC_KEY, help="The key that tokens are sealed for from now on.")
@click.option(
    "--next-public-key",
    type=PublicKey(or_nothing=True),
    help="A second key that counts beside it; empty takes it away.",
)
@click.option("--clear-next", is_flag=True, help="Take the second key away.")
@json_option
@service_options
def set_discharger(
    service: Service, *, name: str, public_key: str | None, next_public_key: str | None, clear_next: bool, as_json: bool
) -> None:
    """Change the keys of the discharger NAME; one that is not given stays.

    A key that goes takes with it, at once and for good, every token that depends on it. So replace one with overlap:
    put the new one beside it (--next-public-key NEW), let the discharger take it, swap them (--public-key NEW
    --next-public-key OLD), and take the old one away (--clear-next) when its last token has expired.
    """
    if next_public_key and clear_next:
        raise click.UsageError("Give --next-public-key or --clear-next, not both.", click.get_current_context())
    request = wire.discharger_change(
        public_key=public_key,
        next_public_key=next_public_key or None,
        clear_next=clear_next or next_public_key == "",
    )
    if not request:
        raise click.UsageError(
            "Nothing to change: give --public-key, --next-public-key or --clear-next.", click.get_current_context()
        )
    changed = service.ask("PATCH", f"/v1/dischargers/{segment(name)}", wire.read_discharger, request)
    emit_one(changed, as_json=as_json)


@dischargers.command("remove")
@click.argument("name")
@service_options
def remove_discharger(service: Service, *, name: str) -> None:
    """Remove the discharger NAME, and with it at once every token that depends on it."""
    service.call("DELETE", f"/v1/dischargers/{segment(name)}")


@click.group("bakery-keys", no_args_is_help=False)
def bakery_keys() -> None:
    """The key pairs by which dischargers know this service.

    A discharger answers only for services whose public key it was told ('capsvc discharger serve --trust KEY'). So a
    pair is replaced with overlap: 'prepare' makes the next one, which seals nothing yet; tell its public key to every
    discharger, beside the old one; then 'rotate'. What was sealed with the old one stays good until it expires, and
    only then may dischargers forget the old key.
    """


@bakery_keys.command("list")
@json_option
@service_options
def list_bakery_keys(service: Service, *, as_json: bool) -> None:
    """List the pairs, without their secrets: next, active or retiring."""
    rows = service.rows("/v1/bakery-keys", "bakery_keys", wire.read_bakery_key)
    if as_json:
        emit_list("bakery_keys", rows)
    else:
        emit_rows(KEY_COLUMNS, rows)


@bakery_keys.command("prepare")
@json_option
@service_options
def prepare_bakery_key(service: Service, *, as_json: bool) -> None:
    """Make the next pair; tell its public key to every discharger before 'rotate'."""
    emit_one(service.ask("POST", "/v1/bakery-keys", wire.read_bakery_key), as_json=as_json)


@bakery_keys.command("rotate")
@json_option
@service_options
def rotate_bakery_key(service: Service, *, as_json: bool) -> None:
    """Seal with the next pair from now on, or with a fresh one, which no discharger knows yet."""
    emit_one(service.ask("POST", "/v1/bakery-keys/rotate", wire.read_bakery_key), as_json=as_json)
