"""macaroonbakery's own client, unmodified, at a discharger in a process of its own."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from macaroonbakery import bakery, checkers, httpbakery
from macaroonbakery.httpbakery.agent import AgentInteractor, load_auth_info

from capsvc.macaroon.build import ThirdPartyCaveat, mint
from capsvc.macaroon.chain import derive_key, verify
from capsvc.macaroon.decode import decode
from capsvc.macaroon.discharges import match
from capsvc.macaroon.formats import read_v2json, to_v2json

from .conftest import PATIENCE, ROOT_KEY
from .processes import COMMON, KEY, TRUST, Process, caveat, command, furnished

ROOT = b"k" * 32


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with what a discharger needs."""
    return furnished(tmp_path)


@pytest.fixture
def agent(place: Path) -> Path:
    """A key of an agent's, made by ``capsvc keygen``; the directory knows it as ``robot``."""
    public = command(place, "keygen", "agent.key").out.strip()
    (place / "principals.toml").write_text(
        f'[principals.robot]\npublic_keys = ["{public}"]\nconditions = ["is-authenticated-user"]\n'
        'declare = { username = "robot" }\n'
    )
    return place / "agent.key"


@pytest.fixture
def static(place: Path, agent: Path) -> Iterator[Process]:
    """A discharger with the `static` checker."""
    assert agent.parent == place
    options = ("--key", "d.key", "--checker", "static", "--principals", "principals.toml", "--trust", TRUST)
    with Process(place, *options) as discharger:
        yield discharger


def root(url: str, condition: str) -> Any:
    """A token of ours with a third party's caveat, as bakery has it."""
    text = mint(
        ROOT, "http://x", b"id", ["time < 2099-01-01T00:00:00Z"], [ThirdPartyCaveat(url, ROOT_KEY, caveat(condition))]
    )
    return bakery.Macaroon.from_dict({"m": json.loads(to_v2json(decode(text))), "v": 3, "ns": "std:"})


def gathered(macaroon: Any, client: Any) -> list[str]:
    """The caveats of the discharge that a client gathers, which our own verifier accepts."""
    macaroons = bakery.discharge_all(macaroon, client.acquire_discharge)
    first, *others = [read_v2json(json.dumps(_without_nulls(one))) for one in macaroons]
    verified = verify(first, derive_key(ROOT))
    assert verified is not None
    (discharge,) = match(verified, others)
    return [one.cid.decode() for one in discharge.macaroon.caveats]


def _without_nulls(macaroon: Any) -> Any:
    from pymacaroons.serializers import JsonSerializer

    return json.loads(macaroon.serialize(JsonSerializer()))


def agent_client(agent: Path, url: str, name: str = "robot") -> Any:
    """A client with an agent's file, as its documentation has it."""
    file = agent.with_name("agent.json")
    file.write_text(json.dumps({"key": json.loads(agent.read_text()), "agents": [{"url": url, "username": name}]}))
    return httpbakery.Client(interaction_methods=[AgentInteractor(load_auth_info(str(file)))])


def test_a_trivial_checker(place: Path) -> None:
    """A condition that holds is discharged, with what was to be declared; another is refused with its reason."""
    with Process(place, *COMMON) as discharger:
        client = httpbakery.Client(interaction_methods=[])
        expiry, *declared = gathered(root(discharger.url, "need-declared colour,x holds"), client)
        assert declared == ["declared colour green", "declared x "]
        assert expiry.startswith("time-before 2")
        with pytest.raises(httpbakery.DischargeError, match=r"no$"):
            gathered(root(discharger.url, "does-not"), client)
        with pytest.raises(httpbakery.DischargeError, match="has no way to"):
            gathered(root(discharger.url, "somebody"), client)


def test_its_key(place: Path) -> None:
    """The library's own locator reads the key, and what it then seals itself is discharged."""
    with Process(place, "--key", "d.key", "--checker", "checks:check", "--allow-any") as discharger:
        locator = httpbakery.ThirdPartyLocator(allow_insecure=True)
        info = locator.third_party_info(discharger.url)
        assert info.public_key.serialize(raw=True) == KEY.public
        assert info.version == bakery.VERSION_3
        pair = bakery.generate_key()
        macaroon = bakery.Macaroon(ROOT, b"id", "x", bakery.VERSION_3, checkers.Namespace({checkers.STD_NAMESPACE: ""}))
        macaroon.add_caveat(checkers.Caveat(location=discharger.url, condition="holds"), pair, locator)
        bound = bakery.discharge_all(macaroon, httpbakery.Client(interaction_methods=[]).acquire_discharge)
        assert len(bound) == 2


def test_an_agent(static: Process, agent: Path) -> None:
    """An agent logs in with its own key, again and again; nobody visits anything."""
    client = agent_client(agent, static.url)
    for _ in range(2):
        caveats = gathered(root(static.url, "need-declared username is-authenticated-user"), client)
        assert caveats[1:] == ["declared username robot"]
    assert static.stop() == 0
    assert "GET /agent 200" in static.err
    assert "public-key" not in static.err


def test_agents_that_are_not_let_in(static: Process, agent: Path, place: Path) -> None:
    """Another key, another name, another condition: the client's own error each time."""
    with pytest.raises(httpbakery.InteractionError, match="no agent of that name has that key"):
        gathered(root(static.url, "is-authenticated-user"), agent_client(agent, static.url, "root"))
    with pytest.raises(httpbakery.DischargeError, match="401"):
        gathered(root(static.url, "something-else"), agent_client(agent, static.url))
    command(place, "keygen", "other.key")
    with pytest.raises(httpbakery.InteractionError, match="no agent of that name has that key"):
        gathered(root(static.url, "is-authenticated-user"), agent_client(place / "other.key", static.url))


def test_a_restart_ends_an_agent_s_login(place: Path, agent: Path) -> None:
    """What one process gave an agent is worth nothing to the next; the agent asks again."""
    options = ("--key", "d.key", "--checker", "static", "--principals", "principals.toml", "--trust", TRUST)
    info = load_auth_info(str(_agent_file(agent)))
    with Process(place, *options) as discharger:
        given = requests.get(
            f"{discharger.url}/agent",
            params={"username": "robot", "public-key": str(info.key.public_key)},
            timeout=PATIENCE,
        ).json()
    bound = bakery.discharge_all(bakery.Macaroon.from_dict(given["macaroon"]), None, info.key)
    octets = b"".join(base64.urlsafe_b64decode(one.serialize() + "==") for one in bound)
    with Process(place, *options) as discharger:
        body = {"id64": base64.b64encode(caveat("is-authenticated-user")), "token64": base64.b64encode(octets)}
        answer = requests.post(f"{discharger.url}/discharge", data={**body, "token-kind": "agent"}, timeout=PATIENCE)
        assert (answer.status_code, answer.json()["Code"]) == (401, "permission denied")
        gathered(root(discharger.url, "is-authenticated-user"), agent_client(agent, discharger.url))


def _agent_file(agent: Path) -> Path:
    agent_client(agent, "http://127.0.0.1:9")
    return agent.with_name("agent.json")
