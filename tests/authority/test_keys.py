"""Keys: rotation strands nobody, a revoked key's tokens say so, and only an active key mints."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import pytest

from capsvc.errors import RequestError

DAY = 86_400


def code_of(refused: Any) -> str:
    """The code of what is raised."""
    with pytest.raises(RequestError) as error:
        refused()
    return error.value.code


def kid_of(office: Any, audience: str = "default") -> str:
    """The active key."""
    (kid,) = [key.kid for key in office.authority.keys(audience) if key.state == "active"]
    return str(kid)


def states(office: Any, audience: str = "default") -> list[str]:
    """The states of an audience's keys, oldest first."""
    return [key.state for key in office.authority.keys(audience)]


def test_each_audience_has_keys_of_its_own(office: Any) -> None:
    """From the start, and when one is added."""
    office.authority.add_audience("photos")
    kids = {audience: kid_of(office, audience) for audience in ("default", "capsvc", "photos")}
    assert len(set(kids.values())) == 3
    assert office.authority.key(kids["photos"]).audience == "photos"
    assert office.authority.key("0123456789abcdef") is None
    assert office.authority.keys("nowhere") == ()


def test_rotation_strands_nobody(office: Any) -> None:
    """Old tokens and what is narrowed from them go on, new ones come from the new key."""
    old, first = office.mint("floor = 1"), kid_of(office)
    for turn in range(1, 4):
        fresh = office.authority.rotate_key("default")
        assert (fresh.audience, fresh.state) == ("default", "active")
        assert kid_of(office) == fresh.kid != first
        assert states(office) == ["retiring"] * turn + ["active"]
        assert office.grant(old, floor=1).kid is None
        grant = office.authority.authorize(office.mint(), audience="default", prefix=True)
        assert grant.kid == fresh.kid
    assert office.authority.authorize(old, audience="default", context={"floor": 1}, prefix=True).kid == first
    assert office.outcome(office.narrow(old, "room = 1"), floor=1, room=1) == "allowed"


def test_rotation_leaves_other_audiences_alone(office: Any) -> None:
    """Only the one that was named."""
    before = kid_of(office, "capsvc")
    office.authority.rotate_key("default")
    assert kid_of(office, "capsvc") == before
    assert code_of(lambda: office.authority.rotate_key("nowhere")) == "not-found"


def test_revoking_a_retiring_key_kills_its_tokens_alone(office: Any) -> None:
    """They say `revoked`, the new key's are good."""
    old, first = office.mint(), kid_of(office)
    office.authority.rotate_key("default")
    new = office.mint()
    assert office.outcome(old) == "allowed"
    done = office.authority.revoke(key=first)
    assert (done.kind, done.audience, done.repeated) == ("key", "default", False)
    assert (office.outcome(old), office.outcome(new)) == ("revoked", "allowed")
    assert office.outcome(office.narrow(old, "floor = 1"), floor=1) == "revoked"
    assert states(office) == ["revoked", "active"]
    again = office.authority.revoke(key=first)
    assert (again.kind, again.at, again.repeated) == ("key", done.at, True)


def test_a_revoked_keys_tokens_still_prove_themselves_first(office: Any) -> None:
    """An altered one is no token at all; `revoked` stands in step 5."""
    token = office.mint("floor = 1")
    office.authority.revoke(key=kid_of(office))
    assert office.outcome(token, floor=1) == "revoked"
    assert office.outcome(token[:-4] + "AAAA") == "invalid-token"
    assert office.outcome(token, "capsvc") == "wrong-audience"
    assert office.outcome(office.with_thirds(token, "cid")) == "discharge-missing"
    assert office.at(7200, token) == "revoked"


def test_without_an_active_key_nothing_is_minted_until_rotation(office: Any) -> None:
    """`unavailable`; what other audiences mint is untouched, what was minted stays revoked."""
    office.authority.add_audience("photos")
    token = office.mint()
    office.authority.revoke(key=kid_of(office))
    assert code_of(office.mint) == "unavailable"
    assert code_of(lambda: office.mint(subject="alice")) == "unavailable"
    assert office.outcome(office.mint(audience="photos"), "photos") == "allowed"
    fresh = office.authority.rotate_key("default")
    assert states(office) == ["revoked", "active"]
    assert office.outcome(office.mint()) == "allowed"
    assert (office.outcome(token), kid_of(office)) == ("revoked", fresh.kid)


def test_what_shares_a_commit_sees_what_came_before_it(office: Any) -> None:
    """A mint after a rotation or a revocation of the key, in the same transaction as they."""
    store, keeping, revoking = office.authority._store, office.authority._keeping, office.authority._revoking
    now, old, gate = int(office.clock.now), kid_of(office), threading.Event()

    def submit() -> Any:
        return office.authority.submit_mint(audience="default", ttl=60)

    held = store.write(lambda _: gate.wait(30))  # whatever is submitted until it ends is one group
    before = submit()
    rotated = store.write(lambda tx: keeping.rotate(tx, "default", now, None))
    after = submit()
    revoked = store.write(lambda tx: revoking.key(tx, tx.active_kid("default"), now, None))
    too_late = submit()
    gate.set()
    assert held.result(30)
    assert revoked.result(30).kind == "key"
    assert office.authority.authorize(before.result(30).token, audience="default", prefix=True).kid == old
    assert code_of(lambda: too_late.result(30)) == "unavailable"
    assert office.outcome(after.result(30).token) == "revoked"
    assert rotated.result(30).kid != old


def test_the_service_own_key(office: Any) -> None:
    """Revoked, every administrator's credential is dead; `admin_token` rotates by itself, and only then."""
    admin = office.authority.admin_token()
    first = kid_of(office, "capsvc")
    assert office.outcome(admin, "capsvc") == "allowed"
    assert office.authority.usable_for(admin, 89 * DAY)
    office.authority.admin_token()
    assert kid_of(office, "capsvc") == first
    office.authority.revoke(key=first)
    assert office.outcome(admin, "capsvc") == "revoked"
    assert not office.authority.usable_for(admin, 0)
    fresh = office.authority.admin_token()
    assert office.outcome(fresh, "capsvc") == "allowed"
    assert office.outcome(admin, "capsvc") == "revoked"
    assert states(office, "capsvc") == ["revoked", "active"]


def test_how_long_an_administrators_credential_lasts(office: Any) -> None:
    """90 days, or the audience's `max_ttl` if that is less."""
    admin = office.authority.admin_token()
    assert office.authority.usable_for(admin, 90 * DAY - 1)
    assert not office.authority.usable_for(admin, 90 * DAY)
    assert not office.authority.usable_for("", 0)
    assert not office.authority.usable_for(office.mint(), 0)
    office.authority.set_max_ttl("capsvc", 600)
    shorter = office.authority.admin_token()
    assert office.authority.usable_for(shorter, 599)
    assert not office.authority.usable_for(shorter, 600)


def test_nobody_but_the_data_directory_mints_for_the_service(office: Any) -> None:
    """`forbidden`, before anything else that is wrong."""
    assert code_of(lambda: office.mint(audience="capsvc")) == "forbidden"
    assert code_of(lambda: office.mint("nonsense", audience="capsvc", ttl=-1)) == "forbidden"
    assert office.mint()


def test_a_swept_keys_tokens_are_invalid(office: Any) -> None:
    """Once every token of a key has been expired for seven days, they go and then it; the active key never does."""
    token, first = office.mint(ttl=100), kid_of(office)
    unused = office.authority.rotate_key("default").kid
    active = office.authority.rotate_key("default").kid
    start = office.clock.now

    def swept(seconds: int) -> list[str]:
        office.clock.now = start + 7 * DAY + seconds
        office.authority.sweep()
        return [key.kid for key in office.authority.keys("default")]

    assert swept(0) == [first, unused, active]
    assert swept(100) == [first, active]
    assert office.outcome(token) == "expired"
    assert swept(161) == [first, active]
    assert office.outcome(token) == "expired"
    assert swept(222) == [active]
    assert office.outcome(token) == "invalid-token"
    assert office.authority.key(first) is None
    assert office.outcome(office.mint()) == "allowed"


def test_a_revoked_key_stays_for_seven_days(office: Any) -> None:
    """Though it never minted: revoking it again is no error meanwhile."""
    unused = office.authority.rotate_key("default").kid
    office.authority.rotate_key("default")
    office.clock.now += 30 * DAY
    office.authority.revoke(key=unused)
    office.authority.sweep()
    assert office.authority.revoke(key=unused).repeated
    office.clock.now += 7 * DAY + 1
    office.authority.sweep()
    assert code_of(lambda: office.authority.revoke(key=unused)) == "not-found"


def test_another_process_sees_at_once_that_a_key_was_swept(office: Any) -> None:
    """Whatever it has decided while the sweep was under way."""
    token = office.mint(ttl=60)
    office.authority.rotate_key("default")
    with office.another() as other:
        seen: list[list[str]] = []
        original = office.authority._store.write

        def watched(work: Any) -> Any:
            future = original(work)
            future.result()
            seen.append([key.state for key in other.keys("default")])
            return future

        office.authority._store.write = watched
        try:
            for _ in range(2):
                office.clock.now += 61 + 7 * DAY
                office.authority.sweep()
        finally:
            del office.authority._store.write
        assert seen == [["retiring", "active"]] * 4 + [["active"]] * 3
        assert office.outcome(token) == "invalid-token"


def test_audiences(office: Any) -> None:
    """Added once, by a word, with a `max_ttl` of 30 days unless told."""
    photos = office.authority.add_audience("photos")
    assert (photos.name, photos.max_ttl) == ("photos", 30 * DAY)
    assert office.authority.audience("photos") == photos
    assert office.authority.add_audience("a", 1).max_ttl == 1
    assert office.authority.add_audience("b", 315_360_000).max_ttl == 315_360_000
    assert [audience.name for audience in office.authority.audiences()] == ["default", "capsvc", "photos", "a", "b"]
    assert office.authority.audience("nowhere") is None
    for name, max_ttl, code in (
        ("photos", None, "exists"),
        ("c", 0, "ttl-invalid"),
        ("c", -1, "ttl-invalid"),
        ("c", 315_360_001, "ttl-too-long"),
        ("c", True, "bad-request"),
        ("c", 1.0, "bad-request"),
        ("", None, "bad-request"),
        ("two words", None, "bad-request"),
        ("a" * 129, None, "bad-request"),
        ("é", None, "bad-request"),
    ):
        assert code_of(lambda: office.authority.add_audience(name, max_ttl)) == code, name  # noqa: B023
    assert code_of(lambda: office.authority.set_max_ttl("nowhere", 1)) == "not-found"
    assert code_of(lambda: office.authority.set_max_ttl("photos", 0)) == "ttl-invalid"
    assert office.authority.set_max_ttl("photos", 5).max_ttl == 5
    assert office.authority.audience("photos").max_ttl == 5


def test_keys_hide_themselves(office: Any) -> None:
    """In repr, and from copying and pickling."""
    key = office.authority._follower.view().active_key("default")
    for secret in (key.root, key.chain if isinstance(key.chain, bytes) else b""):
        if secret:
            assert secret.hex() not in repr(key)
            assert repr(secret) not in repr(key)
    for hidden in (key, office.authority._follower._master):
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError):
                attempt(hidden)
