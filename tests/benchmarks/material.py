"""What everybody verifies: our tokens from a real authority, the peers' with the same bytes under their own key."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pymacaroons import Macaroon
from pymacaroons import Verifier as PyVerifier

from capsvc.authority import Authority
from capsvc.config import Settings
from capsvc.macaroon.decode import decode
from capsvc.macaroon.formats import to_v1
from capsvc.token import Token
from tests.benchmarks.libmacaroons import LibMacaroons, Verifier

__all__ = ["AUDIENCE", "CONTEXT", "FORTY_NINE", "FOUR", "JsonWebTokens", "OurTokens", "PeerTokens", "WebTokens"]

AUDIENCE: Final = "default"

FOUR: Final = ("action in read,write", "method = GET", "path under /v1/photos", "ip in 192.0.2.0/24")
"""With ``time <``, which every token has, five caveats."""

FORTY_NINE: Final = (*FOUR, *(f"action in a{number:02},read" for number in range(45)))
"""With ``time <`` fifty."""

CONTEXT: Final = {"action": "read", "method": "GET", "path": "/v1/photos/2026/11", "ip": "192.0.2.7"}
"""Satisfies all of them."""


class OurTokens:
    """An authority in a directory of its own, and tokens that it minted."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.authority = Authority.open(Settings(data_dir=directory))

    def mint(self, caveats: Sequence[str], count: int) -> list[str]:
        """Distinct tokens, whose times of expiry differ as those of tokens from different seconds do."""
        return [made.token for made in self.minted(caveats, count)]

    def minted(self, caveats: Sequence[str], count: int, *, at_once: bool = False) -> list[_Minted]:
        """The same, with what a peer needs to make its like; ``at_once``, all expire in the same second."""
        first = datetime.now(UTC) + timedelta(hours=1)
        under_way = [
            self.authority.submit_mint(
                audience=AUDIENCE,
                expires_at=first + timedelta(seconds=0 if at_once else number % 7200),
                caveats=caveats,
            )
            for number in range(count)
        ]
        return [_Minted(made.token, made.caveats) for made in (future.result() for future in under_way)]

    def verify(self, tokens: Sequence[str]) -> int:
        """Verify each; a denial is raised."""
        authorize = self.authority.authorize
        for token in tokens:
            authorize(token, audience=AUDIENCE, context=CONTEXT)
        return len(tokens)

    @property
    def credential(self) -> str:
        """The administrator's."""
        return (self._directory / "admin.token").read_text().strip()

    @staticmethod
    def narrowed(token: str, number: int = 0) -> str:
        """What a holder makes of a token; another for each number."""
        return str(Token.parse(token).attenuate(f"action in a{number:04},read"))


@dataclass(frozen=True, slots=True)
class _Minted:
    """A token of ours, and its caveats."""

    token: str
    caveats: tuple[str, ...]


class PeerTokens:
    """The same location, identifiers and caveats as tokens of ours, under a key of the peers' own.

    The peers' verifiers compare text, so no peer pays for reading caveats: only for its chain. pymacaroons' are made
    each time, since they hold the state of one verification; libmacaroons' are made beforehand.
    """

    def __init__(self, ours: Sequence[_Minted], library: LibMacaroons | None) -> None:
        self._key = secrets.token_bytes(32)
        self._library = library
        texts = [self._like(one) for one in ours]
        self._python = [(text, one.caveats) for text, one in zip(texts, ours, strict=True)]
        self._c: list[tuple[bytes, Verifier]] = []
        if library is not None:
            # 0.3.0, which Debian has, reads V1 alone.
            v1 = [to_v1(decode(text)).encode() for text in texts]
            self._c = [(text, library.verifier(one.caveats)) for text, one in zip(v1, ours, strict=True)]

    def _like(self, ours: _Minted) -> str:
        root = decode(ours.token)
        location = (root.location or b"").decode()
        macaroon = Macaroon(location=location, identifier=root.identifier, key=self._key, version=2)
        for caveat in ours.caveats:
            macaroon.add_first_party_caveat(caveat)
        text: str = macaroon.serialize()
        return text

    def verify_python(self, which: slice) -> int:
        """Verify with pymacaroons, from text."""
        key, batch = self._key, self._python[which]
        for text, caveats in batch:
            _py_verifier(caveats).verify(Macaroon.deserialize(text), key)  # raises if it is no good
        return len(batch)

    def verify_c(self, which: slice) -> int:
        """Verify with libmacaroons, from text."""
        assert self._library is not None
        key, verify, batch = self._key, self._library.verify, self._c[which]
        for text, verifier in batch:
            if not verify(text, key, verifier):
                raise AssertionError("libmacaroons refused a good token")
        return len(batch)


def _py_verifier(caveats: Sequence[str]) -> PyVerifier:
    verifier = PyVerifier()
    for caveat in caveats:
        verifier.satisfy_exact(caveat)
    return verifier


class WebTokens:
    """JWTs with HS256 that say as much as the tokens' caveats can in claims."""

    def __init__(self, count: int) -> None:
        self._key = secrets.token_bytes(32)
        now = int(time.time())
        self._texts = [
            jwt.encode(
                {
                    "aud": AUDIENCE,
                    "iat": now,
                    "exp": now + 3600 + number,
                    "jti": secrets.token_urlsafe(16),
                    "scope": "read write",
                },
                self._key,
                algorithm="HS256",
            )
            for number in range(count)
        ]

    def verify(self, which: slice) -> int:
        """Decode each with every check that PyJWT has for these claims."""
        key, batch = self._key, self._texts[which]
        for text in batch:
            jwt.decode(text, key, algorithms=["HS256"], audience=AUDIENCE)
        return len(batch)


class JsonWebTokens:
    """JWTs with HS256 and with ES256 by algorithm, and in a directory the keys by which a service knows them."""

    def __init__(self, directory: Path, count: int) -> None:
        pair = ec.generate_private_key(ec.SECP256R1())
        public = pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        private = pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        secret = secrets.token_bytes(32)
        for algorithm, key in (("HS256", secret), ("ES256", public)):
            (directory / f"{algorithm}.pub").write_bytes(key)
        now = int(time.time())
        claims = {"aud": AUDIENCE, "iat": now, "exp": now + 3600, "scope": "read write"}
        self.texts = {
            algorithm: [
                jwt.encode({**claims, "jti": secrets.token_urlsafe(16)}, key, algorithm=algorithm) for _ in range(count)
            ]
            for algorithm, key in (("HS256", secret), ("ES256", private))
        }
