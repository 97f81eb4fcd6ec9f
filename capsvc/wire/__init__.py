r"""The bodies that both ends of HTTP speak: values to JSON objects, and back.

Instants are text as in caveats (``2026-11-22T12:00:00Z``, UTC, whole seconds); caveats are text whose octets outside
0x20-0x7E are shown as ``\xNN``. Writers give plain dictionaries with every field that the contract names, ``None``
where there is nothing to say. Readers take an answer's JSON and ignore fields that they do not know, so that a newer
service can say more; an answer that is not of its shape raises ``ValueError``.
"""

from __future__ import annotations

from capsvc.wire.asking import (
    discharger_change,
    discharger_request,
    exchange_request,
    mint_request,
    revocation_request,
    verify_request,
)
from capsvc.wire.introspection import introspection_form, introspection_object, read_introspection
from capsvc.wire.reading import (
    read_audience,
    read_bakery_key,
    read_decision,
    read_discharger,
    read_feed_page,
    read_key,
    read_minted,
    read_page,
    read_revocation,
    read_token_row,
)
from capsvc.wire.texts import LONGEST_WAIT, instant_text, parse_instant, safe_message, visible
from capsvc.wire.writing import (
    audience_object,
    bakery_key_object,
    denial_object,
    discharger_object,
    feed_page_object,
    grant_object,
    key_object,
    minted_object,
    revocation_object,
    token_row_object,
)

__all__ = [
    "LONGEST_WAIT",
    "audience_object",
    "bakery_key_object",
    "denial_object",
    "discharger_change",
    "discharger_object",
    "discharger_request",
    "exchange_request",
    "feed_page_object",
    "grant_object",
    "instant_text",
    "introspection_form",
    "introspection_object",
    "key_object",
    "mint_request",
    "minted_object",
    "parse_instant",
    "read_audience",
    "read_bakery_key",
    "read_decision",
    "read_discharger",
    "read_feed_page",
    "read_introspection",
    "read_key",
    "read_minted",
    "read_page",
    "read_revocation",
    "read_token_row",
    "revocation_object",
    "revocation_request",
    "safe_message",
    "token_row_object",
    "verify_request",
    "visible",
]
