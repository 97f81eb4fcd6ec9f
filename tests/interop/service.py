"""The whole service in a process of its own, and the third parties that it knows."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from capsvc.client import CapabilityAuth

from ..acceptance.conftest import PATIENCE, Running  # noqa: TID252 - a service is run in one way
from .libraries import GatheringError, Party

__all__ = ["Service"]

RESOURCE = "http://127.0.0.1:9"  # whom our client presents a bundle; nothing goes there


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

    def by_auth(self, token: str, **options: Any) -> str:
        """The bundle that our own client presents for a token; it asks the dischargers that the service names."""
        presented: list[str] = []

        def answer(request: httpx.Request) -> httpx.Response:
            presented.append(request.headers["authorization"])
            return httpx.Response(200)

        auth = CapabilityAuth(token, RESOURCE, issuer=self.url, **options)
        with httpx.Client(auth=auth, transport=httpx.MockTransport(answer)) as client:
            client.get(RESOURCE)
        return presented[0].removeprefix("Bearer ")

    def by_command(self, token: str, *options: str) -> str:
        """The bundle that ``capsvc discharge`` writes for a token."""
        done = self.command("discharge", "--no-browser", *options, given=token)
        if done.returncode != 0:
            raise GatheringError(done.stderr)
        return done.stdout.removesuffix("\n")

    @contextmanager
    def begin(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A command under way, with pipes; it is over at the end."""
        pipe = subprocess.PIPE
        command = [*self._capsvc, *arguments]
        with subprocess.Popen(
            command, cwd=self.where, env=self.env, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        ) as process:
            try:
                yield process
                process.wait(PATIENCE)
            finally:
                process.kill()

    def decide(self, bundle: str, **context: object) -> dict[str, Any]:
        """The answer to one decision."""
        return self.post("/v1/verify", {"token": bundle, "audience": "default", "context": context})

    def allows(self, bundle: str, **context: object) -> dict[str, Any]:
        """The answer of a service that allows."""
        answer = self.decide(bundle, **context)
        assert answer["allowed"] is True, answer
        return answer
