"""An authority whose clock the test sets, a forge that holds its keys, and an independent holder and discharger."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pymacaroons import Macaroon

from capsvc.authority import Authority
from capsvc.config import Settings
from capsvc.decision.instants import aware
from capsvc.errors import Denied
from capsvc.grants import Grant, Minted
from capsvc.macaroon.chain import extend
from capsvc.macaroon.decode import RawCaveat, decode, encode
from capsvc.macaroon.encoding import b64encode
from capsvc.macaroon.identifier import Identifier
from capsvc.macaroon.thirdparty import Channel, KeyPair, key_text, read_parties

NOON = 1_795_348_800  # 2026-11-22T12:00:00Z, a Sunday
ATTRIBUTES: Mapping[str, Mapping[str, object]] = {
    "floor": {"type": "integer"},
    "room": {"type": "integer"},
    "body": {"type": "digest"},
    "plan": {"type": "word", "values": ["free", "team"]},
    "tenant": {"type": "word", "fact": True},
    "seats": {"type": "integer", "fact": True},
}
DISCHARGER = "https://who.example/"
SHARED_SECRET = "between holder and discharger"


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        """Unix seconds."""
        return self.now


class Discharger:
    """A third party that the authority knows: it opens what was sealed for it, and pymacaroons makes its discharges."""

    def __init__(self, name: str, pair: KeyPair | None = None) -> None:
        self.name = name
        self.location = f"https://{name}.example/discharge"
        self.pair = pair or KeyPair.generate()

    def asks(self, condition: str = "is-known", *names: str) -> dict[str, object]:
        """What a minter asks of it, as HTTP and `mint` take it."""
        return {"location": self.location, "condition": condition, "declare": list(names)}

    def questions(self, token: str) -> list[tuple[bytes, bytes, str]]:
        """The caveat ids that it can open, with the root keys and conditions in them."""
        found = []
        for caveat in decode(token).caveats:
            if caveat.vid is None:
                continue
            try:
                _, first_party = read_parties(caveat.cid)
            except ValueError:  # a holder's own
                continue
            sealed = Channel.of_third_party(self.pair, first_party).open(caveat.cid)
            if sealed is not None:
                found.append((caveat.cid, sealed.root_key, sealed.condition.decode()))
        return found

    def discharge(self, token: str, *caveats: str | bytes, question: int = 0, **declared: str) -> Macaroon:
        """An unbound discharge of one of its questions."""
        caveat_id, root_key, _ = self.questions(token)[question]
        macaroon = Macaroon(location=self.location, identifier=caveat_id, key=root_key, version=2)
        for caveat in [*caveats, *(f"declared {name} {value}" for name, value in declared.items())]:
            macaroon.add_first_party_caveat(caveat)
        return macaroon


class Office:
    """An open authority, its clock, and what a test does with it."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        self.clock = Clock()
        self.settings = Settings(data_dir=data_dir, **{"attributes": ATTRIBUTES, **settings})
        self.authority = Authority.open(self.settings, clock=self.clock)

    def another(self) -> Authority:
        """The same database, opened a second time, as another process would; the caller closes it."""
        return Authority.open(self.settings, clock=self.clock)

    # The issuer.

    def minted(self, *caveats: str, **asked: Any) -> Minted:
        """A fresh token and what is said of it: for `default`, an hour."""
        return self.authority.mint(**{"audience": "default", "ttl": 3600, "caveats": caveats, **asked})

    def mint(self, *caveats: str, **asked: Any) -> str:
        """A fresh token's text."""
        return self.minted(*caveats, **asked).token

    def forge(
        self,
        *caveats: str | bytes,
        audience: str = "default",
        iat: int | None = None,
        n: int | None = None,
        identifier: bytes | None = None,
        thirds: Sequence[tuple[str, str]] = (),
    ) -> str:
        """A root under the audience's own key that the authority would never mint; ``n`` is all caveats by default.

        ``thirds`` are third-party caveats after the others: pairs of an id and the discharge's key.
        """
        key = self.authority._follower.view().active_key(audience)
        assert key is not None
        issued = int(self.clock()) if iat is None else iat
        count = len(caveats) + len(thirds) if n is None else n
        name = identifier or Identifier(key.kid, b64encode(secrets.token_bytes(16)), issued, count).encode()
        macaroon = Macaroon(location="http://forge", identifier=name, key=key.root, version=2)
        for caveat in caveats:
            macaroon.add_first_party_caveat(caveat)
        for cid, secret in thirds:
            macaroon.add_third_party_caveat(DISCHARGER, secret, cid)
        return str(macaroon.serialize())

    def register(self, name: str = "login", **asked: Any) -> Discharger:
        """A discharger, registered."""
        discharger = Discharger(name, asked.pop("pair", None))
        given = {"location": discharger.location, "public_key": key_text(discharger.pair.public), **asked}
        self.authority.add_discharger(name=name, **given)
        return discharger

    # The holder and the discharger, both of them pymacaroons.

    @staticmethod
    def narrow(token: str, *caveats: str | bytes) -> str:
        """What a holder makes of a token."""
        macaroon = Macaroon.deserialize(token)
        for caveat in caveats:
            macaroon.add_first_party_caveat(caveat)
        return str(macaroon.serialize())

    @staticmethod
    def append(token: str, *caveats: bytes) -> str:
        """What a holder can make of a token who follows no library: any octets, under the right MACs."""
        macaroon = decode(token)
        for octets in caveats:
            caveat = RawCaveat(octets)
            signature = extend(macaroon.signature, caveat)
            macaroon = macaroon._replace(caveats=(*macaroon.caveats, caveat), signature=signature)
        return encode(macaroon)

    @staticmethod
    def with_thirds(token: str, *ids: str, key: str = SHARED_SECRET, location: str = DISCHARGER) -> str:
        """The token with third-party caveats that its holder added."""
        macaroon = Macaroon.deserialize(token)
        for cid in ids:
            macaroon.add_third_party_caveat(location, key, cid)
        return str(macaroon.serialize())

    @staticmethod
    def discharge(
        cid: str | bytes, *caveats: str | bytes, key: str = SHARED_SECRET, thirds: Sequence[tuple[str, str]] = ()
    ) -> Macaroon:
        """A discharge, not bound yet."""
        macaroon = Macaroon(location=DISCHARGER, identifier=cid, key=key, version=2)
        for caveat in caveats:
            macaroon.add_first_party_caveat(caveat)
        for third, secret in thirds:
            macaroon.add_third_party_caveat(DISCHARGER, secret, third)
        return macaroon

    @staticmethod
    def bundle(token: str, *discharges: Macaroon) -> str:
        """A token and discharges, bound to it."""
        root = Macaroon.deserialize(token)
        return "~".join([token, *(str(root.prepare_for_request(one).serialize()) for one in discharges)])

    def discharged(self, *caveats: str | bytes, token: str | None = None) -> str:
        """A bundle of a token with one third-party caveat and a discharge with those caveats."""
        root = self.with_thirds(self.mint() if token is None else token, "cid")
        return self.bundle(root, self.discharge("cid", *caveats))

    # The service that asks.

    def grant(self, bundle: str, audience: str = "default", /, *, explain: bool = False, **context: object) -> Grant:
        """The authority's answer, or `Denied`."""
        return self.authority.authorize(bundle, audience=audience, context=context, explain=explain)

    def outcome(self, bundle: str, audience: str = "default", /, **context: object) -> str:
        """``allowed``, or the denial's code."""
        try:
            self.authority.authorize(bundle, audience=audience, context=context)
        except Denied as denied:
            return denied.code
        return "allowed"

    def denial(self, bundle: str, audience: str = "default", /, **context: object) -> tuple[str, str | None]:
        """The denial's code and caveat."""
        with pytest.raises(Denied) as denied:
            self.authority.authorize(bundle, audience=audience, context=context)
        return denied.value.code, denied.value.caveat

    def at(self, offset: float, bundle: str, audience: str = "default", /, **context: object) -> str:
        """The outcome at so many seconds after noon; the clock goes back to noon."""
        self.clock.now = NOON + offset
        try:
            return self.outcome(bundle, audience, **context)
        finally:
            self.clock.now = NOON


def instant(offset: int = 0) -> str:
    """An instant so many seconds after noon, as caveats spell it."""
    return aware(NOON + offset).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(name="instant", scope="session")
def instant_fixture() -> Callable[[int], str]:
    """`instant`, for tests."""
    return instant


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """A fresh authority."""
    opened = Office(tmp_path / "data")
    yield opened
    opened.authority.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """An authority for tests that leave nothing behind that another looks at."""
    opened = Office(tmp_path_factory.mktemp("shared") / "data")
    yield opened
    opened.authority.close()


@pytest.fixture
def make_office(tmp_path: Path) -> Iterator[Callable[..., Office]]:
    """Open authorities by the name of their directory and with settings; all are closed at the end."""
    made: list[Office] = []

    def make(name: str = "data", **settings: Any) -> Office:
        made.append(Office(tmp_path / name, **settings))
        return made[-1]

    yield make
    for one in made:
        one.authority.close()
