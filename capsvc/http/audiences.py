"""/v1/audiences and their keys."""

from __future__ import annotations

from typing import Final

from starlette.concurrency import run_in_threadpool

from capsvc.authority import Authority, Credential
from capsvc.grants import Audience
from capsvc.http import pages, targets
from capsvc.http.answers import NO_STORE, Answer, json_answer
from capsvc.http.credentials import admit, covers, permit
from capsvc.http.incoming import Incoming
from capsvc.http.problems import Problem
from capsvc.http.service import Service
from capsvc.http.shapes import AudienceBody, MaxTtlBody
from capsvc.wire import audience_object, key_object

__all__ = ["Audiences"]

READ: Final = "keys:read"
WRITE: Final = "keys:write"


class Audiences:
    """The handlers. Where a path names an audience, a credential that does not cover it learns nothing more (403)."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list(self, request: Incoming) -> Answer:
        """GET /v1/audiences."""
        page = pages.read_page("audiences", await request.nothing(*pages.PARAMETERS))
        authority = self._service.authority
        credential = admit(authority, request, READ)
        found = await run_in_threadpool(authority.audiences)
        rows = ((n, row) for n, row in pages.after(page, enumerate(found, 1)) if _covered(credential, row.name))
        return json_answer(200, pages.page_of(page, rows, audience_object))

    async def add(self, request: Incoming) -> Answer:
        """POST /v1/audiences."""
        body = await request.json(AudienceBody)
        authority = self._service.authority
        credential = admit(authority, request, WRITE)
        permit(credential, targets.of_audience(body.name))
        if await run_in_threadpool(authority.audience, body.name) is not None:
            raise Problem(409, "exists")  # before anything is said about max_ttl
        made = await run_in_threadpool(authority.add_audience, body.name, body.max_ttl, credential=credential)
        return json_answer(201, audience_object(made), (b"location", f"/v1/audiences/{made.name}".encode("ascii")))

    async def show(self, request: Incoming) -> Answer:
        """GET /v1/audiences/{name}."""
        await request.nothing()
        authority, _, name = self._admit(request, READ)
        return json_answer(200, audience_object(await run_in_threadpool(_existing, authority, name)))

    async def change(self, request: Incoming) -> Answer:
        """PATCH /v1/audiences/{name}."""
        body = await request.json(MaxTtlBody)
        authority, credential, name = self._admit(request, WRITE)
        await run_in_threadpool(_existing, authority, name)
        changed = await run_in_threadpool(authority.set_max_ttl, name, body.max_ttl, credential=credential)
        return json_answer(200, audience_object(changed))

    async def list_keys(self, request: Incoming) -> Answer:
        """GET /v1/audiences/{name}/keys."""
        page = pages.read_page("keys", await request.nothing(*pages.PARAMETERS))
        authority, _, name = self._admit(request, READ)
        await run_in_threadpool(_existing, authority, name)
        found = await run_in_threadpool(authority.keys, name)
        return json_answer(200, pages.page_of(page, pages.by_age(page, found), key_object))

    async def rotate(self, request: Incoming) -> Answer:
        """POST /v1/audiences/{name}/keys."""
        await request.empty()
        authority, credential, name = self._admit(request, WRITE)
        await run_in_threadpool(_existing, authority, name)
        made = await run_in_threadpool(authority.rotate_key, name, credential=credential)
        return json_answer(201, key_object(made))

    async def revoke_key(self, request: Incoming) -> Answer:
        """DELETE /v1/audiences/{name}/keys/{kid}: the same act as revoking by ``key``."""
        await request.nothing()
        authority, credential, name = self._admit(request, WRITE)
        key = await run_in_threadpool(authority.key, request.parameters["kid"])
        if key is None or key.audience != name:
            raise Problem(404, "not-found")
        await run_in_threadpool(authority.revoke, key=key.kid, credential=credential)
        return Answer(204, b"", (NO_STORE,))

    def _admit(self, request: Incoming, action: str) -> tuple[Authority, Credential, str]:
        """Admit a request whose path names an audience, which need not exist. Raises `Problem` 401 or 403."""
        authority = self._service.authority
        name = request.parameters["name"]
        credential = admit(authority, request, action)
        permit(credential, targets.of_audience(name))
        return authority, credential, name


def _existing(authority: Authority, name: str) -> Audience:
    audience = authority.audience(name)
    if audience is None:
        raise Problem(404, "not-found")
    return audience


def _covered(credential: Credential, name: str) -> bool:
    return covers(credential, targets.of_audience(name))
