"""/v1/verify and its batch: a decision about a token, answered in the body."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.concurrency import run_in_threadpool

from capsvc.authority import Authority, Credential
from capsvc.errors import Denied, RequestError
from capsvc.grants import Grant
from capsvc.http import targets
from capsvc.http.answers import Answer, json_answer
from capsvc.http.credentials import admit, covers, permit
from capsvc.http.incoming import Incoming
from capsvc.http.service import Service
from capsvc.http.shape import read
from capsvc.http.shapes import BatchBody, VerifyBody, read_verify
from capsvc.macaroon.bundle import MAX_BATCH_BODY_OCTETS
from capsvc.wire import denial_object, grant_object

__all__ = ["Verify"]


class Verify:
    """The handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._rendered = _Rendered()

    async def one(self, request: Incoming) -> Answer:
        """POST /v1/verify: on the event loop, since a decision takes microseconds."""
        body = read_verify(await request.json_octets())
        authority = self._service.authority
        credential = admit(authority, request, "tokens:verify")
        permit(credential, targets.of_audience(body.audience))
        return json_answer(200, self._decide(authority, body))

    async def batch(self, request: Incoming) -> Answer:
        """POST /v1/verify/batch: in a thread, parsing included, since half a megabyte of either takes its time."""
        octets = await request.json_octets(MAX_BATCH_BODY_OCTETS)
        return await run_in_threadpool(self._batch, request, octets)

    def _batch(self, request: Incoming, octets: bytes) -> Answer:
        body = read(BatchBody, octets)
        authority = self._service.authority
        credential = admit(authority, request, "tokens:verify")
        return json_answer(
            200, {"results": [self._decide_covered(authority, credential, each) for each in body.requests]}
        )

    def _decide(self, authority: Authority, body: VerifyBody) -> object:
        """Verify's answer. Raises ``RequestError`` (``audience-unknown``)."""
        explain, prefix = body.explain is True, body.prefix is True
        try:
            grant = authority.authorize(
                body.token, audience=body.audience, context=body.context, explain=explain, prefix=prefix
            )
        except Denied as denied:
            # Asked only now: where a token is allowed, its audience exists.
            if authority.audience(body.audience) is None:
                raise RequestError("audience-unknown") from None
            return denial_object(denied, explain=explain)
        if explain or prefix:
            return grant_object(grant, explain=explain, prefix=prefix)
        return self._rendered.grant(grant)

    def _decide_covered(self, authority: Authority, credential: Credential, body: VerifyBody) -> object:
        """One answer of a batch, whose refusals are denials."""
        explain = body.explain is True
        if not covers(credential, targets.of_audience(body.audience)):
            return denial_object(Denied("forbidden"), explain=explain)
        try:
            return self._decide(authority, body)
        except RequestError as error:
            return denial_object(Denied(error.code), explain=explain)


class _Rendered:
    """Grants as JSON, each written once: for a token that it remembers, the authority gives the same value again.

    A grant is found by being that very object, which is kept, so that nothing else can take its place.
    """

    CAPACITY: Final = 1024

    def __init__(self) -> None:
        self._known: dict[int, tuple[Grant, msgspec.Raw]] = {}

    def grant(self, grant: Grant) -> msgspec.Raw:
        found = self._known.get(id(grant))
        if found is not None and found[0] is grant:
            return found[1]
        rendered = msgspec.Raw(msgspec.json.encode(grant_object(grant)))
        if len(self._known) >= self.CAPACITY:
            self._known.clear()
        self._known[id(grant)] = (grant, rendered)
        return rendered
