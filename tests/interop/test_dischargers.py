"""Others' dischargers answer conditions of ours; our clients and theirs fetch the answers; the service allows."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from capsvc.client import DischargeError
from capsvc.macaroon.bundle import split

from .libraries import Discharger, before, declare, text, third
from .service import Service

Gather = Callable[[str], str]
Both = tuple[Discharger, Discharger]


def test_a_condition_is_answered(service: Service, discharger: Discharger, gather: Gather) -> None:
    """Without the discharge the service asks for it; with it, it allows, and nothing was declared."""
    discharger.answers("ticket-is-open 7")
    token = service.asking(discharger, "ticket-is-open 7")
    assert service.decide(token)["code"] == "discharge-missing"
    answer = service.allows(gather(token))
    assert answer["declared"] == {}


def test_what_was_asked_for_is_declared(service: Service, discharger: Discharger, gather_by_all: Gather) -> None:
    """Of what the discharger states the service reports those names that it asked for, empty where he forgot one."""
    discharger.answers("is-authenticated-user", declare("username", "ada"), declare("admin", "true"))
    token = service.asking(discharger, "is-authenticated-user", "username", "mail", subject="ada")
    answer = service.allows(gather_by_all(token))
    assert answer["declared"] == {discharger.name: {"mail": "", "username": "ada"}}
    assert answer["subject"] == "ada"


def test_both_are_asked_at_once(service: Service, both: Both, gather: Gather) -> None:
    """Each states under its own name what it was asked for, the same name with another value too."""
    python_discharger, go_discharger = both
    python_discharger.answers("who", declare("username", "ada"))
    go_discharger.answers("who", declare("username", "bo"))
    token = service.asking_all((python_discharger, "who", "username"), (go_discharger, "who", "username"))
    assert service.allows(gather(token))["declared"] == {"python": {"username": "ada"}, "go": {"username": "bo"}}


def test_a_value_may_have_spaces(service: Service, go_discharger: Discharger, gather: Gather) -> None:
    """It is everything after the name; Python's library refuses to state one where names are asked for."""
    go_discharger.answers("named", declare("name", "Ada  Lovelace "))
    assert service.allows(gather(service.asking(go_discharger, "named", "name")))["declared"] == {
        "go": {"name": "Ada  Lovelace "}
    }


def test_expiry_and_restrictions_of_a_discharge_count(service: Service, discharger: Discharger, gather: Gather) -> None:
    """The library's ``time-before`` has a fraction: the grant ends in its second. Another caveat of it restricts."""
    discharger.answers("for-a-while", before(90.123456789), text("floor in 1,2"))
    bundle = gather(service.asking(discharger, "for-a-while"))
    _root, discharge = split(bundle)
    expiry = next(caveat.cid.decode() for caveat in discharge.caveats if caveat.cid.startswith(b"time-before "))
    instant, _, fraction = expiry.removeprefix("time-before ").removesuffix("Z").partition(".")
    assert fraction.isdigit()
    answer = service.allows(bundle, floor=2)
    assert answer["expires_at"] == f"{instant}Z"
    assert service.decide(bundle, floor=3)["code"] == "caveat-refused"


def test_an_expired_discharge_is_refused(service: Service, discharger: Discharger, library_gather: Gather) -> None:
    """A discharger whose clock is a minute late: their clients do not look at it, ours and the service do."""
    discharger.answers("was-once", before(-60.5))
    discharger.answers("is-still", before(60.5))
    token = service.asking(discharger, "was-once")
    assert service.decide(library_gather(token))["code"] == "expired"
    with pytest.raises(DischargeError) as refused:
        service.by_auth(token)
    assert refused.value.code == "expired"
    service.allows(library_gather(service.asking(discharger, "is-still")))


def test_dischargers_send_on_to_each_other(service: Service, both: Both, gather: Gather) -> None:
    """What each adds has the same short id: the MAC tells. What the second states is reported nowhere."""
    python_discharger, go_discharger = both
    python_discharger.answers("first", declare("username", "ada"), third(go_discharger, "second"))
    python_discharger.answers("second", declare("username", "mallory"), declare("plan", "team"))
    go_discharger.answers("first", declare("username", "bo"), third(python_discharger, "second"), before(60.5))
    go_discharger.answers("second", declare("username", "mallory"), before(30.25))
    token = service.asking_all((python_discharger, "first", "username"), (go_discharger, "first", "username"))
    bundle = gather(token)
    assert len(split(bundle)) == 5
    assert service.allows(bundle)["declared"] == {"python": {"username": "ada"}, "go": {"username": "bo"}}


def test_short_ids_collide_with_their_clients(service: Service, both: Both, library_gather: Gather) -> None:
    """So it is with their own clients: two discharges of one bundle are both called 03 00."""
    python_discharger, go_discharger = both
    python_discharger.answers("sends-on", third(go_discharger, "arrived"))
    go_discharger.answers("sends-on", third(python_discharger, "arrived"))
    for discharger in (python_discharger, go_discharger):
        discharger.answers("arrived")
    bundle = library_gather(service.asking_all((python_discharger, "sends-on"), (go_discharger, "sends-on")))
    assert [macaroon.identifier for macaroon in split(bundle)[3:]] == [b"\x03\x00"] * 2
    service.allows(bundle)


def test_a_refusal_is_told(service: Service, discharger: Discharger, gather_by_all: Gather) -> None:
    """There is no bundle; the discharger's own sentence reaches whoever asked."""
    token = service.asking(discharger, "never-heard-of-it")
    with pytest.raises(Exception, match="no such condition"):
        gather_by_all(token)
