"""/v1/introspect (RFC 7662): a decision for resource servers that know OAuth alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from capsvc.http.answers import Answer, json_answer
from capsvc.http.incoming import Incoming
from capsvc.http.oauth import FORM, admit_caller, read_pairs, require_caller
from capsvc.http.problems import Problem
from capsvc.http.service import Service
from capsvc.wire import introspection_object
from caveats import TYPES, Vocabulary

__all__ = ["Introspect"]

CONTEXT: Final = "context."


class _Asked(NamedTuple):
    """What a form asks; the values of ``context`` are text yet."""

    token: str
    audience: str | None
    context: Mapping[str, str]


class Introspect:
    """The handler."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def introspect(self, request: Incoming) -> Answer:
        """POST /v1/introspect: on the event loop, as verify is."""
        body = await request.body()
        request.require_media_type(FORM)
        require_caller(request)
        asked = _read(body, request.raw_query())
        authority = self._service.authority
        credential = admit_caller(authority, request, "tokens:verify")
        found = authority.introspect(
            asked.token,
            audience=asked.audience,
            context=_typed(asked.context, authority.vocabulary),
            credential=credential,
        )
        return json_answer(200, introspection_object(found))


def _read(body: bytes, query: bytes) -> _Asked:
    """The form's fields, each once; those that nobody knows are ignored (RFC 6749, section 3.2). Raises `Problem` 400.

    Nothing is taken from the address: what stands there is logged along the way.
    """
    pairs = read_pairs(body)
    fields = dict(pairs)
    if query:
        raise Problem(400, "bad-request", "This takes a form, and nothing in the address.")
    if len(fields) != len(pairs):
        raise Problem(400, "bad-request", "The form has a field twice.")
    if not fields.get("token"):
        raise Problem(400, "bad-request", "The form has no token.")
    audience = fields.get("audience")
    if audience is not None:
        _check_audience(audience)
    context = {name.removeprefix(CONTEXT): value for name, value in pairs if name.startswith(CONTEXT)}
    return _Asked(fields["token"], audience, context)


def _check_audience(audience: str) -> None:
    try:
        TYPES["word"].from_context(audience)
    except ValueError:
        raise Problem(400, "bad-request", "The audience is no word.") from None


def _typed(context: Mapping[str, str], vocabulary: Vocabulary) -> dict[str, object]:
    """The values as the decision takes them: for an integer its decimal text, else the text itself."""
    return {name: _value(name, text, vocabulary) for name, text in context.items()}


def _value(name: str, text: str, vocabulary: Vocabulary) -> object:
    attribute = vocabulary.get(name)
    if attribute is None or attribute.type is not TYPES["integer"]:
        return text
    try:
        return attribute.type.read(text)
    except ValueError:
        return text  # which is no integer, as the decision will say
