"""The tables of caveats and of checks, which other languages can use too."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from caveats import (
    OPERATORS,
    SATISFIED,
    TYPES,
    CaveatError,
    Comparison,
    Refused,
    Vocabulary,
    check,
    clock_values,
    context_value,
    encode,
    parse,
    read_context,
)

VECTORS = Path(__file__).parent / "vectors"
TABLE = json.loads((VECTORS / "caveats.json").read_text(encoding="utf-8"))
CAVEATS: list[dict[str, Any]] = TABLE["caveats"]
CHECKS: list[dict[str, Any]] = json.loads((VECTORS / "checks.json").read_text(encoding="utf-8"))["checks"]
TOKENS = Vocabulary.from_declarations(TABLE["vocabulary"])
SCOPES = {"tokens": TOKENS, "administrative": TOKENS.administrative, "away": TOKENS.away}


def scope(row: dict[str, Any]) -> Vocabulary:
    """The vocabulary that a row is judged by."""
    return SCOPES[row.get("scope", "tokens")]


def raw(row: dict[str, Any]) -> str | bytes:
    """A row's caveat as it came."""
    return bytes.fromhex(row["hex"]) if "hex" in row else row["text"]


def label(row: dict[str, Any]) -> str:
    """A row's name in reports."""
    return ascii(f"{row['about']}: {row.get('text', row.get('hex', row.get('caveat')))}")[:100]


@pytest.mark.parametrize("row", [row for row in CAVEATS if row["accept"]], ids=label)
def test_accepted(row: dict[str, Any]) -> None:
    """Each accepted caveat is read, and written as it was, from text and from octets alike."""
    caveat = parse(raw(row), scope(row), discharge=row.get("discharge", False))
    assert encode(caveat) == row["text"]
    assert parse(row["text"].encode("ascii"), scope(row), discharge=row.get("discharge", False)) == caveat


@pytest.mark.parametrize("row", [row for row in CAVEATS if not row["accept"]], ids=label)
def test_refused(row: dict[str, Any]) -> None:
    """Each refused caveat has its code and position, and a sentence that repeats nothing long of it."""
    with pytest.raises(CaveatError) as refusal:
        parse(raw(row), scope(row), discharge=row.get("discharge", False))
    assert (refusal.value.code, refusal.value.position) == (row["code"], row["position"])
    assert str(refusal.value).endswith(".")
    assert str(refusal.value).isascii()


@pytest.mark.parametrize("row", CHECKS, ids=label)
def test_decision(row: dict[str, Any]) -> None:
    """Each caveat says of each context what the table says."""
    vocabulary = scope(row)
    context = read_context(row.get("context", {}), vocabulary)
    for name, value in row.get("service", {}).items():
        attribute = vocabulary.get(name)
        assert attribute is not None
        assert attribute.source != "request"
        context[name] = context_value(attribute, value)
    if "now" in row:
        now = TYPES["instant"].parse(row["now"])
        assert isinstance(now, int)
        context |= clock_values(now)
    verdict = check(parse(row["caveat"], vocabulary, discharge=row.get("discharge", False)), context)
    assert verdict == (SATISFIED if row["verdict"] == "satisfied" else Refused(row["verdict"]))


def test_the_tables_cover_every_type_and_operator() -> None:
    """Every operator of every type is accepted somewhere, and both holds and fails somewhere; the tables are large."""
    wanted = {(kind.name, operator) for kind in TYPES.values() for operator in kind.operators}
    accepted = {
        (caveat.type.name, caveat.operator)
        for row in CAVEATS
        if row["accept"]
        for caveat in [parse(row["text"], scope(row), discharge=row.get("discharge", False))]
        if isinstance(caveat, Comparison)
    }
    seen = {"satisfied": set(), "caveat-refused": set()}  # type: dict[str, set[tuple[str, str]]]
    for row in CHECKS:
        caveat = parse(row["caveat"], scope(row), discharge=row.get("discharge", False))
        if isinstance(caveat, Comparison) and row["verdict"] in seen:
            seen[row["verdict"]].add((caveat.type.name, caveat.operator))
    assert accepted == wanted
    assert seen["satisfied"] == seen["caveat-refused"] == wanted
    assert {operator for _, operator in wanted} == set(OPERATORS)
    assert Counter(row["accept"] for row in CAVEATS)[True] >= 150
    assert len(CAVEATS) >= 350


def test_every_row_of_the_tables_is_another() -> None:
    """No row stands twice."""
    for table in (CAVEATS, CHECKS):
        rows = [
            json.dumps({key: value for key, value in row.items() if key != "about"}, sort_keys=True) for row in table
        ]
        assert [row for row, count in Counter(rows).items() if count > 1] == []
