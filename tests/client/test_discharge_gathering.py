"""Gathering, without a network: whom it asks, in which order, and what it takes for an answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from macaroonbakery import bakery, checkers

from capsvc.client import DischargeError, KnownDischarger, ServiceError
from capsvc.client import book as book_module
from capsvc.client.book import Book
from capsvc.client.gathering import gather
from capsvc.errors import TokenError
from capsvc.macaroon import thirdparty
from capsvc.macaroon.thirdparty import KeyPair, key_text
from capsvc.token import Token

from .dischargers import NOW, Answer, BakeryDischarger, Request, World, conditional, fixed, matched, play

A, B, C = "https://a.example", "https://b.example:8701/base", "https://c.example"
ISSUER = "https://tokens.example"

Caveats = Callable[[str], list[Any]]


def asks(location: str, *, condition: str = "ok") -> Any:
    """A caveat of a discharge that asks another third party."""
    return checkers.Caveat(location=location, condition=condition)


def until(seconds: float) -> Any:
    """A caveat of a discharge that ends so many seconds from now."""
    return checkers.time_before_caveat(
        datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None) + timedelta(seconds=seconds)
    )


def gathered(token: Token, world: World, book: Book | None = None, *, visits: bool = False) -> tuple[Token, ...]:
    """The discharges of a token, from a world whose every server is known."""
    known = Book(list(world.servers)) if book is None else book
    return play(gather(token, known, agents=None, visits=visits, clock=fixed), world)


def refused(token: Token, world: World, book: Book | None = None) -> DischargeError:
    """The error with which a gathering ends."""
    with pytest.raises(DischargeError) as caught:
        gathered(token, world, book)
    assert str(caught.value).isprintable()
    return caught.value


def where(world: World) -> list[str]:
    """The addresses that were asked."""
    return [ask.url for ask in world.asked]


def pair(caveats: Caveats = lambda _: []) -> tuple[World, BakeryDischarger, Token]:
    """A world with one discharger, and a token that asks it."""
    discharger = BakeryDischarger(caveats)
    return World({A: discharger}), discharger, conditional((A, discharger))


def test_a_token_without_third_parties() -> None:
    """Nobody is asked, and there is nothing to bind."""
    world = World()
    token = conditional()
    assert gathered(token, world, Book((), ISSUER)) == ()
    assert (world.asked, token.bind()) == ([], token)


def test_each_caveat_is_asked_for_in_order() -> None:
    """A POST to /discharge below each discharger's address; what they give matches the root, in the root's order."""
    world = World({A: BakeryDischarger(), B: BakeryDischarger()})
    a, b = world.servers.values()
    assert isinstance(a, BakeryDischarger)
    assert isinstance(b, BakeryDischarger)
    token = conditional((A, a), (B, b), (A, a))
    discharges = gathered(token, world)
    assert where(world) == [f"{A}/discharge", f"{B}/discharge", f"{A}/discharge"]
    assert [one.raw_identifier for one in discharges] == [caveat.id for caveat in token.third_parties]
    assert matched(token, discharges) == 3
    assert all(not one.is_bundle for one in discharges)


def test_what_is_sent() -> None:
    """The caveat's id, as the discharge's id and as what the discharger opens; nothing of the token."""
    world, _, token = pair()
    gathered(token, world)
    (ask,) = world.asked
    assert ask.form is not None
    assert ask.form.keys() == {"id64", "caveat64"}
    assert ask.form["id64"] == ask.form["caveat64"]
    padding = "=" * (-len(ask.form["id64"]) % 4)
    assert base64.urlsafe_b64decode(ask.form["id64"] + padding) == token.third_parties[0].id


def test_nested_discharges_come_breadth_first() -> None:
    """First what the root asks for, then what its discharges do, in the order of their caveats."""
    a, b, c = (BakeryDischarger() for _ in range(3))
    a.knows(B, b)
    a.knows(C, c)
    b.knows(C, c)
    a.caveats = lambda _: [asks(B), checkers.declared_caveat("a", "b"), asks(C)]
    b.caveats = lambda _: [asks(C)]
    world = World({A: a, B: b, C: c})
    token = conditional((A, a), (B, b))
    discharges = gathered(token, world)
    assert [url.partition("/discharge")[0] for url in where(world)] == [A, B, B, C, C, C]
    assert matched(token, discharges) == 6


def test_nested_caveats_of_two_discharges_have_ids_of_their_own() -> None:
    """Since `caveat64` is sent even where it is the id; without it macaroonbakery gives both the id 03 00."""
    a, b = BakeryDischarger(), BakeryDischarger()
    a.knows(B, b)
    a.caveats = lambda _: [asks(B)]
    token = conditional((A, a), (A, a))
    discharges = gathered(token, World({A: a, B: b}))
    first, second, *nested = [one.raw_identifier for one in discharges]
    assert nested == [first + b"\0", second + b"\0"]
    bare = a.discharge({"id64": base64.b64encode(first).decode()}).value["Macaroon"]
    assert [base64.b64decode(name) for name in bare["cdata"]] == [b"\3\0"]


def test_a_discharger_that_takes_no_caveat64() -> None:
    """Its nested caveats then share an id; each discharge still goes to its own caveat, and the whole matches."""
    a, b = BakeryDischarger(lambda _: [asks(B)]), BakeryDischarger()
    a.knows(B, b)

    def without(request: Request) -> Answer:
        return a.discharge({"id64": request.parameters["id64"]})

    token = conditional((A, a), (A, a))
    discharges = gathered(token, World({A: without, B: b}))
    assert [one.raw_identifier for one in discharges][2:] == [b"\3\0", b"\3\0"]
    assert matched(token, discharges) == 4


def chain(depth: int) -> tuple[World, Token]:
    """Dischargers of which each asks the next: the discharge of the last lies so deep."""
    dischargers = [BakeryDischarger() for _ in range(depth)]
    places = [f"https://d{number}.example" for number in range(depth)]
    for number, discharger in enumerate(dischargers[:-1]):
        discharger.knows(places[number + 1], dischargers[number + 1])
        discharger.caveats = lambda _, place=places[number + 1]: [asks(place)]  # type: ignore[misc]
    return World(dict(zip(places, dischargers, strict=True))), conditional((places[0], dischargers[0]))


def test_four_deep_and_not_five() -> None:
    """The fifth is not asked."""
    world, token = chain(4)
    assert matched(token, gathered(token, world)) == 4
    world, token = chain(5)
    error = refused(token, world)
    assert (error.code, error.status, error.location) == ("too-large", None, "https://d4.example")
    assert len(world.asked) == 4


@pytest.mark.parametrize("nested", [False, True])
def test_sixteen_and_not_seventeen(nested: bool) -> None:
    """Of the root's own, and of what discharges ask for: none is asked that would be past the bound."""
    world, a, _ = pair()
    a.knows(A, a)

    def token(count: int) -> Token:
        if not nested:
            return conditional(*[(A, a)] * count)
        a.caveats = lambda condition: [asks(A)] * (count - 1) if condition == "is-user" else []
        return conditional((A, a))

    whole = token(16)
    assert matched(whole, gathered(whole, world)) == 16
    world.asked.clear()
    assert refused(token(17), world).code == "too-large"
    assert len(world.asked) == (1 if nested else 0)


def test_a_demand_without_end_is_refused() -> None:
    """A discharger that asks itself again, twice each time, is asked eight times at the most."""
    world, a, token = pair(lambda _: [asks(A)] * 2)
    a.knows(A, a)
    assert refused(token, world).code == "too-large"
    assert len(world.asked) == 8
    a.caveats = lambda _: [asks(A)]
    assert refused(token, world).code == "too-large"


def test_a_bundle_is_not_asked_for_again() -> None:
    """It is final, and nobody is asked; the token that it was made from is discharged."""
    world, _, token = pair()
    bundle = token.bind(*gathered(token, world))
    world.asked.clear()
    with pytest.raises(TokenError) as caught:
        gathered(bundle, world)
    assert (caught.value.code, world.asked) == ("bound", [])


# whom it asks


def test_only_who_is_known_is_asked() -> None:
    """A location in a token that no book has: nobody is asked, and the message says what to do."""
    world, a, token = pair()
    error = refused(token, world, Book([B]))
    assert (error.code, error.status, error.location, world.asked) == ("discharger-unknown", None, A, [])
    assert "--discharger" in str(error)
    assert len(gathered(token, world, Book([A]))) == 1
    a.knows(B, BakeryDischarger())
    a.caveats = lambda _: [asks(B)]
    assert refused(token, world, Book([A])).location == B


@pytest.mark.parametrize(
    ("token", "book", "known"),
    [
        ("https://a.example", "https://a.example", True),
        ("https://a.example/", "https://a.example", True),
        ("https://a.example", "https://a.example/", True),
        ("https://a.example//", "https://a.example", False),
        ("https://A.example", "https://a.example", False),
        ("https://a.example:443", "https://a.example", False),
        ("https://a.example/x", "https://a.example", False),
        ("https://a.example.evil.example", "https://a.example", False),
        ("https://a.example@evil.example", "https://a.example", False),
        ("http://a.example", "https://a.example", False),
        ("https://a.example\n", "https://a.example", False),
        ("https://a.exampl\xe9", "https://a.example", False),
    ],
)
def test_locations_are_compared_as_text(token: str, book: str, known: bool) -> None:
    """But for one slash at the end; the book's address is asked, never the token's."""
    a = BakeryDischarger()
    world = World({"https://a.example": a})
    if known:
        gathered(conditional((token, a)), world, Book([book]))
        assert where(world) == ["https://a.example/discharge"]
    else:
        assert refused(conditional((token, a)), world, Book([book])).code == "discharger-unknown"
        assert world.asked == []


def test_a_caveat_without_location() -> None:
    """Nobody can be asked for it."""
    macaroon = {"i": "root", "s64": "A" * 43, "c": [{"i64": "AwA", "v64": "A" * 96}]}
    token = Token.parse(json.dumps(macaroon))
    assert refused(token, World(), Book([A], None)).code == "discharger-unknown"


def test_an_address_of_its_own() -> None:
    """A mapping, or `KnownDischarger`, says where a location is asked."""
    a = BakeryDischarger()
    token = conditional((A, a))
    for book in (Book({f"{A}/": "http://127.0.0.1:8701/"}), Book([KnownDischarger("http://127.0.0.1:8701", A)])):
        world = World({"http://127.0.0.1:8701": a})
        assert len(gathered(token, world, book)) == 1
        assert where(world) == ["http://127.0.0.1:8701/discharge"]


def test_a_key_that_is_pinned() -> None:
    """A caveat that is sealed for another key is not sent; without a pin, or with the right one, it is."""
    world, a, token = pair()
    other = key_text(KeyPair.generate().public)
    assert len(gathered(token, world, Book([KnownDischarger(A, public_key=a.public_key)]))) == 1
    world.asked.clear()
    error = refused(token, world, Book([KnownDischarger(A, public_key=other)]))
    assert (error.code, error.location, world.asked) == ("key-changed", A, [])
    foreign = Token.parse(json.dumps({"i": "r", "s64": "A" * 43, "c": [{"i": "short", "v64": "A" * 96, "l": A}]}))
    assert refused(foreign, world, Book([KnownDischarger(A, public_key=a.public_key)])).code == "key-changed"


@pytest.mark.parametrize(
    "dischargers",
    [
        ["http://a.example"], ["a.example"], ["ftp://127.0.0.1"], ["https://u:p@a.example"], [""], ["https://a.example/?x"],
        ["https://a.example", "https://a.example/"], {"https://a.example": "http://a.example"},
        [KnownDischarger("https://a.example", public_key="AA==")], [KnownDischarger("https://a.example", "identity")],
    ],
)  # fmt: skip
def test_books_that_cannot_be(dischargers: Any) -> None:
    """An address to which nothing may go, a key that is none, a location that is none or is named twice."""
    assert Book(["https://a.example", "http://127.0.0.1:8701", "http://localhost/x"])
    with pytest.raises(ValueError, match=r"\S") as caught:
        Book(dischargers)
    assert "u:p" not in str(caught.value)


def test_one_text_is_no_book() -> None:
    """Letters would be taken for addresses."""
    with pytest.raises(TypeError):
        Book("https://a.example")


# the issuer's document


def issuer(*rows: Any, **answer: Any) -> Callable[[Request], Answer]:
    """A service that names dischargers, or answers otherwise."""

    def respond(request: Request) -> Answer:
        assert (request.method, request.path, request.parameters) == ("GET", "/.well-known/capsvc", {})
        return Answer(**({"value": {"issuer": "x", "dischargers": list(rows)}} | answer))

    return respond


def row(location: str, discharger: BakeryDischarger, **more: Any) -> dict[str, Any]:
    """One discharger of the document."""
    return {"name": "login", "location": location, "public_key": discharger.public_key, **more}


def test_the_issuer_names_dischargers() -> None:
    """Its document is read when somebody is not known, once; the next gathering reads it again."""
    a, b = BakeryDischarger(), BakeryDischarger()
    world = World({A: a, B: b, ISSUER: issuer(row(A, a), row(f"{B}/", b, note=1))})
    token, book = conditional((A, a), (B, b)), Book((), ISSUER)
    document = f"{ISSUER}/.well-known/capsvc"
    for _ in range(2):
        world.asked.clear()
        assert matched(token, gathered(token, world, book)) == 2
        assert where(world) == [document, f"{A}/discharge", f"{B}/discharge"]
    world.asked.clear()
    assert refused(conditional((C, a), (A, a)), world, book).location == C
    assert where(world) == [document]


def test_an_issuer_that_is_not_needed_is_not_asked() -> None:
    """When the caller knows everybody."""
    world, _, token = pair()
    assert len(gathered(token, world, Book([A], ISSUER))) == 1
    assert where(world) == [f"{A}/discharge"]


def test_the_caller_s_word_stands() -> None:
    """What the issuer says of a discharger that the caller knows counts for nothing: address and key stay."""
    a, b = BakeryDischarger(), BakeryDischarger()
    world = World({"https://inside.example": a, A: b, B: b, ISSUER: issuer(row(A, b), row(B, b))})
    book = Book([KnownDischarger("https://inside.example", A, a.public_key)], ISSUER)
    token = conditional((B, b), (A, a))
    assert matched(token, gathered(token, world, book)) == 2
    assert where(world)[1:] == [f"{B}/discharge", "https://inside.example/discharge"]


def test_the_issuer_s_key_is_no_pin() -> None:
    """It publishes one key of a discharger that may have two: tokens sealed for the other one are asked for too."""
    a = BakeryDischarger()
    entry = row(A, a) | {"public_key": key_text(KeyPair.generate().public)}
    world = World({A: a, ISSUER: issuer(entry)})
    assert len(gathered(conditional((A, a)), world, Book((), ISSUER))) == 1


def test_of_a_long_document_little_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 keys would take seconds: only those of dischargers that the token asks are read, and the others stand."""
    a = BakeryDischarger()
    read: list[str] = []

    def read_key(text: str) -> bytes:
        read.append(text)
        return thirdparty.read_key(text)

    monkeypatch.setattr(book_module, "read_key", read_key)
    rows = [row(f"https://d{number}.example", a) | {"public_key": f"key {number}"} for number in range(9_999)]
    world = World({A: a, ISSUER: issuer(*rows, row(A, a))})
    book = Book((), ISSUER)
    assert len(gathered(conditional((A, a)), world, book)) == 1
    assert set(read) == {a.public_key}
    assert len(read) < 5
    error = refused(conditional(("https://d7.example", a)), world, book)
    assert (error.code, "public key" in str(error)) == ("discharger-unknown", True)
    assert "key 7" in read


HERE = [
    "http://127.0.0.1:9",
    "http://localhost:2375",
    "https://127.0.0.1",
    "https://[::1]",
    "https://127.1",
    "https://127.0.0.1.",
    "https://2130706433",
    "https://0x7f000001",
    "https://0x7f.1",
    "https://0.0.0.0",
    "https://0.0.0.1",
    "https://[::]",
    "https://[::0:1]",
    "https://[::ffff:127.0.0.1]",
    "https://[::ffff:7f00:1]",
    "https://[::127.0.0.1]",
    "https://[64:ff9b::7f00:1]",
    "https://[2001:DB8:0::1]",
    "https://169.254.169.254",
    "https://[fe80::1]",
    "https://224.0.0.1",
    "https://localhost.",
    "https://login.localhost",
]


@pytest.mark.parametrize("place", HERE)
def test_an_issuer_elsewhere_names_nothing_on_this_machine(place: str) -> None:
    """It could have whatever listens here asked; one on this machine may, and so may the caller."""
    a = BakeryDischarger()
    token = conditional((place, a))
    world = World({place: a, ISSUER: issuer(row(place, a)), "http://127.0.0.1:8700": issuer(row(place, a))})
    error = refused(token, world, Book((), ISSUER))
    assert (error.code, error.location, len(world.asked)) == ("discharger-unknown", place, 1)
    assert "on this machine" in str(error)
    assert len(gathered(token, world, Book((), "http://127.0.0.1:8700"))) == 1
    assert len(gathered(token, world, Book([place], ISSUER))) == 1


@pytest.mark.parametrize(
    "place",
    ["https://192.0.2.7", "https://10.0.0.7:8701", "https://[2001:db8::1]", "https://7.example", "https://0x7f.example",
     "https://localhost.example", "https://notlocalhost", "https://login_1"],
)  # fmt: skip
def test_an_issuer_elsewhere_names_what_is_elsewhere(place: str) -> None:
    """Names and addresses of other machines, those of its own network too."""
    a = BakeryDischarger()
    world = World({place: a, ISSUER: issuer(row(place, a))})
    assert len(gathered(conditional((place, a)), world, Book((), ISSUER))) == 1


def test_an_issuer_names_what_nothing_may_go_to() -> None:
    """Plain http elsewhere: refused, with the reason; its other dischargers stand."""
    a = BakeryDischarger()
    world = World({A: a, ISSUER: issuer(row("http://b.example", a), row(A, a), row(C, a) | {"public_key": "x"})})
    book = Book((), ISSUER)
    assert "https" in str(refused(conditional(("http://b.example", a)), world, book))
    assert "public key" in str(refused(conditional((C, a)), world, book))
    assert len(gathered(conditional((A, a)), world, book)) == 1


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        ({"value": b"<html>", "headers": {"content-type": "text/html"}}, 200, "bad-answer"),
        ({"value": []}, 200, "bad-answer"),
        ({"value": {}}, 200, "bad-answer"),
        ({"value": {"dischargers": {}}}, 200, "bad-answer"),
        ({"value": {"dischargers": ["x"]}}, 200, "bad-answer"),
        ({"value": {"dischargers": [{"location": A}]}}, 200, "bad-answer"),
        ({"value": {"dischargers": [{"location": 1, "public_key": "x"}]}}, 200, "bad-answer"),
        ({"value": {"dischargers": [{"location": A, "public_key": "x"}] * 10_001}}, 200, "bad-answer"),
        ({"status": 302, "headers": {"location": A}}, 302, "bad-answer"),
        ({"status": 404}, 404, "bad-answer"),
        ({"status": 503}, 503, "unavailable"),
    ],
)
def test_an_issuer_that_names_nobody(answer: dict[str, Any], status: int, code: str) -> None:
    """Whatever it answers, the error says whose discharge failed, and why nobody was found."""
    world, a, token = pair()
    world.servers[ISSUER] = issuer(**answer)
    error = refused(token, world, Book((), ISSUER))
    assert (error.status, error.code, error.location) == (status, code, A)
    assert f"{ISSUER}: " in str(error)
    world.servers[ISSUER] = issuer(row(A, a))
    assert len(gathered(token, world, Book((), ISSUER))) == 1


def test_an_issuer_that_is_not_there() -> None:
    """Unavailable, with no status."""
    world, _, token = pair()
    error = refused(token, world, Book((), ISSUER))
    assert (error.status, error.code, error.location) == (None, "unavailable", A)
    assert isinstance(error, ServiceError)


# what it takes for an answer


def answering(answer: Answer) -> tuple[World, Token]:
    """A world whose discharger says one thing."""
    world, _, token = pair()
    world.servers[A] = lambda _: answer
    return world, token


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (Answer({"Code": "permission denied", "Message": "no"}, 401), 401, "permission-denied"),
        (Answer({"code": "permission denied", "message": "no"}, 401), 401, "permission-denied"),
        (Answer({"Code": "bad request", "Message": "no"}, 400), 400, "bad-request"),
        (Answer({"Message": "no"}, 403), 403, "discharge-refused"),
        (Answer({"Code": 7}, 403), 403, "discharge-refused"),
        (Answer({"Code": "\u20ac" * 80, "Message": None}, 403), 403, "discharge-refused"),
        (Answer({"Code": "internal error", "Message": "no"}, 500), 500, "unavailable"),
        (Answer(b"<html>", 502, {"content-type": "text/html"}), 502, "unavailable"),
        (Answer(b"<html>", 200, {"content-type": "text/html"}), 200, "bad-answer"),
        (Answer(b"<html>", 404, {"content-type": "text/html"}), 404, "bad-answer"),
        (Answer(b"", 301, {"location": B}), 301, "bad-answer"),
        (Answer(b"", 204), 204, "bad-answer"),
        (Answer(b"", 100), 100, "bad-answer"),
        (Answer(b"{"), 200, "bad-answer"),
        (Answer(b"\xff"), 200, "bad-answer"),
        (Answer(b'{"Macaroon": 1, "Macaroon": 2}'), 200, "bad-answer"),
        (Answer(b"[" * 50_000), 200, "bad-answer"),
        (Answer([]), 200, "bad-answer"),
        (Answer({}), 200, "bad-answer"),
        (Answer({"Macaroon": None}), 200, "bad-answer"),
        (Answer({"Macaroon": {}}), 200, "bad-answer"),
        (Answer({"Macaroon": {"m": []}}), 200, "bad-answer"),
        (Answer({"Macaroon": {"m": "AgEE"}}), 200, "bad-answer"),
        (Answer({"Macaroon": {"m": {"i": "x", "s64": "AA"}}}), 200, "bad-answer"),
        (Answer({"Macaroon": {"identifier": "x", "signature": "00" * 32}}), 200, "bad-answer"),
    ],
    ids=str,
)
def test_answers_that_are_no_discharge(answer: Answer, status: int, code: str) -> None:
    """Each with the status that came and a code; the message names the discharger."""
    world, token = answering(answer)
    error = refused(token, world)
    assert (error.status, error.code, error.location) == (status, code, A)
    assert str(error).startswith(f"{A}: ")


def test_what_a_discharger_says_is_told_safely() -> None:
    """Short, in printable characters, and without what could be a token."""
    world, token = answering(
        Answer({"Code": "permission denied", "Message": "no \x1b[2J " + "A" * 50 + " \n" + "x " * 400}, 401)
    )
    text = str(refused(token, world))
    assert r"no \x1b[2J ..." in text
    assert len(text) < 400


def genuine(world: World) -> dict[str, Any]:
    """A right answer of the world's discharger."""
    discharger = world.servers[A]
    assert isinstance(discharger, BakeryDischarger)
    (ask,) = world.asked
    assert ask.form is not None
    answer: dict[str, Any] = discharger.discharge(ask.form).value
    return answer


@pytest.mark.parametrize("form", ["bakery", "bare", "text"])
def test_the_shapes_of_a_discharge(form: str) -> None:
    """Bakery's object around V2 JSON, that JSON alone, and base64 of the binary."""
    world, _, token = pair()
    gathered(token, world)
    macaroon = genuine(world)["Macaroon"]
    shapes: dict[str, Any] = {
        "bakery": macaroon,
        "bare": macaroon["m"],
        "text": {"m": str(Token.parse(json.dumps(macaroon["m"]))), "v": 3},
    }
    world.servers[A] = lambda _: Answer({"Macaroon": shapes[form]})
    assert matched(token, gathered(token, world)) == 1


def test_a_discharge_of_something_else() -> None:
    """Another caveat's, the token itself, a bundle: refused; the one that was asked for is taken."""
    world, a, token = pair()
    gathered(token, world)
    right = genuine(world)
    other = a.discharge({"id64": base64.b64encode(conditional((A, a)).third_parties[0].id).decode()}).value
    discharge = Token.parse(json.dumps(right["Macaroon"]["m"]))
    wrong = [
        other,
        {"Macaroon": {"m": str(token)}},
        {"Macaroon": {"m": json.loads(conditional().to_v2json())}},
        {"Macaroon": {"m": str(token.bind(discharge))}},
        {"Macaroon": {"m": str(discharge.bind(discharge))}},
        {"Macaroon": right["Macaroon"] | {"cdata": {"!": "AA"}}},
        {"Macaroon": right["Macaroon"] | {"cdata": {"AA": 1}}},
        {"Macaroon": right["Macaroon"] | {"cdata": []}},
    ]
    for answer in wrong:
        world.servers[A] = lambda _, answer=answer: Answer(answer)  # type: ignore[misc]
        assert (refused(token, world).code, refused(token, world).status) == ("bad-answer", 200)
    world.servers[A] = lambda _: Answer(right)
    assert matched(token, gathered(token, world)) == 1


def test_a_discharge_past_the_limits() -> None:
    """65 caveats are no discharge; 64 are."""
    word = checkers.Caveat("action in read")
    world, a, token = pair(lambda _: [word] * 65)
    assert refused(token, world).code == "bad-answer"
    a.caveats = lambda _: [word] * 64
    assert len(gathered(token, world)) == 1


@pytest.mark.parametrize(("seconds", "good"), [(-3600, False), (-1, False), (0, False), (1, True), (3600, True)])
def test_a_discharge_that_is_over(seconds: int, good: bool) -> None:
    """Good while now is before its bound; refused with a code of its own when that is past."""
    world, _, token = pair(lambda _: [checkers.declared_caveat("a", "b"), until(seconds)])
    if good:
        assert matched(token, gathered(token, world)) == 1
    else:
        error = refused(token, world)
        assert (error.code, error.status, error.location) == ("expired", 200, A)
        assert "clock" in str(error)


def test_a_discharge_without_a_bound() -> None:
    """Bakery's own dischargers add none: the root's bounds it."""
    world, _, token = pair()
    (discharge,) = gathered(token, world)
    assert discharge.expires_at is None


def test_the_id_that_is_held_apart() -> None:
    """For a nested caveat of a bakery discharger, `caveat64` is what its short id stands for."""
    a, b = BakeryDischarger(lambda _: [asks(B)]), BakeryDischarger()
    a.knows(B, b)
    world = World({A: a, B: b})
    gathered(conditional((A, a)), world)
    first, second = (ask.form or {} for ask in world.asked)
    assert second["id64"] != second["caveat64"]
    nested = a.discharge(first).value["Macaroon"]["cdata"]
    assert len(nested) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["m", "v", "ns", "cdata", "i", "i64", "s64", "c", "l", "Code", "Message", "Info",
                                        "InteractionMethods", "agent", "browser-window", "VisitURL", "login-url"]),
                      inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(
    st.sampled_from([100, 200, 201, 302, 400, 401, 404, 500, 599]),
    st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode())
    | json_values.map(lambda value: json.dumps({"Macaroon": value}).encode())
    | json_values.map(lambda value: json.dumps({"Code": "interaction required", "Info": value}).encode()),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_whatever_is_answered_is_one_error(status: int, octets: bytes) -> None:
    """No answer makes anything but a `DischargeError` come out, or a discharge that nobody asked for."""
    world, token = answering(Answer(octets, status))
    with pytest.raises(DischargeError) as caught:
        gathered(token, world, Book([A]), visits=True)
    assert str(caught.value).isprintable()


trees: st.SearchStrategy[list[Any]] = st.recursive(
    st.just([]), lambda below: st.lists(below, max_size=3), max_leaves=12
)


def _size(tree: list[Any]) -> int:
    return sum(1 + _size(below) for below in tree)


def _depth(tree: list[Any]) -> int:
    return 1 + max(map(_depth, tree)) if tree else 0


@given(trees)
@settings(max_examples=60, deadline=None)
def test_trees_of_discharges(tree: list[Any]) -> None:
    """Whatever the dischargers ask of one another: within the bounds all of it matches the root, past them it ends."""
    places: dict[str, BakeryDischarger] = {}

    def plant(name: str, below: list[Any]) -> tuple[str, BakeryDischarger]:
        discharger, place = BakeryDischarger(), f"https://d{name}.example"
        places[place] = discharger
        children = [plant(f"{name}-{number}", child) for number, child in enumerate(below)]
        for child in children:
            discharger.knows(*child)
        discharger.caveats = lambda _: [asks(child) for child, _ in children]
        return place, discharger

    token = conditional(*[plant(str(number), below) for number, below in enumerate(tree)])
    world = World(dict(places))
    if _size(tree) <= 16 and _depth(tree) <= 4:
        discharges = gathered(token, world)
        assert matched(token, discharges) == len(discharges) == len(world.asked) == _size(tree)
    else:
        assert refused(token, world).code == "too-large"
        assert len(world.asked) <= 16


def test_a_refusal_of_the_checker() -> None:
    """What macaroonbakery's dischargers refuse reaches the caller with code and words."""

    def never(_: str) -> list[Any]:
        raise bakery.ThirdPartyCaveatCheckFailed("not today")

    world, _, token = pair(never)
    error = refused(token, world)
    assert (error.status, error.code) == (401, "permission-denied")
    assert "not today" in str(error)
