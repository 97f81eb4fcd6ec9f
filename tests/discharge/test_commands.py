"""`capsvc keygen` and `capsvc discharger passwd`."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
from pathlib import Path

import pytest

from capsvc.discharge.users import Users
from capsvc.keyfile import read_key_file
from capsvc.macaroon.thirdparty import key_text

from .conftest import PATIENCE
from .processes import CAPSVC, command, environment


def test_keygen(tmp_path: Path) -> None:
    """A new file that only its owner reads, and its public key alone on standard output."""
    ended = command(tmp_path, "keygen", "d.key")
    path = tmp_path / "d.key"
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == key_text(read_key_file(path).public) + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text().splitlines()[0] not in ended.out


def test_keygen_twice(tmp_path: Path) -> None:
    """What is there is never overwritten, be it a link that leads nowhere: exit 2."""
    command(tmp_path, "keygen", "d.key")
    before = (tmp_path / "d.key").read_bytes()
    (tmp_path / "link").symlink_to("nosuch")
    for name in ("d.key", "link"):
        ended = command(tmp_path, "keygen", name)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == f"capsvc: exists: {name} is there already, and is never overwritten; name another file\n"
    assert (tmp_path / "d.key").read_bytes() == before
    assert not (tmp_path / "nosuch").exists()


def test_keygen_nowhere(tmp_path: Path) -> None:
    """A directory that is not there, or is none, is exit 3 and about the key's file."""
    ended = command(tmp_path, "keygen", "nosuch/d.key")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == "capsvc: key-file: nosuch/d.key: there is no such directory; make it first\n"
    ended = command(tmp_path, "keygen", "x" * 256)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == "capsvc: key-file: ...: cannot be written (File name too long)\n"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    assert command(tmp_path, "keygen", "there/d.key").code == 0


@pytest.mark.parametrize("name", [None, "", "-", ".", "/"])
def test_names_of_no_file(tmp_path: Path, name: str | None) -> None:
    """No name, one that no file has, and standard output, which has no owner: exit 2, and nothing is made."""
    for words, more in ((["keygen"], []), (["discharger", "passwd"], ["alice"])):
        ended = command(tmp_path, *words, *([] if name is None else [name, *more]), given="correct horse\n")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("capsvc: usage: ")
        assert list(tmp_path.iterdir()) == []
    assert command(tmp_path, "keygen", "./-").code == 0
    assert (tmp_path / "-").exists()


def test_a_password(tmp_path: Path) -> None:
    """The first line of standard input is the password; a second time it is another."""
    ended = command(tmp_path, "discharger", "passwd", "users", "alice", given="correct horse\nbattery\n")
    assert (ended.code, ended.out, ended.err) == (0, "alice is a user in users now.\n", "")
    assert Users(tmp_path / "users").verify("alice", "correct horse")
    ended = command(tmp_path, "discharger", "passwd", "users", "alice", given="staple\r\n")
    assert (ended.code, ended.out) == (0, "alice has another password in users now.\n")
    assert Users(tmp_path / "users").verify("alice", "staple")
    assert stat.S_IMODE((tmp_path / "users").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "given", "code", "message"),
    [
        ("alice", "", 2, "no password on standard input"),
        ("alice", "\n", 2, "no password on standard input"),
        ("alice", "x" * 1_025 + "\n", 2, "1 to 1,024 characters"),
        ("a b", "x\n", 2, "word"),
        ("", "x\n", 2, "word"),
    ],
)
def test_passwords_that_are_none(tmp_path: Path, name: str, given: str, code: int, message: str) -> None:
    """What is no password or no name is exit 2, and makes no file."""
    ended = command(tmp_path, "discharger", "passwd", "users", name, given=given)
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """A file of something else is left as it is: exit 3."""
    (tmp_path / "users").write_text("something else\n")
    (tmp_path / "users").chmod(0o600)
    ended = command(tmp_path, "discharger", "passwd", "users", "alice", given="x\n")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("capsvc: users-file: users: line 1")
    assert (tmp_path / "users").read_text() == "something else\n"


def _typed(tmp_path: Path, *lines: str) -> tuple[int, str]:
    """Set alice's password at a terminal; the exit code and all that it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*CAPSVC, "discharger", "passwd", "users", "alice"],
        cwd=tmp_path,
        env=environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    for line in lines:
        while not shown.endswith(b": "):
            shown += os.read(ours, 1_024)
        os.write(ours, line.encode() + b"\n")
        shown += b"|"
    while True:
        try:
            shown += os.read(ours, 1_024)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    return process.wait(PATIENCE), shown.decode()


def test_at_a_terminal(tmp_path: Path) -> None:
    """It is asked for twice and never shown; asked again when the two differ."""
    code, shown = _typed(tmp_path, "one", "two", "correct horse", "correct horse")
    assert code == 0, shown
    assert "Password of alice: " in shown
    assert "correct" not in shown
    assert Users(tmp_path / "users").verify("alice", "correct horse")
