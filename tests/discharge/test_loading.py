"""Checkers by name: of a module, of a plug-in, and names that lead to none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from capsvc.discharge import CheckerError, load_checker, loading

SOURCE = """
import functools

async def over_18(condition, request):
    return None

def not_async(condition, request):
    return None

class Bound:
    async def method(self, condition, request):
        return None

class Called:
    async def __call__(self, condition, request):
        return None

bound, called = Bound(), Called()
partial = functools.partial(over_18)
text = "x"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Write a module that can be imported: ``module("ourchecks", SOURCE)``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name: str, source: str) -> None:
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend that packages with these plug-ins are installed: ``plugged(("over-18", "ourchecks:over_18"))``."""

    def install(*points: tuple[str, str]) -> None:
        found = EntryPoints(EntryPoint(name, value, loading.GROUP) for name, value in points)
        monkeypatch.setattr(loading, "entry_points", lambda group: found.select(group=group))

    return install


@pytest.mark.parametrize(
    "name",
    ["ourchecks:over_18", "ourchecks:bound.method", "ourchecks:called", "ourchecks:partial", "pack.inner:over_18"],
)
def test_from_a_module(module: Callable[[str, str], None], name: str) -> None:
    """An async function, a method, something that is called like one, a partial one; of a module in a package."""
    module("ourchecks", SOURCE)
    module("pack.inner", SOURCE)
    assert callable(load_checker(name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuchmodule:x", "nosuchmodule:x: there is no module nosuchmodule"),
        ("nosuchmodule.inner:x", "there is no module nosuchmodule"),
        ("ourchecks.inner:x", "there is no module ourchecks.inner"),
        ("ourchecks:nosuch", "ourchecks:nosuch: there is no nosuch in ourchecks"),
        ("ourchecks:bound.nosuch", "there is no bound.nosuch in ourchecks"),
        ("ourchecks:not_async", "ourchecks:not_async is no async function (condition, request)"),
        ("ourchecks:text", "ourchecks:text is no async function"),
        ("ourchecks:Called", "ourchecks:Called is no async function"),
        ("ourchecks:", "ourchecks: is not written module:name"),
        (":over_18", "is not written module:name"),
        ("our-checks:over_18", "is not written module:name"),
        ("../ourchecks:over_18", "is not written module:name"),
        ("ourchecks:over_18:x", "is not written module:name"),
        ("needy:x", "needy:x: needy needs a module nosuchmodule, which is not there"),
        ("nameless:x", "nameless:x: nameless needs a module of another name, which is not there"),
        ("broken:x", "broken:x: broken cannot be imported: ZeroDivisionError at "),
        ("program:x", "program:x: program cannot be imported: SystemExit at "),
        ("attributes:x", "attributes:x: attributes cannot be imported: AttributeError at "),
    ],
)
def test_modules_that_have_none(module: Callable[[str, str], None], name: str, message: str) -> None:
    """What is missing is named, what is broken by its place; the process ends as with wrong settings."""
    module("ourchecks", SOURCE)
    module("needy", "import nosuchmodule")
    module("nameless", "raise ModuleNotFoundError")
    module("broken", "1 / 0")
    module("program", "raise SystemExit")
    module("attributes", "''.nosuch")
    with pytest.raises(CheckerError) as caught:
        load_checker(name)
    assert message in str(caught.value)
    assert (caught.value.code, caught.value.exit_code) == ("checker", 2)


def test_from_a_plug_in(module: Callable[[str, str], None], plugged: Callable[..., None]) -> None:
    """A plug-in is found by its name; the same one twice, as an editable install leaves it, is one."""
    module("ourchecks", SOURCE)
    plugged(("over-18", "ourchecks:over_18"), ("over-18", "ourchecks:over_18"), ("x", "ourchecks:text"))
    assert load_checker("over-18").__name__ == "over_18"
    assert loading.plug_ins() == ["over-18", "x"]
    with pytest.raises(CheckerError, match="x is no async function"):
        load_checker("x")


def test_plug_ins_that_are_none(module: Callable[[str, str], None], plugged: Callable[..., None]) -> None:
    """An unknown name is told the known ones; two packages cannot share one, and none has a built-in one's."""
    module("ourchecks", SOURCE)
    plugged(
        ("over-18", "ourchecks:over_18"), ("both", "ourchecks:over_18"), ("both", "ourchecks:called"),
        ("static", "ourchecks:over_18"),
    )  # fmt: skip
    with pytest.raises(CheckerError, match="name one of session, static, both, over-18, or module:name"):
        load_checker("over-81")
    with pytest.raises(CheckerError, match="several packages"):
        load_checker("both")
    with pytest.raises(CheckerError, match="no checker static"):
        load_checker("static")


def test_none_is_installed_with_us() -> None:
    """What is built in is no plug-in."""
    with pytest.raises(CheckerError, match="name one of session, static, or module:name"):
        load_checker("nosuch")
