"""Files that hold a key pair, as macaroon-bakery has them: its tools read ours, and we read theirs.

::

    {"public": "<standard base64>", "private": "<standard base64>"}                     a key pair (bakery.KeyPair)
    {"key": {…the same…}, "agents": [{"url": "https://…", "username": "build-bot"}]}    an agent's (agent.AuthInfo)

They are read strictly: each field once and no other, the public half the private one's own, nobody but the owner able
to read the file.
"""

from __future__ import annotations

import binascii
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from capsvc.macaroon.thirdparty import KeyPair, key_text, read_key

__all__ = ["Agent", "AgentKey", "KeyFileError", "key_file_text", "read_agent_file", "read_key_file"]

MAX_FILE_OCTETS: Final = 65_536
MAX_AGENTS: Final = 1_000
MAX_TEXT: Final = 2_048  # characters of a URL or a user's name
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a named pipe is refused, not waited for
_T = TypeVar("_T")


class KeyFileError(ValueError):
    """A key file cannot be used; the message names it, says what to do, and holds nothing of it.

    ``.exit_code`` is the process's.
    """

    code = "key-file"
    exit_code = 3


class Agent(NamedTuple):
    """Under which name an agent is known to the discharger at a URL."""

    url: str
    username: str


class AgentKey(NamedTuple):
    """An agent's key pair, and where it may log in with it."""

    pair: KeyPair
    agents: tuple[Agent, ...]


def key_file_text(pair: KeyPair) -> str:
    """What a key pair's file holds: a secret."""
    return json.dumps({"public": key_text(pair.public), "private": key_text(pair.private())}) + "\n"


def read_key_file(path: str | Path) -> KeyPair:
    """The key pair that a file holds. Raises `KeyFileError`."""
    return _read(Path(path), _pair)


def read_agent_file(path: str | Path) -> AgentKey:
    """The key pair of an agent, and under which names dischargers know it. Raises `KeyFileError`."""
    return _read(Path(path), _agent_key)


def _read(path: Path, meaning: Callable[[object], _T]) -> _T:
    text = _text(path)
    try:
        return meaning(json.loads(text, object_pairs_hook=_distinct))
    except (ValueError, RecursionError) as error:
        reason = str(error) if type(error) is ValueError else "it is not JSON"
        raise KeyFileError(f"{path}: {reason}") from None


def _text(path: Path) -> bytes:
    try:
        with os.fdopen(os.open(path, _READ), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MAX_FILE_OCTETS + 1) if stat.S_ISREG(mode) else b""
    except FileNotFoundError:
        raise KeyFileError(f"{path}: there is no such file; capsvc keygen makes one") from None
    except (OSError, ValueError) as error:
        raise KeyFileError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'no path'})") from None
    if not stat.S_ISREG(mode) or len(text) > MAX_FILE_OCTETS:
        raise KeyFileError(f"{path}: is no file of a key pair, which has at most {MAX_FILE_OCTETS} octets")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(f"{path}: others can read or write it; run chmod 600 on it")
    return text


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is there twice")
    return fields


def _fields(value: object, *names: str) -> list[object]:
    if not isinstance(value, dict) or value.keys() != set(names):
        raise ValueError(f"an object with the fields {' and '.join(names)}, and no other, belongs there")
    return [value[name] for name in names]


def _pair(value: object) -> KeyPair:
    public, private = _fields(value, "public", "private")
    pair = KeyPair(_private(private))
    if read_key(str(public)) != pair.public:
        raise ValueError("the public key does not belong to the private one")
    return pair


def _private(value: object) -> bytes:
    try:
        key = binascii.a2b_base64(value.encode("ascii")) if isinstance(value, str) else b""
    except (UnicodeEncodeError, binascii.Error):
        key = b""
    if not any(key) or key_text(key) != value:
        raise ValueError("a private key is 32 octets in standard base64")
    return key


def _agent_key(value: object) -> AgentKey:
    key, agents = _fields(value, "key", "agents")
    if not isinstance(agents, list) or len(agents) > MAX_AGENTS:
        raise ValueError(f"agents is a list, of at most {MAX_AGENTS}")
    return AgentKey(_pair(key), tuple([_agent(agent) for agent in agents]))


def _agent(value: object) -> Agent:
    url, username = _fields(value, "url", "username")
    if not _is_text(url) or not _is_text(username):
        raise ValueError(f"an agent's url and username are text, of at most {MAX_TEXT} characters")
    return Agent(str(url), str(username))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT
