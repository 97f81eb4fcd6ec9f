"""GET /v1/revocations: what it tells whom, and how it waits."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import Message

from capsvc.authority import Authority
from capsvc.errors import SENTENCES
from capsvc.http.feed import Feed
from capsvc.http.openapi import DOCUMENT
from capsvc.store.protocol import StoreUnavailable
from capsvc.token import Token
from capsvc.wire import LONGEST_WAIT, feed_page_object

from .conftest import NOON, Answer, Api, Header, Party

AT = "2026-11-22T12:00:00Z"
PATH = "/v1/revocations"
PATIENCE = 60  # seconds: a loaded machine is slow, and no test is about how slow


def page(api: Api, query: str = "", credential: str | None = None) -> Any:
    """A page, which must have been one."""
    answer = api.get(f"{PATH}{query}", credential)
    assert answer.status == 200, answer.body
    return answer.json


def after(api: Api, cursor: str, credential: str | None = None) -> list[Any]:
    """The entries after a cursor."""
    entries: list[Any] = page(api, f"?after={cursor}", credential)["entries"]
    return entries


def now(api: Api) -> str:
    """The cursor behind everything."""
    return str(page(api, "?after=now")["cursor"])


def revoked(api: Api, audience: str = "default") -> str:
    """The id of a family that has just been revoked."""
    minted = api.mint(audience=audience)
    assert api.post(PATH, {"id": minted["id"]}).status == 201
    return str(minted["id"])


# What it tells.


def test_a_page(api: Api) -> None:
    """Four fields in the contract's order; nobody may store it."""
    start = page(api)
    assert list(start) == ["epoch", "cursor", "entries", "more"]
    assert {entry["kind"] for entry in start["entries"]} == {"attribute"}  # what the settings declare
    assert start["more"] is False
    answer = api.get(f"{PATH}?after={start['cursor']}")
    assert answer.json == {"epoch": start["epoch"], "cursor": start["cursor"], "entries": [], "more": False}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


def test_every_kind_of_entry(api: Api) -> None:
    """The common fields, the kind's own, and no other; null stands for an audience that there is none of, alone."""
    cursor = now(api)
    child = str(Token.parse(api.mint()["token"]).attenuate("action = read"))
    branches = api.verify(child, context={"action": "read"}, prefix=True)["branches"]
    token_id, kid = str(Token.parse(child).id), api.get("/v1/audiences/default/keys").json["keys"][0]["kid"]
    party = Party().registered(api)
    for body in ({"token": child}, {"id": token_id}, {"audience": "default", "subject": "alice"}):
        assert api.post(PATH, body).status == 201
    fresh = api.post("/v1/audiences/default/keys").json["kid"]
    assert api.post(PATH, {"key": kid}).status == 201
    assert api.call("PATCH", "/v1/audiences/default", {"max_ttl": 60}).status == 200
    assert api.call("PATCH", f"/v1/dischargers/{party.name}", {"next_public_key": Party().public_key}).status == 200
    assert api.call("DELETE", f"/v1/dischargers/{party.name}").status == 204
    assert api.post("/v1/bakery-keys").status == 201
    entries = after(api, cursor)
    common = {"audience": "default", "at": AT}
    discharger = {"kind": "discharger", "audience": None, "at": AT}
    assert entries == [
        {**discharger, "state": "added", "name": "login"},
        {"kind": "id", **common, "id": token_id},  # which covers the branch
        {"kind": "subject", **common, "subject": "alice", "before": AT},
        {"kind": "key", **common, "kid": kid, "state": "retiring"},
        {"kind": "key", **common, "kid": fresh, "state": "active"},
        {"kind": "key", **common, "kid": kid, "state": "revoked"},
        {"kind": "audience", **common, "name": "default", "max_ttl": 60},
        {**discharger, "state": "changed", "name": "login"},
        {**discharger, "state": "removed", "name": "login"},
    ]
    assert [list(entry)[:3] for entry in entries] == [["kind", "audience", "at"]] * len(entries)
    other = str(Token.parse(api.mint(ttl=60)["token"]).attenuate("action = read"))
    cursor = now(api)
    branch = api.verify(other, context={"action": "read"}, prefix=True)["branches"][-1]
    assert api.post(PATH, {"token": other}).status == 201
    assert after(api, cursor) == [{"kind": "branch", **common, "id": Token.parse(other).id, "branch": branch}]
    assert branches[-1] not in json.dumps(entries)


def test_a_page_is_as_openapi_says(api: Api) -> None:
    """With an entry of every kind on it."""
    Party().registered(api)
    revoked(api)
    api.post(PATH, {"token": str(Token.parse(api.mint()["token"]).attenuate("action = read"))})
    api.post(PATH, {"audience": "default", "subject": "alice"})
    api.post("/v1/audiences", {"name": "photos"})
    whole = page(api)
    kinds = DOCUMENT["components"]["schemas"]["FeedEntry"]["properties"]["kind"]["enum"]
    assert {entry["kind"] for entry in whole["entries"]} == set(kinds)
    validator = importlib.import_module("jsonschema").Draft202012Validator  # it comes without types
    schema = {"$ref": "#/components/schemas/FeedPage", "components": DOCUMENT["components"]}
    assert list(validator(schema).iter_errors(whole)) == []
    assert list(validator(schema).iter_errors({**whole, "cursor": None}))


def test_head(api: Api) -> None:
    """As GET, without the body."""
    revoked(api)
    head, get = api.call("HEAD", PATH), api.call("GET", PATH)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(get.body))


def test_more_than_a_page(api: Api) -> None:
    """A thousand entries, and then what is left."""
    cursor = now(api)
    store, authority = api.authority._store, api.authority

    def many(tx: Any) -> None:
        for _ in range(1001):
            authority._keeping.rotate(tx, "default", NOON, None)

    store.write(many).result()
    first = page(api, f"?after={cursor}")
    assert (len(first["entries"]), first["more"]) == (1000, True)
    second = page(api, f"?after={first['cursor']}&wait=30")
    assert (len(second["entries"]), second["more"]) == (1000, True)  # each retires one and makes one
    third = page(api, f"?after={second['cursor']}")
    assert (len(third["entries"]), third["more"]) == (2, False)
    assert [entry["state"] for entry in third["entries"]] == ["retiring", "active"]


# What is refused.


@pytest.mark.parametrize("wait", ["", "x", "-1", "+1", "1.", ".5", "1e1", "1,5", "0x1", "inf", "nan", "1 ", " 1", "１"])
def test_a_wait_is_decimal(shared: Api, wait: str) -> None:
    """Every other spelling of a number, and what is none, is 400."""
    from urllib.parse import quote

    assert shared.get(f"{PATH}?wait={quote(wait)}").outcome == (400, "bad-request")
    assert shared.get(f"{PATH}?wait=0").status == 200


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [("30", 30.0), ("29.999", 29.999), ("30.001", 30.0), ("31", 30.0), ("007", 7.0), ("9" * 400, 30.0), ("0.25", 0.25)],
)
def test_a_wait_is_cut(shared: Api, monkeypatch: pytest.MonkeyPatch, wait: str, seconds: float) -> None:
    """To thirty seconds, however long it is asked for."""
    waited: list[float] = []

    async def wait_for(cursor: str, _covers: object, seconds: float, _request: object) -> str:
        waited.append(seconds)
        return cursor

    monkeypatch.setattr(service_of(shared).watch, "wait", wait_for)
    assert LONGEST_WAIT == 30
    assert shared.get(f"{PATH}?after=now&wait={wait}").status == 200
    assert waited == [seconds]


@pytest.mark.parametrize("wait", ["", "?wait=0", "?wait=0.0", "?wait=000"])
def test_without_a_wait_nobody_waits(shared: Api, monkeypatch: pytest.MonkeyPatch, wait: str) -> None:
    """None, or none of any length."""
    monkeypatch.setattr(service_of(shared).watch, "wait", None)
    assert shared.get(f"{PATH}{wait or '?'}{'&' if wait else ''}after=now").status == 200


@pytest.mark.parametrize(
    "query", ["limit=1", "after=now&after=now", "wait=1&wait=1", "colour=red", "after", "audience=x"]
)
def test_the_query_is_strict(shared: Api, query: str) -> None:
    """Unknown, repeated and shapeless parameters are 400."""
    assert shared.get(f"{PATH}?{query}").outcome == (400, "bad-request")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: "",
        lambda _: "nonsense",
        lambda _: "NOW",
        lambda _: "tokens.1",
        lambda _: "%00",
        lambda _: "%F0%9F%8D%AA",
        lambda cursor: cursor + "0",
        lambda cursor: "0" * 16 + cursor[16:],
        lambda cursor: cursor + "%20",
    ],
)
def test_what_is_no_cursor_is_gone(shared: Api, spoil: Callable[[str], str]) -> None:
    """410, with a code of its own, whether or not one would wait."""
    cursor = now(shared)
    assert shared.get(f"{PATH}?after={cursor}").status == 200
    for wait in ("", "&wait=30"):
        answer = shared.get(f"{PATH}?after={spoil(cursor)}{wait}")
        assert answer.outcome == (410, "cursor-gone")
        assert answer.json["detail"] == SENTENCES["cursor-gone"]
        assert answer.json["title"] == "Gone"
        assert answer.headers["cache-control"] == "no-store"
        assert "retry-after" not in answer.headers


def test_another_epoch(api: Api) -> None:
    """Every cursor of before is gone; a page of the new one says which it is."""
    before = page(api, "?after=now")
    api.authority._store.write(lambda tx: tx.set_meta("epoch", "another")).result()
    assert api.get(f"{PATH}?after={before['cursor']}").outcome == (410, "cursor-gone")
    assert page(api)["epoch"] == "another" != before["epoch"]


@pytest.mark.parametrize(
    ("query", "headers", "outcome"),
    [
        ("?after=x&wait=x", [("content-length", "65537"), ("authorization", "Bearer x")], (413, "too-large")),
        ("?after=x&wait=x", [], (401, "credential-missing")),
        ("?after=x&wait=x", [("authorization", "Basic x")], (401, "credential-missing")),
        ("?after=x&wait=x", [("authorization", "Bearer x")], (400, "bad-request")),
        ("?after=x&colour=red", [("authorization", "Bearer x")], (400, "bad-request")),
        ("?after=x", [("authorization", "Bearer x"), ("authorization", "Bearer x")], (400, "bad-request")),
        ("?after=x", [("authorization", "Bearer x")], (401, "malformed")),
    ],
)
def test_what_comes_before_what(shared: Api, query: str, headers: list[Header], outcome: tuple[int, str]) -> None:
    """The body, the credential's absence, the form, the credential, and only then the cursor."""
    assert shared.send("GET", f"{PATH}{query}", headers).outcome == outcome
    assert shared.get(f"{PATH}?after=x").outcome == (410, "cursor-gone")


# Who is told what.


@pytest.mark.parametrize(
    ("caveats", "audiences"),
    [
        ([], {"default", "photos", "capsvc", None}),
        (["action in revocations:read,tokens:mint"], {"default", "photos", "capsvc", None}),
        (["for.audience = photos"], {"photos", None}),
        (["for.audience in default,photos"], {"default", "photos", None}),
        (["for.audience in default,photos", "for.audience = default"], {"default", None}),
        (["for.audience = nothing"], {None}),
        (["for.sub = alice"], {None}),  # the feed has a value for the audience alone
        (["for.ttl < 600"], {None}),
        (["for.audience = photos", "for.tenant = acme"], {None}),
    ],
)
def test_entries_of_audiences_that_the_credential_covers(
    api: Api, caveats: list[str], audiences: set[str | None]
) -> None:
    """And those without one, of which there always are."""
    api.post("/v1/audiences", {"name": "photos"})
    api.post("/v1/audiences/capsvc/keys")
    for audience in ("default", "photos", "default"):
        revoked(api, audience)
    whole = page(api)["entries"]
    credential = api.narrowed(*caveats) if caveats else api.admin
    told = page(api, "", credential)
    assert told["entries"] == [entry for entry in whole if entry["audience"] in audiences]
    assert {entry["audience"] for entry in told["entries"]} == audiences


@pytest.mark.parametrize(
    ("caveat", "outcome"),
    [
        ("action = tokens:read", (403, "caveat-refused")),
        ("method = POST", (403, "caveat-refused")),
        ("path = /v1/tokens", (403, "caveat-refused")),
        ("floor = 1", (403, "context-missing")),
        ("time < 2026-11-22T12:00:00Z", (401, "expired")),
    ],
)
def test_a_credential_that_is_not_good_for_it(shared: Api, caveat: str, outcome: tuple[int, str]) -> None:
    """Refused at once, whatever the wait."""
    assert shared.get(f"{PATH}?after=now&wait=30", shared.narrowed(caveat)).outcome == outcome
    narrowed = shared.narrowed("action = revocations:read", "method = GET", f"path = {PATH}")
    assert shared.get(PATH, narrowed).status == 200


# Waiting.


def service_of(api: Api) -> Any:
    """What the application's handlers share."""
    return next(route.app for route in api.app.routes if route.path == PATH).handlers["GET"].__self__._service


class Poll:
    """A request that is under way, and can hang up."""

    def __init__(self, api: Api, query: str, credential: str | None = None) -> None:
        self._sent: list[Message] = []
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        scope = {
            "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "root_path": "",
            "path": PATH, "raw_path": PATH.encode(), "query_string": query.encode(),
            "headers": [(b"authorization", f"Bearer {credential or api.admin}".encode())],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8700),
        }  # fmt: skip
        self.task = asyncio.get_running_loop().create_task(api.app(scope, self._messages.get, self._send))

    async def _send(self, message: Message) -> None:
        self._sent.append(message)

    def hang_up(self) -> None:
        """Go away."""
        self._messages.put_nowait({"type": "http.disconnect"})

    async def answer(self) -> Answer:
        """The response."""
        await asyncio.wait_for(self.task, PATIENCE)
        start, *rest = self._sent
        return Answer(start["status"], start["headers"], b"".join(part.get("body", b"") for part in rest))

    async def json(self) -> Any:
        """The response's page, which must have been one."""
        answer = await self.answer()
        assert answer.status == 200, answer.body
        return answer.json

    @property
    def unanswered(self) -> bool:
        """Whether nothing came back."""
        return not self._sent


Act = Callable[..., Coroutine[Any, Any, Any]]


class Waiting:
    """An application whose event loop a test runs on."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.watch = service_of(api).watch
        self.cursor = now(api)

    def poll(self, wait: float = 30, credential: str | None = None, cursor: str | None = None) -> Poll:
        """Begin to wait after a cursor, by default the one behind what was there at first."""
        return Poll(self.api, f"after={cursor or self.cursor}&wait={wait}", credential)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let the loop run until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not holds():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.005)

    async def waiting(self, count: int) -> None:
        """Until so many wait."""
        await self.until(lambda: self.count == count)

    @property
    def count(self) -> int:
        """How many wait."""
        return sum(map(len, self.watch._groups.values()))

    def places(self) -> set[str]:
        """The cursors at which they do."""
        return set(self.watch._groups)

    async def at_rest(self) -> None:
        """Until nothing of anybody is left."""
        await self.until(lambda: self.watch._looking is None or self.watch._looking.done())
        assert self.watch._groups == {}
        loop: Any = asyncio.get_running_loop()
        assert [timer for timer in loop._scheduled if not timer.cancelled() and timer.when() > loop.time() + 5] == []
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await self.until(lambda: all(task.done() for task in others))


@pytest.fixture
def run(api: Api) -> Callable[[Callable[[Waiting], Coroutine[Any, Any, None]]], None]:
    """Run a test on the application's event loop; nothing is left behind in the end."""

    def run_it(test: Callable[[Waiting], Coroutine[Any, Any, None]]) -> None:
        waiting = Waiting(api)

        async def whole() -> None:
            await test(waiting)
            await waiting.at_rest()

        api._runner.run(whole())

    return run_it


Run = Callable[[Callable[[Waiting], Coroutine[Any, Any, None]]], None]


def mint_and_revoke(authority: Authority, audience: str = "default") -> str:
    """The id of a family that has just been revoked, without HTTP."""
    token_id = authority.mint(audience=audience, ttl=600).id
    authority.revoke(id=token_id)
    return token_id


def test_a_commit_ends_the_wait(run: Run) -> None:
    """Of this process or another; the next page goes on after it."""

    async def test(here: Waiting) -> None:
        with Authority.open(here.api.settings, clock=here.api.clock) as other:
            cursor = here.cursor
            for authority in (here.api.authority, other):
                poll = here.poll(cursor=cursor)
                await here.waiting(1)
                token_id = mint_and_revoke(authority)
                told = await poll.json()
                assert [entry["id"] for entry in told["entries"]] == [token_id]
                assert told["more"] is False
                cursor = told["cursor"]

    run(test)


def test_what_is_there_is_not_waited_for(run: Run) -> None:
    """Nor is what follows a page without entries that the credential covers, where there is more."""

    async def test(here: Waiting) -> None:
        token_id = mint_and_revoke(here.api.authority)
        told = await here.poll().json()
        assert [entry["id"] for entry in told["entries"]] == [token_id]
        here.api.authority._store.write(
            lambda tx: [here.api.authority._keeping.rotate(tx, "default", NOON, None) for _ in range(501)]
        ).result()
        told = await here.poll(credential=here.api.narrowed("for.audience = photos")).json()
        assert (told["entries"], told["more"]) == ([], True)

    run(test)


def test_a_wait_that_nothing_ends_runs_out(run: Run) -> None:
    """With an empty page, and the cursor that was given."""

    async def test(here: Waiting) -> None:
        told = await here.poll(wait=0.02).json()
        assert (told["entries"], told["more"], told["cursor"]) == ([], False, here.cursor)

    run(test)


def test_what_is_not_told_ends_no_wait(run: Run) -> None:
    """A mint, a key pair of the installation's own, an audience that is not covered; what is told does."""

    async def test(here: Waiting) -> None:
        authority = here.api.authority
        bounded = here.poll(credential=here.api.narrowed("for.audience = photos"))
        whole = here.poll()
        await here.waiting(2)
        authority.mint(audience="default", ttl=600)
        authority.rotate_bakery_key()
        await here.until(lambda: here.cursor not in here.places())
        assert here.count == 2
        first = mint_and_revoke(authority)
        assert [entry["id"] for entry in (await whole.json())["entries"]] == [first]
        await here.until(lambda: here.count == 1 and here.places() == {authority.feed(after="now").cursor})
        assert bounded.unanswered
        authority.add_audience("photos")
        second = mint_and_revoke(authority, "photos")
        told = await bounded.json()
        assert {entry["audience"] for entry in told["entries"]} == {"photos"}
        assert [entry["kind"] for entry in told["entries"]] == ["audience", "key", "id"]
        assert told["entries"][-1]["id"] == second
        bounded = here.poll(credential=here.api.narrowed("for.audience = photos"), cursor=told["cursor"])
        await here.waiting(1)
        mint_and_revoke(authority)
        party = Party()
        authority.add_discharger(name=party.name, location=party.location, public_key=party.public_key)
        assert [entry["kind"] for entry in (await bounded.json())["entries"]] == ["discharger"]

    run(test)


def test_a_bounded_wait_that_runs_out_has_come_further(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cursor passes what was not told, so that a sweep of that does not make it gone, and nobody reads it again."""

    async def test(here: Waiting) -> None:
        poll = here.poll(wait=1, credential=here.api.narrowed("for.audience = photos"))
        await here.waiting(1)
        authority = here.api.authority
        for _ in range(2):
            mint_and_revoke(authority)
            await here.until(lambda: here.places() == {authority.feed(after="now").cursor})
        monkeypatch.setattr(authority._store, "log", None)
        told = await poll.json()
        monkeypatch.undo()
        assert (told["entries"], told["more"]) == ([], False)
        assert told["cursor"] == authority.feed(after="now").cursor != here.cursor

    run(test)


def test_more_than_a_page_comes_while_somebody_waits(run: Run) -> None:
    """He is told of the first thousand; who is shown none of them is not woken, and comes to what is behind them."""

    async def test(here: Waiting) -> None:
        authority = here.api.authority
        polls = here.poll(), here.poll(credential=here.api.narrowed("for.audience = photos"))
        await here.waiting(2)

        def many(tx: Any) -> None:
            for _ in range(501):
                authority._keeping.rotate(tx, "default", NOON, None)

        authority._store.write(many).result()
        told = await polls[0].json()
        assert (len(told["entries"]), told["more"]) == (1000, True)
        await here.until(lambda: here.places() == {authority.feed(after="now").cursor})
        assert polls[1].unanswered
        authority.add_audience("photos")
        assert [entry["audience"] for entry in (await polls[1].json())["entries"]] == ["photos"] * 2

    run(test)


def test_all_who_wait_are_told_from_one_page(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand of them: one look, one reading, one writing, no thread each, and nothing is left of them."""

    async def test(here: Waiting) -> None:
        store = here.api.authority._store
        read, reads = store.log, list[int]()

        def counted(after: int, limit: int) -> Any:
            reads.append(after)
            return read(after, limit)

        written: list[object] = []

        def wrote(page: Any) -> dict[str, Any]:
            written.append(page)
            return feed_page_object(page)

        monkeypatch.setattr(store, "log", counted)
        monkeypatch.setattr("capsvc.http.feed.feed_page_object", wrote)
        polls = [here.poll() for _ in range(1000)]
        await here.waiting(1000)
        looking = [task for task in asyncio.all_tasks() if "_look_on" in repr(task.get_coro())]
        assert len(looking) == 1
        threads = threading.active_count()
        assert threads < 60
        reads.clear()
        token_id = mint_and_revoke(here.api.authority)
        bodies = {(await poll.answer()).body for poll in polls}
        assert [entry["id"] for entry in json.loads(bodies.pop())["entries"]] == [token_id]
        assert bodies == set()
        assert len(reads) <= 2  # the wait's page, and the one at the end
        assert len(written) == 1
        assert threading.active_count() <= threads

    run(test)


@pytest.mark.parametrize("end", ["expires", "revoked", "family", "key", "narrow"])
def test_the_credential_is_judged_again_when_the_wait_ends(run: Run, end: str) -> None:
    """What became of it meanwhile counts, whatever there is to tell; one that is good still is told of it."""

    async def test(here: Waiting) -> None:
        api = here.api
        end_of_it = "12:00:59" if end == "expires" else "13:00:00"
        credential = api.narrowed("action = revocations:read", f"time < 2026-11-22T{end_of_it}Z")
        poll, control = here.poll(credential=credential), here.poll(credential=api.narrowed("for.audience = default"))
        await here.waiting(2)
        if end == "expires":
            api.clock.now += 59
        elif end == "revoked":
            api.authority.revoke(token=credential)
        elif end == "narrow":
            api.authority.revoke(token=str(Token.parse(credential).attenuate("method = GET")))
        elif end == "family":
            control.hang_up()
            api.authority.revoke(id=str(Token.parse(credential).id))
        else:
            control.hang_up()
            api.authority.revoke(key=api.authority.keys("capsvc")[0].kid)
        token_id = mint_and_revoke(api.authority)
        answer = await poll.answer()
        if end == "narrow":
            assert answer.status == 200
        else:
            assert answer.outcome == (401, "expired" if end == "expires" else "revoked")
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        if end in {"expires", "revoked", "narrow"}:
            assert (await control.json())["entries"][-1]["id"] == token_id

    run(test)


def test_who_hangs_up_leaves_nothing_behind(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, not when the wait would end; the others go on waiting. The log has a line of it."""

    async def test(here: Waiting) -> None:
        log = io.StringIO()
        monkeypatch.setattr(here.api.app.log, "_stream", log)
        leaving, staying = [here.poll() for _ in range(3)], here.poll()
        await here.waiting(4)
        for poll in leaving:
            poll.hang_up()
        await here.waiting(1)
        for poll in leaving:
            await asyncio.wait_for(poll.task, PATIENCE)
            assert poll.unanswered
        token_id = mint_and_revoke(here.api.authority)
        assert [entry["id"] for entry in (await staying.json())["entries"]] == [token_id]
        here.api.logged()
        assert log.getvalue().count(f" GET {PATH} 499 ") == 3

    run(test)


def test_a_request_that_is_cancelled_leaves_nothing_behind(run: Run) -> None:
    """As a server does that will not wait any longer."""

    async def test(here: Waiting) -> None:
        poll = here.poll()
        await here.waiting(1)
        poll.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll.task
        assert here.count == 0

    run(test)


def test_a_service_that_ends_answers_those_who_wait(run: Run) -> None:
    """With what is there; whoever comes then does not wait, until it begins anew."""

    async def test(here: Waiting) -> None:
        polls = [here.poll() for _ in range(5)]
        await here.waiting(5)
        for _ in range(2):  # whoever hears the signal twice says so twice
            here.api.app.state.watch.stop()
        for poll in [*polls, here.poll()]:
            assert (await poll.json())["entries"] == []
        here.watch.start()
        poll = here.poll()
        await here.waiting(1)
        mint_and_revoke(here.api.authority)
        assert (await poll.json())["entries"]

    run(test)


def test_a_service_that_begins_anew_lets_callers_wait(api: Api) -> None:
    """The application outlives the server that stopped it."""
    here = Waiting(api)

    async def whole() -> None:
        for _ in range(2):
            async with lifespan(api):
                poll = here.poll()
                await here.waiting(1)
                mint_and_revoke(api.authority)
                told = await poll.json()
                assert told["entries"]
                here.cursor = told["cursor"]
                api.app.state.watch.stop()
                assert (await here.poll().json())["entries"] == []
                await here.at_rest()

    api._runner.run(whole())


def test_waits_on_one_loop_after_another(api: Api) -> None:
    """What was left on a loop that stands still keeps nobody on another from being told; it goes on when that does."""
    here = Waiting(api)
    left: list[Poll] = []

    async def leave() -> None:
        left.append(here.poll())
        await here.waiting(1)

    async def others() -> None:
        poll = here.poll()
        await here.waiting(2)
        mint_and_revoke(api.authority)
        assert (await poll.json())["entries"]

    async def go_on() -> None:
        assert (await left[0].json())["entries"]
        await here.at_rest()

    api._runner.run(leave())
    with asyncio.Runner() as runner:
        runner.run(others())
    api._runner.run(go_on())


@asynccontextmanager
async def lifespan(api: Api) -> AsyncIterator[None]:
    """The application's."""
    async with api.app.router.lifespan_context(api.app):
        yield


def test_storage_that_fails_while_somebody_waits(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 for each of them, and the next one waits again once it is well."""

    async def test(here: Waiting) -> None:
        polls = [here.poll() for _ in range(3)]
        await here.waiting(3)

        def fails() -> int:
            raise StoreUnavailable

        with monkeypatch.context() as patch:
            patch.setattr(here.api.authority._store, "generation", fails)
            for poll in polls:
                answer = await poll.answer()
                assert answer.outcome == (503, "unavailable")
                assert int(answer.headers["retry-after"]) >= 1
        poll = here.poll()
        await here.waiting(1)
        mint_and_revoke(here.api.authority)
        assert (await poll.json())["entries"]

    run(test)


def test_a_fault_of_ours_keeps_nobody_waiting(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 for each, and not silence."""

    async def test(here: Waiting) -> None:
        polls = [here.poll() for _ in range(3)]
        await here.waiting(3)
        monkeypatch.setattr(here.api.authority, "feed", None)
        assert [(await poll.answer()).outcome for poll in polls] == [(500, "internal-error")] * 3

    run(test)


def test_a_cursor_that_goes_while_one_waits(run: Run) -> None:
    """410 then and there."""

    async def test(here: Waiting) -> None:
        poll = here.poll()
        await here.waiting(1)
        here.api.authority._store.write(lambda tx: tx.set_meta("epoch", "another")).result()
        assert (await poll.answer()).outcome == (410, "cursor-gone")

    run(test)


def test_a_wait_from_now_and_from_the_beginning(api: Api, run: Run) -> None:
    """Both wait where nothing is kept; neither misses what comes."""
    api.clock.now += 8 * 86_400
    assert api.authority.sweep() > 0
    assert page(api)["entries"] == []

    async def test(here: Waiting) -> None:
        polls = [Poll(here.api, query) for query in ("wait=30", "after=now&wait=30")]
        await here.waiting(2)
        token_id = mint_and_revoke(here.api.authority)
        for poll in polls:
            assert [entry["id"] for entry in (await poll.json())["entries"]] == [token_id]

    run(test)


def test_remembered_pages_and_cursors_are_few(api: Api) -> None:
    """Whatever callers ask for."""
    handler: Feed = next(route.app for route in api.app.routes if route.path == PATH).handlers["GET"].__self__
    cursor = now(api)
    for _ in range(20):
        revoked(api)
        assert after(api, cursor)
        assert after(api, now(api)) == []
    assert len(handler._rendered._known) <= handler._rendered.CAPACITY
    handler._ends.update(f"x{number}" for number in range(2000))
    revoked(api)
    now(api)
    assert len(handler._ends) < 10


def test_an_old_cursor_is_read_in_a_thread(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand entries take milliseconds; what lies behind the end is read at once, where the loop runs."""
    handler: Feed = next(route.app for route in api.app.routes if route.path == PATH).handlers["GET"].__self__
    here: list[tuple[str, bool]] = []
    read = api.authority.feed

    def seen(**fields: Any) -> Any:
        here.append(("read", threading.current_thread() is threading.main_thread()))
        return read(**fields)

    def wrote(page: Any) -> dict[str, Any]:
        here.append(("write", threading.current_thread() is threading.main_thread()))
        return feed_page_object(page)

    cursor = now(api)
    revoked(api)
    handler._ends.clear()
    monkeypatch.setattr(api.authority, "feed", seen)
    monkeypatch.setattr("capsvc.http.feed.feed_page_object", wrote)
    assert after(api, cursor)
    assert here == [("read", False), ("write", False)]
    assert after(api, page(api, "?after=now")["cursor"]) == []
    assert here[-1] == ("read", True)
