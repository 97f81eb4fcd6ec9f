r"""What commands write: text for people or JSON, plain when piped, and never somebody else's control characters.

Whatever came from a token, a file or the network passes `escape`, or JSON's own escapes: a terminal acts on octets
outside 0x20-0x7E, and a line that somebody else ended is a line that somebody else wrote.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from capsvc.macaroon.encoding import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = [
    "OutputError",
    "draw",
    "emit",
    "emit_fields",
    "emit_json",
    "emit_list",
    "emit_one",
    "emit_rows",
    "escape",
    "field_lines",
    "is_terminal",
]


_KEPT_WHOLE: Final = frozenset({"id", "kid", "name", "public_key"})
"""Columns that are copied from a terminal into the next command, or compared: not folded while there is room."""


class OutputError(Exception):
    """Standard output cannot be written."""

    code = "output"
    exit_code = 3


def escape(text: str | bytes) -> str:
    r"""Text with every octet outside 0x20-0x7E as ``\xNN``."""
    octets = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return printable(octets)


def emit(text: str) -> None:
    """Write text that is already safe, and have it out before going on.

    Raises:
        OutputError: if it cannot be written, all of it.

    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "closed, or of another encoding"
        raise OutputError(f"standard output cannot be written: {reason}") from None


def emit_json(value: object) -> None:
    """Write a value as JSON, in ASCII, on one line (two spaces of indent on a terminal). Raises `OutputError`."""
    emit(json.dumps(value, indent=2 if is_terminal() else None) + "\n")


def emit_list(plural: str, rows: Iterable[object]) -> None:
    """Write ``{"<plural>": [...], "next": null}`` as the rows come, one a line. Raises `OutputError`."""
    start = f"{{{json.dumps(plural)}: ["
    before = start  # written with the first row, so that an error before it leaves no half of an object
    for row in rows:
        emit(f"{before}\n{json.dumps(row)}")
        before = ","
    emit(("" if before == "," else start) + '], "next": null}\n')


def emit_fields(value: Mapping[str, object]) -> None:
    """Write an object as ``name: value`` lines. Raises `OutputError`."""
    emit("".join(f"{line}\n" for line in field_lines(value)))


def emit_one(value: Mapping[str, object], *, as_json: bool) -> None:
    """Write an object as JSON, or as ``name: value`` lines. Raises `OutputError`."""
    if as_json:
        emit_json(value)
    else:
        emit_fields(value)


def field_lines(value: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """``name: value`` for every field that is not null: ``name.inner`` for objects, one line for each of a list."""
    for name, item in value.items():
        label = prefix + escape(name)
        if isinstance(item, Mapping):
            yield from field_lines(item, f"{label}.")
        elif isinstance(item, list):
            yield from (f"{label}: {_plain(entry)}" for entry in item)
        elif item is not None:
            yield f"{label}: {_plain(item)}"


def _plain(value: object) -> str:
    """One value in one line; of an object (a verdict) its values, the long one last."""
    match value:
        case str():
            return escape(value)
        case {"caveat": caveat, "from": source, "verdict": verdict}:
            return f"{_plain(source)} {_plain(verdict)} {_plain(caveat)}"
    return json.dumps(value)


def emit_rows(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a list: a table on a terminal; else a line a row as they come, columns between tabs, no heading.

    Raises:
        OutputError: if it cannot be written.

    """
    if is_terminal():
        _emit_table(columns, rows)
        return
    for row in rows:
        emit("\t".join(_cell(row.get(column)) for column in columns) + "\n")


def _emit_table(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    from rich.table import Table  # noqa: PLC0415 - a terminal alone needs it
    from rich.text import Text  # noqa: PLC0415

    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    table = Table(box=None, pad_edge=False)
    room = _console().width * 3 // 4
    for number, column in enumerate(columns):
        width = max(map(len, (column, *(row[number] for row in cells))))
        whole = column in _KEPT_WHOLE and width <= room
        room -= width if whole else 0
        table.add_column(column, overflow="fold", min_width=width if whole else None, no_wrap=whole)
    for row in cells:
        table.add_row(*map(Text, row))
    draw(table)


def _cell(value: object) -> str:
    return "" if value is None else _plain(value)


def draw(picture: RenderableType) -> None:
    """Write what rich draws, in colour on a terminal that wants it. Raises `OutputError`."""
    console = _console()
    with console.capture() as capture:
        console.print(picture)
    emit(capture.get())


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415

    terminal = is_terminal()
    console = Console(file=sys.stdout, force_terminal=terminal, markup=False, emoji=False, highlight=False)
    if terminal and not console.no_color:
        return console
    # Piped, lines are as long as they are: wrapped, they could not be searched. NO_COLOR means no escapes at all.
    width = console.width if terminal else 10_000
    return Console(
        file=sys.stdout,
        color_system=None,
        width=width,
        markup=False,
        emoji=False,
        highlight=False,
        force_terminal=False,
    )


def is_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout is not None and sys.stdout.isatty()
