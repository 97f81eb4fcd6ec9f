"""/v1/dischargers: the registered third parties, whose keys are pinned."""

from __future__ import annotations

from typing import Final

from starlette.concurrency import run_in_threadpool

from capsvc.http import pages
from capsvc.http.answers import NO_STORE, Answer, json_answer
from capsvc.http.credentials import admit_unbounded
from capsvc.http.incoming import Incoming
from capsvc.http.partyshapes import DischargerBody, DischargerKeysBody
from capsvc.http.problems import Problem
from capsvc.http.service import Service
from capsvc.wire import discharger_object

__all__ = ["READ", "WRITE", "Dischargers"]

READ: Final = "dischargers:read"
WRITE: Final = "dischargers:write"


class Dischargers:
    """The handlers. They belong to every audience: a credential that is bounded to some is refused (403)."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list(self, request: Incoming) -> Answer:
        """GET /v1/dischargers."""
        page = pages.read_page("dischargers", await request.nothing(*pages.PARAMETERS))
        authority = self._service.authority
        admit_unbounded(authority, request, READ)
        found = await run_in_threadpool(authority.dischargers)
        rows = pages.after(page, ((known.seq, known) for known in found))
        return json_answer(200, pages.page_of(page, rows, discharger_object))

    async def add(self, request: Incoming) -> Answer:
        """POST /v1/dischargers. It may take a second: a registration counts from a second of its own."""
        body = await request.json(DischargerBody)
        authority = self._service.authority
        credential = admit_unbounded(authority, request, WRITE)
        made = await run_in_threadpool(
            authority.add_discharger,
            name=body.name,
            location=body.location,
            public_key=body.public_key,
            next_public_key=body.next_public_key,
            credential=credential,
        )
        return json_answer(201, discharger_object(made), (b"location", f"/v1/dischargers/{made.name}".encode("ascii")))

    async def show(self, request: Incoming) -> Answer:
        """GET /v1/dischargers/{name}."""
        await request.nothing()
        authority = self._service.authority
        admit_unbounded(authority, request, READ)
        known = await run_in_threadpool(authority.discharger, request.parameters["name"])
        if known is None:
            raise Problem(404, "not-found")
        return json_answer(200, discharger_object(known))

    async def change(self, request: Incoming) -> Answer:
        """PATCH /v1/dischargers/{name}."""
        body = await request.json(DischargerKeysBody)
        authority = self._service.authority
        credential = admit_unbounded(authority, request, WRITE)
        name = request.parameters["name"]
        changes = body.as_changes()
        changed = await run_in_threadpool(authority.set_discharger, name, **changes, credential=credential)
        return json_answer(200, discharger_object(changed))

    async def remove(self, request: Incoming) -> Answer:
        """DELETE /v1/dischargers/{name}: what depends on it is dead when this answers."""
        await request.nothing()
        authority = self._service.authority
        credential = admit_unbounded(authority, request, WRITE)
        await run_in_threadpool(authority.remove_discharger, request.parameters["name"], credential=credential)
        return Answer(204, b"", (NO_STORE,))
