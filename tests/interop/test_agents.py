"""Others' clients at our discharger, as agents: a token of ours, discharged by a key, is allowed by the service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from macaroonbakery import bakery

from capsvc.macaroon.bundle import split

from .libraries import AGENT, Discharger, GatheringError, Library, third
from .ours import OurDischarger
from .service import Service

CONDITION = "may-deploy photos"
AgentFile = Callable[..., Path]


def test_an_agent_gets_a_discharge(
    service: Service, static: OurDischarger, library: Library, agent_file: AgentFile
) -> None:
    """By its key alone; what it declares, values with spaces too, is reported; it is good for five minutes."""
    token = service.asking(static, CONDITION, "username", "team", "mail")
    answer = service.allows(library.gather(token, agent=agent_file(static.url)))
    assert answer["declared"] == {"static": {"username": AGENT, "team": "Night shift", "mail": ""}}
    assert answer["expires_at"] < service.allows(service.mint())["expires_at"]


def test_an_agent_is_who_has_the_key(
    service: Service, static: OurDischarger, library: Library, agent_file: AgentFile
) -> None:
    """A name with another key, another condition, and no key at all are refused; the same agent is answered before."""
    token = service.asking(static, CONDITION)
    service.allows(library.gather(token, agent=agent_file(static.url)))
    with pytest.raises(GatheringError, match="cannot acquire agent macaroon"):
        library.gather(token, agent=agent_file(static.url, bakery.generate_key()))
    with pytest.raises(GatheringError):
        library.gather(service.asking(static, "may-deploy videos"), agent=agent_file(static.url))
    with pytest.raises(GatheringError, match="cannot start interactive session"):
        library.gather(token)


def test_others_send_on_to_ours(
    service: Service, static: OurDischarger, discharger: Discharger, library: Library, agent_file: AgentFile
) -> None:
    """What a discharger of theirs adds for ours is answered under the short id that it gave, and states nothing."""
    discharger.answers("deployed", third(static, f"need-declared username {CONDITION}"))
    bundle = library.gather(service.asking(discharger, "deployed"), agent=agent_file(static.url))
    assert [macaroon.identifier for macaroon in split(bundle)[2:]] == [b"\x03\x00"]
    assert service.allows(bundle)["declared"] == {}
