"""Where a module can be broken: its syntax tree, walked with what stands around each node."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Place", "header", "places"]

_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_UNTOUCHED_NAMES: Final = frozenset({"__all__", "__slots__"})
_UNTOUCHED_CALLS: Final = frozenset({"TypeVar", "cast", "assert_never"})


@dataclass(frozen=True, slots=True)
class Place:
    """A node, and what is around it."""

    node: ast.AST
    statement: ast.AST
    """The innermost statement (or case of a match) that it is part of, itself maybe."""
    scope: tuple[str, ...]
    """Names of the classes and functions around it."""
    function: ast.FunctionDef | ast.AsyncFunctionDef | None
    """The outermost function whose body it is in: None for what is worked out on import."""
    in_message: bool
    """Whether it is an argument of what makes an exception, where text is for people."""


def places(tree: ast.Module) -> Iterator[Place]:
    """Every place, in the order of the source.

    Left out are annotations, decorators, base classes, docstrings, imports, ``__all__`` and ``__slots__``, type
    variables, and ``assert_never``, which nothing reaches.
    """
    for statement in tree.body:
        yield from _walk(statement, Place(statement, statement, (), None, in_message=False))


def _walk(node: ast.AST, at: Place) -> Iterator[Place]:
    if _is_left_out(node):
        return
    statement = node if isinstance(node, ast.stmt | ast.match_case | ast.ExceptHandler) else at.statement
    in_message = at.in_message or _makes_exception(node)
    yield Place(node, statement, at.scope, at.function, in_message)
    inside = Place(node, statement, at.scope, at.function, in_message)
    if isinstance(node, _FUNCTIONS):
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            yield from _walk(default, inside)
        inside = Place(node, statement, (*at.scope, node.name), at.function or node, in_message=False)
        children: Iterator[ast.AST] = iter(node.body)
    elif isinstance(node, ast.ClassDef):
        inside = Place(node, statement, (*at.scope, node.name), at.function, in_message=False)
        children = iter(node.body)
    elif isinstance(node, ast.AnnAssign):
        children = iter([] if node.value is None else [node.value])
    elif isinstance(node, ast.arg):
        children = iter([])
    else:
        children = ast.iter_child_nodes(node)
    for child in children:
        yield from _walk(child, inside)


def _is_left_out(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()):
            return True  # a docstring
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Call(func=ast.Name(id="assert_never"))):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name in _UNTOUCHED_NAMES or _is_alias(node)
        case ast.Call(func=ast.Name(id=name)):
            return name in _UNTOUCHED_CALLS
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
    return False


def _is_alias(node: ast.AST) -> bool:
    return isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation)


def _makes_exception(node: ast.AST) -> bool:
    """Whether it raises, or calls something that is named as an exception or a maker of one."""
    if isinstance(node, ast.Raise):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func).rpartition(".")[2].lstrip("_")
    return name.endswith(("Error", "Denied", "malformed", "too_large", "denied"))


def header(statement: ast.AST) -> str:
    """A statement on one line; of one with a body, the line that begins it."""
    lines = [line.strip() for line in ast.unparse(statement).splitlines()]
    if isinstance(statement, _SCOPES):
        lines = [line for line in lines if not line.startswith("@")]
    return next(line for line in lines if line)
