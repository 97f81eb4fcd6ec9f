"""What a decision needs to know, in memory, as fresh as the last commit of any process.

Each process follows the store's log of changes: `Follower.view` asks for the store's generation, which costs
microseconds, and reads the log on when somebody has committed. So a revocation is obeyed by every process on the
database from the moment that it is durable, before the call that made it returns.
"""

from __future__ import annotations

import threading
from typing import Final

from capsvc.authority.declarations import vocabulary_of
from capsvc.authority.keys import ACTIVE, SigningKey, open_key, open_pair
from capsvc.authority.pins import proved
from capsvc.authority.registry import Registry
from capsvc.authority.seal import MasterKey, SealError
from capsvc.decision.revocations import Revocations
from capsvc.store.protocol import Store, StoreUnavailable
from capsvc.store.records import AudienceRecord, Change
from caveats import Vocabulary

__all__ = ["SWEPT", "SWEPT_WHOLE", "Follower", "View"]

SWEPT: Final = "swept"
"""The meta value below which everything expired may be gone from the store: Unix seconds."""

SWEPT_WHOLE: Final = "swept-whole"
"""The meta value below which it is gone: the same, but while a sweep is under way or was cut off."""


class View:
    """The state at one point of the log. Read by decisions, written by its `Follower` alone."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.audiences: dict[str, AudienceRecord] = {}
        self.keys: dict[str, SigningKey] = {}
        self.vocabulary = Vocabulary.built_in()
        self.swept = 0
        self.sweep_ended = True
        self.revocations = Revocations()

    def active_key(self, audience: str) -> SigningKey | None:
        """Return the key that mints for an audience."""
        return next((key for key in self.keys.values() if key.audience == audience and key.state == ACTIVE), None)


class Follower:
    """Keeps one `View` up to date with a store. Safe to use from several threads."""

    def __init__(self, store: Store, master: MasterKey) -> None:
        """Read the whole state once. Raises `StoreUnavailable` or `SealError`."""
        self._store = store
        self._master = master
        self._lock = threading.Lock()
        self._cursor = 0
        self._generation = store.generation()
        self._view = View(self._registry())
        self._view.swept = self._mark(SWEPT)
        self._load_settings()
        self._load_keys()
        self._read_on()

    def view(self) -> View:
        """Return the state, fresh. Raises `StoreUnavailable` if it cannot be read."""
        generation = self._store.generation()
        if generation != self._generation:
            self._follow(generation)
        return self._view

    def kept(self, token_id: str) -> bool:
        """Whether a token's row is there. Raises `StoreUnavailable`."""
        return self._store.token(token_id) is not None

    def _follow(self, generation: int) -> None:
        try:
            with self._lock:
                self._read_on()
                # Only now, and what was read before the log: a commit in between makes it differ again.
                self._generation = generation
        except SealError as error:
            raise StoreUnavailable(str(error)) from error

    def _read_on(self) -> None:
        changes = self._store.changes(self._cursor)
        kinds = {change.kind for change in changes}
        if "key" in kinds:
            self._load_keys()
        if kinds & {"audience", "attribute"}:
            self._load_settings()
        if "discharger" in kinds:
            self._view.registry = self._registry()
        for change in changes:
            _take(self._view.revocations, change)
        if changes:
            self._cursor = changes[-1].seq
        self._take_sweep()

    def _load_settings(self) -> None:
        self._view.audiences = {record.name: record for record in self._store.audiences()}
        self._view.vocabulary = vocabulary_of(self._store.attributes())

    def _load_keys(self) -> None:
        self._view.keys = {key.kid: key for key in (open_key(self._master, row) for row in self._store.signing_keys())}

    def _registry(self) -> Registry:
        pairs = [(row.state, open_pair(self._master, row)) for row in self._store.box_keys()]
        return Registry([proved(self._master, row) for row in self._store.dischargers()], pairs)

    def _take_sweep(self) -> None:
        swept = self._mark(SWEPT)
        self._view.sweep_ended = swept <= self._mark(SWEPT_WHOLE)
        if swept > self._view.swept:
            self._view.swept = swept
            self._view.revocations.forget(swept)
            # Entries that were not read yet may have gone with the sweep: what they told of is read whole.
            self._load_settings()
            self._load_keys()
            self._view.registry = self._registry()

    def _mark(self, name: str) -> int:
        mark = self._store.meta(name)
        return mark if isinstance(mark, int) else 0


def _take(revocations: Revocations, change: Change) -> None:
    """Take in a revocation from the log."""
    if change.kind == "id" and change.id is not None:
        revocations.revoke_id(change.id, change.keep_until)
    elif change.kind == "branch" and change.id is not None and change.branch is not None:
        revocations.revoke_branch(change.id, change.branch, change.keep_until)
    elif change.kind == "subject" and change.audience is not None and change.subject is not None:
        revocations.revoke_subject(change.audience, change.subject, change.before or 0, change.keep_until)
