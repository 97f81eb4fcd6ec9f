"""The `static` checker: principals in a file, each with its conditions, for machines.

::

    [principals.build-bot]
    public_keys = ["<standard base64>"]              # with which it logs in as an agent; capsvc keygen makes a pair
    conditions = ["is-authenticated-user", "may-deploy photos"]
    declare = { username = "build-bot" }             # what is stated, as far as it is asked for

A condition is one of them, octet by octet, or it is refused. The file is read once, and strictly: what cannot be meant,
a principal who could not log in among it, stops the start.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

from starlette.requests import Request

from capsvc.discharge.answers import Answer, Checker, Declared, Interaction, Refused
from capsvc.discharge.login import AGENT
from capsvc.macaroon.thirdparty import asked_names, read_key
from caveats import TYPES, declare

__all__ = ["Principal", "Principals", "PrincipalsError", "read_principals", "static_checker"]

MAX_FILE_OCTETS: Final = 8 << 20
MAX_CONDITION: Final = 512
KEYS: Final = frozenset({"public_keys", "conditions", "declare"})

_T = TypeVar("_T")


class PrincipalsError(ValueError):
    """A file of principals cannot be used; the message names it and the key that is wrong.

    ``.exit_code`` is the process's.
    """

    code = "principals-file"
    exit_code = 3


@dataclass(frozen=True, slots=True)
class Principal:
    """Who may have which conditions answered, with what declared; ``public_keys`` are those that it logs in with."""

    public_keys: tuple[str, ...]
    conditions: frozenset[str]
    declared: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Principals:
    """All of a file, by name."""

    by_name: Mapping[str, Principal]

    def agents(self) -> dict[str, tuple[str, ...]]:
        """Their public keys, as `capsvc.discharge.AgentLogin` takes them."""
        return {name: one.public_keys for name, one in self.by_name.items()}


def static_checker(principals: Principals) -> Checker:
    """A checker that answers what a principal's entry says, once it has logged in as an agent.

    A person may have the name of a principal: he is none.
    """

    async def check(condition: str, request: Request) -> Answer:
        name = request.state.user
        if name is None:
            return Interaction()
        if request.state.login != AGENT:
            return Refused("this service answers agents alone, who log in with their key")
        principal = principals.by_name.get(name)
        if principal is None or condition not in principal.conditions:
            return Refused("it is none of the conditions of whoever logged in")
        return Declared(principal.declared)

    return check


def read_principals(path: str | Path) -> Principals:
    """The principals of a file. Raises `PrincipalsError`."""
    path = Path(path)
    content = _content(path)
    if content.keys() != {"principals"} or not isinstance(content["principals"], dict) or not content["principals"]:
        raise PrincipalsError(f"{path}: holds tables [principals.NAME], one at least, and nothing else")
    return Principals(
        MappingProxyType({name: _principal(path, name, entry) for name, entry in content["principals"].items()})
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_OCTETS:
            raise PrincipalsError(f"{path}: is no file of principals, which has at most {MAX_FILE_OCTETS >> 20} MiB")
        if status.st_mode & stat.S_IWOTH:
            raise PrincipalsError(f"{path}: everybody can write to it; run chmod o-w on it")
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise PrincipalsError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise PrincipalsError(f"{path}: is not UTF-8 text") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r"\((at [^()]*)\)$", str(error))
        raise PrincipalsError(f"{path}: is not TOML {found.group(1) if found else ''}".rstrip()) from None


def _principal(path: Path, name: str, entry: object) -> Principal:
    where = f"{path}: principals.{name if len(name) <= 128 and name.isascii() and name.isprintable() else '...'}"
    try:
        TYPES["word"].read(name)
    except ValueError as error:
        raise PrincipalsError(f"{where}: a principal's name is a word: {error}") from None
    if not isinstance(entry, dict) or not entry.keys() <= KEYS:
        raise PrincipalsError(f"{where}: has the keys {', '.join(sorted(KEYS))}, and no other")
    return Principal(
        conditions=_value(where, entry, "conditions", _conditions, []),
        declared=_value(where, entry, "declare", _told, {}),
        public_keys=_value(where, entry, "public_keys", _keys, []),
    )


def _value(where: str, entry: Mapping[str, object], key: str, meaning: Callable[[object], _T], default: object) -> _T:
    try:
        return meaning(entry.get(key, default))
    except ValueError as error:
        raise PrincipalsError(f"{where}.{key}: {error}") from None


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("is a list of texts")
    if len(set(value)) != len(value):
        raise ValueError("has the same entry twice")
    return value


def _keys(value: object) -> tuple[str, ...]:
    keys = _texts(value)
    if not keys:
        raise ValueError("has one key at least; capsvc keygen makes a pair")
    for key in keys:
        read_key(key)
    return tuple(keys)


def _conditions(value: object) -> frozenset[str]:
    conditions = _texts(value)
    if not conditions:
        raise ValueError("has one condition at least")
    for condition in conditions:
        if not 0 < len(condition) <= MAX_CONDITION or not condition.isprintable():
            raise ValueError(f"a condition is 1 to {MAX_CONDITION} printable characters")
        if asked_names(condition)[0]:
            raise ValueError("a condition is what stands after need-declared and its names")
    return frozenset(conditions)


def _told(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError("is a table of names and texts")
    for name, text in value.items():
        declare(name, text)
    return MappingProxyType(dict(value))
