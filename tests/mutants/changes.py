"""The small ways to break one node: each change is what a slip of the hand, or an attacker's patch, could be."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Final

from tests.mutants.places import Place

__all__ = ["changes"]

Change = Callable[[ast.AST], ast.AST]
"""Takes the node, in a tree of its own, and gives what stands in its place."""

_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATIONS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.Pow: ast.Mult,
}
_NAMES: Final = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "sorted": "list",
    "startswith": "endswith",
    "endswith": "startswith",
    "partition": "rpartition",
    "rpartition": "partition",
    "ljust": "rjust",
    "lstrip": "rstrip",
    "fullmatch": "match",
    "match": "search",
    "search": "match",
}


def _is_sentence(text: str, *, in_message: bool) -> bool:
    """Whether it is for people: an exception's text, or a constant that can only become one."""
    return text.count(" ") >= (1 if in_message else 3)


def changes(place: Place) -> Iterator[Change]:
    """Every way to break the node at a place."""
    for kind, make in _BY_KIND:
        if isinstance(place.node, kind):
            yield from make(place)


def _compare(place: Place) -> Iterator[Change]:
    assert isinstance(place.node, ast.Compare)
    for index in range(len(place.node.ops)):

        def swap(node: ast.AST, index: int = index) -> ast.AST:
            assert isinstance(node, ast.Compare)
            node.ops[index] = _COMPARISONS[type(node.ops[index])]()
            return node

        yield swap


def _bool_op(place: Place) -> Iterator[Change]:
    """Leave out each operand: that is what a forgotten condition is."""
    assert isinstance(place.node, ast.BoolOp)
    for index in range(len(place.node.values)):

        def leave_out(node: ast.AST, index: int = index) -> ast.AST:
            assert isinstance(node, ast.BoolOp)
            del node.values[index]
            return node if len(node.values) > 1 else node.values[0]

        yield leave_out


def _unary_op(place: Place) -> Iterator[Change]:
    assert isinstance(place.node, ast.UnaryOp)
    yield lambda node: node.operand  # type: ignore[attr-defined]


def _bin_op(place: Place) -> Iterator[Change]:
    assert isinstance(place.node, ast.BinOp | ast.AugAssign)
    if type(place.node.op) in _OPERATIONS:
        yield lambda node: _with(node, op=_OPERATIONS[type(node.op)]())  # type: ignore[attr-defined]


def _condition(place: Place) -> Iterator[Change]:
    """Always, and never."""
    assert isinstance(place.node, ast.If | ast.While)
    yield lambda node: _with(node, test=ast.Constant(value=False))
    if isinstance(place.node, ast.If):
        yield lambda node: _with(node, test=ast.Constant(value=True))


def _if_expression(place: Place) -> Iterator[Change]:
    yield lambda node: node.body  # type: ignore[attr-defined]
    yield lambda node: node.orelse  # type: ignore[attr-defined]


def _return(place: Place) -> Iterator[Change]:
    assert isinstance(place.node, ast.Return)
    value = place.node.value
    if value is not None and not (isinstance(value, ast.Constant) and not value.value):  # what is false anyway
        yield lambda node: _with(node, value=ast.Constant(value=None))


def _constant(place: Place) -> Iterator[Change]:
    assert isinstance(place.node, ast.Constant)
    value = place.node.value
    if isinstance(value, bool):
        yield lambda node: _with(node, value=not value)
    elif isinstance(value, int):
        yield lambda node: _with(node, value=value + 1)
        if value == 1:
            yield lambda node: _with(node, value=0)
    elif isinstance(value, str) and not _is_sentence(value, in_message=place.in_message):
        yield lambda node: _with(node, value=value[1:] or f"XX{value}")
    elif isinstance(value, bytes):
        yield lambda node: _with(node, value=value[1:] or b"XX" + value)


def _leave_out(place: Place) -> Iterator[Change]:
    """Leave out what is done for its effect."""
    node = place.node
    if isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Attribute | ast.Subscript):
        return
    if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call | ast.Yield | ast.YieldFrom):
        return
    yield lambda _: ast.Pass()


def _jump(place: Place) -> Iterator[Change]:
    other = ast.Break if isinstance(place.node, ast.Continue) else ast.Continue
    yield lambda _: other()


def _call(place: Place) -> Iterator[Change]:
    assert isinstance(place.node, ast.Call)
    for index, keyword in enumerate(place.node.keywords):
        if keyword.arg is not None:
            yield lambda node, index=index: _without(node, "keywords", index)  # type: ignore[misc]
    function = place.node.func
    if isinstance(function, ast.Name) and function.id in _NAMES:
        yield lambda node: _with(node, func=ast.Name(id=_NAMES[node.func.id], ctx=ast.Load()))  # type: ignore[attr-defined]
    if isinstance(function, ast.Attribute) and function.attr in _NAMES:
        yield lambda node: _with(node, func=_with(node.func, attr=_NAMES[node.func.attr]))  # type: ignore[attr-defined]


def _slice(place: Place) -> Iterator[Change]:
    assert isinstance(place.node, ast.Slice)
    if place.node.lower is not None:
        yield lambda node: _with(node, lower=None)
    if place.node.upper is not None:
        yield lambda node: _with(node, upper=None)


def _comprehension(place: Place) -> Iterator[Change]:
    assert isinstance(place.node, ast.comprehension)
    for index in range(len(place.node.ifs)):
        yield lambda node, index=index: _without(node, "ifs", index)  # type: ignore[misc]


def _handler(place: Place) -> Iterator[Change]:
    """Catch less, or nothing."""
    assert isinstance(place.node, ast.ExceptHandler)
    caught = place.node.type
    if isinstance(caught, ast.Tuple):
        for index in range(len(caught.elts)):
            yield lambda node, index=index: _without(node.type, "elts", index) and node  # type: ignore[misc]
    else:
        yield lambda node: _with(node, type=ast.Tuple(elts=[], ctx=ast.Load()))


def _case(place: Place) -> Iterator[Change]:
    assert isinstance(place.node, ast.match_case)
    if place.node.guard is not None:
        yield lambda node: _with(node, guard=None)


def _with(node: ast.AST, **fields: object) -> ast.AST:
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def _without(node: ast.AST, name: str, index: int) -> ast.AST:
    del getattr(node, name)[index]
    return node


_BY_KIND: Final[tuple[tuple[type[ast.AST] | tuple[type[ast.AST], ...], Callable[[Place], Iterator[Change]]], ...]] = (
    (ast.Compare, _compare),
    (ast.BoolOp, _bool_op),
    (ast.UnaryOp, _unary_op),
    ((ast.BinOp, ast.AugAssign), _bin_op),
    ((ast.If, ast.While), _condition),
    (ast.IfExp, _if_expression),
    (ast.Return, _return),
    (ast.Constant, _constant),
    ((ast.Expr, ast.Raise, ast.Delete, ast.Assign, ast.AugAssign), _leave_out),
    ((ast.Continue, ast.Break), _jump),
    (ast.Call, _call),
    (ast.Slice, _slice),
    (ast.comprehension, _comprehension),
    (ast.ExceptHandler, _handler),
    (ast.match_case, _case),
)
