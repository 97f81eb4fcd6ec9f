"""How a transaction talks to its connection: statements, single rows, single numbers."""

from __future__ import annotations

import sqlite3
from typing import Any

from capsvc.store.rows import whole

__all__ = ["Statements"]


class Statements:
    """Runs statements on one connection; who begins and commits is not its affair."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._execute_many = connection.executemany

    def _one(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._execute(query, values).fetchone()
        return row

    def _number(self, query: str, *values: Any) -> int | None:
        """Return the first column of the first row. Raises `StoreUnavailable` if that is something else."""
        row = self._one(query, *values)
        return None if row is None else whole(row[0])
