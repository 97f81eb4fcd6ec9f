"""JSON with one reading."""

from typing import Any

import pytest

from capsvc.http.strictjson import MAX_DEPTH, parse

from .conftest import Api

GOOD = {
    "empty object": (b"{}", {}),
    "white space around": (b" \t\r\n{} \n", {}),
    "text beyond ASCII": ('{"a":"é"}'.encode(), {"a": "é"}),
    "escaped text": (b'{"a":"\\u00e9\\ud83d\\ude00"}', {"a": "é😀"}),
    "same name in two objects": (b'[{"a":1},{"a":2}]', [{"a": 1}, {"a": 2}]),
    "greatest integer": (b"9223372036854775808", 2**63),
    "least integer": (b"-9223372036854775808", -(2**63)),
    "a fraction": (b"1.5", 1.5),
    "a large fraction": (b"1e308", 1e308),
    "deepest": (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
    "deepest, objects": (b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH, None),
    "wide": (b"[" + b",".join([b"[]"] * 1000) + b"]", [[]] * 1000),
}

BAD = {
    "nothing": b"",
    "white space alone": b"  ",
    "cut off": b'{"a":',
    "two values": b"{}{}",
    "something after": b"{} x",
    "NUL after": b"{}\x00",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "UTF-16 without a mark": "{}".encode("utf-16-le"),
    "UTF-32": "{}".encode("utf-32-le"),
    "no UTF-8": b'{"a":"\xff"}',
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "half of a pair": b'{"a":"\\ud800"}',
    "other half": b'{"a":"\\udc00"}',
    "halves in the wrong order": b'["\\ude00\\ud83d"]',
    "half of a pair in a name": b'{"\\ud800":1}',
    "half of a pair, deep": b'{"a":[{"b":["\\udfff"]}]}',
    "name twice": b'{"a":1,"a":1}',
    "name twice, once escaped": b'{"a":1,"\\u0061":2}',
    "name twice, deep": b'{"a":[{"b":1,"b":1}]}',
    "NaN": b'{"a":NaN}',
    "Infinity": b"[Infinity]",
    "minus Infinity": b"[-Infinity]",
    "becomes infinite": b"[1e999]",
    "becomes minus infinite": b"[-1e999]",
    "past 2^63": b"[9223372036854775809]",
    "past -2^63": b"[-9223372036854775809]",
    "thousands of digits": b"1" * 5000,
    "too deep": b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    "too deep, objects": b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
    "far too deep": b"[" * 60_000,
    "single quotes": b"{'a':1}",
    "comment": b"{} // x",
    "trailing comma": b"[1,]",
    "leading zero": b"[01]",
    "plus": b"[+1]",
    "control in text": b'["\x01"]',
    "raw newline in text": b'["\n"]',
    "no-break space": b"\xc2\xa0{}",
    "vertical tab": b"\x0b{}",
    "upper-case literal": b"[TRUE]",
}


@pytest.mark.parametrize(("octets", "value"), GOOD.values(), ids=GOOD)
def test_accepted(octets: bytes, value: Any) -> None:
    """What has one reading is read so."""
    assert parse(octets) == value or value is None


@pytest.mark.parametrize("octets", BAD.values(), ids=BAD)
def test_refused(octets: bytes) -> None:
    """What two parsers could take differently is refused, with a sentence and nothing of the body."""
    with pytest.raises(ValueError, match=r"^The body ") as caught:
        parse(octets)
    assert len(str(caught.value)) < 80


@pytest.mark.parametrize("octets", BAD.values(), ids=BAD)
def test_refused_over_http(shared: Api, octets: bytes) -> None:
    """The service refuses the same as 400, before it looks at the credential."""
    assert shared.call("POST", "/v1/verify", octets, credential="x").outcome == (400, "bad-request")
