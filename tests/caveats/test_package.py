"""The package's front door and what it stands on."""

from __future__ import annotations

import ast
import doctest
import sys
from pathlib import Path
from types import ModuleType

import caveats

ROOT = Path(caveats.__file__).parent
PURE = {
    "abc",
    "collections",
    "dataclasses",
    "datetime",
    "ipaddress",
    "operator",
    "re",
    "string",
    "types",
    "typing",
    "urllib",
}


def test_the_front_door() -> None:
    """What can be imported from the package is what `__all__` names, all of it documented."""
    public = {name for name, value in vars(caveats).items() if name[0] != "_" and not isinstance(value, ModuleType)}
    assert public == set(caveats.__all__)
    assert list(caveats.__all__) == sorted(
        caveats.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )


def test_it_stands_on_pure_parts_of_the_standard_library() -> None:
    """No clock, no files, no network, no randomness, and nothing of capsvc."""
    imported = set()
    for module in ROOT.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                imported.add(str(node.module).split(".")[0])
    assert imported <= PURE | {"__future__", "caveats"}
    assert imported - {"caveats"} <= sys.stdlib_module_names


def test_no_clock_is_read() -> None:
    """`datetime` is there to count days: nothing asks it for the time."""
    for module in ROOT.glob("*.py"):
        names = {
            node.attr
            for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute)
        }
        assert not names & {"now", "utcnow", "today", "time", "fromtimestamp"}


def test_the_example_in_the_docstring() -> None:
    """It runs as it stands."""
    results = doctest.testmod(caveats)
    assert results.attempted > 0
    assert results.failed == 0
