"""Whom a gathering asks, and whose key is whose, by the caller's word, the issuer's, else each one's own. No I/O."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final, NoReturn

from capsvc.client.agents import Agents
from capsvc.client.bakery import bad_answer, read_info
from capsvc.client.book import Book, Known
from capsvc.client.errors import DischargeError, ServiceError
from capsvc.client.messages import read_answer
from capsvc.client.origin import read_origin
from capsvc.client.steps import Ask, Reply, Steps, send
from capsvc.macaroon.thirdparty import key_text

__all__ = ["Finder", "shown"]

SHOWN_LOCATION: Final = 200  # characters of one that a token made up


class Finder:
    """The third parties of one gathering."""

    def __init__(self, book: Book) -> None:
        """``book``: what the caller says; what is learned stays out of it."""
        self._book = book.copy()
        self._asked_issuer = False

    def find(self, location: str) -> Steps[Known]:
        """The third party at a location. Raises `DischargeError`."""
        found = self._book.find(location)
        trouble = None
        if found is None:
            trouble = yield from self._ask_issuer()
            found = self._book.find(location)
        if found is not None:
            return found
        _unknown(shown(location), self._book.unusable(location), trouble)

    def check_own(self, known: Known, key: bytes, agents: Agents, login: Reply) -> Steps[None]:
        """Return if the key under which a login is sealed is that of the third party that sent it, and no other's.

        Were it another one's, whoever passed the login on would be logged in there as the agent.

        Raises:
            DischargeError: it is not, or that is not to be had.

        """
        if not self._keys(known):
            try:
                yield from self._ask_keys(known, agents)
            except ServiceError as error:
                reason = f"whose key its login is sealed under cannot be told, since not all keys are known: {error}"
                raise DischargeError(error.status, error.code, known.location, reason) from None
        rival = self._book.rival(known, key)
        if key not in self._keys(known):
            whose = "another key than its own" if rival is None else f"the key of {rival}"
            told = f"its login is sealed under {whose}, as if it were passed on: {key_text(key)}. Has its key changed?"
            bad_answer(login, known.location, told)
        if rival is not None:
            told = f"it has the same key as {rival}: one of the two could pass on logins of the other"
            bad_answer(login, known.location, told)

    def _ask_keys(self, known: Known, agents: Agents) -> Steps[None]:
        """Learn the key of one that the caller named without it.

        By the issuer's word, if it names that one. Else by its own, and then all others that know the agent have to be
        asked for theirs, too: it could claim one of them.

        Raises:
            ServiceError: somebody does not tell.

        """
        trouble = yield from self._ask_issuer()
        if trouble is not None and agents.everywhere is not None:
            raise trouble  # those that it names may know the agent
        if self._keys(known):
            return
        for base in self._to_ask(known, agents):
            reply = yield from send(Ask(f"{base}/discharge/info", base))
            self._book.hear(base, read_info(reply, base))

    def _to_ask(self, known: Known, agents: Agents) -> Iterable[str]:
        """The addresses of one whose key is not known, and of all such that know the agent by his own list."""
        named = self._book.named
        keyless = [one.origin.base for one in named if not one.keys and agents.name_at(one) is not None]
        places = {one.origin.base for one in named}
        others = [place for place, _ in agents.names if place not in places and self._book.find(place) is None]
        for place in others:
            with contextlib.suppress(ValueError):  # one to which nothing may go
                keyless.append(read_origin(place).base)
        return dict.fromkeys([known.origin.base, *keyless])

    def _keys(self, known: Known) -> tuple[bytes, ...]:
        """Those that are known by now."""
        found = self._book.find(known.location)
        return () if found is None else found.keys

    def _ask_issuer(self) -> Steps[ServiceError | None]:
        """Read the issuer's document, once, if there is one; what went wrong, if something did."""
        if self._book.issuer is None or self._asked_issuer:
            return None
        self._asked_issuer = True
        base = self._book.issuer.base
        try:
            reply = yield from send(Ask.issuer(base))
            self._book.learn(read_answer(reply.status, reply.content_type, reply.octets).value)
        except ServiceError as error:
            return ServiceError(error.status, error.code, f"{base}: {str(error).removeprefix(f'{base}: ')}")
        except ValueError:
            return ServiceError(reply.status, "bad-answer", f"{base}: it does not say which dischargers it knows")
        return None


def shown(location: str) -> str:
    """A location that a token names, for messages."""
    return (location or "a third party without a location")[:SHOWN_LOCATION]


def _unknown(location: str, unusable: str | None, trouble: ServiceError | None) -> NoReturn:
    if trouble is not None:
        message = f"no discharger of this location was named, and the issuer's were not to be had: {trouble}"
        raise DischargeError(trouble.status, trouble.code, location, message)
    if unusable is not None:
        message = f"the issuer names it, but it is not asked: {unusable}"
    else:
        message = (
            "no such discharger is known: it is asked once it is named in the caller's configuration"
            " (the command's --discharger, the library's dischargers), or registered with the issuer"
        )
    raise DischargeError(None, "discharger-unknown", location, message)
