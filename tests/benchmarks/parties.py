"""Third parties that the issuer asks: one that is registered, and bundles with its discharges, ours and a peer's."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from pymacaroons import Macaroon
from pymacaroons import Verifier as PyVerifier

from capsvc.macaroon import build
from capsvc.macaroon.decode import UnverifiedMacaroon, decode
from capsvc.macaroon.thirdparty import Channel, KeyPair, asked_names, key_text, read_parties
from tests.benchmarks.material import AUDIENCE, OurTokens

__all__ = ["Login", "PeerBundles"]

LOCATION: Final = "https://login.example"
DECLARED: Final = "declared username alice"


class Login:
    """A discharger that the authority knows, and that is asked who somebody is."""

    def __init__(self, ours: OurTokens) -> None:
        self._pair = KeyPair.generate()
        self._authority = ours.authority
        self._authority.add_discharger(name="login", location=LOCATION, public_key=key_text(self._pair.public))

    def roots(self, caveats: Sequence[str], count: int, questions: int = 1) -> list[UnverifiedMacaroon]:
        """Distinct tokens on which it is asked so many questions; their times of expiry differ."""
        asked = {"location": LOCATION, "condition": "is-authenticated-user", "declare": ["username"]}
        first = datetime.now(UTC) + timedelta(hours=1)
        under_way = [
            self._authority.submit_mint(
                audience=AUDIENCE,
                expires_at=first + timedelta(seconds=number % 7200),
                caveats=caveats,
                third_party=[asked] * questions,
            )
            for number in range(count)
        ]
        return [decode(future.result().token) for future in under_way]

    def answers(self, root: UnverifiedMacaroon, *more: Sequence[str]) -> list[UnverifiedMacaroon]:
        """Its discharges of a root, each with what was to be declared and the caveats that are given for it."""
        made: list[UnverifiedMacaroon] = []
        for caveat in [one for one in root.caveats if one.vid is not None]:
            try:
                _, first_party = read_parties(caveat.cid)
            except ValueError:  # a holder's own
                continue
            sealed = Channel.of_third_party(self._pair, first_party).open(caveat.cid)
            assert sealed is not None
            assert asked_names(sealed.condition.decode())[0] == ("username",)
            caveats = [DECLARED, *(more[len(made)] if len(made) < len(more) else ())]
            made.append(build.discharge(sealed.root_key, LOCATION, caveat.cid, caveats))
        return made

    def bundles(self, caveats: Sequence[str], count: int) -> list[str]:
        """Tokens with one discharge each, which expires in five minutes."""
        until = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return [build.bind(root, self.answers(root, [f"time-before {until}"])) for root in self.roots(caveats, count)]


class PeerBundles:
    """Bundles of the same identifiers, caveats and ids as ours, under keys of the peer's own, for pymacaroons.

    Its verifier compares text, so it pays for chains and the vid alone, and reads neither caveats nor caveat ids.
    """

    def __init__(self, ours: Sequence[str]) -> None:
        self._key = secrets.token_bytes(32)
        self._bundles = [self._like(*map(decode, bundle.split("~"))) for bundle in ours]

    def _like(self, root: UnverifiedMacaroon, discharge: UnverifiedMacaroon) -> tuple[str, str, list[str]]:
        secret, texts = secrets.token_bytes(32), []
        macaroon = Macaroon(location=LOCATION, identifier=root.identifier, key=self._key, version=2)
        for caveat in root.caveats:
            if caveat.vid is None:
                texts.append(caveat.cid.decode())
                macaroon.add_first_party_caveat(texts[-1])
            else:
                macaroon.add_third_party_caveat(LOCATION, secret, caveat.cid)
        answer = Macaroon(location=LOCATION, identifier=discharge.identifier, key=secret, version=2)
        for caveat in discharge.caveats:
            texts.append(caveat.cid.decode())
            answer.add_first_party_caveat(texts[-1])
        return macaroon.serialize(), macaroon.prepare_for_request(answer).serialize(), texts

    def verify(self, which: slice) -> int:
        """Verify with pymacaroons, from text."""
        batch = self._bundles[which]
        for root, discharge, caveats in batch:
            verifier = PyVerifier()
            for caveat in caveats:
                verifier.satisfy_exact(caveat)
            verifier.verify(Macaroon.deserialize(root), self._key, [Macaroon.deserialize(discharge)])
        return len(batch)
