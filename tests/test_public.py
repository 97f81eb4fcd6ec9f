"""What is public is what `__all__` says, typed and documented, in every module."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import capsvc
import caveats

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*ROOT.glob("caveats/**/*.py"), *ROOT.glob("capsvc/**/*.py")])


def _name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = [_name(file) for file in FILES if file.name != "__main__.py"]


def _public(module: ModuleType) -> Iterator[tuple[str, object]]:
    yield from ((name, getattr(module, name)) for name in getattr(module, "__all__", ()))


def _is_ours(value: object) -> bool:
    return str(getattr(value, "__module__", "")).split(".")[0] in {"capsvc", "caveats"}


def test_the_front_door_is_the_contract() -> None:
    """`capsvc` exports these nine and no other, and `dir` shows them before they are loaded."""
    names = ["Token", "Authority", "Settings", "Grant", "Minted", "Denied", "TokenError", "CaveatError", "create_app"]
    assert sorted(capsvc.__all__) == sorted(names)
    assert set(names) <= set(dir(capsvc))
    for name in names:
        assert getattr(capsvc, name).__name__ == name
    assert capsvc.CaveatError is caveats.CaveatError
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        capsvc.Nothing  # noqa: B018 - asking is the test


def test_a_client_exports_what_a_caller_needs() -> None:
    """Both clients, what presents tokens with their discharges, and the exceptions that they raise."""
    module = importlib.import_module("capsvc.client")
    names = ["AsyncClient", "CapabilityAuth", "Client", "Denied", "DischargeError", "KnownDischarger", "ServiceError"]
    assert sorted(module.__all__) == names
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        module.Nothing  # noqa: B018 - asking is the test


def test_the_middleware_exports_what_a_service_needs() -> None:
    """It, what a route requires, three verifiers and what is one, and roots for bakery's clients."""
    module = importlib.import_module("capsvc.asgi")
    verifiers = ["EmbeddedVerifier", "PrefixVerifier", "RemoteVerifier", "Verifier"]
    assert sorted(module.__all__) == ["CapsvcMiddleware", *verifiers, "bakery_roots", "requires"]
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        module.Nothing  # noqa: B018 - asking is the test


@pytest.mark.parametrize("name", MODULES)
def test_all_is_exactly_what_is_public(name: str) -> None:
    """`__all__` names what is there, each once, and every public function and class that the module defines."""
    module = importlib.import_module(name)
    if not hasattr(module, "__all__"):
        assert name.startswith("caveats.") or not list(_defined(module))  # of caveats, the package's own counts
        return
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, key) for key in module.__all__)
    assert set(_defined(module)) <= set(module.__all__)


def test_caveats_offers_no_more_than_it_says() -> None:
    """Whatever the package holds without an underscore is a module of it or in `__all__`."""
    held = {key for key, value in vars(caveats).items() if not key.startswith("_") and not inspect.ismodule(value)}
    assert held - {"annotations"} == {key for key in caveats.__all__ if not inspect.ismodule(getattr(caveats, key))}


def _defined(module: ModuleType) -> Iterator[str]:
    for key, value in vars(module).items():
        made_here = getattr(value, "__module__", None) == module.__name__
        if made_here and not key.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value)):
            yield key


@pytest.mark.parametrize("name", MODULES)
def test_what_is_public_is_documented(name: str) -> None:
    """The module, and every class and function that it offers, with their public methods and properties."""
    module = importlib.import_module(name)
    assert module.__doc__
    for key, value in _public(module):
        if not _is_ours(value) or not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        assert value.__doc__, f"{name}.{key}"
        assert not str(value.__doc__).startswith(f"{key}("), f"{name}.{key}: a docstring that a decorator made up"
        if inspect.isclass(value):
            for method, held in vars(value).items():
                if not method.startswith("_") and (inspect.isroutine(held) or isinstance(held, property)):
                    assert inspect.getdoc(getattr(value, method)), f"{name}.{key}.{method}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_what_is_public_is_typed(file: Path) -> None:
    """Every parameter and result of every function is annotated."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            untyped = [item.arg for item in given if item.annotation is None and item.arg not in {"self", "cls"}]
            assert not untyped, f"{node.name}, line {node.lineno}"
            assert node.returns is not None, f"{node.name}, line {node.lineno}"


@pytest.mark.parametrize("package", ["caveats", "capsvc"])
def test_packages_say_that_they_are_typed(package: str) -> None:
    """Both have `py.typed`, which the wheel takes along."""
    assert (ROOT / package / "py.typed").is_file()
    assert f'{package} = ["py.typed"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
