"""/v1/revocations, by whoever may, and /v1/revoke (RFC 7009), by whoever holds the token."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool

from capsvc.authority import Authority, Credential
from capsvc.grants import Revocation
from capsvc.http import targets
from capsvc.http.answers import NO_STORE, Answer, json_answer
from capsvc.http.credentials import admit, covers, permit
from capsvc.http.incoming import Incoming
from capsvc.http.oauth import FORM, read_pairs
from capsvc.http.problems import Problem
from capsvc.http.service import Service
from capsvc.http.shapes import RevocationBody
from capsvc.wire import revocation_object

__all__ = ["Revocations"]


class Revocations:
    """The handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def revoke(self, request: Incoming) -> Answer:
        """POST /v1/revocations."""
        body = await request.json(RevocationBody)
        self._check_watermark(body)
        authority = self._service.authority
        credential = admit(authority, request, "tokens:revoke" if body.key is None else "keys:write")
        revocation = await run_in_threadpool(_revoke, authority, credential, body)
        return json_answer(200 if revocation.repeated else 201, revocation_object(revocation))

    async def revoke_presented(self, request: Incoming) -> Answer:
        """POST /v1/revoke: the same answer whatever the token is."""
        body = await request.body()
        request.require_media_type(FORM)
        token = _only_token(body, request.raw_query())
        await run_in_threadpool(self._service.authority.revoke_presented, token)
        return Answer(200, b"", (NO_STORE,))

    def _check_watermark(self, body: RevocationBody) -> None:
        watermark = body.watermark
        if watermark is not None and watermark.timestamp() > self._service.now():
            raise Problem(400, "bad-request", "before is not in the future.")


def _revoke(authority: Authority, credential: Credential, body: RevocationBody) -> Revocation:
    if body.token is not None:
        target = authority.target_of(body.token)
        if not covers(credential, targets.of_token(target)):
            raise Problem(422, "invalid-token")
        return authority.revoke(token=body.token, credential=credential)
    if body.id is not None:
        row = authority.token(body.id)
        if row is None or not covers(credential, targets.of_token(row)):
            raise Problem(404, "not-found")
        return authority.revoke(id=body.id, credential=credential)
    if body.key is not None:
        key = authority.key(body.key)
        if key is None or not covers(credential, targets.of_audience(key.audience)):
            raise Problem(404, "not-found")
        return authority.revoke(key=body.key, credential=credential)
    return _revoke_subject(authority, credential, body)


def _revoke_subject(authority: Authority, credential: Credential, body: RevocationBody) -> Revocation:
    audience, subject = body.audience or "", body.subject or ""
    permit(credential, targets.of_subject(audience, subject))
    return authority.revoke(audience=audience, subject=subject, before=body.watermark, credential=credential)


def _only_token(body: bytes, query: bytes) -> str:
    """The one ``token`` of the form; other fields are ignored (RFC 7009, section 2.1). Raises `Problem` 400."""
    in_address = [value for name, value in read_pairs(query) if name == "token"]
    given = [value for name, value in read_pairs(body) if name == "token"]
    if len(given) != 1 or not given[0] or in_address:
        raise Problem(400, "bad-request", "The field token has to be in the form exactly once, and not in the address.")
    return given[0]
