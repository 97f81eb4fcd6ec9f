"""The data directory: made in an order that a cut-off start can finish, and opened only if it is whole and ours.

``master.key``, then ``capsvc.db`` in one transaction, then ``admin.token``. No file is ever overwritten, no link
followed, nothing created beside what does not fit.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from capsvc.authority.audit import AuditLog
from capsvc.authority.decision import ADMINISTRATORS
from capsvc.authority.keys import new_box_key, new_key
from capsvc.authority.seal import MASTER_KEY_OCTETS, MasterKey, SealError
from capsvc.config import Settings
from capsvc.errors import StartError
from capsvc.secretfiles import OWNER_ONLY, remove_drafts, write_new_secret
from capsvc.store.protocol import EPOCH, Store, StoreUnavailable, Transaction
from capsvc.store.records import AudienceRecord
from capsvc.store.sqlite import SqliteStore, is_empty

__all__ = ["DEFAULT_MAX_TTL", "admin_token_path", "open_installation"]

DAY: Final = 86_400
DEFAULT_AUDIENCE: Final = "default"
DEFAULT_MAX_TTL: Final = 30 * DAY
ADMINISTRATORS_MAX_TTL: Final = 90 * DAY
MASTER_CHECK: Final = "master-check"  # a sealed value by which the right master key is known


def admin_token_path(settings: Settings) -> Path:
    """Return where the first administrator's credential is kept."""
    return settings.data_dir / "admin.token"


def open_installation(settings: Settings, now: int, *, make: bool) -> tuple[Store, MasterKey]:
    """Open the data directory; with ``make``, make what is missing.

    Raises `StartError` (exit 3): it says what is wrong and what to do, and nothing has been created.
    """
    directory = settings.data_dir
    if not make and not directory.is_dir():
        raise StartError("data-dir", f"{directory}: there is no data directory; run capsvc init")
    if settings.master_key_file is not None and not directory.exists():
        _load_master_key(settings)  # which is not ours to make: without it nothing is made
    _make_directory(directory)
    path = settings.database_path
    if not is_empty(path):
        _tighten(settings)
        remove_drafts(settings.master_key_path)
        master = _load_master_key(settings)
        return _proved(SqliteStore(path), master, settings), master
    if not make:
        raise StartError("database", f"{path}: there is no database; run capsvc init")
    if admin_token_path(settings).exists():
        raise StartError(
            "database",
            f"{path}: is missing or empty, but admin.token is there; restore the database, or remove admin.token to"
            " start anew, which makes every token invalid",
        )
    master = _first_master_key(settings)
    store = SqliteStore.create(path, lambda tx: _fill(tx, master, now))
    return _proved(store, master, settings), master


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = directory.stat().st_mode
    except OSError as error:
        raise StartError("data-dir", f"{directory}: cannot be used as data directory ({error.strerror})") from None
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StartError("data-dir", f"{directory}: others can write to it; run chmod 700 on it")


def _tighten(settings: Settings) -> None:
    """Take from others the right to read what is there."""
    database = settings.database_path
    names = [
        database,
        *(database.with_name(database.name + suffix) for suffix in ("-wal", "-shm", "-journal", "-beacon")),
    ]
    for path in [*names, admin_token_path(settings)]:
        try:
            if stat.S_IMODE(path.lstat().st_mode) & 0o177 and not path.is_symlink():
                path.chmod(OWNER_ONLY)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StartError("data-dir", f"{path}: cannot be made private ({error.strerror})") from None


def _load_master_key(settings: Settings) -> MasterKey:
    path = settings.master_key_path
    try:
        mode = path.stat().st_mode
        octets = path.read_bytes()
    except FileNotFoundError:
        raise StartError(
            "master-key-missing", f"{path}: the master key is missing; put back the file that belongs to this database"
        ) from None
    except OSError as error:
        raise StartError("master-key", f"{path}: cannot be read ({error.strerror})") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StartError("master-key", f"{path}: others can read or write it; run chmod 600 on it")
    if len(octets) != MASTER_KEY_OCTETS:
        raise StartError("master-key", f"{path}: a master key has {MASTER_KEY_OCTETS} octets, this file has not")
    return MasterKey(octets)


def _first_master_key(settings: Settings) -> MasterKey:
    """Load the master key, or make one where that is ours to do."""
    path = settings.master_key_path
    if settings.master_key_file is None and not path.exists():
        write_new_secret(path, secrets.token_bytes(MASTER_KEY_OCTETS))
    master = _load_master_key(settings)
    if settings.master_key_file is None and path.stat().st_uid != os.geteuid():
        raise StartError("master-key", f"{path}: was made by another user, who knows it; remove it, or make it yours")
    return master


def _fill(tx: Transaction, master: MasterKey, now: int) -> None:
    """Write what every installation has from the start."""
    tx.set_meta(MASTER_CHECK, master.seal(b"capsvc", "meta", MASTER_CHECK, "", "check"))
    tx.set_meta(EPOCH, secrets.token_hex(8))
    tx.put_box_key(new_box_key(master, now))
    AuditLog(master).append(tx, at=now, action="init", target="capsvc")
    for name, max_ttl in ((DEFAULT_AUDIENCE, DEFAULT_MAX_TTL), (ADMINISTRATORS, ADMINISTRATORS_MAX_TTL)):
        tx.put_audience(AudienceRecord(name, max_ttl, now))
        tx.put_key(new_key(master, name, now))


def _proved(store: SqliteStore, master: MasterKey, settings: Settings) -> Store:
    """Return the store if the master key is the one that sealed it."""
    try:
        sealed = store.meta(MASTER_CHECK)
        master.open(sealed if isinstance(sealed, bytes) else b"", "meta", MASTER_CHECK, "", "check")
    except StoreUnavailable as error:
        store.close()
        raise StartError("database", f"{settings.database_path}: cannot be read ({error})") from error
    except SealError:
        store.close()
        raise StartError(
            "master-key-wrong",
            f"{settings.master_key_path}: is not the master key of {settings.database_path}; put back the right one",
        ) from None
    return store
