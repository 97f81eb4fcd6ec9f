"""The `static` checker: its file, and what it answers to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from capsvc.discharge import AgentLogin, KeyPair, Principals, PrincipalsError, read_principals, static_checker
from capsvc.macaroon.thirdparty import key_text

from .conftest import Discharger, Serve, caveats, discharged, refused

BOT = key_text(KeyPair(b"b" * 32).public)
OTHER = key_text(KeyPair(b"o" * 32).public)
GOOD = f"""
[principals.build-bot]
public_keys = ["{BOT}", "{OTHER}"]
conditions = ["is-authenticated-user", "may-deploy photos"]
declare = {{ username = "build-bot", team = "" }}

[principals."bob@agents"]
public_keys = ["{OTHER}"]
conditions = ["is-authenticated-user"]
"""


def read(tmp_path: Path, text: str | bytes) -> Principals:
    """The principals of a file with that content."""
    path = tmp_path / "principals.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_principals(path)


def test_a_file(tmp_path: Path) -> None:
    """Principals by name, each an agent with its keys."""
    principals = read(tmp_path, GOOD)
    assert list(principals.by_name) == ["build-bot", "bob@agents"]
    bot, bob = principals.by_name.values()
    assert bot.public_keys == (BOT, OTHER)
    assert bot.conditions == {"is-authenticated-user", "may-deploy photos"}
    assert bot.declared == {"username": "build-bot", "team": ""}
    assert (bob.public_keys, bob.declared) == ((OTHER,), {})
    assert principals.agents() == {"build-bot": (BOT, OTHER), "bob@agents": (OTHER,)}
    assert read_principals(str(tmp_path / "principals.toml")) == principals
    longest = read(tmp_path, GOOD.replace("may-deploy photos", "x" * 512))
    assert "x" * 512 in longest.by_name["build-bot"].conditions


ENTRY = '[principals.bot]\nconditions = ["c"]\n'
KEYED = f'{ENTRY}public_keys = ["{BOT}"]\n'


@pytest.mark.parametrize(
    ("text", "blamed"),
    [
        ("", "[principals.NAME]"),
        ("[principals]", "[principals.NAME]"),
        ("principals = []", "[principals.NAME]"),
        ("principals = 1", "[principals.NAME]"),
        ('[principals."é"]', "principals....: a principal's name is a word"),
        ('[principals."a\\u0007"]', "principals....: a principal's name is a word"),
        (f"[principals.{'a' * 129}]", "principals....: a principal's name is a word"),
        (f"[principals.{'a' * 128}]\nx = 1", f"principals.{'a' * 128}: has the keys conditions, declare, public_keys,"),
        (f"x = 1\n{ENTRY}", "[principals.NAME]"),
        ("[principals", "is not TOML at end of document"),
        (f"{ENTRY}{ENTRY}", "is not TOML at line 3"),
        (b"\xff", "is not UTF-8"),
        ("[principals]\nbot = 1", "principals.bot: has the keys"),
        ("[principals.bot]", "principals.bot.conditions: has one condition at least"),
        (f"{ENTRY}condition = []", "principals.bot: has the keys"),
        ('[principals.""]\nconditions = ["c"]', "a principal's name is a word"),
        ('[principals."a b"]\nconditions = ["c"]', "a principal's name is a word"),
        ("[principals.bot]\nconditions = []", "principals.bot.conditions: has one condition at least"),
        ('[principals.bot]\nconditions = "c"', "principals.bot.conditions: is a list of texts"),
        ("[principals.bot]\nconditions = [1]", "principals.bot.conditions: is a list of texts"),
        ('[principals.bot]\nconditions = ["c", "c"]', "principals.bot.conditions: has the same entry twice"),
        ('[principals.bot]\nconditions = [""]', "principals.bot.conditions: a condition is 1 to 512 printable"),
        ('[principals.bot]\nconditions = ["a\\nb"]', "principals.bot.conditions: a condition is 1 to 512 printable"),
        (f'[principals.bot]\nconditions = ["{"x" * 513}"]', "principals.bot.conditions: a condition is 1 to 512"),
        (
            '[principals.bot]\nconditions = ["need-declared a c"]',
            "principals.bot.conditions: a condition is what stands after need-declared",
        ),
        ('[principals.bot]\nconditions = ["need-declared "]', "principals.bot.conditions: need-declared is followed"),
        (ENTRY, "principals.bot.public_keys: has one key at least"),
        (f"{ENTRY}public_keys = []", "principals.bot.public_keys: has one key at least"),
        (f'{KEYED}[principals."{"é" * 9}"]', "principals....: a principal's name is a word"),
        (f'{ENTRY}public_keys = "{BOT}"', "principals.bot.public_keys: is a list of texts"),
        (f'{ENTRY}public_keys = ["x"]', "principals.bot.public_keys: a public key is 32 octets in standard base64"),
        (f'{ENTRY}public_keys = ["{BOT}", "{BOT}"]', "principals.bot.public_keys: has the same entry twice"),
        (f'{ENTRY}public_keys = ["{key_text(bytes(32))}"]', "principals.bot.public_keys: a public key of low order"),
        (f"{ENTRY}declare = 1", "principals.bot.declare: is a table of names and texts"),
        (f"{ENTRY}declare = {{ a = 1 }}", "principals.bot.declare: is a table of names and texts"),
        (f'{ENTRY}declare = {{ "a b" = "c" }}', "principals.bot.declare: A declared name has"),
        (f'{ENTRY}declare = {{ a = "ü" }}', "principals.bot.declare: A declared value has"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str | bytes, blamed: str) -> None:
    """Errors name the file and the key, in characters that a terminal shows, and end the process as other files do."""
    assert read(tmp_path, KEYED).by_name["bot"].conditions == {"c"}
    with pytest.raises(PrincipalsError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'principals.toml'}: ")
    assert blamed in str(caught.value)
    assert (caught.value.code, caught.value.exit_code) == ("principals-file", 3)
    assert str(caught.value).isascii()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """What is not there, is no file, is too large, or can be written by everybody is refused."""
    path = tmp_path / "principals.toml"
    for wrong, blamed in ((path, "cannot be read"), (tmp_path, "no file of principals")):
        with pytest.raises(PrincipalsError, match=blamed):
            read_principals(wrong)
    read(tmp_path, KEYED)
    path.chmod(0o666)
    with pytest.raises(PrincipalsError, match="run chmod o-w"):
        read_principals(path)
    path.chmod(0o664)
    assert read_principals(path)
    with pytest.raises(PrincipalsError, match=r"is not TOML$"):
        read(tmp_path, "x = " + "[" * 50_000)
    with pytest.raises(PrincipalsError, match="at most 8 MiB"):
        read(tmp_path, KEYED + "#" * (8 << 20))


class Known:
    """A login that takes whatever name is sent."""

    def __init__(self, kind: str = "agent") -> None:
        self.kind = kind

    def install(self, _surroundings: Any) -> None:
        """See `Login`."""

    def routes(self) -> list[Any]:
        """See `Login`."""
        return []

    def offer(self, _begin: Any) -> dict[str, object]:
        """See `Login`."""
        return {}

    def user(self, token: bytes, _caveat: bytes) -> str | None:
        """See `Login`."""
        return token.decode()


@pytest.fixture
def static(serve: Serve, tmp_path: Path) -> Discharger:
    """A discharger with that file."""
    return serve(checker=static_checker(read(tmp_path, GOOD)), logins=[Known()])


def ask(static: Discharger, condition: str, name: str) -> Any:
    """Ask for a condition as a principal."""
    return static.ask(static.caveat(condition), token=name, token_kind="agent")


def test_what_it_answers(static: Discharger) -> None:
    """A principal's own conditions, with what it declares, as far as it is asked for."""
    made = discharged(ask(static, "need-declared username,x may-deploy photos", "build-bot"))
    assert caveats(made)[1:] == ["declared username build-bot", "declared x "]
    made = discharged(ask(static, "need-declared username is-authenticated-user", "bob@agents"))
    assert caveats(made)[1:] == ["declared username "]


@pytest.mark.parametrize(
    ("condition", "name"),
    [
        ("may-deploy photos", "bob@agents"),
        ("may-deploy", "build-bot"),
        ("may-deploy photos ", "build-bot"),
        ("may-deploy  photos", "build-bot"),
        ("May-Deploy photos", "build-bot"),
        ("may-deploy photos2", "build-bot"),
        ("is-authenticated-user", "nobody"),
        ("is-authenticated-user", "Build-Bot"),
        ("need-declared username need-declared team is-authenticated-user", "build-bot"),
    ],
)
def test_what_it_refuses(static: Discharger, condition: str, name: str) -> None:
    """What is not one of them octet by octet, or of somebody else, is bakery's 401."""
    refused(ask(static, condition, name), 401, "permission denied")


def test_a_person_of_that_name(serve: Serve, tmp_path: Path) -> None:
    """Is no principal: names of people and of programs are not one another's."""
    logins = [Known("agent"), Known("browser-window")]
    both = serve(checker=static_checker(read(tmp_path, GOOD)), logins=logins)
    caveat = both.caveat("is-authenticated-user")
    said = refused(both.ask(caveat, token="build-bot", token_kind="browser-window"), 401, "permission denied")
    assert said == "this service answers agents alone, who log in with their key"
    discharged(both.ask(caveat, token="build-bot", token_kind="agent"))


def test_nobody_yet(static: Discharger) -> None:
    """Without a login it asks for one, whatever the condition."""
    for condition in ("is-authenticated-user", "anything"):
        refused(static.ask(static.caveat(condition)), 401, "interaction required")


def test_its_agents_log_in(tmp_path: Path) -> None:
    """A file's agents are what the login of agents takes."""
    assert AgentLogin(read(tmp_path, GOOD).agents()).kind == "agent"
