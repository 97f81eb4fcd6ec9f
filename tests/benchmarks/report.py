"""What a benchmark found: lines with a ratio and its bound, as one table and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

__all__ = ["AT_LEAST", "AT_MOST", "BELOW", "Bound", "Line", "as_json", "as_table", "unmet"]

AT_LEAST: Final = "≥"
AT_MOST: Final = "≤"
BELOW: Final = "<"

_PEERS: Final = ("pymacaroons", "macaroonbakery", "pyjwt", "starlette", "uvicorn", "uvloop", "httptools")


@dataclass(frozen=True, slots=True)
class Bound:
    """What a ratio has to be, and what is aimed at."""

    sense: str
    limit: float
    aim: float | None = None

    def met(self, ratio: float) -> bool:
        """Whether the ratio is within the bound."""
        if self.sense == AT_LEAST:
            return ratio >= self.limit
        return ratio <= self.limit if self.sense == AT_MOST else ratio < self.limit

    def __str__(self) -> str:
        return f"{self.sense} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Line:
    """One comparison. ``ratio`` is what the bound speaks of, a peer's time over ours or whatever ``what`` says."""

    row: str
    what: str
    ours: float
    unit: str
    peer: str
    theirs: float | None
    ratio: float
    bound: Bound | None = None
    """None for a peer that is shown for reference."""

    @property
    def verdict(self) -> str:
        """``met``, ``NOT MET``, or nothing where there is no bound."""
        if self.bound is None:
            return ""
        return "met" if self.bound.met(self.ratio) else "NOT MET"


def unmet(lines: Iterable[Line]) -> list[Line]:
    """The lines whose bound is not met."""
    return [line for line in lines if line.bound is not None and not line.bound.met(line.ratio)]


def as_table(lines: Sequence[Line]) -> str:
    """One table for people."""
    head = ("row", "what", "capsvc", "beside", "", "ratio", "bound", "aim", "")
    rows = [head, *(_cells(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    right = {2, 4, 5, 6, 7}
    texts = [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([texts[0], "-" * max(map(len, texts)), *texts[1:]])


def _cells(line: Line) -> tuple[str, ...]:
    bound = line.bound
    return (
        line.row,
        line.what,
        _quantity(line.ours, line.unit),
        line.peer,
        "" if line.theirs is None else _quantity(line.theirs, line.unit),
        f"{line.ratio:.2f}",
        "" if bound is None else str(bound),
        "" if bound is None or bound.aim is None else f"{bound.aim:g}",
        line.verdict,
    )


def _quantity(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.1f} {unit}"


def as_json(lines: Sequence[Line]) -> str:
    """The same for programs, with what it was measured on."""
    machine = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "model": _model(),
        "peers": {name: version(name) for name in _PEERS},
    }
    rows = [asdict(line) | {"met": None if line.bound is None else line.bound.met(line.ratio)} for line in lines]
    return json.dumps({"machine": machine, "lines": rows}, indent=1, ensure_ascii=False)


def _model() -> str:
    """The processor, where the system tells."""
    try:
        facts = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in facts.splitlines() if line.startswith("model name")), "")
