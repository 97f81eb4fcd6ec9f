"""Which attributes there are, what values they have, and who says so.

A `Vocabulary` never changes: declaring makes another. Built in are `time`, `clock` and `weekday`, which the verifier
reads off its clock; `audience`, which the key says; `sub` and `client`, which the issuer states; and what a request
says of itself. An operator adds its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from caveats.errors import DeclarationError
from caveats.names import ADMINISTRATIVE_PREFIX, is_free
from caveats.places import Host, Networks, Path
from caveats.values import Clock, Digest, Instant, Integer, Word, is_word
from caveats.valuetype import ValueType

Source: TypeAlias = Literal["request", "clock", "audience", "issuer", "service"]
"""Who supplies an attribute's value; ``service`` is what an administrator's request acts on (``for.…``)."""

_Scope: TypeAlias = Literal["tokens", "administrative", "away"]

TYPES: Final[Mapping[str, ValueType]] = MappingProxyType(
    {kind.name: kind for kind in (Instant(), Clock(), Integer(), Word(), Host(), Path(), Networks(), Digest())}
)
"""The value types by their name in a declaration."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute: its name, its values, whether the issuer states it as a fact, and who supplies its value."""

    name: str
    type: ValueType
    fact: bool = False
    source: Source = "request"

    @property
    def values(self) -> tuple[str, ...] | None:
        """The closed set that its values are of, or None."""
        return self.type.values if isinstance(self.type, Word) else None


_BUILT_IN: Final = (
    Attribute("time", TYPES["instant"], source="clock"),
    Attribute("clock", TYPES["clock"], source="clock"),
    Attribute("weekday", Word(("mon", "tue", "wed", "thu", "fri", "sat", "sun")), source="clock"),
    Attribute("action", TYPES["word"]),
    Attribute("method", TYPES["word"]),
    Attribute("path", TYPES["path"]),
    Attribute("host", TYPES["host"]),
    Attribute("ip", TYPES["network"]),
    Attribute("audience", TYPES["word"], source="audience"),
    Attribute("sub", TYPES["word"], fact=True, source="issuer"),
    Attribute("client", TYPES["word"], fact=True, source="issuer"),
)
_BUILT_IN_NAMES: Final = frozenset(attribute.name for attribute in _BUILT_IN)
_TTL: Final = "ttl"  # for.ttl is a lifetime in seconds, whatever facts there are


class Vocabulary:
    """An immutable set of attributes; iterating gives them in the order of their declaration, built-in ones first."""

    __slots__ = ("_declared", "_scope", "_views", "attributes")

    def __init__(self, declared: Mapping[str, Attribute], scope: _Scope = "tokens") -> None:
        """Not for callers: `built_in` and `declare` make vocabularies."""
        self._declared = declared
        self._scope = scope
        self.attributes: Mapping[str, Attribute] = (
            dict(declared) if scope == "tokens" else {**declared, **_administrative(declared)}
        )
        """By name; nobody changes it. A decision looks several up, and a method would cost as much again."""
        self._views: dict[_Scope, Vocabulary] = {scope: self}

    @classmethod
    def built_in(cls) -> Vocabulary:
        """The vocabulary of a service whose operator declares nothing."""
        return _BUILT_IN_VOCABULARY

    @classmethod
    def from_declarations(cls, declarations: Mapping[str, object]) -> Vocabulary:
        """The built-in vocabulary and what ``[attributes]`` of a configuration file declares; see `declare_all`."""
        return cls.built_in().declare_all(declarations)

    def declare_all(self, declarations: Mapping[str, object]) -> Vocabulary:
        """The vocabulary with declarations by name, each a mapping of ``type`` and, where needed, ``fact``, ``values``.

        Raises:
            DeclarationError: one has another shape, or is refused by `declare`.

        """
        vocabulary = self
        for name, fields in declarations.items():
            if not isinstance(fields, Mapping) or not {"type"} <= fields.keys() <= {"type", "fact", "values"}:
                raise DeclarationError(name, "a declaration is a table of type and, where needed, fact and values")
            vocabulary = vocabulary.declare(name, **fields)
        return vocabulary

    def declare(
        self, name: str, type: str, *, fact: bool = False, values: tuple[str, ...] | list[str] | None = None
    ) -> Vocabulary:
        """The vocabulary with one more attribute, which requests supply or, with `fact`, the issuer states.

        What was declared before may be declared again, the same; a closed set that is not built in may grow.

        Args:
            name: the attribute's name.
            type: a key of `TYPES`.
            fact: whether the issuer states it; its type then is one that has ``=``.
            values: the closed set of a word.

        Raises:
            DeclarationError: the name is taken or no attribute's, the type unknown or none for a fact, the values no
                words, or the declaration differs from the earlier one.

        """
        attribute = _attribute(name, type, fact, values)
        earlier = self._declared.get(name)
        if earlier is None:
            _check_name(attribute)
        elif not _grows(earlier, attribute):
            raise DeclarationError(name, "it is declared otherwise already; only a closed set may change, by growing")
        elif _grows(attribute, earlier):
            return self
        elif name in _BUILT_IN_NAMES:
            raise DeclarationError(name, "it is built in, and its closed set does not grow")
        return Vocabulary({**self._declared, name: attribute}, self._scope)

    @property
    def administrative(self) -> Vocabulary:
        """The same and ``for.audience``, ``for.sub``, ``for.ttl``, ``for.<fact>``: for ``capsvc`` alone."""
        return self._view("administrative")

    @property
    def away(self) -> Vocabulary:
        """As `administrative`, and with the attributes that some operator may have declared: for clients."""
        return self._view("away")

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes' names, in order."""
        return tuple(self.attributes)

    def get(self, name: str) -> Attribute | None:
        """The attribute of that name, or None."""
        return self.attributes.get(name)

    def accepts_undeclared(self, name: str) -> bool:
        """Whether a caveat may be on that name although this vocabulary does not have it."""
        fact = name.removeprefix(ADMINISTRATIVE_PREFIX)
        return self._scope == "away" and name not in self.attributes and fact not in self._declared and is_free(fact)

    def __iter__(self) -> Iterator[Attribute]:
        return iter(self.attributes.values())

    def __len__(self) -> int:
        return len(self.attributes)

    def __contains__(self, name: object) -> bool:
        return name in self.attributes

    def _view(self, scope: _Scope) -> Vocabulary:
        view = self._views.get(scope)
        if view is None:
            view = self._views[scope] = Vocabulary(self._declared, scope)
        return view


def _attribute(name: str, type: str, fact: object, values: object) -> Attribute:
    """The attribute that a declaration's fields describe; raises DeclarationError."""
    kind = TYPES.get(type) if isinstance(type, str) else None
    if kind is None:
        raise DeclarationError(name, f"type is one of {', '.join(TYPES)}")
    if values is not None:
        kind = _closed_set(name, kind, values)
    if not isinstance(fact, bool):
        raise DeclarationError(name, "fact is true or false")
    if fact and "=" not in kind.operators:
        raise DeclarationError(name, "the type of a fact is one that has the operator =")
    return Attribute(name, kind, fact, "issuer" if fact else "request")


def _closed_set(name: str, kind: ValueType, values: object) -> Word:
    """The type of a word that is one of the values; raises DeclarationError."""
    if not isinstance(kind, Word):
        raise DeclarationError(name, "values belong to the type word")
    if not isinstance(values, list | tuple) or not values:
        raise DeclarationError(name, "values is a list of at least one word")
    if not all(isinstance(value, str) and is_word(value) for value in values) or len(set(values)) < len(values):
        raise DeclarationError(name, "values are words, each once")
    return Word(tuple(values))


def _check_name(attribute: Attribute) -> None:
    """Raises DeclarationError unless the name is one that an operator may declare."""
    if not is_free(attribute.name):
        raise DeclarationError(
            attribute.name,
            "a name is lower-case letters, digits and hyphens, parts joined by dots, 64 octets, and not taken",
        )
    if attribute.fact and attribute.name == _TTL:
        raise DeclarationError(attribute.name, "no fact is called so: for.ttl is a lifetime in seconds")


def _grows(earlier: Attribute, later: Attribute) -> bool:
    """Whether the later declaration is the earlier one, its closed set as large or larger."""
    if (earlier.type.name, earlier.fact) != (later.type.name, later.fact):
        return False
    if earlier.values is None or later.values is None:
        return earlier.values is later.values
    return set(earlier.values) <= set(later.values)


def _administrative(declared: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """``for.audience``, ``for.ttl`` and ``for.<fact>``, ``for.sub`` among them."""
    types = {"audience": TYPES["word"], _TTL: TYPES["integer"]}
    types |= {fact.name: fact.type for fact in declared.values() if fact.fact}
    names = {ADMINISTRATIVE_PREFIX + name: kind for name, kind in types.items()}
    return {name: Attribute(name, kind, source="service") for name, kind in names.items()}


_BUILT_IN_VOCABULARY: Final = Vocabulary({attribute.name: attribute for attribute in _BUILT_IN})
