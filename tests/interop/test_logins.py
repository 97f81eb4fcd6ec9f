"""Our client at Go's discharger, which wants somebody to log in: as a person and as an agent."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from capsvc.client import DischargeError
from capsvc.keyfile import read_agent_file

from .libraries import Discharger, declare
from .service import Service

AgentFile = Callable[..., Path]


def test_a_person_visits_the_page(service: Service, go_discharger: Discharger) -> None:
    """Our client names the page, waits, and goes on with what the wait brings; with nobody to visit it says so."""
    go_discharger.answers("logged-in", declare("username", "ada"), login="browser-window")
    token = service.asking(go_discharger, "logged-in", "username")
    answer = service.allows(service.by_auth(token, visit=httpx.get))
    assert answer["declared"] == {"go": {"username": "ada"}}
    with pytest.raises(DischargeError) as refused:
        service.by_auth(token)
    assert refused.value.code == "interaction-required"


def test_a_person_visits_what_the_command_line_names(service: Service, go_discharger: Discharger) -> None:
    """The address stands on standard error, the bundle alone on standard output."""
    go_discharger.answers("logged-in", declare("username", "ada"), login="browser-window")
    token = service.asking(go_discharger, "logged-in", "username")
    with service.begin("discharge", "--no-browser") as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(token)
        process.stdin.close()
        page = re.search(r"http://\S+", process.stderr.readline())
        assert page is not None
        httpx.get(page[0])
        assert process.stdout is not None
        bundle = process.stdout.read()
    assert process.returncode == 0
    service.allows(bundle.removesuffix("\n"))


def test_an_agent_needs_nobody(service: Service, go_discharger: Discharger, agent_file: AgentFile) -> None:
    """With bakery's own file of its key, in the library and on the command line."""
    go_discharger.answers("is-agent", login="agent")
    token = service.asking(go_discharger, "is-agent")
    file = agent_file(go_discharger.url)
    service.allows(service.by_auth(token, agent=read_agent_file(file)))
    service.allows(service.by_command(token, "--agent-file", str(file)))
    with pytest.raises(DischargeError) as refused:
        service.by_auth(token, agent=read_agent_file(agent_file("http://127.0.0.1:9")))
    assert refused.value.code == "interaction-required"
