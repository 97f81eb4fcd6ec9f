"""What becomes of a checker's answer: a discharge that says what was asked, a refusal, a fault that shows nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from capsvc.discharge import Declared, Interaction, KeyPair, Refused, create_discharger
from capsvc.macaroon.encoding import b64encode
from capsvc.macaroon.thirdparty import key_text
from caveats import CaveatError

from .conftest import NOON, Discharger, Serve, caveats, checker, discharged, refused

KEY = KeyPair.generate()
TRUST = key_text(KeyPair.generate().public)
LOCATION = "http://127.0.0.1:9/dis"
EXPIRY = "time-before 2026-11-22T12:05:00Z"


def answering(answer: Any) -> Any:
    """A checker that always answers the same, whatever that is."""

    async def check(_condition: str, _request: Request) -> Any:
        return answer

    return check


@pytest.mark.parametrize(
    ("condition", "stated"),
    [
        ("holds", []),
        ("need-declared colour holds", ["declared colour green"]),
        ("need-declared size,colour holds", ["declared size 2 m", "declared colour green"]),
        ("need-declared colour,weight holds", ["declared colour green", "declared weight "]),
        ("need-declared colour,colour holds", ["declared colour green"]),
    ],
)
def test_declarations(serve: Serve, condition: str, stated: list[str]) -> None:
    """Every name that was asked for is stated, once, empty if need be; no other, whatever the checker knows."""
    discharger = serve()
    assert caveats(discharged(discharger.ask(discharger.caveat(condition)))) == [EXPIRY, *stated]


def test_a_checker_that_states_nothing(serve: Serve) -> None:
    """`Declared()` says that the condition holds; names that were asked for are stated empty."""
    discharger = serve(checker=answering(Declared()))
    made = discharged(discharger.ask(discharger.caveat("need-declared a,b x")))
    assert caveats(made) == [EXPIRY, "declared a ", "declared b "]


@pytest.mark.parametrize("ttl", [1, 300, 3_600])
def test_the_expiry(serve: Serve, ttl: int) -> None:
    """Every discharge ends after the discharger's ttl."""
    discharger = serve(ttl=ttl)
    ends = {1: "12:00:01", 300: "12:05:00", 3_600: "13:00:00"}[ttl]
    made = discharged(discharger.ask(discharger.caveat()))
    assert caveats(made) == [f"time-before 2026-11-22T{ends}Z"]
    assert discharger.clock.now == NOON


@pytest.mark.parametrize("ttl", [0, -1, 3_601, True, 60.0, "60"])
def test_no_longer_than_an_hour(ttl: Any) -> None:
    """A ttl of nothing, over an hour, or that is no whole number is refused from the start."""
    with pytest.raises(ValueError, match="1 to 3600 seconds"):
        create_discharger(checker, key=KEY, location=LOCATION, trust=[TRUST], ttl=ttl)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "dis",
        "ftp://x/",
        "https://user@x/",
        "https://x/?a",
        "https://x/#a",
        "https://x/a b",
        "https://x:0/",
        "https://",
    ],
)
def test_locations_that_are_none(location: str) -> None:
    """A location is a URL under which a third party can be registered."""
    with pytest.raises(ValueError, match="location"):
        create_discharger(checker, key=KEY, location=location, trust=[TRUST])


def test_a_refusal(serve: Serve) -> None:
    """The reason reaches whoever asked, printable and bounded."""
    discharger = serve(checker=answering(Refused("not\x1b[2J today\u202e, " + "x" * 500)))
    message = refused(discharger.ask(discharger.caveat()), 401, "permission denied")
    assert message.startswith("not?[2J today?, xxx")
    assert len(message) == 200


async def _raising(_condition: str, _request: Request) -> Any:
    raise RuntimeError("SECRET of the checker")


async def _raising_refused(_condition: str, _request: Request) -> Any:
    from starlette.exceptions import HTTPException

    raise HTTPException(200, "SECRET of the checker")


async def _leaving(_condition: str, _request: Request) -> Any:
    raise SystemExit("SECRET of the checker")


class _Odd(BaseException):
    """An exception that is no `Exception`."""


async def _raising_oddly(_condition: str, _request: Request) -> Any:
    raise _Odd("SECRET of the checker")


async def _stating(_condition: str, _request: Request) -> Any:
    return Declared({"SECRET\n": "x"})


def _synchronous(_condition: str, _request: Request) -> Any:
    return Declared({})


FAULTS: Mapping[str, Any] = {
    "raises": _raising,
    "raises what a framework would answer": _raising_refused,
    "ends the process": _leaving,
    "raises what is no Exception": _raising_oddly,
    "states what cannot be written": _stating,
    "is not async": _synchronous,
    "answers nothing": answering(None),
    "answers true": answering(True),  # noqa: FBT003 - the point
    "answers a dictionary": answering({"SECRET": "x"}),
    "answers the class": answering(Declared),
    "answers text": answering("SECRET"),
    "refuses without text": answering(Refused(5)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("about", FAULTS)
def test_checkers_at_fault(serve: Serve, about: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it raises, and whatever is none of the three answers, is bakery's 500; the log has type and place."""
    discharger = serve(checker=FAULTS[about])
    with caplog.at_level(logging.INFO):
        answer = discharger.ask(discharger.caveat("need-declared a SECRET condition"))
    refused(answer, 500, "internal error")
    assert "SECRET" not in answer.text
    (record,) = [one for one in caplog.records if one.name != "httpx"]
    assert (record.name, record.levelname, record.exc_info) == ("capsvc.discharge", "ERROR", None)
    assert "SECRET" not in record.getMessage()
    if about.startswith("answers"):
        assert record.getMessage().startswith("the checker answered with a value of another type: ")


@pytest.mark.parametrize("raised", [asyncio.CancelledError, KeyboardInterrupt, GeneratorExit])
def test_what_is_no_fault_of_a_checker(raised: type[BaseException]) -> None:
    """A client that is gone, ^C and a coroutine's end are for whoever serves: nothing is answered for them."""

    async def check(_condition: str, _request: Request) -> Any:
        raise raised

    discharger = Discharger(LOCATION, checker=check)
    discharger.http.close()
    query = f"id64={b64encode(discharger.caveat())}".encode()
    scope = {"type": "http", "method": "POST", "path": "/discharge", "query_string": query, "headers": []}

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    with pytest.raises(raised):
        asyncio.run(discharger.app(scope, receive, send))


def test_a_fault_has_a_place(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """The line in the log leads to the checker's own line."""
    discharger = serve(checker=_raising)
    discharger.ask(discharger.caveat())
    assert "RuntimeError at " in caplog.text
    assert f"{__file__}:{_raising.__code__.co_firstlineno + 1} _raising" in caplog.text


@pytest.mark.parametrize(
    "values", [{"": "x"}, {"a b": "x"}, {"a,b": "x"}, {"a": "x\n"}, {"a": "ü"}, {"a": "x" * 401}, {"a" * 65: "x"}]
)
def test_what_cannot_be_declared(values: Mapping[str, str]) -> None:
    """`Declared` refuses at once what no caveat could say: the place in the log is then the checker's."""
    assert Declared({"a": "x" * 400}).values == {"a": "x" * 400}
    with pytest.raises(CaveatError):
        Declared(values)


def test_a_declaration_stays_what_it_was() -> None:
    """It is a copy that nobody changes afterwards."""
    values = {"a": "x"}
    declared = Declared(values)
    values["a"] = "\n"
    assert declared.values == {"a": "x"}
    with pytest.raises(TypeError):
        declared.values["a"] = "\n"  # type: ignore[index]


def test_too_much_for_one_discharge(serve: Serve) -> None:
    """40 values of 400 octets do not fit into a token; 30 do."""
    names = [f"n{number}" for number in range(40)]
    discharger = serve(checker=answering(Declared(dict.fromkeys(names, "x" * 400))))
    discharged(discharger.ask(discharger.caveat(f"need-declared {','.join(names[:28])} x")))
    refused(discharger.ask(discharger.caveat(f"need-declared {','.join(names)} x")), 401, "permission denied")


async def _told(condition: str, request: Request) -> Any:
    """State what the request and its state say."""
    body = await request.body()
    return Declared(
        {
            "condition": condition,
            "user": str(request.state.user),
            "login": str(request.state.login),
            "first": request.state.first_party.hex(),
            "body": body.decode()[-8:],
            "address": request.client.host if request.client else "",
        }
    )


def test_what_a_checker_is_told(serve: Serve) -> None:
    """The condition after its names; the first party's key; nobody; and the request, its body too."""
    discharger = serve(checker=_told)
    caveat = discharger.caveat("need-declared condition,user,login,first,body,address is it so?")
    made = discharged(discharger.ask(caveat, zzz="the-end"))
    assert caveats(made)[1:] == [
        "declared condition is it so?",
        "declared user None",
        "declared login None",
        f"declared first {discharger.first.public.hex()}",
        "declared body =the-end",
        "declared address 127.0.0.1",
    ]


def test_nobody_to_ask(serve: Serve) -> None:
    """A checker that wants a login where none is installed gets nobody: permission denied."""
    discharger = serve(checker=answering(Interaction()))
    message = refused(discharger.ask(discharger.caveat()), 401, "permission denied")
    assert message == "somebody has to log in, and this discharger has no way to"
    token = discharger.ask(discharger.caveat(), token64="eHh4", token_kind="agent")
    refused(token, 401, "permission denied")
