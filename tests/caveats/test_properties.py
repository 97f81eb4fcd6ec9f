"""What holds for every caveat, shown on many that nobody chose."""

from __future__ import annotations

import base64
import string
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Address, IPv6Network

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from caveats import (
    SATISFIED,
    TYPES,
    CaveatError,
    Comparison,
    ContextError,
    Declared,
    Network,
    TimeBefore,
    Undeclared,
    Vocabulary,
    check,
    compare,
    declare,
    encode,
    normal_path,
    parse,
    read_context,
)

VOCABULARY = Vocabulary.from_declarations(
    {
        "floor": {"type": "integer"},
        "geo.zone": {"type": "word"},
        "plan": {"type": "word", "values": ["free", "team", "gold"]},
        "built": {"type": "instant"},
        "opens": {"type": "clock"},
        "body": {"type": "digest"},
    }
)
SCOPES = (VOCABULARY, VOCABULARY.administrative, VOCABULARY.away)
MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

LETTERS = string.ascii_letters + string.digits
words = st.builds(str.__add__, st.sampled_from(LETTERS), st.text(LETTERS + "._:@+~-", max_size=20))
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
names = st.lists(labels, min_size=1, max_size=4).filter(lambda parts: not parts[-1].isdigit()).map(".".join)
ipv4 = st.ip_addresses(v=4).map(str)
ipv6 = st.ip_addresses(v=6).filter(lambda address: IPv6Address(address).ipv4_mapped is None).map(str)
hosts = st.one_of(names, ipv4, ipv6)
segments = st.one_of(
    st.text(string.ascii_letters + string.digits + "-._~!$&'()+,;=:@", min_size=1, max_size=6),
    st.sampled_from(["%20", "%C3%A9", "%2A", "%F0%9F%98%80", "a%3Bb"]),
).filter(lambda segment: segment.split(";")[0] not in {".", ".."})
branches = st.lists(segments, max_size=5).map(lambda parts: "/" + "/".join(parts))
paths = st.one_of(branches, branches.map(lambda path: path if path == "/" else path + "/"))
digests = st.binary(min_size=32, max_size=32).map(
    lambda octets: "sha256:" + base64.urlsafe_b64encode(octets).decode().rstrip("=")
)
integers = st.one_of(st.integers(-20, 20), st.integers(-(10**18) + 1, 10**18 - 1))
instants = st.integers(946_684_800, 4_102_444_799)
clocks = st.integers(0, 1439)


@st.composite
def networks(draw: st.DrawFn) -> str:
    """A network's canonical text."""
    if draw(st.booleans()):
        return str(IPv4Network((draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 32))), strict=False))
    network = IPv6Network((draw(st.integers(0, 2**128 - 1)), draw(st.integers(1, 128))), strict=False)
    assume(network.network_address.ipv4_mapped is None)
    return str(network)


def lists(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """What can stand after `in`."""
    return st.lists(values, min_size=1, max_size=8, unique=True)


plans = st.sampled_from(["free", "team", "gold"])
typed = st.one_of(
    st.tuples(st.sampled_from(["time", "built"]), st.sampled_from(["<", ">="]), instants),
    st.tuples(st.sampled_from(["clock", "opens"]), st.sampled_from(["<", ">="]), clocks),
    st.tuples(st.just("floor"), st.sampled_from(["=", "<", "<=", ">", ">="]), integers),
    st.tuples(st.just("floor"), st.just("in"), lists(integers)),
    st.tuples(st.sampled_from(["action", "method", "geo.zone", "sub", "audience"]), st.just("="), words),
    st.tuples(st.sampled_from(["action", "geo.zone"]), st.just("in"), lists(words)),
    st.tuples(st.just("plan"), st.just("="), plans),
    st.tuples(st.just("plan"), st.just("in"), lists(plans)),
    st.tuples(st.just("host"), st.just("="), hosts),
    st.tuples(st.just("host"), st.just("in"), lists(hosts)),
    st.tuples(st.just("path"), st.just("="), paths),
    st.tuples(st.just("path"), st.just("under"), branches),
    st.tuples(st.just("ip"), st.just("in"), lists(networks())),
    st.tuples(st.just("body"), st.just("="), digests),
)


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    """A caveat on an attribute, within the bounds."""
    name, operator, value = draw(typed)
    try:
        return compare(VOCABULARY, name, operator, value)
    except CaveatError as error:
        assume("512 octets" not in str(error) and "256 octets" not in str(error))
        raise


times = st.builds(TimeBefore, instants, st.text(string.digits, max_size=9))
visible = "".join(map(chr, range(0x21, 0x7F)))
declarations = st.builds(
    declare, st.text(visible.replace(",", ""), min_size=1, max_size=64), st.text(visible + " ", max_size=400)
)
caveats = st.one_of(comparisons(), times, declarations)


@MANY
@given(caveats)
def test_what_is_written_is_read_as_it_was(caveat: Comparison | TimeBefore | Declared) -> None:
    """Typed values to text and back give the same caveat, and the text the same text."""
    text = encode(caveat)
    assert parse(text, VOCABULARY, discharge=True) == caveat
    assert encode(parse(text.encode("ascii"), VOCABULARY.away, discharge=True)) == text


@MANY
@given(comparisons())
def test_an_unknown_name_is_read_as_freely_as_any_type(caveat: Comparison) -> None:
    """Away from the service the same operator and value pass under a name that is not known, and are written back."""
    text = encode(caveat).replace(caveat.attribute, "colour", 1)
    assume(len(text) <= 512)
    unknown = parse(text, VOCABULARY.away)
    assert isinstance(unknown, Undeclared)
    assert encode(unknown) == text


def accept_or_refuse(raw: str | bytes) -> None:
    """It is a caveat that writes itself back, or is refused with a code and a position inside it."""
    for vocabulary in SCOPES:
        for discharge in (False, True):
            try:
                caveat = parse(raw, vocabulary, discharge=discharge)
            except CaveatError as error:
                refusal = error
            else:
                assert encode(caveat) == (raw if isinstance(raw, str) else raw.decode("ascii"))
                continue
            assert refusal.code in {"caveat-malformed", "caveat-unknown"}
            assert refusal.position is not None
            assert 0 <= refusal.position <= len(raw)


@MANY
@given(st.one_of(st.text(st.characters()), st.binary(), st.text(visible + " ", max_size=600)))
@example("")
@example(b"")
@example("\ud800")
def test_nothing_but_caveat_error_escapes(raw: str | bytes) -> None:
    """Any text and any octets are a caveat that writes itself back, or a CaveatError with a position inside."""
    accept_or_refuse(raw)


grammatical = st.tuples(
    st.sampled_from([*VOCABULARY.names, "colour", "for.sub", "declared", "time-before", "error"]),
    st.sampled_from(["=", "<", "<=", ">", ">=", "in", "under", "==", ""]),
    st.one_of(st.text(st.characters(), max_size=30), st.text("0123456789abcdef:./,-%TZ", max_size=40)),
).map(" ".join)


@MANY
@given(grammatical)
@example("ip in ::1::/64")
@example("ip in :::/64")
@example("ip in ٣.0.0.0/8")
@example("host = ::1::")
@example("path = /%ED%A0%80")
@example("time < 2026-02-30T00:00:00Z")
def test_nothing_but_caveat_error_escapes_from_a_value(text: str) -> None:
    """The same for what has a caveat's shape."""
    accept_or_refuse(text)


@MANY
@given(caveats, st.data())
def test_a_damaged_caveat_is_refused_or_writes_itself_back(
    caveat: Comparison | TimeBefore | Declared, data: st.DataObject
) -> None:
    """One octet put in, left out or replaced never gives a text with a second spelling."""
    text = encode(caveat)
    at = data.draw(st.integers(0, len(text)))
    left_out = data.draw(st.integers(0, 1))
    put_in = data.draw(st.one_of(st.just(""), st.sampled_from(visible + " "), st.characters()))
    accept_or_refuse(text[:at] + put_in + text[at + left_out :])


contexts = st.fixed_dictionaries(
    {},
    optional={
        "floor": integers,
        "action": words,
        "path": paths,
        "host": hosts,
        "ip": st.one_of(ipv4, ipv6),
        "plan": plans,
        "body": digests,
    },
)


def allowed(restrictions: list[Comparison], context: Mapping[str, object]) -> bool:
    """Whether every caveat holds."""
    return all(check(caveat, context) is SATISFIED for caveat in restrictions)


near = st.one_of(
    st.builds(
        lambda op, n: compare(VOCABULARY, "floor", op, n), st.sampled_from(["=", "<", "<=", ">", ">="]), integers
    ),
    comparisons(),
)


@MANY
@given(st.lists(near, max_size=4), st.lists(near, min_size=1, max_size=3), contexts)
def test_adding_a_caveat_never_grants(held: list[Comparison], added: list[Comparison], raw: dict[str, object]) -> None:
    """What is allowed with more caveats is allowed with fewer, whatever the request."""
    context = read_context(raw, VOCABULARY)
    if allowed(held + added, context):
        assert allowed(held, context)
        assert allowed(added, context)


@MANY
@given(comparisons(), contexts)
def test_less_context_never_grants(caveat: Comparison, raw: dict[str, object]) -> None:
    """A request that says less is refused what it says nothing of."""
    context = read_context({name: value for name, value in raw.items() if name != caveat.attribute}, VOCABULARY)
    assert check(caveat, context) is not SATISFIED


@MANY
@given(integers, integers, integers)
def test_integers_compare_as_integers(actual: int, operand: int, other: int) -> None:
    """Each operator says what Python's does."""
    expected = {
        "=": actual == operand,
        "<": actual < operand,
        "<=": actual <= operand,
        ">": actual > operand,
        ">=": actual >= operand,
    }
    context = read_context({"floor": actual}, VOCABULARY)
    for operator, holds in expected.items():
        assert (check(compare(VOCABULARY, "floor", operator, operand), context) is SATISFIED) is holds
    among = compare(VOCABULARY, "floor", "in", {operand, other})
    assert (check(among, context) is SATISFIED) is (actual in {operand, other})


@MANY
@given(networks(), st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_networks_hold_what_the_standard_library_says(text: str, address: object) -> None:
    """A network holds exactly the addresses of its own version that ipaddress finds in it."""
    network = IPv6Network(text) if ":" in text else IPv4Network(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    context = read_context({"ip": str(address)}, VOCABULARY)
    held = (mapped or address) in network
    assert (check(compare(VOCABULARY, "ip", "in", [text]), context) is SATISFIED) is held


@MANY
@given(branches, paths)
def test_under_is_segments(operand: str, actual: str) -> None:
    """`under` looks at whole segments."""
    head = [part for part in operand.split("/") if part]
    held = [part for part in actual.split("/") if part][: len(head)] == head
    context = read_context({"path": actual}, VOCABULARY)
    assert (check(compare(VOCABULARY, "path", "under", operand), context) is SATISFIED) is held


@MANY
@given(
    st.one_of(st.text("/.%;abC23DEF5*\\", max_size=12), st.text(st.characters(), max_size=12), st.binary(max_size=12))
)
def test_a_path_is_itself_or_refused(raw: str | bytes) -> None:
    """A path is never repaired; only ValueError escapes; what passes has no dot segment by any decoding."""
    try:
        path = normal_path(raw)
    except ValueError:
        return
    assert path == (raw if isinstance(raw, str) else raw.decode("ascii"))
    assert path.startswith("/")
    assert not {".", ".."} & {part.split(";")[0].split("%3B")[0] for part in path.split("/")}


json_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()), st.just({"a": 1}), words
)


@MANY
@given(st.dictionaries(st.one_of(st.sampled_from(VOCABULARY.names), st.text()), json_values, max_size=3))
def test_nothing_but_context_error_escapes(raw: dict[str, object]) -> None:
    """Whatever JSON a request sends as its context is read, or refused with the attribute's name."""
    try:
        context = read_context(raw, VOCABULARY)
    except ContextError as error:
        refusal = error
    else:
        assert context.keys() == raw.keys()
        return
    assert refusal.name in raw


any_value = st.one_of(json_values, st.binary(), st.sets(words), st.lists(words), st.tuples(integers))


@MANY
@given(st.sampled_from([*VOCABULARY.names, "colour"]), st.sampled_from(["=", "<", "in", "under", "x"]), any_value)
def test_typed_construction_raises_caveat_error_alone(name: str, operator: str, value: object) -> None:
    """Any value of any Python type makes a caveat that reads back, or a CaveatError."""
    try:
        caveat = compare(VOCABULARY, name, operator, value)
    except CaveatError:
        return
    assert parse(encode(caveat), VOCABULARY) == caveat


def test_the_types_read_what_they_write() -> None:
    """A network's value keeps its text; the others are plain Python."""
    network = TYPES["network"].parse("10.0.0.0/8")
    assert network == Network("10.0.0.0/8", 4, 10 << 24, 0xFF00_0000)
    assert TYPES["network"].encode(network) == "10.0.0.0/8"
