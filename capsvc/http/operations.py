"""An operation as OpenAPI writes it: what all operations of the service have in common is here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from capsvc.errors import STATUS
from capsvc.http.problems import INTERNAL_ERROR
from capsvc.http.schematypes import ref

__all__ = [
    "DECISIONS",
    "HEADERS",
    "MEANING",
    "PAGING",
    "Part",
    "in_path",
    "open_operation",
    "operation",
    "problem",
    "query",
    "required_body",
    "response",
]

Part = dict[str, Any]

UNAUTHENTICATED: Final = (
    "credential-missing",
    *(code for code, status in STATUS.items() if status == 401 and code != "credential-missing"),
)
FORBIDDEN: Final = tuple(code for code, status in STATUS.items() if status == 403)
DECISIONS: Final = tuple(
    code for code in (*UNAUTHENTICATED, *FORBIDDEN) if code not in {"credential-missing", "forbidden"}
)
"""What a decision can say against a token."""
MEANING: Final[Mapping[int, str]] = {
    400: "Not of the expected shape.",
    401: "No credential, or one that is not good.",
    403: "The credential does not allow this.",
    404: "No such thing, or none that the credential covers.",
    405: "Another method than this address has; see Allow.",
    409: "The name is taken.",
    410: "Entries after that cursor may be missing, or it is none: begin anew.",
    413: "The body is too large.",
    415: "Another media type than the expected one.",
    422: "Well formed, not acceptable.",
    500: "A fault of the service.",
    503: "Storage cannot be read or written; see Retry-After.",
}
HEADERS: Final[Mapping[int, Part]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "RFC 6750."}},
    403: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "RFC 6750."}},
    405: {"Allow": {"schema": {"type": "string"}}},
    503: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
}


def problem(status: int, codes: tuple[str, ...]) -> Part:
    """A refusal with that status, for one of the codes."""
    schema = {"allOf": [ref("Problem"), {"properties": {"code": {"enum": list(codes)}}}]}
    return response(MEANING[status], schema, "application/problem+json", HEADERS.get(status))


def response(
    description: str, schema: Part | None, media_type: str = "application/json", headers: Part | None = None
) -> Part:
    """A response; without a schema it has no body."""
    part: Part = {"description": description}
    if headers:
        part["headers"] = headers
    if schema is not None:
        part["content"] = {media_type: {"schema": schema}}
    return part


def required_body(name: str, media_type: str = "application/json") -> Part:
    """A request's body, by the name of its schema."""
    return {"required": True, "content": {media_type: {"schema": ref(name)}}}


def query(name: str, description: str, schema: Part | None = None) -> Part:
    """A parameter of the query."""
    return {"name": name, "in": "query", "description": description, "schema": schema or {"type": "string"}}


def in_path(name: str, description: str) -> Part:
    """A parameter of the path."""
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


PAGING: Final = (
    query("after", "The `next` of the page before."),
    query("limit", "Rows at most.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
)


def operation(  # one row of a table
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
        401: UNAUTHENTICATED,
        403: FORBIDDEN,
        405: ("method-not-allowed",),
        413: ("too-large",),
        **({415: ("media-type",)} if body else {}),
        **(refusals or {}),
        500: (INTERNAL_ERROR,),
        503: ("unavailable",),
    }
    responses = {str(status): response("Done.", ref(name) if name else None) for status, name in answers.items()}
    responses.update({str(status): problem(status, codes[status]) for status in sorted(codes)})
    part: Part = {
        "summary": summary,
        "description": f"Permission: `{action}`.",
        "operationId": _operation_id(summary),
        "security": [{"credential": []}],
        "responses": responses,
    }
    if parameters:
        part["parameters"] = list(parameters)
    if body:
        part["requestBody"] = required_body(body)
    return part


def open_operation(summary: str, answer: str | None, *, unavailable: bool = False) -> Part:
    """An operation that anybody may ask for."""
    responses = {
        "200": response("Done.", ref(answer) if answer else {"type": "object"}),
        "405": problem(405, ("method-not-allowed",)),
    }
    if unavailable:
        responses["503"] = problem(503, ("unavailable",))
    return {"summary": summary, "operationId": _operation_id(summary), "security": [], "responses": responses}


def _operation_id(summary: str) -> str:
    return "-".join(summary.lower().replace("'", "").split())
