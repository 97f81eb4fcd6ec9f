"""Following the feed, request by request: what is asked, what is taken in, and how fresh it makes whoever follows."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import httpx
import pytest

from capsvc.asgi import PrefixVerifier
from capsvc.asgi.follower import KEPT_SECONDS, Follower
from capsvc.client.connection import AsyncConnection
from capsvc.decision.prefix import CONFIRMED_SECONDS, PrefixDecider
from capsvc.errors import Denied
from capsvc.macaroon.build import mint

from .conftest import NOON, PATIENCE
from .test_remote import CREDENTIAL, GRANTED, URL, problem

AT = "2026-11-22T12:00:00Z"
ID = "A" * 22
BRANCH = "B" * 42 + "A"
KID = "0123456789abcdef"
TOKEN = mint(
    b"k" * 32, URL, b"cap1.0123456789abcdef.AAAAAAAAAAAAAAAAAAAAAA.1795348800.1", ["time < 2026-11-22T13:00:00Z"]
)
LAG = 10.0  # seconds
STARTED = 100.0
ATTRIBUTES: Mapping[str, object] = {
    "time": {"type": "instant", "fact": False, "values": None},
    "floor": {"type": "integer", "fact": False, "values": None},
}

Answer = httpx.Response | Exception


def entry(kind: str, **fields: object) -> dict[str, object]:
    """One of the feed's."""
    return {"kind": kind, "audience": "default", "at": AT, **fields}


def page(cursor: str, *entries: object, epoch: str = "e1", more: bool = False) -> httpx.Response:
    """An answer of the feed's."""
    return httpx.Response(200, json={"epoch": epoch, "cursor": cursor, "entries": entries, "more": more})


def attributes(**more: object) -> httpx.Response:
    """What the service publishes of itself."""
    return httpx.Response(200, json={"issuer": URL, "attributes": {**ATTRIBUTES, **more}})


class Played:
    """A service whose feed gives its pages in turn, and then nothing until there is another."""

    def __init__(self, *pages: Answer) -> None:
        self.about: list[Answer] = [attributes()]
        """What it tells of itself: the last one again and again."""
        self.asked: list[str] = []
        """Every request, in their order: its path and query."""
        self.waits: list[Any] = []
        self.questions: list[Any] = []
        self._pages: asyncio.Queue[Answer] = asyncio.Queue()
        for one in pages:
            self._pages.put_nowait(one)

    def tell(self, one: Answer) -> None:
        """Let the feed go on."""
        self._pages.put_nowait(one)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        path = request.url.raw_path.decode()
        self.asked.append(path)
        self.waits.append(request.extensions["timeout"]["read"])
        if path == "/.well-known/capsvc":
            assert "authorization" not in request.headers
            answer = self.about.pop(0) if len(self.about) > 1 else self.about[0]
        elif path.startswith("/v1/revocations"):
            assert request.headers["authorization"] == f"Bearer {CREDENTIAL}"
            answer = await self._pages.get()
        else:
            self.questions.append(json.loads(request.content))
            answer = httpx.Response(200, json={**GRANTED, "kid": KID, "branches": [BRANCH]})
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def feed_asked(self) -> list[str]:
        """The requests of the feed."""
        return [path for path in self.asked if path.startswith("/v1/revocations")]


class Edge:
    """A follower of a service that is played, on a clock that stands still."""

    def __init__(self, played: Played, *, lag: float = LAG, timeout: float = PATIENCE) -> None:
        self.played = played
        self.now = STARTED
        self.decider = PrefixDecider(lambda: NOON, lambda: self.now)
        self.connection = AsyncConnection(URL, CREDENTIAL, timeout=1.0, transport=httpx.MockTransport(played))
        self.follower = Follower(
            self.connection, self.decider, timeout=timeout, max_lag=lag, monotonic=lambda: self.now
        )

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the loop run until something has come about."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - of others' doing
                await asyncio.sleep(0)

    async def heard(self, count: int) -> None:
        """Until so many pages have been taken in, and the next is asked for."""
        await self.until(lambda: len(self.played.feed_asked) > count)

    @property
    def revocations(self) -> Any:
        """What it has taken in."""
        return self.decider.revocations


Script = Callable[[Edge], Coroutine[Any, Any, None]]


def follow(script: Script, *pages: Answer, played: Played | None = None, **options: float) -> Edge:
    """Follow these pages while the script looks on."""
    edges: list[Edge] = []

    async def run() -> None:
        edge = Edge(played or Played(*pages), **options)
        edges.append(edge)
        task = asyncio.create_task(edge.follower.run())
        try:
            await script(edge)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await edge.connection.close()

    asyncio.run(run())
    return edges[0]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long this thread's tasks mean to sleep, which they do not: seconds, one after another."""
    found: list[float] = []
    sleep, thread = asyncio.sleep, threading.get_ident()

    async def paused(seconds: float) -> None:
        if threading.get_ident() != thread:
            await sleep(seconds)
            return
        if seconds:
            found.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", paused)
    return found


def test_what_is_asked() -> None:
    """The attributes, the feed from its oldest entry without a wait, then on from each cursor, waiting a little."""

    async def script(edge: Edge) -> None:
        await edge.heard(2)

    edge = follow(script, page("c1"), page("c2"))
    assert edge.played.asked == [
        "/.well-known/capsvc",
        "/v1/revocations",
        "/v1/revocations?after=c1&wait=4.000000",
        "/v1/revocations?after=c2&wait=4.000000",
    ]
    assert edge.played.waits == [1.0, 1.0, 5.0, 5.0]


def test_how_fresh_it_is() -> None:
    """As fresh as the moment at which it sent what was last answered, until exactly the greatest lag after that."""

    async def script(edge: Edge) -> None:
        await edge.heard(0)
        assert not edge.follower.fresh()
        edge.now += 3.0  # the answer takes its time
        edge.played.tell(page("c1"))
        await edge.until(edge.follower.fresh)
        for moment, fresh in ((9.999, True), (10.0, False), (10.001, False)):
            edge.now = STARTED + moment
            assert edge.follower.fresh() is fresh
        await edge.heard(1)
        edge.played.tell(page("c2"))  # asked for when three seconds had passed
        await edge.until(edge.follower.fresh)
        edge.now = STARTED + 13.0
        assert not edge.follower.fresh()

    follow(script)


def test_part_of_the_news_makes_nobody_fresh() -> None:
    """While there is more, it has not heard all; and the rest is asked for without a wait."""

    async def script(edge: Edge) -> None:
        await edge.heard(2)
        assert not edge.follower.fresh()
        assert edge.revocations.id_revoked(ID)
        edge.played.tell(page("c3"))
        await edge.heard(3)
        assert edge.follower.fresh()

    edge = follow(script, page("c1", entry("id", id=ID), more=True), page("c2", more=True))
    assert edge.played.feed_asked[1:] == [
        "/v1/revocations?after=c1",
        "/v1/revocations?after=c2",
        "/v1/revocations?after=c3&wait=4.000000",
    ]


def test_waiting_until_it_is_fresh() -> None:
    """Whoever waits is woken by the news, or goes when his time is over."""

    async def script(edge: Edge) -> None:
        await edge.heard(0)
        waiting = [asyncio.create_task(edge.follower.fresh_within(PATIENCE)) for _ in range(3)]
        assert not await edge.follower.fresh_within(0)
        short = asyncio.create_task(edge.follower.fresh_within(0.01))
        await asyncio.sleep(0.02)
        edge.now += 0.02
        assert not await short
        assert not any(task.done() for task in waiting)
        edge.played.tell(page("c1"))
        assert await asyncio.gather(*waiting) == [True] * 3
        assert await edge.follower.fresh_within(0)
        edge.now += LAG
        later = asyncio.create_task(edge.follower.fresh_within(PATIENCE))
        await edge.heard(1)
        edge.played.tell(page("c2"))
        await edge.heard(2)
        assert not later.done()  # that was asked for before: as old as it
        edge.played.tell(page("c3"))
        assert await later

    follow(script)


def test_news_that_are_no_longer_fresh() -> None:
    """Whoever is woken looks whether it helped."""

    async def script(edge: Edge) -> None:
        await edge.heard(0)
        waiting = asyncio.create_task(edge.follower.fresh_within(LAG + 1))
        await asyncio.sleep(0)
        edge.now += LAG
        edge.played.tell(page("c1"))
        await edge.heard(1)
        assert not waiting.done()
        edge.now += 1.0
        edge.played.tell(page("c2"))
        assert await waiting

    follow(script)


def test_what_is_taken_in() -> None:
    """Families, branches, subjects and keys that are revoked; what else happens to a key is no matter."""
    entries = [
        entry("id", id=ID),
        entry("branch", id="C" * 21 + "A", branch=BRANCH),
        entry("subject", subject="alice", before=AT),
        entry("key", kid=KID, state="revoked"),
        entry("key", kid="f" * 16, state="active"),
        entry("key", kid="e" * 16, state="retiring"),
        entry("discharger", audience=None, name="login", state="removed"),
        entry("something new"),
        entry("id"),
        entry("branch", id="D" * 21 + "A"),
        entry("branch", branch=BRANCH),
        entry("subject", subject="bob"),
        entry("subject", before=AT),
        entry("key", state="revoked"),
        entry("other", id="E" * 21 + "A", branch=BRANCH, subject="dora", before=AT, kid="d" * 16, state="revoked"),
        entry("subject", audience=None, subject="everywhere", before=AT),
    ]

    async def script(edge: Edge) -> None:
        await edge.heard(1)
        assert edge.revocations.id_revoked(ID)
        assert [len(branch) for branch in edge.revocations.revoked_branches("C" * 21 + "A")] == [32]
        assert edge.revocations.watermark("default", "alice") == NOON
        assert edge.revocations._ids.keys() == {ID}
        assert edge.revocations._branches.keys() == {"C" * 21 + "A"}
        assert edge.revocations._subjects.keys() == {("default", "alice"), ("", "everywhere")}
        assert list(edge.decider.revoked_keys) == [KID]
        assert edge.decider.era == 1  # that of the attributes

    follow(script, page("c1", *entries))


def test_how_long_a_revocation_is_kept() -> None:
    """Until everything that was confirmed before it is gone, and some time more; then it is forgotten."""
    assert KEPT_SECONDS == CONFIRMED_SECONDS + 120
    entries = [
        entry("id", id=ID),
        entry("branch", id=ID, branch=BRANCH),
        entry("subject", subject="alice", before=AT),
        entry("key", kid=KID, state="revoked"),
    ]

    async def script(edge: Edge) -> None:
        await edge.heard(1)
        for passed, kept in ((KEPT_SECONDS, True), (KEPT_SECONDS + 1, False)):
            edge.now = STARTED + passed
            for _ in range(2):  # the first of these was asked for before
                asked = len(edge.played.feed_asked)
                edge.played.tell(page("c"))
                await edge.heard(asked)
            assert edge.revocations.id_revoked(ID) is kept
            assert (edge.revocations.revoked_branches(ID) is not None) is kept
            assert (edge.revocations.watermark("default", "alice") is not None) is kept
            assert (KID in edge.decider.revoked_keys) is kept

    follow(script, page("c1", *entries))


def test_an_audience_that_changes() -> None:
    """What was confirmed with its longest lifetime no longer counts."""

    async def script(edge: Edge) -> None:
        await edge.heard(2)
        assert edge.decider.era == 2
        assert edge.played.asked.count("/.well-known/capsvc") == 1

    follow(script, page("c1"), page("c2", entry("audience", name="default", max_ttl=60)))


def test_an_attribute_that_is_declared() -> None:
    """It is known before whoever follows is fresh again; the built-in ones and empty fields are as they are."""
    plan = {"type": "word", "fact": True, "values": ["free", "team"]}
    played = Played(page("c1"), page("c2", entry("attribute", audience=None, name="plan")))
    played.about = [attributes(), attributes(plan=plan)]

    async def script(edge: Edge) -> None:
        await edge.heard(2)
        vocabulary = edge.decider._parsed.vocabulary
        declared = vocabulary.get("plan")
        assert declared is not None
        assert declared.fact
        assert vocabulary.get("floor") is not None
        assert edge.decider.era == 2

    follow(script, played=played)
    assert played.asked == [
        "/.well-known/capsvc",
        "/v1/revocations",
        "/v1/revocations?after=c1&wait=4.000000",
        "/.well-known/capsvc",
        "/v1/revocations?after=c2&wait=4.000000",
    ]


def test_attributes_that_cannot_be_learnt_in_time() -> None:
    """The page is not taken for read: it is asked for again, and makes nobody fresh before."""
    played = Played(page("c1"), page("c2", entry("attribute", audience=None, name="plan")), page("c2"))
    played.about = [attributes(), problem(503, "unavailable"), attributes(plan={"type": "word"})]

    async def script(edge: Edge) -> None:
        await edge.heard(3)
        assert edge.decider._parsed.vocabulary.get("plan") is not None
        assert edge.decider.era == 2

    follow(script, played=played)
    assert played.asked[3:] == [
        "/.well-known/capsvc",
        "/.well-known/capsvc",
        "/v1/revocations?after=c1&wait=4.000000",
        "/v1/revocations?after=c2&wait=4.000000",
    ]


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"attributes": None},
        {"attributes": []},
        {"attributes": {"floor": None}},
        {"attributes": {"floor": {"type": "colour"}}},
        {"attributes": {"floor": {}}},
        {"attributes": {"floor": {"type": []}}},
        {"attributes": {"Floor": {"type": "integer"}}},
    ],
)
def test_a_service_that_does_not_tell_its_attributes(about: object, caplog: pytest.LogCaptureFixture) -> None:
    """It is not followed: nothing could be decided as it would decide."""
    played = Played(page("c1"))
    played.about = [httpx.Response(200, json=about), attributes()]

    async def script(edge: Edge) -> None:
        await edge.heard(1)
        assert edge.follower.fresh()

    with caplog.at_level(logging.INFO, "capsvc.asgi"):
        follow(script, played=played)
    assert played.asked[:3] == ["/.well-known/capsvc"] * 2 + ["/v1/revocations"]
    assert [record.getMessage() for record in caplog.records if record.name == "capsvc.asgi"] == [
        "the feed of revocations cannot be followed: the service does not tell its attributes",
        "the feed of revocations is followed again",
    ]


@pytest.mark.parametrize("news", [problem(410, "cursor-gone"), page("d1", entry("id", id=ID), epoch="e2")])
def test_another_history(news: httpx.Response) -> None:
    """A cursor that is gone, an epoch that is another: everything is forgotten, and read from the beginning."""

    async def script(edge: Edge) -> None:
        await edge.heard(1)
        assert edge.follower.fresh()
        era = edge.decider.era
        edge.played.tell(news)
        await edge.heard(2)
        assert not edge.follower.fresh()
        assert edge.decider.era == era + 2  # forgotten, then with the attributes as they are now
        assert edge.revocations.id_revoked(ID) is False
        edge.played.tell(page("d1", entry("id", id=ID), epoch="e2"))
        await edge.heard(3)
        assert edge.follower.fresh()
        assert edge.revocations.id_revoked(ID)

    edge = follow(script, page("c1"))
    assert edge.played.asked == [
        "/.well-known/capsvc",
        "/v1/revocations",
        "/v1/revocations?after=c1&wait=4.000000",
        "/.well-known/capsvc",
        "/v1/revocations",
        "/v1/revocations?after=d1&wait=4.000000",
    ]


@pytest.mark.parametrize("lag", [LAG, 60.0])
def test_what_fails_is_tried_again(lag: float, pauses: list[float], caplog: pytest.LogCaptureFixture) -> None:
    """After pauses that grow, up to the greatest lag, and no two alike; said once, and once when it is over."""
    down = httpx.ConnectError("refused")
    # Several failures in a row, then others after it has been well in between.
    fails: list[Answer] = [down, problem(503, "unavailable"), httpx.Response(200, json={}), *[down] * 10]
    played = Played(page("c1"), *fails, page("c2"), down, page("c3"))

    async def script(edge: Edge) -> None:
        await edge.heard(1 + len(fails) + 3)

    with caplog.at_level(logging.INFO, "capsvc.asgi"):
        follow(script, played=played, lag=lag)
    longest = [min(0.02 * 2 ** min(number, 10), lag) for number in range(1, len(fails) + 1)] + [0.04]
    assert len(pauses) == len(longest)
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))
    assert len({pause / most for pause, most in zip(pauses, longest, strict=True)}) > 1
    said = [record.getMessage().partition(":")[0] for record in caplog.records if record.name == "capsvc.asgi"]
    assert said == ["the feed of revocations cannot be followed", "the feed of revocations is followed again"] * 2
    assert not any(CREDENTIAL in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    "garbage",
    [
        page("c2", entry("branch", id=ID, branch="!!!")),
        page("c2", entry("branch", id=ID, branch="é")),
        page("c2", entry("subject", subject="alice", before="yesterday")),
        page("c2", "entry"),
        httpx.Response(200, json={"epoch": "e1", "cursor": "c2", "entries": [], "more": "no"}),
        ZeroDivisionError(),
        RuntimeError("a secret"),
    ],
)
def test_garbage_and_surprises(garbage: Answer, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing ends it: what cannot be read was not heard, and is asked for again from where it was."""

    async def script(edge: Edge) -> None:
        await edge.heard(1)
        edge.now += LAG
        edge.played.tell(garbage)
        await edge.heard(2)
        assert not edge.follower.fresh()
        edge.played.tell(page("c3"))
        await edge.until(edge.follower.fresh)

    with caplog.at_level(logging.INFO, "capsvc.asgi"):
        edge = follow(script, page("c1"))
    assert edge.played.feed_asked[1:3] == ["/v1/revocations?after=c1&wait=4.000000"] * 2
    assert "cannot be followed" in caplog.text
    assert "secret" not in caplog.text
    if isinstance(garbage, Exception):
        assert f"cannot be followed: {type(garbage).__name__}\n" in caplog.text


def test_a_credential_that_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the caveat that is to blame: it can only be that of the verifier's own credential."""
    content = {"status": 403, "code": "caveat-refused", "detail": "A caveat does not hold.", "caveat": "action = read"}
    refused = httpx.Response(403, json=content, headers={"content-type": "application/problem+json"})

    async def script(edge: Edge) -> None:
        await edge.heard(2)

    with caplog.at_level(logging.INFO, "capsvc.asgi"):
        follow(script, refused, refused)
    assert "cannot be followed: A caveat does not hold. (action = read)" in caplog.text


def test_a_feed_that_is_gone_from_its_beginning(pauses: list[float]) -> None:
    """Is a failure like others: it is asked for after a pause."""

    async def script(edge: Edge) -> None:
        await edge.heard(3)

    follow(script, *[problem(410, "cursor-gone")] * 3)
    assert len(pauses) == 3


def test_two_authorities_behind_one_address(pauses: list[float]) -> None:
    """Histories that alternate are asked about after pauses, like whatever fails."""

    async def script(edge: Edge) -> None:
        await edge.heard(6)

    follow(script, *[page(f"c{number}", epoch=f"e{number}") for number in range(6)])
    assert len(pauses) == 3


def test_a_task_that_was_ended_from_outside() -> None:
    """Somebody who cancels all tasks, say: the next question begins to follow again."""

    async def script(verifier: PrefixVerifier, played: Played) -> None:
        assert await code_of(verifier) == ""
        following = verifier._authority.get().following
        assert following is not None
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        played.tell(page("c2"))
        played.tell(page("c3"))
        await asyncio.sleep(0.3)
        assert await code_of(verifier) == ""

    verify(script, Played(page("c1")), revocation_max_lag=0.2)


def test_no_failure_makes_it_fresher() -> None:
    """Nor less fresh than it is."""

    async def script(edge: Edge) -> None:
        await edge.heard(1)
        edge.now += LAG - 1
        edge.played.tell(problem(503, "unavailable"))
        await edge.heard(2)
        assert edge.follower.fresh()
        edge.now += 1
        edge.played.tell(problem(503, "unavailable"))
        await edge.heard(3)
        assert not edge.follower.fresh()

    follow(script, page("c1"))


def test_a_peer_that_drips_or_waits() -> None:
    """Of an answer's own time so much is given; of one that may wait at the authority, that in addition."""

    async def script(edge: Edge) -> None:
        await edge.heard(1)
        await asyncio.sleep(0.3)
        edge.played.tell(page("c2"))
        await edge.heard(2)
        assert edge.played.feed_asked[-1].startswith("/v1/revocations?after=c2")
        async with asyncio.timeout(PATIENCE):
            await edge.heard(3)  # nothing came, and it was given up

    follow(script, page("c1"), lag=1.0, timeout=0.1)


# The verifier that follows.


def verify(
    script: Callable[[PrefixVerifier, Played], Coroutine[Any, Any, None]], played: Played, **options: Any
) -> None:
    """Let a script use a prefix verifier on a service that is played."""

    async def run() -> None:
        verifier = PrefixVerifier(
            URL, CREDENTIAL, clock=lambda: NOON, transport=httpx.MockTransport(played), **{"timeout": 1.0, **options}
        )
        await script(verifier, played)
        await verifier.aclose()

    asyncio.run(run())


async def code_of(verifier: PrefixVerifier, **options: Any) -> str:
    """What it says, "" where it allows."""
    try:
        await verifier.authorize(TOKEN, audience="default", context={}, **options)
    except Denied as no:
        return no.code
    return ""


def test_what_a_prefix_verifier_takes() -> None:
    """A lag over 0; a socket's token is judged four times within it."""
    for lag in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="revocation_max_lag"):
            PrefixVerifier(URL, CREDENTIAL, revocation_max_lag=lag)
    assert PrefixVerifier(URL, CREDENTIAL, revocation_max_lag=8).recheck == 2.0
    assert PrefixVerifier(URL, CREDENTIAL).recheck == 0.25
    assert repr(PrefixVerifier(URL, CREDENTIAL)) == f"<PrefixVerifier {URL}>"


def test_asked_once_and_then_known() -> None:
    """It opens itself, asks about a token with ``prefix``, and then decides by itself; critical asks each time."""

    async def script(verifier: PrefixVerifier, played: Played) -> None:
        assert [await code_of(verifier) for _ in range(3)] == [""] * 3
        assert played.asked.count("/v1/verify") == 1
        assert [await code_of(verifier, critical=True) for _ in range(2)] == [""] * 2
        assert [question["prefix"] for question in played.questions] == [True] * 3

    verify(script, Played(page("c1")))


@pytest.mark.parametrize(("lag", "seconds"), [(0.2, 1.0), (0.5, 1.0), (0.6, 1.2), (60.0, 120.0)])
def test_how_long_it_waits_for_the_feed(lag: float, seconds: float) -> None:
    """A second at least, and twice the lag: whoever is slower is too late."""

    async def script(verifier: PrefixVerifier, played: Played) -> None:
        await verifier.open()
        assert played.waits[:2] == [seconds] * 2

    verify(script, Played(page("c1")), revocation_max_lag=lag)


def test_one_that_has_heard_once_is_not_waited_for_long() -> None:
    """A feed that is late is waited for a quarter of the lag, however long an answer may take."""

    async def script(verifier: PrefixVerifier, played: Played) -> None:
        assert await code_of(verifier) == ""
        await asyncio.sleep(0.25)
        async with asyncio.timeout(PATIENCE / 2):
            assert await code_of(verifier) == "unavailable"
        assert played.asked.count("/v1/verify") == 1

    verify(script, Played(page("c1")), revocation_max_lag=0.2, timeout=PATIENCE)


def test_one_that_was_never_opened() -> None:
    """Critical questions need no feed, and it can be closed."""

    async def script(verifier: PrefixVerifier, played: Played) -> None:
        assert await code_of(verifier, critical=True) == ""
        assert played.asked == ["/v1/verify"]

    verify(script, Played())


def test_not_heard_in_time() -> None:
    """Whatever is kept: unavailable, after a moment; a critical request asks the authority nevertheless."""

    async def script(verifier: PrefixVerifier, played: Played) -> None:
        assert await code_of(verifier) == "unavailable"
        assert "/v1/verify" not in played.asked
        assert await code_of(verifier, critical=True) == ""
        assert played.asked.count("/v1/verify") == 1
        async with asyncio.timeout(PATIENCE):
            while await code_of(verifier):  # each page is as old as its request
                played.tell(page("c1"))

    verify(script, Played(), revocation_max_lag=0.2, timeout=0.1)


def test_closing_it_twice_and_opening_it_again() -> None:
    """As an application does that is started twice."""

    async def script(verifier: PrefixVerifier, played: Played) -> None:
        await verifier.open()
        await verifier.open()
        assert sum(path == "/v1/revocations" for path in played.asked) == 1
        await verifier.aclose()
        await verifier.aclose()
        played.tell(page("c2"))
        assert await code_of(verifier) == ""
        assert await code_of(verifier, critical=True) == ""

    verify(script, Played(page("c1")))
