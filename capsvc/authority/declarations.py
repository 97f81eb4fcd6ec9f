"""Attributes that the operator declared: kept in the database, added at start, never changed or removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from capsvc.errors import StartError
from capsvc.store.protocol import StoreUnavailable, Transaction
from capsvc.store.records import AttributeRecord, Change
from caveats import Attribute, DeclarationError, Vocabulary

__all__ = ["declare", "declared_anew", "vocabulary_of"]


def _declaration(record: AttributeRecord) -> dict[str, object]:
    plain: dict[str, object] = {"type": record.type, "fact": record.fact}
    return plain if record.values is None else {**plain, "values": record.values}


def _record(attribute: Attribute) -> AttributeRecord:
    return AttributeRecord(attribute.name, attribute.type.name, attribute.fact, attribute.values)


def vocabulary_of(records: Iterable[AttributeRecord]) -> Vocabulary:
    """Return the built-in vocabulary with what was declared. Raises `StoreUnavailable` for rows that were damaged."""
    try:
        return Vocabulary.from_declarations({record.name: _declaration(record) for record in records})
    except DeclarationError as error:
        raise StoreUnavailable(f"the attribute {error.name} is damaged") from error


def declared_anew(before: Vocabulary, declared: Mapping[str, Mapping[str, object]]) -> list[Attribute]:
    """Return what the file declares and the vocabulary does not have yet.

    Raises `StartError` (exit 2) for a declaration that differs from what was declared before: tokens that rely on it
    are out there.
    """
    try:
        after = before.declare_all(declared)
    except DeclarationError as error:
        raise StartError("settings", str(error), exit_code=2) from None
    return [attribute for attribute in after if attribute != before.get(attribute.name)]


def declare(tx: Transaction, declared: Mapping[str, Mapping[str, object]], now: int) -> None:
    """Add to the database what the file declares anew. Raises `StartError` as `declared_anew`."""
    for attribute in declared_anew(vocabulary_of(tx.attributes()), declared):
        tx.put_attribute(_record(attribute))
        tx.append_change(Change("attribute", None, now, now, name=attribute.name))
