"""Which attributes there are, and which can be declared."""

from __future__ import annotations

from typing import Any

import pytest

from caveats import TYPES, DeclarationError, Vocabulary, parse

BUILT_IN = {
    "time": ("instant", False, "clock"),
    "clock": ("clock", False, "clock"),
    "weekday": ("word", False, "clock"),
    "action": ("word", False, "request"),
    "method": ("word", False, "request"),
    "path": ("path", False, "request"),
    "host": ("host", False, "request"),
    "ip": ("network", False, "request"),
    "audience": ("word", False, "audience"),
    "sub": ("word", True, "issuer"),
    "client": ("word", True, "issuer"),
}


def refused(name: str, declaration: Any, base: Vocabulary | None = None) -> str:
    """The sentence with which a declaration is refused, its name shown to be to blame."""
    with pytest.raises(DeclarationError) as refusal:
        (base or Vocabulary.built_in()).declare_all({name: declaration})
    assert refusal.value.name == name
    return refusal.value.message


def test_the_built_in_attributes() -> None:
    """Name, type, fact and source of each, in order."""
    vocabulary = Vocabulary.built_in()
    assert {a.name: (a.type.name, a.fact, a.source) for a in vocabulary} == BUILT_IN
    assert vocabulary.names == tuple(BUILT_IN)
    assert len(vocabulary) == len(BUILT_IN)
    assert "time" in vocabulary
    assert "floor" not in vocabulary
    assert vocabulary.get("floor") is None
    weekday = vocabulary.get("weekday")
    assert weekday is not None
    assert weekday.values == ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    assert {a.name for a in vocabulary if a.values is not None} == {"weekday"}


def test_the_types() -> None:
    """The eight types and the operators that each has."""
    assert {name: sorted(kind.operators) for name, kind in TYPES.items()} == {
        "instant": ["<", ">="],
        "clock": ["<", ">="],
        "integer": ["<", "<=", "=", ">", ">=", "in"],
        "word": ["=", "in"],
        "host": ["=", "in"],
        "path": ["=", "under"],
        "network": ["in"],
        "digest": ["="],
    }


@pytest.mark.parametrize("type", list(TYPES))
def test_declaring_each_type(type: str) -> None:
    """A request supplies what is declared, of every type."""
    vocabulary = Vocabulary.built_in().declare("x", type)
    attribute = vocabulary.get("x")
    assert attribute is not None
    assert (attribute.type.name, attribute.fact, attribute.source, attribute.values) == (type, False, "request", None)
    assert vocabulary.names[-1] == "x"


@pytest.mark.parametrize(
    ("type", "may"),
    [
        ("integer", True),
        ("word", True),
        ("host", True),
        ("path", True),
        ("digest", True),
        ("instant", False),
        ("clock", False),
        ("network", False),
    ],
)
def test_a_facts_type_has_equality(type: str, may: bool) -> None:
    """The issuer states facts of the types that have `=`."""
    if not may:
        assert "operator =" in refused("x", {"type": type, "fact": True})
        return
    attribute = Vocabulary.built_in().declare("x", type, fact=True).get("x")
    assert attribute is not None
    assert (attribute.fact, attribute.source) == (True, "issuer")


def test_declaring_changes_nothing_that_was() -> None:
    """A vocabulary never changes."""
    before = Vocabulary.built_in()
    after = before.declare("floor", "integer")
    assert "floor" not in before
    assert "floor" in after
    assert Vocabulary.built_in() is before
    assert "for.x" not in before.administrative.declare("x", "word")


@pytest.mark.parametrize(
    "name",
    ["declared", "need-declared", "time-before", "allow", "deny", "error", "for.x", "for.sub", "for.ttl", "for.for"],
)
def test_taken_names(name: str) -> None:
    """The dialect's words and all under `for.` are taken."""
    assert "taken" in refused(name, {"type": "word"})


@pytest.mark.parametrize(
    "name", ["for", "form", "fort.x", "allowed", "denied", "declared.x", "errors", "time-after", "need", "x.error"]
)
def test_names_beside_the_taken_ones(name: str) -> None:
    """What only resembles a taken name is free."""
    assert name in Vocabulary.built_in().declare(name, "word")


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "Floor",
        "1x",
        "-x",
        ".x",
        "x.",
        "x..y",
        "x.1",
        "x_y",
        "x y",
        "x:y",
        "é",
        "x\n",
        "x*",
        "a" * 65,
        "x." * 40 + "x",
    ],
)
def test_names_out_of_the_grammar(name: str) -> None:
    """A name is an attribute of the grammar, of 64 octets."""
    assert "lower-case letters" in refused(name, {"type": "word"})


@pytest.mark.parametrize("name", ["x", "x1", "x-", "x--y", "x.y", "geo.zone.a-1", "a" * 64])
def test_names_of_the_grammar(name: str) -> None:
    """The same, accepted, up to 64 octets."""
    assert name in Vocabulary.built_in().declare_all({name: {"type": "word"}})


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_attributes_cannot_be_declared_otherwise(name: str) -> None:
    """Another type, another fact-ness or a closed set is refused."""
    kind, fact, _ = BUILT_IN[name]
    assert "otherwise" in refused(name, {"type": "integer" if kind != "integer" else "word"})
    if kind in {"word", "path", "host"}:
        assert "otherwise" in refused(name, {"type": kind, "fact": not fact})
    if kind == "word":
        assert "otherwise" in refused(name, {"type": kind, "fact": fact, "values": ["a"]})


def test_a_built_in_attribute_declared_as_it_is() -> None:
    """The published list of attributes can be read back whole: it changes nothing."""
    vocabulary = Vocabulary.built_in().declare("plan", "word", values=["free"]).declare("tenant", "word", fact=True)
    published = {a.name: {"type": a.type.name, "fact": a.fact, "values": a.values} for a in vocabulary}
    again = Vocabulary.from_declarations(published)
    assert list(again) == list(vocabulary)
    assert Vocabulary.built_in().declare_all({"sub": {"type": "word", "fact": True}}) is Vocabulary.built_in()


def test_a_built_in_closed_set_does_not_grow() -> None:
    """There is no eighth day, whatever the order of the seven."""
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    assert "built in" in refused("weekday", {"type": "word", "values": [*days, "holiday"]})
    assert "otherwise" in refused("weekday", {"type": "word", "values": days[:6]})
    assert Vocabulary.built_in().declare("weekday", "word", values=sorted(days)) is Vocabulary.built_in()


def test_a_closed_set_may_grow() -> None:
    """It may grow, never shrink, open, close or exchange a value."""
    base = Vocabulary.built_in().declare("plan", "word", values=["free", "team"]).declare("floor", "integer")
    grown = base.declare("plan", "word", values=("free", "gold", "team"))
    plan = grown.get("plan")
    assert plan is not None
    assert plan.values == ("free", "gold", "team")
    assert grown.names == base.names
    assert base.declare("plan", "word", values=["team", "free"]) is base
    for values in (["free"], ["free", "gold"], ["gold"], None):
        assert "otherwise" in refused("plan", {"type": "word", "values": values}, base)
    opened = base.declare("colour", "word")
    assert "otherwise" in refused("colour", {"type": "word", "values": ["red"]}, opened)


def test_a_declaration_again() -> None:
    """The same is nothing new; another type or fact-ness is refused."""
    base = Vocabulary.built_in().declare("floor", "integer").declare("tenant", "word", fact=True)
    assert base.declare("floor", "integer") is base
    assert base.declare("tenant", "word", fact=True, values=None) is base
    assert "otherwise" in refused("floor", {"type": "word"}, base)
    assert "otherwise" in refused("floor", {"type": "integer", "fact": True}, base)
    assert "otherwise" in refused("tenant", {"type": "word", "fact": False}, base)


@pytest.mark.parametrize(
    ("declaration", "sentence"),
    [
        (None, "table"),
        ("integer", "table"),
        (["integer"], "table"),
        ({}, "table"),
        ({"fact": True}, "table"),
        ({"type": "word", "source": "request"}, "table"),
        ({"type": "word", "Values": ["a"]}, "table"),
        ({"type": "string"}, "type is one of"),
        ({"type": "Integer"}, "type is one of"),
        ({"type": ""}, "type is one of"),
        ({"type": None}, "type is one of"),
        ({"type": ["word"]}, "type is one of"),
        ({"type": "word", "fact": 1}, "true or false"),
        ({"type": "word", "fact": "true"}, "true or false"),
        ({"type": "word", "fact": None}, "true or false"),
        ({"type": "integer", "values": ["1"]}, "belong to the type word"),
        ({"type": "host", "values": ["a"]}, "belong to the type word"),
        ({"type": "word", "values": []}, "at least one"),
        ({"type": "word", "values": "free"}, "at least one"),
        ({"type": "word", "values": {"free": 1}}, "at least one"),
        ({"type": "word", "values": 1}, "at least one"),
        ({"type": "word", "values": ["a", "a"]}, "each once"),
        ({"type": "word", "values": ["a", 1]}, "each once"),
        ({"type": "word", "values": ["a", ""]}, "each once"),
        ({"type": "word", "values": ["a b"]}, "each once"),
        ({"type": "word", "values": ["a,b"]}, "each once"),
        ({"type": "word", "values": ["a\n"]}, "each once"),
        ({"type": "word", "values": ["a" * 129]}, "each once"),
    ],
)
def test_declarations_of_another_shape(declaration: object, sentence: str) -> None:
    """A table of type, fact and values, each of its kind; beside it the right one."""
    assert sentence in refused("x", declaration)
    assert "x" in Vocabulary.from_declarations({"x": {"type": "word", "fact": False, "values": ["a", "a" * 128]}})


def test_long_names_are_not_repeated() -> None:
    """A sentence shows a name of 40 characters, in ASCII, and none that is longer."""
    assert "'" + "A" * 40 + "'" in str(DeclarationError("A" * 40, "no"))
    assert "A" not in str(DeclarationError("A" * 41, "no"))
    assert str(DeclarationError("é\n", "no")) == "attribute '\\xe9\\n': no"


def test_the_administrative_vocabulary() -> None:
    """`for.` and audience, ttl, and each fact with its type: nobody but the service supplies them."""
    base = Vocabulary.built_in().declare("floor", "integer").declare("level", "integer", fact=True)
    vocabulary = base.declare("plan", "word", fact=True, values=["free"]).administrative
    added = {a.name: (a.type.name, a.values, a.fact, a.source) for a in vocabulary if a.name.startswith("for.")}
    assert added == {
        "for.audience": ("word", None, False, "service"),
        "for.ttl": ("integer", None, False, "service"),
        "for.sub": ("word", None, False, "service"),
        "for.client": ("word", None, False, "service"),
        "for.level": ("integer", None, False, "service"),
        "for.plan": ("word", ("free",), False, "service"),
    }
    assert set(base.names) < set(vocabulary.names)
    assert not any(name.startswith("for.") for name in base.names)


def test_no_fact_is_called_ttl() -> None:
    """`for.ttl` is a lifetime; an attribute `ttl` that requests supply is no matter."""
    assert "for.ttl" in refused("ttl", {"type": "integer", "fact": True})
    assert "ttl" in Vocabulary.built_in().declare("ttl", "integer")


def test_views_are_made_once() -> None:
    """Asking for a view again costs nothing, and a view of a view is the same."""
    vocabulary = Vocabulary.built_in().declare("x", "word")
    assert vocabulary.administrative is vocabulary.administrative
    assert vocabulary.away is vocabulary.away
    assert vocabulary.administrative.administrative is vocabulary.administrative
    assert vocabulary.administrative is not vocabulary.away
    assert "for.y" in vocabulary.administrative.declare("y", "word", fact=True)


def test_declaring_away_keeps_what_is_away() -> None:
    """A client that learns one declaration goes on accepting names that it does not know."""
    vocabulary = Vocabulary.built_in().away.declare("floor", "integer")
    assert parse("colour = red", vocabulary)
    assert vocabulary.accepts_undeclared("colour")
    assert not vocabulary.accepts_undeclared("floor")
    assert not vocabulary.administrative.accepts_undeclared("colour")


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("colour", True),
        ("geo.zone", True),
        ("for.colour", True),
        ("for.geo.zone", True),
        ("for", True),
        ("time", False),
        ("for.time", False),
        ("for.sub", False),
        ("for.ttl", False),
        ("for.for.x", False),
        ("for.allow", False),
        ("allow", False),
        ("for.", False),
        ("Colour", False),
        ("a" * 65, False),
    ],
)
def test_names_that_some_operator_may_have(name: str, accepted: bool) -> None:
    """Away alone, and only what could be declared."""
    assert Vocabulary.built_in().away.accepts_undeclared(name) is accepted
    assert not Vocabulary.built_in().accepts_undeclared(name)
    assert not Vocabulary.built_in().administrative.accepts_undeclared(name)
