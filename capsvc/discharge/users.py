"""The users file: who may log in to a discharger, and the argon2id hash of each one's password.

Lines ``name:$argon2id$v=19$m=65536,t=3,p=4$salt$hash``, a name being a word of the caveat language: it may hold colons,
but no dollar, so that the hash begins at the first ``:$argon2id$``. Read strictly: a line that is no user, a name
there twice, a last line without its end (the file was cut off) stop the start. Read again when it has changed on the
disk; as long as it cannot be read then, nobody is a user.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from capsvc.discharge.passwords import hash_password, is_hash, is_password, is_right, nobodys_hash
from capsvc.errors import StartError
from capsvc.secretfiles import replace_secret, write_new_secret
from caveats import TYPES

__all__ = ["User", "Users", "UsersFileError", "set_password"]

MAX_FILE_OCTETS: Final = 8 << 20  # some 70,000 users
HASH_BEGINS: Final = ":$argon2id$"

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a named pipe is refused, not waited for
_Version = tuple[int, int, int, int, int]

logger = logging.getLogger("capsvc.discharge")


class UsersFileError(ValueError):
    """A users file cannot be used; the message names it and the line, and holds nothing of it.

    ``.exit_code`` is the process's.
    """

    code = "users-file"
    exit_code = 3


@dataclass(frozen=True, slots=True)
class User:
    """A user as one line has him. With another password he is another `User`, of the same name."""

    name: str
    hash: str = field(repr=False)


class _Content(NamedTuple):
    """What the file held when it was this version; ``fault`` says why it cannot be used, where it cannot."""

    version: _Version | None
    users: Mapping[str, User]
    nobodys: str
    fault: str | None = None


class Users:
    """Those in a users file, as it is now. Safe to use from several threads."""

    def __init__(self, path: str | Path) -> None:
        """Read the file. Raises `UsersFileError` if it cannot be used."""
        self._path = Path(path)
        self._reading = threading.Lock()
        self._read = _content(self._path)
        self._now()

    def named(self, name: str) -> User | None:
        """The user of that name, if there is one. Raises `UsersFileError` as long as the file cannot be used."""
        return self._now().users.get(name)

    def has(self, user: User) -> bool:
        """Whether the user is there, and his password still the same. Raises `UsersFileError` as `named`."""
        return self.named(user.name) == user

    def verify(self, name: str, password: str) -> User | None:
        """The user of that name if the password is his.

        It takes some 0.1 s of a processor and 64 MiB, as much for a name that is nobody's.

        Raises:
            UsersFileError: as `named`.
            argon2.exceptions.VerificationError: there is not enough memory.

        """
        if not is_password(password):
            return None
        now = self._now()
        user = now.users.get(name)
        right = is_right(now.nobodys if user is None else user.hash, password)
        return user if right and user is not None and self.has(user) else None

    def _now(self) -> _Content:
        content = self._read
        if content.version is None or content.version != _version_on_disk(self._path):
            content = self._read_again()
        if content.fault is not None:
            raise UsersFileError(content.fault)
        return content

    def _read_again(self) -> _Content:
        with self._reading:
            before, self._read = self._read, _content(self._path)
            if self._read.fault is not None and self._read.fault != before.fault:
                logger.error("nobody can log in: %s", self._read.fault)
            return self._read


def set_password(path: str | Path, name: str, password: str) -> bool:
    """Give a user a password: in a new file (0600), on a new line, or in place of his former one.

    The file is replaced at once, and keeps its owner and its mode. True if the user is new.

    Raises:
        ValueError: the name is not a word of the caveat language, or the password not 1 to 1,024 characters.
        UsersFileError: the file cannot be read, is not a users file, or cannot be written.

    """
    TYPES["word"].read(name)
    line = f"{name}:{hash_password(password)}"
    path = Path(path)
    try:
        while not write_new_secret(path, line.encode("ascii") + b"\n"):
            is_new = _set_line(path, name, line)
            if is_new is not None:
                return is_new
    except StartError as error:
        raise UsersFileError(str(error)) from None
    return True


def _set_line(path: Path, name: str, line: str) -> bool | None:
    """Put the line into a file that is there; True if the name is new, None if the file was replaced meanwhile."""
    try:
        descriptor = os.open(path, _READ | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # the link would be replaced, not what it leads to
            raise UsersFileError(f"{path}: is a link; name the file itself") from None
        raise _cannot_read(path, error) from None
    with _closing(descriptor):
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # of two passwords that are set at once none is lost
        status = os.fstat(descriptor)
        if _version_on_disk(path) != _version(status):
            return None
        lines = _lines(path, _octets(path, descriptor, status))
        is_new = name not in _users(path, lines)
        lines = [*lines, line] if is_new else [line if _name(one) == name else one for one in lines]
        replace_secret(path, "".join(f"{one}\n" for one in lines).encode("ascii"), like=status)
        return is_new


def _content(path: Path) -> _Content:
    """What is there now."""
    version = None
    try:
        descriptor = _open(path)
        with _closing(descriptor):
            status = os.fstat(descriptor)
            version = _version(status)  # before its octets: what changes while they are read is read again
            users = _users(path, _lines(path, _octets(path, descriptor, status)))
    except UsersFileError as error:
        return _Content(version, MappingProxyType({}), "", str(error))
    return _Content(version, users, nobodys_hash(user.hash for user in users.values()))


def _open(path: Path) -> int:
    try:
        return os.open(path, _READ)
    except FileNotFoundError:
        raise UsersFileError(f"{path}: there is no such file; capsvc discharger passwd makes one") from None
    except (OSError, ValueError) as error:
        raise _cannot_read(path, error) from None


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def _octets(path: Path, descriptor: int, status: os.stat_result) -> bytes:
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_OCTETS:
        raise UsersFileError(f"{path}: is no users file, which has at most {MAX_FILE_OCTETS >> 20} MiB")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsersFileError(f"{path}: others can read or write it; run chmod 600 on it")
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_FILE_OCTETS)
    except OSError as error:
        raise _cannot_read(path, error) from None


def _lines(path: Path, octets: bytes) -> list[str]:
    """The lines without their ends."""
    lines = octets.split(b"\n")
    if lines.pop():
        raise _wrong(path, len(lines) + 1, "has no end: the file has been cut off, or is being written")
    for number, line in enumerate(lines, 1):
        if not line.isascii():
            raise _wrong(path, number, "is not ASCII")
    return [line.decode("ascii") for line in lines]


def _users(path: Path, lines: list[str]) -> Mapping[str, User]:
    users: dict[str, User] = {}
    for number, line in enumerate(lines, 1):
        name = _name(line)
        if name == line:
            raise _wrong(path, number, "is not name:$argon2id$...; capsvc discharger passwd writes such lines")
        try:
            TYPES["word"].read(name)
        except ValueError as error:
            raise _wrong(path, number, f"does not begin with a name: {error}") from None
        if name in users:
            raise _wrong(path, number, "has a name that an earlier line has")
        user = User(name, line[len(name) + 1 :])
        if not is_hash(user.hash):
            raise _wrong(path, number, "has no hash of argon2id, version 19, within bounds")
        users[name] = user
    return MappingProxyType(users)


def _name(line: str) -> str:
    """What stands before the hash; the whole line if there is none."""
    return line.partition(HASH_BEGINS)[0]


def _version_on_disk(path: Path) -> _Version | None:
    try:
        return _version(path.stat())
    except (OSError, ValueError):
        return None


def _version(status: os.stat_result) -> _Version:
    """What is another when the file is."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _cannot_read(path: Path, error: Exception) -> UsersFileError:
    return UsersFileError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'no path'})")


def _wrong(path: Path, number: int, what: str) -> UsersFileError:
    return UsersFileError(f"{path}: line {number}: {what}")
