"""What the service speaks, as OpenAPI 3.1: every route, every status, every code."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from capsvc.errors import STATUS
from capsvc.http.problems import INTERNAL_ERROR
from capsvc.http.schemas import SCHEMAS, ref

__all__ = ["DOCUMENT"]

Part = dict[str, Any]

_UNAUTHENTICATED: Final = (
    "credential-missing",
    *(code for code, status in STATUS.items() if status == 401 and code != "credential-missing"),
)
_FORBIDDEN: Final = tuple(code for code, status in STATUS.items() if status == 403)
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
_MEANING: Final[Mapping[int, str]] = {
    400: "Not of the expected shape.",
    401: "No credential, or one that is not good.",
    403: "The credential does not allow this.",
    404: "No such thing, or none that the credential covers.",
    405: "Another method than this address has; see Allow.",
    409: "The name is taken.",
    413: "The body is too large.",
    415: "Another media type than the expected one.",
    422: "Well formed, not acceptable.",
    500: "A fault of the service.",
    503: "Storage cannot be read or written; see Retry-After.",
}
_HEADERS: Final[Mapping[int, Part]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "RFC 6750."}},
    403: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "RFC 6750."}},
    405: {"Allow": {"schema": {"type": "string"}}},
    503: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
}


def _problem(status: int, codes: tuple[str, ...]) -> Part:
    schema = {"allOf": [ref("Problem"), {"properties": {"code": {"enum": list(codes)}}}]}
    return _response(_MEANING[status], schema, "application/problem+json", _HEADERS.get(status))


def _response(
    description: str, schema: Part | None, media_type: str = "application/json", headers: Part | None = None
) -> Part:
    response: Part = {"description": description}
    if headers:
        response["headers"] = headers
    if schema is not None:
        response["content"] = {media_type: {"schema": schema}}
    return response


def _body(name: str, media_type: str = "application/json") -> Part:
    return {"required": True, "content": {media_type: {"schema": ref(name)}}}


def _query(name: str, description: str, schema: Part | None = None) -> Part:
    return {"name": name, "in": "query", "description": description, "schema": schema or {"type": "string"}}


def _in_path(name: str, description: str) -> Part:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


_PAGING: Final = (
    _query("after", "The `next` of the page before."),
    _query("limit", "Rows at most.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
)


def _operation(  # one row of a table
    summary: str,
    action: str,
    answers: Mapping[int, str | None],
    *,
    body: str | None = None,
    parameters: tuple[Part, ...] = (),
    refusals: Mapping[int, tuple[str, ...]] | None = None,
) -> Part:
    """An operation of the service's own API, which takes a credential with that permission."""
    codes: dict[int, tuple[str, ...]] = {
        400: ("bad-request",),
        401: _UNAUTHENTICATED,
        403: _FORBIDDEN,
        405: ("method-not-allowed",),
        413: ("too-large",),
        **({415: ("media-type",)} if body else {}),
        **(refusals or {}),
        500: (INTERNAL_ERROR,),
        503: ("unavailable",),
    }
    responses = {str(status): _response("Done.", ref(name) if name else None) for status, name in answers.items()}
    responses.update({str(status): _problem(status, codes[status]) for status in sorted(codes)})
    operation: Part = {
        "summary": summary,
        "description": f"Permission: `{action}`.",
        "operationId": _operation_id(summary),
        "security": [{"credential": []}],
        "responses": responses,
    }
    if parameters:
        operation["parameters"] = list(parameters)
    if body:
        operation["requestBody"] = _body(body)
    return operation


def _open(summary: str, answer: str | None, *, unavailable: bool = False) -> Part:
    """An operation that anybody may ask for."""
    responses = {
        "200": _response("Done.", ref(answer) if answer else {"type": "object"}),
        "405": _problem(405, ("method-not-allowed",)),
    }
    if unavailable:
        responses["503"] = _problem(503, ("unavailable",))
    return {"summary": summary, "operationId": _operation_id(summary), "security": [], "responses": responses}


def _operation_id(summary: str) -> str:
    return "-".join(summary.lower().replace("'", "").split())


def _revoke() -> Part:
    """RFC 7009, with RFC 6749's errors."""
    refused = {
        str(status): _response(_MEANING[status], ref("OAuthError"), headers=_HEADERS.get(status))
        for status in (400, 413, 415, 500, 503)
    }
    return {
        "summary": "Revoke a token that one holds",
        "description": "RFC 7009: this token and all made from it. The answer is the same whatever the token is.",
        "operationId": "revoke-a-token-that-one-holds",
        "security": [],
        "requestBody": _body("Revoke", "application/x-www-form-urlencoded"),
        "responses": {
            "200": _response("Done, or nothing to do.", None),
            **refused,
            "405": _problem(405, ("method-not-allowed",)),
        },
    }


_NAME: Final = _in_path("name", "An audience.")
_NOT_FOUND: Final[Mapping[int, tuple[str, ...]]] = {404: ("not-found",)}
_BAD_TTL: Final = ("ttl-invalid", "ttl-too-long")
_FILTERS: Final = (
    _query("audience", "Of this audience."),
    _query("subject", "Of this subject."),
    _query("minted_by", "Made by the credential with this id."),
    _query("branch", "Made by the credential whose last point is this."),
)

_PATHS: Final[dict[str, Part]] = {
    "/v1/verify": {
        "post": _operation(
            "Decide", "tokens:verify", {200: "Decision"}, body="Verify", refusals={422: ("audience-unknown",)}
        )
    },
    "/v1/verify/batch": {"post": _operation("Decide many", "tokens:verify", {200: "Decisions"}, body="Batch")},
    "/v1/tokens": {
        "get": _operation("List tokens", "tokens:read", {200: "TokenRows"}, parameters=(*_FILTERS, *_PAGING)),
        "post": _operation("Mint", "tokens:mint", {201: "Minted"}, body="Mint", refusals={422: _MINT_REFUSALS}),
    },
    "/v1/tokens/{id}": {
        "get": _operation(
            "Show a token",
            "tokens:read",
            {200: "TokenRow"},
            parameters=(_in_path("id", "A token's id."),),
            refusals=_NOT_FOUND,
        )
    },
    "/v1/revoke": {"post": _revoke()},
    "/v1/revocations": {
        "post": _operation(
            "Revoke",
            "tokens:revoke`, by key `keys:write",
            {200: "Revocation", 201: "Revocation"},
            body="RevocationRequest",
            refusals={**_NOT_FOUND, 422: ("invalid-token", "audience-unknown", "caveat-malformed")},
        )
    },
    "/v1/audiences": {
        "get": _operation("List audiences", "keys:read", {200: "Audiences"}, parameters=_PAGING),
        "post": _operation(
            "Add an audience",
            "keys:write",
            {201: "Audience"},
            body="AudienceRequest",
            refusals={409: ("exists",), 422: _BAD_TTL},
        ),
    },
    "/v1/audiences/{name}": {
        "get": _operation("Show an audience", "keys:read", {200: "Audience"}, parameters=(_NAME,), refusals=_NOT_FOUND),
        "patch": _operation(
            "Change an audience",
            "keys:write",
            {200: "Audience"},
            body="MaxTtl",
            parameters=(_NAME,),
            refusals={**_NOT_FOUND, 422: _BAD_TTL},
        ),
    },
    "/v1/audiences/{name}/keys": {
        "get": _operation(
            "List an audience's keys",
            "keys:read",
            {200: "Keys"},
            parameters=(_NAME, *_PAGING),
            refusals=_NOT_FOUND,
        ),
        "post": _operation(
            "Rotate an audience's keys",
            "keys:write",
            {201: "Key"},
            parameters=(_NAME,),
            refusals={**_NOT_FOUND, 415: ("media-type",)},
        ),
    },
    "/v1/audiences/{name}/keys/{kid}": {
        "delete": _operation(
            "Revoke a key",
            "keys:write",
            {204: None},
            parameters=(_NAME, _in_path("kid", "A key's id.")),
            refusals=_NOT_FOUND,
        )
    },
    "/healthz": {"get": _open("Alive", "Status")},
    "/readyz": {"get": _open("Ready", "Status", unavailable=True)},
    "/openapi.json": {"get": _open("This document", None)},
    "/.well-known/capsvc": {"get": _open("About this authority", "About")},
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
    "paths": _PATHS,
    "components": {
        "schemas": SCHEMAS,
        "securitySchemes": {
            "credential": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "macaroon",
                "description": "A token of the audience capsvc, or a bundle. Narrow it by attenuation.",
            }
        },
    },
}
"""The document; JSON."""
