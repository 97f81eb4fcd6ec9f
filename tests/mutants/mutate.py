"""Mutants of a module: what they are called, and the code that they are."""

from __future__ import annotations

import ast
import types
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.mutants.changes import changes
from tests.mutants.places import Place, header, places

__all__ = ["Mutant", "code_of", "mutants_of"]

_AROUND: Final = 40
"""Characters of a long line that are kept on either side of what was changed."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One small change to one module.

    It is known by file, function and what it changes, not by its line, so that its name outlives other changes.
    """

    file: str
    where: str
    was: str
    now: str
    number: int
    """From 1 on, of those that read the same."""
    line: int
    lines: frozenset[int]
    """A test that executes none of them cannot notice it."""
    function: tuple[str, int] | None
    """Qualified name and first line of the outermost function whose body is changed; None for what import works out."""
    place: int
    change: int

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What it is known by."""
        return (self.file, self.where, self.was, self.now, self.number)

    def __str__(self) -> str:
        again = f" #{self.number}" if self.number > 1 else ""
        return f"{self.file}:{self.line} {self.where}: {self.was}  ->  {self.now}{again}"


def mutants_of(root: Path, file: str) -> list[Mutant]:
    """Every mutant of a file, in the order of its source."""
    source = _source(root, file)
    seen: Counter[tuple[str, str, str]] = Counter()
    found: list[Mutant] = []
    for place_number, change_number, place in _all(source):
        statement, before = place.statement, header(place.statement)
        was, now = _trimmed(before, header(_changed(source, place_number, change_number)[1]))
        where = ".".join(place.scope) or "module"
        seen[where, was, now] += 1
        found.append(
            Mutant(
                file=file,
                where=where,
                was=was,
                now=now,
                number=seen[where, was, now],
                line=_lines(place.node, statement)[0],
                lines=frozenset(_lines(place.node, statement)),
                function=_function(place),
                place=place_number,
                change=change_number,
            )
        )
    return found


def code_of(root: Path, mutant: Mutant) -> types.CodeType:
    """The whole mutated module, compiled; lines are those of the original."""
    tree, _ = _changed(_source(root, mutant.file), mutant.place, mutant.change)
    return compile(ast.fix_missing_locations(tree), str(root / mutant.file), "exec", dont_inherit=True)


@cache
def _source(root: Path, file: str) -> str:
    """Read once: a file may be edited while its mutants are tried."""
    return (root / file).read_text()


def _all(source: str) -> Iterator[tuple[int, int, Place]]:
    for place_number, place in enumerate(places(ast.parse(source))):
        for change_number, _ in enumerate(changes(place)):
            yield place_number, change_number, place


def _changed(source: str, place_number: int, change_number: int) -> tuple[ast.Module, ast.AST]:
    """A tree of its own with one change made, and the statement that it was made in."""
    tree = ast.parse(source)
    found = next(place for number, place in enumerate(places(tree)) if number == place_number)
    change = next(change for number, change in enumerate(changes(found)) if number == change_number)
    new = change(found.node)
    if new is not found.node:
        ast.copy_location(new, found.node)
        _replace(tree, found.node, new)
    return tree, new if found.statement is found.node else found.statement


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    """Put a node into the place of another."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
                return
            if isinstance(value, list) and any(item is old for item in value):
                value[:] = [new if item is old else item for item in value]
                return
    raise AssertionError("the node is not in the tree")


def _function(place: Place) -> tuple[str, int] | None:
    function = place.function
    if function is None:
        return None
    depth = place.scope.index(function.name)
    # A function's code begins at its first decorator.
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    return ".".join(place.scope[: depth + 1]), first


def _lines(node: ast.AST, statement: ast.AST) -> list[int]:
    """The lines that are executed when the node is."""
    first = getattr(node, "lineno", None) or _line(statement)
    last = first if isinstance(node, ast.stmt | ast.ExceptHandler) else getattr(node, "end_lineno", None) or first
    return [*range(first, last + 1), _line(statement)]


def _line(statement: ast.AST) -> int:
    if isinstance(statement, ast.match_case):
        return statement.pattern.lineno
    line: int = statement.lineno  # type: ignore[attr-defined]
    return line


def _trimmed(was: str, now: str) -> tuple[str, str]:
    """Two long lines, cut to what is around their difference."""
    start = next((at for at, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), min(len(was), len(now)))
    end = 0
    while end < min(len(was), len(now)) - start and was[-1 - end] == now[-1 - end]:
        end += 1
    return _cut(was, start, end), _cut(now, start, end)


def _cut(text: str, start: int, end: int) -> str:
    first, last = max(0, start - _AROUND), min(len(text), len(text) - end + _AROUND)
    return ("…" if first else "") + text[first:last] + ("…" if last < len(text) else "")
