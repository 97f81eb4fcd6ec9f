"""The data directory: made whole from whatever a cut-off start left, or refused with nothing made."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from capsvc import secretfiles
from capsvc.authority import Authority, installation
from capsvc.config import Settings
from capsvc.errors import RequestError, StartError
from capsvc.store.sqlite import SqliteStore

ROOT = Path(__file__).parents[2]
WHOLE = {"capsvc.db", "master.key", "admin.token"}
needs_an_owner = pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def works(directory: Any) -> None:
    """It opens, mints, decides, and its administrator's token is good."""
    with Authority.open(directory.settings) as authority:
        token = authority.mint(audience="default", ttl=60).token
        assert authority.authorize(token, audience="default")
        admin = (directory.path / "admin.token").read_text().strip()
        assert authority.authorize(admin, audience="capsvc")
        assert authority.verify_audit() > 0


# Whole and cut off.


def test_everything_is_made_private(directory: Any) -> None:
    """Files 0600, the directory 0700, whatever the umask; SQLite's own files too."""
    before = os.umask(0)
    try:
        with directory.open() as authority:
            authority.mint(audience="default", ttl=60)
            assert directory.names() == WHOLE
            assert mode(directory.path) == 0o700
            assert {path.name: mode(path) for path in directory.path.iterdir()} == {
                path.name: 0o600 for path in directory.path.iterdir()
            }
            assert (directory.path / "capsvc.db-wal").exists()
    finally:
        os.umask(before)
    works(directory)


def test_opening_a_whole_one_changes_no_secret(whole: Any) -> None:
    """Neither key nor credential."""
    before = {name: (whole.path / name).read_bytes() for name in ("master.key", "admin.token")}
    works(whole)
    assert {name: (whole.path / name).read_bytes() for name in before} == before
    assert len(before["master.key"]) == 32


@pytest.mark.parametrize("make", [True, False])
def test_without_making_nothing_is_made(directory: Any, make: bool) -> None:
    """A command that only looks at the directory does not create it."""
    if make:
        directory.open(make=True).close()
        assert directory.names() == WHOLE
        return
    assert "capsvc init" in str(directory.refusal(make=False))
    assert not directory.path.exists()
    directory.path.mkdir(mode=0o700)
    assert "capsvc init" in str(directory.refusal(make=False))
    assert directory.names() == set()


@pytest.mark.parametrize(
    "left",
    [
        ("master.key",),
        ("master.key", "empty database"),
        ("master.key", "wal database"),
        ("empty database",),
        ("master.key", "capsvc.db"),
        (),
    ],
    ids=lambda left: " and ".join(left) or "nothing",
)
def test_a_cut_off_start_is_finished(whole: Any, another: Callable[[str], Any], left: tuple[str, ...]) -> None:
    """From each point at which it can end: what was there is kept, what was not is made."""
    directory = another("cut off")
    directory.path.mkdir(mode=0o700)
    kept = {}
    for name in left:
        if name == "empty database":
            directory.database.touch(0o600)
        elif name == "wal database":
            with closing(sqlite3.connect(directory.database)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("CREATE TABLE half (x)")  # never committed
        else:
            shutil.copy(whole.path / name, directory.path / name)
            kept[name] = (directory.path / name).read_bytes()
    works(directory)
    assert directory.names() == WHOLE
    if "master.key" in kept:
        assert (directory.path / "master.key").read_bytes() == kept["master.key"]
    if "capsvc.db" in kept:
        assert directory.sql("SELECT count(*) FROM audit WHERE action = 'init'") == [(1,)]


@pytest.mark.parametrize("step", ["master key", "database", "fill", "admin token"])
def test_a_start_that_dies_can_be_repeated(directory: Any, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """At each of its steps; no half-made database is ever left."""

    def die(*_: object, **__: object) -> Any:
        raise KeyboardInterrupt

    where: tuple[Any, str] = {
        "master key": (installation, "write_new_secret"),
        "database": (SqliteStore, "create"),
        "fill": (installation, "new_key"),
        "admin token": (Authority, "admin_token"),
    }[step]
    with monkeypatch.context() as patch:
        patch.setattr(*where, die)
        with pytest.raises(KeyboardInterrupt):
            directory.open()
    assert not (directory.path / "admin.token").exists()
    works(directory)


@pytest.mark.parametrize("database", ["missing", "empty"])
def test_a_credential_beside_no_database_is_refused(whole: Any, database: str) -> None:
    """The database was lost: starting anew would make every token invalid, so nothing is created."""
    for path in whole.path.glob("capsvc.db*"):
        path.unlink()
    if database == "empty":
        whole.database.touch(0o600)
    error = whole.refusal()
    assert "admin.token" in str(error)
    assert "restore" in str(error)
    assert whole.names() == WHOLE - ({"capsvc.db"} if database == "missing" else set())
    if database == "empty":
        assert whole.database.stat().st_size == 0
    (whole.path / "admin.token").unlink()
    works(whole)


# The master key.


def test_a_missing_master_key(whole: Any) -> None:
    """Where sealed rows are, none is made."""
    (whole.path / "master.key").unlink()
    assert whole.refusal().code == "master-key-missing"
    assert whole.names() == WHOLE - {"master.key"}


def test_a_wrong_master_key(whole: Any, another: Callable[[str], Any]) -> None:
    """Another installation's."""
    shutil.copy(another("other").made().path / "master.key", whole.path / "master.key")
    error = whole.refusal()
    assert error.code == "master-key-wrong"
    assert "put back" in str(error)


@pytest.mark.parametrize("octets", [b"", b"x" * 31, b"x" * 33, b"0" * 64, b"x" * 32 + b"\n"])
def test_a_master_key_of_another_length(whole: Any, octets: bytes) -> None:
    """32 octets and nothing else; none of them is shown."""
    (whole.path / "master.key").write_bytes(octets)
    error = whole.refusal()
    assert error.code == "master-key"
    assert "32 octets" in str(error)


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o620, 0o602, 0o777])
def test_a_master_key_that_others_can_read(whole: Any, bits: int) -> None:
    """It may be known already, so it is not silently made private."""
    (whole.path / "master.key").chmod(bits)
    assert whole.refusal().code == "master-key"
    assert mode(whole.path / "master.key") == bits
    (whole.path / "master.key").chmod(0o600)
    works(whole)


def test_a_named_master_key_is_never_made(directory: Any, tmp_path: Path) -> None:
    """Missing, it stops the start; there, it is used where it lies."""
    named = tmp_path / "secret" / "key"
    settings = Settings(data_dir=directory.path, master_key_file=named)
    for _ in range(2):
        with pytest.raises(StartError) as error:
            Authority.open(settings)
        assert (error.value.code, error.value.exit_code) == ("master-key-missing", 3)
        assert not named.exists()
        assert not (directory.path / "capsvc.db").exists()
        assert not (directory.path / "master.key").exists()
    with pytest.raises(StartError, match="missing"):
        Authority.open(Settings(data_dir=tmp_path / "new", master_key_file=named))
    assert not (tmp_path / "new").exists()
    named.parent.mkdir()
    secretfiles.write_new_secret(named, bytes(range(32)))
    with Authority.open(settings) as authority:
        assert authority.mint(audience="default", ttl=60)
    assert directory.names() == WHOLE - {"master.key"}
    assert directory.refusal().code == "master-key-missing"


# Permissions and links.


def test_lax_files_are_made_private(whole: Any) -> None:
    """Database and credential, and what SQLite left beside the one."""
    (whole.path / "capsvc.db-wal").touch()
    for name in ("capsvc.db", "capsvc.db-wal", "admin.token"):
        (whole.path / name).chmod(0o644)
    works(whole)
    for name in ("capsvc.db", "admin.token"):
        assert mode(whole.path / name) == 0o600


@pytest.mark.parametrize("bits", [0o720, 0o702, 0o777, 0o1777])
def test_a_directory_that_others_can_write(whole: Any, bits: int) -> None:
    """They could put another database into it."""
    whole.path.chmod(bits)
    error = whole.refusal()
    assert error.code == "data-dir"
    assert "chmod 700" in str(error)
    whole.path.chmod(0o755)
    works(whole)


@pytest.mark.parametrize("name", ["master.key", "capsvc.db"])
@pytest.mark.parametrize("target", ["nothing", "an empty file", "a file"])
def test_creation_follows_no_link(directory: Any, tmp_path: Path, name: str, target: str) -> None:
    """A link where a file is to be made stops the start, and its target is not touched."""
    directory.path.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    content = {"nothing": None, "an empty file": b"", "a file": b"precious, and no database of anybody's"}[target]
    if content is not None:
        victim.write_bytes(content)
        victim.chmod(0o600)
    (directory.path / name).symlink_to(victim)
    directory.refusal()
    assert (victim.read_bytes() if victim.exists() else None) == content
    assert "admin.token" not in directory.names()


def test_no_secret_is_overwritten(tmp_path: Path) -> None:
    """A file of that name stays as it is, a link too; no draft is left."""
    path = tmp_path / "secret"
    assert secretfiles.write_new_secret(path, b"first")
    assert not secretfiles.write_new_secret(path, b"second")
    assert (path.read_bytes(), mode(path)) == (b"first", 0o600)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert not secretfiles.write_new_secret(tmp_path / "link", b"third")
    assert {one.name for one in tmp_path.iterdir()} == {"secret", "link"}
    with pytest.raises(StartError):
        secretfiles.write_new_secret(tmp_path / "nowhere" / "secret", b"x")


@needs_an_owner
def test_a_directory_that_cannot_be_written(directory: Any) -> None:
    """Read-only to us: refused, nothing made."""
    directory.path.mkdir(mode=0o500)
    assert directory.refusal().exit_code == 3
    assert directory.names() == set()


def test_a_path_that_is_no_directory(directory: Any) -> None:
    """A file, or below a file."""
    directory.path.write_text("x")
    assert directory.refusal().code == "data-dir"
    assert directory.path.read_text() == "x"


# A damaged database.


@pytest.mark.parametrize("octets", [b"x", b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_file_that_is_no_database(whole: Any, octets: bytes) -> None:
    """Left as it is."""
    for path in whole.path.glob("capsvc.db*"):
        path.unlink()
    whole.database.write_bytes(octets)
    error = whole.refusal()
    assert error.code == "database"
    assert whole.database.read_bytes() == octets


def damage(path: Path, page: int) -> None:
    """Overwrite a page of a database with junk."""
    content = bytearray(path.read_bytes())
    content[page * 4096 : (page + 1) * 4096] = b"\xa5" * 4096
    path.write_bytes(content)


def refusal_of(directory: Any) -> int | str | None:
    """The exit code or the code by which opening, minting or proving ends; None if nothing is wrong."""
    try:
        with directory.open() as authority:
            authority.mint(audience="default", ttl=60)
            authority.verify_audit()
    except StartError as error:
        return error.exit_code
    except RequestError as error:
        return error.code
    return None


def test_a_database_with_any_damaged_page(whole: Any, another: Callable[[str], Any]) -> None:
    """Each page in turn: it is refused, or what that page holds is not needed; no other error comes out of it."""
    with whole.open() as authority:
        authority.add_audience("photos")
        for number in range(20):
            authority.mint(audience="default", ttl=60, subject=f"s{number}")
    pages = whole.database.stat().st_size // 4096
    refused = 0
    for page in range(pages):
        directory = another(f"damaged {page}")
        shutil.copytree(whole.path, directory.path)
        damage(directory.database, page)
        outcome = refusal_of(directory)
        assert outcome in {3, "unavailable", None}
        refused += outcome is not None
    assert pages > 10
    assert refused > 3


def test_a_truncated_database(whole: Any) -> None:
    """Cut in the middle."""
    size = whole.database.stat().st_size
    os.truncate(whole.database, size // 2 // 4096 * 4096)
    assert whole.refusal().code == "database"


# A disk that is full.

FULL = """
import resource, signal, sys
from capsvc.authority import Authority
from capsvc.config import Settings
from capsvc.errors import RequestError, StartError

settings = Settings(data_dir=sys.argv[1])
with Authority.open(settings) as authority:
    token = authority.mint(audience="default", ttl=60).token
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(path.stat().st_size for path in settings.data_dir.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 400_000, hard))
    acknowledged = []
    code = ""
    for number in range(10_000):
        try:
            acknowledged.append(authority.mint(audience="default", ttl=60, label="x" * 200).id)
        except RequestError as error:
            code = error.code
            break
    assert code == "unavailable", code
    for call in (
        lambda: authority.revoke(token=token),
        lambda: authority.rotate_key("default"),
        lambda: authority.add_audience("photos"),
    ):
        try:
            call()
        except RequestError as error:
            assert error.code == "unavailable", error.code
        else:
            raise AssertionError("it was acknowledged")
    assert authority.authorize(token, audience="default")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    acknowledged.append(authority.mint(audience="default", ttl=60).id)
    authority.revoke(token=token)
    assert authority.verify_audit() > 0
    for one in acknowledged:
        assert authority.token(one) is not None
with Authority.open(settings) as authority:
    assert all(authority.token(one) is not None for one in acknowledged)
    assert authority.verify_audit() > 0
print(len(acknowledged))
"""


def test_a_disk_that_fills_up_and_is_emptied(directory: Any) -> None:
    """Nothing unwritten is acknowledged, decisions go on, nothing acknowledged is lost, and it recovers by itself."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(directory.path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def test_a_start_on_a_full_disk(directory: Any) -> None:
    """Whatever the size at which it is full: refused in one line, exit 3; with room again it is finished."""
    script = """
import resource, signal, sys
from capsvc.authority import Authority
from capsvc.config import Settings
from capsvc.errors import StartError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    Authority.open(Settings(data_dir=sys.argv[1])).close()
except StartError as error:
    assert error.exit_code == 3, error
    sys.exit(7)
"""
    codes = []
    for size in (0, 16, 4096, 20_000, 100_000, 10_000_000):
        done = subprocess.run(
            [sys.executable, "-c", script, str(directory.path), str(size)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PYTHONPATH": str(ROOT)},
        )
        assert done.returncode in {0, 7}, done.stderr
        codes.append(done.returncode)
    assert (codes[0], codes[-1]) == (7, 0)
    works(directory)


# Several at once.


def test_first_starts_at_once_make_one_installation(directory: Any) -> None:
    """Whoever comes second uses what the first has made: one key, one database, one credential, all of them good."""
    script = """
import sys
from capsvc.authority import Authority
from capsvc.config import Settings
sys.stdin.readline()
with Authority.open(Settings(data_dir=sys.argv[1])) as authority:
    print(authority.public_key, authority.mint(audience="default", ttl=600).token)
"""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(directory.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(ROOT)},
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate(timeout=60)[0].split() for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert len({public for public, _ in told}) == 1
    works(directory)
    with Authority.open(directory.settings) as authority:
        for _, token in told:
            assert authority.authorize(token, audience="default")
    assert directory.names() == WHOLE
    assert directory.sql("SELECT count(*) FROM audit WHERE action = 'init'") == [(1,)]


@pytest.mark.parametrize("left", [b"", b"short", b"x" * 100])
def test_whatever_is_left_of_the_beacon(whole: Any, left: bytes) -> None:
    """Its number means nothing: any will do."""
    (whole.path / "capsvc.db-beacon").write_bytes(left)
    works(whole)


def test_a_beacon_that_is_a_link(whole: Any, tmp_path: Path) -> None:
    """It is not followed."""
    beacon = whole.path / "capsvc.db-beacon"
    beacon.unlink()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    beacon.symlink_to(victim)
    assert whole.refusal().code == "data-dir"
    assert victim.read_bytes() == b"precious"


def test_what_a_killed_start_left_of_the_master_key_is_removed(tmp_path: Path) -> None:
    """A draft may be the key itself, under another name; what only looks like one stays."""
    directory = tmp_path / "data"
    Authority.open(Settings(data_dir=directory)).close()
    draft, other = directory / ".master.key.0123456789abcdef", directory / ".master.key.mine"
    draft.write_bytes((directory / "master.key").read_bytes())
    other.write_bytes(b"")
    Authority.open(Settings(data_dir=directory)).close()
    assert not draft.exists()
    assert other.exists()
    assert (directory / "master.key").exists()


def test_an_admin_token_that_is_a_link_to_nothing(tmp_path: Path) -> None:
    """It is neither followed nor passed over in silence; without it, the start is as any."""
    directory = tmp_path / "data"
    Authority.open(Settings(data_dir=directory)).close()
    (directory / "admin.token").unlink()
    (directory / "admin.token").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StartError) as refused:
        Authority.open(Settings(data_dir=directory))
    assert (refused.value.code, refused.value.exit_code) == ("data-dir", 3)
    assert not (tmp_path / "nowhere").exists()
    (directory / "admin.token").unlink()
    Authority.open(Settings(data_dir=directory)).close()
    assert (directory / "admin.token").is_file()


def test_a_master_key_that_another_user_left_there_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He would know it; one of our own, left by a start that was cut off, is used."""
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    (directory / "master.key").write_bytes(bytes(range(32)))
    (directory / "master.key").chmod(0o600)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(StartError) as refused:
        Authority.open(Settings(data_dir=directory))
    assert (refused.value.code, refused.value.exit_code) == ("master-key", 3)
    assert [one.name for one in directory.iterdir()] == ["master.key"]
    monkeypatch.undo()
    Authority.open(Settings(data_dir=directory)).close()
    assert (directory / "capsvc.db").exists()
