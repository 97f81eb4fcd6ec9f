"""The caveat language: standard library only; no clock, no keys, no I/O.

>>> from caveats import SATISFIED, Vocabulary, check, clock_values, encode, parse, read_context
>>> vocabulary = Vocabulary.built_in().declare("floor", "integer")
>>> caveat = parse("floor in 1,2", vocabulary)
>>> check(caveat, read_context({"floor": 2}, vocabulary)) is SATISFIED
True
>>> check(caveat, clock_values(1_800_000_000))
Refused(code='context-missing')
>>> encode(caveat)
'floor in 1,2'
"""

from caveats.addresses import Address, Network
from caveats.caveat import Caveat, Comparison, Declared, TimeBefore, Undeclared, encode
from caveats.check import SATISFIED, Refused, Satisfied, Verdict, check, lower_bound, upper_bound
from caveats.context import clock_values, context_value, read_context
from caveats.dialect import declare
from caveats.errors import CaveatError, ContextError, DeclarationError
from caveats.grammar import compare, parse
from caveats.paths import normal_path
from caveats.valuetype import OPERATORS, ValueType
from caveats.vocabulary import TYPES, Attribute, Vocabulary

__all__ = [
    "OPERATORS",
    "SATISFIED",
    "TYPES",
    "Address",
    "Attribute",
    "Caveat",
    "CaveatError",
    "Comparison",
    "ContextError",
    "DeclarationError",
    "Declared",
    "Network",
    "Refused",
    "Satisfied",
    "TimeBefore",
    "Undeclared",
    "ValueType",
    "Verdict",
    "Vocabulary",
    "check",
    "clock_values",
    "compare",
    "context_value",
    "declare",
    "encode",
    "lower_bound",
    "normal_path",
    "parse",
    "read_context",
    "upper_bound",
]
