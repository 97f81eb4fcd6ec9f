"""Questions to the authority, whose every failure is a denial.

Questions that come up while others are on their way share a request, since under load it is the requests that cost:
several are then decided for the price of one, each by itself.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from capsvc import wire
from capsvc.client.calls import read_grant
from capsvc.client.connection import AsyncConnection
from capsvc.client.errors import ServiceError
from capsvc.client.messages import Answer, Call, unreadable
from capsvc.errors import SENTENCES, STATUS, Denied, TokenError
from capsvc.grants import Grant
from capsvc.macaroon import identifier
from capsvc.macaroon.bundle import MAX_BATCH_BODY_OCTETS, MAX_BODY_OCTETS, split

__all__ = ["Asker", "words_of"]

ATTEMPTS: Final = 2
"""How often a request is sent at most, where the connection is what fails."""

AT_ONCE: Final = 8
"""Requests that are on their way at a time, as long as questions share them."""

ALONE_AT_ONCE: Final = 64
ALONE_SECONDS: Final = 10.0
"""How many, and for how long, where a batch was refused as such: then each question is asked alone."""

TOGETHER: Final = 100
"""Questions in one of them at most, as ``/v1/verify/batch`` has it."""

BODY_OCTETS: Final = MAX_BATCH_BODY_OCTETS - len('{"requests":[]}')

MISSED: Final = 64  # audiences that are told of

LONGEST_VALUE: Final = 2048  # characters: no legal value of a context is longer
LARGEST_INTEGER: Final = 2**63
ILLEGAL: Final = ""  # of every type, and as a name: the decision is context-invalid in its turn

REFUSES_BATCHES: Final = frozenset({400, 403, 404, 405, 413})
"""How a batch is refused for one question in it, or where credential or gateway are for ``/v1/verify`` alone."""

REFUSALS: Final = frozenset({"audience-unknown", "forbidden"})
"""What is a refusal of the request where it holds one question, and where it holds several a denial among others."""

logger = logging.getLogger("capsvc.asgi")


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """What is asked, as ``/v1/verify`` takes it, how much of a body that is, and where the answer goes."""

    body: Mapping[str, object]
    octets: int  # with a comma
    answer: asyncio.Future[Answer]

    def settle(self, outcome: Answer | ServiceError) -> None:
        """Hand over what came of it, if it is still waited for."""
        if self.answer.done():
            return
        if isinstance(outcome, ServiceError):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class Asker:
    """Asks one authority. For one event loop."""

    def __init__(self, connection: AsyncConnection, *, timeout: float) -> None:
        """Take over a connection, which `close` closes; and the seconds in which a question has its answer."""
        self._connection = connection
        self._timeout = timeout
        self._waiting: dict[_Question, None] = {}  # in the order in which they came
        self._alone_until = -math.inf  # by the loop's clock
        self._senders: set[asyncio.Task[None]] = set()
        self._failing = ""
        """The code with which it failed last, so that it is logged once and not with every request."""
        self._missed: set[str] = set()
        """Audiences that there were not, each told of once."""

    def __repr__(self) -> str:
        return f"<Asker {self.base}>"

    @property
    def base(self) -> str:
        """The authority's address."""
        return self._connection.origin.base

    async def ask(self, bundle: str, *, audience: str, context: Mapping[str, object], prefix: bool = False) -> Grant:
        """The authority's grant, or `Denied`: ``unavailable`` where there is no answer that can be relied on.

        That the service does not accept our own credential is among the failures: it says nothing about the bundle.
        What is no token by its text is refused without asking.
        """
        token_id = _id_of(bundle)
        values = {_name(name): _sendable(value) for name, value in context.items()}
        try:
            answer = await self._answer_to(
                wire.verify_request(bundle, audience=audience, context=values, prefix=prefix)
            )
            grant = read_grant(answer, audience)
            if grant.id != token_id:
                raise unreadable(answer.status)
        except ServiceError as error:
            if error.code == "audience-unknown":
                self._miss(audience)
                raise Denied("wrong-audience") from None
            self._failed(error)
            raise Denied("unavailable") from None
        except Denied:
            self._answered()
            raise
        self._answered()
        return grant

    async def close(self) -> None:
        """Ask nothing more, and close the connection; what still waits is ``unavailable``."""
        senders = list(self._senders)
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        for question in self._waiting:
            question.settle(_closed())
        await self._connection.close()

    async def _answer_to(self, body: Mapping[str, object]) -> Answer:
        """Ask, at once or with others. Raises `ServiceError`."""
        octets = len(json.dumps(body, separators=(",", ":")))
        if octets > MAX_BODY_OCTETS:
            raise ServiceError(None, "too-large", f"the question is over {MAX_BODY_OCTETS} octets")
        question = _Question(body, octets + 1, asyncio.get_running_loop().create_future())
        self._waiting[question] = None
        self._start_senders(1)
        try:
            async with asyncio.timeout(self._timeout):
                return await question.answer
        except TimeoutError:
            raise self._too_slow() from None
        finally:
            self._waiting.pop(question, None)  # who gives up leaves nothing behind

    @property
    def _alone(self) -> bool:
        """Whether each question is asked alone."""
        return asyncio.get_running_loop().time() < self._alone_until

    def _start_senders(self, count: int) -> None:
        """Start so many more, as far as there may be more."""
        most = ALONE_AT_ONCE if self._alone else AT_ONCE
        for _ in range(min(count, most - len(self._senders))):
            # What one request has in its context is nothing to the others that are asked about with it.
            self._senders.add(asyncio.create_task(self._send(), context=contextvars.Context()))

    async def _send(self) -> None:
        """Send what waits, until nothing does; from that very moment on it is no sender any more."""
        try:
            while questions := self._next():
                try:
                    await self._settle(questions)
                except asyncio.CancelledError:
                    _settle_all(questions, _closed())
                    raise
        finally:
            self._senders -= {asyncio.current_task()}

    def _next(self) -> list[_Question]:
        """As much of what waits as goes into one request."""
        questions: list[_Question] = []
        most, room = 1 if self._alone else TOGETHER, BODY_OCTETS
        for question in self._waiting:
            room -= question.octets
            if room < 0 or len(questions) == most:
                break
            questions.append(question)
        for question in questions:
            del self._waiting[question]
        return questions

    async def _settle(self, questions: Sequence[_Question]) -> None:
        """Ask some questions in one request, and hand over what comes of each."""
        try:
            outcomes = await self._outcomes([question.body for question in questions])
        except ServiceError as error:
            if len(questions) > 1 and error.status in REFUSES_BATCHES:
                self._ask_alone(questions)
            else:
                _settle_all(questions, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no answer
            _settle_all(questions, ServiceError(None, "unavailable", f"asking fails with {type(error).__name__}"))
        else:
            for question, outcome in zip(questions, outcomes, strict=True):
                question.settle(outcome)

    def _ask_alone(self, questions: Sequence[_Question]) -> None:
        """Let them be asked first, each in a request of its own, and those that come in the next while."""
        self._alone_until = asyncio.get_running_loop().time() + ALONE_SECONDS
        again = {question: None for question in questions if not question.answer.done()}
        self._waiting = again | self._waiting
        self._start_senders(len(self._waiting))

    async def _outcomes(self, bodies: Sequence[Mapping[str, object]]) -> list[Answer | ServiceError]:
        """What came of each question, in their order. Raises `ServiceError` where that is the same for all."""
        if len(bodies) == 1:
            return [await self._called(Call("POST", "/v1/verify", bodies[0]))]
        answer = await self._called(Call("POST", "/v1/verify/batch", {"requests": bodies}))
        results = answer.value.get("results") if isinstance(answer.value, dict) else None
        if not isinstance(results, list) or len(results) != len(bodies):
            raise unreadable(answer.status)
        return [_outcome(answer.status, result) for result in results]

    async def _called(self, call: Call) -> Answer:
        """The answer; a decision changes nothing, so one that a lost connection swallowed can be asked for again."""
        try:
            async with asyncio.timeout(self._timeout):  # of all of it: a peer may drip its answer
                for _ in range(ATTEMPTS - 1):
                    try:
                        return await self._connection.call(call)
                    except ServiceError as error:
                        if not error.lost:
                            raise
                return await self._connection.call(call)
        except TimeoutError:
            raise self._too_slow() from None

    def _too_slow(self) -> ServiceError:
        return ServiceError(None, "unavailable", f"{self.base} did not answer in {self._timeout:g} s")

    def _miss(self, audience: str) -> None:
        """Say that there is no such audience: the program's doing, and nothing that is wrong with the authority."""
        if audience not in self._missed and len(self._missed) < MISSED:
            self._missed.add(audience)
            logger.warning("the authority has no audience %s: every token is refused there", audience)

    def _failed(self, error: ServiceError) -> None:
        if self._failing != error.code:
            self._failing = error.code
            logger.warning("the authority cannot be asked (%s): %s", error.code, words_of(error))

    def _answered(self) -> None:
        if self._failing:
            self._failing = ""
            logger.warning("the authority answers again")


def words_of(error: Exception) -> str:
    """What went wrong, for the log: the caveat too, which can only be our own credential's; of a surprise its kind."""
    if not isinstance(error, ServiceError):
        return type(error).__name__
    return str(error) if error.caveat is None else f"{error} ({error.caveat})"


def _settle_all(questions: Sequence[_Question], error: ServiceError) -> None:
    for question in questions:
        question.settle(error)


def _closed() -> ServiceError:
    return ServiceError(None, "unavailable", "the verifier was closed")


def _outcome(status: int, result: object) -> Answer | ServiceError:
    """One result of a batch, as it would be if it had been asked alone."""
    code = result.get("code") if isinstance(result, dict) else None
    if isinstance(code, str) and code in REFUSALS:
        return ServiceError(STATUS[code], code, SENTENCES[code])
    return Answer(status, result)


def _id_of(bundle: str) -> str | None:
    """The id in a token's text, None where it is none of the authority's. Raises `Denied`."""
    try:
        return identifier.parse(split(bundle)[0].identifier).tid
    except TokenError as error:
        raise Denied(error.code) from None
    except ValueError:
        return None


def _name(name: object) -> str:
    """An attribute's name; whatever else somebody has for one is none that is declared."""
    return name if isinstance(name, str) else ILLEGAL


def _sendable(value: object) -> object:
    """A value as JSON can carry it, where it is legal at all; no attribute is of any other type."""
    match value:
        case bool():
            return ILLEGAL
        case int() if abs(value) <= LARGEST_INTEGER:
            return value
        case str() if len(value) <= LONGEST_VALUE and value.isascii():  # as every legal one is
            return value
    return ILLEGAL
