"""How a program tells a discharger who it is: with a key of its own, by bakery's protocol for agents. No I/O.

The discharger sends a macaroon with a third-party caveat at the location ``local``, sealed for the agent's public key.
Only who has the private half can discharge it; both go back as the token of kind ``agent``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from capsvc.client.bakery import Discharge, Proof
from capsvc.client.book import Book, Known, same_location
from capsvc.keyfile import AgentKey
from capsvc.macaroon import build
from capsvc.macaroon.decode import encode
from capsvc.macaroon.encoding import b64decode
from capsvc.macaroon.thirdparty import Channel, KeyPair, key_text, read_parties
from capsvc.token import ThirdParty, Token

__all__ = ["AgentIdentity", "Agents"]

KIND: Final = "agent"
LOCAL: Final = "local"
_TRUE: Final = b"true"

AgentIdentity = AgentKey | tuple[KeyPair, str]
"""An agent's file, with its name at each discharger; or a key pair and the name that it has at every one."""


@dataclass(frozen=True, slots=True)
class Agents:
    """An agent's key pair, and its names."""

    pair: KeyPair
    names: Sequence[tuple[str, str]] = ()
    everywhere: str | None = None

    @classmethod
    def of(cls, agent: AgentIdentity) -> Agents:
        """From what a caller gives."""
        if isinstance(agent, AgentKey):
            return cls(agent.pair, [(same_location(one.url), one.username) for one in agent.agents])
        pair, name = agent
        return cls(pair, everywhere=name)

    def name_at(self, known: Known) -> str | None:
        """The agent's name at a discharger, by its location or where it is asked; None where it has none."""
        places = {known.location, known.origin.base}
        return next((name for place, name in self.names if place in places), self.everywhere)

    def query(self, name: str) -> dict[str, str]:
        """The parameters of the request for the macaroon to complete."""
        return {"username": name, "public-key": key_text(self.pair.public)}

    def answer(self, login: Discharge, known: Known, book: Book) -> Proof:
        """The proof that the agent has its key, for the discharger that sent the macaroon and no other.

        Raises:
            ValueError: the macaroon asks for something else, or another discharger made it: whoever passed it on would
                log in there as the agent.

        """
        if not login.token.third_parties:
            raise ValueError("it asked the agent for no proof")
        answers = [self._answer(caveat, login, known, book) for caveat in login.token.third_parties]
        bundle = str(login.token.bind(*answers))
        return Proof(KIND, b"".join([b64decode(part) for part in bundle.split("~")]))

    def _answer(self, caveat: ThirdParty, login: Discharge, known: Known, book: Book) -> Token:
        if caveat.location != LOCAL:
            raise ValueError("it asked the agent for somebody else's discharge")
        sealed_id = login.held_apart.get(caveat.id, caveat.id)
        _, asker = read_parties(sealed_id)
        owner = book.owner(asker)
        if owner not in {None, known.location}:
            raise ValueError(f"it passed on a login at {owner}")
        sealed = Channel.of_third_party(self.pair, asker).open(sealed_id)
        if sealed is None or sealed.condition != _TRUE:
            raise ValueError("it asked the agent for something else than its key")
        return Token.parse(encode(build.discharge(sealed.root_key, LOCAL, caveat.id, ())))
