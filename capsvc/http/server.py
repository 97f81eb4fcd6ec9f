"""The process that ``capsvc serve`` is: it checks, binds, serves, and ends when told to.

Everything that can be wrong is found before anything listens. With one worker the process serves by itself; with more,
it holds the sockets and keeps the workers running (`capsvc.http.workers`).
"""

from __future__ import annotations

import ipaddress
import logging
import ssl
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace

from capsvc.authority import Authority
from capsvc.config import Settings, SettingsError
from capsvc.http.app import create_app
from capsvc.http.listening import bind
from capsvc.http.serving import Stop, serve_app, set_up_process
from capsvc.http.upkeep import keep_admin_token, kept_up, locked, published
from capsvc.http.workers import Workers

__all__ = ["check", "run"]

logger = logging.getLogger("capsvc.serve")


def run(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or ^C, then answer what is under way, up to 10 seconds.

    ``announce`` is called with the address once it answers. Raises `SettingsError` (exit 2) or `StartError` (exit 3)
    when it cannot start; nothing listens then.
    """
    check(settings)
    set_up_process()
    stop = Stop()
    with ExitStack() as held:
        with Authority.open(settings) as authority:
            authority.check_clock()
            held.enter_context(locked(settings.data_dir))
            keep_admin_token(authority, settings.data_dir)
            _look_for_audience(authority, settings.forward_auth_audience)
        sockets = bind(settings.host, settings.port)
        for item in sockets:
            held.enter_context(item)
        url = settings.url(sockets[0].getsockname()[1])
        settings = replace(settings, issuer=settings.issuer or url)

        def listening() -> None:
            held.enter_context(published(settings.data_dir, url))
            announce(url)

        if settings.workers == 1:
            app = create_app(settings)
            held.enter_context(kept_up(settings.data_dir, lambda: nullcontext(app.state.authority)))
            serve_app(
                app,
                sockets,
                listening,
                stop,
                ssl_certfile=settings.ssl_certfile,
                ssl_keyfile=settings.ssl_keyfile,
                stopping=app.state.watch.stop,
            )
        else:
            held.enter_context(kept_up(settings.data_dir, lambda: Authority.open(settings, make=False)))
            Workers(settings, sockets, stop).run(listening)


def check(settings: Settings) -> None:
    """What only a listening service needs of its settings. Raises `SettingsError`."""
    if settings.ssl_certfile is None and not settings.behind_proxy and not _is_loopback(settings.host):
        raise SettingsError(
            "host: tokens would travel in the clear; set ssl_certfile and ssl_keyfile, or say --behind-proxy where a "
            "proxy ends TLS, or listen on 127.0.0.1"
        )
    if settings.ssl_certfile is not None:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, password=lambda: "")
        except (OSError, ValueError):  # without the password: a service cannot ask for it
            raise SettingsError(
                "ssl_certfile, ssl_keyfile: must be a readable PEM certificate and its key, without a password"
            ) from None


def _look_for_audience(authority: Authority, name: str | None) -> None:
    """Say so if gateways ask for an audience that does not exist: that stops no start, for it may be added later."""
    if name is not None and authority.audience(name) is None:
        logger.warning(
            "forward_auth_audience: there is no audience %s yet; every request of a gateway is refused until "
            "'capsvc audiences add' makes it",
            name,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
