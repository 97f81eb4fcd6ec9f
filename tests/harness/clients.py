"""Clients that do what an administrator may until the service is killed, and the ledger of what they were told."""

from __future__ import annotations

import http.client
import random
import threading
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from capsvc.macaroon.decode import decode
from capsvc.macaroon.identifier import parse

from ..http.conftest import Party  # noqa: TID252 - a third party asks and answers in one way

__all__ = ["AUDIENCES", "Client", "Known", "Ledger", "Registered"]

AUDIENCES = ("default", "turning")


@dataclass(eq=False)
class Registered:
    """A discharger whose registration was acknowledged. ``leaving`` once its removal was asked for, ``gone`` after."""

    party: Party
    leaving: bool = False
    gone: bool = False


@dataclass(eq=False)
class Known:
    """A token whose mint was acknowledged, or its bundle. ``doubtful`` once a revocation was asked for, then ``dead``.

    ``asks`` is the discharger whose discharge is in it.
    """

    text: str
    id: str
    audience: str
    kid: str
    asks: Registered | None = None
    doubtful: bool = False
    dead: bool = False


@dataclass
class Ledger:
    """What the clients were told, over all rounds. Each list only grows; threads append."""

    steady: Registered = field(default_factory=lambda: Registered(Party("steady")))
    tokens: list[Known] = field(default_factory=list)
    kids: list[str] = field(default_factory=list)
    dischargers: list[Registered] = field(default_factory=list)
    pairs: list[str] = field(default_factory=list)
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

    def states(self, token: Known) -> set[bool]:
        """What its row may say: live, not live, or either."""
        if token.dead or token.kid in self.dead_keys:
            return {False}
        return {True, False} if token.doubtful or token.kid in self.doubtful_keys else {True}

    def outcomes(self, token: Known) -> set[bool]:
        """What a decision may be: allowed, refused, or either."""
        if token.asks is not None and token.asks.gone:
            return {False}
        states = self.states(token)
        return states | {False} if token.asks is not None and token.asks.leaving else states


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
        acts = {
            self._revoke_id: 4,
            self._revoke_branch: 3,
            self._revoke_presented: 3,
            self._revoke_subject: 3,
            self._turn: 2,
            self._exchange_and_revoke: 3,
            self._register: 2,
        }
        try:
            with closing(self._service.connect()) as connection:
                while True:
                    self._random.choices(list(acts), weights=list(acts.values()))[0](connection)
        except (OSError, http.client.HTTPException):
            pass  # killed
        except BaseException as fault:  # noqa: BLE001 - the test raises it
            self.fault = fault

    # Tokens.

    def _mint(
        self, connection: Any, audience: str = "default", subject: str | None = None, asks: Registered | None = None
    ) -> Known:
        body: dict[str, object] = {"audience": audience, "ttl": 86_400, "subject": subject}
        body |= {"caveats": ["action = read"], "third_party": [] if asks is None else [asks.party.asks()]}
        status, answer = connection.ask("POST", "/v1/tokens", body)
        assert status == 201, answer
        token = answer["token"]
        known = self._known(answer, token if asks is None else asks.party.bundle(token), asks)
        self._ledger.count("mint")
        return known

    def _exchange(self, connection: Any, source: Known) -> Known:
        status, answer = connection.ask("POST", "/v1/exchange", {"token": source.text})
        assert status == 201, answer
        known = self._known(answer, answer["token"], None)
        self._ledger.count("exchange")
        return known

    def _known(self, answer: dict[str, Any], text: str, asks: Registered | None) -> Known:
        kid = parse(decode(answer["token"]).identifier).kid
        known = Known(text, answer["id"], answer["audience"], kid, asks)
        self._ledger.tokens.append(known)
        return known

    # Revocations.

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

    # Keys.

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

    # Third parties.

    def _exchange_and_revoke(self, connection: Any) -> None:
        """Exchange a discharged token, and what came of it; sometimes revoke the first, sometimes the second."""
        source = self._mint(connection, asks=self._ledger.steady)
        child = self._exchange(connection, source)
        grandchild = self._exchange(connection, child)
        chance = self._random.random()
        if chance < 0.4:
            self._revoke(connection, "revoke source", {"id": source.id}, source, child, grandchild)
        elif chance < 0.7:
            self._revoke(connection, "revoke exchanged", {"token": child.text}, child, grandchild)

    def _register(self, connection: Any) -> None:
        """Register a discharger, rely on it, and sometimes remove it; now and then rotate our own key pair."""
        known = Registered(Party(f"{self._name}-{self._random.getrandbits(64):x}"))
        status, answer = connection.ask("POST", "/v1/dischargers", known.party.body)
        assert status == 201, answer
        self._ledger.dischargers.append(known)
        self._ledger.count("register")
        child = self._exchange(connection, self._mint(connection, asks=known))
        if self._random.random() < 0.7:
            known.leaving = child.doubtful = True
            status, answer = connection.ask("DELETE", f"/v1/dischargers/{known.party.name}")
            assert status == 204, answer
            known.gone = child.dead = True
            self._ledger.count("remove")
        if self._random.random() < 0.2:
            status, answer = connection.ask("POST", "/v1/bakery-keys/rotate", b"")
            assert status == 201, answer
            self._ledger.pairs.append(answer["public_key"])
            self._ledger.count("rotate pair")
