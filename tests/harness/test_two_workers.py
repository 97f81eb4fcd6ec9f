"""A revocation made through one worker is obeyed by another before the call that made it returns: 1,000 times.

Which worker answers a connection is read from the kernel's own tables; the product has nothing that would tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

TIMES = 1_000
KEYS_EVERY = 50
FORM = {"content-type": "application/x-www-form-urlencoded"}

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")


def inode_of(server_port: int, client_port: int) -> str:
    """The inode of the server's end of a loopback connection."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        local, remote = (int(column.split(":")[1], 16) for column in columns[1:3])
        if (local, remote) == (server_port, client_port):
            return columns[9]
    return ""


def children(pid: int) -> Iterator[int]:
    """A process's own."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(child)


def worker_of(service: Any, connection: Any) -> int:
    """The process that holds the server's end of a connection."""
    wanted = f"socket:[{inode_of(service.port, connection.local_port)}]"
    holders = [
        pid
        for pid in children(service.pid)
        for descriptor in Path(f"/proc/{pid}/fd").iterdir()
        if _target(descriptor) == wanted
    ]
    assert len(holders) == 1, (wanted, holders)
    return holders[0]


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:
        return ""


def pair(service: Any, stack: ExitStack) -> tuple[Any, Any]:
    """Two connections that different workers answer."""
    found: dict[int, Any] = {}
    for _ in range(500):
        connection = stack.enter_context(closing(service.connect()))
        assert connection.ask("GET", "/healthz")[0] == 200
        found.setdefault(worker_of(service, connection), connection)
        if len(found) == 2:
            first, second = found.values()
            return first, second
    raise AssertionError("one worker answers everything")


def revoke(connection: Any, number: int, token: dict[str, Any]) -> None:
    """In each of the ways in turn."""
    ways: list[dict[str, Any]] = [
        {"id": token["id"]},
        {"token": token["token"]},
        {"audience": "default", "subject": token["subject"]},
    ]
    if number % KEYS_EVERY == 0:
        ways = [{"key": kid_of(connection, token)}]
        assert connection.ask("POST", "/v1/audiences/default/keys", b"")[0] == 201
    elif number % 4 == 3:
        status, _ = connection.ask("POST", "/v1/revoke", urlencode({"token": token["token"]}).encode(), FORM)
        assert status == 200
        return
    status, answer = connection.ask("POST", "/v1/revocations", ways[number % len(ways)])
    assert status == 201, answer


def kid_of(connection: Any, token: dict[str, Any]) -> str:
    """The key that minted."""
    return str(verify(connection, token, prefix=True)["kid"])


def verify(connection: Any, token: dict[str, Any], **more: object) -> Any:
    """The decision."""
    status, answer = connection.ask("POST", "/v1/verify", {"token": token["token"], "audience": "default", **more})
    assert status == 200
    return answer


def test_the_other_worker_obeys_at_once(make_service: Callable[..., Any], tell: Callable[[str], None]) -> None:
    """Turn about, by every kind of revocation; that the token was good a moment before is what the other has seen."""
    service = make_service(workers=2)
    service.start()
    denied = {"revoked": 0}
    with ExitStack() as stack:
        workers = pair(service, stack)
        pids = [worker_of(service, connection) for connection in workers]
        assert pids[0] != pids[1]
        for number in range(TIMES):
            here, there = workers[number % 2], workers[1 - number % 2]
            status, token = here.ask("POST", "/v1/tokens", {"audience": "default", "ttl": 600, "subject": f"s{number}"})
            assert status == 201, token
            assert verify(there, token)["allowed"]
            revoke(here, number, token)
            answer = verify(there, token)
            assert not answer["allowed"], number
            denied[answer["code"]] += 1
        assert [worker_of(service, connection) for connection in workers] == pids
    tell(f"two workers ({pids[0]}, {pids[1]}): {TIMES} revocations, denied at once by the other {denied['revoked']}")
    assert denied == {"revoked": TIMES}
    assert re.search(r"Traceback", service.err.read_text()) is None
    assert service.stop() == 0
