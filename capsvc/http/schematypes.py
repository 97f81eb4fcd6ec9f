"""The pieces that the schemas of bodies are put together from."""

from __future__ import annotations

from typing import Any

__all__ = ["Schema", "given", "list_of", "map_of", "or_null", "page_of", "ref", "taken", "text"]

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A reference to a schema of `SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(description: str, **more: object) -> Schema:
    """Text."""
    return {"type": "string", "description": description, **more}


def or_null(schema: Schema) -> Schema:
    """That, or null."""
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(items: Schema, **more: object) -> Schema:
    """A list."""
    return {"type": "array", "items": items, **more}


def map_of(values: Schema, description: str) -> Schema:
    """An object whose names are free."""
    return {"type": "object", "additionalProperties": values, "description": description}


def taken(properties: dict[str, Schema], required: tuple[str, ...], **more: object) -> Schema:
    """A request's object: unknown fields are refused."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def given(properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    """An answer's object: every field is there but the optional ones, and more may come to be."""
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }


def page_of(plural: str, row: str) -> Schema:
    """A page of a list, by the name of a row's schema."""
    cursor = or_null(text("Give it as `after` for the next page; null on the last."))
    return given({plural: list_of(ref(row)), "next": cursor})
