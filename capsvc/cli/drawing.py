"""A token drawn as a person would: root, the issuer's caveats, the holders', and what answers third parties."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from capsvc.cli.reading import BAKERY_VERSION, Line, Reading, expiry
from capsvc.cli.words import NANOSECONDS, meaning, remaining, span, statement
from caveats import TYPES, Comparison, Vocabulary

__all__ = ["picture"]

_WARNING = "UNVERIFIED: anybody can write such a token; only its issuer can tell whether it is good."
_FACTS = frozenset(attribute.name for attribute in Vocabulary.built_in() if attribute.fact)


def picture(reading: Reading, now: int) -> RenderableType:
    """The drawing, seen at ``now`` (Unix seconds)."""
    tree = Tree(_title("token" if reading.identifier else "foreign token", reading))
    _add_issue(tree, reading, now)
    _add_caveats(tree, reading, now)
    for discharge in reading.unused:
        _add_discharge(tree, discharge, now, "discharge that answers no caveat here")
    return Group(Text(_WARNING, "bold yellow"), tree, *_missing(reading), _end(reading, now))


def _missing(reading: Reading) -> list[Text]:
    """What is still to be done before the token can be presented."""
    unanswered = reading.unanswered
    if not unanswered:
        return []
    count = f"{len(unanswered)} discharge{' is' if len(unanswered) == 1 else 's are'} missing"
    places = ", ".join(dict.fromkeys(place or "no location" for place in unanswered))
    bundled = len(reading.macaroons) > 1
    whose = "the token that this bundle was made from, for a bundle is final" if bundled else "it"
    return [Text(f"{count} ({places}): run 'capsvc discharge' on {whose}", "bold yellow")]


def _title(kind: str, reading: Reading) -> Text:
    return Text.assemble((kind, "bold"), " ", (reading.name, "cyan"))


def _add_issue(tree: Tree, reading: Reading, now: int) -> None:
    if reading.location is not None:
        tree.add(Text.assemble("location ", (reading.location, "cyan"), ("  (a hint, under no signature)", "dim")))
    issued = reading.identifier
    if issued is not None:
        when = _instant(issued.issued_at) or "at no date"
        age = f"{span(now - issued.issued_at)} ago" if issued.issued_at <= now else "in the future"
        tree.add(Text.assemble("issued ", (when, "cyan"), f"  ({age})"))
        tree.add(Text.assemble("key ", (issued.kid, "cyan")))


def _instant(seconds: int) -> str | None:
    try:
        return TYPES["instant"].encode(seconds)
    except ValueError:
        return None


def _add_caveats(tree: Tree, reading: Reading, now: int) -> None:
    if reading.identifier is None:
        _add_lines(tree, "caveats", reading.lines, now)
        return
    count = reading.identifier.issuer_caveats
    if count > len(reading.lines):
        tree.add(Text(f"the issuer put {count} caveats here, and some are gone: this token is refused", "bold red"))
    _add_lines(tree, "issuer's caveats", reading.lines[:count], now, stated=True)
    _add_lines(tree, "holders' caveats", reading.lines[count:], now)


def _add_lines(tree: Tree, heading: str, lines: Sequence[Line], now: int, *, stated: bool = False) -> None:
    if not lines:
        return
    branch = tree.add(Text(heading, "bold"))
    for line in lines:
        _add_line(branch, line, now, stated=stated)


def _add_line(branch: Tree, line: Line, now: int, *, stated: bool) -> None:
    if line.location is None:
        branch.add(_caveat_text(line, now, stated=stated))
        return
    place = line.location or "(a third party without a location)"
    below = branch.add(Text.assemble("third party ", (place, "magenta"), (f"  must confirm {_asked(line)}", "dim")))
    if line.discharge is None:
        below.add(Text("no discharge here", "yellow"))
    else:
        _add_discharge(below, line.discharge, now, "discharge")


def _asked(line: Line) -> str:
    """What a third-party caveat asks, as far as anybody but the third party can tell."""
    if line.bakery is None:
        return "what the caveat's id stands for there"
    age = "" if line.bakery == BAKERY_VERSION else ", which capsvc refuses"
    return f"a secret condition, sealed for it (bakery version {line.bakery}{age})"


def _caveat_text(line: Line, now: int, *, stated: bool) -> Text:
    if line.caveat is None:
        return Text.assemble((line.text, "green"), "  ", (f"refused: {line.problem}", "bold red"))
    fact = stated and isinstance(line.caveat, Comparison) and line.caveat.attribute in _FACTS
    words = statement(line.caveat) if fact else meaning(line.caveat, now)
    alarm = words.startswith(("EXPIRED", "NOT YET"))
    return Text.assemble((line.text, "green"), "  ", (words, "bold red" if alarm else "dim"))


def _add_discharge(tree: Tree, discharge: Reading, now: int, kind: str) -> None:
    branch = tree.add(Text(kind, "bold"))
    if discharge.location is not None:
        branch.add(Text.assemble("location ", (discharge.location, "cyan"), ("  (a hint, under no signature)", "dim")))
    for line in discharge.lines:
        _add_line(branch, line, now, stated=False)


def _end(reading: Reading, now: int) -> Text:
    bound = expiry(reading.macaroons)
    if bound is None:
        return Text("no upper time bound: a capsvc service refuses it", "bold red")
    words = remaining(bound, now)
    when = TYPES["instant"].encode(bound // NANOSECONDS)
    return Text.assemble(
        "expires ", (when, "cyan"), "  ", (words, "bold red" if words.startswith("EXPIRED") else "green")
    )
