"""A response as a value, as `capsvc.web.answers` has it, in JSON."""

from __future__ import annotations

from typing import Final

import msgspec

from capsvc.web.answers import JSON, NO_SNIFF, NO_STORE, Answer, Header, send_answer

__all__ = ["JSON", "NO_SNIFF", "NO_STORE", "Answer", "Header", "json_answer", "send_answer"]

_JSON_HEADERS: Final = (JSON, NO_STORE)

_encode: Final = msgspec.json.Encoder().encode


def json_answer(status: int, value: object, *headers: Header) -> Answer:
    """A JSON object that nobody may store: most of ours hold tokens, decisions or what an administrator may see."""
    return Answer(status, _encode(value), (*_JSON_HEADERS, *headers) if headers else _JSON_HEADERS)
