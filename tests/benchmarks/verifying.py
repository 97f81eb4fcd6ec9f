"""Rows about one decision in the process: first sight, the same again, one discharge, growth, the worst bundle."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.bundles import DISCHARGES, OF_ONE_ID, worst_bundles, worst_of_issuers
from tests.benchmarks.libmacaroons import LibMacaroons
from tests.benchmarks.material import FORTY_NINE, FOUR, OurTokens, PeerTokens, WebTokens
from tests.benchmarks.parties import Login, PeerBundles
from tests.benchmarks.report import AT_LEAST, AT_MOST, BELOW, Bound, Line
from tests.benchmarks.rounds import Turn, interleave, microseconds_each
from tests.benchmarks.size import Size

__all__ = ["again", "discharged", "first_sight", "growth", "worst"]


def first_sight(directory: Path, size: Size) -> list[Line]:
    """Verify from text with five first-party caveats, each token seen once."""
    ours = OurTokens(directory)
    batch, count = size.batch, size.batch * size.rounds
    minted = ours.minted(FOUR, count)
    library = LibMacaroons.find()
    peers, webs = PeerTokens(minted, library), WebTokens(count)
    tokens = [one.token for one in minted]
    twins = [one.token for one in ours.minted(FOUR, count, at_once=True)]

    def part(number: int) -> slice:
        return slice(number * batch, (number + 1) * batch)

    turns: dict[str, Turn] = {
        "capsvc": lambda number: microseconds_each(lambda: ours.verify(tokens[part(number)])),
        "time caveat seen before": lambda number: microseconds_each(lambda: ours.verify(twins[part(number)])),
        "pymacaroons": lambda number: microseconds_each(lambda: peers.verify_python(part(number))),
        "PyJWT HS256": lambda number: microseconds_each(lambda: webs.verify(part(number))),
    }
    if library is not None:
        turns["libmacaroons"] = lambda number: microseconds_each(lambda: peers.verify_c(part(number)))
    found = interleave(turns, size.rounds)
    ours.authority.close()

    what, mine = "verify, 5 caveats, first sight", found.median("capsvc")

    def line(peer: str, ratio: float, bound: Bound | None, suffix: str) -> Line:
        return Line("first-sight", f"{what}: {suffix}", mine, "µs", peer, found.median(peer), ratio, bound)

    lines = [line("pymacaroons", found.ratio("pymacaroons", "capsvc"), Bound(AT_LEAST, 4, 8), "times as fast as")]
    if library is not None:
        ratio = found.ratio("capsvc", "libmacaroons")
        lines.append(line("libmacaroons", ratio, Bound(AT_MOST, 3, 1.3), "times the time of"))
    lines.append(line("PyJWT HS256", found.ratio("PyJWT HS256", "capsvc"), None, "times as fast as"))
    twin = "time caveat seen before"
    lines.append(line(twin, found.ratio("capsvc", twin), None, "times the time with"))
    return lines


def again(directory: Path, size: Size) -> list[Line]:
    """Verify a token that was verified before: its revocation, time and context are checked as ever."""
    ours = OurTokens(directory)
    minted = ours.minted(FOUR, 16)
    peers = PeerTokens(minted, None)
    tokens = [one.token for one in minted]
    times = max(1, size.batch // 16)
    ours.verify(tokens * 3)
    found = interleave(
        {
            "capsvc": lambda _: microseconds_each(lambda: ours.verify(tokens * times * 4)),
            "pymacaroons": lambda _: microseconds_each(
                lambda: sum(peers.verify_python(slice(16)) for _ in range(times))
            ),
        },
        size.rounds,
    )
    ours.authority.close()
    ratio, bound = found.ratio("pymacaroons", "capsvc"), Bound(AT_LEAST, 12, 50)
    what = "verify, 5 caveats, the same token again: times as fast as"
    return [Line("again", what, found.median("capsvc"), "µs", "pymacaroons", found.median("pymacaroons"), ratio, bound)]


def discharged(directory: Path, size: Size) -> list[Line]:
    """A token that asks a registered discharger, with its discharge: at first sight and again."""
    ours = OurTokens(directory)
    login, batch, count = Login(ours), size.batch, size.batch * size.rounds
    bundles, five = login.bundles(FOUR, count), ours.mint(FOUR, count)
    peers, known = PeerBundles(bundles), login.bundles(FOUR, 16)
    ours.verify(known * 3)

    def turn(tokens: list[str]) -> Turn:
        return lambda number: microseconds_each(lambda: ours.verify(tokens[number * batch : (number + 1) * batch]))

    turns = {
        "bundle": turn(bundles),
        "again": lambda _: microseconds_each(lambda: ours.verify(known * max(1, batch // 16))),
        "5 caveats": turn(five),
        "pymacaroons": lambda number: microseconds_each(
            lambda: peers.verify(slice(number * batch, (number + 1) * batch))
        ),
    }
    found = interleave(turns, size.rounds)
    ours.authority.close()

    def line(mine: str, what: str, peer: str, ratio: float) -> Line:
        what = f"verify, 5 caveats and a discharge, {what}"
        return Line("discharged", what, found.median(mine), "µs", peer, found.median(peer), ratio)

    return [
        line("bundle", "first sight: times as fast as", "pymacaroons", found.ratio("pymacaroons", "bundle")),
        line("bundle", "first sight: times the time of", "5 caveats", found.ratio("bundle", "5 caveats")),
        line("again", "again: times as fast as", "pymacaroons", found.ratio("pymacaroons", "again")),
    ]


def growth(directory: Path, size: Size) -> list[Line]:
    """Fifty caveats against five, first sight."""
    ours = OurTokens(directory)
    batch = max(1, size.batch // 4)
    five, fifty = ours.mint(FOUR, batch * size.rounds), ours.mint(FORTY_NINE, batch * size.rounds)

    def turn(tokens: list[str]) -> Turn:
        return lambda number: microseconds_each(lambda: ours.verify(tokens[number * batch : (number + 1) * batch]))

    found = interleave({"five": turn(five), "fifty": turn(fifty)}, size.rounds)
    ours.authority.close()
    ratio, bound = found.ratio("fifty", "five"), Bound(AT_MOST, 9)
    what = "verify, 50 caveats, first sight: times the time of"
    return [Line("growth", what, found.median("fifty"), "µs", "5 caveats", found.median("five"), ratio, bound)]


def worst(directory: Path, size: Size) -> list[Line]:
    """As many discharges and caveats as there may be: in order, and so that as many chains as may be are computed."""
    ours = OurTokens(directory)
    login, batch = Login(ours), max(1, size.batch // 40)
    count = batch * size.rounds
    five = ours.mint(FOUR, count * 10)
    roots = ours.mint((), 2 * count)
    asking = login.roots((), count, DISCHARGES - OF_ONE_ID)

    def turn(tokens: list[str], each: int) -> Turn:
        return lambda number: microseconds_each(lambda: ours.verify(tokens[number * each : (number + 1) * each]))

    turns = {
        "five": turn(five, batch * 10),
        "in order": turn([worst_bundles(root, shuffled=False) for root in roots[:count]], batch),
        "32 chains computed": turn([worst_bundles(root, shuffled=True) for root in roots[count:]], batch),
        "32 chains, 10 of them the issuer's": turn([worst_of_issuers(login, root) for root in asking], batch),
    }
    found = interleave(turns, size.rounds)
    ours.authority.close()
    bound = Bound(BELOW, 60)
    return [
        Line(
            "worst",
            f"16 discharges, 192 caveats, {name}: times the time of",
            found.median(name),
            "µs",
            "5 caveats",
            found.median("five"),
            found.ratio(name, "five"),
            bound,
        )
        for name in turns
        if name != "five"
    ]
