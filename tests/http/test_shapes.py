"""Every field of every body, wrong in every way: 400 before anybody looks at the credential."""

import json
from typing import Any

import pytest

from capsvc.macaroon.location import LOCATION_OCTETS
from capsvc.macaroon.thirdparty import KeyPair, key_text

from .conftest import Answer, Api, Party

WRONG_TEXT = [5, 1.5, True, [], {}]
WRONG_NULLABLE_TEXT = WRONG_TEXT
WRONG_INTEGER = ["5", 1.0, 1.5, True, [], {}]
WRONG_FLAG = ["true", 0, 1, 1.0, [], {}]
WRONG_LIST = ["x", 5, True, {}, [5], [None], [["x"]], [{}]]
WRONG_FACTS = ["x", 5, True, [], {"seats": True}, {"seats": 1.5}, {"seats": None}, {"seats": []}, {"sub": "alice"}]
WRONG_CONTEXT = ["x", 5, True, [], {"floor": None}]
NO_WORD = ["", " ", "a b", "-a", ".", "é", "a" * 129, "a/b", "a\n", "a,b"]
NO_INSTANT = ["", "soon", "2026-11-22", "2026-11-22T12:00:00+00:00", "2026-02-30T12:00:00Z", "2026-11-22T12:00:00.0Z"]
NO_EXPIRY = [*NO_INSTANT, "1999-12-31T23:59:59Z", "20266-11-22T12:00:00Z"]
NO_BEFORE = [*NO_INSTANT, "2100-01-01T00:00:00Z"]
NO_LABEL = ["x" * 201, "a\nb", "a\x00b", "a\x7fb", "a\x85b", "\x1b[31m"]
NO_THIRD_PARTY = [
    "x",
    {},
    [{}],
    [{"location": "https://a"}],
    [{"condition": "b"}],
    [{"location": 5, "condition": "b"}],
    [{"location": "https://a", "condition": None}],
    [{"location": "https://a", "condition": "b", "declare": "x"}],
    [{"location": "https://a", "condition": "b", "declare": [5]}],
    [{"location": "https://a", "condition": "b", "else": 5}],
    [None],
]

NO_LOCATION = [
    "", "login", "ftp://a", "HTTPS://a", "https://", "https://a?b", "https://a#b", "https://u@a", "https://a/b=c",
    "https://a b", "https://\u00e9",
    "https://a\n", "https://a:0", "https://a:65536", "https://" + "a" * LOCATION_OCTETS,
]  # fmt: skip
PARTY = Party(pair=KeyPair(b"k" * 32)).body
KEY = PARTY["public_key"]
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
NO_KEY = [
    "",
    "x",
    key_text(bytes(31) + b"\x01")[:-4],
    key_text(b"k" * 31),
    key_text(b"k" * 33),
    KEY.rstrip("="),
    f"{KEY}=",
    f"{KEY}\n",
    f" {KEY}",
    KEY[:-2] + ALPHABET[ALPHABET.index(KEY[-2]) + 1] + "=",  # leftover bits
    key_text(b"\xfb" * 32).replace("+", "-").replace("/", "_"),
    key_text(bytes(32)),  # of low order, as the three that follow
    key_text(b"\x01" + bytes(31)),
    "4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=",
    "X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc=",
    key_text((2**255 - 19).to_bytes(32, "little")),
]
MINT = {"audience": "default", "ttl": 600}
VERIFY = {"token": "x", "audience": "default"}
BY_SUBJECT = {"audience": "default", "subject": "alice"}

# path, method, a good body, and per field the values that it cannot have; None is added where a field is not optional.
TABLE: list[tuple[str, str, dict[str, Any], str, list[Any]]] = [
    ("POST", "/v1/tokens", MINT, "audience", [None, *WRONG_TEXT, *NO_WORD]),
    ("POST", "/v1/tokens", MINT, "ttl", [None, *WRONG_INTEGER]),
    ("POST", "/v1/tokens", {"audience": "default"}, "expires_at", [None, *WRONG_TEXT, *NO_EXPIRY]),
    ("POST", "/v1/tokens", MINT, "expires_at", ["2026-11-22T13:00:00Z"]),
    ("POST", "/v1/tokens", MINT, "subject", WRONG_NULLABLE_TEXT),
    ("POST", "/v1/tokens", MINT, "facts", WRONG_FACTS),
    ("POST", "/v1/tokens", MINT, "caveats", WRONG_LIST),
    ("POST", "/v1/tokens", MINT, "third_party", NO_THIRD_PARTY),
    ("POST", "/v1/tokens", MINT, "label", [*WRONG_NULLABLE_TEXT, *NO_LABEL]),
    ("POST", "/v1/verify", VERIFY, "token", [None, *WRONG_TEXT]),
    ("POST", "/v1/verify", VERIFY, "audience", [None, *WRONG_TEXT, *NO_WORD]),
    ("POST", "/v1/verify", VERIFY, "context", WRONG_CONTEXT),
    ("POST", "/v1/verify", VERIFY, "explain", WRONG_FLAG),
    ("POST", "/v1/verify", VERIFY, "prefix", WRONG_FLAG),
    ("POST", "/v1/verify/batch", {}, "requests", [None, "x", {}, [], [5], [None], [VERIFY, {}], [VERIFY] * 101]),
    ("POST", "/v1/verify/batch", {}, "requests", [[VERIFY, {**VERIFY, "context": {"floor": None}}]]),
    ("POST", "/v1/revocations", {}, "id", [None, *WRONG_TEXT]),
    ("POST", "/v1/revocations", {}, "key", [None, *WRONG_TEXT]),
    ("POST", "/v1/revocations", {}, "token", [None, *WRONG_TEXT]),
    ("POST", "/v1/revocations", BY_SUBJECT, "audience", [None, *WRONG_TEXT, *NO_WORD]),
    ("POST", "/v1/revocations", BY_SUBJECT, "subject", [None, *WRONG_TEXT]),
    ("POST", "/v1/revocations", BY_SUBJECT, "before", [*WRONG_TEXT, *NO_BEFORE, "2026-11-22T12:00:01Z"]),
    ("POST", "/v1/revocations", BY_SUBJECT, "id", ["x"]),
    ("POST", "/v1/revocations", {"id": "x"}, "token", ["x"]),
    ("POST", "/v1/revocations", {"key": "x"}, "before", ["2026-11-22T12:00:00Z"]),
    ("POST", "/v1/audiences", {"name": "x"}, "name", [None, *WRONG_TEXT, *NO_WORD]),
    ("POST", "/v1/audiences", {"name": "x"}, "max_ttl", WRONG_INTEGER),
    ("PATCH", "/v1/audiences/default", {"max_ttl": 60}, "max_ttl", [None, *WRONG_INTEGER]),
    ("POST", "/v1/exchange", {}, "token", [None, *WRONG_TEXT]),
    ("POST", "/v1/dischargers", PARTY, "name", [None, *WRONG_TEXT, *NO_WORD]),
    ("POST", "/v1/dischargers", PARTY, "location", [None, *WRONG_TEXT, *NO_LOCATION]),
    ("POST", "/v1/dischargers", PARTY, "public_key", [None, *WRONG_TEXT, *NO_KEY]),
    ("POST", "/v1/dischargers", PARTY, "next_public_key", [*WRONG_TEXT, *NO_KEY]),
    ("POST", "/v1/dischargers", PARTY, "created_at", ["2026-11-22T12:00:00Z"]),
    ("PATCH", "/v1/dischargers/login", {}, "public_key", [None, *WRONG_TEXT, *NO_KEY]),
    ("PATCH", "/v1/dischargers/login", {}, "next_public_key", [*WRONG_TEXT, *NO_KEY]),
    ("PATCH", "/v1/dischargers/login", {"public_key": KEY}, "name", ["other"]),
    ("PATCH", "/v1/dischargers/login", {"public_key": KEY}, "location", ["https://other.example.org"]),
]
CASES = [(method, path, {**good, field: value}) for method, path, good, field, values in TABLE for value in values]
ROUTES = sorted({(method, path) for method, path, *_ in TABLE})
GOOD: dict[str, list[dict[str, Any]]] = {
    "/v1/tokens": [
        MINT,
        {"audience": "default", "expires_at": "2026-11-22T13:00:00Z"},
        {
            **MINT,
            "expires_at": None,
            "subject": None,
            "facts": None,
            "caveats": None,
            "third_party": None,
            "label": None,
        },
        {
            **MINT,
            "subject": "alice",
            "facts": {"seats": 2, "tenant": "acme"},
            "caveats": [],
            "third_party": [],
            "label": "é" * 200,
        },
    ],
    "/v1/verify": [
        VERIFY,
        {**VERIFY, "context": None, "explain": None, "prefix": None},
        {**VERIFY, "context": {}, "explain": True, "prefix": False},
    ],
    "/v1/verify/batch": [{"requests": [VERIFY]}, {"requests": [VERIFY] * 100}],
    "/v1/revocations": [BY_SUBJECT, {**BY_SUBJECT, "before": "2026-11-22T12:00:00Z", "id": None}],
    "/v1/audiences/default": [{"max_ttl": 2_592_000}],
}


BEST: dict[str, dict[str, Any]] = {
    "/v1/exchange": {"token": "x"},
    "/v1/dischargers": PARTY,
    "/v1/dischargers/login": {"next_public_key": None},
}
"""Bodies whose shape is right, and which are refused for another reason, or may be taken once."""


def refused(answer: Answer) -> None:
    """Assert that it is a 400, and a problem that says so."""
    assert answer.outcome == (400, "bad-request"), answer.body
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "path", "body"), CASES, ids=lambda value: json.dumps(value)[:60])
def test_wrong_value(shared: Api, method: str, path: str, body: Any) -> None:
    """A value that a field cannot have is 400, whoever asks."""
    refused(shared.call(method, path, body))
    refused(shared.call(method, path, body, credential="no credential"))


@pytest.mark.parametrize(("path", "body"), [(path, body) for path, bodies in GOOD.items() for body in bodies])
def test_right_shape(shared: Api, path: str, body: Any) -> None:
    """The same bodies with every field as it may be are taken."""
    method = "PATCH" if path == "/v1/audiences/default" else "POST"
    answer = shared.call(method, path, body)
    assert answer.status in {200, 201}, answer.body


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("body", [[], "x", 5, None, True, {"unknown": 1}, {}])
def test_no_object_or_not_this_one(shared: Api, method: str, path: str, body: Any) -> None:
    """What is no object, an empty one and an unknown field are 400."""
    refused(shared.call(method, path, json.dumps(body).encode()))


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_unknown_field_beside_good_ones(shared: Api, method: str, path: str) -> None:
    """An unknown field spoils a good body, and is not repeated if it could be a secret."""
    good = GOOD.get(path, [BEST.get(path, {"name": "x"})])[0]
    secret = "MDEx" * 20
    answer = shared.call(method, path, {**good, secret: 1})
    refused(answer)
    assert secret not in answer.body.decode()
    named = shared.call(method, path, {**good, "colour": 1})
    refused(named)
    assert "colour" in named.json["detail"]


def test_unknown_field_deep(shared: Api) -> None:
    """Unknown fields are refused in what a body holds, too."""
    refused(shared.post("/v1/verify/batch", {"requests": [{**VERIFY, "else": 1}]}))


@pytest.mark.parametrize("body", [b'{"token":"x","token":"x","audience":"default"}', b'{"audience":"default"}'])
def test_plain_bodies_are_read_as_strictly(shared: Api, body: bytes) -> None:
    """The fast reader of verify's bodies takes nothing that the strict one refuses."""
    refused(shared.call("POST", "/v1/verify", body))


@pytest.mark.parametrize(
    "spelling", ['{"token":"x","audience":"default"}', ' { "audience" : "default", "token": "x" } ']
)
def test_any_spelling_of_json(shared: Api, spelling: str) -> None:
    """Order and white space are free."""
    answer = shared.call("POST", "/v1/verify", spelling.encode())
    assert (answer.status, answer.json["code"]) == (200, "malformed")
