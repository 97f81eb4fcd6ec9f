"""/v1/tokens and /v1/exchange: minting, exchanging, and looking at what was made."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Final

from starlette.concurrency import run_in_threadpool

from capsvc.authority import Authority, Credential
from capsvc.errors import Denied
from capsvc.grants import Minted, TokenRow
from capsvc.http import pages, targets
from capsvc.http.answers import Answer, json_answer
from capsvc.http.credentials import admit, covers, permit
from capsvc.http.incoming import Incoming
from capsvc.http.problems import Problem, of_subject
from capsvc.http.service import Service
from capsvc.http.shapes import ExchangeBody, MintBody
from capsvc.macaroon.encoding import b64decode
from capsvc.wire import minted_object, token_row_object

__all__ = ["Tokens"]

OWN_AUDIENCE: Final = "capsvc"
FILTERS: Final = ("audience", "subject", "minted_by", "branch")

_ROWS_AT_ONCE: Final = 1000
_MOST_ROWS: Final = 20_000  # looked at for one page, about half a second


class Tokens:
    """The handlers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def mint(self, request: Incoming) -> Answer:
        """POST /v1/tokens. Mints that are under way together share a commit."""
        body = await request.json(MintBody)
        authority = self._service.authority
        credential = admit(authority, request, "tokens:mint")
        if body.audience == OWN_AUDIENCE:
            raise Problem(403, "forbidden", "Nobody mints for the service itself over HTTP.")
        facts = body.facts or {}
        permit(credential, targets.of_mint(body.audience, body.subject, self._ttl(body), facts))
        future = authority.submit_mint(
            audience=body.audience,
            ttl=body.ttl,
            expires_at=body.expiry,
            subject=body.subject,
            facts=facts,
            caveats=body.caveats or (),
            third_party=[entry.as_mapping() for entry in body.third_party or ()],
            label=body.label,
            credential=credential,
        )
        return _made(await asyncio.wrap_future(future))

    async def exchange(self, request: Incoming) -> Answer:
        """POST /v1/exchange. What the token implies, its audience first, is judged with it."""
        body = await request.json(ExchangeBody)
        authority = self._service.authority
        credential = admit(authority, request, "tokens:exchange")
        try:
            return _made(await run_in_threadpool(authority.exchange, body.token, credential=credential))
        except Denied as denied:
            raise of_subject(denied) from None

    async def list(self, request: Incoming) -> Answer:
        """GET /v1/tokens: the rows that the credential covers, oldest first."""
        query = await request.nothing(*FILTERS, *pages.PARAMETERS)
        page = pages.read_page("tokens", query)
        authority = self._service.authority
        credential = admit(authority, request, "tokens:read")
        rows = _covered_rows(authority, credential, query, page)
        return json_answer(200, await run_in_threadpool(pages.page_of, page, rows, token_row_object))

    async def show(self, request: Incoming) -> Answer:
        """GET /v1/tokens/{id}."""
        await request.nothing()
        authority = self._service.authority
        credential = admit(authority, request, "tokens:read")
        row = await run_in_threadpool(authority.token, request.parameters["id"])
        if row is None or not covers(credential, targets.of_token(row)):
            raise Problem(404, "not-found")
        return json_answer(200, token_row_object(row))

    def _ttl(self, body: MintBody) -> int:
        """How many seconds the token would live, for ``for.ttl``."""
        if body.ttl is not None:
            return body.ttl
        expiry = body.expiry
        return 0 if expiry is None else int(expiry.timestamp()) - self._service.now()


def _made(minted: Minted) -> Answer:
    return json_answer(201, minted_object(minted), (b"location", f"/v1/tokens/{minted.id}".encode("ascii")))


def _covered_rows(
    authority: Authority, credential: Credential, query: Mapping[str, str], page: pages.Page
) -> Iterator[tuple[int, TokenRow | None]]:
    """The rows after the page's position that the credential covers; a bare position when enough was looked at."""
    try:
        branch = None if "branch" not in query else b64decode(query["branch"])
    except ValueError:
        return  # no credential has such a branch
    at_once = min(page.limit + 1, _ROWS_AT_ONCE)
    after: int | None = page.after
    looked_at = 0
    while after is not None:
        if looked_at >= _MOST_ROWS:
            yield after, None
            return
        rows, after = authority.tokens(
            audience=query.get("audience"),
            subject=query.get("subject"),
            minted_by=query.get("minted_by"),
            branch=branch,
            after=after,
            limit=at_once,
        )
        yield from ((row.seq, row) for row in rows if covers(credential, targets.of_token(row)))
        looked_at += len(rows)
        at_once = _ROWS_AT_ONCE
