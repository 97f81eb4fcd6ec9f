"""The shapes of bodies as JSON Schema 2020-12, for /openapi.json."""

from __future__ import annotations

from typing import Final

from capsvc.http.schematypes import Schema, given, list_of, map_of, or_null, page_of, ref, taken, text
from capsvc.macaroon.bundle import LIMITS
from capsvc.macaroon.location import LOCATION_OCTETS

__all__ = ["SCHEMAS"]

_INSTANT: Final = text(
    "UTC, whole seconds, years 2000 to 2099.",
    pattern="^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
    examples=["2026-11-22T12:00:00Z"],
)
_WORD: Final = "^[A-Za-z0-9][A-Za-z0-9._:@+~-]{0,127}$"
_AUDIENCE: Final = text("An audience's name.", pattern=_WORD, examples=["default"])
_SUBJECT: Final = text("Whom the token speaks for.", pattern=_WORD, examples=["alice"])
_TOKEN_ID: Final = text("A token's id; tokens narrowed from it have the same.", pattern="^[A-Za-z0-9_-]{22}$")
_BRANCH: Final = text("A point of a token's chain, as a digest.", pattern="^[A-Za-z0-9_-]{43}$")
_KID: Final = text("A key's id.", pattern="^[0-9a-f]{16}$")
_TOKEN: Final = text("A macaroon in V2 base64url, or a bundle root~discharge~….")
_FACT: Final[Schema] = {"type": ["string", "integer"]}
_FACTS: Final = map_of(_FACT, "What the issuer states, without sub.")
_CAVEATS: Final = list_of(text("A caveat; octets outside 0x20-0x7E as \\xNN."))
_MAX_TTL: Final[Schema] = {
    "type": "integer",
    "minimum": 1,
    "maximum": 315_360_000,
    "description": "Seconds that a token may live at most.",
}
_LABEL: Final = text("A note for people, without control characters.", maxLength=200)

_ISSUED: Final[dict[str, Schema]] = {
    "id": _TOKEN_ID,
    "audience": _AUDIENCE,
    "subject": or_null(_SUBJECT),
    "facts": _FACTS,
    "label": or_null(_LABEL),
    "issued_at": _INSTANT,
    "expires_at": _INSTANT,
    "caveats": _CAVEATS,
}

_MINT: Final = taken(
    {
        "audience": _AUDIENCE,
        "ttl": or_null({"type": "integer", "description": "Seconds to live; this or expires_at."}),
        "expires_at": or_null(_INSTANT),
        "subject": or_null(_SUBJECT),
        "facts": or_null(_FACTS),
        "caveats": or_null(list_of(text("A caveat, none on a fact.", maxLength=LIMITS["caveat"]))),
        "third_party": or_null(list_of(ref("ThirdParty"))),
        "label": or_null(_LABEL),
    },
    ("audience",),
)
_THIRD_PARTY: Final = taken(
    {
        "location": text("The third party's address."),
        "condition": text("What it is to check."),
        "declare": or_null(list_of(text("A name that it must state."), uniqueItems=True)),
    },
    ("location", "condition"),
)
_VERIFY: Final = taken(
    {
        "token": _TOKEN,
        "audience": _AUDIENCE,
        "context": or_null(map_of({}, "What the request is, typed as caveats are; no null.")),
        "explain": or_null({"type": "boolean", "description": "Tell every caveat's verdict."}),
        "prefix": or_null({"type": "boolean", "description": "Tell what a prefix verifier needs."}),
    },
    ("token", "audience"),
)
_VERDICTS: Final = list_of(
    given(
        {
            "caveat": text("The caveat."),
            "from": {"enum": ["issuer", "holder", "discharge"]},
            "verdict": text("`satisfied`, or a code."),
        }
    )
)
_ALLOWED: Final = given(
    {
        "allowed": {"const": True},
        **{name: _ISSUED[name] for name in ("id", "audience", "subject", "issued_at", "expires_at", "facts")},
        "declared": map_of(map_of({"type": "string"}, "By name."), "What dischargers state, by discharger."),
        "caveats": _CAVEATS,
        "verdicts": _VERDICTS,
        "kid": _KID,
        "branches": list_of(_BRANCH),
    },
    ("verdicts", "kid", "branches"),
)
_DENIED: Final = given(
    {
        "allowed": {"const": False},
        "code": text("Stable."),
        "message": text("A sentence for people."),
        "caveat": or_null(text("The caveat that is to blame, if one is.")),
        "verdicts": _VERDICTS,
    },
    ("verdicts",),
)
_REVOCATION_REQUEST: Final[Schema] = {
    "oneOf": [
        taken({"id": _TOKEN_ID}, ("id",)),
        taken({"key": _KID}, ("key",)),
        taken({"token": _TOKEN}, ("token",)),
        taken(
            {"audience": _AUDIENCE, "subject": _SUBJECT, "before": or_null(_INSTANT)},
            ("audience", "subject"),
        ),
    ]
}
_PROBLEM: Final = given(
    {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": text("Stable."),
        "detail": text("A sentence for people."),
        "caveat": text("The caveat of the credential that is to blame."),
        "position": {"type": "integer", "description": "The octet of the requested caveat where it goes wrong."},
    },
    ("caveat", "position"),
)
_ATTRIBUTE: Final = given(
    {
        "type": {"enum": ["instant", "clock", "integer", "word", "host", "path", "network", "digest"]},
        "fact": {"type": "boolean"},
        "values": or_null(list_of({"type": "string"})),
    }
)
_DISCHARGER_NAME: Final = text("A discharger's name.", pattern=_WORD, examples=["login"])
_LOCATION: Final = text(
    "Where it is: an http or https URL of host, port and path; a trailing slash does not count.",
    maxLength=LOCATION_OCTETS,
    examples=["https://login.example.org"],
)
_PUBLIC_KEY: Final = text("A Curve25519 public key, 32 octets in standard base64.", pattern="^[A-Za-z0-9+/]{43}=$")
_DISCHARGER_FIELDS: Final[dict[str, Schema]] = {
    "name": _DISCHARGER_NAME,
    "location": _LOCATION,
    "public_key": _PUBLIC_KEY,
    "next_public_key": or_null(_PUBLIC_KEY),
}
_DISCHARGER_KEYS: Final = taken(
    {"public_key": _PUBLIC_KEY, "next_public_key": or_null(_PUBLIC_KEY)},
    (),
    minProperties=1,
    description="An absent key stays as it is; null takes the next key away.",
)
_BAKERY_KEY: Final = given(
    {"public_key": _PUBLIC_KEY, "state": {"enum": ["next", "active", "retiring"]}, "created_at": _INSTANT}
)
_ABOUT: Final = given(
    {
        "issuer": text("The issuer's URL: the location of the tokens it makes."),
        "public_key": _PUBLIC_KEY,
        "limits": map_of({"type": "integer"}, "Octets, or how many."),
        "attributes": map_of(ref("Attribute"), "What caveats may speak of."),
        "dischargers": list_of(ref("KnownDischarger")),
    }
)
_FEED_ENTRY: Final = given(
    {
        "kind": {"enum": ["id", "branch", "subject", "key", "audience", "attribute", "discharger"]},
        "audience": or_null(_AUDIENCE),
        "at": _INSTANT,
        "id": _TOKEN_ID,
        "branch": _BRANCH,
        "subject": _SUBJECT,
        "before": _INSTANT,
        "kid": _KID,
        "state": text(
            "Of a key or a discharger.", enum=["active", "retiring", "revoked", "added", "changed", "removed"]
        ),
        "name": text("Of an audience, an attribute or a discharger."),
        "max_ttl": _MAX_TTL,
    },
    ("id", "branch", "subject", "before", "kid", "state", "name", "max_ttl"),
)
_FEED_PAGE: Final = given(
    {
        "epoch": text("Another once the database was restored: forget what was told before."),
        "cursor": text("Give it as `after` for what comes next."),
        "entries": list_of(ref("FeedEntry")),
        "more": {"type": "boolean", "description": "Whether there is more already."},
    }
)

SCHEMAS: Final[dict[str, Schema]] = {
    "Mint": _MINT,
    "ThirdParty": _THIRD_PARTY,
    "Minted": given({"token": _TOKEN, **_ISSUED}),
    "TokenRow": given(
        {
            **_ISSUED,
            "state": {"enum": ["live", "expired", "revoked"]},
            "minted_by": or_null(given({"id": _TOKEN_ID, "branch": _BRANCH})),
        }
    ),
    "TokenRows": page_of("tokens", "TokenRow"),
    "Verify": _VERIFY,
    "Allowed": _ALLOWED,
    "Denied": _DENIED,
    "Decision": {"oneOf": [ref("Allowed"), ref("Denied")]},
    "Batch": taken({"requests": list_of(ref("Verify"), minItems=1, maxItems=100)}, ("requests",)),
    "Decisions": given({"results": list_of(ref("Decision"))}),
    "RevocationRequest": _REVOCATION_REQUEST,
    "Revocation": given({"kind": {"enum": ["id", "subject", "key", "branch"]}, "audience": _AUDIENCE, "at": _INSTANT}),
    "FeedEntry": _FEED_ENTRY,
    "FeedPage": _FEED_PAGE,
    "AudienceRequest": taken({"name": _AUDIENCE, "max_ttl": or_null(_MAX_TTL)}, ("name",)),
    "MaxTtl": taken({"max_ttl": _MAX_TTL}, ("max_ttl",)),
    "Audience": given({"name": _AUDIENCE, "max_ttl": _MAX_TTL, "created_at": _INSTANT}),
    "Audiences": page_of("audiences", "Audience"),
    "Key": given({"kid": _KID, "state": {"enum": ["active", "retiring", "revoked"]}, "created_at": _INSTANT}),
    "Keys": page_of("keys", "Key"),
    "Exchange": taken({"token": _TOKEN}, ("token",)),
    "DischargerRequest": taken(_DISCHARGER_FIELDS, ("name", "location", "public_key")),
    "DischargerKeys": _DISCHARGER_KEYS,
    "Discharger": given({**_DISCHARGER_FIELDS, "created_at": _INSTANT}),
    "Dischargers": page_of("dischargers", "Discharger"),
    "KnownDischarger": given({name: _DISCHARGER_FIELDS[name] for name in ("name", "location", "public_key")}),
    "BakeryKey": _BAKERY_KEY,
    "BakeryKeys": page_of("bakery_keys", "BakeryKey"),
    "Problem": _PROBLEM,
    "Status": given({"status": {"const": "ok"}}),
    "Attribute": _ATTRIBUTE,
    "About": _ABOUT,
}
"""Every body, by name."""
