"""The installation's own key pairs: announced, taken, retired; what was sealed stays readable."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from capsvc.authority.keys import ACTIVE, NEXT, RETIRING, moved_pair, new_box_key, open_pair
from capsvc.authority.seal import MasterKey, SealError, framed
from capsvc.errors import RequestError
from capsvc.grants import BakeryKey
from capsvc.macaroon.thirdparty import Channel, KeyPair
from capsvc.store.protocol import StoreUnavailable

NOON = 1_795_348_800
DAY = 86_400


def states(office: Any) -> list[str]:
    """Of the pairs, oldest first."""
    return [key.state for key in office.authority.bakery_keys()]


def test_there_is_one_from_the_start(office: Any) -> None:
    """By which dischargers know the installation."""
    (key,) = office.authority.bakery_keys()
    assert (key.public_key, key.state, int(key.created_at.timestamp())) == (office.authority.public_key, "active", NOON)


def test_the_next_pair_is_announced_before_it_is_taken(office: Any) -> None:
    """It is there, but the former one is the installation's until the rotation."""
    (first,) = office.authority.bakery_keys()
    office.clock.now += 5
    made = office.authority.add_bakery_key()
    assert (made.state, int(made.created_at.timestamp())) == ("next", NOON + 5)
    assert office.authority.bakery_keys() == (first, made)
    assert office.authority.public_key == first.public_key
    taken = office.authority.rotate_bakery_key()
    assert taken == BakeryKey(made.public_key, "active", made.created_at)
    assert office.authority.bakery_keys() == (BakeryKey(first.public_key, "retiring", first.created_at), taken)
    assert office.authority.public_key == made.public_key


def test_without_a_next_pair_a_fresh_one_is_taken(office: Any) -> None:
    """Each rotation retires the one before."""
    seen = {office.authority.public_key}
    for turn in range(1, 4):
        office.clock.now += 1
        taken = office.authority.rotate_bakery_key()
        assert states(office) == ["retiring"] * turn + ["active"]
        assert office.authority.public_key == taken.public_key not in seen
        assert int(taken.created_at.timestamp()) == NOON + turn
        seen.add(taken.public_key)


def test_there_is_one_next_pair(office: Any) -> None:
    """`exists`, until it is taken; nothing is written."""
    office.authority.add_bakery_key()
    before, lines = office.authority.bakery_keys(), office.authority.verify_audit()
    with pytest.raises(RequestError) as refused:
        office.authority.add_bakery_key()
    assert refused.value.code == "exists"
    assert (office.authority.bakery_keys(), office.authority.verify_audit()) == (before, lines)
    office.authority.rotate_bakery_key()
    office.authority.add_bakery_key()
    assert states(office) == ["retiring", "active", "next"]


def test_each_act_is_audited(office: Any) -> None:
    """With the pair it is about, and the one it retires."""
    (first,) = office.authority.bakery_keys()
    made = office.authority.add_bakery_key()
    office.authority.rotate_bakery_key()
    added, rotated = list(office.authority._store.audit())[-2:]
    assert (added.action, added.target, added.detail) == ("add bakery key", made.public_key, "{}")
    assert (rotated.action, rotated.target) == ("rotate bakery key", made.public_key)
    assert json.loads(rotated.detail) == {"retiring": first.public_key}
    assert office.authority.verify_audit() > 2


def test_every_process_takes_the_new_pair(office: Any) -> None:
    """When it is taken, not before, and one that starts afterwards; whoever follows is told of either act."""
    with office.another() as other:
        before = other.public_key
        office.authority.add_bakery_key()
        assert other.public_key == before
        taken = office.authority.rotate_bakery_key()
        assert other.public_key == taken.public_key != before
    with office.another() as fresh:
        assert fresh.public_key == taken.public_key
    told = [change for change in office.authority._store.changes(0) if change.kind == "discharger"]
    assert [(change.audience, change.name, change.state) for change in told] == [(None, None, "changed")] * 2


def test_an_idle_pair_is_swept(office: Any) -> None:
    """A retiring one that nothing kept is sealed with; neither the active nor the next one."""
    office.authority.rotate_bakery_key()
    office.authority.add_bakery_key()
    assert states(office) == ["retiring", "active", "next"]
    office.clock.now = NOON + DAY
    office.authority.sweep()
    assert states(office) == ["active", "next"]
    with office.another() as other:
        assert other.public_key == office.authority.public_key


# The rows.


def test_a_pair_opens_for_its_master_key_alone() -> None:
    """With its own public half, in whatever state."""
    master = MasterKey(bytes(range(32)))
    row = new_box_key(master, 5, NEXT)
    pair = open_pair(master, row)
    assert (pair.public, row.state, row.created_at) == (row.public, NEXT, 5)
    third = KeyPair.generate()
    sealed = Channel.of_first_party(pair, third.public).seal(b"k" * 24, "is-open")
    opened = Channel.of_third_party(third, row.public).open(sealed)
    assert opened is not None
    assert opened.condition == b"is-open"
    with pytest.raises(SealError):
        open_pair(MasterKey(bytes(32)), row)
    assert new_box_key(master, 5).state == ACTIVE
    assert new_box_key(master, 5).public != row.public


def test_a_moved_row_is_proved_first() -> None:
    """What stays is what it was; an altered row gets no fresh MAC."""
    master = MasterKey(bytes(range(32)))
    row = new_box_key(master, 5)
    moved = moved_pair(master, row, RETIRING)
    assert moved == replace(row, state=RETIRING, mac=moved.mac)
    assert open_pair(master, moved).private() == open_pair(master, row).private()
    other = new_box_key(master, 5)
    for altered in (
        replace(row, state=RETIRING),
        replace(row, created_at=6),
        replace(row, public=other.public),
        replace(row, secret=other.secret),
        replace(row, mac=other.mac),
        replace(row, mac=moved.mac),
        replace(row, secret=other.secret, mac=other.mac),
    ):
        with pytest.raises(SealError):
            open_pair(master, altered)
        with pytest.raises(StoreUnavailable):
            moved_pair(master, altered, RETIRING)


def test_a_genuine_row_around_another_secret() -> None:
    """Sealed for another pair, it does not open; no private half of another length is a pair."""
    master = MasterKey(bytes(range(32)))
    row, other = new_box_key(master, 5), new_box_key(master, 5)
    purpose = ("box_keys", row.public.hex(), "", "private key")
    for secret in (other.secret, master.seal(b"short", *purpose)):
        forged = replace(row, secret=secret)
        message = framed("box_keys", forged.public, forged.state, "5", forged.secret)
        forged = replace(forged, mac=master.mac("box key state", message))
        with pytest.raises(SealError):
            open_pair(master, forged)


def test_no_altered_pair_is_shown(office: Any) -> None:
    """A public key that somebody put into a row is nobody's to trust: none is told at all."""
    assert len(office.authority.bakery_keys()) == 1
    with closing(sqlite3.connect(office.settings.database_path)) as database, database:
        database.execute("UPDATE box_keys SET public = ?", (bytes(32),))
    with pytest.raises(RequestError) as refused:
        office.authority.bakery_keys()
    assert refused.value.code == "unavailable"
