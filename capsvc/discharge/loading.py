"""Checkers by name: ``module:name`` of any module that can be imported, or the name of a plug-in.

A plug-in is an entry point of the group ``capsvc.dischargers`` in an installed distribution::

    [project.entry-points."capsvc.dischargers"]
    over-18 = "ourchecks:over_18"

Either way it is one async function. `static` and `session` are built in, and no plug-in takes their names.
"""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import EntryPoint, entry_points
from typing import Final, cast

from capsvc.discharge.answers import Checker
from capsvc.discharge.faults import places

__all__ = ["BUILT_IN", "GROUP", "CheckerError", "load_checker", "plug_ins"]

GROUP: Final = "capsvc.dischargers"
BUILT_IN: Final = ("session", "static")


class CheckerError(ValueError):
    """There is no such checker, or it is none; the message says what to do. ``.exit_code`` is the process's."""

    code = "checker"
    exit_code = 2


def load_checker(name: str) -> Checker:
    """The checker that ``module:name`` or a plug-in's name stands for. Raises `CheckerError`."""
    loaded = _attribute(name) if ":" in name else _plug_in(name)
    if inspect.isclass(loaded) or not _is_async(loaded):
        raise CheckerError(f"{name} is no async function (condition, request)")
    return cast("Checker", loaded)


def plug_ins() -> list[str]:
    """The names of all plug-ins that are installed."""
    return sorted({point.name for point in entry_points(group=GROUP)} - set(BUILT_IN))


def _attribute(name: str) -> object:
    module, _, path = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *path.split("."))):
        raise CheckerError(f"{name} is not written module:name")
    return _loaded(name, EntryPoint(name, name, GROUP))


def _plug_in(name: str) -> object:
    found = [point for point in entry_points(group=GROUP) if point.name == name and name not in BUILT_IN]
    if not found:
        known = ", ".join([*BUILT_IN, *plug_ins()])
        raise CheckerError(f"there is no checker {name}: name one of {known}, or module:name")
    if len({point.value for point in found}) > 1:
        raise CheckerError(f"several packages that are installed have a checker {name}: name one as module:name")
    return _loaded(name, found[0])


def _loaded(name: str, point: EntryPoint) -> object:
    _import(name, point.module)
    try:
        return point.load()
    except AttributeError:
        raise CheckerError(f"{name}: there is no {point.attr} in {point.module}") from None


def _import(name: str, module: str) -> None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or "of another name"  # raised by hand, it may have none
        if module == missing or module.startswith(f"{missing}."):
            raise CheckerError(f"{name}: there is no module {missing}") from None
        raise CheckerError(f"{name}: {module} needs a module {missing}, which is not there") from None
    except (Exception, SystemExit) as error:  # a module that is a program would end this one
        raise CheckerError(f"{name}: {module} cannot be imported: {places(error)}") from error


def _is_async(value: object) -> bool:
    return inspect.iscoroutinefunction(value) or (callable(value) and inspect.iscoroutinefunction(value.__call__))
