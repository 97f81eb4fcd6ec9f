"""What a running ``serve`` does in its data directory: a lock, its address, a good administrator's token, the sweep."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final

from capsvc.authority import Authority
from capsvc.errors import RequestError, StartError
from capsvc.secretfiles import remove_drafts, replace_secret

__all__ = ["keep_admin_token", "kept_up", "locked", "published"]

DAY_SECONDS: Final = 86_400
HOUR_SECONDS: Final = 3_600
GOOD_FOR_SECONDS: Final = 30 * DAY_SECONDS
PRIVATE: Final = 0o600

logger = logging.getLogger("capsvc.serve")


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """One ``serve`` a data directory: a lock that ends with the process and that no worker inherits.

    Raises `StartError` when another process holds it.
    """
    path = data_dir / "serve.lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
    except OSError as error:
        raise StartError("data-dir", f"{path}: cannot be written ({error.strerror})") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StartError(
            "in-use", f"another capsvc serve runs on {data_dir}; stop it, or use another --data-dir"
        ) from None
    try:
        for name in ("admin.token", "serve.url"):  # which only who has the lock replaces
            remove_drafts(data_dir / name)
        yield
    finally:
        os.close(handle)


@contextmanager
def published(data_dir: Path, url: str) -> Iterator[None]:
    """The service's address in ``serve.url``, for the commands on this machine, until the end."""
    path = data_dir / "serve.url"
    replace_secret(path, f"{url}\n".encode("ascii"))
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def keep_admin_token(authority: Authority, data_dir: Path) -> bool:
    """Replace ``admin.token`` if it would not verify for 30 more days; whether it was replaced."""
    path = data_dir / "admin.token"
    if authority.usable_for(_read(path), GOOD_FOR_SECONDS):
        return False
    replace_secret(path, f"{authority.admin_token()}\n".encode("ascii"))
    return True


def _read(path: Path) -> str:
    try:
        return path.read_bytes()[:65_536].decode("ascii").strip()
    except (OSError, UnicodeDecodeError):  # missing or damaged: it is no token, and will be replaced
        return ""


@contextmanager
def kept_up(data_dir: Path, authority: Callable[[], AbstractContextManager[Authority]]) -> Iterator[None]:
    """Every hour, from a thread of its own: look after ``admin.token``, and forget what expired long ago."""
    stop = threading.Event()
    thread = threading.Thread(target=_keep_up, args=(data_dir, authority, stop), name="upkeep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()


def _keep_up(data_dir: Path, authority: Callable[[], AbstractContextManager[Authority]], stop: threading.Event) -> None:
    while not stop.wait(HOUR_SECONDS):
        try:
            with authority() as opened:
                opened.sweep()
                if keep_admin_token(opened, data_dir):
                    logger.info("admin.token was replaced by a fresh one")
        except (StartError, RequestError) as error:
            logger.warning("the hourly upkeep failed and will be tried again: %s", error)
