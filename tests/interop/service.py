"""The whole service in a process of its own, and the third parties that it knows."""

from __future__ import annotations

from typing import Any

import httpx

from ..acceptance.conftest import Running  # noqa: TID252 - a service is run in one way
from .libraries import Party

__all__ = ["Service"]


class Service(Running):
    """A service; what it answers is given back whole."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._known: set[str] = set()

    @property
    def public_key(self) -> str:
        """By which dischargers know the service."""
        answer = httpx.get(f"{self.url}/.well-known/capsvc").json()
        return str(answer["public_key"])

    def asking(self, discharger: Party, condition: str, *declare: str, **fields: object) -> str:
        """A token on which a discharger has to answer a condition, and to declare names."""
        return self.asking_all((discharger, condition, *declare), **fields)

    def asking_all(self, *asked: tuple[Any, ...], **fields: object) -> str:
        """A token for several of them: a discharger, a condition and the names to declare each."""
        third_party = []
        for discharger, condition, *declare in asked:
            self.register(discharger)
            third_party.append({"location": discharger.url, "condition": condition, "declare": declare})
        return self.mint(third_party=third_party, **fields)

    def register(self, discharger: Party) -> None:
        """Let the service know a discharger, under his own name."""
        if discharger.name not in self._known:
            key = discharger.public_key
            self.post("/v1/dischargers", {"name": discharger.name, "location": discharger.url, "public_key": key})
            self._known.add(discharger.name)

    def decide(self, bundle: str, **context: object) -> dict[str, Any]:
        """The answer to one decision."""
        return self.post("/v1/verify", {"token": bundle, "audience": "default", "context": context})

    def allows(self, bundle: str, **context: object) -> dict[str, Any]:
        """The answer of a service that allows."""
        answer = self.decide(bundle, **context)
        assert answer["allowed"] is True, answer
        return answer
