"""The shapes of bodies as JSON Schema 2020-12, for /openapi.json."""

from __future__ import annotations

from typing import Any, Final

from capsvc.http.problems import INTERNAL_ERROR
from capsvc.macaroon.bundle import LIMITS

__all__ = ["SCHEMAS", "ref"]

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A reference to a schema of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _text(description: str, **more: object) -> Schema:
    return {"type": "string", "description": description, **more}


def _or_null(schema: Schema) -> Schema:
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _list(items: Schema, **more: object) -> Schema:
    return {"type": "array", "items": items, **more}


def _map(values: Schema, description: str) -> Schema:
    return {"type": "object", "additionalProperties": values, "description": description}


def _taken(properties: dict[str, Schema], required: tuple[str, ...], **more: object) -> Schema:
    """A request's object: unknown fields are refused."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def _given(properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    """An answer's object: every field is there but the optional ones, and more may come to be."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def _page(plural: str, row: str) -> Schema:
    cursor = _or_null(_text("Give it as `after` for the next page; null on the last."))
    return _given({plural: _list(ref(row)), "next": cursor})


_INSTANT: Final = _text(
    "UTC, whole seconds, years 2000 to 2099.",
    pattern="^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
    examples=["2026-11-22T12:00:00Z"],
)
_WORD: Final = "^[A-Za-z0-9][A-Za-z0-9._:@+~-]{0,127}$"
_AUDIENCE: Final = _text("An audience's name.", pattern=_WORD, examples=["default"])
_SUBJECT: Final = _text("Whom the token speaks for.", pattern=_WORD, examples=["alice"])
_TOKEN_ID: Final = _text("A token's id; tokens narrowed from it have the same.", pattern="^[A-Za-z0-9_-]{22}$")
_BRANCH: Final = _text("A point of a token's chain, as a digest.", pattern="^[A-Za-z0-9_-]{43}$")
_KID: Final = _text("A key's id.", pattern="^[0-9a-f]{16}$")
_TOKEN: Final = _text("A macaroon in V2 base64url, or a bundle root~discharge~….")
_FACT: Final[Schema] = {"type": ["string", "integer"]}
_FACTS: Final = _map(_FACT, "What the issuer states, without sub.")
_CAVEATS: Final = _list(_text("A caveat; octets outside 0x20-0x7E as \\xNN."))
_MAX_TTL: Final[Schema] = {
    "type": "integer",
    "minimum": 1,
    "maximum": 315_360_000,
    "description": "Seconds that a token may live at most.",
}
_LABEL: Final = _text("A note for people, without control characters.", maxLength=200)

_ISSUED: Final[dict[str, Schema]] = {
    "id": _TOKEN_ID,
    "audience": _AUDIENCE,
    "subject": _or_null(_SUBJECT),
    "facts": _FACTS,
    "label": _or_null(_LABEL),
    "issued_at": _INSTANT,
    "expires_at": _INSTANT,
    "caveats": _CAVEATS,
}

_MINT: Final = _taken(
    {
        "audience": _AUDIENCE,
        "ttl": _or_null({"type": "integer", "description": "Seconds to live; this or expires_at."}),
        "expires_at": _or_null(_INSTANT),
        "subject": _or_null(_SUBJECT),
        "facts": _or_null(_FACTS),
        "caveats": _or_null(_list(_text("A caveat, none on a fact.", maxLength=LIMITS["caveat"]))),
        "third_party": _or_null(_list(ref("ThirdParty"))),
        "label": _or_null(_LABEL),
    },
    ("audience",),
)
_THIRD_PARTY: Final = _taken(
    {
        "location": _text("The third party's address."),
        "condition": _text("What it is to check."),
        "declare": _or_null(_list(_text("A name that it must state."), uniqueItems=True)),
    },
    ("location", "condition"),
)
_VERIFY: Final = _taken(
    {
        "token": _TOKEN,
        "audience": _AUDIENCE,
        "context": _or_null(_map({}, "What the request is, typed as caveats are; no null.")),
        "explain": _or_null({"type": "boolean", "description": "Tell every caveat's verdict."}),
        "prefix": _or_null({"type": "boolean", "description": "Tell what a prefix verifier needs."}),
    },
    ("token", "audience"),
)
_VERDICTS: Final = _list(
    _given(
        {
            "caveat": _text("The caveat."),
            "from": {"enum": ["issuer", "holder", "discharge"]},
            "verdict": _text("`satisfied`, or a code."),
        }
    )
)
_ALLOWED: Final = _given(
    {
        "allowed": {"const": True},
        **{name: _ISSUED[name] for name in ("id", "audience", "subject", "issued_at", "expires_at", "facts")},
        "declared": _map(_map({"type": "string"}, "By name."), "What dischargers state, by discharger."),
        "caveats": _CAVEATS,
        "verdicts": _VERDICTS,
        "kid": _KID,
        "branches": _list(_BRANCH),
    },
    ("verdicts", "kid", "branches"),
)
_DENIED: Final = _given(
    {
        "allowed": {"const": False},
        "code": _text("Stable."),
        "message": _text("A sentence for people."),
        "caveat": _or_null(_text("The caveat that is to blame, if one is.")),
        "verdicts": _VERDICTS,
    },
    ("verdicts",),
)
_REVOCATION_REQUEST: Final[Schema] = {
    "oneOf": [
        _taken({"id": _TOKEN_ID}, ("id",)),
        _taken({"key": _KID}, ("key",)),
        _taken({"token": _TOKEN}, ("token",)),
        _taken(
            {"audience": _AUDIENCE, "subject": _SUBJECT, "before": _or_null(_INSTANT)},
            ("audience", "subject"),
        ),
    ]
}
_PROBLEM: Final = _given(
    {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": _text("Stable."),
        "detail": _text("A sentence for people."),
        "caveat": _text("The caveat of the credential that is to blame."),
        "position": {"type": "integer", "description": "The octet of the requested caveat where it goes wrong."},
    },
    ("caveat", "position"),
)
_OAUTH_ERROR: Final = _given(
    {
        "error": {"enum": ["invalid_request", "temporarily_unavailable", "server_error"]},
        "error_description": {"type": "string"},
        "code": _text(f"Ours: bad-request, too-large, media-type, unavailable or {INTERNAL_ERROR}."),
    }
)
_ATTRIBUTE: Final = _given(
    {
        "type": {"enum": ["instant", "clock", "integer", "word", "host", "path", "network", "digest"]},
        "fact": {"type": "boolean"},
        "values": _or_null(_list({"type": "string"})),
    }
)
_ABOUT: Final = _given(
    {
        "issuer": _text("The issuer's URL: the location of the tokens it makes."),
        "public_key": _text("The installation's bakery key, standard base64."),
        "limits": _map({"type": "integer"}, "Octets, or how many."),
        "attributes": _map(ref("Attribute"), "What caveats may speak of."),
        "dischargers": _list({"type": "object"}),
    }
)

SCHEMAS: Final[dict[str, Schema]] = {
    "Mint": _MINT,
    "ThirdParty": _THIRD_PARTY,
    "Minted": _given({"token": _TOKEN, **_ISSUED}),
    "TokenRow": _given(
        {
            **_ISSUED,
            "state": {"enum": ["live", "expired", "revoked"]},
            "minted_by": _or_null(_given({"id": _TOKEN_ID, "branch": _BRANCH})),
        }
    ),
    "TokenRows": _page("tokens", "TokenRow"),
    "Verify": _VERIFY,
    "Allowed": _ALLOWED,
    "Denied": _DENIED,
    "Decision": {"oneOf": [ref("Allowed"), ref("Denied")]},
    "Batch": _taken({"requests": _list(ref("Verify"), minItems=1, maxItems=100)}, ("requests",)),
    "Decisions": _given({"results": _list(ref("Decision"))}),
    "Revoke": {
        "type": "object",
        "properties": {"token": _TOKEN, "token_type_hint": _text("Ignored, as every other field.")},
        "required": ["token"],
    },
    "RevocationRequest": _REVOCATION_REQUEST,
    "Revocation": _given({"kind": {"enum": ["id", "subject", "key", "branch"]}, "audience": _AUDIENCE, "at": _INSTANT}),
    "AudienceRequest": _taken({"name": _AUDIENCE, "max_ttl": _or_null(_MAX_TTL)}, ("name",)),
    "MaxTtl": _taken({"max_ttl": _MAX_TTL}, ("max_ttl",)),
    "Audience": _given({"name": _AUDIENCE, "max_ttl": _MAX_TTL, "created_at": _INSTANT}),
    "Audiences": _page("audiences", "Audience"),
    "Key": _given({"kid": _KID, "state": {"enum": ["active", "retiring", "revoked"]}, "created_at": _INSTANT}),
    "Keys": _page("keys", "Key"),
    "Problem": _PROBLEM,
    "OAuthError": _OAUTH_ERROR,
    "Status": _given({"status": {"const": "ok"}}),
    "Attribute": _ATTRIBUTE,
    "About": _ABOUT,
}
"""Every body, by name."""
