"""The tool that breaks the program: what it breaks, what it leaves, and that it says who noticed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.mutate import Mutant, code_of, mutants_of
from tests.mutants.survivors import LIST, as_entry, listed

ROOT = Path(__file__).parents[2]

SOURCE = '''"""A module."""
from typing import Final, TypeAlias
__all__ = ["first", "LIMIT"]
LIMIT: Final = 10
Name: TypeAlias = "str"


def first(items: "list[int]", least: int = 0) -> "int | None":
    """A docstring."""
    for item in items:
        if item > least and item < LIMIT:
            return item
    raise ValueError("none of them will do")
'''


def mutants(directory: Path, source: str = SOURCE) -> list[Mutant]:
    """The mutants of a file that holds that source."""
    (directory / "module.py").write_text(source)
    return mutants_of(directory, "module.py")


def changed(directory: Path, source: str = SOURCE) -> set[tuple[str, str]]:
    """Each as the line before and after."""
    return {(mutant.was, mutant.now) for mutant in mutants(directory, source)}


def test_what_is_broken(tmp_path: Path) -> None:
    """Comparisons, conditions, constants, defaults, results and refusals."""
    condition = "if item > least and item < LIMIT:"
    assert changed(tmp_path) == {
        ("LIMIT: Final = 10", "LIMIT: Final = 11"),
        (
            "…ef first(items: 'list[int]', least: int=0) -> 'int | None':",
            "…ef first(items: 'list[int]', least: int=1) -> 'int | None':",
        ),
        (condition, "if False:"),
        (condition, "if True:"),
        (condition, "if item < LIMIT:"),
        (condition, "if item > least:"),
        (condition, "if item >= least and item < LIMIT:"),
        (condition, "if item > least and item <= LIMIT:"),
        ("return item", "return None"),
        ("raise ValueError('none of them will do')", "pass"),
    }


@pytest.mark.parametrize(
    ("source", "broken"),
    [
        ("x = a if b else c", {"x = a", "x = c"}),
        ("x = not a", {"x = a"}),
        ("x = a + b", {"x = a - b"}),
        ("x = a[1:]", {"x = a[2:]", "x = a[0:]", "x = a[:]"}),
        ("x = 'ab'", {"x = 'b'"}),
        ("x = b'a'", {"x = b'XXa'"}),
        ("x = True", {"x = False"}),
        ("x.y = z", {"pass"}),
        ("f(a, k=b)", {"pass", "f(a)"}),
        ("x = any(a)", {"x = all(a)"}),
        ("x = a.startswith(b)", {"x = a.endswith(b)"}),
        ("x = [a for a in b if a]", {"x = [a for a in b]"}),
        ("raise SomeError('a sentence', 'code')", {"pass", "raise SomeError('a sentence', 'ode')"}),
        ("try:\n    a\nexcept (B, C):\n    d", {"except (C,):", "except (B,):"}),
        ("try:\n    a\nexcept B:\n    d", {"except ():"}),
        ("match a:\n    case b if c:\n        d", {"case b:"}),
        ("while a:\n    continue", {"while False:", "break"}),
    ],
)
def test_each_way_to_break(tmp_path: Path, source: str, broken: set[str]) -> None:
    """One statement, and all that it may become."""
    assert {now for _, now in changed(tmp_path, source)} == broken


@pytest.mark.parametrize(
    "source",
    ["x: int", "@a(1)\ndef f(): ...", "import a", "'text'", "T = TypeVar('T')", "assert_never(1)", "class A(b): ..."],
)
def test_what_is_left_alone(tmp_path: Path, source: str) -> None:
    """Nothing that only a type checker or a reader looks at."""
    assert changed(tmp_path, source) == set()


def test_each_mutant_is_the_module_with_one_change(tmp_path: Path) -> None:
    """Its code runs, and does what it says."""
    found = {(mutant.was, mutant.now): mutant for mutant in mutants(tmp_path)}
    results = {}
    for name in ("if True:", "if item > least:", "if item >= least and item < LIMIT:"):
        namespace: dict[str, object] = {}
        exec(code_of(tmp_path, found["if item > least and item < LIMIT:", name]), namespace)  # noqa: S102 - SOURCE
        results[name] = namespace["first"]([0, 12, 5])  # type: ignore[operator]
    assert results == {"if True:": 0, "if item > least:": 12, "if item >= least and item < LIMIT:": 0}


def test_names_do_not_depend_on_lines(tmp_path: Path) -> None:
    """What stands above a function does not rename its mutants; those that read the same are numbered."""
    twice = "def f():\n    g(1)\n    g(1)\n"
    before, after = mutants(tmp_path, twice), mutants_of(tmp_path, "module.py")
    assert [mutant.key for mutant in before] == [mutant.key for mutant in after]
    assert {mutant.number for mutant in before} == {1, 2}
    (tmp_path / "moved").mkdir()
    moved = mutants(tmp_path / "moved", "h()\n\n\n" + twice)
    assert {mutant.key for mutant in before} <= {mutant.key for mutant in moved}


def test_the_list_of_survivors() -> None:
    """Every entry has a reason, and is of a file that there is."""
    reasons = listed(LIST)
    assert all((ROOT / key[0]).is_file() for key in reasons)


def test_an_entry_says_which_mutant_it_is(tmp_path: Path) -> None:
    """What is written for a mutant is read as that mutant; without a reason it is none."""
    for mutant in mutants(tmp_path, "x = 'a\\\\b'\ny = \"it's\"\ng(1)\ng(1)"):
        path = tmp_path / "list.toml"
        path.write_text(as_entry(mutant))
        with pytest.raises(ValueError, match="without a reason"):
            listed(path)
        path.write_text(as_entry(mutant).replace('reason = ""', 'reason = "so it is"'))
        assert listed(path) == {mutant.key: "so it is"}


def test_a_run() -> None:
    """The mutants of one function, by the real tests: most are noticed, and the count is told."""
    command = [sys.executable, "-m", "tests.mutants", "token", "--where", "Token.parse"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    count = re.search(r"(\d+) mutants, (\d+) killed", done.stdout)
    assert count is not None, done.stderr
    assert int(count[1]) >= int(count[2]) > 0
