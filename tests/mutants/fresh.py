"""Mutants tried in a process that imports everything anew: the slow way, and the last word on who survives."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence
from typing import Final

import pytest

from tests.mutants.groups import ROOT
from tests.mutants.mutate import Mutant, code_of
from tests.mutants.session import ARGUMENTS, load_profile

__all__ = ["import_what_is_foreign", "try_fresh"]

_FOREIGN: Final = (
    "pymacaroons",
    "macaroonbakery.httpbakery",
    "nacl.public",
    "nacl.secret",
    "nacl.bindings",
    "msgspec",
    "sqlite_utils",
    "hypothesis",
    "httpx",
)
"""Imported before the fork, since they are the same for every mutant."""


def import_what_is_foreign() -> None:
    """Import what no mutant changes."""
    for name in _FOREIGN:
        importlib.import_module(name)


class _MutantFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module as its mutant."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        dotted = mutant.file.removesuffix(".py").replace("/", ".")
        self._name = dotted.removesuffix(".__init__")

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: types.ModuleType | None = None, /
    ) -> importlib.machinery.ModuleSpec | None:
        """See importlib."""
        if fullname != self._name:
            return None
        file = ROOT / self._mutant.file
        package = [str(file.parent)] if file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(fullname, file, loader=self, submodule_search_locations=package)

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the mutated code."""
        exec(code_of(ROOT, self._mutant), module.__dict__)  # noqa: S102 - our own source, changed by us


class _Watch:
    """Remembers the first failure, of a test or of collecting."""

    def __init__(self) -> None:
        self.failed = ""

    def pytest_configure(self) -> None:
        """See pytest."""
        load_profile()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """See pytest."""
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """See pytest."""
        if report.failed and not self.failed:
            self.failed = f"collecting {report.nodeid}"


def try_fresh(mutant: Mutant | None, tests: Sequence[str], directory: str) -> str:
    """Run tests up to the first failure; its name, or nothing. Only in a child: what is imported stays.

    One file of tests at a time, the short ones first, since most mutants die before the long ones are even collected.
    """
    if mutant is not None:
        sys.meta_path.insert(0, _MutantFinder(mutant))
    watch = _Watch()
    for file in _files(tests):
        code = pytest.main([*ARGUMENTS, "-x", f"--basetemp={directory}/tests", file], plugins=[watch])
        if watch.failed or code != pytest.ExitCode.OK:
            return watch.failed or f"pytest: {code!r}"
    return ""


def _files(tests: Sequence[str]) -> list[str]:
    paths = [ROOT / one for one in tests]
    files = [file for path in paths for file in (path.rglob("test_*.py") if path.is_dir() else [path])]
    return [str(file) for file in sorted(files, key=lambda file: file.stat().st_size)]
