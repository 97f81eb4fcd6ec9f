"""Key files: bakery's own, both ways, and everything that is not one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from macaroonbakery import bakery
from macaroonbakery.httpbakery.agent import load_auth_info

from capsvc.keyfile import Agent, AgentKey, KeyFileError, key_file_text, read_agent_file, read_key_file
from capsvc.macaroon.thirdparty import KeyPair, key_text

PAIR = KeyPair.generate()
OTHER = KeyPair.generate()
PUBLIC, PRIVATE = key_text(PAIR.public), key_text(PAIR.private())
FIELDS = {"public": PUBLIC, "private": PRIVATE}
AGENTS = [{"url": "http://127.0.0.1:8701", "username": "bob"}, {"url": "https://x/dis", "username": "robot"}]

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file that only its owner reads: of text, octets, or an object as JSON."""

    def write(content: Any, mode: int = 0o600) -> Path:
        path = tmp_path / "file"
        octets = content if isinstance(content, bytes | str) else json.dumps(content)
        path.write_bytes(octets.encode() if isinstance(octets, str) else octets)
        path.chmod(mode)
        return path

    return write


def test_a_pair_there_and_back(write: Write) -> None:
    """What is written is read again, and is bakery's JSON: two fields, standard base64."""
    text = key_file_text(PAIR)
    assert json.loads(text) == FIELDS
    pair = read_key_file(write(text))
    assert (pair.public, pair.private()) == (PAIR.public, PAIR.private())
    assert read_key_file(str(write(text))).public == PAIR.public


def test_bakery_s_own_pair(write: Write) -> None:
    """A pair that macaroonbakery made is read from the two texts that it writes."""
    key = bakery.generate_key()
    pair = read_key_file(write({"public": str(key.public_key), "private": key.serialize().decode()}))
    assert pair.public == key.public_key.serialize(raw=True)


def test_bakery_reads_ours(write: Write) -> None:
    """Macaroonbakery takes an agent's file with a pair of ours; its public half is the same there."""
    text = json.dumps({"key": json.loads(key_file_text(PAIR)), "agents": AGENTS})
    info = load_auth_info(str(write(text)))
    assert str(info.key.public_key) == PUBLIC
    assert [(agent.url, agent.username) for agent in info.agents] == [(one["url"], one["username"]) for one in AGENTS]


def test_an_agent_s_file(write: Write) -> None:
    """The pair, and where it is known under which name, in order."""
    key = read_agent_file(write({"key": FIELDS, "agents": AGENTS}))
    assert isinstance(key, AgentKey)
    assert key.pair.public == PAIR.public
    assert key.agents == (Agent("http://127.0.0.1:8701", "bob"), Agent("https://x/dis", "robot"))
    assert PRIVATE not in repr(key)
    assert read_agent_file(write({"key": FIELDS, "agents": []})).agents == ()


PRIVATE_RULE = "a private key is 32 octets in standard base64"
PUBLIC_RULE = "a public key is 32 octets in standard base64"
PAIR_RULE = "an object with the fields public and private, and no other, belongs there"
FOREIGN = "the public key does not belong to the private one"
LARGEST = json.dumps(FIELDS).ljust(65_536)

BAD_PAIRS: dict[str, tuple[Any, str]] = {
    "nothing": (b"", "it is not JSON"),
    "no JSON": (b"{", "it is not JSON"),
    "nested without end": (b"[" * 60_000, "it is not JSON"),
    "no UTF-8": (b"\xff\xfe{}", "it is not JSON"),
    "a list": ([PUBLIC, PRIVATE], PAIR_RULE),
    "text": ("x", "it is not JSON"),
    "null": (None, PAIR_RULE),
    "the private key alone": ({"private": PRIVATE}, PAIR_RULE),
    "the public key alone": ({"public": PUBLIC}, PAIR_RULE),
    "another field": ({**FIELDS, "name": "x"}, PAIR_RULE),
    "a field twice": (
        f'{{"public": "{PUBLIC}", "private": "{PRIVATE}", "private": "{PRIVATE}"}}',
        "a field is there twice",
    ),
    "capitals": ({"Public": PUBLIC, "Private": PRIVATE}, PAIR_RULE),
    "another's public key": ({**FIELDS, "public": key_text(OTHER.public)}, FOREIGN),
    "the halves swapped": ({"public": PRIVATE, "private": PUBLIC}, ""),  # whichever is noticed
    "a public key that is none": ({**FIELDS, "public": None}, PUBLIC_RULE),
    "a public key that is a list": ({**FIELDS, "public": [PUBLIC]}, PUBLIC_RULE),
    "a public key of low order": ({**FIELDS, "public": key_text(bytes(32))}, "a public key of low order"),
    "a number": ({**FIELDS, "private": 5}, PRIVATE_RULE),
    "a short private key": ({**FIELDS, "private": key_text(PAIR.private()[:31])}, "a private key has 32 octets"),
    "a long private key": ({**FIELDS, "private": key_text(PAIR.private() + b"x")}, "a private key has 32 octets"),
    "an empty private key": ({**FIELDS, "private": ""}, PRIVATE_RULE),
    "a private key of zeros": ({"public": PUBLIC, "private": key_text(bytes(32))}, PRIVATE_RULE),
    "no base64": ({**FIELDS, "private": "!" * 44}, PRIVATE_RULE),
    "an impossible length": ({**FIELDS, "private": PRIVATE[:-3]}, PRIVATE_RULE),
    "letters of another alphabet": ({**FIELDS, "private": "ü" + PRIVATE[1:]}, PRIVATE_RULE),
    "without padding": ({**FIELDS, "private": PRIVATE.rstrip("=")}, PRIVATE_RULE),
    "white space": ({**FIELDS, "private": PRIVATE + "\n"}, PRIVATE_RULE),
    "too large": (LARGEST + " ", "is no file of a key pair, which has at most 65536 octets"),
}


@pytest.mark.parametrize("about", BAD_PAIRS)
def test_files_that_hold_no_pair(write: Write, about: str) -> None:
    """What is not exactly a pair is refused with the reason, and nothing of it is repeated."""
    assert read_key_file(write(FIELDS)).public == PAIR.public
    content, reason = BAD_PAIRS[about]
    path = write(content)
    with pytest.raises(KeyFileError) as caught:
        read_key_file(path)
    assert (caught.value.code, caught.value.exit_code) == ("key-file", 3)
    assert str(caught.value).startswith(f"{path}: {reason}")
    for key in (PRIVATE, PUBLIC, key_text(OTHER.public)):
        assert key[:12] not in str(caught.value)


def test_the_largest_file(write: Write) -> None:
    """64 KiB are read whole; nearly all octets of a private key may be zero."""
    assert read_key_file(write(LARGEST)).public == PAIR.public
    sparse = KeyPair(bytes(31) + b"x")
    assert read_key_file(write(key_file_text(sparse))).public == sparse.public


BAD_AGENTS: dict[str, Any] = {
    "a pair's file": FIELDS,
    "no key": {"agents": AGENTS},
    "no agents": {"key": FIELDS},
    "another field": {"key": FIELDS, "agents": AGENTS, "x": 1},
    "a key that is none": {"key": {"private": PRIVATE}, "agents": AGENTS},
    "agents that are no list": {"key": FIELDS, "agents": {"url": "x", "username": "x"}},
    "agents that are null": {"key": FIELDS, "agents": None},
    "too many agents": {"key": FIELDS, "agents": [AGENTS[0]] * 1_001},
    "an agent that is none": {"key": FIELDS, "agents": ["x"]},
    "an agent without a name": {"key": FIELDS, "agents": [{"url": "x"}]},
    "an agent with an empty name": {"key": FIELDS, "agents": [{"url": "x", "username": ""}]},
    "an agent with an empty URL": {"key": FIELDS, "agents": [{"url": "", "username": "x"}]},
    "an agent whose name is a number": {"key": FIELDS, "agents": [{"url": "x", "username": 5}]},
    "an agent with more": {"key": FIELDS, "agents": [{"url": "x", "username": "x", "y": "z"}]},
    "a name without end": {"key": FIELDS, "agents": [{"url": "x", "username": "x" * 2_049}]},
}


def test_the_largest_agents(write: Write) -> None:
    """A name of one character and one of 2,048, and a thousand agents, are within bounds."""
    longest = {"url": "x", "username": "y" * 2_048}
    assert read_agent_file(write({"key": FIELDS, "agents": [longest]})).agents == (Agent("x", "y" * 2_048),)
    thousand = [{"url": "x", "username": "y"}] * 1_000
    assert read_agent_file(write({"key": FIELDS, "agents": thousand})).agents == (Agent("x", "y"),) * 1_000


@pytest.mark.parametrize("about", BAD_AGENTS)
def test_files_that_are_no_agent_s(write: Write, about: str) -> None:
    """What is not exactly an agent's file is refused."""
    path = write(BAD_AGENTS[about])
    with pytest.raises(KeyFileError):
        read_agent_file(path)


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o602, 0o644])
def test_files_that_others_can_read(write: Write, mode: int) -> None:
    """A file that somebody else can read or write is refused, with what to do; its owner may not be able to write."""
    with pytest.raises(KeyFileError, match="run chmod 600"):
        read_key_file(write(FIELDS, mode))
    assert read_key_file(write(FIELDS, 0o400)).public == PAIR.public


def test_no_file(tmp_path: Path) -> None:
    """What is not there, a directory, and a pipe on which nobody writes are no files; nothing waits for them."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path, reason in (
        (tmp_path / "none", "there is no such file; capsvc keygen makes one"),
        (tmp_path, "cannot be read (Is a directory)"),
        (pipe, "is no file of a key pair, which has at most 65536 octets"),
        (tmp_path / "pipe" / "inside", "cannot be read (Not a directory)"),
        (Path("a\0b"), "cannot be read (no path)"),
    ):
        with pytest.raises(KeyFileError) as caught:
            read_key_file(path)
        assert str(caught.value) == f"{path}: {reason}"
