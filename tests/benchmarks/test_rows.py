"""Every row of the benchmark works; nothing is said about time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from capsvc.errors import Denied
from capsvc.macaroon.bundle import MAX_BUNDLE_CAVEATS, MAX_DISCHARGES, split

ROOT = Path(__file__).parents[2]
ROWS = (
    *("first-sight", "again", "discharged", "growth", "worst", "http-verify", "http-mint", "discharge", "memory"),
    *("edge", "protect", "feed", "edge-memory", "gateway"),
)


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmark as make does, with tiny sizes."""
    command = [sys.executable, "-m", "tests.benchmarks", "--tiny", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("row", ROWS)
def test_each_row_works(row: str) -> None:
    """It measures something, and every line has a peer or a bound."""
    done = bench(row, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {line["row"] for line in report["lines"]} == {row}
    for line in report["lines"]:
        assert line["ours"] > 0
        assert line["ratio"] > 0
        assert line["peer"] or line["bound"]


def test_the_table_is_for_people() -> None:
    """Without --json each line says its bound and whether it is met."""
    done = bench("growth")
    assert done.returncode == 0, done.stderr
    head, _, line = done.stdout.splitlines()
    assert head.split()[:3] == ["row", "what", "capsvc"]
    assert "≤ 9" in line
    assert line.endswith(("met", "NOT MET"))


def test_an_unknown_row_is_refused() -> None:
    """With the names that there are."""
    done = bench("no-such-row")
    assert done.returncode == 2
    assert all(row in done.stderr for row in ROWS)


def test_the_worst_bundle_is_as_large_as_it_may_be(tmp_path: Path) -> None:
    """Its numbers are the limits' own, of the issuer's and of a holder's third parties; all the chains are computed."""
    from capsvc.macaroon import discharges
    from tests.benchmarks import bundles
    from tests.benchmarks.material import OurTokens
    from tests.benchmarks.parties import Login

    assert (bundles.DISCHARGES, bundles.CAVEATS) == (MAX_DISCHARGES, MAX_BUNDLE_CAVEATS)
    ours = OurTokens(tmp_path)
    login = Login(ours)
    (root,) = login.roots((), 1, bundles.DISCHARGES - bundles.OF_ONE_ID)
    for bundle in (bundles.worst_of_issuers(login, root), bundles.worst_bundles(ours.mint((), 1)[0], shuffled=True)):
        macaroons = split(bundle)
        assert len(macaroons) == 1 + MAX_DISCHARGES
        assert sum(len(macaroon.caveats) for macaroon in macaroons) == MAX_BUNDLE_CAVEATS
        assert ours.verify([bundle]) == 1
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(discharges, "MAX_CHAINS", discharges.MAX_CHAINS - 1)
            with pytest.raises(Denied) as denied:
                ours.verify([bundle])
            assert denied.value.code == "too-large"
    ours.authority.close()
