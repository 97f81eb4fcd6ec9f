"""200 rounds of ``kill -9`` under load: nothing acknowledged is lost, nothing revoked is revived.

Several clients mint, exchange, revoke, rotate, and register and remove dischargers against a service of two workers,
whose whole process group is killed at a random moment. It is started again, and everything that was acknowledged is
looked for: at once what is new and a sample of what is old, at the end all of it. What was asked for and not answered
may have happened or not.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from capsvc.authority import Authority
from capsvc.config import Settings

from .clients import AUDIENCES, Client, Known, Ledger

ROUNDS = 200
CLIENTS = 4
BATCH = 100
SAMPLE = 40  # old tokens that are asked about after each restart


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
            assert result["allowed"] in ledger.outcomes(token), (token.id, result)
            left = token.asks is not None and token.asks.leaving
            assert result["allowed"] or result["code"] == ("discharge-invalid" if left else "revoked")
            name = "denied" if not result["allowed"] else "allowed"
            ledger.checked[name] = ledger.checked.get(name, 0) + 1


def check_rows(connection: Any, tokens: list[Known], ledger: Ledger) -> None:
    """Each has a row, with the state that it must have."""
    for token in tokens:
        status, row = connection.ask("GET", f"/v1/tokens/{token.id}")
        assert status == 200, token.id
        assert (row["state"] == "live") in ledger.states(token), row


def listed(connection: Any, path: str, name: str) -> Iterator[dict[str, Any]]:
    """Every row of a list, page by page."""
    cursor: str | None = ""
    while cursor is not None:
        after = f"&after={cursor}" if cursor else ""
        status, answer = connection.ask("GET", f"{path}?limit=1000{after}")
        assert status == 200, answer
        yield from answer[name]
        cursor = answer["next"]


def check_all_listed(connection: Any, tokens: list[Known]) -> int:
    """Page through everything: each acknowledged token once, none twice; the number of rows."""
    ids = [row["id"] for row in listed(connection, "/v1/tokens", "tokens")]
    assert len(ids) == len(set(ids))
    assert {token.id for token in tokens} <= set(ids)
    return len(ids)


def check_keys(connection: Any, ledger: Ledger) -> None:
    """Every acknowledged rotation's key is there, and each audience, as the installation, has one that is active."""
    kids = set()
    for audience in AUDIENCES:
        keys = list(listed(connection, f"/v1/audiences/{audience}/keys", "keys"))
        assert [key["state"] for key in keys].count("active") == 1
        kids |= {key["kid"] for key in keys}
    assert set(ledger.kids) <= kids
    pairs = list(listed(connection, "/v1/bakery-keys", "bakery_keys"))
    assert [pair["state"] for pair in pairs].count("active") == 1
    assert set(ledger.pairs) <= {pair["public_key"] for pair in pairs}


def check_dischargers(connection: Any, ledger: Ledger) -> None:
    """What was registered is there, as it was sent, and what was removed is not."""
    known = {row["name"]: row for row in listed(connection, "/v1/dischargers", "dischargers")}
    for one in [ledger.steady, *ledger.dischargers]:
        row = known.get(one.party.name)
        assert one.leaving or row is not None, one.party.name
        assert not (one.gone and row is not None), row
        assert row is None or one.party.body.items() <= row.items()


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
        assert connection.ask("POST", "/v1/dischargers", ledger.steady.party.body)[0] == 201
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
            check_dischargers(connection, ledger)
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
        "exchange", "revoke source", "revoke exchanged", "register", "remove", "rotate pair",
    }  # fmt: skip
    assert ledger.acknowledged["mint"] > ROUNDS
