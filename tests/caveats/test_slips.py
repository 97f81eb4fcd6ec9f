"""Small slips that nobody else would notice: found by breaking the language on purpose (`make mutants`)."""

from __future__ import annotations

import copy
import pickle

import pytest

from caveats import (
    CaveatError,
    ContextError,
    DeclarationError,
    TimeBefore,
    Vocabulary,
    compare,
    context_value,
    normal_path,
    parse,
)

WORD_RULE = "A word has 1 to 128 letters, digits or . _ : @ + ~ -, the first a letter or digit."
ADDRESS_RULE = "An address is a dotted quad or RFC 5952's IPv6 text, without zone, not IPv4-mapped."


@pytest.mark.parametrize("raw", ["/%20%41", "/%41%20", "/%20%2F%C3%A9", "/%20%7F"])
def test_one_forbidden_escape_among_others(raw: str) -> None:
    """A path is refused for one escape, whatever the others are."""
    assert normal_path("/%20%3D%C3%A9") == "/%20%3D%C3%A9"
    with pytest.raises(ValueError, match="escapes no unreserved"):
        normal_path(raw)


def test_the_last_second_of_a_typed_instant() -> None:
    """The years 2000 to 2099, to the second."""
    vocabulary = Vocabulary.built_in()
    for seconds in (946_684_800, 4_102_444_799):
        assert compare(vocabulary, "time", "<", seconds).operand == seconds
    for seconds in (946_684_799, 4_102_444_800):
        with pytest.raises(CaveatError, match=r"^An instant lies in the years 2000 to 2099\.$"):
            compare(vocabulary, "time", "<", seconds)


@pytest.mark.parametrize("text", ["2026-11-22T12:00:00Z1", "2026-11-22T12:00:00ZZ", "2026-11-22T12:00:00Z+00:00"])
def test_what_follows_an_instant(text: str) -> None:
    """It is the spelling that is wrong, not the day."""
    assert parse("time < 2026-11-22T12:00:00Z", Vocabulary.built_in())
    with pytest.raises(CaveatError, match="YYYY-MM-DDTHH:MM:SSZ"):
        parse(f"time < {text}", Vocabulary.built_in())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("action = -", WORD_RULE),
        ("ip in 1.2.3/8", ADDRESS_RULE),
        ("ip in 1.2.3.4.5/8", ADDRESS_RULE),
        ("ip in 1.2.3.256/32", ADDRESS_RULE),
        ("action ~ a", "An operator is one of = < <= > >= in under."),
        ("action < a", "action is of the type word, whose operators are = in."),
    ],
)
def test_whole_sentences(text: str, message: str) -> None:
    """A refusal is one sentence, from its capital to its full stop."""
    with pytest.raises(CaveatError) as refused:
        parse(text, Vocabulary.built_in())
    assert str(refused.value) == message


def test_a_long_name_is_not_repeated() -> None:
    """Up to 40 characters a name is quoted; past that it is only said that there is one."""
    for error in (ContextError("n" * 40, "m"), DeclarationError("n" * 40, "m")):
        assert repr("n" * 40) in str(error)
    assert str(ContextError("n" * 41, "m")) == "(a name of another kind): m"
    assert str(DeclarationError("n" * 41, "m")) == "attribute (a name of another kind): m"


@pytest.mark.parametrize(
    "error", [CaveatError("caveat-unknown", "m", 3), ContextError("n", "m"), DeclarationError("n", "m")]
)
def test_errors_travel_between_processes(error: ValueError) -> None:
    """What was refused in another process is the same here."""
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


def test_a_time_before_without_a_fraction() -> None:
    """The fraction may be left out where one is made, and then there is none."""
    assert TimeBefore(946_684_800).fraction == ""
    assert TimeBefore(946_684_800).nanoseconds == 946_684_800 * 10**9


def test_a_value_for_one_attribute() -> None:
    """A wrong value names its attribute, whoever supplies it."""
    floor = Vocabulary.built_in().declare("floor", "integer").get("floor")
    assert floor is not None
    assert context_value(floor, 3) == 3
    with pytest.raises(ContextError) as refused:
        context_value(floor, "3")
    assert (refused.value.name, refused.value.code) == ("floor", "context-invalid")
