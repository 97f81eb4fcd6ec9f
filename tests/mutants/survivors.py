"""The mutants that no test can notice, each with the reason: ``survivors.toml`` beside this file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from tests.mutants.mutate import Mutant

__all__ = ["LIST", "as_entry", "listed"]

LIST: Final = Path(__file__).with_name("survivors.toml")

Key = tuple[str, str, str, str, int]


def listed(path: Path = LIST) -> Mapping[Key, str]:
    """Reasons by mutant. Raises ``ValueError`` for an entry without a reason, or one that is there twice."""
    found: dict[Key, str] = {}
    for entry in tomllib.loads(path.read_text()).get("survivor", []):
        key = (entry["file"], entry["where"], entry["was"], entry["now"], entry.get("number", 1))
        if not entry.get("reason", "").strip() or key in found:
            raise ValueError(f"{path}: an entry without a reason, or twice: {key}")
        found[key] = entry["reason"].strip()
    return found


def as_entry(mutant: Mutant) -> str:
    """A mutant as an entry of the list, the reason left to be said."""
    fields: Iterable[tuple[str, str]] = (
        ("file", _quoted(mutant.file)),
        ("where", _quoted(mutant.where)),
        ("was", _quoted(mutant.was)),
        ("now", _quoted(mutant.now)),
        *((("number", str(mutant.number)),) if mutant.number > 1 else ()),
        ("reason", '""'),
    )
    return "\n".join(["[[survivor]]", *(f"{name} = {value}" for name, value in fields), ""])


def _quoted(text: str) -> str:
    """A TOML string: literal if it may be, since source is full of backslashes."""
    if "'" not in text:
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
