"""What is kept of people who log in has bounds, and ends: sessions, attempts, passwords that wait to be hashed."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable

import pytest

from capsvc.discharge import sessions as sessions_module
from capsvc.discharge.hashpool import HashPool, TooBusyError
from capsvc.discharge.sessions import MAX_OPENED, MAX_SESSIONS_OF_USER, Session, Sessions
from capsvc.discharge.throttle import LoginThrottle, Throttle
from capsvc.discharge.users import User
from capsvc.discharge.waits import Begun

NOON = 1_795_348_800
ALICE = User("alice", "hash")
BOB = User("bob", "hash")
PATIENCE = 60


class Clock:
    """A clock that stands still until it is set."""

    now: float = NOON

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """At noon."""
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Sessions:
    """Of 100 seconds of idleness and 1,000 in all."""
    return Sessions(clock, idle=100, lifetime=1_000)


@pytest.mark.parametrize(("second", "good"), [(99, True), (100, False), (101, False)])
def test_a_session_ends_when_nobody_uses_it(clock: Clock, sessions: Sessions, second: int, *, good: bool) -> None:
    """Its number is then no session's either; each use begins the time anew."""
    known, session = sessions.begin(ALICE)
    clock.now += 60
    assert sessions.seen(known) is session
    clock.now += second
    assert (sessions.numbered(session.number) is session) is good
    assert (sessions.seen(known) is session) is good
    assert (sessions.seen(known) is session) is good


@pytest.mark.parametrize(("second", "good"), [(999, True), (1_000, False), (1_001, False)])
def test_a_session_ends_however_much_it_is_used(clock: Clock, sessions: Sessions, second: int, *, good: bool) -> None:
    """After its lifetime."""
    known, session = sessions.begin(ALICE)
    for now in range(0, 1_000, 50):
        clock.now = NOON + now
        assert sessions.seen(known) is session
    clock.now = NOON + second
    assert (sessions.seen(known) is session) is good


def test_asking_by_number_uses_no_session(clock: Clock, sessions: Sessions) -> None:
    """A program that asks for discharges does not keep a browser's session going."""
    known, session = sessions.begin(ALICE)
    clock.now += 60
    assert sessions.numbered(session.number) is session
    clock.now += 60
    assert sessions.seen(known) is None


@pytest.mark.parametrize(("second", "good"), [(-60, True), (-61, False)])
def test_a_clock_that_is_set_back_revives_nothing(clock: Clock, sessions: Sessions, second: int, *, good: bool) -> None:
    """A correction is borne; by a clock far before its beginning a session would have no end."""
    known, session = sessions.begin(ALICE)
    clock.now += second
    assert (sessions.seen(known) is session) is good


def test_ids_and_numbers_are_never_used_again(sessions: Sessions) -> None:
    """An id has 256 bits; the number of a session that has ended is nobody's."""
    first, one = sessions.begin(ALICE)
    sessions.end(first)
    sessions.end(first)
    second, two = sessions.begin(ALICE)
    assert (sessions.seen(first), sessions.numbered(one.number)) == (None, None)
    assert first != second
    assert one.number != two.number
    assert len(first) == 43
    assert first not in repr(one)
    assert one.logout_form not in repr(one)


def test_a_user_has_so_many_sessions(sessions: Sessions) -> None:
    """The one used longest ago gives way, and nobody else's."""
    bobs, _ = sessions.begin(BOB)
    known = [sessions.begin(ALICE)[0] for _ in range(MAX_SESSIONS_OF_USER)]
    assert sessions.seen(known[0]) is not None
    newest, _ = sessions.begin(ALICE)
    assert sessions.seen(known[1]) is None
    assert all(sessions.seen(one) for one in (bobs, newest, known[0], *known[2:]))


def test_there_are_so_many_sessions(sessions: Sessions, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are over go first, then the one used longest ago."""
    monkeypatch.setattr(sessions_module, "MAX_SESSIONS", 3)
    over, _ = sessions.begin(User("over", "hash"))
    clock.now += 99
    first, second = (sessions.begin(User(name, "hash"))[0] for name in ("first", "second"))
    clock.now += 1
    third, _ = sessions.begin(User("third", "hash"))
    assert len(sessions) == 3
    fourth, _ = sessions.begin(User("fourth", "hash"))
    assert len(sessions) == 3
    assert [bool(sessions.seen(one)) for one in (over, first, second, third, fourth)] == [
        False,
        False,
        True,
        True,
        True,
    ]


def _begun(number: int) -> Begun:
    return Begun(f"visit-{number}", "wait", b"", b"", "condition", (), NOON, None)


def test_a_session_has_so_many_pages_open(sessions: Sessions) -> None:
    """With one too many the one opened first is closed; one opened twice is one, with one secret."""
    _, session = sessions.begin(ALICE)
    forms = {session.open(_begun(number)).form for number in range(MAX_OPENED)}
    assert len(forms) == MAX_OPENED
    assert session.open(_begun(0)).form in forms
    assert list(session.opened) == [f"visit-{number}" for number in range(MAX_OPENED)]
    session.open(_begun(MAX_OPENED))
    assert list(session.opened) == [f"visit-{number}" for number in range(1, MAX_OPENED + 1)]
    assert not any(form in repr(session) + repr(session.open(_begun(1))) for form in forms)


def _tries(throttle: Throttle, key: str, most: int) -> int:
    """How many attempts there can be now."""
    for made in range(most):
        if throttle.wait(key):
            return made
        throttle.attempt(key)
    return most


def test_so_many_attempts_at_once_then_one_at_a_time(clock: Clock) -> None:
    """Each key for itself; what was not used comes back, to the full number and no more."""
    throttle = Throttle(clock, burst=3, seconds=10)
    assert _tries(throttle, "a", 9) == 3
    assert _tries(throttle, "b", 9) == 3
    assert throttle.wait("a") == 10
    clock.now += 9.5
    assert throttle.wait("a") == 1
    clock.now += 0.5
    assert _tries(throttle, "a", 9) == 1
    clock.now += 1_000
    assert _tries(throttle, "a", 9) == 3


def test_what_is_forgiven_does_not_count(clock: Clock) -> None:
    """And leaves nothing behind; what was never tried cannot be saved up."""
    throttle = Throttle(clock, burst=3, seconds=10)
    throttle.forgive("a")
    for _ in range(9):
        assert throttle.wait("a") == 0
        throttle.attempt("a")
        throttle.forgive("a")
    assert len(throttle) == 0
    assert _tries(throttle, "a", 9) == 3
    throttle.forgive("a")
    assert _tries(throttle, "a", 9) == 1


def test_a_clock_that_is_set_back_locks_nobody_out(clock: Clock) -> None:
    """Nobody waits longer than if he had just tried as often as he may."""
    throttle = Throttle(clock, burst=3, seconds=10)
    _tries(throttle, "a", 3)
    clock.now -= 1_000_000
    assert throttle.wait("a") == 10
    clock.now += 30
    assert _tries(throttle, "a", 9) == 3


def test_so_many_keys_are_kept(clock: Clock) -> None:
    """With one too many the one that owes least is forgotten, and who is not kept owes as much; no key is long."""
    throttle = Throttle(clock, burst=9, seconds=10, keys=2)
    for key in ("a", "b", "b", "c"):
        throttle.attempt(key)
    assert sorted(throttle._rested_at) == ["b", "c"]
    assert _tries(throttle, "b", 9) == 7
    assert _tries(throttle, "c", 9) == 7
    assert _tries(throttle, "a", 9) == 0
    clock.now += 10
    assert _tries(throttle, "a", 9) == 1
    throttle.attempt("x" * 1_000)
    assert throttle.wait("x" * 2_000) > 0
    assert all(len(key) <= 200 for key in throttle._rested_at)
    assert len(throttle) == 2


def test_whoever_owes_is_not_forgotten_for_those_who_owe_less(clock: Clock) -> None:
    """However many come by: it gets no attempt more than it would have alone; those who are at rest make room."""
    throttle = Throttle(clock, burst=3, seconds=10, keys=100)
    assert _tries(throttle, "victim", 9) == 3
    for number in range(1_000):
        throttle.attempt(f"n{number}")
        assert throttle.wait("victim") == 10
    assert len(throttle) == 100
    assert len(throttle._order) <= 202
    clock.now += 10
    assert _tries(throttle, "victim", 9) == 1
    clock.now += 31
    assert [_tries(throttle, key, 9) for key in ("victim", "n1", "fresh")] == [3, 3, 3]
    assert len(throttle) == 3


@pytest.mark.parametrize("seed", range(20))
def test_a_bounded_throttle_lets_nobody_more(clock: Clock, seed: int) -> None:
    """Whatever is tried, forgiven and waited for: what one without bounds refuses, it refuses, too."""
    chance = random.Random(seed)  # noqa: S311 - a test's
    bounded, all_of_them = (Throttle(clock, burst=3, seconds=10, keys=keys) for keys in (4, 10_000))
    tried = refused = 0
    for _ in range(2_000):
        key = f"k{min(int(chance.expovariate(0.3)), 30)}"
        clock.now += chance.choice([0, 0, 0, 0.5, 7])
        assert bounded.wait(key) >= all_of_them.wait(key)
        assert len(bounded) <= 4
        if bounded.wait(key):
            refused += 1
            continue
        tried += 1
        bounded.attempt(key)
        all_of_them.attempt(key)
        if chance.random() < 0.2:
            bounded.forgive(key)
            all_of_them.forgive(key)
    assert tried > 100
    assert refused > 100


def test_a_full_throttle_after_the_clock_was_set_back(clock: Clock) -> None:
    """Nobody is locked out for longer than whoever had just tried as often as he may."""
    throttle = Throttle(clock, burst=3, seconds=10, keys=2)
    for key in ("a", "b"):
        throttle.attempt(key)
    clock.now -= 1_000_000
    assert throttle.wait("c") == 10
    clock.now += 10
    assert _tries(throttle, "c", 9) == 1
    clock.now += 30
    assert [_tries(throttle, key, 9) for key in "cd"] == [3, 3]


def _log_in(throttle: LoginThrottle, name: Callable[[int], str], address: Callable[[int], str | None]) -> int:
    """How many attempts there can be, up to 1,000."""
    return next((number for number in range(1_000) if throttle.attempt(name(number), address(number))), 1_000)


@pytest.mark.parametrize(
    ("name", "address", "attempts"),
    [
        (lambda _: "alice", lambda _: "192.0.2.1", 10),
        (lambda number: f"user-{number}", lambda _: "192.0.2.1", 30),
        (lambda number: f"user-{number}", lambda _: None, 30),
        (lambda number: f"user-{number}", lambda number: f"2001:db8::{number:x}", 30),  # one network of one caller
        (lambda number: f"user-{number}", lambda _: "::1", 30),
        (lambda _: "alice", lambda number: f"192.0.2.{number}", 100),
        (lambda _: "alice", lambda number: f"2001:db8:0:{number:x}::1", 100),
        (lambda number: f"user-{number}", lambda number: f"10.0.{number // 256}.{number % 256}", 1_000),
    ],
)
def test_attempts_are_counted_by_name_and_by_address(
    clock: Clock, name: Callable[[int], str], address: Callable[[int], str | None], attempts: int
) -> None:
    """One name from one address, any name from one, one name from anywhere: each has its own number."""
    assert _log_in(LoginThrottle(clock), name, address) == attempts


def test_nobody_is_locked_out_from_one_address(clock: Clock) -> None:
    """However long somebody tries a name from there, its owner can log in from elsewhere."""
    throttle = LoginThrottle(clock)
    for _ in range(2_000):
        throttle.attempt("alice", "192.0.2.1")
        clock.now += 5
    assert throttle.attempt("alice", "192.0.2.1") > 0
    assert throttle.attempt("alice", "198.51.100.7") == 0


def test_an_attempt_that_is_refused_does_not_count(clock: Clock) -> None:
    """The time to wait passes whether somebody goes on trying or not."""
    throttle = LoginThrottle(clock)
    while not throttle.attempt("alice", "192.0.2.1"):
        pass
    for _ in range(59):
        clock.now += 1
        assert throttle.attempt("alice", "192.0.2.1") > 0
    clock.now += 1
    assert throttle.attempt("alice", "192.0.2.1") == 0


class _Work:
    """Work that goes on until it is released."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.release = threading.Event()
        self.running = 0
        self.most = 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.begun.release()
        assert self.release.wait(PATIENCE)
        with self._lock:
            self.running -= 1
        return "done"


def test_a_few_passwords_are_hashed_at_once_and_a_few_wait() -> None:
    """One more is refused; when they are done there is room again, also after work that failed."""
    work = _Work()

    async def scene() -> None:
        pool = HashPool()
        tasks = [asyncio.create_task(pool.run(work)) for _ in range(18)]
        await asyncio.sleep(0)
        with pytest.raises(TooBusyError):
            await pool.run(work)
        work.release.set()
        assert await asyncio.gather(*tasks) == ["done"] * 18
        for _ in range(40):
            with pytest.raises(ZeroDivisionError):
                await pool.run(lambda: 1 // 0)

    asyncio.run(scene())
    assert work.most == 2


def test_what_nobody_waits_for_is_not_begun() -> None:
    """Callers that are gone leave their places; what was begun for them is brought to its end."""
    work = _Work()

    async def scene() -> None:
        pool = HashPool(at_once=1, waiting=1)
        first = asyncio.create_task(pool.run(work))
        await asyncio.sleep(0)
        assert await asyncio.to_thread(work.begun.acquire, timeout=PATIENCE)
        second = asyncio.create_task(pool.run(work))
        await asyncio.sleep(0)
        for task in (first, second):
            task.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        third = asyncio.create_task(pool.run(lambda: "third"))
        await asyncio.sleep(0)
        with pytest.raises(TooBusyError):
            await pool.run(work)
        work.release.set()
        assert await third == "third"

    asyncio.run(scene())
    assert not work.begun.acquire(blocking=False)


def test_a_session_is_its_users_own(sessions: Sessions) -> None:
    """What is found by an id is the session that began with it."""
    made: dict[str, Session] = {}
    for user in (ALICE, BOB, ALICE):
        known, session = sessions.begin(user)
        made[known] = session
    assert all(sessions.seen(known) is session for known, session in made.items())
    assert [session.user.name for session in made.values()] == ["alice", "bob", "alice"]
    assert sessions.seen("") is None
    assert sessions.numbered("") is None
