"""All mutants of some files, tried one after another: first the fast way, then afresh what nobody has noticed."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.mutants.children import Limits, run_all
from tests.mutants.fresh import import_what_is_foreign, try_fresh
from tests.mutants.groups import ROOT, Group
from tests.mutants.mutate import Mutant, mutants_of
from tests.mutants.session import ARGUMENTS, Reach, Tests, load_profile, reaching
from tests.mutants.survivors import Key

__all__ = ["Campaign", "Result"]

PATIENCE: Final = 4
"""How many times the time that the tests take without a mutant a mutant may take."""
ALLOWANCE: Final = 10  # seconds of processor time, on top of that
PAUSE: Final = 20  # seconds by the clock, on top of that: others may be using the machine
UNTRIED: Final = "?"


@dataclass(frozen=True, slots=True)
class Result:
    """A mutant and the test that noticed it; empty if none did."""

    mutant: Mutant
    killer: str


class Campaign:
    """One group's files."""

    def __init__(
        self,
        group: Group,
        files: Sequence[str],
        *,
        reasons: Mapping[Key, str],
        jobs: int,
        tell: Callable[[str], None],
    ) -> None:
        self._group = group
        self._files = files
        self._reasons = reasons
        self._jobs = jobs
        self._tell = tell
        self._limits = Limits(0, 0.0)
        self._progress = os.dup(2)  # children are silent otherwise

    def run(self, where: str = "") -> list[Result]:
        """Try every mutant in a function whose name contains ``where``."""
        mutants = [mutant for file in self._files for mutant in mutants_of(ROOT, file) if where in mutant.where]
        self._tell(f"{len(mutants)} mutants of {', '.join(self._files)}")
        # In a child, so that this process has imported nothing of ours when mutants are tried afresh.
        (outcome,) = run_all(iter([mutants]), self._in_session, lambda _: Limits(100_000, 100_000.0), 1)
        path = Path(outcome.killer)
        if not path.is_absolute():
            raise SystemExit(f"the tests do not run: {outcome.killer}")
        killers: dict[Key, str]
        killers, self._limits = pickle.loads(path.read_bytes())  # noqa: S301 - our own child's
        path.unlink()
        again = [mutant for mutant in mutants if self._is_open(mutant, killers)]
        self._tell(f"{len(again)} of them afresh")
        import_what_is_foreign()
        for result in run_all(iter(again), self._afresh, lambda _: self._limits, self._jobs):
            killers[result.task.key] = result.killer
            self._tell(f"  {'killed' if result.killer else 'SURVIVES'}: {result.task}  [{result.killer}]")
        return [Result(mutant, killers[mutant.key]) for mutant in mutants]

    def _is_open(self, mutant: Mutant, killers: Mapping[Key, str]) -> bool:
        """Whether the fast way has not settled it: it was no way, or nobody noticed and nobody has said why."""
        killer = killers[mutant.key]
        return killer == UNTRIED or (not killer and mutant.key not in self._reasons)

    def _afresh(self, mutant: Mutant, directory: str) -> str:
        return try_fresh(mutant, self._group.tests, directory)

    def _in_session(self, mutants: list[Mutant], directory: str) -> str:
        """Collect the tests once and try what can be tried so; where the outcome lies, or what went wrong."""
        plugin = _Plugin(self._files, mutants, self._jobs, self._progress)
        code = pytest.main([*ARGUMENTS, f"--basetemp={directory}/tests", *self._group.tests], plugins=[plugin])
        if plugin.wrong or code != pytest.ExitCode.OK:
            return plugin.wrong or f"the tests cannot be collected: {code!r}"
        path = Path(directory).with_suffix(".outcome")
        path.write_bytes(pickle.dumps((plugin.killers, plugin.limits)))
        return str(path)


class _Plugin:
    """Runs mutants where pytest would run tests."""

    def __init__(self, files: Sequence[str], mutants: Sequence[Mutant], jobs: int, progress: int) -> None:
        self._files = files
        self._mutants = mutants
        self._jobs = jobs
        self._progress = progress
        self._reached: dict[str, Reach] = {}
        self._killing: dict[str, Counter[str]] = {}
        self.killers: dict[Key, str] = {}
        self.limits = Limits(0, 0.0)
        self.wrong = ""

    def pytest_configure(self) -> None:
        """See pytest."""
        load_profile()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """See pytest: the tests have been collected, and this is instead of running them."""
        if session.testsfailed:
            self.wrong = "the tests cannot be collected"
            return True
        self._tests = Tests(session)
        self._tests.index_functions(self._files)
        self._see_what_is_reached()
        if not self.wrong:
            self._try_all()
        return True

    def _see_what_is_reached(self) -> None:
        """In a child, as all tests are run: what they leave behind must not be there for the mutants."""
        (outcome,) = run_all(iter([0]), self._trace, lambda _: Limits(10_000, 10_000.0), 1)
        if not outcome.killer.startswith("/"):
            self.wrong = f"a test fails without any mutant: {outcome.killer}"
            return
        path = Path(outcome.killer)
        self._reached = pickle.loads(path.read_bytes())  # noqa: S301 - our own child's
        path.unlink()
        self.limits = _limits(self._reached.values())

    def _trace(self, _task: int, directory: str) -> str:
        failed, reached = self._tests.trace(self._files, directory)
        if failed:
            return failed
        path = Path(directory).with_suffix(".reach")
        path.write_bytes(pickle.dumps(reached))
        return str(path)

    def _try_all(self) -> None:
        for outcome in run_all(iter(self._mutants), self._try, self._limits_for, self._jobs):
            self.killers[outcome.task.key] = outcome.killer
            self._killing.setdefault(outcome.task.where, Counter())[outcome.killer] += 1
            if len(self.killers) % 100 == 0:
                os.write(self._progress, b"  %d tried\n" % len(self.killers))

    def _limits_for(self, mutant: Mutant) -> Limits:
        return _limits(self._reached[item.nodeid] for item in self._items_for(mutant))

    def _items_for(self, mutant: Mutant) -> list[pytest.Item]:
        """Those that have killed others in the same function first, then the quick ones."""
        found = reaching(self._tests.items, self._reached, mutant)
        killing = self._killing.get(mutant.where, Counter())
        return sorted(found, key=lambda item: -killing[item.nodeid])

    def _try(self, mutant: Mutant, directory: str) -> str:
        items = self._items_for(mutant)
        if not items or not self._tests.apply(mutant):
            return UNTRIED
        return self._tests.run(items, directory)


def _limits(reached: Iterable[Reach]) -> Limits:
    """How long tests that reach this may take under a mutant."""
    found = list(reached)
    seconds, clock = sum(reach.seconds for reach in found), sum(reach.clock for reach in found)
    return Limits(int(seconds * PATIENCE) + ALLOWANCE, clock * PATIENCE + PAUSE)
