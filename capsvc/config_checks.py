"""What each setting may be: one check a setting, from what a file or an option holds to the value in its own type.

A refusal says what would be right and never repeats the value, which may be a secret.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from caveats import DeclarationError, Vocabulary

__all__ = ["CHECKS", "SQLITE", "WrongValueError"]

SQLITE: Final = "sqlite:///"
ADMINISTRATORS: Final = "capsvc"
WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+~-]{0,127}")
METHOD: Final = re.compile(r"[A-Z][A-Z0-9-]{0,31}")
HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
ISSUER: Final = re.compile(r"https?://[!-~]{1,504}")


class WrongValueError(ValueError):
    """A value is not what the setting takes; the message says what it takes."""


def _path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise WrongValueError("must be a path")
    return Path(value)


def _database_url(value: object) -> str:
    if not isinstance(value, str) or not value.startswith(SQLITE) or not (path := value.removeprefix(SQLITE)):
        raise WrongValueError("must be sqlite:/// and a path; this version keeps its data in SQLite alone")
    if not path.isprintable() or set(path) & set("?#") or path == ":memory:":
        raise WrongValueError("must name a file, without ? and #")
    return value


def _issuer(value: object) -> str:
    wrong = WrongValueError("must be an http or https address without user, query and fragment, 512 characters at most")
    if not isinstance(value, str) or not ISSUER.fullmatch(value) or set(value) & set('?#@\\"<>'):
        raise wrong
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise wrong from None
    if not parts.hostname or port == 0:
        raise wrong
    return value


def _host(value: object) -> str:
    if not isinstance(value, str):
        raise WrongValueError("must be an address or a host name")
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        if not HOST.fullmatch(value):
            raise WrongValueError("must be an address or a host name, without port and brackets") from None
    return value


def _integer(least: int, most: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise WrongValueError(f"must be a whole number from {least} to {most}")
        return value

    return check


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 < value <= 60:
        raise WrongValueError("must be a number of seconds, over 0 and 60 at most")
    return float(value)


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise WrongValueError("must be true or false")
    return value


def _proxies(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise WrongValueError("must be a list of addresses and networks")
    return tuple(_proxy(item) for item in value)


def _proxy(value: object) -> str:
    try:
        network = ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError:
        raise WrongValueError("must hold addresses and networks, these without host bits") from None
    if network.prefixlen == 0:
        raise WrongValueError("must not trust every address there is")
    return str(network)


def _word(value: object) -> str:
    if not isinstance(value, str) or not WORD.fullmatch(value):
        raise WrongValueError("must be a word: letters, digits and . _ : @ + ~ -, 128 at most")
    return value


def _audience(value: object) -> str:
    audience = _word(value)
    if audience == ADMINISTRATORS:
        raise WrongValueError("must not be the administrators' own: a gateway would let their credentials through")
    return audience


def _actions(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise WrongValueError("must be a table of methods and their actions")
    for method in value:
        if not isinstance(method, str) or not METHOD.fullmatch(method):
            raise WrongValueError("must have methods in capitals as its keys")
    return MappingProxyType({method: _word(action) for method, action in value.items()})


def _attributes(value: object) -> Mapping[str, Mapping[str, object]]:
    if not isinstance(value, Mapping) or not all(isinstance(entry, Mapping) for entry in value.values()):
        raise WrongValueError("must be a table of tables: [attributes.NAME]")
    try:
        Vocabulary.from_declarations(value)
    except DeclarationError as error:
        raise WrongValueError(str(error)) from None
    return MappingProxyType({name: MappingProxyType(_copied(entry)) for name, entry in value.items()})


def _copied(entry: Mapping[str, object]) -> dict[str, object]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


CHECKS: Final[Mapping[str, Callable[[object], object]]] = MappingProxyType(
    {
        "data_dir": _path,
        "database_url": _database_url,
        "master_key_file": _path,
        "issuer": _issuer,
        "host": _host,
        "port": _integer(0, 65_535),
        "workers": _integer(1, 64),
        "behind_proxy": _boolean,
        "ssl_certfile": _path,
        "ssl_keyfile": _path,
        "revocation_max_lag": _seconds,
        "trusted_proxies": _proxies,
        "metrics_open": _boolean,
        "forward_auth_audience": _audience,
        "forward_auth_actions": _actions,
        "attributes": _attributes,
    }
)
"""Setting -> its check. These are all the settings there are."""
