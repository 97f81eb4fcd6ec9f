"""The discharger as an ASGI application: a checker behind bakery's endpoints.

===================  ================================================================================
GET /discharge/info  the public key and bakery's version
GET /publickey       the public key
POST /discharge      a discharge for a caveat id, an interaction, or a refusal
GET /wait            the token of a discharge that waited for somebody; blocks, and is answered once
===================  ================================================================================

Logins add their own pages. Every URL that is handed out begins with ``location``, whatever a request says.
"""

from __future__ import annotations

import logging
import time
from asyncio import CancelledError
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from capsvc.discharge.answers import Answer, Checker, Declared, Interaction, Refused
from capsvc.discharge.around import Around
from capsvc.discharge.bakery import (
    VERSION,
    Asked,
    Refusal,
    denied,
    error_response,
    fault,
    macaroon_json,
    one,
    parameters,
    read_asked,
    with_body,
)
from capsvc.discharge.callers import address_reader
from capsvc.discharge.conditions import Conditions, Wanted
from capsvc.discharge.faults import places
from capsvc.discharge.login import BROWSER_WINDOW, Begin, Login, Surroundings
from capsvc.discharge.presence import while_there
from capsvc.discharge.waits import Begun, TooManyWaits, WaitGone, WaitRefused, Waits
from capsvc.errors import TokenError
from capsvc.macaroon import build
from capsvc.macaroon.location import check_location
from capsvc.macaroon.thirdparty import KeyPair, key_text
from caveats import TimeBefore, declare, encode

__all__ = ["MAX_TTL", "create_discharger"]

MAX_TTL: Final = 3_600
"""Seconds: no discharge is good for longer."""

FULL_SECONDS: Final = 60
"""After how long to try again when too many waits are under way."""

logger = logging.getLogger("capsvc.discharge")


def create_discharger(
    checker: Checker,
    *,
    key: KeyPair,
    location: str,
    trust: Iterable[str] = (),
    allow_any: bool = False,
    logins: Sequence[Login] = (),
    ttl: int = 300,
    same_address: bool = False,
    trusted_proxies: Iterable[str] = (),
    former_keys: Iterable[KeyPair] = (),
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """A discharger, to be served or mounted below any prefix. Its state is in memory: one process, one event loop.

    Args:
        checker: judges conditions.
        key: the discharger's own; first parties pin its public half.
        location: the discharger's URL as its clients know it, the prefix of a mount included.
        trust: the public keys (standard base64) of the first parties that it answers.
        allow_any: answer every first party there is, instead.
        logins: how somebody can say who he is, where the checker asks for an `Interaction`.
        ttl: seconds that a discharge is good for, 1 to 3,600.
        same_address: let nobody consent to what was begun from another address.
        trusted_proxies: addresses and networks whose ``X-Forwarded-For`` counts. With none, and a location elsewhere,
            the address of a request from this machine is unknown: a proxy sent it, and with ``same_address`` nobody may
            consent to what has begun so.
        former_keys: the discharger's own from before; what was asked under them is still answered.
        clock: gives Unix seconds.

    Raises:
        ValueError: for an argument that cannot be; the message says which.

    """
    check_location(location)
    if type(ttl) is not int or not 0 < ttl <= MAX_TTL:
        raise ValueError(f"ttl: a discharge is good for 1 to {MAX_TTL} seconds")
    address_of = address_reader(location, trusted_proxies)
    surroundings = Surroundings(location.rstrip("/"), key, Waits(clock), address_of, same_address, clock)
    discharger = _Discharger(
        checker,
        key,
        conditions=Conditions([key, *former_keys], trust, allow_any=allow_any),
        surroundings=surroundings,
        logins=logins,
        ttl=ttl,
    )
    app = Starlette(
        routes=discharger.routes(),
        middleware=[Middleware(Around)],
        exception_handlers={Refusal: _refused, HTTPException: _not_here},
    )
    app.router.redirect_slashes = False  # a trailing slash is another address, and none of ours
    app.state.waits = surroundings.waits
    return app


class _Discharger:
    """What answers at the discharger's own addresses."""

    def __init__(
        self,
        checker: Checker,
        key: KeyPair,
        *,
        conditions: Conditions,
        surroundings: Surroundings,
        logins: Sequence[Login],
        ttl: int,
    ) -> None:
        self._checker = checker
        self._key = {"PublicKey": key_text(key.public)}
        self._conditions = conditions
        self._surroundings = surroundings
        self._logins = {login.kind: login for login in logins}
        self._ttl = ttl
        if len(self._logins) != len(logins):
            raise ValueError("logins: there is one of each kind at most")
        for login in logins:
            login.install(surroundings)

    def routes(self) -> list[BaseRoute]:
        """Its addresses, and those of its logins."""
        wait = Route("/wait", self._wait)
        wait.methods = {"GET"}  # a HEAD would spend it
        return [
            Route("/discharge/info", self._info),
            Route("/publickey", self._public_key),
            Route("/discharge", self._discharge, methods=["POST"]),
            wait,
            *[route for login in self._logins.values() for route in login.routes()],
        ]

    async def _info(self, _request: Request) -> Response:
        return JSONResponse({**self._key, "Version": VERSION})

    async def _public_key(self, _request: Request) -> Response:
        return JSONResponse(self._key)

    async def _discharge(self, request: Request) -> Response:
        asked, body = await read_asked(request)
        wanted = self._conditions.open(asked.caveat)
        request = with_body(request, body)
        request.state.first_party = wanted.first_party
        request.state.user = self._user(asked, wanted)
        request.state.login = asked.kind
        match await self._judge(wanted.condition, request):
            case Declared(values):
                return self._discharged(asked, wanted, values)
            case Refused(reason):
                raise denied(reason)
            case Interaction():
                raise self._interaction(wanted, request)

    def _user(self, asked: Asked, wanted: Wanted) -> str | None:
        """Who logged in, if anybody did."""
        if asked.kind is None:
            return None
        login = self._logins.get(asked.kind)
        user = None if login is None else login.user(asked.token, wanted.digest)
        if user is None:
            raise denied("that login is unknown, over, or for another caveat; begin again")
        return user

    async def _judge(self, condition: str, request: Request) -> Answer:
        """The checker's answer, which is one of three, or a fault of its own."""
        try:
            answer: object = await self._checker(condition, request)  # whatever its annotations say
        except (CancelledError, KeyboardInterrupt, GeneratorExit):  # those are for us, not of its making
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it raises, SystemExit too: nothing of it is shown
            logger.error("the checker failed: %s", places(error))  # noqa: TRY400 - without its message
            raise fault() from None
        if not isinstance(answer, Declared | Refused | Interaction):
            logger.error("the checker answered with a value of another type: %s", type(answer).__name__)
            raise fault()
        return answer

    def _discharged(self, asked: Asked, wanted: Wanted, values: Mapping[str, str]) -> Response:
        """The discharge: an expiry whatever the checker says, and what was to be declared, empty if need be."""
        until = TimeBefore(int(self._surroundings.clock()) + self._ttl)
        caveats = [encode(until), *[encode(declare(name, values.get(name, ""))) for name in wanted.names]]
        try:
            made = build.discharge(wanted.root_key, self._surroundings.location, asked.id, caveats)
        except TokenError:
            raise denied("what is to be declared is too much for one discharge") from None
        return Response(f'{{"Macaroon": {macaroon_json(made)}}}', media_type="application/json")

    def _interaction(self, wanted: Wanted, request: Request) -> Refusal:
        """Every way to log in, those that somebody has to be waited for only as long as there is room."""
        if not self._logins:
            return denied("somebody has to log in, and this discharger has no way to")
        begin = self._begin(wanted, request)
        methods: dict[str, object] = {}
        for kind, login in self._logins.items():
            with suppress(TooManyWaits):
                methods[kind] = login.offer(begin)
        if not methods:
            again = {"Retry-After": str(FULL_SECONDS)}
            return Refusal(503, "unavailable", "too many wait for somebody; try again later", headers=again)
        return Refusal(
            401,
            "interaction required",
            "somebody has to log in",
            info={"InteractionMethods": methods},
            headers={"WWW-Authenticate": "Macaroon"},
        )

    def _begin(self, wanted: Wanted, request: Request) -> Begin:
        begun: list[Begun] = []

        def begin() -> Begun:
            if not begun:
                begun.append(
                    self._surroundings.waits.begin(
                        caveat=wanted.digest,
                        first_party=wanted.first_party,
                        condition=wanted.condition,
                        names=wanted.names,
                        address=self._surroundings.address_of(request),
                    )
                )
            return begun[0]

        return begin

    async def _wait(self, request: Request) -> Response:
        secret = one(parameters(request.scope["query_string"]), "wait")
        try:
            token = await while_there(request, self._surroundings.waits.outcome(secret))
        except WaitRefused:
            raise denied("whoever was asked refused") from None
        except WaitGone:
            raise Refusal(404, "not found", "there is no such wait, or it is over; begin again") from None
        return JSONResponse({"kind": BROWSER_WINDOW, "token64": b2a_base64(token, newline=False).decode("ascii")})


async def _refused(_request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)  # noqa: S101 - for the type checker: it is registered for no other
    return error_response(refusal)


async def _not_here(_request: Request, error: Exception) -> Response:
    """What Starlette's router cannot place."""
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    if error.status_code == 405:
        return error_response(Refusal(405, "method not allowed", "that is another method's", headers=error.headers))
    return error_response(Refusal(404, "not found", "there is no such address here"))
