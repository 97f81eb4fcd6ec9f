"""How a program tells a discharger who it is: with a key of its own, by bakery's protocol for agents. No I/O.

The discharger sends a macaroon with a third-party caveat at the location ``local``, sealed for the agent's public key.
Only who has the private half can discharge it; both go back as the token of kind ``agent``.

Nothing in that says to whom the proof goes. A discharger could pass on the macaroon of another one, and be logged in
there as the agent. So a proof is given to nobody before the key under which it was sealed is known to be his.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from capsvc.client.bakery import Discharge, Proof
from capsvc.client.book import Known, same_location
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

    def answer(self, login: Discharge) -> tuple[Proof, Iterable[bytes]]:
        """The proof that the agent has its key, and the keys of whoever asks for it: one, if it is as it should be.

        Raises:
            ValueError: the macaroon asks for something else.

        """
        caveats = login.token.third_parties
        if not caveats:
            raise ValueError("it asked the agent for no proof")
        bundle = str(login.token.bind(*[self._answer(caveat, login) for caveat in caveats]))
        proof = Proof(KIND, b"".join([b64decode(part) for part in bundle.split("~")]))
        return proof, dict.fromkeys([_asker(caveat, login) for caveat in caveats])

    def _answer(self, caveat: ThirdParty, login: Discharge) -> Token:
        sealed = Channel.of_third_party(self.pair, _asker(caveat, login)).open(_sealed(caveat, login))
        if sealed is None or sealed.condition != _TRUE:
            raise ValueError("it asked the agent for something else than its key")
        return Token.parse(encode(build.discharge(sealed.root_key, LOCAL, caveat.id, ())))


def _sealed(caveat: ThirdParty, login: Discharge) -> bytes:
    return login.held_apart.get(caveat.id, caveat.id)


def _asker(caveat: ThirdParty, login: Discharge) -> bytes:
    if caveat.location != LOCAL:
        raise ValueError("it asked the agent for somebody else's discharge")
    _, asker = read_parties(_sealed(caveat, login))
    return asker
