"""The users file: read strictly, read again, written so that nothing is lost."""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from capsvc.discharge import passwords, users
from capsvc.discharge.users import User, Users, UsersFileError, set_password

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASH = CHEAP.hash("secret", salt=b"sixteen octets..")  # parameters of tests have to be the same in every process
COST = "$argon2id$v=19$m=8,t=1,p=1"
SALT = "c29tZXNhbHQ"  # 8 octets
DIGEST = "a" * 43  # 32 octets, but for its last character
DIGEST_ENDS = "E"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    """Put a file in the place of another, as an editor does."""
    draft = path.with_name("draft")
    draft.write_text(text)
    draft.chmod(mode)
    return draft.replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A users file with three users, one of whose names holds colons."""
    return write(tmp_path / "users", f"alice:{HASH}\nteam:ops:bob@example.org:{HASH}\ncarol:{HASH}\n")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "is not name:$argon2id$"),
        ("# a comment", "is not name:$argon2id$"),
        ("alice", "is not name:$argon2id$"),
        ("alice:secret", "is not name:$argon2id$"),
        (f"alice:{HASH.replace('argon2id', 'argon2i')}", "is not name:$argon2id$"),
        (f"alice: {HASH}", "is not name:$argon2id$"),
        (HASH, "is not name:$argon2id$"),
        (f":{HASH}", "does not begin with a name"),
        (f" alice:{HASH}", "does not begin with a name"),
        (f"al ice:{HASH}", "does not begin with a name"),
        (f"{'a' * 129}:{HASH}", "does not begin with a name"),
        (f"älice:{HASH}", "is not ASCII"),
        (f"carol:{HASH}", "an earlier line"),
        (f"zoe:{HASH}\r", "has no hash"),
        (f"zoe:{HASH} ", "has no hash"),
        (f"zoe:{HASH}:{HASH}", "has no hash"),
        ("zoe:$argon2id$", "has no hash"),
        (f"zoe:{HASH.replace('v=19', 'v=16')}", "has no hash"),
    ],
)
def test_what_is_no_user_stops_the_start(path: Path, line: str, complaint: str) -> None:
    """The message names the file and the line, and repeats nothing of it; with a right line in its place it starts."""
    before = path.read_text()
    write(path, f"{before}{line}\ndave:{HASH}\n")
    with pytest.raises(UsersFileError) as caught:
        Users(path)
    assert str(caught.value).startswith(f"{path}: line 4: ")
    assert complaint in str(caught.value)
    assert "secret" not in str(caught.value)
    assert HASH[-20:] not in str(caught.value)
    assert (caught.value.code, caught.value.exit_code) == ("users-file", 3)
    write(path, f"{before}erin:{HASH}\ndave:{HASH}\n")
    assert Users(path).named("dave") is not None


def test_a_file_that_was_cut_off_is_noticed(path: Path) -> None:
    """A last line without its end is refused wherever it was cut; an empty file has no users and is none the worse."""
    whole = path.read_text()
    write(path, whole[:-1])
    with pytest.raises(UsersFileError, match="line 3: has no end"):
        Users(path)
    write(path, "")
    assert Users(path).named("alice") is None


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (f"{COST}${SALT}${DIGEST[:-1]}{DIGEST_ENDS}", True),
        (f"{COST}${SALT}${DIGEST[:-1]}F", False),  # bits that mean nothing
        (f"{COST}${SALT}=${DIGEST[:-1]}{DIGEST_ENDS}", False),
        (f"{COST}$c29tZXNhbA${DIGEST[:-1]}{DIGEST_ENDS}", False),  # 7 octets of salt
        (f"{COST}${SALT}$aGFzaGhhc2hoYXNoaGE", False),  # 14 octets of hash
        (f"{COST}${SALT}${'a' * 86}", False),  # over 64, but for the bits
        (f"{COST}${SALT}$a", False),
        (f"$argon2id$v=19$m=7,t=1,p=1${SALT}${DIGEST[:-1]}{DIGEST_ENDS}", False),  # under 8 KiB a lane
        (f"$argon2id$v=19$m=31,t=1,p=4${SALT}${DIGEST[:-1]}{DIGEST_ENDS}", False),
        (f"$argon2id$v=19$m=32,t=1,p=4${SALT}${DIGEST[:-1]}{DIGEST_ENDS}", True),
        (f"$argon2id$v=19$m=2097152,t=64,p=64${SALT}${DIGEST[:-1]}{DIGEST_ENDS}", True),
        (f"$argon2id$v=19$m=2097153,t=1,p=1${SALT}${DIGEST[:-1]}{DIGEST_ENDS}", False),
        (f"$argon2id$v=19$m=64,t=65,p=1${SALT}${DIGEST[:-1]}{DIGEST_ENDS}", False),
        (f"$argon2id$v=19$m=2048,t=1,p=65${SALT}${DIGEST[:-1]}{DIGEST_ENDS}", False),
        (f"$argon2id$v=19$m=08,t=1,p=1${SALT}${DIGEST[:-1]}{DIGEST_ENDS}", False),
        (f"$argon2id$v=19$m=8,t=0,p=1${SALT}${DIGEST[:-1]}{DIGEST_ENDS}", False),
        (f"$argon2id$v=19$t=1,m=8,p=1${SALT}${DIGEST[:-1]}{DIGEST_ENDS}", False),
        (f"$argon2id$m=8,t=1,p=1${SALT}${DIGEST[:-1]}{DIGEST_ENDS}", False),
        (f"{COST}${SALT}${DIGEST[:-1]}{DIGEST_ENDS}\n", False),
    ],
)
def test_a_hash_has_one_spelling_within_bounds(text: str, *, right: bool) -> None:
    """What argon2 could not compute, or would compute at any cost, is no hash."""
    assert passwords.is_hash(text) is right


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_a_file_that_others_can_use_is_refused(path: Path, mode: int) -> None:
    """Whatever the right is; once it is the owner's alone again, so is the file."""
    path.chmod(mode)
    with pytest.raises(UsersFileError, match="others can read or write it; run chmod 600"):
        Users(path)
    path.chmod(0o400)
    assert Users(path).named("alice") is not None


def _missing(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir(0o700)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _huge(path: Path) -> None:
    os.truncate(path, users.MAX_FILE_OCTETS + 1)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_missing, "there is no such file; capsvc discharger passwd makes one"),
        (_folder, "is no users file"),
        (_pipe, "is no users file"),
        (_huge, "is no users file"),
    ],
)
def test_what_is_no_file_stops_the_start(path: Path, change: Callable[[Path], None], complaint: str) -> None:
    """And a pipe is not waited for."""
    Users(path)
    change(path)
    with pytest.raises(UsersFileError, match=complaint):
        Users(path)


def test_the_password_proves_the_user(path: Path) -> None:
    """His own alone, as it was set, with case, length and white space; names with colons are whole."""
    known = Users(path)
    assert known.verify("alice", "secret") == User("alice", HASH)
    assert known.verify("team:ops:bob@example.org", "secret") == User("team:ops:bob@example.org", HASH)
    for name in ("team", "team:ops", "Alice", "alice ", "", "nobody", f"alice:{HASH}"):
        assert known.verify(name, "secret") is None, name
    for password in ("Secret", "secret ", "", "s", "secre\udcff", "secret" + "x" * 1_020):
        assert known.verify("alice", password) is None, password


def test_passwords_are_taken_as_they_are_sent(path: Path) -> None:
    """Two spellings of one letter are two passwords; 1,024 characters of four octets each are one."""
    for password in ("pa\u0308ss", "\U0001f511" * 1_024, "\x00tab\t"):
        set_password(path, "alice", password)
        assert Users(path).verify("alice", password) is not None
    set_password(path, "alice", "p\u00e4ss")
    assert Users(path).verify("alice", "pa\u0308ss") is None


def test_a_name_that_is_nobodys_costs_as_much(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its password is hashed at the cost that most users' passwords have."""
    other = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash("secret")
    write(path, path.read_text() + f"dave:{other}\n")
    hashed: list[tuple[str, str]] = []

    def is_right(text: str, password: str) -> bool:
        hashed.append((text, password))
        return passwords.is_right(text, password)

    monkeypatch.setattr(users, "is_right", is_right)
    known = Users(path)
    assert known.verify("nobody", "secret") is None
    assert known.verify("alice", "secret") is not None
    assert [password for _, password in hashed] == ["secret", "secret"]
    (nobodys, alices) = [text.split("$") for text, _ in hashed]
    assert nobodys[:4] == alices[:4]
    assert list(map(len, nobodys)) == list(map(len, alices))
    write(path, "")
    assert known.verify("nobody", "secret") is None
    assert hashed[-1][0].startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_who_is_removed_is_no_user_any_more(path: Path) -> None:
    """The file is read again as soon as it is another; who stays is the same user."""
    known = Users(path)
    alice, carol = known.named("alice"), known.named("carol")
    assert alice is not None
    assert carol is not None
    write(path, f"carol:{HASH}\n")
    assert not known.has(alice)
    assert known.verify("alice", "secret") is None
    assert known.has(carol)


def test_a_file_changed_where_it_is_counts_too(path: Path) -> None:
    """Some editors write into the file itself."""
    known = Users(path)
    with path.open("a") as file:
        file.write(f"dave:{HASH}\n")
    assert known.verify("dave", "secret") is not None


def test_another_password_makes_another_user(path: Path) -> None:
    """So that the sessions of whoever knew the former one end, even if it is the same password again."""
    known = Users(path)
    before = known.named("alice")
    assert before is not None
    set_password(path, "alice", "secret")
    assert not known.has(before)
    after = known.verify("alice", "secret")
    assert after is not None
    assert known.has(after)


def test_as_long_as_the_file_is_wrong_nobody_is_a_user(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Half a file is not half the users; the log says once what is wrong, and once it is mended all are back."""
    known = Users(path)
    whole = path.read_text()
    write(path, whole + "dave\n")
    for _ in range(3):
        with pytest.raises(UsersFileError, match="line 4"):
            known.named("alice")
        with pytest.raises(UsersFileError, match="line 4"):
            known.verify("alice", "secret")
    path.unlink()
    for _ in range(3):
        with pytest.raises(UsersFileError, match="no such file"):
            known.named("alice")
    said = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.name for record in said] == ["capsvc.discharge"] * 2
    write(path, whole)
    assert known.verify("alice", "secret") is not None


def test_a_user_removed_while_the_password_is_hashed_is_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is the file as it is afterwards."""
    known = Users(path)
    rest = f"carol:{HASH}\n"

    def is_right(text: str, password: str) -> bool:
        write(path, rest)
        return passwords.is_right(text, password)

    monkeypatch.setattr(users, "is_right", is_right)
    assert known.verify("alice", "secret") is None
    assert known.verify("carol", "secret") is not None


def test_a_user_does_not_show_the_hash() -> None:
    """Neither he nor what the file held, in a log or a traceback."""
    assert repr(User("alice", HASH)) == "User(name='alice')"


def test_the_first_password_makes_the_file(tmp_path: Path) -> None:
    """It is the owner's alone whatever the umask, and holds one line at RFC 9106's second recommended cost."""
    path = tmp_path / "users"
    umask = os.umask(0)
    try:
        assert set_password(path, "alice", "secret")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("alice:$argon2id$v=19$m=65536,t=3,p=4$")
    assert path.read_text().count("\n") == 1
    assert Users(path).verify("alice", "secret") is not None
    assert [found.name for found in tmp_path.iterdir()] == ["users"]


def test_a_password_replaces_one_line(path: Path) -> None:
    """The others keep theirs, to the octet, in their places; a name that is the beginning of another is itself."""
    before = path.read_text().splitlines()
    assert not set_password(path, "team:ops:bob@example.org", "new")
    after = path.read_text().splitlines()
    assert [after[0], after[2]] == [before[0], before[2]]
    assert after[1] != before[1]
    assert set_password(path, "team", "other")
    assert path.read_text().splitlines()[:3] == after
    known = Users(path)
    assert known.verify("team:ops:bob@example.org", "new") is not None
    assert known.verify("team", "other") is not None
    assert [found.name for found in path.parent.iterdir()] == ["users"]


def test_the_file_keeps_its_mode_and_its_owner(path: Path) -> None:
    """What root changes, the service can still read."""
    path.chmod(0o400)
    if os.geteuid() == 0:
        os.chown(path, 12_345, 23_456)
    before = path.stat()
    set_password(path, "alice", "new")
    after = path.stat()
    assert stat.S_IMODE(after.st_mode) == 0o400
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


@pytest.mark.parametrize("name", ["", "al ice", "älice", "a" * 129, "-alice", "alice\n", "alice$"])
def test_a_name_that_is_no_word_is_refused(path: Path, name: str) -> None:
    """And nothing is written; the longest word is taken."""
    before = path.read_bytes()
    with pytest.raises(ValueError, match="a word has 1 to 128"):
        set_password(path, name, "secret")
    assert path.read_bytes() == before
    assert set_password(path, "a" * 128, "secret")


@pytest.mark.parametrize("password", ["", "x" * 1_025, "\ud800"])
def test_what_is_no_password_is_refused(path: Path, password: str) -> None:
    """And nothing is written; the longest password is taken."""
    before = path.read_bytes()
    with pytest.raises(ValueError, match="a password has 1 to 1,024 characters"):
        set_password(path, "alice", password)
    assert path.read_bytes() == before
    assert not set_password(path, "alice", "x" * 1_024)


def test_a_file_that_is_wrong_is_not_written(path: Path) -> None:
    """Whoever sets a password learns of it, and loses nothing."""
    text = path.read_text() + "dave\n"
    write(path, text)
    with pytest.raises(UsersFileError, match="line 4"):
        set_password(path, "alice", "new")
    path.chmod(0o644)
    with pytest.raises(UsersFileError, match="others can read"):
        set_password(path, "alice", "new")
    assert path.read_text() == text


def test_a_link_is_not_written_through_nor_replaced(path: Path, tmp_path: Path) -> None:
    """The file itself has to be named; reading follows the link, as where secrets are mounted."""
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(UsersFileError, match="is a link; name the file itself"):
        set_password(link, "alice", "new")
    assert link.is_symlink()
    assert Users(link).verify("alice", "secret") is not None
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsersFileError, match="is a link"):
        set_password(dangling, "alice", "new")
    assert not (tmp_path / "nowhere").exists()


def test_where_nothing_can_be_written_nothing_is(tmp_path: Path) -> None:
    """A folder that is not there is not made."""
    with pytest.raises(UsersFileError, match="cannot be written"):
        set_password(tmp_path / "nowhere" / "users", "alice", "secret")
    assert list(tmp_path.iterdir()) == []


def test_of_passwords_set_at_once_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones make the file together; in the end all are there, each once."""
    monkeypatch.setattr(users, "hash_password", lambda _: HASH)
    path = tmp_path / "users"
    names = [f"user-{number}" for number in range(24)]
    threads = [threading.Thread(target=set_password, args=(path, name, "secret")) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = path.read_text().splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == sorted(names)
    assert [found.name for found in tmp_path.iterdir()] == ["users"]
