"""200 rounds of ``kill -9`` under load: nothing acknowledged is lost, nothing revoked is revived.

Several clients mint, revoke and rotate against a service of two workers, whose whole process group is killed at a
random moment. It is started again, and everything that was acknowledged is looked for: at once what is new and a sample
of what is old, at the end all of it. What was asked for and not answered may have happened or not.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest

from capsvc.authority import Authority
from capsvc.config import Settings
from capsvc.macaroon.decode import decode
from capsvc.macaroon.identifier import parse

ROUNDS = 200
CLIENTS = 4
BATCH = 100
SAMPLE = 40  # old tokens that are asked about after each restart
AUDIENCES = ("default", "turning")


@dataclass(eq=False)
class Known:
    """A token whose mint was acknowledged. ``doubtful`` once a revocation was asked for, ``dead`` once acknowledged."""

    text: str
    id: str
    audience: str
    kid: str
    doubtful: bool = False
    dead: bool = False


@dataclass
class Ledger:
    """What the clients were told, over all rounds. Each list only grows; threads append."""

    tokens: list[Known] = field(default_factory=list)
    kids: list[str] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    checked: dict[str, int] = field(default_factory=dict)
    killed_at_start: int = 0
    doubtful_keys: set[str] = field(default_factory=set)
    dead_keys: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, name: str) -> None:
        """One more acknowledgement."""
        with self._lock:
            self.acknowledged[name] = self.acknowledged.get(name, 0) + 1


class Client(threading.Thread):
    """Does what an administrator may, until its connection breaks."""

    def __init__(self, service: Any, ledger: Ledger, seed: int) -> None:
        super().__init__()
        self._service = service
        self._ledger = ledger
        self._random = random.Random(seed)  # noqa: S311 - which requests, not which secrets
        self._name = f"c{seed}"
        self.fault: BaseException | None = None

    def run(self) -> None:
        """Until the service is killed."""
        acts = [self._revoke_id, self._revoke_branch, self._revoke_presented, self._revoke_subject, self._turn]
        try:
            with closing(self._service.connect()) as connection:
                while True:
                    self._random.choices(acts, weights=(4, 3, 3, 3, 2))[0](connection)
        except (OSError, http.client.HTTPException):
            pass  # killed
        except BaseException as fault:  # noqa: BLE001 - the test raises it
            self.fault = fault

    def _mint(self, connection: Any, audience: str = "default", subject: str | None = None) -> Known:
        body = {"audience": audience, "ttl": 86_400, "subject": subject, "caveats": ["action = read"]}
        status, answer = connection.ask("POST", "/v1/tokens", body)
        assert status == 201, answer
        kid = parse(decode(answer["token"]).identifier).kid
        known = Known(answer["token"], answer["id"], audience, kid)
        self._ledger.tokens.append(known)
        self._ledger.count("mint")
        return known

    def _revoke(self, connection: Any, name: str, body: dict[str, object], *tokens: Known) -> None:
        for token in tokens:
            token.doubtful = True
        status, answer = connection.ask("POST", "/v1/revocations", body)
        assert status in {200, 201}, answer
        for token in tokens:
            token.dead = True
        self._ledger.count(name)

    def _revoke_id(self, connection: Any) -> None:
        self._mint(connection)
        token = self._mint(connection)
        self._revoke(connection, "revoke id", {"id": token.id}, token)

    def _revoke_branch(self, connection: Any) -> None:
        token = self._mint(connection)
        self._revoke(connection, "revoke branch", {"token": token.text}, token)

    def _revoke_presented(self, connection: Any) -> None:
        token = self._mint(connection)
        token.doubtful = True
        form = urlencode({"token": token.text}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        status, answer = connection.ask("POST", "/v1/revoke", form, headers)
        assert status == 200, answer
        token.dead = True
        self._ledger.count("revoke presented")

    def _revoke_subject(self, connection: Any) -> None:
        subject = f"{self._name}-{self._random.getrandbits(64):x}"
        tokens = [self._mint(connection, subject=subject) for _ in range(2)]
        self._revoke(connection, "revoke subject", {"audience": "default", "subject": subject}, *tokens)

    def _turn(self, connection: Any) -> None:
        """Rotate either audience's key; of the one sometimes revoke the key that was active before."""
        audience = self._random.choice(AUDIENCES)
        status, answer = connection.ask("POST", f"/v1/audiences/{audience}/keys", b"")
        assert status == 201, answer
        self._ledger.kids.append(answer["kid"])
        self._ledger.count("rotate")
        if audience == "turning":
            token = self._mint(connection, audience)
            if token.kid == answer["kid"] and self._random.random() < 0.5:
                self._rotate_away(connection, token)

    def _rotate_away(self, connection: Any, token: Known) -> None:
        status, answer = connection.ask("POST", f"/v1/audiences/{token.audience}/keys", b"")
        assert status == 201, answer
        self._ledger.kids.append(answer["kid"])
        self._ledger.count("rotate")
        # Other clients' tokens of that key die too, those that are being minted among them.
        self._ledger.doubtful_keys.add(token.kid)
        status, answer = connection.ask("POST", "/v1/revocations", {"key": token.kid})
        assert status in {200, 201}, answer
        self._ledger.dead_keys.add(token.kid)
        self._ledger.count("revoke key")


def expectation(token: Known, ledger: Ledger) -> set[bool]:
    """What a decision may be: allowed, refused, or either."""
    if token.dead or token.kid in ledger.dead_keys:
        return {False}
    if token.doubtful or token.kid in ledger.doubtful_keys:
        return {True, False}
    return {True}


def check_decisions(connection: Any, tokens: list[Known], ledger: Ledger) -> None:
    """Ask about them all, in batches."""
    for start in range(0, len(tokens), BATCH):
        group = tokens[start : start + BATCH]
        body = {
            "requests": [
                {"token": token.text, "audience": token.audience, "context": {"action": "read"}} for token in group
            ]
        }
        status, answer = connection.ask("POST", "/v1/verify/batch", body)
        assert status == 200, answer
        for token, result in zip(group, answer["results"], strict=True):
            assert result["allowed"] in expectation(token, ledger), (token.id, result)
            assert result["allowed"] or result["code"] == "revoked"
            name = "denied" if not result["allowed"] else "allowed"
            ledger.checked[name] = ledger.checked.get(name, 0) + 1


def check_rows(connection: Any, tokens: list[Known], ledger: Ledger) -> None:
    """Each has a row, with the state that it must have."""
    for token in tokens:
        status, row = connection.ask("GET", f"/v1/tokens/{token.id}")
        assert status == 200, token.id
        assert (row["state"] == "live") in expectation(token, ledger), row


def check_all_listed(connection: Any, tokens: list[Known]) -> int:
    """Page through everything: each acknowledged token once, none twice; the number of rows."""
    listed: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        after = f"&after={cursor}" if cursor else ""
        status, answer = connection.ask("GET", f"/v1/tokens?limit=1000{after}")
        assert status == 200, answer
        listed += [row["id"] for row in answer["tokens"]]
        cursor = answer["next"]
    assert len(listed) == len(set(listed))
    assert {token.id for token in tokens} <= set(listed)
    return len(listed)


def check_keys(connection: Any, ledger: Ledger) -> None:
    """Every acknowledged rotation's key is there, and each audience has exactly one that is active."""
    listed = []
    for audience in AUDIENCES:
        status, answer = connection.ask("GET", f"/v1/audiences/{audience}/keys?limit=1000")
        assert status == 200, answer
        states = [key["state"] for key in answer["keys"]]
        if answer["next"] is None:
            assert states.count("active") == 1
        listed += [key["kid"] for key in answer["keys"]]
        while answer["next"] is not None:
            status, answer = connection.ask("GET", f"/v1/audiences/{audience}/keys?limit=1000&after={answer['next']}")
            listed += [key["kid"] for key in answer["keys"]]
    assert set(ledger.kids) <= set(listed)


def check_audit(service: Any) -> int:
    """The whole chain, from the first line; how many lines."""
    with Authority.open(Settings(data_dir=service.data_dir), make=False) as authority:
        return authority.verify_audit()


def under_load(service: Any, ledger: Ledger, number: int, chance: random.Random) -> None:
    """Let the clients work, and kill the service under them."""
    clients = [Client(service, ledger, number * CLIENTS + one) for one in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(chance.uniform(0.02, 0.25))
    service.kill()
    for client in clients:
        client.join(60)
        assert not client.is_alive()
        if client.fault is not None:
            raise client.fault


@pytest.mark.timeout(900)
def test_200_rounds(make_service: Callable[..., Any], tell: Callable[[str], None]) -> None:
    """The counts are printed; after each restart what is new and a sample of what is old is checked, at the end all."""
    service, ledger, chance = make_service(workers=2), Ledger(), random.Random(2026)  # noqa: S311
    service.start()
    with closing(service.connect()) as connection:
        assert connection.ask("POST", "/v1/audiences", {"name": "turning"})[0] == 201
    before = lines = 0
    for number in range(ROUNDS):
        under_load(service, ledger, number, chance)
        if chance.random() < 0.1:
            service.spawn()
            time.sleep(chance.uniform(0, 0.6))
            service.kill()
            ledger.killed_at_start += 1
        service.start()
        fresh, old = ledger.tokens[before:], ledger.tokens[:before]
        with closing(service.connect()) as connection:
            check_rows(connection, fresh, ledger)
            check_decisions(connection, fresh + chance.sample(old, min(SAMPLE, len(old))), ledger)
            check_keys(connection, ledger)
        grown = check_audit(service)
        assert grown >= lines + len(fresh)
        before, lines = len(ledger.tokens), grown
    with closing(service.connect()) as connection:
        check_decisions(connection, ledger.tokens, ledger)
        rows = check_all_listed(connection, ledger.tokens)
    lines = check_audit(service)
    assert service.stop() == 0
    assert check_audit(service) >= lines
    assert "Traceback" not in service.err.read_text()
    told = ", ".join(f"{name} {count}" for name, count in sorted(ledger.acknowledged.items()))
    tell(
        f"kill -9 harness: {ROUNDS} rounds, {ledger.killed_at_start} more kills while starting; acknowledged: {told}; "
        f"checked: allowed {ledger.checked['allowed']}, denied {ledger.checked['denied']}; rows {rows}, audit {lines}"
    )
    assert set(ledger.acknowledged) == {
        "mint", "rotate", "revoke id", "revoke branch", "revoke presented", "revoke subject", "revoke key",
    }  # fmt: skip
    assert ledger.acknowledged["mint"] > ROUNDS
