"""Stores and data directories that a test makes, damages, and opens again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from capsvc.authority import Authority
from capsvc.config import Settings
from capsvc.errors import StartError
from capsvc.store.sqlite import SqliteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """An empty database of ours."""
    opened = SqliteStore.create(tmp_path / "capsvc.db", lambda _tx: None)
    yield opened
    opened.close()


class Directory:
    """A data directory, closed unless a test has it open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = Settings(data_dir=path)
        self.database = path / "capsvc.db"

    def open(self, *, make: bool = True) -> Authority:
        """Open it; the caller closes it."""
        return Authority.open(self.settings, make=make)

    def made(self) -> Directory:
        """Make it as `init` does."""
        self.open().close()
        return self

    def refusal(self, *, make: bool = True) -> StartError:
        """The error that stops a start, which has exit code 3, in one line; nothing is left open."""
        with pytest.raises(StartError) as error:
            self.open(make=make).close()
        assert error.value.exit_code == 3
        assert "\n" not in str(error.value)
        return error.value

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Do something to the database behind everybody's back; the rows that it gives."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def names(self) -> set[str]:
        """What is in it, SQLite's own files aside."""
        return {path.name for path in self.path.iterdir() if not path.name.startswith("capsvc.db-")}


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    """One that is not there yet."""
    return Directory(tmp_path / "data")


@pytest.fixture
def whole(directory: Directory) -> Directory:
    """One that was made and is closed."""
    return directory.made()


@pytest.fixture
def another(tmp_path: Path) -> Callable[[str], Directory]:
    """More of them, by name."""
    return lambda name: Directory(tmp_path / name)
