"""Who gathers when many need discharges at once: one, for all threads and tasks that wait."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from capsvc.client import CapabilityAuth, DischargeError
from capsvc.client.keeping import Held, Keeper
from capsvc.macaroon.build import mint
from capsvc.token import Token

from .dischargers import BakeryDischarger, Request, conditional, fixed, serving

TOKEN = conditional()
MANY = 12


def discharge(name: str, *caveats: str) -> Token:
    """Something to hold."""
    return Token.parse(mint(b"k" * 32, "https://a.example", name.encode(), caveats))


class Gathering:
    """A gathering that the test lets end, and how often it was begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.started = threading.Event()
        self.end = threading.Event()
        self.error: BaseException | None = None
        self._lock = threading.Lock()

    def __call__(self) -> tuple[Token, ...]:
        """Begin, wait, end."""
        number = self._begin()
        assert self.end.wait(10)
        return self._ended(number)

    async def asynchronous(self) -> tuple[Token, ...]:
        """The same for a task."""
        number = self._begin()
        assert await asyncio.to_thread(self.end.wait, 10)
        return self._ended(number)

    def _begin(self) -> int:
        with self._lock:
            self.begun += 1
        self.started.set()
        return self.begun

    def _ended(self, number: int) -> tuple[Token, ...]:
        if self.error is not None:
            raise self.error
        return (discharge(f"d{number}"),)


@pytest.fixture
def keeper() -> Keeper:
    """One that holds nothing yet."""
    return Keeper(TOKEN, fixed)


@pytest.fixture
def gathering() -> Gathering:
    """One that has not begun."""
    return Gathering()


def _ids(held: list[Held]) -> set[str]:
    return {one.discharges[0].id for one in held}


def test_one_thread_gathers_for_all(keeper: Keeper, gathering: Gathering) -> None:
    """The others wait, and get what it found."""
    with ThreadPoolExecutor(MANY) as pool:
        results = [pool.submit(keeper.get, gathering) for _ in range(MANY)]
        assert gathering.started.wait(10)
        gathering.end.set()
        held = [result.result(10) for result in results]
    assert (gathering.begun, _ids(held)) == (1, {"d1"})
    assert keeper.get(gathering) is held[0]


def test_one_task_gathers_for_all(keeper: Keeper, gathering: Gathering) -> None:
    """And a new loop goes on with what was found in an old one."""

    async def story() -> list[Held]:
        tasks = [asyncio.create_task(keeper.get_async(gathering.asynchronous)) for _ in range(MANY)]
        await asyncio.sleep(0.05)
        gathering.end.set()
        return await asyncio.gather(*tasks)

    held = asyncio.run(story())
    assert (gathering.begun, _ids(held)) == (1, {"d1"})
    assert asyncio.run(keeper.get_async(gathering.asynchronous)) is held[0]


def test_threads_and_tasks_together(keeper: Keeper, gathering: Gathering) -> None:
    """Whoever comes first, of either kind, gathers for both."""

    async def story() -> list[Held]:
        task = asyncio.create_task(keeper.get_async(gathering.asynchronous))
        await asyncio.to_thread(gathering.started.wait, 10)
        threads = [asyncio.to_thread(keeper.get, gathering) for _ in range(3)]
        others = asyncio.gather(*threads)
        await asyncio.sleep(0.05)
        gathering.end.set()
        return [await task, *await others]

    assert _ids(asyncio.run(story())) == {"d1"}
    assert gathering.begun == 1


def test_a_failure_is_everybody_s(keeper: Keeper, gathering: Gathering) -> None:
    """All who waited fail at once, without asking one after another; the next one asks anew."""
    gathering.error = DischargeError(None, "unavailable", "https://a.example", "it is down")

    async def story() -> list[Held | BaseException]:
        tasks = [asyncio.create_task(keeper.get_async(gathering.asynchronous)) for _ in range(MANY)]
        await asyncio.sleep(0.05)
        gathering.end.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    failures = asyncio.run(story())
    assert all(failure is gathering.error for failure in failures)
    assert gathering.begun == 1
    gathering.error = None
    assert _ids([keeper.get(gathering)]) == {"d2"}


def test_one_who_is_cancelled_is_replaced(keeper: Keeper, gathering: Gathering) -> None:
    """The task that gathers is cancelled: one of those who wait gathers in its place."""

    async def story() -> list[Held]:
        first = asyncio.create_task(keeper.get_async(gathering.asynchronous))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(keeper.get_async(gathering.asynchronous)) for _ in range(3)]
        await asyncio.sleep(0.05)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await asyncio.sleep(0.05)
        gathering.end.set()
        return await asyncio.gather(*others)

    assert _ids(asyncio.run(story())) == {"d2"}
    assert gathering.begun == 2


def test_one_who_waits_may_be_cancelled(keeper: Keeper, gathering: Gathering) -> None:
    """Nobody else is."""

    async def story() -> Held:
        first = asyncio.create_task(keeper.get_async(gathering.asynchronous))
        await asyncio.sleep(0.05)
        other = asyncio.create_task(keeper.get_async(gathering.asynchronous))
        await asyncio.sleep(0.05)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        gathering.end.set()
        return await first

    assert _ids([asyncio.run(story())]) == {"d1"}


def test_an_interrupted_thread_is_replaced(keeper: Keeper, gathering: Gathering) -> None:
    """^C in the thread that gathers is nobody's failure but its own."""
    gathering.error = KeyboardInterrupt()
    outcome: list[BaseException] = []

    def interrupted() -> None:
        try:
            keeper.get(gathering)
        except KeyboardInterrupt as error:
            outcome.append(error)

    thread = threading.Thread(target=interrupted)
    thread.start()
    assert gathering.started.wait(10)
    second = Gathering()
    second.end.set()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(keeper.get, second)
        gathering.end.set()
        thread.join(10)
        held = other.result(10)
    assert (len(outcome), second.begun, _ids([held])) == (1, 1, {"d1"})


def test_a_thread_does_not_wait_for_itself(keeper: Keeper, gathering: Gathering) -> None:
    """A synchronous request inside the loop whose task gathers: it gathers by itself, since the loop stands still."""
    second = Gathering()
    second.end.set()

    async def story() -> tuple[Held, Held]:
        task = asyncio.create_task(keeper.get_async(gathering.asynchronous))
        await asyncio.sleep(0.05)
        inner = keeper.get(second)
        gathering.end.set()
        return inner, await task

    inner, outer = asyncio.run(story())
    assert (gathering.begun, second.begun) == (1, 1)
    assert (inner.discharges[0].id, outer.discharges[0].id) == ("d1", "d1")


def test_what_was_refused_is_gathered_once(keeper: Keeper, gathering: Gathering) -> None:
    """Many whose bundle was refused: one gathers; those who come late with the old one get the new one."""
    gathering.end.set()
    old = keeper.get(gathering)
    new = keeper.get(gathering, old)
    assert (old.discharges[0].id, new.discharges[0].id, gathering.begun) == ("d1", "d2", 2)
    assert keeper.get(gathering, old) is new
    assert keeper.get(gathering) is new
    assert gathering.begun == 2
    keeper.drop(old)
    assert keeper.get(gathering) is new
    keeper.drop(new)
    assert _ids([keeper.get(gathering)]) == {"d3"}


def test_a_discharge_that_is_over_when_it_comes(gathering: Gathering) -> None:
    """Is due at once, and never said to be good for a time below nothing."""
    held = Keeper(TOKEN, fixed).get(lambda: (discharge("d", "time < 2026-09-21T14:13:19Z"),))
    assert held.ends is not None
    assert held.renew == held.ends
    assert held.is_over(fixed())
    assert held.is_due(fixed())


def test_many_requests_of_one_client() -> None:
    """Through httpx, with threads and with tasks: one request to the discharger each time."""
    discharger = BakeryDischarger()
    slowly = threading.Event()

    def before(_: Request) -> None:
        slowly.wait(0.1)

    discharger.before = before
    with serving(discharger) as url:
        token = conditional((url, discharger))
        photos = httpx.MockTransport(lambda _: httpx.Response(200))
        auth = CapabilityAuth(token, "https://photos.example", dischargers=[url], clock=fixed)
        with httpx.Client(transport=photos, auth=auth) as client, ThreadPoolExecutor(MANY) as pool:
            answers = list(pool.map(client.get, [f"https://photos.example/{n}" for n in range(MANY)]))
        assert ({answer.status_code for answer in answers}, len(discharger.seen)) == ({200}, 1)
        other = CapabilityAuth(token, "https://photos.example", dischargers=[url], clock=fixed)

        async def story() -> int:
            async with httpx.AsyncClient(transport=photos, auth=other) as client:
                got = await asyncio.gather(*[client.get(f"https://photos.example/{n}") for n in range(MANY)])
            return len({answer.status_code for answer in got})

        assert (asyncio.run(story()), len(discharger.seen)) == (1, 2)
