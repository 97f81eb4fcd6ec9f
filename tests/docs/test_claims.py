"""The README against the program: every code, setting, command, route, type and bound is in it, and none beside."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING

import click
import httpx
import pytest

import capsvc
from capsvc.cli import main
from capsvc.client import DischargeError
from capsvc.client.auth import NARROW_TTL
from capsvc.client.driving import WAIT
from capsvc.config import Settings
from capsvc.config_checks import CHECKS
from capsvc.discharge.loading import GROUP
from capsvc.discharge.service import MAX_TTL
from capsvc.discharge.sessions import IDLE_SECONDS, LIFETIME_SECONDS
from capsvc.discharge.static import KEYS
from capsvc.discharge.users import set_password
from capsvc.discharge.waits import WAIT_SECONDS
from capsvc.errors import STATUS
from capsvc.http.openapi import DOCUMENT
from capsvc.keyfile import KeyFileError, read_agent_file, read_key_file
from capsvc.macaroon.bundle import LIMITS, MAX_DEPTH, MAX_DISCHARGES
from capsvc.macaroon.thirdparty import KeyPair, key_text
from caveats import SATISFIED, TYPES, CaveatError, Refused, Vocabulary, check, encode, parse

if TYPE_CHECKING:
    from tests.docs.conftest import Readme

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"`([a-z]+(?:-[a-z]+)*)`")
SETTING = re.compile(r"`([a-z_]+)`")
DECLARED = Vocabulary.built_in().declare("floor", "integer").declare("room", "integer").declare("build", "digest")


def _calls() -> Iterator[ast.Call]:
    for path in (ROOT / "capsvc").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield node


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _codes_raised(exception: str, argument: int) -> set[str]:
    """The codes that the program gives an exception, where they are written out."""
    given = [call.args[argument] for call in _calls() if _name(call) == exception and len(call.args) > argument]
    texts = [
        node for value in given for node in ([value.body, value.orelse] if isinstance(value, ast.IfExp) else [value])
    ]
    return {node.value for node in texts if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def _codes_of_classes() -> set[str]:
    """The codes of exceptions that have but one."""
    found: set[str] = set()
    for path in (ROOT / "capsvc").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                assigned = [item for item in node.body if isinstance(item, ast.Assign)]
                found |= {ast.literal_eval(item.value) for item in assigned if ast.unparse(item.targets[0]) == "code"}
    return found


def _walk(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _walk(found, (*path, name))
    else:
        yield path, command


COMMANDS = dict(_walk(main, ("capsvc",)))


def options(command: click.Command) -> set[str]:
    """The options that a command has."""
    return {name for param in command.params if isinstance(param, click.Option) for name in param.opts}


def test_every_code_of_the_contract_has_a_row_with_its_status(readme: Readme) -> None:
    """The two tables of codes are the program's table, `internal-error` and nothing else."""
    rows = readme.table("Codes", "code | status")
    documented = {cells[0].strip("`"): int(cells[1]) for cells in rows}
    section = readme.section("Codes").split("**Requests**")[1]
    found = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", section, re.MULTILINE)
    documented |= {name: int(status) for name, status in found}
    assert documented == {**STATUS, "internal-error": 500}


def test_every_code_that_stops_a_start_has_a_row(readme: Readme) -> None:
    """What `StartError` is raised with anywhere, and no code that has gone."""
    rows = {cells[0].strip("`") for cells in readme.table("Codes", "code | what to do")}
    assert rows == _codes_raised("StartError", 0) | {"settings"}


def test_every_other_code_is_named(readme: Readme) -> None:
    """Those of clients, of dischargers, of the command line and of tokens' text."""
    raised = (
        _codes_raised("TokenError", 0)
        | _codes_raised("RequestError", 0)
        | _codes_raised("ServiceError", 1)
        | _codes_raised("Failure", 1)
        | _codes_raised("Problem", 1)
        | _codes_of_classes()
        | {"internal"}
    )
    assert {"key-file", "users-file", "principals-file", "checker", "output", "key-differs"} <= raised
    assert raised <= set(CODE.findall(readme.section("Codes")))


def test_every_code_of_a_discharge_that_is_not_to_be_had_has_a_row(readme: Readme) -> None:
    """What `DischargeError` is raised with, what its docstring promises, and what a wait that is over becomes."""
    rows = {cells[0].strip("`") for cells in readme.table("Codes", "code of a discharge")}
    promised = set(re.findall(r"``([a-z-]+)``", (DischargeError.__doc__ or "").split("one of")[1]))
    assert rows >= promised | _codes_raised("DischargeError", 1)
    assert rows <= promised | _codes_raised("DischargeError", 1) | {"not-found"}


def test_every_setting_has_a_row_with_its_default(readme: Readme) -> None:
    """All settings, and no other."""
    rows = {name: cells[1] for cells in readme.table("Settings", "setting") for name in SETTING.findall(cells[0])}
    assert set(rows) == {item.name for item in fields(Settings)} == set(CHECKS)
    settings = Settings()
    assert all(item.default is MISSING for item in fields(Settings))  # the defaults are those of __init__
    for name in ("data_dir", "host", "port", "workers", "revocation_max_lag"):
        assert rows[name] == f"`{getattr(settings, name)}`"
    for name in ("behind_proxy", "metrics_open"):
        assert rows[name] == f"`{str(getattr(settings, name)).lower()}`"
    assert not settings.trusted_proxies
    assert not settings.attributes


def test_every_command_and_option_is_in_the_table(readme: Readme) -> None:
    """Each command has a row; each option stands in that row, or in the paragraph on what they have in common."""
    rows = readme.table("Command line", "command")
    common = set(re.findall(r"--[a-z-]+", readme.section("Command line").split("Those from `mint`")[1].split("```")[0]))
    documented: dict[tuple[str, ...], set[str]] = {}
    for cells in rows:
        for words in re.findall(r"`(capsvc [^`]*)`", cells[0]):
            name = tuple(word for word in words.split() if word.islower())
            documented[name] = set(re.findall(r"--[a-z-]+", cells[2]))
    assert documented.keys() == COMMANDS.keys()
    for name, command in COMMANDS.items():
        assert options(command) <= documented[name] | common, name
    for cells in rows:
        named = [COMMANDS[name] for name in documented if f"`{' '.join(name)}" in cells[0]]
        offered = set().union(*(options(command) for command in named))
        assert set(re.findall(r"--[a-z-]+", cells[2])) <= offered, cells[0]
    assert {"--version", "--help"} <= common


def _command_lines(readme: Readme) -> Iterator[str]:
    for block in readme.of("ini"):
        yield from re.findall(r"^ExecStart=\S*/(capsvc .*)$", block.text, re.MULTILINE)
    for text in re.findall(r"`(capsvc (?:[^`\n]|\n(?!\n))*)`", readme.text):
        if "[" not in text and "COMMAND" not in text:
            yield " ".join(text.split())


def test_every_command_line_in_passing_is_one(readme: Readme) -> None:
    """Command lines in the prose and in the unit file name commands and options that there are."""
    lines = list(_command_lines(readme))
    assert len(lines) > 40
    for line in lines:
        words = shlex.split(line)
        name = next((path for path in COMMANDS if tuple(words[: len(path)]) == path), None)
        assert name is not None, line
        assert {word for word in words if word.startswith("--")} <= options(COMMANDS[name]), line


def test_every_route_and_permission_is_in_the_table(readme: Readme) -> None:
    """All methods and paths (``any`` where the method says nothing), and all permissions that a handler asks for."""
    rows = readme.table("HTTP", "")
    offered = {
        f"{method} {path}"
        for path, methods in DOCUMENT["paths"].items()
        for method in (("any",) if "trace" in methods else [name.upper() for name in methods])
    }
    assert {cells[0].strip("`") for cells in rows} == offered
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "capsvc" / "http").glob("*.py"))
    asked = set(re.findall(r'"((?:tokens|keys|dischargers|revocations):[a-z]+)"', sources))
    assert asked == set(re.findall(r"`([a-z]+:[a-z]+)`", "".join(cells[2] for cells in rows)))


def test_caveats_hold_as_the_table_says(readme: Readme) -> None:
    """Each row's caveat, with what it holds for and what it does not hold for; it is spelled as it is encoded."""
    rows = readme.table("The caveat language", "caveat")
    for text, holds, refuses in ([cell.strip("`") for cell in cells] for cells in rows):
        caveat = parse(text, DECLARED)
        assert encode(caveat) == text
        assert check(caveat, _context(holds)) is SATISFIED, text
        assert check(caveat, _context(refuses)) == Refused("caveat-refused"), text
    assert {cells[0].strip("`").split()[0] for cells in rows[:13]} == set(Vocabulary.built_in().names)


def _context(pair: str) -> dict[str, object]:
    name, _, text = pair.partition("=")
    attribute = DECLARED.get(name)
    assert attribute is not None
    raw: object = int(text) if attribute.type.name == "integer" else text
    return {name: attribute.type.from_context(raw)}


def test_what_is_not_accepted_is_not(readme: Readme) -> None:
    """Each refused spelling, with the code that the reason implies."""
    rows = readme.table("The caveat language", "not accepted")
    assert len(rows) >= 9
    for cells in rows:
        with pytest.raises(CaveatError) as refused:
            parse(cells[0].strip("`"), DECLARED)
        assert refused.value.code == ("caveat-unknown" if "declared" in cells[1] else "caveat-malformed"), cells[0]


def test_types_and_operators_are_those_of_the_language(readme: Readme) -> None:
    """Every type, each with its operators."""
    rows = readme.table("The caveat language", "type")
    documented = {cells[0].strip("`"): set(re.findall(r"`([^`]+)`", cells[2])) for cells in rows}
    assert documented == {name: set(kind.operators) for name, kind in TYPES.items()}


def test_bounds_are_those_that_are_enforced(readme: Readme) -> None:
    """Each published limit stands in the paragraph on bounds."""
    paragraph = readme.section("The caveat language").split("**Bounds**")[1]
    numbers = {int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\d|\d", paragraph)}
    assert numbers == set(LIMITS.values())


def test_exports_are_named(readme: Readme) -> None:
    """What `capsvc` exports stands at the head of the section on Python."""
    assert set(re.findall(r"`(\w+)`", readme.section("Python").split(";")[0])) - {"capsvc"} == set(capsvc.__all__)


def test_blocks_of_toml_are_accepted(readme: Readme) -> None:
    """What the README sets and declares can be, and the entry point is one that is looked for, for what it writes."""
    blocks = [tomllib.loads(block.text) for block in readme.of("toml")]
    points = [block["project"]["entry-points"] for block in blocks if "project" in block]
    settings = [Settings(**block) for block in blocks if "project" not in block]
    assert len(settings) >= 2
    assert any(setting.attributes for setting in settings)
    assert points == [{GROUP: {"is-in-team": "ourchecks:is_in_team"}}]
    assert "async def is_in_team(" in "".join(block.text for block in readme.of("python"))


def test_files_of_third_parties_are_as_the_table_says(readme: Readme, tmp_path: Path) -> None:
    """A key file and an agent file of those fields are read, with others they are not; so is a users file's line."""
    rows = {cells[0]: cells[1] for cells in readme.table("Third parties", "file")}
    assert rows.keys() == {"key", "agent", "users", "principals"}
    pair = KeyPair.generate()
    halves = {"public": key_text(pair.public), "private": key_text(pair.private())}
    shapes = {name: json.loads(re.findall(r"`(\{.*\})`", rows[name])[0]) for name in ("key", "agent")}
    assert shapes["key"].keys() == halves.keys() == shapes["agent"]["key"].keys()
    agents = [dict.fromkeys(shape, "https://desk.example") for shape in shapes["agent"]["agents"]]
    read = {"key": read_key_file, "agent": read_agent_file}
    for name, content in (("key", halves), ("agent", {"key": halves, "agents": agents})):
        path = tmp_path / name
        path.write_text(json.dumps(content))
        path.chmod(0o600)
        read[name](path)
        path.chmod(0o640)
        with pytest.raises(KeyFileError, match="others can read"):
            read[name](path)
    set_password(tmp_path / "users", "ada", "correct horse")
    line = (tmp_path / "users").read_text()
    assert line.startswith(re.findall(r"`name(\S+?)…`", rows["users"])[0].join(["ada", ""]))
    assert (tmp_path / "users").stat().st_mode & 0o777 == 0o600
    assert set(re.findall(r"`([a-z_]+)`", rows["principals"])) == KEYS


def test_numbers_of_dischargers_are_the_programs(readme: Readme) -> None:
    """Ports, lifetimes, waits, sessions, numbers and depth."""
    text = " ".join(readme.section("Third parties").split())
    options = {param.name: param.default for param in COMMANDS["capsvc", "discharger", "serve"].params}
    assert (options["port"], options["discharge_ttl"], MAX_TTL) == (8701, 300, 3600)
    assert "on port 8701" in text
    assert "five minutes by default and an hour at most" in text
    assert (WAIT, WAIT_SECONDS) == (600, 600)
    assert "waits for ten minutes at most" in text
    assert (LIFETIME_SECONDS, IDLE_SECONDS) == (12 * 3600, 3600)
    assert "A session lasts for twelve hours, an hour without use" in text
    assert (MAX_DEPTH, MAX_DISCHARGES) == (4, 16)
    assert "4 deep and 16 in all" in text
    assert NARROW_TTL == 60
    assert "that lives for a minute" in text


def test_links_lead_somewhere(readme: Readme) -> None:
    """Files exist, and so do headings."""
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", readme.text, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", readme.text):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif "://" not in target:
            assert (ROOT / target).is_file(), target


def test_what_is_missing_is_missing(readme: Readme, tmp_path: Path) -> None:
    """The limits of today are limits: no such commands, no such addresses, beside one that there is."""
    limits = readme.section("Limits of today")
    later = {"backup", "restore", "rekey"}
    for name in later:
        assert f"`{name}`" in limits
    assert not later & {path[1] for path in COMMANDS}
    assert "audit" not in {path[1] for path in COMMANDS}
    assert asyncio.run(_statuses(tmp_path, "/healthz", *LATER)) == [200, *[404] * len(LATER)]
    assert "--workers" not in options(COMMANDS["capsvc", "discharger", "serve"])
    assert "A discharger is one process" in limits


def test_nothing_says_that_there_are_no_third_parties(readme: Readme) -> None:
    """What was missing once is nowhere said to be missing still."""
    assert "not yet" not in readme.section("Third parties")
    assert "cannot be registered" not in readme.text
    assert "no exchange" not in readme.text


LATER = (
    "/v1/audit",
    "/metrics",
)


async def _statuses(tmp_path: Path, *paths: str) -> list[int]:
    app = capsvc.create_app(Settings(data_dir=tmp_path / "data"))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://capsvc") as client,
    ):
        return [(await client.get(path)).status_code for path in paths]
