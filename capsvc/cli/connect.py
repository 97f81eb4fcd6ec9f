"""Commands that ask a running service: which one, with which credential."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote, urlencode

import click

from capsvc import wire
from capsvc.cli.exits import USAGE, Failure
from capsvc.cli.inputs import DURATION, read_credential, typed
from capsvc.client.connection import Connection
from capsvc.client.messages import Answer, Call, unreadable
from capsvc.client.origin import URL_OCTETS, Origin, read_origin

__all__ = ["Service", "address_options", "json_option", "segment", "service_options"]

PORT: Final = 8700
DATA_DIR: Final = "capsvc-data"
PAGE: Final = 200  # rows
EMPTY_PAGES: Final = 1000
"""Pages without a row that are passed over, one after another: a service ends a page after 20,000 rows out of sight."""
TIMEOUT: Final = 30  # seconds
TIMEOUTS: Final = (1, 3600)  # seconds: the shortest and the longest

Shape = Callable[[object], object]
"""Reads an answer; raises ``ValueError`` for one of another shape."""


class Service:
    """The service that a command talks to. Raises `ServiceError` when it does not do what it is asked."""

    def __init__(self, connection: Connection, timeout: float = TIMEOUT) -> None:
        """``timeout`` is in seconds, for others whom a command asks."""
        self._connection = connection
        self.timeout = timeout

    def call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, anonymous: bool = False
    ) -> Answer:
        """Send one request, read its answer."""
        return self._connection.call(Call(method, path, body, anonymous))

    def ask(self, method: str, path: str, shape: Shape, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The object that answers a request; ``shape`` is what reads it in `capsvc.wire`."""
        answer = self.call(method, path, body)
        return _shaped(answer.value, shape, answer.status)

    def rows(
        self, path: str, plural: str, shape: Shape, query: Mapping[str, str | None] = MappingProxyType({})
    ) -> Iterator[dict[str, Any]]:
        """Every row of a list, page after page."""
        given = {name: value for name, value in query.items() if value is not None}
        cursor: str | None = None
        empty = 0
        while True:
            after = {} if cursor is None else {"after": cursor}
            query_text = urlencode({**given, "limit": PAGE, **after}, errors="surrogateescape")
            answer = self.call("GET", f"{path}?{query_text}")
            try:
                rows, following = wire.read_page(answer.value, plural)
            except ValueError:
                raise unreadable(answer.status) from None
            yield from (_shaped(row, shape, answer.status) for row in rows)
            if following is None:
                return
            empty = 0 if rows else empty + 1
            if following == cursor or empty > EMPTY_PAGES:
                raise unreadable(answer.status)  # it would never end
            cursor = following

    def typed(self, pairs: Mapping[str, str]) -> dict[str, Any]:
        """``NAME=VALUE`` pairs as the service wants them."""
        return typed(pairs, self._attribute_types()) if pairs else {}

    def _attribute_types(self) -> dict[str, str]:
        """The declared attributes and the names of their types, as the service publishes them."""
        answer = self.call("GET", "/.well-known/capsvc", anonymous=True)
        try:
            return {name: _text(entry["type"]) for name, entry in answer.value["attributes"].items()}
        except (KeyError, TypeError, AttributeError):
            raise unreadable(answer.status) from None


def _shaped(value: Any, shape: Shape, status: int) -> dict[str, Any]:
    try:
        shape(value)
    except ValueError:
        raise unreadable(status) from None
    return dict(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def segment(text: str) -> str:
    """Text as one segment of a path, whatever is in it: no slash or dots that would lead elsewhere."""
    return quote(text, safe="", errors="surrogateescape").replace(".", "%2E")


def json_option(command: Callable[..., None]) -> Callable[..., None]:
    """The option ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Write the service's JSON object.")(command)


_URL: Final = click.option(
    "--url",
    envvar="CAPSVC_URL",
    show_envvar=True,
    help="The service's address; else the data directory's serve.url.",
)
_TIMEOUT: Final = click.option(
    "--timeout", type=DURATION, default=TIMEOUT, show_default=True, help="How long to wait for the service."
)


def _data_dir(looked_for: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--data-dir",
        envvar="CAPSVC_DATA_DIR",
        show_envvar=True,
        type=click.Path(path_type=Path),
        default=DATA_DIR,
        show_default=True,
        help=f"Where {looked_for} looked for.",
    )


def address_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name a service which gets no credential; the command gets its ``origin`` and a ``timeout``."""

    @_URL
    @_data_dir("serve.url is")
    @_TIMEOUT
    @functools.wraps(command)
    def located(*, url: str | None, data_dir: Path, timeout: int, **given: Any) -> None:
        command(origin=_origin(url, data_dir), timeout=_held(timeout), **given)

    return located


def service_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name a service and a credential; the command gets the `Service` they make."""

    @_URL
    @click.option(
        "--credential-file",
        envvar="CAPSVC_CREDENTIAL_FILE",
        show_envvar=True,
        type=click.Path(path_type=Path),
        help="A file with the credential; else the data directory's admin.token (to this machine alone).",
    )
    @_data_dir("serve.url and admin.token are")
    @_TIMEOUT
    @functools.wraps(command)
    def connected(*, url: str | None, credential_file: Path | None, data_dir: Path, timeout: int, **given: Any) -> None:
        origin = _origin(url, data_dir)
        credential = read_credential(_credential_path(origin, credential_file, data_dir))
        seconds = _held(timeout)
        connection = Connection(origin.base, credential, timeout=seconds)
        try:
            command(Service(connection, seconds), **given)
        finally:
            connection.close()

    return connected


def _held(timeout: int) -> int:
    return min(max(timeout, TIMEOUTS[0]), TIMEOUTS[1])


def _origin(url: str | None, data_dir: Path) -> Origin:
    """``--url`` or its variable, else what a local ``serve`` wrote, else this machine's default port."""
    path = data_dir / "serve.url"
    try:
        if url:
            return read_origin(url)
        origin = read_origin(_served(path) or f"http://127.0.0.1:{PORT}")
    except ValueError as error:
        raise click.UsageError(f"{error}.", click.get_current_context()) from None
    if not origin.loopback:
        raise Failure(
            USAGE,
            "usage",
            f"{path} names {origin.base}, which is not this machine; anybody may have written that there: if it is the"
            " service that you mean, say so with --url",
        )
    return origin


def _served(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return stream.read(URL_OCTETS + 1).strip().decode("ascii")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failure(USAGE, "usage", f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} holds no URL") from None


def _credential_path(origin: Origin, named: Path | None, data_dir: Path) -> Path:
    if named is not None:
        return named
    if not origin.loopback:
        raise Failure(
            USAGE,
            "credential-missing",
            "the data directory's admin.token goes to this machine alone: name a credential with --credential-file",
        )
    path = data_dir / "admin.token"
    if not path.exists():
        raise Failure(
            USAGE, "credential-missing", f"no {path}: run 'capsvc init', or name a credential with --credential-file"
        )
    return path
