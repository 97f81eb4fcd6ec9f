"""Operations whose form is somebody else's, as OpenAPI writes them: OAuth's RFCs, and gateways."""

from __future__ import annotations

from typing import Final

from capsvc.errors import STATUS
from capsvc.http.forwardauth import METHODS
from capsvc.http.operations import (
    DECISIONS,
    HEADERS,
    MEANING,
    Part,
    open_operation,
    problem,
    required_body,
    response,
)
from capsvc.http.problems import INTERNAL_ERROR
from capsvc.http.schematypes import Schema, given, list_of, ref, text

__all__ = ["FOREIGN_PATHS", "FOREIGN_SCHEMAS"]

_FORM: Final = "application/x-www-form-urlencoded"
_URL: Final = text("An address.", format="uri")

FOREIGN_SCHEMAS: Final[dict[str, Schema]] = {
    "Revoke": {
        "type": "object",
        "properties": {
            "token": text("A macaroon in V2 base64url, or a bundle root~discharge~…."),
            "token_type_hint": text("Ignored, as every other field."),
        },
        "required": ["token"],
    },
    "Introspect": {
        "type": "object",
        "properties": {
            "token": text("A macaroon in V2 base64url, or a bundle root~discharge~…."),
            "audience": text("Without it, the one that the credential is bounded to, else `default`."),
            "token_type_hint": text("Ignored."),
        },
        "required": ["token"],
        "additionalProperties": text(
            "`context.NAME` is the request's value for an attribute; an integer as its digits. Others are ignored."
        ),
    },
    "Introspection": {"oneOf": [ref("Active"), ref("Inactive")]},
    "Active": given(
        {
            "active": {"const": True},
            "iss": text("The issuer's URL."),
            "aud": text("The audience."),
            "jti": text("The token's id."),
            "iat": {"type": "integer", "description": "Unix seconds."},
            "exp": {"type": "integer", "description": "Unix seconds: the earliest of every bound."},
            "token_type": {"const": "Bearer"},
            "sub": text("Whom the token speaks for."),
            "scope": text("The actions that its caveats leave, separated by spaces; absent: all."),
            "client_id": text("The fact `client`."),
        },
        ("sub", "scope", "client_id"),
    ),
    "Inactive": given({"active": {"const": False}}),
    "OAuthMetadata": given(
        {
            "issuer": text("The issuer's URL."),
            "introspection_endpoint": _URL,
            "introspection_endpoint_auth_methods_supported": list_of({"type": "string"}),
            "revocation_endpoint": _URL,
            "revocation_endpoint_auth_methods_supported": list_of({"type": "string"}),
            "response_types_supported": list_of({"type": "string"}, maxItems=0),
            "grant_types_supported": list_of({"type": "string"}, maxItems=0),
        }
    ),
    "OAuthError": given(
        {
            "error": {
                "enum": [
                    "invalid_request",
                    "invalid_client",
                    "unauthorized_client",
                    "temporarily_unavailable",
                ]
            },
            "error_description": {"type": "string"},
            "code": text("Ours, as in problems."),
        }
    ),
}


def _oauth(summary: str, description: str, *, body: str, answer: Part, statuses: tuple[int, ...]) -> Part:
    """An operation of OAuth's, with RFC 6749's errors."""
    refused = {
        str(status): response(MEANING[status], ref("OAuthError"), headers=HEADERS.get(status)) for status in statuses
    }
    return {
        "summary": summary,
        "description": description,
        "operationId": "-".join(summary.lower().split()),
        "security": [],
        "requestBody": required_body(body, _FORM),
        "responses": {
            "200": answer,
            **refused,
            "405": problem(405, ("method-not-allowed",)),
            "500": problem(500, (INTERNAL_ERROR,)),
        },
    }


_INTROSPECT: Final[Part] = {
    **_oauth(
        "Introspect a token",
        "RFC 7662. Permission: `tokens:verify`. A token that the credential does not cover is not active.",
        body="Introspect",
        answer=response("What the token is good for.", ref("Introspection")),
        statuses=(400, 401, 403, 413, 415, 503),
    ),
    "security": [{"credential": []}, {"password": []}],
}


def _told(name: str, what: str) -> Part:
    """A header that a gateway sets."""
    return {"name": name, "in": "header", "required": True, "description": what, "schema": {"type": "string"}}


_TOLD: Final = [
    _told("X-Forwarded-Method", "The request's method."),
    _told("X-Forwarded-Uri", "Its target as it was sent; the query does not count."),
    _told("X-Forwarded-Host", "Its authority."),
    _told("X-Forwarded-For", "Addresses; the client's is the rightmost that is not a trusted proxy's."),
]
_SAID: Final[Part] = {
    "X-Capsvc-Subject": {"schema": {"type": "string"}, "description": "Whom the token speaks for, or empty."},
    "X-Capsvc-Token-Id": {"schema": {"type": "string"}, "description": "The token's id."},
}


def _forward_auth(method: str) -> Part:
    """One of the methods, which are all the same."""
    codes = {
        status: tuple(code for code in (*DECISIONS, "credential-missing", "forbidden") if STATUS[code] == status)
        for status in (401, 403)
    }
    return {
        "summary": "Decide about a request at a gateway",
        "description": "From trusted proxies alone; each header exactly once. The body is not read.",
        "operationId": f"decide-about-a-request-at-a-gateway-{method.lower()}",
        "security": [{"credential": []}],
        "parameters": _TOLD,
        "responses": {
            "200": response("The token allows the request.", None, headers=_SAID),
            **{str(status): problem(status, codes[status]) for status in codes},
            "503": problem(503, ("unavailable",)),
        },
    }


FOREIGN_PATHS: Final[dict[str, Part]] = {
    "/v1/introspect": {"post": _INTROSPECT},
    "/v1/revoke": {
        "post": _oauth(
            "Revoke a token that one holds",
            "RFC 7009: this token and all made from it. The answer is the same whatever the token is.",
            body="Revoke",
            answer=response("Done, or nothing to do.", None),
            statuses=(400, 413, 415, 503),
        )
    },
    "/v1/forward-auth": {method.lower(): _forward_auth(method) for method in METHODS},
    "/.well-known/oauth-authorization-server": {"get": open_operation("OAuth metadata", "OAuthMetadata")},
}
"""Paths and their operations."""
