"""``python -m tests.benchmarks [ROW …]``: measure against peers, print one table."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.benchmarks import discharging, memory, protecting, serving, verifying
from tests.benchmarks.report import Line, as_json, as_table, unmet
from tests.benchmarks.size import FULL, TINY, Size

OUTPUT: Final = Path(".bench")

Row = Callable[[Path, Size], list[Line]]

ROWS: Final[Mapping[str, Row]] = {
    "first-sight": verifying.first_sight,
    "again": verifying.again,
    "discharged": verifying.discharged,
    "growth": verifying.growth,
    "worst": verifying.worst,
    "http-verify": serving.http_verify,
    "http-mint": serving.http_mint,
    "discharge": discharging.discharge,
    "edge": protecting.edge,
    "protect": protecting.protect,
    "feed": protecting.feed,
    "gateway": protecting.gateway,
    "memory": memory.memory,
    "edge-memory": protecting.edge_memory,
}


def main() -> int:
    """Measure the rows that were named, or all; 1 if a bound is not met."""
    options = _options()
    size = TINY if options.tiny else FULL
    lines: list[Line] = []
    OUTPUT.mkdir(exist_ok=True)
    for name in options.rows or ROWS:
        print(f"{name} …", file=sys.stderr, flush=True)
        # Not in /tmp, which may be in memory: commits are to cost what they cost on this disk.
        with tempfile.TemporaryDirectory(dir=OUTPUT, prefix=f"{name}-") as directory:
            lines += ROWS[name](Path(directory).absolute(), size)
    report = as_json(lines)
    if not options.tiny:
        (OUTPUT / "latest.json").write_text(report + "\n")
    print(report if options.json else as_table(lines))
    return 1 if unmet(lines) and not options.tiny else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"one of: {', '.join(ROWS)}; all by default")
    parser.add_argument("--json", action="store_true", help="write JSON instead of the table")
    parser.add_argument("--tiny", action="store_true", help="only see that each row works; judge nothing")
    options = parser.parse_args()
    unknown = [name for name in options.rows if name not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
