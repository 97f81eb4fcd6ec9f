"""/v1/bakery-keys: the installation's own key pairs, by which dischargers know it."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool

from capsvc.http import pages
from capsvc.http.answers import Answer, json_answer
from capsvc.http.credentials import admit_unbounded
from capsvc.http.dischargers import READ, WRITE
from capsvc.http.incoming import Incoming
from capsvc.http.service import Service
from capsvc.wire import bakery_key_object

__all__ = ["BakeryKeys"]


class BakeryKeys:
    """The handlers. Permissions are those of dischargers, who need to know the keys."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list(self, request: Incoming) -> Answer:
        """GET /v1/bakery-keys."""
        page = pages.read_page("bakery_keys", await request.nothing(*pages.PARAMETERS))
        authority = self._service.authority
        admit_unbounded(authority, request, READ)
        found = await run_in_threadpool(authority.bakery_keys)
        return json_answer(200, pages.page_of(page, pages.by_age(page, found), bakery_key_object))

    async def prepare(self, request: Incoming) -> Answer:
        """POST /v1/bakery-keys: make the next pair, so that dischargers can be told of it before it is used."""
        await request.empty()
        authority = self._service.authority
        credential = admit_unbounded(authority, request, WRITE)
        made = await run_in_threadpool(authority.add_bakery_key, credential=credential)
        return json_answer(201, bakery_key_object(made))

    async def rotate(self, request: Incoming) -> Answer:
        """POST /v1/bakery-keys/rotate: seal with the next pair from now on, or with a fresh one."""
        await request.empty()
        authority = self._service.authority
        credential = admit_unbounded(authority, request, WRITE)
        active = await run_in_threadpool(authority.rotate_bakery_key, credential=credential)
        return json_answer(201, bakery_key_object(active))
