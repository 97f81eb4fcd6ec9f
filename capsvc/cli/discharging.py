"""The process that ``capsvc discharger serve`` is: it checks, binds, serves, and ends when told to.

It is one process, since logins, visits and waits are in its memory. Everything that can be wrong is found before
anything is answered.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast
from urllib.parse import urlsplit

from capsvc.cli.exits import USAGE, Failure
from capsvc.cli.render import emit, escape
from capsvc.config import Settings
from capsvc.discharge import (
    AgentLogin,
    Checker,
    Login,
    Principals,
    SessionLogin,
    Users,
    create_discharger,
    load_checker,
    read_principals,
    session_checker,
    static_checker,
)
from capsvc.discharge.callers import is_here, is_loopback
from capsvc.discharge.session import nothing_known, username_alone
from capsvc.http.lines import LineWriter
from capsvc.http.listening import bind
from capsvc.http.logs import AccessLog
from capsvc.http.server import check
from capsvc.http.serving import Stop, serve_app, set_up_process
from capsvc.keyfile import read_key_file
from capsvc.macaroon.thirdparty import KeyPair, key_text

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["run"]


def run(options: Mapping[str, Any]) -> None:
    """Serve until SIGTERM or ^C, then answer what is under way, up to 10 seconds.

    Raises what `capsvc.cli.exits` knows: exit 2 for options that are wrong, 3 for files that are, and for the port.
    """
    _require_first_parties(options)
    settings = _settings(options)
    check(settings)
    _require_proxies(options, settings)
    keys = [read_key_file(path) for path in (options["key_file"], *options["former_key_files"])]
    checker, logins = _checker_and_logins(options)
    set_up_process()
    stop = Stop()
    with ExitStack() as held:
        sockets = bind(settings.host, settings.port)
        for item in sockets:
            held.enter_context(item)
        url = settings.url(sockets[0].getsockname()[1])
        location = options["location"] or url
        app = _application(checker, logins, location, keys, options)
        log = LineWriter(sys.stderr)
        held.callback(log.flush)
        serve_app(
            AccessLog(app, stream=cast("TextIO", log)),  # of a stream it needs no more
            sockets,
            lambda: _announce(url, location, keys[0]),
            stop,
            ssl_certfile=settings.ssl_certfile,
            ssl_keyfile=settings.ssl_keyfile,
            stopping=app.state.waits.close,
        )


def _require_first_parties(options: Mapping[str, Any]) -> None:
    if bool(options["trust"]) is options["allow_any"]:
        raise Failure(
            USAGE,
            "usage",
            "say whose conditions are answered: --trust KEY for every first party (an authority's public key stands in"
            " its /.well-known/capsvc), or else --allow-any",
        )


def _require_proxies(options: Mapping[str, Any], settings: Settings) -> None:
    """Where people log in, their addresses count: on the page that asks for consent, and for how often they may try."""
    location = options["location"]
    proxied = settings.behind_proxy or (location and is_loopback(settings.host) and not is_here(location))
    if proxied and options["users"] is not None and not settings.trusted_proxies:
        raise Failure(
            USAGE,
            "usage",
            "people log in through a proxy here, and would all seem to be at its address: say with --trusted-proxy from"
            " which address it comes (127.0.0.1, where it is on this machine), and let it set X-Forwarded-For",
        )


def _settings(options: Mapping[str, Any]) -> Settings:
    """Where to listen, checked as `capsvc serve` checks it. Raises `SettingsError`."""
    names = ("host", "port", "behind_proxy", "ssl_certfile", "ssl_keyfile", "trusted_proxies")
    return Settings(**{name: options[name] for name in names})


def _checker_and_logins(options: Mapping[str, Any]) -> tuple[Checker, list[Login]]:
    """What judges conditions, and how somebody can say who he is."""
    users = None if options["users"] is None else Users(options["users"])
    principals = None if options["principals"] is None else read_principals(options["principals"])
    checker = _checker(options["checker_name"], users, principals)
    logins: list[Login] = []
    if users is not None:
        names = {party.key: party.name for party in options["trust"] if party.name}
        stated = username_alone if options["checker_name"] == "session" else nothing_known
        logins.append(SessionLogin(users, names=names, stated=stated))
    if principals is not None:
        logins.append(AgentLogin(principals.agents()))
    return checker, logins


def _checker(name: str, users: Users | None, principals: Principals | None) -> Checker:
    if name == "session":
        if users is None:
            raise Failure(USAGE, "usage", "--checker session needs --users FILE; capsvc discharger passwd makes one")
        return session_checker(users)
    if name == "static":
        if principals is None:
            raise Failure(USAGE, "usage", "--checker static needs --principals FILE")
        return static_checker(principals)
    if ":" in name:
        sys.path.append(str(Path.cwd()))  # last: what is installed comes first
    return load_checker(name)


def _application(
    checker: Checker, logins: list[Login], location: str, keys: list[KeyPair], options: Mapping[str, Any]
) -> Starlette:
    try:
        return create_discharger(
            checker,
            key=keys[0],
            former_keys=keys[1:],
            location=location,
            trust=[party.key for party in options["trust"]],
            allow_any=options["allow_any"],
            logins=logins,
            ttl=options["discharge_ttl"],
            same_address=options["same_address"],
            trusted_proxies=options["trusted_proxies"],
        )
    except ValueError as error:
        raise Failure(USAGE, "usage", str(error)) from None


def _announce(url: str, location: str, key: KeyPair) -> None:
    where = escape(url) if location == url else f"{escape(location)} on {escape(url)}"
    emit(f"capsvc discharger serves {where}. ^C stops it.\n")
    path = urlsplit(location).path.rstrip("/")
    if path:
        emit(f"It answers at / itself: the proxy in front of it has to take {escape(path)} off each path.\n")
    emit(f"Public key: {key_text(key.public)}\n")
    command = shlex.join(["capsvc", "dischargers", "add", location, "--name", "NAME"])
    emit(f"Next, where the authority's credential is: {escape(command)}\n")
