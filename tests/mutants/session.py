"""A pytest session in which tests are collected once and mutants tried by forking: what makes it fast.

A mutant in the body of a function is tried by giving the function the mutated code, in a child, and running only the
tests that reach the line. One in what import works out (a constant, a default), and one that no test has noticed so
far, is tried again in a process that imports everything anew (`tests.mutants.fresh`).
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import hypothesis
import pytest

from tests.mutants.groups import ROOT
from tests.mutants.mutate import Mutant, code_of

__all__ = ["ARGUMENTS", "Reach", "Tests", "load_profile"]

ARGUMENTS: Final = (
    "--override-ini=addopts=--import-mode=importlib",
    "--override-ini=timeout=0",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "-p",
    "no:faulthandler",
    "-q",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)
"""Each child has limits of its own, and leaves nothing behind."""


def load_profile() -> None:
    """Properties with the same examples each time, none kept, none shrunk: only whether one fails counts."""
    hypothesis.settings.register_profile(
        "mutants",
        database=None,
        deadline=None,
        derandomize=True,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutants")


@dataclass(frozen=True, slots=True)
class Reach:
    """What a test executes, and how long it takes."""

    lines: frozenset[tuple[str, int]]
    """File, as code objects name it, and line."""
    seconds: float
    """Of processor time."""
    clock: float
    """Seconds by the clock, which a test that waits takes without using the processor."""


class _FirstFailure:
    """Remembers the first test that failed."""

    def __init__(self) -> None:
        self.failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """See pytest."""
        if report.failed and not self.failed:
            self.failed = report.nodeid


class Tests:
    """The collected tests of a running session. Only children run them."""

    def __init__(self, session: pytest.Session) -> None:
        self._config = session.config
        self.items: list[pytest.Item] = session.items
        self._functions: dict[tuple[str, str, int], list[types.FunctionType]] = {}

    def index_functions(self, files: Sequence[str]) -> None:
        """Find every function of these files that there is."""
        paths = {str(ROOT / file) for file in files}
        for function in gc.get_objects():
            if isinstance(function, types.FunctionType) and function.__code__.co_filename in paths:
                code = function.__code__
                key = (code.co_filename, code.co_qualname, code.co_firstlineno)
                self._functions.setdefault(key, []).append(function)

    def apply(self, mutant: Mutant) -> bool:
        """Give the mutated function its code; False if it cannot be found, or is worked out on import."""
        if mutant.function is None:
            return False
        name, line = mutant.function
        functions = self._functions.get((str(ROOT / mutant.file), name, line))
        code = next((one for one in _codes(code_of(ROOT, mutant)) if one.co_qualname == name), None)
        if not functions or code is None or code.co_freevars != functions[0].__code__.co_freevars:
            return False
        for function in functions:
            function.__code__ = code
        return True

    def run(self, items: Sequence[pytest.Item], directory: str) -> str:
        """Run tests up to the first failure; its name, or nothing."""
        self._be_quiet(directory)
        watch = _FirstFailure()
        self._config.pluginmanager.register(watch)
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if watch.failed:
                break
        return watch.failed

    def trace(self, files: Sequence[str], directory: str) -> tuple[str, dict[str, Reach]]:
        """Run every test and see what it reaches; also the first that failed, if any did."""
        self._be_quiet(directory)
        watch = _FirstFailure()
        self._config.pluginmanager.register(watch)
        paths = frozenset(str(ROOT / file) for file in files)
        reached: dict[str, Reach] = {}
        for item, following in zip(self.items, [*self.items[1:], None], strict=True):
            lines: set[tuple[str, int]] = set()
            started, clock = time.process_time(), time.monotonic()
            with _tracing(paths, lines):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            took = time.process_time() - started
            reached[item.nodeid] = Reach(frozenset(lines), took, time.monotonic() - clock)
        return watch.failed, reached

    def _be_quiet(self, directory: str) -> None:
        manager = self._config.pluginmanager
        manager.unregister(name="terminalreporter")
        factory: Any = self._config._tmp_path_factory  # type: ignore[attr-defined]
        factory._given_basetemp = Path(directory) / "tests"
        factory._basetemp = None


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code object and all that are inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


class _tracing:  # noqa: N801 - used like a function
    """Collects the executed lines of some files."""

    def __init__(self, paths: frozenset[str], lines: set[tuple[str, int]]) -> None:
        self._paths = paths
        self._lines = lines

    def __enter__(self) -> None:
        threading.settrace(self._call)
        sys.settrace(self._call)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)

    def _call(self, frame: types.FrameType, _event: str, _arg: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in self._paths:
            return None
        self._lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line

    def _line(self, frame: types.FrameType, event: str, _arg: object) -> Callable[..., Any]:
        if event == "line":
            self._lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


def reaching(tests: Sequence[pytest.Item], reached: Mapping[str, Reach], mutant: Mutant) -> list[pytest.Item]:
    """The tests that execute a mutant's lines, the quickest first."""
    path = str(ROOT / mutant.file)
    wanted = {(path, line) for line in mutant.lines}
    found = [item for item in tests if item.nodeid in reached and not wanted.isdisjoint(reached[item.nodeid].lines)]
    return sorted(found, key=lambda item: reached[item.nodeid].clock)
