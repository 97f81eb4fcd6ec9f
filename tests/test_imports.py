"""Arrows between packages point one way, drivers stay where they belong, and what touches keys stays small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

ARROWS = {
    "caveats": set(),
    "capsvc.addresses": {"caveats"},
    "capsvc.errors": set(),
    "capsvc.grants": set(),
    "capsvc.secretfiles": set(),
    "capsvc.macaroon": {"caveats"},
    "capsvc.token": {"capsvc.macaroon", "caveats"},
    "capsvc.keyfile": {"capsvc.macaroon"},
    "capsvc.config_checks": {"caveats"},
    "capsvc.config": {"capsvc.config_checks"},
    "capsvc.store": set(),
    "capsvc.wire": set(),
    "capsvc.web": {"capsvc.wire"},
    "capsvc.decision": {"capsvc.macaroon", "caveats"},
    "capsvc.authority": {
        "capsvc.config",
        "capsvc.decision",
        "capsvc.macaroon",
        "capsvc.secretfiles",
        "capsvc.store",
        "caveats",
    },
    "capsvc.client": {"capsvc.keyfile", "capsvc.macaroon", "capsvc.token", "capsvc.wire", "caveats"},
    "capsvc.discharge": {
        "capsvc.addresses",
        "capsvc.keyfile",
        "capsvc.macaroon",
        "capsvc.secretfiles",
        "capsvc.wire",
        "caveats",
    },
    "capsvc.http": {
        "capsvc.addresses",
        "capsvc.authority",
        "capsvc.config",
        "capsvc.macaroon",
        "capsvc.secretfiles",
        "capsvc.web",
        "capsvc.wire",
        "caveats",
    },
    "capsvc.asgi": {
        "capsvc.addresses",
        "capsvc.authority",
        "capsvc.client",
        "capsvc.config",
        "capsvc.config_checks",
        "capsvc.decision",
        "capsvc.macaroon",
        "capsvc.token",
        "capsvc.web",
        "capsvc.wire",
        "caveats",
    },
    "capsvc.cli": {
        "capsvc.authority",
        "capsvc.client",
        "capsvc.config",
        "capsvc.discharge",
        "capsvc.http",
        "capsvc.keyfile",
        "capsvc.macaroon",
        "capsvc.secretfiles",
        "capsvc.token",
        "capsvc.wire",
        "caveats",
    },
}
"""Package -> what it may import beside itself and `EVERYBODYS`. The front door, `capsvc` itself, imports lazily."""

EVERYBODYS = {"capsvc.errors", "capsvc.grants"}
"""Plain values and exceptions, which import nothing."""

DRIVERS = {
    "starlette": {"capsvc.asgi", "capsvc.discharge", "capsvc.http", "capsvc.web"},
    "fastapi": {"capsvc.asgi"},
    "anyio": {"capsvc.asgi"},
    "uvicorn": {"capsvc.http"},
    "h11": {"capsvc.http"},
    "httptools": {"capsvc.http"},
    "httpx": {"capsvc.client", "capsvc.cli"},
    "click": {"capsvc.cli"},
    "rich": {"capsvc.cli"},
    "sqlite3": {"capsvc.store"},
    "sqlite_utils": {"capsvc.store"},
    "jinja2": {"capsvc.discharge"},
    "argon2": {"capsvc.discharge"},
    "msgspec": {"capsvc.http", "capsvc.web", "capsvc.wire"},
    "pymacaroons": {"capsvc.macaroon"},
    "nacl": {"capsvc.macaroon", "capsvc.authority"},
}
"""What is not the standard library's own, or is a driver, and who may import it."""

KEY_MODULES = (
    "capsvc/macaroon/chain.py",
    "capsvc/macaroon/discharges.py",
    "capsvc/macaroon/thirdparty.py",
    "capsvc/macaroon/build.py",
    "capsvc/authority/seal.py",
    "capsvc/authority/keys.py",
)
"""All that touches keys: a reviewer reads it in one sitting."""

CRYPTOGRAPHY = {"hashlib", "hmac", "nacl", "pymacaroons"}
HASHES_WITHOUT_KEY = {"capsvc/asgi/remote.py", "capsvc/decision/branches.py", "capsvc/discharge/waits.py"}
"""A branch, the name of a caveat that somebody waits for, and that of a refusal are a plain SHA-256."""

REAL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
LINES_AT_MOST = 500


class Module(NamedTuple):
    """A source file: its path from the root, its package, its syntax."""

    path: str
    package: str
    tree: ast.Module


def _modules() -> Iterator[Module]:
    for file in sorted([*ROOT.glob("caveats/**/*.py"), *ROOT.glob("capsvc/**/*.py")]):
        path = file.relative_to(ROOT)
        parts = path.with_suffix("").parts
        package = "caveats" if parts[0] == "caveats" else ".".join(parts[:2])
        yield Module(path.as_posix(), package, ast.parse(file.read_text(encoding="utf-8")))


MODULES = list(_modules())


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes, but for those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _statements(child)


def _imports(module: Module) -> Iterator[str]:
    for node in _statements(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.path}: a relative import"
            assert node.module is not None
            if node.module in {"capsvc", "caveats"}:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def _package(imported: str) -> str:
    parts = imported.split(".")
    return ".".join(parts[:2]) if parts[0] == "capsvc" else parts[0]


def _ids(module: Module) -> str:
    return module.path


@pytest.mark.parametrize("module", [module for module in MODULES if module.package != "capsvc.__init__"], ids=_ids)
def test_arrows_point_one_way(module: Module) -> None:
    """A module imports its own package, those below it, the standard library and the drivers that are its own."""
    allowed = {module.package} | (ARROWS[module.package] | EVERYBODYS if module.package != "caveats" else set())
    for imported in _imports(module):
        package = _package(imported)
        if package in DRIVERS:
            assert module.package in DRIVERS[package], f"{module.path} imports {imported}"
        elif package not in sys.stdlib_module_names:
            assert package in allowed, f"{module.path} imports {imported}"


def test_the_table_has_every_package() -> None:
    """No package escapes the table, and the table names none that has gone; no arrow closes a circle."""
    assert ARROWS.keys() | {"capsvc.__init__"} == {module.package for module in MODULES}
    seen: set[str] = set()
    while left := [name for name, below in ARROWS.items() if name not in seen and below <= seen]:
        seen.update(left)
    assert seen == ARROWS.keys()


def test_the_check_sees_what_it_should() -> None:
    """An import in a function and one of a module by its package are seen; one for types alone is not."""
    source = (
        "from typing import TYPE_CHECKING\nfrom capsvc import wire\n"
        "if TYPE_CHECKING:\n    import httpx\ndef f():\n    import sqlite3\n"
    )
    module = Module("capsvc/store/example.py", "capsvc.store", ast.parse(source))
    assert list(_imports(module)) == ["typing", "capsvc.wire", "sqlite3"]


def test_one_module_builds_through_pymacaroons() -> None:
    """`build` alone imports pymacaroons: its verifier and its decoders are never used."""
    assert _importers({"pymacaroons"}) == {"capsvc/macaroon/build.py"}


def test_cryptography_stays_in_the_modules_that_touch_keys() -> None:
    """No other module imports a library that could compute with one."""
    assert _importers(CRYPTOGRAPHY) - HASHES_WITHOUT_KEY <= set(KEY_MODULES)


def _importers(names: set[str]) -> set[str]:
    return {module.path for module in MODULES for name in _imports(module) if name.split(".")[0] in names}


def test_what_touches_keys_is_small() -> None:
    """Lines of code, without blank lines, comments and docstrings."""
    counts = {path: _lines_of_code((ROOT / path).read_text(encoding="utf-8")) for path in KEY_MODULES}
    assert all(counts.values())
    assert sum(counts.values()) <= LINES_AT_MOST, counts


def _lines_of_code(source: str) -> int:
    tree = ast.parse(source)
    docstrings: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(source.splitlines(), 1)
    return sum(1 for number, line in lines if number not in docstrings and line.strip() and line.strip()[0] != "#")


def test_only_config_reads_the_environment() -> None:
    """Nothing else looks at `os.environ`; the command line's few variables go through click's own options."""
    readers = {
        module.path
        for module in MODULES
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "environb"})
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and "environ" in {a.name for a in node.names})
    }
    assert readers == {"capsvc/config.py"}


def test_only_entry_points_pick_the_real_clock() -> None:
    """The wall clock is an argument everywhere: elsewhere it is its default, or a command's own reading of it."""
    found = {
        (module.path, isinstance(node, ast.Call))
        for module in MODULES
        for node in ast.walk(module.tree)
        if _dotted(node.func if isinstance(node, ast.Call) else node) in REAL_CLOCKS
    }
    read = {path for path, called in found if called}
    commands = {path for path, _ in found if path.startswith("capsvc/cli/")}
    assert read <= commands, read
    defaults = {path for path, _ in found} - commands
    assert defaults == {
        "capsvc/asgi/bakery.py",
        "capsvc/asgi/middleware.py",
        "capsvc/asgi/prefix.py",
        "capsvc/asgi/remote.py",
        "capsvc/authority/authority.py",
        "capsvc/client/auth.py",
        "capsvc/discharge/service.py",
        "capsvc/http/app.py",
        "capsvc/http/logs.py",
        "capsvc/token.py",
    }
    for module in MODULES:
        if module.path in defaults:
            assert _clocks(module.tree) == _clocks_as_defaults(module.tree) > 0, module.path


def _dotted(node: ast.AST) -> str:
    return (
        f"{node.value.id}.{node.attr}" if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) else ""
    )


def _clocks(node: ast.AST) -> int:
    return sum(_dotted(part) in REAL_CLOCKS for part in ast.walk(node))


def _clocks_as_defaults(tree: ast.Module) -> int:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    defaults = [default for node in functions for default in [*node.args.defaults, *node.args.kw_defaults] if default]
    return sum(_clocks(default) for default in defaults)


@pytest.mark.parametrize(
    ("statement", "spared"),
    [
        ("from capsvc import Token", {"starlette", "uvicorn", "httpx", "sqlite3", "click", "msgspec"}),
        ("import caveats", {"capsvc", "nacl", "pymacaroons", "httpx", "sqlite3"}),
        ("from capsvc import Authority, Settings", {"starlette", "uvicorn", "httpx", "msgspec"}),
        ("from capsvc.client import Client", {"starlette", "uvicorn", "sqlite3"}),
    ],
)
def test_who_imports_little_loads_little(statement: str, spared: set[str]) -> None:
    """In a fresh interpreter, what is taken through the front door loads none of what it does not need."""
    program = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not spared & set(done.stdout.split()), statement
