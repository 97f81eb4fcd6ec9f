"""Whoever can write to the database but has no master key: what is noticed."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from capsvc.authority import Authority
from capsvc.authority.seal import MasterKey, SealError, framed
from capsvc.errors import Denied, RequestError, StartError
from capsvc.macaroon.thirdparty import KeyPair, key_text
from capsvc.store.beacon import LOOK


@pytest.fixture
def busy(whole: Any) -> Any:
    """A directory in which something of every kind was done, closed again."""
    with whole.open() as authority:
        authority.add_audience("photos")
        admin = (whole.path / "admin.token").read_text().strip()
        credential = authority.authenticate(admin, context={})
        minted = authority.mint(audience="default", ttl=60, subject="alice", credential=credential)
        authority.mint(audience="photos", ttl=60)
        authority.revoke(id=minted.id)
        authority.revoke(audience="default", subject="alice")
        authority.rotate_key("default")
        authority.rotate_key("default")
        authority.revoke(key=authority.keys("default")[0].kid)
        assert authority.verify_audit() == whole.sql("SELECT count(*) FROM audit")[0][0]
    return whole


# The audit.


def altered_audit(directory: Any, *statements: str) -> None:
    """Change the audit with its triggers out of the way; then the proof must fail."""
    triggers = directory.sql("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
    for name, _ in triggers:
        directory.sql(f"DROP TRIGGER {name}")
    for statement in statements:
        directory.sql(statement)
    for _, text in triggers:
        directory.sql(text)


def is_noticed(authority: Authority) -> bool:
    """Whether the proof fails, as it must."""
    try:
        authority.verify_audit()
    except StartError as error:
        return (error.exit_code, error.code) == (3, "audit")
    return False


@pytest.fixture
def judge(busy: Any) -> Iterator[Authority]:
    """An authority that proves what is in the file, whoever has changed it."""
    with busy.open() as authority:
        yield authority


def test_an_untouched_audit_is_proved(busy: Any, judge: Authority) -> None:
    """The positive control, with the same hands on it."""
    altered_audit(busy)
    assert not is_noticed(judge)
    assert busy.sql("SELECT count(*) FROM audit") == [(10,)]


@pytest.mark.parametrize(
    "statement", ["UPDATE audit SET target = 'x' WHERE seq = 2", "DELETE FROM audit WHERE seq = 2"]
)
def test_the_database_itself_keeps_every_line(busy: Any, judge: Authority, statement: str) -> None:
    """Neither changed nor removed by a statement of the program's."""
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        busy.sql(statement)
    assert not is_noticed(judge)


COLUMNS = {
    "at": ("at + 1", "at - 1", "0"),
    "action": ("'x'", "action || ' '", "''"),
    "audience": ("'x'", "NULL", "''"),
    "target": ("'x'", "''"),
    "detail": ("'{}'", "detail || ' '", "'x'"),
    "minter_id": ("'x'", "NULL", "''"),
    "minter_branch": ("5", "'x'", "zeroblob(32)", "NULL", "zeroblob(0)", "x'01'"),
    "mac": ("5", "'x'", "zeroblob(32)", "zeroblob(0)", "substr(mac, 1, 31)"),
}


@pytest.mark.parametrize("column", COLUMNS)
def test_every_column_of_every_line_is_under_the_mac(busy: Any, judge: Authority, column: str) -> None:
    """Altered in one line at a time, first and last among them, wherever that is a change."""
    altered_audit(busy)
    tried = 0
    for (seq,) in busy.sql("SELECT seq FROM audit"):
        before = busy.sql("SELECT * FROM audit WHERE seq = ?", seq)
        for value in COLUMNS[column]:
            altered_audit(busy, f"UPDATE audit SET {column} = {value} WHERE seq = {seq}")  # noqa: S608
            if busy.sql("SELECT * FROM audit WHERE seq = ?", seq) == before:
                continue
            tried += 1
            assert is_noticed(judge), (seq, value, before)
            altered_audit(busy, f"DELETE FROM audit WHERE seq = {seq}")  # noqa: S608
            put_back(busy, before)
    assert tried >= len(COLUMNS[column])
    assert not is_noticed(judge)


def put_back(directory: Any, rows: list[tuple[Any, ...]]) -> None:
    """Insert lines as they were."""
    for row in rows:
        directory.sql(f"INSERT INTO audit VALUES ({','.join('?' * len(row))})", *row)  # noqa: S608


def every_pair(directory: Any) -> Iterator[tuple[int, int]]:
    """Neighbouring lines."""
    numbers = [seq for (seq,) in directory.sql("SELECT seq FROM audit ORDER BY seq")]
    yield from pairwise(numbers)


def test_removed_inserted_and_swapped_lines(busy: Any, judge: Authority) -> None:
    """At every place but the very end, of which the README tells."""
    rows = busy.sql("SELECT * FROM audit ORDER BY seq")
    busy.sql("INSERT INTO audit SELECT 0, at, action, NULL, 'x', detail, NULL, NULL, mac FROM audit WHERE seq = 2")
    assert is_noticed(judge), "before the first"
    altered_audit(busy, "UPDATE audit SET seq = -5 WHERE seq = 0")
    assert is_noticed(judge), "far before the first"
    altered_audit(busy, "DELETE FROM audit WHERE seq = -5")
    for first, second in every_pair(busy):
        altered_audit(busy, f"DELETE FROM audit WHERE seq = {first}")  # noqa: S608
        assert is_noticed(judge), f"{first} removed"
        put_back(busy, [row for row in rows if row[0] == first])
        exchange = (
            f"UPDATE audit SET seq = -1 WHERE seq = {first}",  # noqa: S608
            f"UPDATE audit SET seq = {first} WHERE seq = {second}",  # noqa: S608
            f"UPDATE audit SET seq = {second} WHERE seq = -1",  # noqa: S608
        )
        altered_audit(busy, *exchange)
        assert is_noticed(judge), f"{first} and {second} swapped"
        altered_audit(busy, *exchange)
        altered_audit(
            busy,
            "INSERT INTO audit SELECT 1000, at, action, audience, target, detail, minter_id, minter_branch, mac"  # noqa: S608
            f" FROM audit WHERE seq = {first}",
        )
        assert is_noticed(judge), f"{first} repeated at the end"
        altered_audit(busy, "DELETE FROM audit WHERE seq = 1000")
        assert not is_noticed(judge)


def test_another_installations_audit_is_no_audit_of_ours(busy: Any, judge: Authority, another: Any) -> None:
    """Its lines are whole, under another key."""
    other = another("other").made()
    rows = other.sql("SELECT * FROM audit ORDER BY seq")
    altered_audit(busy, "DELETE FROM audit")
    put_back(busy, rows)
    assert is_noticed(judge)


def test_every_act_has_its_line(busy: Any) -> None:
    """In order, with what it was done to and by whom."""
    lines = busy.sql("SELECT action, audience, target, minter_id FROM audit ORDER BY seq")
    assert [line[0] for line in lines] == [
        "init", "mint", "add audience", "mint", "mint", "revoke", "revoke", "rotate key",
        "rotate key", "revoke",
    ]  # fmt: skip
    assert lines[3][1] == "default"
    assert lines[3][3] == lines[1][2]
    assert lines[4][3] is None


# Keys.


def is_refused(directory: Any) -> bool:
    """Whether the start is stopped."""
    try:
        directory.open().close()
    except StartError as error:
        return error.exit_code == 3
    return False


ON_KEYS = [
    "UPDATE keys SET state = 'retiring' WHERE state = 'revoked'",
    "UPDATE keys SET state = 'retiring' WHERE state = 'active' AND audience = 'capsvc'",
    "UPDATE keys SET state = 'revoked' WHERE state = 'retiring'",
    "UPDATE keys SET audience = 'photos' WHERE state = 'retiring'",
    "UPDATE keys SET created_at = created_at + 1 WHERE audience = 'photos'",
    "UPDATE keys SET kid = '0123456789abcdef' WHERE audience = 'photos'",
    "UPDATE keys SET mac = zeroblob(32) WHERE audience = 'photos'",
    "UPDATE keys SET mac = (SELECT mac FROM keys WHERE audience = 'capsvc') WHERE audience = 'photos'",
    "UPDATE keys SET secret = (SELECT secret FROM keys WHERE audience = 'capsvc') WHERE audience = 'photos'",
    "UPDATE keys SET (secret, mac) = (SELECT secret, mac FROM keys WHERE state = 'retiring') WHERE audience = 'photos'",
    "UPDATE keys SET secret = zeroblob(72) WHERE audience = 'photos'",
    "UPDATE keys SET secret = x'' WHERE audience = 'photos'",
    "UPDATE keys SET secret = 5 WHERE audience = 'photos'",
    "UPDATE keys SET mac = 5 WHERE audience = 'photos'",
    "UPDATE keys SET mac = 'x' WHERE audience = 'photos'",
    "UPDATE keys SET created_at = x'00' WHERE audience = 'photos'",
    "INSERT INTO keys SELECT 99, '0123456789abcdef', audience, state, created_at, secret, mac FROM keys WHERE seq = 1",
]


@pytest.mark.parametrize("statement", ON_KEYS)
def test_no_key_row_can_be_altered_moved_or_relabelled(busy: Any, statement: str) -> None:
    """State, audience, id, secret: each is bound to the others."""
    assert not is_refused(busy)
    before = busy.sql("SELECT * FROM keys ORDER BY seq")
    busy.sql(statement)
    assert busy.sql("SELECT * FROM keys ORDER BY seq") != before
    assert is_refused(busy)


REVIVED = (
    "UPDATE keys SET state = 'retiring' WHERE state = 'active' AND audience = 'default'",
    "UPDATE keys SET state = 'active' WHERE state = 'revoked'",
)


@pytest.mark.parametrize("act", ["rotate", "revoke", "mint"])
def test_no_act_of_ours_gives_an_altered_key_row_a_mac_or_a_token(busy: Any, act: str) -> None:
    """A running service would make a revoked key good again by rotating it away."""
    with busy.open() as authority:
        (kid,) = [key.kid for key in authority.keys("default") if key.state == "revoked"]
        acts = {
            "rotate": lambda: authority.rotate_key("default"),
            "revoke": lambda: authority.revoke(key=kid),
            "mint": lambda: authority.mint(audience="default", ttl=60),
        }
        acts["mint"]()
        for statement in REVIVED:
            busy.sql(statement)
        busy.sql("DELETE FROM changes WHERE kid = ?", kid)  # or the revocation is repeated, and nothing written
        before = busy.sql("SELECT * FROM keys ORDER BY seq")
        with pytest.raises(RequestError) as refused:
            acts[act]()
        assert refused.value.code == "unavailable"
        assert busy.sql("SELECT * FROM keys ORDER BY seq") == before
    assert is_refused(busy)


ON_BOX_KEYS = [
    "UPDATE box_keys SET public = zeroblob(32)",
    "UPDATE box_keys SET state = 'retiring'",
    "UPDATE box_keys SET created_at = created_at + 1",
    "UPDATE box_keys SET secret = zeroblob(72)",
    "UPDATE box_keys SET mac = zeroblob(32)",
    "UPDATE box_keys SET mac = 5",
    "UPDATE box_keys SET public = 5",
    "INSERT INTO box_keys SELECT 99, zeroblob(32), 'retiring', created_at, secret, mac FROM box_keys",
    "DELETE FROM box_keys",
]


@pytest.mark.parametrize("statement", ON_BOX_KEYS)
def test_nor_can_the_installations_key_pair(busy: Any, statement: str) -> None:
    """A public key that is not ours would be handed to third parties, who would seal their secrets for its owner."""
    with busy.open() as authority:
        before = authority.public_key
    busy.sql(statement)
    assert is_refused(busy)
    assert before


ON_DISCHARGERS = [
    "UPDATE dischargers SET name = 'lo-gin' WHERE seq = 1",
    "UPDATE dischargers SET location = location || '/' WHERE seq = 1",
    "UPDATE dischargers SET public = zeroblob(32) WHERE seq = 1",
    "UPDATE dischargers SET public = next_public, next_public = public WHERE seq = 1",
    "UPDATE dischargers SET since = since - 1 WHERE seq = 1",
    "UPDATE dischargers SET next_public = zeroblob(32) WHERE seq = 1",
    "UPDATE dischargers SET next_since = next_since - 1 WHERE seq = 1",
    "UPDATE dischargers SET next_public = NULL, next_since = NULL WHERE seq = 1",
    "UPDATE dischargers SET next_since = NULL WHERE seq = 1",
    "UPDATE dischargers SET created_at = created_at + 1 WHERE seq = 1",
    "UPDATE dischargers SET mac = zeroblob(32) WHERE seq = 1",
    "UPDATE dischargers SET mac = 5 WHERE seq = 1",
    "UPDATE dischargers SET public = 5 WHERE seq = 1",
    "UPDATE dischargers SET mac = (SELECT mac FROM dischargers WHERE seq = 2) WHERE seq = 1",
    "UPDATE dischargers SET (public, mac) = (SELECT public, mac FROM dischargers WHERE seq = 2) WHERE seq = 1",
    "UPDATE dischargers SET name = CASE name WHEN 'login' THEN 'other' ELSE 'login' END",
    "UPDATE dischargers SET (public, mac) = (SELECT public, mac FROM box_keys) WHERE seq = 1",
]


@pytest.mark.parametrize("statement", ON_DISCHARGERS)
def test_nor_can_a_discharger(whole: Any, statement: str) -> None:
    """Another's key in its row would let him answer for it; neither a start nor whoever runs already takes it."""
    with whole.open() as authority:
        token = authority.mint(audience="default", ttl=60).token
        for name in ("login", "pay"):
            keys = [key_text(KeyPair.generate().public) for _ in range(2)]
            location = f"https://{name}.example"
            authority.add_discharger(name=name, location=location, public_key=keys[0], next_public_key=keys[1])
        assert authority.authorize(token, audience="default")
    assert not is_refused(whole)
    with whole.open() as authority:
        whole.sql(statement)
        whole.sql("INSERT INTO changes (kind, at, keep_until, presented) VALUES ('discharger', 0, 0, 0)")
        time.sleep(2 * LOOK)
        with pytest.raises(Denied) as denied:
            authority.authorize(token, audience="default")
        assert denied.value.code == "unavailable"
    assert is_refused(whole)


@pytest.mark.parametrize("column", ["state = 'next' WHERE state = 'retiring'", "created_at = 5 WHERE state = 'active'"])
def test_no_act_of_ours_gives_an_altered_key_pair_a_mac(whole: Any, column: str) -> None:
    """A running service would take a pair that was retired, or retire one that is not what it was."""
    with whole.open() as authority:
        authority.rotate_bakery_key()
        whole.sql(f"UPDATE box_keys SET {column}")  # noqa: S608
        before = whole.sql("SELECT * FROM box_keys")
        with pytest.raises(RequestError) as refused:
            authority.rotate_bakery_key()
        assert refused.value.code == "unavailable"
        assert whole.sql("SELECT * FROM box_keys") == before
    assert is_refused(whole)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET value = zeroblob(46) WHERE name = 'master-check'",
        "DELETE FROM meta WHERE name = 'master-check'",
        "UPDATE meta SET value = (SELECT secret FROM keys WHERE audience = 'photos') WHERE name = 'master-check'",
        "UPDATE meta SET value = 7 WHERE name = 'master-check'",
    ],
)
def test_nor_the_value_that_knows_the_master_key(busy: Any, statement: str) -> None:
    """Then no master key is the right one."""
    busy.sql(statement)
    assert busy.refusal().code == "master-key-wrong"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO attributes VALUES ('floor', 'bogus', 0, NULL)",
        "INSERT INTO attributes VALUES ('for.floor', 'integer', 0, NULL)",
        "INSERT INTO attributes VALUES ('plan', 'word', 0, 'x')",
        "INSERT INTO attributes VALUES ('plan', 'word', 0, '[]')",
        "INSERT INTO attributes VALUES ('plan', 'word', 0, 5)",
        "INSERT INTO attributes VALUES ('sub', 'word', 0, NULL)",
    ],
)
def test_declarations_that_nobody_could_have_made(busy: Any, statement: str) -> None:
    """Stop a start, and the decisions of whoever runs already."""
    with busy.open() as authority:
        token = authority.mint(audience="default", ttl=60).token
        busy.sql(statement)
        authority.add_audience("another")
        with pytest.raises(Denied) as denied:
            authority.authorize(token, audience="default")
        assert denied.value.code == "unavailable"
    assert is_refused(busy)


ON_THE_LOG = [
    "UPDATE changes SET at = 'x'",
    "UPDATE changes SET keep_until = 'x'",
    "UPDATE changes SET id = x'00' WHERE kind = 'id'",
    "UPDATE changes SET before = 'x' WHERE kind = 'subject'",
    "UPDATE changes SET subject = x'00' WHERE kind = 'subject'",
    "UPDATE audiences SET max_ttl = 'x'",
    "UPDATE audiences SET max_ttl = 1.5",
    "UPDATE audiences SET created_at = x'00'",
]


@pytest.mark.parametrize("statement", ON_THE_LOG)
def test_numbers_that_are_none_stop_decisions(busy: Any, statement: str) -> None:
    """A column takes whatever is put into it; what cannot be read is `unavailable`, and no fault of the program."""
    with busy.open() as authority:
        token = authority.mint(audience="default", ttl=60).token
        assert authority.authorize(token, audience="default")
        busy.sql("INSERT INTO changes SELECT seq + 100, kind, audience, at, keep_until, id, branch, path, presented,"
                 " subject, before, kid, state, name, max_ttl FROM changes WHERE kind != 'key'")  # fmt: skip
        busy.sql(statement)
        time.sleep(2 * LOOK)
        for _ in range(2):
            with pytest.raises(Denied) as denied:
                authority.authorize(token, audience="default")
            assert denied.value.code == "unavailable"
    assert is_refused(busy)


# The seal itself.


def test_what_is_sealed_opens_for_its_own_purpose_alone() -> None:
    """Table, row, audience, use: each of them, and their framing."""
    master = MasterKey(bytes(range(32)))
    purpose = ("keys", "kid", "default", "root key")
    sealed = master.seal(b"secret", *purpose)
    assert master.open(sealed, *purpose) == b"secret"
    assert master.seal(b"secret", *purpose) != sealed
    for place in range(4):
        other = [*purpose]
        other[place] += "x"
        with pytest.raises(SealError):
            master.open(sealed, *other)
    for other_purpose in (("keys", "kiddefault", "", "root key"), purpose[:3], (*purpose, ""), ()):
        with pytest.raises(SealError):
            master.open(sealed, *other_purpose)
    with pytest.raises(SealError):
        MasterKey(bytes(32)).open(sealed, *purpose)


def test_every_octet_of_a_sealed_value_counts() -> None:
    """Flipped, cut, lengthened."""
    master = MasterKey(bytes(range(32)))
    sealed = master.seal(b"secret", "p")
    for index in range(len(sealed)):
        with pytest.raises(SealError):
            master.open(sealed[:index] + bytes([sealed[index] ^ 1]) + sealed[index + 1 :], "p")
        with pytest.raises(SealError):
            master.open(sealed[:index], "p")
    with pytest.raises(SealError):
        master.open(sealed + b"\0", "p")


def test_macs_are_told_apart_by_purpose() -> None:
    """A MAC of one use is none of another; parts are framed."""
    master = MasterKey(bytes(range(32)))
    mac = master.mac("audit", b"message")
    master.check_mac("audit", b"message", mac)
    for purpose, message, given in (
        ("key state", b"message", mac),
        ("audit", b"messagE", mac),
        ("audit", b"message", mac[:31]),
        ("audit", b"message", b""),
    ):
        with pytest.raises(SealError):
            master.check_mac(purpose, message, given)
    assert framed("a", "bc") != framed("ab", "c") != framed("abc")
    with pytest.raises(ValueError, match="32 octets"):
        MasterKey(bytes(31))
    assert repr(master) == "<MasterKey>"
