"""The feed while two workers write and are killed with -9: nothing acknowledged is missing, twice or out of order.

Writers revoke through both workers; followers read along, each on a connection to whichever worker took it, some for
all, some for one audience. The whole process group is killed at a random moment and started again; the followers go on
from the cursors that they have. What was asked for and not acknowledged may have happened or not.
"""

from __future__ import annotations

import http.client
import itertools
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from capsvc.token import Token

ROUNDS = 20
WRITERS = 4
PATIENCE = 60  # seconds: a loaded machine is slow, and no test is about how slow
AUDIENCES = ("default", "photos")

Entry = tuple[str, str, str]
"""What an entry is known by: its kind, its id, its branch or nothing."""


class Stage:
    """The service, and whether it is up: followers and writers wait for that."""

    def __init__(self, service: Any) -> None:
        self.service = service
        self.up = threading.Event()
        self.over = threading.Event()

    def connect(self) -> Any:
        """A connection to the service that is up, or None when it is over."""
        while not self.over.is_set():
            if self.up.wait(0.05):
                try:
                    return self.service.connect()
                except OSError:  # killed, and nobody has said so yet
                    time.sleep(0.01)
        return None


class Person(threading.Thread):
    """Does one thing again and again, over every kill."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.fault: BaseException | None = None

    def run(self) -> None:
        """Until it is over."""
        try:
            while (connection := self.stage.connect()) is not None:
                with closing(connection):
                    self._use(connection)
        except BaseException as fault:  # noqa: BLE001 - the test raises it
            self.fault = fault
            self.stage.over.set()

    def _use(self, connection: Any) -> None:
        try:
            while not self.stage.over.is_set():
                self.act(connection)
        except (OSError, http.client.HTTPException):
            pass  # killed

    def act(self, connection: Any) -> None:
        """The thing."""
        raise NotImplementedError


class Writer(Person):
    """Revokes families and branches, in both audiences; knows what was acknowledged, in order."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.acknowledged: list[tuple[str, Entry]] = []
        self._turns = itertools.cycle(itertools.product(AUDIENCES, ("id", "branch")))

    def act(self, connection: Any) -> None:
        """Mint, and revoke what was minted."""
        audience, kind = next(self._turns)
        status, minted = connection.ask("POST", "/v1/tokens", {"audience": audience, "ttl": 86_400})
        assert status == 201, minted
        body, branch = {"id": minted["id"]}, ""
        if kind == "branch":
            child = str(Token.parse(minted["token"]).attenuate("action = read"))
            asked = {"token": child, "audience": audience, "context": {"action": "read"}, "prefix": True}
            status, grant = connection.ask("POST", "/v1/verify", asked)
            assert status == 200, grant
            body, branch = {"token": child}, grant["branches"][-1]
        status, answer = connection.ask("POST", "/v1/revocations", body)
        assert status in {200, 201}, answer
        self.acknowledged.append((audience, (kind, minted["id"], branch)))


class Follower(Person):
    """Reads along from its cursor."""

    def __init__(self, stage: Stage, credential: str, *, wait: str) -> None:
        super().__init__(stage)
        self.told: list[Entry] = []
        self.answers = 0
        self.cursor = "now"
        self._wait = wait
        self._headers = {"authorization": f"Bearer {credential}"}

    def act(self, connection: Any) -> None:
        """Take one page, or nothing of it."""
        path = f"/v1/revocations?after={self.cursor}&wait={self._wait}"
        status, page = connection.ask("GET", path, None, self._headers)
        assert status == 200, page
        self.told += [known_by(entry) for entry in page["entries"]]
        self.cursor = page["cursor"]
        self.answers += 1


def known_by(entry: dict[str, Any]) -> Entry:
    """What an entry is known by."""
    return entry["kind"], entry.get("id", ""), entry.get("branch", "")


def whole_log(service: Any, credential: str | None = None) -> list[dict[str, Any]]:
    """Every entry, from the oldest kept."""
    entries: list[dict[str, Any]] = []
    after, more = "", True
    headers = {"authorization": f"Bearer {credential or service.admin}"}
    with closing(service.connect()) as connection:
        while more:
            status, page = connection.ask("GET", f"/v1/revocations{after}", None, headers)
            assert status == 200, page
            entries += page["entries"]
            after, more = f"?after={page['cursor']}", page["more"]
    return entries


@pytest.mark.timeout(600)
def test_two_workers_write_and_are_killed(make_service: Any, tell: Callable[[str], None]) -> None:
    """All who followed were told the same as who reads it all at the end; each writer's acts come in his order."""
    service, chance = make_service(workers=2), random.Random(2026)  # noqa: S311 - when to kill, not which secrets
    service.start()
    with closing(service.connect()) as connection:
        assert connection.ask("POST", "/v1/audiences", {"name": "photos"})[0] == 201
    photos = str(Token.parse(service.admin).attenuate("for.audience = photos", "action = revocations:read"))
    stage = Stage(service)
    everything = [Follower(stage, service.admin, wait=wait) for wait in ("0", "0.02", "0.4", "30")]
    bounded = [Follower(stage, photos, wait=wait) for wait in ("0.05", "30")]
    begin_at_the_end(service, everything + bounded)
    writers = [Writer(stage) for _ in range(WRITERS)]
    people: list[Any] = [*everything, *bounded, *writers]
    for person in people:
        person.start()
    for _ in range(ROUNDS):
        stage.up.set()
        time.sleep(chance.uniform(0.05, 0.4))
        stage.up.clear()
        service.kill()
        service.start()
    stage.up.set()
    time.sleep(0.2)
    stop_writing(stage, writers)
    entries = whole_log(service)
    told = [known_by(entry) for entry in entries if entry["kind"] in {"id", "branch"}]
    of_photos = [known_by(entry) for entry in entries if entry["audience"] == "photos" and entry.get("id")]
    catch_up(everything, told)
    catch_up(bounded, of_photos)
    stage.over.set()
    service.kill()
    for person in people:
        person.join(PATIENCE)
        assert not person.is_alive()
        if person.fault is not None:
            raise person.fault
    assert len(told) == len(set(told))
    for writer in writers:
        acts = [entry for _, entry in writer.acknowledged]
        mine = set(acts)
        assert [entry for entry in told if entry in mine] == acts
    acknowledged = sum(len(writer.acknowledged) for writer in writers)
    assert acknowledged >= ROUNDS
    assert "Traceback" not in service.err.read_text()
    tell(
        f"feed under kill -9: {ROUNDS} rounds, {acknowledged} revocations acknowledged, {len(told)} told to each of"
        f" {len(everything)} followers, {len(of_photos)} to each of {len(bounded)} of one audience, in"
        f" {sum(follower.answers for follower in everything + bounded)} answers"
    )


def begin_at_the_end(service: Any, followers: list[Follower]) -> None:
    """Let each follow from now on, whenever he begins."""
    with closing(service.connect()) as connection:
        status, page = connection.ask("GET", "/v1/revocations?after=now")
    assert status == 200
    for follower in followers:
        follower.cursor = page["cursor"]


def stop_writing(stage: Stage, writers: list[Writer]) -> None:
    """Let the writers end, and nobody else."""
    for writer in writers:
        writer.stage = Stage(stage.service)
        writer.stage.over.set()
    for writer in writers:
        writer.join(PATIENCE)
        assert not writer.is_alive()


def catch_up(followers: list[Follower], told: list[Entry]) -> None:
    """Wait until each was told all of it, and see that it is that and nothing else, in that order."""
    deadline = time.monotonic() + PATIENCE
    for follower in followers:
        while len(follower.told) < len(told) and follower.fault is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert follower.fault is None, follower.fault
        assert follower.told == told
