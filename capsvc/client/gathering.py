"""Gathering the discharges of a token: whom to ask, in which order, and what to take for an answer. No I/O.

Breadth first, as the authority matches them: the root's third-party caveats in order, then those of their discharges.
A discharger can ask for more with each discharge, so the published bounds end it: 16 discharges, 4 deep.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, NoReturn
from urllib.parse import urlencode

from capsvc.client.agents import Agents
from capsvc.client.bakery import (
    Discharge,
    Interaction,
    Proof,
    bad_answer,
    discharge_form,
    read_discharge,
    read_login,
    read_proof,
)
from capsvc.client.book import Book, Known
from capsvc.client.errors import DischargeError
from capsvc.client.finding import Finder, shown
from capsvc.client.steps import Ask, Reply, Steps, Visit, send
from capsvc.errors import TokenError
from capsvc.macaroon.bundle import MAX_DEPTH, MAX_DISCHARGES
from capsvc.macaroon.thirdparty import read_parties
from capsvc.token import ThirdParty, Token

__all__ = ["gather"]

_UNAUTHORIZED: Final = 401


class _Wanted(NamedTuple):
    """A caveat to discharge: what its id stands for, and how deep its discharge lies (a root's own caveats: 1)."""

    caveat: ThirdParty
    sealed: bytes
    depth: int

    @property
    def location(self) -> str:
        return shown(self.caveat.location or "")


def gather(
    token: Token, book: Book, *, agents: Agents | None, visits: bool, clock: Callable[[], float]
) -> Steps[tuple[Token, ...]]:
    """The unbound discharges that a token needs, in the order of the caveats that they answer.

    Args:
        token: to be discharged.
        book: who may be asked; what the issuer adds to it stays out of the caller's copy.
        agents: the agent that the holder is, if it is one.
        visits: whether a person can visit an address.
        clock: gives Unix seconds.

    Raises:
        DischargeError: a discharge is not to be had.
        TokenError: ``bound`` for a bundle.

    """
    if token.is_bundle:
        raise TokenError("bound", "a bundle is final: its discharges are there already")
    gathering = _Gathering(Finder(book), agents, clock, visits=visits)
    discharges: list[Token] = []
    wanted = deque([_Wanted(caveat, caveat.id, 1) for caveat in token.third_parties])
    while wanted:
        following = wanted[0]
        if len(discharges) + len(wanted) > MAX_DISCHARGES:
            _too_large(following, f"a token has at most {MAX_DISCHARGES} discharges, and this one needs more")
        if following.depth > MAX_DEPTH:
            _too_large(following, f"discharges need discharges {MAX_DEPTH} deep at most, and these need more")
        found = yield from gathering.discharge(wanted.popleft())
        discharges.append(found.token)
        wanted.extend(
            _Wanted(caveat, found.held_apart.get(caveat.id, caveat.id), following.depth + 1)
            for caveat in found.token.third_parties
        )
    return tuple(discharges)


class _Gathering:
    """What holds for every discharge of one token."""

    def __init__(self, finder: Finder, agents: Agents | None, clock: Callable[[], float], *, visits: bool) -> None:
        self._finder = finder
        self._agents = agents
        self._clock = clock
        self._visits = visits

    def discharge(self, wanted: _Wanted) -> Steps[Discharge]:
        """One discharge, after one interaction where its discharger wants one."""
        known = yield from self._finder.find(wanted.caveat.location or "")
        _check_key(known, wanted)
        found = yield from self._ask(known, wanted, None)
        if isinstance(found, Interaction):
            proof = yield from self._interact(known, found)
            found = yield from self._ask(known, wanted, proof)
        if isinstance(found, Interaction):
            raise DischargeError(
                _UNAUTHORIZED, "interaction-required", known.location, "it asks who is there, though it was told"
            )
        return found

    def _ask(self, known: Known, wanted: _Wanted, proof: Proof | None) -> Steps[Discharge | Interaction]:
        form = discharge_form(wanted.caveat.id, wanted.sealed, proof)
        reply = yield from send(Ask(f"{known.origin.base}/discharge", known.location, form))
        found = read_discharge(reply, known.location)
        if isinstance(found, Discharge):
            self._check(found.token, wanted, known, reply)
        return found

    def _check(self, discharge: Token, wanted: _Wanted, known: Known, reply: Reply) -> None:
        """What can be told of a discharge without its key: that it answers what was asked, and is not over."""
        if discharge.raw_identifier != wanted.caveat.id:
            bad_answer(reply, known.location, "it sent something else than the discharge that it was asked for")
        ends = discharge.expires_at
        if ends is not None and ends.timestamp() <= self._clock():
            message = f"its discharge was over at {ends:%Y-%m-%dT%H:%M:%SZ} already: is one of the clocks wrong?"
            raise DischargeError(reply.status, "expired", known.location, message)

    def _interact(self, known: Known, offered: Interaction) -> Steps[Proof]:
        """Tell the discharger who asks: as an agent where its key is known there, else by a person's visit."""
        name = None if self._agents is None else self._agents.name_at(known)
        if offered.login is not None and self._agents is not None and name is not None:
            return (yield from self._log_in(self._agents, name, known, offered.login))
        if offered.visit is not None and offered.wait is not None and self._visits:
            return (yield from _visit(known, offered))
        raise DischargeError(_UNAUTHORIZED, "interaction-required", known.location, _missing(offered, self._agents))

    def _log_in(self, agents: Agents, name: str, known: Known, login: object) -> Steps[Proof]:
        url = _own_url(known, login)
        query = urlencode(agents.query(name))
        reply = yield from send(Ask(f"{url}{'&' if '?' in url else '?'}{query}", known.location))
        macaroon = read_login(reply, known.location)
        try:
            proof, askers = agents.answer(macaroon)
        except ValueError as error:
            bad_answer(reply, known.location, str(error))
        for key in askers:
            yield from self._finder.check_own(known, key, agents, reply)
        return proof


def _visit(known: Known, offered: Interaction) -> Steps[Proof]:
    address, wait = _own_url(known, offered.visit), _own_url(known, offered.wait)
    yield Visit(address, known.location)
    reply = yield from send(Ask(wait, known.location, waits=True))
    return read_proof(reply, known.location)


def _own_url(known: Known, text: object) -> str:
    try:
        return known.own_url(text)
    except ValueError as error:
        message = f"it would lead elsewhere than to itself ({error})"
        raise DischargeError(_UNAUTHORIZED, "bad-answer", known.location, message) from None


def _check_key(known: Known, wanted: _Wanted) -> None:
    """Hold a caveat to the key that its discharger is pinned to, as far as its id tells for whom it is sealed."""
    if not known.pinned:
        return
    try:
        prefix, _ = read_parties(wanted.sealed)
    except ValueError:
        prefix = b""
    if not prefix or not any(key.startswith(prefix) for key in known.keys):
        message = "the caveat is sealed for another key than the one pinned: was it changed? Ask, then pin the new one"
        raise DischargeError(None, "key-changed", known.location, message)


def _missing(offered: Interaction, agents: Agents | None) -> str:
    wants = []
    if offered.login is not None and agents is None:
        wants.append("an agent's key (name the agent's file: --agent-file, in Python agent=)")
    elif offered.login is not None:
        wants.append("an agent's key (no url in the agent's file is this address)")
    if offered.visit is not None and offered.wait is not None:
        wants.append("a person at a browser, and there is nobody")
    return f"it wants {' or '.join(wants) or 'an interaction of a kind that is not known here'}"


def _too_large(wanted: _Wanted, message: str) -> NoReturn:
    raise DischargeError(None, "too-large", wanted.location, message)
