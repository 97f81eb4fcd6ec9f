"""What anybody may ask: is it alive, is it ready, what does it speak, who is it."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.concurrency import run_in_threadpool

from capsvc.authority import Authority
from capsvc.http.answers import JSON, Answer, json_answer
from capsvc.http.incoming import Incoming
from capsvc.http.oauth import metadata
from capsvc.http.openapi import DOCUMENT
from capsvc.http.service import Service
from capsvc.macaroon.bundle import LIMITS

__all__ = ["Meta"]

_OK: Final = {"status": "ok"}
_OPENAPI: Final = Answer(200, msgspec.json.encode(DOCUMENT), (JSON, (b"cache-control", b"no-cache")))


class Meta:
    """The handlers. No credential is looked at, and nothing of the request is read."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def alive(self, _request: Incoming) -> Answer:
        """GET /healthz: the process answers."""
        return json_answer(200, _OK)

    async def ready(self, _request: Incoming) -> Answer:
        """GET /readyz: it can read what decisions need; 503 otherwise."""
        await run_in_threadpool(self._service.authority.ready)
        return json_answer(200, _OK)

    async def openapi(self, _request: Incoming) -> Answer:
        """GET /openapi.json."""
        return _OPENAPI

    async def about(self, _request: Incoming) -> Answer:
        """GET /.well-known/capsvc: what clients need to build caveats and to know a token's issuer."""
        return json_answer(200, await run_in_threadpool(_about, self._service.authority))

    async def oauth(self, _request: Incoming) -> Answer:
        """GET /.well-known/oauth-authorization-server (RFC 8414)."""
        return json_answer(200, metadata(self._service.authority.issuer))


def _about(authority: Authority) -> dict[str, object]:
    return {
        "issuer": authority.issuer,
        "public_key": authority.public_key,
        "limits": dict(LIMITS),
        "attributes": {
            attribute.name: {
                "type": attribute.type.name,
                "fact": attribute.fact,
                "values": None if attribute.values is None else list(attribute.values),
            }
            for attribute in authority.vocabulary
        },
        "dischargers": [
            {"name": known.name, "location": known.location, "public_key": known.public_key}
            for known in authority.dischargers()
        ],
    }
