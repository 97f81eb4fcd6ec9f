"""Reading, writing and building caveats: bounds, order of refusals, positions, sentences."""

from __future__ import annotations

import copy
import pickle

import pytest

from caveats import (
    SATISFIED,
    TYPES,
    Attribute,
    CaveatError,
    Comparison,
    Declared,
    Network,
    Refused,
    TimeBefore,
    Undeclared,
    ValueType,
    Vocabulary,
    compare,
    declare,
    encode,
    parse,
)

DIGEST = "sha256:" + "A" * 43


@pytest.mark.parametrize(
    ("text", "operator", "operand"),
    [
        ("floor = -1", "=", -1),
        ("floor in -2,0,10", "in", (-2, 0, 10)),
        ("time < 2000-01-01T00:00:00Z", "<", 946_684_800),
        ("time >= 2099-12-31T23:59:59Z", ">=", 4_102_444_799),
        ("clock < 23:59", "<", 1439),
        ("clock >= 00:01", ">=", 1),
        ("action = read", "=", "read"),
        ("action in read,write", "in", ("read", "write")),
        ("plan in free,team", "in", ("free", "team")),
        ("host in ::1,a.example", "in", ("::1", "a.example")),
        ("path under /a", "under", "/a"),
        ("ip in 128.0.0.0/1", "in", (Network("128.0.0.0/1", 4, 1 << 31, 1 << 31),)),
        ("ip in ::1/128", "in", (Network("::1/128", 6, 1, 2**128 - 1),)),
        (f"body = {DIGEST}", "=", DIGEST),
    ],
)
def test_a_caveat_in_pythons_terms(text: str, operator: str, operand: object, vocabulary: Vocabulary) -> None:
    """Each type's operand is a plain Python value, a tuple of them after `in`."""
    caveat = parse(text, vocabulary)
    assert isinstance(caveat, Comparison)
    assert (caveat.attribute, caveat.operator, caveat.operand) == (text.partition(" ")[0], operator, operand)
    attribute = vocabulary.get(caveat.attribute)
    assert attribute is not None
    assert caveat.type is attribute.type


def test_the_dialects_caveats(vocabulary: Vocabulary) -> None:
    """`time-before` and `declared` keep all that was written."""
    assert parse("time-before 2000-01-01T00:00:01Z", vocabulary) == TimeBefore(946_684_801, "")
    assert parse("time-before 2000-01-01T00:00:01.500Z", vocabulary) == TimeBefore(946_684_801, "500")
    assert parse("declared a b  c", vocabulary, discharge=True) == Declared("a", "b  c")
    assert parse("declared a ", vocabulary, discharge=True) == Declared("a", "")
    assert parse("colour in 1,2", vocabulary.away) == Undeclared("colour", "in", "1,2")


@pytest.mark.parametrize(
    ("fraction", "nanoseconds"),
    [("", 0), ("0", 0), ("5", 500_000_000), ("000000001", 1), ("999999999", 999_999_999), ("01", 10_000_000)],
)
def test_a_fraction_in_nanoseconds(fraction: str, nanoseconds: int) -> None:
    """A fraction is exact."""
    assert TimeBefore(2, fraction).nanoseconds == 2_000_000_000 + nanoseconds


@pytest.mark.parametrize(
    ("text", "code", "position", "sentence"),
    [
        ("", "malformed", 0, "at least one octet"),
        ("a" * 513, "malformed", 512, "at most 512 octets"),
        ("é" * 600, "malformed", 512, "at most 512 octets"),
        ("floor = 1\n", "malformed", 9, "0x20 to 0x7E"),
        ("\x1f", "malformed", 0, "0x20 to 0x7E"),
        ("floor = \x7f", "malformed", 8, "0x20 to 0x7E"),
        ("floor", "malformed", 5, "begins with an attribute"),
        ("Floor = 1", "malformed", 0, "begins with an attribute"),
        ("geo. = 1", "malformed", 3, "begins with an attribute"),
        ("a" * 65 + " = 1", "malformed", 64, "at most 64 octets"),
        ("a" * 65 + " ! 1", "malformed", 64, "at most 64 octets"),
        ("floor == 1", "malformed", 6, "one of = < <= > >= in under"),
        ("colour == 1", "malformed", 7, "one of = < <= > >= in under"),
        ("floor ", "malformed", 6, "one of = < <= > >= in under"),
        ("floor =", "malformed", 7, "one space and a value"),
        ("floor = ", "malformed", 8, "one space and a value"),
        ("colour under ", "malformed", 13, "one space and a value"),
        ("colour = red", "unknown", 0, "built in or declared"),
        ("for.sub = alice", "unknown", 0, "built in or declared"),
        ("floor under x", "malformed", 6, "integer, whose operators are = < <= > >= in."),
        ("ip = x", "malformed", 3, "network, whose operators are in."),
        ("floor = x", "malformed", 8, "An integer is 0"),
        ("floor in 1,x", "malformed", 11, "An integer is 0"),
        ("floor in 10,9", "malformed", 12, "ascends"),
        ("floor in 1,22,22", "malformed", 14, "ascends"),
        ("floor in " + ",".join(map(str, range(65))), "malformed", 9 + 10 * 2 + 54 * 3, "at most 64 values"),
        ("path under /a/", "malformed", 11, "ends without /"),
        ("path under /*", "malformed", 11, "no *"),
        ("path = /a//b", "malformed", 7, "empty segment"),
        ("time < 2026-02-29T00:00:00Z", "malformed", 7, "no such day"),
        ("time < 2026-02-28", "malformed", 7, "YYYY-MM-DDTHH:MM:SSZ"),
        ("clock < 24:00", "malformed", 8, "HH:MM"),
        ("plan = gold", "malformed", 7, "closed set"),
        ("action = a b", "malformed", 9, "A word has 1 to 128"),
        ("host = A", "malformed", 7, "A host is labels"),
        ("host = " + "a." * 126 + "aa", "malformed", 7, "at most 253 octets"),
        ("ip in 10.0.0.1/8", "malformed", 6, "bits after its length are zero"),
        ("ip in 10.0.0.0/0", "malformed", 6, "1 to 32"),
        ("ip in 10.0.0.0/33", "malformed", 6, "1 to 32"),
        ("ip in ::/129", "malformed", 6, "1 to 128"),
        ("ip in 10.0.0.0", "malformed", 6, "1 to 32"),
        ("ip in ::/0", "malformed", 6, "1 to 128"),
        ("ip in ::g/8", "malformed", 6, "dotted quad"),
        ("ip in ::1::/8", "malformed", 6, "An address is a dotted quad"),
        ("body = x", "malformed", 7, "sha256:"),
        ("declared a b", "unknown", 0, "Only a discharge declares"),
        ("error x", "unknown", 0, "time-before and declared"),
        ("x:y z", "unknown", 0, "time-before and declared"),
        ("time-before", "malformed", 11, "After time-before"),
        ("time-before x", "malformed", 12, "After time-before"),
        ("time-before 2026-02-29T00:00:00.5Z", "malformed", 12, "no such day"),
    ],
)
def test_refusals(text: str, code: str, position: int, sentence: str, vocabulary: Vocabulary) -> None:
    """Code, octet and sentence of each refusal."""
    with pytest.raises(CaveatError) as refusal:
        parse(text, vocabulary)
    assert (refusal.value.code, refusal.value.position) == (f"caveat-{code}", position)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "position", "sentence"),
    [
        ("declared", 8, "a space and its value"),
        ("declared ", 9, "a space and its value"),
        ("declared x", 10, "a space and its value"),
        ("declared  x", 9, "visible octets"),
        ("declared a,b c", 9, "visible octets"),
        ("declared " + "n" * 65 + " v", 9, "1 to 64"),
        ("declared a " + "v" * 401, 11, "at most 400"),
    ],
)
def test_refused_declarations(text: str, position: int, sentence: str, vocabulary: Vocabulary) -> None:
    """Octet and sentence of each refusal in a discharge."""
    with pytest.raises(CaveatError) as refusal:
        parse(text, vocabulary, discharge=True)
    assert (refusal.value.code, refusal.value.position) == ("caveat-malformed", position)
    assert sentence in str(refusal.value)


def test_away_a_value_of_no_type(vocabulary: Vocabulary) -> None:
    """The position is the value's."""
    with pytest.raises(CaveatError, match="No type that has the operator <=") as refusal:
        parse("colour <= red", vocabulary.away)
    assert (refusal.value.code, refusal.value.position) == ("caveat-malformed", 10)


def test_octets_are_read_as_octets(vocabulary: Vocabulary) -> None:
    """A position in octets counts octets, whatever characters they spell."""
    with pytest.raises(CaveatError) as refusal:
        parse("action = ré".encode(), vocabulary)
    assert refusal.value.position == 10
    assert parse(b"action = read", vocabulary) == parse("action = read", vocabulary)


def test_a_caveat_of_512_octets(vocabulary: Vocabulary) -> None:
    """512 octets are read, and one more is not, as text and as octets."""
    text = "action in " + ",".join(f"{n}" + "a" * 124 for n in range(4))
    assert len(text) == 513
    assert parse(text[:-1], vocabulary) == parse(text[:-1].encode(), vocabulary)
    for raw in (text, text.encode()):
        with pytest.raises(CaveatError, match="at most 512 octets"):
            parse(raw, vocabulary)


@pytest.mark.parametrize("raw", [None, 1, ["floor = 1"], bytearray(b"floor = 1")])
def test_what_is_neither_text_nor_octets(raw: object, vocabulary: Vocabulary) -> None:
    """A program's mistake is refused like any other caveat that is none."""
    with pytest.raises(CaveatError, match="text, or octets") as refusal:
        parse(raw, vocabulary)  # type: ignore[arg-type]
    assert (refusal.value.code, refusal.value.position) == ("caveat-malformed", 0)


@pytest.mark.parametrize(
    ("name", "operator", "value", "text"),
    [
        ("floor", "=", 0, "floor = 0"),
        ("floor", "in", (3, 1, -2, 20), "floor in -2,1,3,20"),
        ("floor", "in", [7], "floor in 7"),
        ("floor", "<", 10**18 - 1, "floor < 999999999999999999"),
        ("floor", ">", 1 - 10**18, "floor > -999999999999999999"),
        ("time", "<", 946_684_800, "time < 2000-01-01T00:00:00Z"),
        ("time", ">=", 4_102_444_799, "time >= 2099-12-31T23:59:59Z"),
        ("time", "<", 1_709_164_800, "time < 2024-02-29T00:00:00Z"),
        ("clock", ">=", 0, "clock >= 00:00"),
        ("clock", "<", 1439, "clock < 23:59"),
        ("clock", "<", 61, "clock < 01:01"),
        ("action", "=", "read", "action = read"),
        ("action", "in", {"write", "Read"}, "action in Read,write"),
        ("action", "in", frozenset({"b", "a"}), "action in a,b"),
        ("plan", "in", ("team", "free"), "plan in free,team"),
        ("host", "in", ("b", "::1", "10.0.0.1"), "host in 10.0.0.1,::1,b"),
        ("path", "under", "/", "path under /"),
        ("path", "=", "/a/", "path = /a/"),
        ("ip", "in", ["::1/128", "10.0.0.0/8"], "ip in 10.0.0.0/8,::1/128"),
        ("ip", "in", ["9.0.0.0/8", "10.0.0.0/8"], "ip in 10.0.0.0/8,9.0.0.0/8"),
        ("body", "=", DIGEST, f"body = {DIGEST}"),
    ],
)
def test_building_from_typed_values(name: str, operator: str, value: object, text: str, vocabulary: Vocabulary) -> None:
    """Typed values give the caveat that their text would, lists in any order."""
    caveat = compare(vocabulary, name, operator, value)
    assert encode(caveat) == text
    assert caveat == parse(text, vocabulary)


@pytest.mark.parametrize(
    ("name", "operator", "value", "sentence"),
    [
        ("action", "in", ["read,write"], "A word has"),
        ("action", "=", "read,write", "A word has"),
        ("action", "=", "read and floor = 1", "A word has"),
        ("action", "=", "read\nfloor = 1", "A word has"),
        ("action", "=", "", "A word has"),
        ("action", "=", 1, "given as text"),
        ("action", "=", True, "given as text"),
        ("action", "=", None, "given as text"),
        ("action", "=", ["read"], "given as text"),
        ("action", "=", b"read", "given as text"),
        ("action", "in", "read", "list, tuple or set"),
        ("action", "in", b"read", "list, tuple or set"),
        ("action", "in", {"read": 1}, "list, tuple or set"),
        ("action", "in", iter(["read"]), "list, tuple or set"),
        ("action", "in", None, "list, tuple or set"),
        ("action", "in", [], "at least one value"),
        ("action", "in", (), "at least one value"),
        ("action", "in", set(), "at least one value"),
        ("action", "in", ["read", "read"], "ascends"),
        ("action", "in", ["read", 1], "given as text"),
        ("action", "in", [["read"]], "given as text"),
        ("action", "under", "read", "whose operators are = in"),
        ("action", "==", "read", "whose operators are = in"),
        ("action", "= read or", "x", "whose operators are = in"),
        ("floor", "=", True, "whole number"),
        ("floor", "=", 1.0, "whole number"),
        ("floor", "=", "1", "whole number"),
        ("floor", "in", [1, True], "whole number"),
        ("floor", "=", 10**18, "at most 18 digits"),
        ("floor", "=", -(10**18), "at most 18 digits"),
        ("floor", "in", range(3), "list, tuple or set"),
        ("floor", "in", list(range(65)), "at most 64 values"),
        ("time", "<", 946_684_799, "2000 to 2099"),
        ("time", "<", 4_102_444_800, "2000 to 2099"),
        ("time", "<", 10**30, "2000 to 2099"),
        ("time", "<", True, "whole number"),
        ("time", "<", 1e9, "whole number"),
        ("time", "<", "2026-11-22T12:00:00Z", "whole number"),
        ("clock", "<", 1440, "0 to 1439"),
        ("clock", "<", -1, "0 to 1439"),
        ("clock", "<", False, "whole number"),
        ("clock", "<", "09:00", "whole number"),
        ("path", "under", "/a/", "ends without /"),
        ("path", "under", "/*", "no *"),
        ("path", "=", "/" + "a" * 256, "at most 256 octets"),
        ("ip", "in", ["10.0.0.1"], "A network ends in /"),
        ("ip", "in", ["10.0.0.1/8"], "are zero"),
        ("ip", "in", ["10.0.0.0/8,11.0.0.0/8"], "1 to 32"),
        ("plan", "=", "gold", "closed set"),
        ("host", "=", "A", "A host is"),
        ("body", "=", "x", "A digest is"),
        ("action", "in", [str(n) + "a" * 100 for n in range(5)], "at most 512 octets"),
    ],
)
def test_building_from_wrong_values(
    name: str, operator: str, value: object, sentence: str, vocabulary: Vocabulary
) -> None:
    """A value of another type, a separator smuggled into one, an empty list: never a caveat."""
    with pytest.raises(CaveatError) as refusal:
        compare(vocabulary, name, operator, value)
    assert refusal.value.code == "caveat-malformed"
    assert sentence in str(refusal.value)


def test_building_on_an_unknown_name(vocabulary: Vocabulary) -> None:
    """The name must be known, away from the service too; `for.` has its own vocabulary."""
    for scope in (vocabulary, vocabulary.away, vocabulary.administrative):
        with pytest.raises(CaveatError, match="built in or declared") as refusal:
            compare(scope, "colour", "=", "red")
        assert (refusal.value.code, refusal.value.position) == ("caveat-unknown", None)
    assert encode(compare(vocabulary.administrative, "for.ttl", "<=", 60)) == "for.ttl <= 60"


def test_building_up_to_512_octets(vocabulary: Vocabulary) -> None:
    """A built caveat keeps the bound that a read one has."""
    values = [f"{n}" + "a" * 124 for n in range(3)]
    assert len(encode(compare(vocabulary, "action", "in", [*values, "3" + "a" * 123]))) == 512
    with pytest.raises(CaveatError, match="at most 512 octets"):
        compare(vocabulary, "action", "in", [*values, "3" + "a" * 124])
    assert len(encode(compare(vocabulary, "floor", "in", list(range(64))))) < 512


def test_building_a_declaration() -> None:
    """Name and value within their bounds, up to the last octet."""
    longest = declare("n" * 64, "v" * 400)
    assert longest == Declared("n" * 64, "v" * 400)
    assert encode(longest) == f"declared {longest.name} {longest.value}"
    assert declare("!~", " ") == Declared("!~", " ")
    assert declare("a", "") == Declared("a", "")
    for name, value in (
        ("", "v"),
        ("a b", "v"),
        ("a,b", "v"),
        ("n" * 65, "v"),
        ("é", "v"),
        ("a\n", "v"),
        ("\x7f", "v"),
    ):
        with pytest.raises(CaveatError, match="declared name") as refusal:
            declare(name, value)
        assert (refusal.value.code, refusal.value.position) == ("caveat-malformed", None)
    for value in ("v" * 401, "é", "a\n", "\x1f", "\x7f"):
        with pytest.raises(CaveatError, match="declared value") as refusal:
            declare("a", value)
        assert (refusal.value.code, refusal.value.position) == ("caveat-malformed", None)


def test_a_kind_of_caveat_that_nobody_knows_is_not_written() -> None:
    """Whatever is no caveat raises."""
    with pytest.raises(AssertionError):
        encode("floor = 1")  # type: ignore[arg-type]


def test_caveats_are_values(vocabulary: Vocabulary) -> None:
    """Equal, hashable, and not to be changed."""
    caveat = parse("plan in free,team", vocabulary)
    other = parse("plan in free,team", Vocabulary.built_in().declare("plan", "word", values=["free", "team"]))
    assert {caveat} == {other}
    assert caveat != parse("plan in free", vocabulary)
    with pytest.raises(AttributeError):
        caveat.attribute = "x"  # type: ignore[misc,union-attr]
    assert TYPES["word"] == type(TYPES["word"])()


def test_a_value_alone() -> None:
    """A type reads a value that stands in no caveat: what is wrong then begins at 0, or where it is said to stand."""
    assert TYPES["clock"].parse("09:30") == 570
    for where, position in (((), 0), ((7,), 7)):
        with pytest.raises(CaveatError, match="HH:MM") as refusal:
            TYPES["clock"].parse("9:30", *where)
        assert (refusal.value.code, refusal.value.position) == ("caveat-malformed", position)


@pytest.mark.parametrize("kind", TYPES.values(), ids=list(TYPES))
def test_types_are_values(kind: ValueType) -> None:
    """The types are shared by all vocabularies: nothing can be changed on one or hung on it."""
    assert isinstance(hash(kind), int)
    assert not hasattr(kind, "__dict__")
    with pytest.raises((AttributeError, TypeError)):
        kind.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "value",
    [
        TimeBefore(0),
        Declared("a", "b"),
        Undeclared("a", "=", "b"),
        Comparison("floor", "=", 1, TYPES["integer"]),
        Attribute("x", TYPES["word"]),
        SATISFIED,
        Refused("caveat-refused"),
    ],
)
def test_values_are_frozen(value: object) -> None:
    """What has been parsed, declared or decided does not change afterwards."""
    assert isinstance(hash(value), int)
    assert not hasattr(value, "__dict__")
    for name in (*type(value).__dataclass_fields__, "else"):  # type: ignore[attr-defined]
        with pytest.raises((AttributeError, TypeError)):
            setattr(value, name, "other")


def test_an_error_survives_copying(vocabulary: Vocabulary) -> None:
    """An error can cross a process's boundary whole."""
    with pytest.raises(CaveatError) as refusal:
        parse("floor = x", vocabulary)
    for twin in (copy.copy(refusal.value), pickle.loads(pickle.dumps(refusal.value))):  # noqa: S301 - our own
        assert (twin.code, twin.position, str(twin)) == ("caveat-malformed", 8, str(refusal.value))


def test_an_error_needs_no_position() -> None:
    """Whoever finds a conflict of facts has no octet to point at."""
    error = CaveatError("fact-conflict", "Stated twice.")
    assert (error.code, error.position, str(error)) == ("fact-conflict", None, "Stated twice.")
