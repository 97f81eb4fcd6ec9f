"""What `/discharge` is asked with, as bakery's clients write it and as nobody should, and the addresses beside it."""

from __future__ import annotations

import asyncio
import base64
import itertools
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message

from capsvc.discharge.bakery import Asked, Refusal, read_base64, read_body, with_body
from capsvc.macaroon.thirdparty import key_text

from .conftest import NOON, Discharger, caveats, discharged, refused

FORM = {"content-type": "application/x-www-form-urlencoded"}
UTF8_ID = "a caveat, ü"  # an id that is text, of a caveat whose condition comes beside it


def _alphabets(octets: bytes) -> dict[str, str]:
    standard, urlsafe = base64.b64encode(octets).decode(), base64.urlsafe_b64encode(octets).decode()
    return {
        "standard": standard,
        "standard, unpadded": standard.rstrip("="),
        "URL-safe": urlsafe,
        "URL-safe, unpadded": urlsafe.rstrip("="),
    }


def _awkward(plain: Discharger) -> bytes:
    """A caveat id whose base64 needs both padding and the characters that alphabets differ in."""
    for number in itertools.count(1):
        caveat = plain.caveat(f"need-declared {'a' * (number % 3 + 1)} holds")
        text = base64.b64encode(caveat).decode()
        if text.endswith("=") and "+" in text and "/" in text:
            return caveat
    raise AssertionError


@pytest.mark.parametrize("alphabet", _alphabets(b""))
@pytest.mark.parametrize("where", ["query", "form"])
def test_both_alphabets_in_both_places(plain: Discharger, alphabet: str, where: str) -> None:
    """Go's client sends a query and no body, Python's a form; the discharge bears the id that was sent."""
    caveat = _awkward(plain)
    given = {"id64": _alphabets(caveat)[alphabet]}
    answer = (
        plain.http.post("/discharge", params=given) if where == "query" else plain.http.post("/discharge", data=given)
    )
    assert discharged(answer).identifier == caveat
    assert answer.request.headers.get("content-type") == (None if where == "query" else FORM["content-type"])


def test_the_answer(plain: Discharger) -> None:
    """A discharge is at the discharger's location, has the id that was sent, and ends after five minutes."""
    caveat = plain.caveat()
    answer = plain.ask(caveat)
    made = discharged(answer)
    assert (made.location, made.identifier) == (plain.location.encode(), caveat)
    assert caveats(made) == ["time-before 2026-11-22T12:05:00Z"]
    assert plain.clock.now == NOON
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_id_that_is_text(plain: Discharger) -> None:
    """The id comes as `id` where it is UTF-8, and the condition beside it; what is not asked stays unread."""
    given = {"id": UTF8_ID, "caveat64": base64.b64encode(plain.caveat()).decode(), "macaroon-id": "another"}
    for answer in (plain.http.post("/discharge", data=given), plain.http.post("/discharge", params=given)):
        assert discharged(answer).identifier == UTF8_ID.encode()


def test_parameters_in_both_places(plain: Discharger) -> None:
    """Some in the query and some in the form are one request."""
    beside = base64.b64encode(plain.caveat()).decode()
    answer = plain.http.post("/discharge", params={"id": "short"}, data={"caveat64": beside})
    assert discharged(answer).identifier == b"short"


def _good(plain: Discharger) -> str:
    return base64.urlsafe_b64encode(plain.caveat()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ("no id", ""),
        ("no id, but a condition", "caveat64=GOOD"),
        ("an empty id", "id="),
        ("an empty id in base64", "id64="),
        ("id and id64", "id=a&id64=GOOD"),
        ("id64 twice", "id64=GOOD&id64=GOOD"),
        ("caveat64 twice", "id=a&caveat64=GOOD&caveat64=GOOD"),
        ("another parameter twice", "id64=GOOD&x=1&x=1"),
        ("a name without a value", "id64=GOOD&x"),
        ("an empty pair", "id64=GOOD&"),
        ("no UTF-8", "id=%ff&caveat64=GOOD"),
        ("too many parameters", "id64=GOOD&" + "&".join(f"x{number}=" for number in range(32))),
        ("white space in base64", "id64=GOOD%20"),
        ("a plus that a form means as a space", "id64=+GOOD"),
        ("too much padding", "id64=GOOD%3D%3D%3D%3D"),
        ("padding that completes nothing", "id64=QUJD%3D"),
        ("padding in the middle", "id64=QQ%3D%3DGOOD"),
        ("bits left over", "id64=QR"),
        ("an impossible length", "id64=QUJDR"),
        ("another character", "id64=GOOD!"),
        ("an empty condition", "id=a&caveat64="),
        ("a condition that is no base64", "id=a&caveat64=!"),
        ("a token without its kind", "id64=GOOD&token=x"),
        ("a kind without its token", "id64=GOOD&token-kind=agent"),
        ("an empty token", "id64=GOOD&token=&token-kind=agent"),
        ("an empty kind", "id64=GOOD&token=x&token-kind="),
        ("token and token64", "id64=GOOD&token=x&token64=eA&token-kind=agent"),
        ("token64 twice", "id64=GOOD&token64=eA&token64=eA&token-kind=agent"),
        ("an id over 1,024 octets", "caveat64=GOOD&id=" + "x" * 1_025),
        ("a condition over 1,024 octets", "id=a&caveat64=" + base64.urlsafe_b64encode(b"\3" * 1_026).decode()),
    ],
)
@pytest.mark.parametrize("where", ["query", "form"])
def test_parameters_that_are_refused(plain: Discharger, about: str, text: str, where: str) -> None:
    """Whatever is missing, there twice or misspelt is bakery's 400, wherever it stands."""
    assert about
    text = text.replace("GOOD", _good(plain))
    if where == "query":
        answer = plain.http.post(f"/discharge?{text}")
    else:
        answer = plain.http.post("/discharge", content=text, headers=FORM)
    refused(answer, 400, "bad request")


def test_the_longest_id_is_taken(plain: Discharger) -> None:
    """1,024 octets are an id, with the condition beside it."""
    caveat = base64.b64encode(plain.caveat()).decode()
    answer = plain.http.post("/discharge", data={"id": "x" * 1_024, "caveat64": caveat})
    assert discharged(answer).identifier == b"x" * 1_024


def test_a_parameter_once_in_all(plain: Discharger) -> None:
    """The same parameter in the query and in the form is there twice, even with one value."""
    good = _good(plain)
    refused(plain.http.post(f"/discharge?id64={good}", content=f"id64={good}", headers=FORM), 400, "bad request")


def test_octets_that_are_no_text(plain: Discharger) -> None:
    """A form that is not ASCII is refused, not guessed at."""
    body = f"id64={_good(plain)}&x=ü".encode()
    refused(plain.http.post("/discharge", content=body, headers=FORM), 400, "bad request")


def test_sizes(plain: Discharger) -> None:
    """64 KiB of parameters are read, whether told or in chunks, and not one octet more: 413."""
    start = f"id64={_good(plain)}&x=".encode()
    whole = start.ljust(65_536, b"x")
    assert plain.http.post("/discharge", content=whole, headers=FORM).status_code == 200
    refused(plain.http.post("/discharge", content=whole + b"x", headers=FORM), 413, "bad request")
    chunks = [whole, b"x"]
    refused(plain.http.post("/discharge", content=iter(chunks), headers=FORM), 413, "bad request")
    split = plain.http.post(f"/discharge?y={'y' * 200}", content=whole[:-100], headers=FORM)
    refused(split, 413, "bad request")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded; charset=latin-1"},
        {**FORM, "content-encoding": "gzip"},
    ],
)
def test_bodies_of_other_types(plain: Discharger, headers: dict[str, str]) -> None:
    """A body is a form in UTF-8, not compressed: else 415."""
    body = f"id64={_good(plain)}".encode()
    refused(plain.http.post("/discharge", content=body, headers=headers), 415, "bad request")


@pytest.mark.parametrize("media_type", ["Application/X-WWW-Form-Urlencoded", f"{FORM['content-type']}; charset=UTF-8"])
def test_bodies_of_the_right_type(plain: Discharger, media_type: str) -> None:
    """Case and the charset that it has anyway make no difference."""
    body = f"id64={_good(plain)}".encode()
    discharged(plain.http.post("/discharge", content=body, headers={"content-type": media_type}))


@pytest.mark.parametrize("text", ["QQ", "QQ==", "QUI", "QUI=", "QUJD", "-_-_", "+/+/", ""])
def test_base64(text: str) -> None:
    """Either alphabet, with the padding that completes it or none, is what it stands for."""
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    assert read_base64(text) == base64.urlsafe_b64decode(padded.replace("+", "-").replace("/", "_"))


@pytest.mark.parametrize(
    "text", ["QQ=", "QQ===", "QUJD=", "QUJD==", "QUJD====", "====", "Q", "QR", "QUJ", "Q Q=", "QQ==X", "X"]
)
def test_no_base64(text: str) -> None:
    """Any other padding, leftover bits and other characters are refused."""
    with pytest.raises(Refusal) as caught:
        read_base64(text)
    assert (caught.value.status, caught.value.code) == (400, "bad request")


def _request(*parts: bytes) -> tuple[Request, list[bytes]]:
    """A request whose body comes in parts, and those that nobody has taken yet."""
    left = list(parts)

    async def receive() -> Message:
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return Request({"type": "http", "headers": [], "query_string": b""}, receive), left


def test_a_body_without_end_is_not_read() -> None:
    """Past 64 KiB nothing more is taken of a body, whatever comes."""
    request, left = _request(b"x" * 65_536, b"x", b"x", b"x")
    with pytest.raises(Refusal) as caught:
        asyncio.run(read_body(request))
    assert caught.value.status == 413
    assert len(left) == 2
    request, left = _request(b"x" * 65_535, b"x", b"")
    assert asyncio.run(read_body(request)) == b"x" * 65_536


def test_a_body_can_be_read_again() -> None:
    """A checker reads the body that has been read for it, whole, and then sees whether the caller is still there."""
    request, _ = _request(b"ab", b"c")

    async def read() -> tuple[bytes, bool]:
        again = with_body(request, await read_body(request))
        return await again.body(), await again.is_disconnected()

    assert asyncio.run(read()) == (b"abc", True)


def test_what_was_asked_is_not_shown() -> None:
    """A token stays out of logs."""
    assert repr(Asked(b"id", b"caveat", "agent", b"token")) == "<Asked>"


def test_an_empty_body_has_any_type(plain: Discharger) -> None:
    """A client that says what it would have sent has sent nothing."""
    answer = plain.http.post(f"/discharge?id64={_good(plain)}", headers={"content-type": "application/json"})
    discharged(answer)


def test_what_is_public(plain: Discharger) -> None:
    """The public key, with bakery's version where it wants one; HEAD too."""
    key = key_text(plain.key.public)
    assert plain.http.get("/discharge/info").json() == {"PublicKey": key, "Version": 3}
    assert plain.http.get("/publickey").json() == {"PublicKey": key}
    for path in ("/discharge/info", "/publickey"):
        assert plain.http.get(path).headers["content-type"] == "application/json"
        head = plain.http.head(path)
        assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/discharge", {"POST"}),
        ("PUT", "/discharge", {"POST"}),
        ("OPTIONS", "/discharge", {"POST"}),
        ("POST", "/discharge/info", {"GET", "HEAD"}),
        ("POST", "/wait", {"GET"}),
    ],
)
def test_other_methods(plain: Discharger, method: str, path: str, allowed: set[str]) -> None:
    """An address says which methods it has."""
    answer = plain.http.request(method, path)
    refused(answer, 405, "method not allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed


def test_a_wait_is_not_spent_by_head(plain: Discharger) -> None:
    """HEAD is none of its methods: what only looks would spend it."""
    answer = plain.http.head("/wait")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    "path", ["/", "/discharge/", "//discharge", "/Discharge", "/discharge/info/", "/visit", "/agent"]
)
def test_other_addresses(plain: Discharger, path: str) -> None:
    """What is no address is 404, without a redirect; the pages of logins that are not installed are none."""
    refused(httpx.post(plain.location + path), 404, "not found")


def test_messages_repeat_nothing(plain: Discharger) -> None:
    """Nothing that a caller sent comes back in an error."""
    secret: dict[str, Any] = {"id64": "SECRETSECRET", "token64": "c2VjcmV0", "token-kind": "secret"}
    for given in (secret, {**secret, "id64": _good(plain)}):
        text = plain.http.post("/discharge", data=given).text
        assert "secret" not in text.lower()
        assert quote("SECRET") not in text
