"""``python -m tests.mutants [GROUP or FILE …]``: break the program in small ways, and see that a test notices.

A tool of our own, since a mutant must cost no more than the tests that reach it: tests are collected once, each mutant
is a fork with one function's code exchanged (`tests.mutants.session`). What survives is named with the reason that
``survivors.toml`` gives; one without a reason there fails the run, and so does a reason without a survivor.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial

from tests.mutants.campaign import Campaign, Result
from tests.mutants.groups import GROUPS, files_of
from tests.mutants.survivors import as_entry, listed


def main() -> int:
    """Try the mutants of the groups or files that were named, or of all; 1 if one survives without a reason."""
    options = _options()
    reasons = listed()
    results: list[Result] = []
    started = time.monotonic()
    tell = partial(print, file=sys.stderr, flush=True)
    for name, group in GROUPS.items():
        files = [file for file in files_of(group) if _wanted(options.what, name, file)]
        if files:
            campaign = Campaign(group, files, reasons=reasons, jobs=options.jobs, tell=tell)
            results += campaign.run(options.where)
    survivors = [result for result in results if not result.killer]
    unlisted = [result for result in survivors if result.mutant.key not in reasons]
    tried = {result.mutant.key for result in results}
    stale = [] if options.where else _stale(reasons, tried - {one.mutant.key for one in survivors}, results)
    for result in survivors:
        print(f"survives: {result.mutant}\n    {reasons.get(result.mutant.key, 'NO REASON GIVEN')}")
    for key in stale:
        print(f"listed, but killed or not there any more: {key}")
    if options.entries:
        print("\n".join(as_entry(result.mutant) for result in unlisted))
    minutes = (time.monotonic() - started) / 60
    print(
        f"{len(results)} mutants, {len(results) - len(survivors)} killed, {len(survivors)} survive,"
        f" {len(unlisted)} of them without a reason; {minutes:.1f} minutes"
    )
    return 1 if unlisted or stale else 0


def _wanted(what: Sequence[str], group: str, file: str) -> bool:
    return not what or group in what or any(file == one or file.startswith(f"{one}/") for one in what)


def _stale(
    reasons: Iterable[tuple[str, str, str, str, int]],
    killed: set[tuple[str, str, str, str, int]],
    results: Sequence[Result],
) -> list[tuple[str, str, str, str, int]]:
    """Reasons for what was killed, or is no mutant of a file that was tried."""
    files = {result.mutant.file for result in results}
    keys = {result.mutant.key for result in results}
    return [key for key in reasons if key[0] in files and (key in killed or key not in keys)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", nargs="*", metavar="GROUP or FILE", help=f"of {', '.join(GROUPS)}; all by default")
    parser.add_argument("--where", default="", help="only mutants in functions whose name contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    parser.add_argument("--entries", action="store_true", help="also write what is not listed as entries for the list")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
