"""A thousand followers of the feed on real connections: each gets every commit, and none costs a thread."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

FOLLOWERS = 1_000
COMMITS = 20
PATIENCE = 60  # seconds: a loaded machine is slow, and no test is about how slow
FILES = FOLLOWERS + 200
WAITING_MEGABYTES = 60  # that a thousand connections and their requests may take
THREADS = 20

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")


class Follower(asyncio.Protocol):
    """Asks for what comes next, again and again, on one connection; keeps what it was told."""

    def __init__(self, credential: str, wait: str) -> None:
        self._head = f"&wait={wait} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {credential}\r\n\r\n".encode()
        self._octets = b""
        self.cursor = "now"
        self.told: list[str] = []
        self.answers = 0
        self.statuses: list[int] = []
        self.closed = False
        self.stops = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """The other end is gone."""
        self.closed = True

    def data_received(self, data: bytes) -> None:
        """Take what came; once it is a whole answer, ask for the next."""
        self._octets += data
        head, end, body = self._octets.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            return
        self._octets = b""
        self.answers += 1
        self.statuses.append(int(head.split(b" ", 2)[1]))
        page = json.loads(body)
        assert self.statuses[-1] == 200, page
        self.told += [entry["id"] for entry in page["entries"]]
        self.cursor = page["cursor"]
        if not self.stops:
            self._ask()

    def _ask(self) -> None:
        self.transport.write(b"GET /v1/revocations?after=" + self.cursor.encode() + self._head)


def status_of(pid: int, name: str) -> int:
    """A number of ``/proc/PID/status``."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def descriptors(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - only their number


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop run until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.005)


@contextmanager
def many_files() -> Iterator[None]:
    """As many as a thousand connections need, where the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        pytest.skip(f"needs {FILES} file descriptors, and gets {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def followers(service: Any, count: int, wait: str = "30") -> list[Follower]:
    """So many, each connected and heard once."""
    loop = asyncio.get_running_loop()
    credential = service.admin
    made = []
    for _ in range(count):
        _, one = await loop.create_connection(lambda: Follower(credential, wait), "127.0.0.1", service.port)
        made.append(one)
    return made


def revoke(connection: Any) -> str:
    """The id of a family that has just been revoked."""
    status, minted = connection.ask("POST", "/v1/tokens", {"audience": "default", "ttl": 600})
    assert status == 201
    assert connection.ask("POST", "/v1/revocations", {"id": minted["id"]})[0] == 201
    return str(minted["id"])


def test_each_of_a_thousand_gets_every_commit(make_service: Any, tell: Callable[[str], None]) -> None:
    """In one process: with a handful of threads, bounded memory, and no descriptor left when they have gone."""
    service = make_service(workers=1)
    with many_files():
        service.start()
        with closing(service.connect()) as connection:
            asyncio.run(follow(service, connection, tell))
        assert service.stop() == 0
    assert "Traceback" not in service.err.read_text()


async def follow(service: Any, connection: Any, tell: Callable[[str], None]) -> None:
    """The test, on an event loop of its own."""
    loop = asyncio.get_running_loop()
    before, memory = descriptors(service.pid), status_of(service.pid, "VmRSS")
    everybody = await followers(service, FOLLOWERS)
    await until(lambda: descriptors(service.pid) >= before + FOLLOWERS)
    revoked, spread = [], []
    for _ in range(COMMITS):
        revoked.append(await loop.run_in_executor(None, revoke, connection))
        acknowledged = time.perf_counter()
        await until(lambda: all(len(one.told) == len(revoked) for one in everybody))
        spread.append(time.perf_counter() - acknowledged)
    assert all(one.told == revoked for one in everybody)
    threads, grown = status_of(service.pid, "Threads"), (status_of(service.pid, "VmRSS") - memory) / 1024
    assert threads <= THREADS
    assert grown < WAITING_MEGABYTES
    for one in everybody[::2]:
        one.transport.abort()
    staying = everybody[1::2]
    await until(lambda: descriptors(service.pid) <= before + len(staying) + 10)
    revoked.append(await loop.run_in_executor(None, revoke, connection))
    await until(lambda: all(one.told == revoked for one in staying))
    for one in staying:
        one.transport.close()
    await until(lambda: descriptors(service.pid) <= before + 10)
    tell(
        f"{FOLLOWERS} followers: {COMMITS} commits told to each, the last of them {max(spread) * 1000:.0f} ms after the"
        f" acknowledgement at most, {sorted(spread)[COMMITS // 2] * 1000:.0f} ms in the middle;"
        f" {threads} threads, {grown:.0f} MB more"
    )


@pytest.mark.parametrize("workers", [1, 2], ids=["one process", "two workers"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "^C"])
def test_whoever_waits_is_answered_when_the_service_is_told_to_stop(
    make_service: Any, workers: int, number: signal.Signals
) -> None:
    """At once and not in half a minute, with what is there; the process ends with 0."""
    service = make_service(workers=workers)
    service.start()
    asyncio.run(stop(service, number))
    assert "Traceback" not in service.err.read_text()


async def stop(service: Any, number: signal.Signals) -> None:
    """The test, on an event loop of its own."""
    loop = asyncio.get_running_loop()
    everybody = await followers(service, 50)
    with closing(service.connect()) as connection:
        token_id = await loop.run_in_executor(None, revoke, connection)
        await until(lambda: all(one.told == [token_id] for one in everybody))
    for one in everybody:
        one.stops = True
    if number == signal.SIGINT:
        os.killpg(service.pid, number)
    else:
        os.kill(service.pid, number)
    await until(lambda: all(one.answers == 2 and one.closed for one in everybody))
    assert {status for one in everybody for status in one.statuses} == {200}
    assert all(one.told == [token_id] for one in everybody)
    assert await loop.run_in_executor(None, service._process.wait, PATIENCE) == 0
