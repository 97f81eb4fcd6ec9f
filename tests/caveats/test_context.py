"""What a request may say of itself, and how it must be typed."""

from __future__ import annotations

from typing import Any

import pytest

from caveats import Address, ContextError, Vocabulary, clock_values, context_value, read_context

DIGEST = "sha256:" + "A" * 43


def refused(raw: dict[Any, Any], vocabulary: Vocabulary) -> ContextError:
    """The refusal of a context."""
    with pytest.raises(ContextError) as refusal:
        read_context(raw, vocabulary)
    assert refusal.value.code == "context-invalid"
    return refusal.value


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("floor", 0, 0),
        ("floor", -3, -3),
        ("floor", 10**18 - 1, 10**18 - 1),
        ("floor", 1 - 10**18, 1 - 10**18),
        ("action", "read", "read"),
        ("action", "a" * 128, "a" * 128),
        ("plan", "free", "free"),
        ("geo.zone", "eu", "eu"),
        ("path", "/", "/"),
        ("path", "/a*b", "/a*b"),
        ("path", "/" + "a" * 2047, "/" + "a" * 2047),
        ("host", "example.com", "example.com"),
        ("host", "::1", "::1"),
        ("ip", "10.0.0.1", Address(4, 0x0A000001)),
        ("ip", "255.255.255.255", Address(4, 0xFFFFFFFF)),
        ("ip", "0.0.0.1", Address(4, 1)),
        ("ip", "2001:db8::1", Address(6, 0x20010DB8 << 96 | 1)),
        ("ip", "::ffff:1.2.3.4", Address(4, 0x01020304)),
        ("ip", "::ffff:102:304", Address(4, 0x01020304)),
        ("ip", "::ffff:0:0", Address(4, 0)),
        ("ip", "::ffff:ffff:1", Address(4, 0xFFFF0001)),
        ("ip", "::ffff:1", Address(6, 0xFFFF0001)),
        ("ip", "::ffff:1:2:3", Address(6, 0xFFFF_0001_0002_0003)),
        ("ip", "::ffff:0:1:2", Address(6, 0xFFFF_0000_0001_0002)),
        ("body", DIGEST, DIGEST),
        ("built", "2000-01-01T00:00:00Z", 946_684_800),
        ("opens", "23:59", 1439),
    ],
)
def test_values(name: str, raw: object, value: object, vocabulary: Vocabulary) -> None:
    """Each type is read from JSON's value to Python's."""
    assert read_context({name: raw}, vocabulary) == {name: value}


WRONG: dict[str, list[object]] = {
    "floor": [True, False, 1.0, 0.0, float("nan"), "1", None, [1], {}, 10**18, -(10**18), 2**63],
    "action": ["", " ", "a b", "read,write", "read\n", "é", "a" * 129, "*", "-a", "a/b", "\ud800"]
    + [1, True, None, b"read", ["read"], {}],
    "plan": ["gold", "Free", "", "free,team", 1, None],
    "path": ["", "a", "//", "/a//b", "/.", "/a/../b", "/%2E", "/%2F", "/a%2fb", "/é", "/a b", "/a?b", "/a#b", "/a\n"]
    + ["*", "http://x/a", "/" + "a" * 2048, 1, None, b"/a", ["/a"]],
    "host": ["Example.com", "example.com:80", "[::1]", "a.", "", "1.2.3", "::ffff:1.2.3.4", 1, None],
    "ip": ["10.0.0.0/8", "10.0.0", "010.0.0.1", "10.0.0.256", "10.0.0.1\n", " 10.0.0.1", "١.0.0.1", "1.2.3.4."]
    + [".1.2.3.4", "::FFFF:1.2.3.4", "::ffff:01.2.3.4", "::ffff:1.2.3", "::ffff:1.2.3.4.5", "::ffff:0102:304"]
    + ["0:0:0:0:0:ffff:1.2.3.4", "0:0:0:0:0:ffff:102:304", "::ffff:102:304%1", "::ffff:1.2.3.4/32", "::1.2.3.4"]
    + [
        "2001:DB8::1",
        "2001:db8::0",
        "fe80::1%eth0",
        "[::1]",
        "102:304",
        "ffff:102:304",
        "::ffff:",
        "::ffff:g:1",
        "::ffff:1:",
        "::ffff:10000:1",
    ]
    + ["", "unix:", 167772161, None],
    "body": ["A" * 43, DIGEST + "=", "sha256:" + "A" * 42 + "B", 1, None],
    "built": [946_684_800, "2026-02-30T00:00:00Z", "1999-12-31T23:59:59Z", "now", None],
    "opens": [540, "9:00", "24:00", "09:00:00", None],
}


@pytest.mark.parametrize(("name", "raw"), [(name, raw) for name, values in WRONG.items() for raw in values], ids=ascii)
def test_wrong_values(name: str, raw: object, vocabulary: Vocabulary) -> None:
    """What is not the one spelling of a value of the type is refused, by the attribute's name."""
    refusal = refused({"method": "GET", name: raw}, vocabulary)
    assert refusal.name == name
    assert str(refusal).startswith(f"'{name}': ")


@pytest.mark.parametrize("name", ["time", "clock", "weekday", "audience", "sub", "client", "tenant"])
def test_what_the_service_supplies(name: str, vocabulary: Vocabulary) -> None:
    """Clock, audience and facts never come from a request, however well they are typed."""
    well_typed = {"time": "2026-11-22T12:00:00Z", "clock": "09:00", "weekday": "mon"}.get(name, "a")
    assert "supplies" in refused({name: well_typed}, vocabulary).message
    attribute = vocabulary.get(name)
    assert attribute is not None
    assert context_value(attribute, well_typed) is not None


@pytest.mark.parametrize("name", ["for.audience", "for.sub", "for.ttl", "for.tenant"])
def test_what_an_administrators_request_acts_on(name: str, vocabulary: Vocabulary) -> None:
    """`for.` never comes from a request, whichever vocabulary reads it."""
    assert "declared" in refused({name: "a"}, vocabulary).message
    assert "supplies" in refused({name: "a"}, vocabulary.administrative).message
    assert "supplies" in refused({name: "a"}, vocabulary.away).message


@pytest.mark.parametrize("name", ["", "colour", "Action", "action ", "geo", "declared", "for.x", "x" * 100, 1, None])
def test_names_that_are_not_declared(name: object, vocabulary: Vocabulary) -> None:
    """An unknown name is refused, away from the service too, and a long one is not shown."""
    for scope in (vocabulary, vocabulary.away):
        refusal = refused({name: "a"}, scope)
        assert refusal.name == name
        assert "x" * 41 not in str(refusal)


def test_many_values(vocabulary: Vocabulary) -> None:
    """A context is read whole, and what was given is left alone."""
    raw = {"floor": 1, "action": "read", "ip": "::ffff:1.2.3.4"}
    assert read_context(raw, vocabulary) == {"floor": 1, "action": "read", "ip": Address(4, 0x01020304)}
    assert raw == {"floor": 1, "action": "read", "ip": "::ffff:1.2.3.4"}
    assert read_context({}, vocabulary) == {}


@pytest.mark.parametrize(
    ("now", "minutes", "weekday"),
    [
        (0, 0, "thu"),
        (59, 0, "thu"),
        (60, 1, "thu"),
        (86_399, 1439, "thu"),
        (86_400, 0, "fri"),
        (4 * 86_400, 0, "mon"),
        (5 * 86_400, 0, "tue"),
        (6 * 86_400 + 3600, 60, "wed"),
        (7 * 86_400 - 1, 1439, "wed"),
        (2 * 86_400, 0, "sat"),
        (3 * 86_400, 0, "sun"),
        (1_795_348_800, 12 * 60, "sun"),
    ],
)
def test_one_reading_of_the_clock(now: int, minutes: int, weekday: str) -> None:
    """Time, minute of the day and day of the week come from one number, in UTC."""
    assert clock_values(now) == {"time": now, "clock": minutes, "weekday": weekday}
