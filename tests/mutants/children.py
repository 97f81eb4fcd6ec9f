"""Forked children: each tries one mutant, and says in one line what came of it."""

from __future__ import annotations

import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

__all__ = ["Limits", "Outcome", "run_all"]

T = TypeVar("T")

MEMORY: Final = 4 << 30
"""Octets of address space that a child may have: a mutant may ask for all there is."""

CRASHED: Final = "crashed"
OVERTIME: Final = "took too long"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a child may run: seconds of processor time, and by the clock (one that waits uses no processor)."""

    processor: int
    clock: float


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What came of one task: the line that its child wrote, empty if no test noticed anything."""

    task: T
    killer: str


@dataclass(slots=True)
class _Child(Generic[T]):
    pid: int
    task: T
    pipe: int
    ends_by: float
    directory: str


def run_all(
    tasks: Iterator[T], work: Callable[[T, str], str], limits: Callable[[T], Limits], jobs: int
) -> Iterator[Outcome[T]]:
    """Run ``work(task, directory)`` for every task in a child of its own, ``jobs`` at once; outcomes as they come.

    What ``work`` returns is the outcome's line; a child that dies or takes too long has noticed something too.
    """
    running: list[_Child[T]] = []
    exhausted = False
    while running or not exhausted:
        while not exhausted and len(running) < jobs:
            task = next(tasks, None)
            if task is None:
                exhausted = True
            else:
                running.append(_start(task, work, limits(task)))
        if running:
            select.select([child.pipe for child in running], [], [], 0.5)
        for child in list(running):
            line = _poll(child)
            if line is not None:
                running.remove(child)
                yield Outcome(child.task, line)


def _start(task: T, work: Callable[[T, str], str], limits: Limits) -> _Child[T]:
    directory = tempfile.mkdtemp(prefix="mutant-")
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _be_child(task, work, limits, writer, directory)
    os.close(writer)
    return _Child(pid, task, reader, time.monotonic() + limits.clock, directory)


def _be_child(task: T, work: Callable[[T, str], str], limits: Limits, writer: int, directory: str) -> None:
    """Never returns."""
    os.setpgid(0, 0)  # so that processes of its own end with it
    resource.setrlimit(resource.RLIMIT_CPU, (limits.processor, limits.processor))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        line = work(task, directory)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the mutant brought it about
        line = f"{CRASHED}: {type(error).__name__}"
    os.write(writer, (line or "-").encode()[:2000])
    os._exit(0)


def _poll(child: _Child[T]) -> str | None:
    """The line of a child that has ended; one past its time is ended."""
    pid, _ = os.waitpid(child.pid, os.WNOHANG)
    overtime = time.monotonic() > child.ends_by
    if not pid and not overtime:
        return None
    if not pid:
        os.killpg(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
    line = os.read(child.pipe, 4096).decode()
    os.close(child.pipe)
    shutil.rmtree(child.directory, ignore_errors=True)
    if line == "-":
        return ""
    return line or (OVERTIME if overtime else CRASHED)
