"""An exchange that is overtaken between its judgement and its writing: the transaction looks again, at everything."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from capsvc.authority import Authority
from capsvc.decision.instants import aware
from capsvc.errors import Denied
from capsvc.macaroon.decode import decode
from capsvc.macaroon.identifier import parse
from capsvc.macaroon.thirdparty import KeyPair, key_text

Act = Callable[[Authority, Any, Any], object]


def kid(minted: Any) -> str:
    """The key that minted."""
    return parse(decode(minted.token).identifier).kid


def without_its_key(authority: Authority, source: Any, _login: Any) -> None:
    """The key's row is gone, as after its last token expired."""
    authority._store.write(
        lambda tx: tx._execute("DELETE FROM keys WHERE kid = ?", (kid(source),))  # type: ignore[attr-defined]
    ).result()


def until(seconds: int) -> Act:
    """Revoke the subject's tokens up to so many seconds after the source's issue."""
    return lambda authority, source, _login: authority.revoke(
        audience="default", subject="ada", before=source.issued_at + timedelta(seconds=seconds)
    )


def registered_later(authority: Authority, _source: Any, login: Any) -> None:
    """Removed, and registered again a second later."""
    authority.remove_discharger("login")
    authority._clock.now += 1  # type: ignore[attr-defined]
    authority.add_discharger(name="login", location=login.location, public_key=key_text(login.pair.public))


ACTS: dict[str, tuple[Act, str]] = {
    "nothing": (lambda _authority, _source, _login: None, "allowed"),
    "id": (lambda authority, source, _login: authority.revoke(id=source.id), "revoked"),
    "token": (lambda authority, source, _login: authority.revoke(token=source.token), "revoked"),
    "key": (lambda authority, source, _login: authority.revoke(key=kid(source)), "revoked"),
    "no key": (without_its_key, "revoked"),
    "subject": (until(0), "revoked"),
    "subject before it": (until(-1), "allowed"),
    "discharger": (lambda authority, _source, _login: authority.remove_discharger("login"), "discharge-invalid"),
    "discharger again": (registered_later, "discharge-invalid"),
    "another discharger": (lambda authority, _source, _login: authority.remove_discharger("till"), "allowed"),
    "its key": (
        lambda authority, _source, _login: authority.set_discharger(
            "login",
            public_key=authority.discharger("login").next_public_key,  # type: ignore[union-attr]
        ),
        "discharge-invalid",
    ),
    "its next key": (
        lambda authority, _source, _login: authority.set_discharger("login", clear_next=True),
        "allowed",
    ),
}


@pytest.mark.parametrize(("act", "outcome"), ACTS.values(), ids=ACTS)
def test_what_comes_between(office: Any, monkeypatch: pytest.MonkeyPatch, act: Act, outcome: str) -> None:
    """Each way to kill the source, done when it has been judged good, and its token is made and not yet written."""
    login = office.register("login", next_public_key=key_text(KeyPair.generate().public))
    office.register("till")
    source = office.minted(subject="ada", third_party=[login.asks()])
    bundle = office.bundle(source.token, login.discharge(source.token))
    exchanging = office.authority._exchanging
    make = exchanging.make
    with office.another() as other:

        def overtaken(*asked: Any) -> Any:
            made = make(*asked)
            act(other, source, login)
            return made

        monkeypatch.setattr(exchanging, "make", overtaken)
        if outcome == "allowed":
            assert office.outcome(office.authority.exchange(bundle).token) == "allowed"
            return
        before = len(list(office.authority._store.audit()))
        with pytest.raises(Denied) as denied:
            office.authority.exchange(bundle)
        assert denied.value.code == outcome
        actions = [line.action for line in office.authority._store.audit()][before:]
        assert "exchange" not in actions
        assert [row.id for row in office.authority.tokens(audience="default")[0]] == [source.id]


def test_an_exchange_is_written_down(office: Any) -> None:
    """Who did it, for which audience, what came of what, and when: the token's own time is the source's."""
    login = office.register()
    source = office.minted(third_party=[login.asks()])
    bundle = office.bundle(source.token, login.discharge(source.token))
    admin = office.authority.authenticate(office.authority.admin_token(), context={"action": "tokens:exchange"})
    office.clock.now += 5
    made = office.authority.exchange(bundle, credential=admin)
    *_, line = office.authority._store.audit()
    assert (line.action, line.target, line.audience) == ("exchange", made.id, "default")
    assert aware(line.at) == source.issued_at + timedelta(seconds=5)
    assert line.minter == admin.minter
    assert json.loads(line.detail) == {"kid": kid(source), "source": source.id}


def test_a_change_of_our_own_pair_is_written_down(office: Any) -> None:
    """Who prepared and who rotated, and which pairs came and went."""
    admin = office.authority.authenticate(office.authority.admin_token(), context={"action": "dischargers:write"})
    before = office.authority.public_key
    prepared = office.authority.add_bakery_key(credential=admin).public_key
    office.authority.rotate_bakery_key(credential=admin)
    *_, first, second = office.authority._store.audit()
    assert (first.action, first.target, first.minter) == ("add bakery key", prepared, admin.minter)
    assert (second.action, second.target, second.minter) == ("rotate bakery key", prepared, admin.minter)
    assert (json.loads(first.detail), json.loads(second.detail)) == ({}, {"retiring": before})
