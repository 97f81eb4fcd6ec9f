"""An administrator's credential: a token of the audience ``capsvc``, narrowed like any other.

Its caveats on what a request acts on (``for.audience``, ``for.sub``, ``for.ttl``, ``for.<fact>``) are judged per
target: one request may act on many.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final

from capsvc.authority.decision import Ruling
from capsvc.authority.presented import Presented
from capsvc.decision.branches import branch_text
from capsvc.decision.judging import ReadContext, allowed_words, first_refusal
from capsvc.errors import Denied
from capsvc.store.records import Minter
from caveats import ContextError, Vocabulary, context_value, read_context

__all__ = ["Credential", "RequestContexts"]

Value = str | int | None


class RequestContexts:
    """The contexts of administrators' requests, read once each: there are few, and the same come all the time.

    They hold built-in attributes alone (``action``, ``method``, ``path``), so they mean the same in every vocabulary.
    """

    CAPACITY: Final = 256

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[str, object], ...], ReadContext] = {}

    def read(self, context: Mapping[str, object]) -> Mapping[str, object] | ReadContext:
        """Return a context as read, or as it came if it holds anything but text or is not well formed.

        What is remembered is text alone, which nothing but the same text is equal to (1 and True are equal).
        """
        key = tuple(context.items())
        try:
            found = self._known.get(key)
        except TypeError:  # a list, say
            return context
        return self._learn(key, context) if found is None else found

    def _learn(
        self, key: tuple[tuple[str, object], ...], context: Mapping[str, object]
    ) -> Mapping[str, object] | ReadContext:
        if not all(type(value) is str for _, value in key):
            return context
        try:
            found = ReadContext(read_context(context, Vocabulary.built_in()))
        except ContextError:
            return context  # the decision says so, in its turn
        if len(self._known) >= self.CAPACITY:
            self._known.clear()
        self._known[key] = found
        return found


class Credential:
    """A credential that was allowed everything but what its ``for.…`` caveats have yet to say."""

    __slots__ = ("_presented", "_ruling")

    def __init__(self, presented: Presented, ruling: Ruling) -> None:
        self._presented = presented
        self._ruling = ruling

    def __repr__(self) -> str:
        return f"<Credential {self.id}>"

    @property
    def id(self) -> str:
        """The token id of its family."""
        return self._ruling.grant.id

    @property
    def branch(self) -> str:
        """The branch of its last chain point, 43 characters."""
        return branch_text(self._presented.last_branch())

    @property
    def minter(self) -> Minter:
        """How rows that it causes name it."""
        return Minter(self.id, self._presented.last_branch())

    @property
    def bounded(self) -> bool:
        """Whether any target can be refused at all."""
        return bool(self._ruling.reading.target_checks)

    @property
    def sole_audience(self) -> str | None:
        """The one audience that its ``for.audience`` caveats leave; None where they leave several, all or none."""
        allowed = allowed_words(self._ruling.reading.target_checks, "for.audience")
        return next(iter(allowed)) if allowed is not None and len(allowed) == 1 else None

    def permits(self, target: Mapping[str, Value]) -> None:
        """Return if it covers a target, else raise `Denied`; a value of None is absent."""
        checks = self._ruling.reading.target_checks
        if not checks:
            return
        given = {name: value for name, value in target.items() if value is not None}
        refusal = first_refusal(checks, self._typed(given))
        if refusal is not None:
            code, one = refusal
            if code == "context-missing" and getattr(one.caveat, "attribute", None) in given:
                code = "caveat-refused"  # a value of no legal type is there, and none that a caveat allows
            raise Denied(code, one.text)

    def _typed(self, given: Mapping[str, str | int]) -> dict[str, object]:
        values: dict[str, object] = {}
        for name, value in given.items():
            attribute = self._ruling.vocabulary.administrative.get(name)
            if attribute is None:
                continue  # no caveat can be on it
            with contextlib.suppress(ContextError):
                values[name] = context_value(attribute, value)
        return values
