"""/v1/verify and its batch: a decision about a token, answered in the body."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool

from capsvc.authority import Authority, Credential
from capsvc.errors import Denied, RequestError
from capsvc.http import targets
from capsvc.http.answers import Answer, json_answer
from capsvc.http.credentials import admit, covers, permit
from capsvc.http.incoming import Incoming
from capsvc.http.service import Service
from capsvc.http.shapes import BatchBody, VerifyBody, read
from capsvc.macaroon.bundle import MAX_BATCH_BODY_OCTETS
from capsvc.wire import denial_object, grant_object

__all__ = ["Verify"]


class Verify:
    """The handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def one(self, request: Incoming) -> Answer:
        """POST /v1/verify: on the event loop, since a decision takes microseconds."""
        body = await request.json(VerifyBody)
        authority = self._service.authority
        credential = admit(authority, request, "tokens:verify")
        permit(credential, targets.of_audience(body.audience))
        return json_answer(200, _decide(authority, body))

    async def batch(self, request: Incoming) -> Answer:
        """POST /v1/verify/batch: in a thread, parsing included, since half a megabyte of either takes its time."""
        octets = await request.json_octets(MAX_BATCH_BODY_OCTETS)
        return await run_in_threadpool(self._batch, request, octets)

    def _batch(self, request: Incoming, octets: bytes) -> Answer:
        body = read(BatchBody, octets)
        authority = self._service.authority
        credential = admit(authority, request, "tokens:verify")
        return json_answer(200, {"results": [_decide_covered(authority, credential, each) for each in body.requests]})


def _decide(authority: Authority, body: VerifyBody) -> dict[str, object]:
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
    return grant_object(grant, explain=explain, prefix=prefix)


def _decide_covered(authority: Authority, credential: Credential, body: VerifyBody) -> dict[str, object]:
    """One answer of a batch, whose refusals are denials."""
    explain = body.explain is True
    if not covers(credential, targets.of_audience(body.audience)):
        return denial_object(Denied("forbidden"), explain=explain)
    try:
        return _decide(authority, body)
    except RequestError as error:
        return denial_object(Denied(error.code), explain=explain)
