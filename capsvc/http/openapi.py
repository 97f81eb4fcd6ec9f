"""What the service speaks, as OpenAPI 3.1: every route, every status, every code."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from capsvc.http.foreign import FOREIGN_PATHS, FOREIGN_SCHEMAS
from capsvc.http.operations import (
    DECISIONS,
    PAGING,
    Part,
    in_path,
    open_operation,
    operation,
    query,
)
from capsvc.http.schemas import SCHEMAS

__all__ = ["DOCUMENT"]

_MINT_REFUSALS: Final = (
    "audience-unknown",
    "ttl-invalid",
    "ttl-too-long",
    "caveat-malformed",
    "caveat-unknown",
    "fact-conflict",
    "discharger-unknown",
    "too-large",
)


_NAME: Final = in_path("name", "An audience.")
_DISCHARGER: Final = in_path("name", "A registered discharger.")
_NOT_FOUND: Final[Mapping[int, tuple[str, ...]]] = {404: ("not-found",)}
_EXISTS: Final[Mapping[int, tuple[str, ...]]] = {409: ("exists",)}
_BAD_TTL: Final = ("ttl-invalid", "ttl-too-long")
_FILTERS: Final = (
    query("audience", "Of this audience."),
    query("subject", "Of this subject."),
    query("minted_by", "Made by the credential with this id."),
    query("branch", "Made by the credential whose last point is this."),
)

_FEED: Final = (
    query("after", "The `cursor` of the page before; absent, the oldest entry kept; `now`."),
    query(
        "wait",
        "Seconds to wait while there is nothing; over 30 is 30.",
        {"type": "number", "minimum": 0, "default": 0},
    ),
)

_PATHS: Final[dict[str, Part]] = {
    "/v1/verify": {
        "post": operation(
            "Decide", "tokens:verify", {200: "Decision"}, body="Verify", refusals={422: ("audience-unknown",)}
        )
    },
    "/v1/verify/batch": {"post": operation("Decide many", "tokens:verify", {200: "Decisions"}, body="Batch")},
    "/v1/tokens": {
        "get": operation("List tokens", "tokens:read", {200: "TokenRows"}, parameters=(*_FILTERS, *PAGING)),
        "post": operation("Mint", "tokens:mint", {201: "Minted"}, body="Mint", refusals={422: _MINT_REFUSALS}),
    },
    "/v1/tokens/{id}": {
        "get": operation(
            "Show a token",
            "tokens:read",
            {200: "TokenRow"},
            parameters=(in_path("id", "A token's id."),),
            refusals=_NOT_FOUND,
        )
    },
    "/v1/revocations": {
        "get": operation(
            "Follow revocations and changes",
            "revocations:read",
            {200: "FeedPage"},
            parameters=_FEED,
            refusals={410: ("cursor-gone",)},
        ),
        "post": operation(
            "Revoke",
            "tokens:revoke`, by key `keys:write",
            {200: "Revocation", 201: "Revocation"},
            body="RevocationRequest",
            refusals={**_NOT_FOUND, 422: ("invalid-token", "audience-unknown", "caveat-malformed")},
        ),
    },
    "/v1/audiences": {
        "get": operation("List audiences", "keys:read", {200: "Audiences"}, parameters=PAGING),
        "post": operation(
            "Add an audience",
            "keys:write",
            {201: "Audience"},
            body="AudienceRequest",
            refusals={**_EXISTS, 422: _BAD_TTL},
        ),
    },
    "/v1/audiences/{name}": {
        "get": operation("Show an audience", "keys:read", {200: "Audience"}, parameters=(_NAME,), refusals=_NOT_FOUND),
        "patch": operation(
            "Change an audience",
            "keys:write",
            {200: "Audience"},
            body="MaxTtl",
            parameters=(_NAME,),
            refusals={**_NOT_FOUND, 422: _BAD_TTL},
        ),
    },
    "/v1/audiences/{name}/keys": {
        "get": operation(
            "List an audience's keys",
            "keys:read",
            {200: "Keys"},
            parameters=(_NAME, *PAGING),
            refusals=_NOT_FOUND,
        ),
        "post": operation(
            "Rotate an audience's keys",
            "keys:write",
            {201: "Key"},
            parameters=(_NAME,),
            refusals={**_NOT_FOUND, 415: ("media-type",)},
        ),
    },
    "/v1/audiences/{name}/keys/{kid}": {
        "delete": operation(
            "Revoke a key",
            "keys:write",
            {204: None},
            parameters=(_NAME, in_path("kid", "A key's id.")),
            refusals=_NOT_FOUND,
        )
    },
    "/v1/exchange": {
        "post": operation(
            "Exchange a discharged bundle for a token without third-party caveats",
            "tokens:exchange",
            {201: "Minted"},
            body="Exchange",
            refusals={422: DECISIONS},
        )
    },
    "/v1/dischargers": {
        "get": operation("List dischargers", "dischargers:read", {200: "Dischargers"}, parameters=PAGING),
        "post": operation(
            "Register a discharger",
            "dischargers:write",
            {201: "Discharger"},
            body="DischargerRequest",
            refusals=_EXISTS,
        ),
    },
    "/v1/dischargers/{name}": {
        "get": operation(
            "Show a discharger",
            "dischargers:read",
            {200: "Discharger"},
            parameters=(_DISCHARGER,),
            refusals=_NOT_FOUND,
        ),
        "patch": operation(
            "Change a discharger's keys",
            "dischargers:write",
            {200: "Discharger"},
            body="DischargerKeys",
            parameters=(_DISCHARGER,),
            refusals={**_NOT_FOUND, **_EXISTS},
        ),
        "delete": operation(
            "Remove a discharger",
            "dischargers:write",
            {204: None},
            parameters=(_DISCHARGER,),
            refusals=_NOT_FOUND,
        ),
    },
    "/v1/bakery-keys": {
        "get": operation(
            "List the installation's bakery keys", "dischargers:read", {200: "BakeryKeys"}, parameters=PAGING
        ),
        "post": operation(
            "Make the next bakery key",
            "dischargers:write",
            {201: "BakeryKey"},
            refusals={**_EXISTS, 415: ("media-type",)},
        ),
    },
    "/v1/bakery-keys/rotate": {
        "post": operation(
            "Seal with the next bakery key from now on",
            "dischargers:write",
            {201: "BakeryKey"},
            refusals={415: ("media-type",)},
        ),
    },
    "/healthz": {"get": open_operation("Alive", "Status")},
    "/readyz": {"get": open_operation("Ready", "Status", unavailable=True)},
    "/openapi.json": {"get": open_operation("This document", None)},
    "/.well-known/capsvc": {"get": open_operation("About this authority", "About")},
}


def _version() -> str:
    try:
        return version("capsvc")
    except PackageNotFoundError:  # run from a checkout
        return "0"


DOCUMENT: Final[Part] = {
    "openapi": "3.1.1",
    "info": {
        "title": "capsvc",
        "version": _version(),
        "summary": "A token authority: macaroons that holders narrow, that always expire, and that can be revoked.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    },
    "servers": [{"url": "/"}],
    "paths": {**_PATHS, **FOREIGN_PATHS},
    "components": {
        "schemas": {**SCHEMAS, **FOREIGN_SCHEMAS},
        "securitySchemes": {
            "credential": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "macaroon",
                "description": "A token of the audience capsvc, or a bundle. Narrow it by attenuation.",
            },
            "password": {"type": "http", "scheme": "basic", "description": "The same as the password of any user."},
        },
    },
}
"""The document; JSON."""
