"""Text to caveat; `caveats.caveat.encode` is its exact inverse.

::

    caveat     = attribute SP operator SP value
    attribute  = name *("." name)                  ; 64 octets at most
    name       = LOWER *( LOWER / DIGIT / "-" )
    operator   = "=" / "<" / "<=" / ">" / ">=" / %s"in" / %s"under"

Octets 0x20-0x7E, 1 to 512. What `value` may be follows from the attribute's type, and each value has one spelling:
there is no ``or``, no negation, no wildcard, no escape, no quoting, no comment. First the grammar is judged, then the
name, then operator and value for the name's type.
"""

from __future__ import annotations

import re
from typing import Final

from caveats.caveat import Caveat, Comparison, Undeclared, encode
from caveats.dialect import is_dialect, parse_dialect
from caveats.errors import CaveatError, sentence
from caveats.limits import MAX_ATTRIBUTE_OCTETS, MAX_CAVEAT_OCTETS
from caveats.names import ATTRIBUTE
from caveats.valuetype import OPERATORS, ValueType
from caveats.vocabulary import TYPES, Attribute, Vocabulary

_STRAY_OCTET: Final = re.compile(r"[^ -~]")
_UNKNOWN: Final = "An attribute is built in or declared by the operator, and this one is neither."


def parse(text: str | bytes, vocabulary: Vocabulary, *, discharge: bool = False) -> Caveat:
    """The caveat that the text spells.

    Args:
        text: one first-party caveat, as it stands in a token.
        vocabulary: the attributes that caveats may be on.
        discharge: whether it stands in a discharge, where ``declared`` is known.

    Raises:
        CaveatError: nothing else, whatever is given: ``caveat-malformed`` or ``caveat-unknown``.

    """
    text = _printable(text)
    if is_dialect(text.partition(" ")[0]):
        return parse_dialect(text, discharge=discharge)
    name, operator, value = _split(text)
    attribute = vocabulary.get(name)
    if attribute is not None:
        return _comparison(attribute, operator, value)
    if vocabulary.accepts_undeclared(name):
        return _undeclared(name, operator, value)
    raise CaveatError("caveat-unknown", _UNKNOWN, 0)


def compare(vocabulary: Vocabulary, name: str, operator: str, value: object) -> Comparison:
    """A caveat from typed values: the way to put into one what is not a constant of the program.

    Args:
        vocabulary: the attributes that caveats may be on.
        name: the attribute's name.
        operator: one that its type has.
        value: Unix seconds for an instant, minutes after midnight for a clock, an int for an integer, else the value's
            text; after ``in`` a list, tuple or set of these, each once, in any order.

    Raises:
        CaveatError: ``caveat-unknown`` for the name, ``caveat-malformed`` for all else. A position is one in the text
            that the caveat would have had.

    """
    attribute = vocabulary.get(name)
    if attribute is None:
        raise CaveatError("caveat-unknown", _UNKNOWN)
    caveat = _comparison(attribute, operator, _typed_text(attribute.type, operator, value))
    _printable(encode(caveat))
    return caveat


def _printable(raw: object) -> str:
    """Its 1 to 512 octets 0x20-0x7E as text; raises CaveatError."""
    text = raw.decode("latin-1") if isinstance(raw, bytes) else raw
    if not isinstance(text, str):
        raise CaveatError("caveat-malformed", "A caveat is text, or octets.", 0)
    if not text:
        raise CaveatError("caveat-malformed", "A caveat has at least one octet.", 0)
    if len(text) > MAX_CAVEAT_OCTETS:
        raise CaveatError("caveat-malformed", f"A caveat has at most {MAX_CAVEAT_OCTETS} octets.", MAX_CAVEAT_OCTETS)
    stray = _STRAY_OCTET.search(text)
    if stray is not None:
        raise CaveatError("caveat-malformed", "A caveat's octets are 0x20 to 0x7E.", stray.start())
    return text


def _split(text: str) -> tuple[str, str, str]:
    """Attribute, operator and value; raises CaveatError unless all three are there, one space between."""
    name = ATTRIBUTE.match(text)
    end = name.end() if name is not None else 0
    if text[end : end + 1] != " ":
        raise CaveatError(
            "caveat-malformed",
            "A caveat begins with an attribute, lower-case names joined by dots, and one space.",
            end,
        )
    if end > MAX_ATTRIBUTE_OCTETS:
        raise CaveatError(
            "caveat-malformed", f"An attribute has at most {MAX_ATTRIBUTE_OCTETS} octets.", MAX_ATTRIBUTE_OCTETS
        )
    operator, _, value = text[end + 1 :].partition(" ")
    if operator not in OPERATORS:
        raise CaveatError("caveat-malformed", f"An operator is one of {' '.join(OPERATORS)}.", end + 1)
    if not value:
        raise CaveatError("caveat-malformed", "After the operator stand one space and a value.", len(text))
    return text[:end], operator, value


def _check_operator(attribute: Attribute, operator: str) -> None:
    """Raises CaveatError unless the attribute's type has the operator."""
    if operator not in attribute.type.operators:
        allowed = " ".join(known for known in OPERATORS if known in attribute.type.operators)
        message = f"{attribute.name} is of the type {attribute.type.name}, whose operators are {allowed}."
        raise CaveatError("caveat-malformed", message, len(attribute.name) + 1)


def _comparison(attribute: Attribute, operator: str, value: str) -> Comparison:
    """The caveat on a known attribute; raises CaveatError."""
    _check_operator(attribute, operator)
    value_at = len(attribute.name) + len(operator) + 2
    return Comparison(attribute.name, operator, attribute.type.parse_operand(operator, value, value_at), attribute.type)


def _undeclared(name: str, operator: str, value: str) -> Undeclared:
    """The caveat on an attribute of unknown type, if some type has that operator and value; raises CaveatError."""
    value_at = len(name) + len(operator) + 2
    for kind in TYPES.values():
        if operator in kind.operators and _is_operand(kind, operator, value, value_at):
            return Undeclared(name, operator, value)
    raise CaveatError("caveat-malformed", f"No type that has the operator {operator} has such a value.", value_at)


def _is_operand(kind: ValueType, operator: str, value: str, offset: int) -> bool:
    try:
        kind.parse_operand(operator, value, offset)
    except CaveatError:
        return False
    return True


def _typed_text(kind: ValueType, operator: str, value: object) -> str:
    """The text of an operand, each value judged by itself before they are joined; raises CaveatError."""
    try:
        if operator != "in":
            return kind.encode(kind.from_typed(value))
        if not isinstance(value, list | tuple | set | frozenset) or not value:
            raise ValueError("after in stands a list, tuple or set of at least one value")
        return kind.encode_operand("in", sorted(map(kind.from_typed, value), key=kind.sort_key))
    except ValueError as error:
        raise CaveatError("caveat-malformed", sentence(error)) from None
