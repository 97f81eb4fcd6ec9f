"""A thief who can write to the database moves rows about third parties: nothing that is dead comes back by it.

Rows with a secret or a pin are under MACs of this installation's master key: moved from elsewhere, or into each other's
place, they stop the service. What only says which token came of which has no MAC; moved or removed, it revives nothing
that was revoked when it was there. (That a writer can delete a revocation itself, the README says.)
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from capsvc import Authority, Denied, Settings
from capsvc.errors import RequestError, StartError
from capsvc.macaroon.thirdparty import KeyPair

from ..authority.conftest import Office  # noqa: TID252 - an authority is opened, and its tokens are held, in one way

TABLES = ("dischargers", "removed_keys", "box_keys", "token_dischargers", "exchanges")


def rows(path: Path, table: str) -> list[tuple[Any, ...]]:
    """All that is in a table."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - our own names


class Scene:
    """An installation with two dischargers, what was minted for them, what came of it by exchange, and a copy of it."""

    def __init__(self, directory: Path) -> None:
        self.office = office = Office(directory / "data")
        login, till = office.register("login"), office.register("till")
        self.good: list[str] = []
        self.dead: list[str] = []
        for party in (login, till):
            source = office.mint(third_party=[party.asks("account 4711 of the bank", "u")])
            bundle = office.bundle(source, party.discharge(source, u="ada"))
            child = office.authority.exchange(bundle)
            grandchild = office.authority.exchange(office.narrow(child.token, "floor = 1"))
            (self.dead if party is login else self.good).extend([bundle, child.token, grandchild.token])
        killed = office.minted()
        of_it = office.authority.exchange(killed.token)
        self.dead += [killed.token, of_it.token]
        assert {self.outcome(office.authority, text) for text in [*self.good, *self.dead]} == {"allowed"}
        office.authority.rotate_bakery_key()
        office.authority.revoke(id=killed.id)
        office.authority.remove_discharger("login")
        self.check(office.authority)
        self.path = office.settings.data_dir / "capsvc.db"

    @staticmethod
    def outcome(authority: Authority, text: str) -> str:
        """``allowed``, or the code."""
        try:
            authority.authorize(text, audience="default", context={"floor": 1})
        except Denied as denied:
            return denied.code
        return "allowed"

    def check(self, authority: Authority) -> None:
        """What was alive is, what was dead is dead."""
        assert [self.outcome(authority, text) for text in self.good] == ["allowed"] * len(self.good)
        self.check_dead(authority)

    def check_dead(self, authority: Authority) -> None:
        """What was dead is dead."""
        assert {self.outcome(authority, text) for text in self.dead} == {"discharge-invalid", "revoked"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The scene, closed, so that its directory can be copied."""
    made = Scene(tmp_path_factory.mktemp("scene"))
    made.office.authority.close()
    return made


@pytest.fixture
def copied(scene: Scene, tmp_path: Path) -> Settings:
    """A copy of the data directory, for the thief."""
    shutil.copytree(scene.office.settings.data_dir, tmp_path / "data")
    return Settings(data_dir=tmp_path / "data", attributes=scene.office.settings.attributes)


def opened(settings: Settings, scene: Scene) -> Authority:
    """The service on a directory, by the same clock."""
    return Authority.open(settings, clock=scene.office.clock)


def execute(settings: Settings, *statements: str) -> None:
    """The thief's hand."""
    with closing(sqlite3.connect(settings.database_path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def put(settings: Settings, table: str, row: tuple[Any, ...]) -> None:
    """A whole row, by the thief."""
    with closing(sqlite3.connect(settings.database_path)) as connection, connection:
        places = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO {table} VALUES ({places})", row)  # noqa: S608 - our own names


def test_the_scene(scene: Scene, copied: Settings) -> None:
    """The positive control: copied and touched by nobody it says the same, and there is something in every table."""
    with opened(copied, scene) as authority:
        scene.check(authority)
        assert authority.verify_audit() > 10
    assert all(rows(copied.database_path, table) for table in TABLES)


def test_no_secret_is_in_the_clear(scene: Scene, copied: Settings) -> None:
    """Of our own pairs only what is sealed, of a question neither the condition nor the name that it wants."""
    with opened(copied, scene) as authority:
        pairs: list[KeyPair] = [pair for _, pair in authority._follower.view().registry.pairs]
        shared = [bytes(pair.box(KeyPair.generate().public).shared_key()) for pair in pairs]
    content = b"".join(path.read_bytes() for path in copied.data_dir.iterdir() if path.name.startswith("capsvc.db"))
    assert all(pair.public in content for pair in pairs)
    assert len(pairs) == 2
    for secret in [*(pair.private() for pair in pairs), *shared, b"account 4711", b"need-declared"]:
        assert secret not in content
        assert secret.hex().encode() not in content


MOVES = {
    "exchanges gone": ["DELETE FROM exchanges"],
    "exchanges of another source": ["UPDATE exchanges SET source_id = (SELECT min(source_id) FROM exchanges)"],
    "exchanges by another path": ["UPDATE exchanges SET path = (SELECT min(path) FROM exchanges)"],
    "exchanges without a path": ["UPDATE exchanges SET path = x''"],
    "exchanges in a circle": ["UPDATE exchanges SET source_id = id"],
    "dependencies gone": ["DELETE FROM token_dischargers"],
    "dependencies on another key": ["UPDATE token_dischargers SET public = (SELECT public FROM dischargers)"],
    "dependencies on another pair": ["UPDATE token_dischargers SET pair = zeroblob(32) WHERE pair IS NOT NULL"],
    "dependencies of long ago": ["UPDATE token_dischargers SET issued_at = 0"],
    "removals gone": ["DELETE FROM removed_keys"],
    "removals of long ago": ["UPDATE removed_keys SET at = 0, keep_until = 0"],
    "removals of another": ["UPDATE removed_keys SET name = 'till', public = (SELECT public FROM dischargers)"],
    "all of it gone": ["DELETE FROM exchanges", "DELETE FROM token_dischargers", "DELETE FROM removed_keys"],
}


@pytest.mark.parametrize("statements", MOVES.values(), ids=MOVES)
def test_nothing_dead_comes_back(scene: Scene, copied: Settings, statements: list[str]) -> None:
    """Whatever is said of what came of what: no start, rotation, sweep or removal revives anything, and each ends.

    A pair that nothing seems to depend on is swept, and what was sealed with it dies.
    """
    execute(copied, *statements)
    with opened(copied, scene) as authority:
        scene.check(authority)
        for act in (authority.rotate_bakery_key, authority.sweep, lambda: authority.remove_discharger("till")):
            act()
            scene.check_dead(authority)
        assert scene.outcome(authority, scene.good[0]) == "discharge-invalid"
        assert authority.verify_audit() > 10


def test_a_circle_hides_nobody(scene: Scene, copied: Settings) -> None:
    """Who came of whom goes round: all that came of the revoked one dies all the same."""
    with opened(copied, scene) as authority:
        source = authority.exchange(scene.good[0])
        children = [authority.exchange(source.token) for _ in range(2)]
    execute(copied, f"UPDATE exchanges SET source_id = '{children[-1].id}' WHERE id = '{source.id}'")  # noqa: S608
    with opened(copied, scene) as authority:
        assert [scene.outcome(authority, child.token) for child in children] == ["allowed"] * 2
        authority.revoke(id=source.id)
        assert [scene.outcome(authority, child.token) for child in children] == ["revoked"] * 2


def thiefs_row(table: str, directory: Path) -> tuple[Any, ...]:
    """A discharger or a next key pair of another installation, under its own master key."""
    other = Office(directory / "other")
    other.register("thief")
    other.authority.add_bakery_key()
    other.authority.close()
    return rows(other.settings.database_path, table)[-1]


@pytest.mark.parametrize("table", ["dischargers", "box_keys"])
@pytest.mark.parametrize("replace", [True, False], ids=["instead of ours", "beside ours"])
def test_rows_of_another_installation(
    scene: Scene, copied: Settings, tmp_path: Path, table: str, replace: bool
) -> None:
    """A discharger that the thief registered with himself, a pair that he knows: the service does not start."""
    row = thiefs_row(table, tmp_path)
    if replace:
        execute(copied, f"DELETE FROM {table}")  # noqa: S608 - our own names
    put(copied, table, (99, *row[1:]))
    with pytest.raises(StartError) as error:
        opened(copied, scene)
    assert error.value.exit_code == 3


EXCHANGED = [
    "UPDATE box_keys SET secret = (SELECT other.secret FROM box_keys AS other WHERE other.seq != box_keys.seq)",
    "UPDATE box_keys SET state = 'next' WHERE state = 'active'",
    "UPDATE box_keys SET (secret, mac) = (SELECT secret, mac FROM box_keys AS o WHERE o.seq != box_keys.seq)",
    "DELETE FROM box_keys WHERE state = 'active'",
    "UPDATE dischargers SET since = 0",
    "UPDATE dischargers SET location = (SELECT location FROM removed_keys)",
    "UPDATE dischargers SET public = (SELECT public FROM removed_keys)",
    "UPDATE dischargers SET next_public = (SELECT public FROM removed_keys), next_since = 0",
    "UPDATE dischargers SET name = 'login'",
    """INSERT INTO dischargers (name, location, public, since, created_at, mac)
       SELECT name, location, public, 0, 0, zeroblob(32) FROM removed_keys""",
]


@pytest.mark.parametrize("statement", EXCHANGED)
def test_values_in_each_others_place(scene: Scene, copied: Settings, statement: str) -> None:
    """A removed key put back, an earlier second, one pair's secret under another's name: the service does not start."""
    execute(copied, statement)
    with pytest.raises(StartError) as error:
        opened(copied, scene)
    assert error.value.exit_code == 3


def test_a_row_put_back_after_its_removal(scene: Scene, copied: Settings) -> None:
    """The very row of the discharger that was removed: what was exchanged stays dead, and nobody can answer anew.

    That its roots are good again with it is what the README says of whoever writes to the database.
    """
    with opened(copied, scene) as authority:
        (known,) = rows(copied.database_path, "dischargers")
        child = authority.exchange(scene.good[0])
        authority.remove_discharger("till")
        assert scene.outcome(authority, child.token) == "revoked"
    put(copied, "dischargers", known)
    with opened(copied, scene) as authority:
        assert scene.outcome(authority, child.token) == "revoked"
        assert [scene.outcome(authority, text) for text in scene.good[1:]] == ["revoked"] * 2
        with pytest.raises(RequestError) as refused:
            authority.add_discharger(name="x", location=known[2], public_key=authority.public_key)
        assert refused.value.code == "exists"
