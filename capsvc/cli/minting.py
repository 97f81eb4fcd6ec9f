"""Commands that make a token at a running service: mint, exchange. Standard output gets it, and nothing else."""

from __future__ import annotations

import re
from typing import Final

import click

from capsvc import wire
from capsvc.cli.connect import Service, json_option, service_options
from capsvc.cli.exits import REFUSED, Failure
from capsvc.cli.inputs import DURATION, TOKEN_FILE, read_pairs, read_token
from capsvc.cli.render import emit, emit_json
from capsvc.client.calls import denials_of_exchange
from capsvc.client.errors import ServiceError
from capsvc.client.messages import Answer, unreadable
from capsvc.errors import Denied

__all__ = ["exchange", "mint"]

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+")
_NEED_DECLARED: Final = re.compile(r"need-declared ([^ ]+) (.*)", re.DOTALL)


@click.command()
@click.option("--audience", default="default", show_default=True, help="The services that the token is for.")
@click.option("--ttl", type=DURATION, required=True, help="How long it lives: 90, 90s, 15m, 1h, 7d.")
@click.option("--subject", help="Whom it speaks for.")
@click.option("--fact", "facts", multiple=True, metavar="NAME=VALUE", help="Something else that the issuer states.")
@click.option("--caveat", "caveats", multiple=True, help="A restriction, as 'action in read'. Repeatable.")
@click.option(
    "--third-party",
    "third_parties",
    multiple=True,
    metavar="URL=CONDITION",
    help="A condition that a registered third party must confirm; 'need-declared a,b CONDITION' has it state a and b.",
)
@click.option("--label", help="A note for the list of tokens.")
@json_option
@service_options
def mint(
    service: Service,
    *,
    audience: str,
    ttl: int,
    subject: str | None,
    facts: tuple[str, ...],
    caveats: tuple[str, ...],
    third_parties: tuple[str, ...],
    label: str | None,
    as_json: bool,
) -> None:
    """Make a token and write it to standard output."""
    pairs = read_pairs(facts, "--fact")
    conditions = [_third_party(text) for text in third_parties]
    request = wire.mint_request(
        audience=audience,
        ttl=ttl,
        subject=subject,
        facts=service.typed(pairs),
        caveats=caveats,
        third_party=conditions,
        label=label,
    )
    try:
        answer = service.call("POST", "/v1/tokens", request)
    except ServiceError as error:
        if error.code == "discharger-unknown":
            raise Failure(REFUSED, error.code, f"{error} Register it: capsvc dischargers add URL --name NAME") from None
        raise
    _emit_minted(answer, as_json=as_json)


def _emit_minted(answer: Answer, *, as_json: bool) -> None:
    """Write the token of an answer, which is one: a terminal will show it."""
    try:
        token = wire.read_minted(answer.value).token
    except ValueError:
        raise unreadable(answer.status) from None
    if not _TOKEN.fullmatch(token):
        raise unreadable(answer.status)
    if as_json:
        emit_json(answer.value)
    else:
        emit(f"{token}\n")


def _third_party(text: str) -> dict[str, object]:
    location, equals, condition = text.partition("=")
    if not equals or not location:
        raise click.UsageError("--third-party is written URL=CONDITION.", click.get_current_context())
    declared = _NEED_DECLARED.fullmatch(condition)
    if declared is None:
        return {"location": location, "condition": condition}
    return {"location": location, "condition": declared[2], "declare": declared[1].split(",")}


@click.command()
@TOKEN_FILE
@json_option
@service_options
def exchange(service: Service, *, file: str | None, as_json: bool) -> None:
    """Make a token without third-party caveats from the bundle in FILE or on standard input.

    It is for services that verify by themselves. It is as restricted as the bundle, expires no later, and dies with
    what the bundle was made from.
    """
    request = wire.exchange_request(read_token(file))
    try:
        with denials_of_exchange():
            answer = service.call("POST", "/v1/exchange", request)
    except Denied as denied:
        if denied.code == "discharge-missing":
            whose = "the third party" if denied.caveat is None else denied.caveat
            message = f"{denied} Gather it first, from {whose}: capsvc discharge"
            raise Failure(REFUSED, denied.code, message) from None
        raise
    _emit_minted(answer, as_json=as_json)
