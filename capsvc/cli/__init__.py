"""The command line."""

from __future__ import annotations

from capsvc.cli.program import main

__all__ = ["main"]
