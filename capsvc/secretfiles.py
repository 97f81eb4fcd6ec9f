"""Files that hold secrets: written whole or not at all, 0600, through no link, and never half of one left behind."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from capsvc.errors import StartError

__all__ = ["OWNER_ONLY", "remove_drafts", "replace_secret", "write_new_secret"]

OWNER_ONLY: Final = stat.S_IRUSR | stat.S_IWUSR
NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
DRAFT_OCTETS: Final = 8  # of a draft's random name, in hexadecimal


def write_new_secret(path: Path, octets: bytes) -> bool:
    """Write a file; return False if one of that name was there, and leave it.

    Raises `StartError` if it cannot be written.
    """
    try:
        _put(path, octets, os.link)  # unlike rename, it never replaces anything
    except FileExistsError:
        return False
    except OSError as error:
        raise _cannot_write(path, error) from None
    return True


def replace_secret(path: Path, octets: bytes, like: os.stat_result | None = None) -> None:
    """Put octets into a file at once: a reader sees the old ones or the new ones, whole.

    With ``like``, the status of the file that is replaced, its owner and its mode stay. Raises `StartError` if it
    cannot be written.
    """
    try:
        _put(path, octets, os.replace, like)
    except OSError as error:
        raise _cannot_write(path, error) from None


def remove_drafts(path: Path) -> None:
    """Remove what a process that was killed while it wrote this file left beside it: it may be the secret itself."""
    for draft in path.parent.glob(f".{path.name}.{'[0-9a-f]' * 2 * DRAFT_OCTETS}"):
        with suppress(OSError):
            draft.unlink()


def _put(path: Path, octets: bytes, place: Callable[[Path, Path], None], like: os.stat_result | None = None) -> None:
    """Write a draft beside the file, bring it to the disk, and put it in its place."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(DRAFT_OCTETS)}")
    descriptor = os.open(draft, NEW, OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if like is not None:
                _make_like(descriptor, like)
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        place(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _make_like(descriptor: int, like: os.stat_result) -> None:
    """Give a file another's owner (which only root can) and mode."""
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (like.st_uid, like.st_gid):
        os.fchown(descriptor, like.st_uid, like.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(like.st_mode))


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> StartError:
    return StartError("data-dir", f"{path}: cannot be written ({error.strerror})")
