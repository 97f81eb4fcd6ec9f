"""Whoever is asked, the decision is the same: the authority in the process, the one behind HTTP, the edge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsvc import Settings, Token, create_app
from capsvc.asgi import EmbeddedVerifier, PrefixVerifier, RemoteVerifier, Verifier
from capsvc.decision.branches import branch_of
from capsvc.errors import Denied
from capsvc.macaroon.decode import decode

from .conftest import ATTRIBUTES, NOON, Clock

CAVEATS = [
    "action = read",
    "action in read,write",
    "floor = 1",
    "floor >= 2",
    "path under /a",
    "ip in 10.0.0.0/8",
    "clock >= 12:01",
    "weekday = sun",
    "audience = default",
    "audience = other",
    "sub = ada",
    "tenant = acme",
    "time < 2026-11-22T12:10:00Z",
    "time-before 2026-11-22T12:00:30.25Z",
    "time >= 2026-11-22T12:00:30Z",
    "colour = red",
]
CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(["read", "write", "delete"]),
        "floor": st.sampled_from([0, 1, 2]),
        "path": st.sampled_from(["/a", "/a/b", "/b", "/a/../b"]),
        "ip": st.sampled_from(["10.1.2.3", "192.0.2.1"]),
    },
)


class Three:
    """One authority, and the three ways to ask it, on one clock and in one event loop."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.numbers = count()
        app = create_app(Settings(data_dir=directory / "data", attributes=ATTRIBUTES), clock=self.clock)
        self.authority = app.state.authority
        self._runner = asyncio.Runner()
        # With a lag that no machine exceeds: here the clock of the world does not matter.
        asked = {"transport": httpx.ASGITransport(app), "clock": self.clock}
        credential = self.authority.admin_token()
        self.edge = self._run(self._made(PrefixVerifier, credential, revocation_max_lag=60, **asked))
        self.verifiers: Mapping[str, Verifier] = {
            "embedded": EmbeddedVerifier(self.authority),
            "remote": self._run(self._made(RemoteVerifier, credential, **asked)),
            "prefix": self.edge,
        }

    def _run(self, work: Any) -> Any:
        return self._runner.run(work)

    async def _made(self, kind: Any, credential: str, **options: Any) -> Any:
        return kind("https://authority.example", credential, **options)

    def close(self) -> None:
        """End them all."""
        self._run(self.edge.aclose())
        self._runner.close()
        self.authority.close()

    def outcomes(self, token: str, context: Mapping[str, object]) -> dict[str, str]:
        """What each says: ``allowed`` and of what it told, or the denial's code."""
        return {name: self._run(_outcome(one, token, context)) for name, one in self.verifiers.items()}

    def heard(self, token_id: str) -> None:
        """Return when the edge has heard of whatever was revoked last."""
        self._run(self._heard(token_id))

    async def _heard(self, token_id: str) -> None:
        for _ in range(30_000):
            if token_id in self.edge._decider.revocations._ids:
                return
            await asyncio.sleep(0.002)
        raise AssertionError("the edge has not heard")


async def _outcome(verifier: Verifier, token: str, context: Mapping[str, object]) -> str:
    try:
        grant = await verifier.authorize(token, audience="default", context=context)
    except Denied as denied:
        return denied.code
    return f"allowed {grant.id} {grant.subject} {grant.expires_at} {dict(grant.facts)} {grant.caveats}"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    """All three."""
    made = Three(tmp_path_factory.mktemp("three"))
    yield made
    made.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_same_decision_and_the_same_code(three: Three, data: st.DataObject) -> None:
    """For generated tokens, what is made of them, requests, times and revocations; asked twice, in turn."""
    way = data.draw(st.sampled_from(["nothing", "id", "branch", "subject"]))
    # A subject that was revoked gets no token in the same second, and this clock stands still.
    subject = f"s{next(three.numbers)}" if way == "subject" else data.draw(st.sampled_from([None, "ada", "bo"]))
    facts = data.draw(st.sampled_from([{}, {"tenant": "acme"}]))
    minted = three.authority.mint(audience="default", ttl=3600, subject=subject, facts=facts, caveats=["floor in 1,2"])
    token = minted.token
    family = [token]
    for caveat in data.draw(st.lists(st.sampled_from(CAVEATS), max_size=3)):
        family.append(str(Token.parse(family[-1]).attenuate(caveat)))
    contexts = [{"floor": 1, "action": "read"}, *data.draw(st.lists(CONTEXTS, max_size=2))]

    def same() -> None:
        for one in family:
            for context in contexts:
                for _ in range(2):
                    told = three.outcomes(one, context)
                    assert len(set(told.values())) == 1, (told, one, context)

    same()
    point = data.draw(st.sampled_from(family))
    if way == "id":
        three.authority.revoke(id=minted.id)
    elif way == "branch":
        assert three.authority.revoke(token=point).kind == "branch"
    elif way == "subject":
        three.authority.revoke(audience="default", subject=subject)
    mark = three.authority.mint(audience="default", ttl=60).id
    three.authority.revoke(id=mark)
    three.heard(mark)  # the log is in order: so it has heard of the other, too
    if way == "branch":
        assert branch_of(decode(point).signature) in three.edge._decider.revocations._branches[minted.id]
    three.clock.now = NOON + data.draw(st.sampled_from([0, 30, 30.25, 59, 600, 3599, 3600]))
    try:
        same()
    finally:
        three.clock.now = NOON
