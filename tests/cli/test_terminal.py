"""What a terminal gets: colours where they are wanted, tables, no wrapped or plain text where it is not one."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess

import pytest

from .conftest import TID, Live, Root, Run, command, environment

LONG = "action in " + ",".join(f"operation-{number:02}" for number in range(20))


def _on_terminal(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> str:
    """What a command writes to a terminal of 60 columns."""
    master, slave = pty.openpty()
    settings = {"TERM": "xterm-256color", "COLUMNS": "60", **(env or {})}
    process = subprocess.Popen(
        command(*arguments), stdin=subprocess.PIPE, stdout=slave, stderr=slave, env=environment(settings)
    )
    os.close(slave)
    assert process.stdin is not None
    process.stdin.write(stdin.encode())
    process.stdin.close()
    octets = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while chunk := os.read(master, 65_536):
            octets += chunk
    os.close(master)
    assert process.wait(timeout=60) == 0
    return octets.decode().replace("\r\n", "\n")


def test_colours_on_a_terminal_alone(run: Run, root: Root) -> None:
    """Inspect is in colour on a terminal, and has no escape at all with NO_COLOR, on a dumb one, or piped."""
    token = root(LONG)
    coloured = _on_terminal("inspect", stdin=token)
    assert "\x1b[" in coloured
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in _on_terminal("inspect", stdin=token, env=env)
    piped = run("inspect", stdin=token, env={"FORCE_COLOR": "1"}).done()
    assert "\x1b" not in piped


def test_lines_are_wrapped_on_a_terminal_alone(run: Run, root: Root) -> None:
    """A long caveat is folded to the terminal's width, and stays in one line when piped, so that it can be found."""
    token = root(LONG)
    shown = _on_terminal("inspect", stdin=token, env={"NO_COLOR": "1"})
    assert max(map(len, shown.splitlines())) <= 60
    assert any(LONG in line for line in run("inspect", stdin=token).done().splitlines())


def test_a_token_is_typed_on_a_terminal(root: Root) -> None:
    """On a terminal without FILE a command reads what is typed until ^D."""
    master, slave = pty.openpty()
    process = subprocess.Popen(command("inspect", "--json"), stdin=slave, stdout=subprocess.PIPE, env=environment())
    os.close(slave)
    os.write(master, root().encode() + b"\n\x04")
    out, _ = process.communicate(timeout=60)
    os.close(master)
    assert (process.returncode, json.loads(out)["id"]) == (0, TID)


@pytest.mark.parametrize(
    "arguments", [["audiences", "list"], ["keys", "list"], ["tokens", "list"], ["bakery-keys", "list"]]
)
def test_tables(live: Live, arguments: list[str], run: Run) -> None:
    """A list is a table with a heading on a terminal; piped, a line a row with tabs and no heading."""
    shown = _on_terminal(*arguments, env={**live.env, "NO_COLOR": "1", "COLUMNS": "200"}).splitlines()
    piped = run(*arguments, env=live.env).done().splitlines()
    assert "\t" not in "".join(shown)
    heading = {
        "audiences": ["name", "max_ttl", "created_at"],
        "keys": ["kid", "state", "created_at"],
        "bakery-keys": ["public_key", "state", "created_at"],
    }
    expected = heading.get(arguments[0], ["id", "state", "audience", "subject", "expires_at", "label"])
    assert shown[0].split() == expected
    assert all(line.count("\t") == len(expected) - 1 for line in piped)
    assert re.split(r"\s+", shown[1].strip())[0] == piped[0].split("\t")[0]


@pytest.mark.parametrize("arguments", [["audiences", "list"], ["keys", "list"], ["tokens", "list"]])
def test_names_stay_whole_on_a_narrow_terminal(live: Live, arguments: list[str], run: Run) -> None:
    """What the next command asks for can be copied: other columns are folded for it."""
    shown = _on_terminal(*arguments, env={**live.env, "NO_COLOR": "1", "COLUMNS": "50"}).splitlines()
    piped = run(*arguments, env=live.env).done().splitlines()
    names = [row.split("\t")[0] for row in piped]
    assert [line.split()[0] for line in shown if not line.startswith(" ")][1:] == names


def test_a_key_stays_whole_where_there_is_room(live: Live, run: Run) -> None:
    """A public key can be compared: it is folded only where it would leave no room for anything else."""
    key = run("bakery-keys", "list", env=live.env).done().split("\t")[0]
    wide = _on_terminal("bakery-keys", "list", env={**live.env, "NO_COLOR": "1", "COLUMNS": "60"})
    narrow = _on_terminal("bakery-keys", "list", env={**live.env, "NO_COLOR": "1", "COLUMNS": "40"})
    assert key in wide
    assert key not in narrow
    assert max(map(len, narrow.splitlines())) <= 40


def test_json_is_readable_on_a_terminal(root: Root) -> None:
    """JSON is indented for people; piped it is one line."""
    assert '\n  "location"' in _on_terminal("inspect", "--json", stdin=root())
