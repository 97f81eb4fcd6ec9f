"""Waits: what spends them, how long they last, how many there are, and that their secrets are secrets."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from capsvc.discharge import Begun, TooManyWaits, WaitGone, WaitRefused, Waits
from capsvc.discharge.waits import (
    MAX_WAITS,
    MAX_WAITS_OF_ADDRESS,
    MAX_WAITS_OF_CAVEAT,
    MAX_WAITS_OF_FIRST_PARTY,
    MAX_WRONG_USES,
    TOKEN_SECONDS,
    WAIT_SECONDS,
    digest,
)

from .conftest import NOON, Clock

CAVEAT = digest(b"a caveat")
OTHER = digest(b"another")


def begin(
    waits: Waits, caveat: bytes = CAVEAT, *, first_party: bytes = b"k" * 32, address: str | None = "::1"
) -> Begun:
    """Begin a wait, by whomever."""
    return waits.begin(caveat=caveat, first_party=first_party, condition="c", names=("a",), address=address)


def begin_one_of_many(waits: Waits, number: int) -> Begun:
    """Begin a wait of one caveat more, from one address and of one first party more."""
    mark = number.to_bytes(4, "big")
    address = ".".join(map(str, mark))
    return begin(waits, digest(mark), first_party=mark * 8, address=address)


@pytest.fixture
def clock() -> Clock:
    """One that stands at noon."""
    return Clock()


@pytest.fixture
def waits(clock: Clock) -> Waits:
    """None yet."""
    return Waits(clock)


def brought(waits: Waits, begun: Begun) -> bytes:
    """The token of a wait whose outcome is known."""
    return asyncio.run(waits.outcome(begun.wait))


def consented(waits: Waits, caveat: bytes = CAVEAT, user: str = "alice") -> bytes:
    """A token that was consented to."""
    begun = begin(waits, caveat)
    assert waits.consent(begun.visit, user)
    return brought(waits, begun)


async def _later(outcome: Awaitable[bytes], *steps: Callable[[], Any]) -> bytes:
    """What an outcome is when things happen after it has been asked for."""
    asking = asyncio.ensure_future(outcome)
    await asyncio.sleep(0)
    for step in steps:
        assert not asking.done()
        step()
    return await asking


def test_what_was_begun(waits: Waits) -> None:
    """It is told as it began, with two different secrets of 128 bits, which its repr leaves out."""
    begun = begin(waits)
    assert begun == Begun(begun.visit, begun.wait, CAVEAT, b"k" * 32, "c", ("a",), NOON, "::1")
    assert begun.visit != begun.wait
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", secret) for secret in (begun.visit, begun.wait))
    assert begun.visit not in repr(begun)
    assert begun.wait not in repr(begun)
    again = begin(waits)
    assert len({begun.visit, begun.wait, again.visit, again.wait}) == 4


def test_from_beginning_to_end(waits: Waits) -> None:
    """Somebody consents, the wait brings a token of 128 bits, the token says who; nothing is left."""
    begun = begin(waits)
    token = asyncio.run(_later(waits.outcome(begun.wait), lambda: waits.consent(begun.visit, "alice")))
    assert len(token) == 16
    assert token not in {begun.visit.encode(), begun.wait.encode()}
    assert waits.user(token, CAVEAT) == "alice"
    assert len(waits) == 0


def test_looking_spends_nothing(waits: Waits) -> None:
    """A visit is found as often as it is looked at, and by its own secret alone."""
    begun = begin(waits)
    assert [waits.find(begun.visit) for _ in range(3)] == [begun] * 3
    assert waits.find(begun.wait) is None
    assert waits.find("") is None
    assert waits.find("\udc80") is None
    with pytest.raises(WaitGone):
        asyncio.run(waits.outcome(begun.visit))
    assert waits.find(begun.visit) == begun


@pytest.mark.parametrize("first", ["consent", "refuse"])
@pytest.mark.parametrize("second", ["consent", "refuse"])
def test_a_visit_is_answered_once(waits: Waits, first: str, second: str) -> None:
    """The first answer counts; there is no other, and the page is gone."""
    begun = begin(waits)

    def answer(how: str, user: str) -> bool:
        return waits.consent(begun.visit, user) if how == "consent" else waits.refuse(begun.visit)

    assert answer(first, "alice") is True
    assert waits.find(begun.visit) is None
    assert answer(second, "mallory") is False
    if first == "consent":
        assert waits.user(brought(waits, begun), CAVEAT) == "alice"
    else:
        with pytest.raises(WaitRefused):
            brought(waits, begun)


def test_a_refusal_wakes_whoever_waits(waits: Waits) -> None:
    """It is told at once, and the wait is over."""
    begun = begin(waits)
    with pytest.raises(WaitRefused):
        asyncio.run(_later(waits.outcome(begun.wait), lambda: waits.refuse(begun.visit)))
    assert len(waits) == 0


def test_consent_needs_a_name(waits: Waits) -> None:
    """Nobody consents as nobody; the visit is not spent by it."""
    begun = begin(waits)
    with pytest.raises(ValueError, match="name"):
        waits.consent(begun.visit, "")
    assert waits.find(begun.visit) == begun


@pytest.mark.parametrize("decided", [True, False])
def test_a_wait_is_asked_once(waits: Waits, decided: bool) -> None:
    """Whoever asks second gets nothing, before and after the first is answered; the first is not disturbed."""
    begun = begin(waits)

    async def both() -> bytes:
        first = asyncio.ensure_future(waits.outcome(begun.wait))
        await asyncio.sleep(0)
        if decided:
            waits.consent(begun.visit, "alice")
        with pytest.raises(WaitGone):
            await waits.outcome(begun.wait)
        if not decided:
            waits.consent(begun.visit, "alice")
        return await first

    token = asyncio.run(both())
    with pytest.raises(WaitGone):
        brought(waits, begun)
    assert waits.user(token, CAVEAT) == "alice"


async def _leave(waits: Waits, begun: Begun, *steps: Callable[[], Any]) -> None:
    """Ask for the outcome of a wait, and be gone once something has happened."""
    asking = asyncio.ensure_future(waits.outcome(begun.wait))
    await asyncio.sleep(0)
    for step in steps:
        step()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


def test_whoever_waits_may_go(waits: Waits) -> None:
    """With the program that waited gone, visit and wait are as they were: it comes back, and gets its answer, once."""
    begun = begin(waits)
    asyncio.run(_leave(waits, begun))
    assert waits.find(begun.visit) == begun
    asyncio.run(_leave(waits, begun))
    assert waits.consent(begun.visit, "alice")
    assert waits.user(brought(waits, begun), CAVEAT) == "alice"
    with pytest.raises(WaitGone):
        brought(waits, begun)
    assert len(waits) == 0


def test_whoever_waits_may_go_as_it_is_decided(waits: Waits) -> None:
    """A decision that comes as the program goes is not lost with it."""
    begun, refused = begin(waits), begin(waits)
    asyncio.run(_leave(waits, begun, lambda: waits.consent(begun.visit, "alice"), lambda: None))
    asyncio.run(_leave(waits, refused, lambda: waits.refuse(refused.visit)))
    assert waits.user(brought(waits, begun), CAVEAT) == "alice"
    with pytest.raises(WaitRefused):
        brought(waits, refused)


def test_whoever_comes_back_before_it_is_seen_to_be_gone(waits: Waits) -> None:
    """Its next connection can be there before the end of its last: it is given a moment."""
    begun = begin(waits)

    async def come_back() -> bytes:
        first = asyncio.ensure_future(waits.outcome(begun.wait))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(waits.outcome(begun.wait))
        await asyncio.sleep(0)
        first.cancel()
        while not second.done():
            await asyncio.sleep(0.01)
            waits.consent(begun.visit, "alice")
        return await second

    assert waits.user(asyncio.run(come_back()), CAVEAT) == "alice"


def test_ten_minutes(waits: Waits, clock: Clock) -> None:
    """A visit and a wait are good until just before ten minutes are over, not at ten minutes."""
    begun, later = begin(waits), begin(waits)
    clock.now += WAIT_SECONDS - 1
    assert waits.find(begun.visit) == begun
    assert waits.consent(later.visit, "alice")
    clock.now += 1
    assert waits.find(begun.visit) is None
    assert waits.consent(begun.visit, "alice") is False
    assert waits.refuse(begun.visit) is False
    for each in (begun, later):
        with pytest.raises(WaitGone):
            brought(waits, each)
    assert len(waits) == 0


def test_a_clock_that_is_set_back(waits: Waits, clock: Clock) -> None:
    """What began before is over at its own time, though it hides behind what began later by the clock."""
    clock.now += 100
    begin(waits)
    clock.now -= 100
    begun = begin(waits, OTHER)
    clock.now += WAIT_SECONDS
    assert waits.find(begun.visit) is None
    assert waits.consent(begun.visit, "alice") is False
    with pytest.raises(WaitGone):
        brought(waits, begun)


def test_whoever_waits_is_told_that_it_is_over(waits: Waits, clock: Clock) -> None:
    """Without a decision a wait ends by itself: by its own timer, or when something else finds it old."""
    clock.now -= WAIT_SECONDS
    begun = begin(waits)
    clock.now += WAIT_SECONDS - 1
    slow = Waits(lambda: clock.now + 0.99)
    begun_there = begin(slow)

    def pass_by() -> None:
        clock.now += 1
        waits.find("another")

    with pytest.raises(WaitGone):
        asyncio.run(_later(waits.outcome(begun.wait), pass_by))
    clock.now += WAIT_SECONDS - 1  # 10 ms of real time are left there
    with pytest.raises(WaitGone):
        asyncio.run(slow.outcome(begun_there.wait))
    assert len(slow) == 0


def test_a_token_is_spent_by_its_right_use(waits: Waits) -> None:
    """It says who once."""
    token = consented(waits)
    assert waits.user(token, CAVEAT) == "alice"
    assert waits.user(token, CAVEAT) is None


def test_a_token_is_spent_by_the_third_wrong_use(waits: Waits) -> None:
    """For another caveat it is worth nothing; two such tries are a mistake, three are not."""
    token = consented(waits)
    for _ in range(MAX_WRONG_USES - 1):
        assert waits.user(token, OTHER) is None
    assert waits.user(token, CAVEAT) == "alice"
    token = consented(waits)
    for _ in range(MAX_WRONG_USES):
        assert waits.user(token, OTHER) is None
    assert waits.user(token, CAVEAT) is None


def test_tokens_that_are_none(waits: Waits) -> None:
    """Guesses, the other two secrets and a changed token say nothing, and spend nothing."""
    begun = begin(waits)
    waits.consent(begun.visit, "alice")
    token = brought(waits, begun)
    for guess in (b"", bytes(16), begun.visit.encode(), begun.wait.encode(), token[:-1], token + b"\0", token[::-1]):
        assert waits.user(guess, CAVEAT) is None
    assert waits.user(token, CAVEAT) == "alice"


def test_a_token_ends(waits: Waits, clock: Clock) -> None:
    """It is good for a minute from when the wait brought it, however early there was consent."""
    begun = begin(waits)
    waits.consent(begun.visit, "alice")
    clock.now += WAIT_SECONDS - 1
    token = brought(waits, begun)
    clock.now += TOKEN_SECONDS - 1
    second = consented(waits)
    assert waits.user(token, CAVEAT) == "alice"
    clock.now += TOKEN_SECONDS
    assert waits.user(second, CAVEAT) is None
    assert len(waits) == 0


def test_tokens_and_a_clock_that_is_set_back(waits: Waits, clock: Clock) -> None:
    """A token ends at its own time, though it hides behind one that ends later."""
    clock.now += 100
    consented(waits)
    clock.now -= 100
    token = consented(waits)
    clock.now += TOKEN_SECONDS
    assert waits.user(token, CAVEAT) is None


def test_ten_thousand_waits(waits: Waits, clock: Clock) -> None:
    """There are so many and no more, whatever they are for; what ends makes room."""
    every = [begin_one_of_many(waits, number) for number in range(MAX_WAITS)]
    assert len(waits) == MAX_WAITS == 10_000
    with pytest.raises(TooManyWaits):
        begin(waits, digest(b"one more"))
    assert len(waits) == MAX_WAITS
    assert waits.find(every[0].visit) == every[0]
    assert waits.refuse(every[0].visit)
    with pytest.raises(TooManyWaits):  # its program has not asked yet
        begin(waits, digest(b"one more"))
    with pytest.raises(WaitRefused):
        brought(waits, every[0])
    begin(waits, digest(b"one more"))
    with pytest.raises(TooManyWaits):
        begin(waits, digest(b"another"))
    clock.now += WAIT_SECONDS
    begin(waits, digest(b"another"))
    assert len(waits) == 1
    assert waits._of_caveat.keys() == {digest(b"another")}
    assert len(waits._by_wait) == 1
    assert len(waits._of_caller) == 2


@pytest.mark.parametrize(
    ("address", "near", "far"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"),
        (None, "nonsense", "192.0.2.7"),
    ],
)
def test_waits_from_one_address(waits: Waits, clock: Clock, address: str | None, near: str, far: str) -> None:
    """One caller, whoever sends him, has a part of the room; past it nothing of anybody gives way to him."""
    others = [begin(waits, address=far) for _ in range(MAX_WAITS_OF_CAVEAT)]
    his = [begin(waits, digest(b"%d" % number), address=address) for number in range(MAX_WAITS_OF_ADDRESS)]
    for caveat in (CAVEAT, OTHER):
        for one in (address, near):
            with pytest.raises(TooManyWaits):
                begin(waits, caveat, first_party=b"o" * 32, address=one)
    assert all(waits.find(other.visit) for other in others)
    begin(waits, OTHER, address=far)
    assert waits.refuse(his[0].visit)
    with pytest.raises(WaitRefused):
        brought(waits, his[0])
    begin(waits, OTHER, address=near)
    with pytest.raises(TooManyWaits):
        begin(waits, OTHER, address=near)
    clock.now += WAIT_SECONDS
    begin(waits, OTHER, address=near)
    assert len(waits) == 1


def test_waits_of_one_first_party(waits: Waits, clock: Clock) -> None:
    """All whom one sends have half of the room, from wherever they come; those of others go on."""
    for number in range(MAX_WAITS_OF_FIRST_PARTY):
        begin(waits, digest(b"%d" % number), address=f"10.0.{number // 256}.{number % 256}")
    with pytest.raises(TooManyWaits):
        begin(waits, address="192.0.2.7")
    other = begin(waits, first_party=b"o" * 32, address="192.0.2.7")
    assert waits.find(other.visit) == other
    clock.now += WAIT_SECONDS
    begin(waits, address="192.0.2.7")
    assert waits._of_caller == {b"k" * 32: 1, "192.0.2.7": 1}


def test_tokens_count_too(waits: Waits) -> None:
    """Consent without end is bounded like waiting."""
    for number in range(MAX_WAITS - 1):
        begin_one_of_many(waits, number)
    consented(waits)
    with pytest.raises(TooManyWaits):
        begin(waits, digest(b"one more"))


def test_waits_of_one_caveat(waits: Waits) -> None:
    """Whoever begins again and again only takes his own room: of 64 of a caveat the oldest gives way, no other's."""
    other = begin(waits, OTHER)
    every = [begin(waits) for _ in range(MAX_WAITS_OF_CAVEAT)]
    assert len(every) == 64
    assert waits.find(every[0].visit) == every[0]
    with pytest.raises(WaitGone):
        asyncio.run(_later(waits.outcome(every[0].wait), lambda: every.append(begin(waits))))
    assert waits.find(every[0].visit) is None
    assert [waits.find(one.visit) for one in every[1:]] == every[1:]
    assert waits.find(other.visit) == other
    assert len(waits) == MAX_WAITS_OF_CAVEAT + 1


def test_room_of_one_caveat_when_all_is_full(waits: Waits) -> None:
    """Where there is no room, a caveat that has its share still gets its newest wait, in the place of its oldest."""
    for number in range(MAX_WAITS - MAX_WAITS_OF_CAVEAT):
        begin_one_of_many(waits, number)
    every = [begin(waits) for _ in range(MAX_WAITS_OF_CAVEAT)]
    newest = begin(waits)
    assert waits.find(newest.visit) == newest
    assert waits.find(every[0].visit) is None


def test_consent_from_another_thread(waits: Waits) -> None:
    """Whoever waits is woken in its own loop."""
    begun = begin(waits)

    def elsewhere() -> None:
        thread = threading.Thread(target=waits.consent, args=(begun.visit, "alice"))
        thread.start()
        thread.join()

    assert waits.user(asyncio.run(_later(waits.outcome(begun.wait), elsewhere)), CAVEAT) == "alice"


def test_nobody_is_left_to_be_woken(waits: Waits) -> None:
    """A program whose loop has ended is no reason for consent to fail."""
    begun = begin(waits)
    loop = asyncio.new_event_loop()
    asking = loop.create_task(waits.outcome(begun.wait))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert waits.consent(begun.visit, "alice") is True
    asking.get_coro().close()
    asking._log_destroy_pending = False  # type: ignore[attr-defined]


def test_closing(waits: Waits) -> None:
    """All end: whoever waits is told, pages and tokens are worth nothing."""
    token = consented(waits, OTHER)
    begun, waiting = begin(waits), begin(waits)
    with pytest.raises(WaitGone):
        asyncio.run(_later(waits.outcome(waiting.wait), waits.close))
    assert waits.find(begun.visit) is None
    assert waits.user(token, OTHER) is None
    assert len(waits) == 0
