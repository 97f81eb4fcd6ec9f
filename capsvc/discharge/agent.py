"""Login of agents: programs that prove by their own key who they are, as macaroon-bakery's do it.

The agent asks for a macaroon with its name and public key. It gets one that says its name, is good for a minute, and
has a third party's caveat at ``local`` that only the owner of that key can discharge. It discharges that itself, and
sends both, bound, as the token of its discharge.

That caveat is sealed with the discharger's own key pair, the one that it publishes: by it an agent can tell whether it
was asked by the discharger that it talks to, or by another one whose login is passed on to it.

The macaroon's key is made when the process starts, so that nothing is kept of what is given out, but of what was used.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from secrets import token_bytes
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from capsvc.discharge.bakery import Refusal, bad_request, denied, macaroon_json, one, parameters
from capsvc.discharge.login import AGENT, Begin, Surroundings
from capsvc.errors import Denied, TokenError
from capsvc.macaroon import build
from capsvc.macaroon.bundle import MAX_BUNDLE_CAVEATS, MAX_DISCHARGES, check_caveats, split
from capsvc.macaroon.chain import KEY_OCTETS, derive_key, verify
from capsvc.macaroon.decode import UnverifiedMacaroon, decode_binaries
from capsvc.macaroon.discharges import match
from capsvc.macaroon.encoding import b64encode
from capsvc.macaroon.thirdparty import Channel, read_key
from caveats import SATISFIED, CaveatError, TimeBefore, Vocabulary, check, clock_values, encode, parse

__all__ = ["AGENT_SECONDS", "MAX_USED", "AgentLogin"]

AGENT_SECONDS: Final = 60
"""How long an agent's macaroon is good."""

MAX_USED: Final = 100_000
"""Of the macaroons that are still good, how many can have been used; past it no agent logs in."""

PATH: Final = "/agent"
LOCAL: Final = "local"  # bakery's location of a caveat that the client discharges itself
CONDITION: Final = "true"  # and its condition
PREFIX: Final = b"agent1"
NONCE_OCTETS: Final = 16

_VOCABULARY: Final = Vocabulary.built_in()


class AgentLogin:
    """The login of agents that are known by name and public key."""

    kind = AGENT

    def __init__(self, agents: Mapping[str, Iterable[str]]) -> None:
        """Take each agent's public keys (standard base64), by its name. Raises `ValueError` for what is none."""
        self._agents = {name: {key: read_key(key) for key in keys} for name, keys in agents.items()}
        if not all(name and name.isprintable() for name in self._agents):
            raise ValueError("an agent has a name")
        self._root_key = token_bytes(KEY_OCTETS)
        self._chain_key = derive_key(self._root_key)
        self._channels: dict[bytes, Channel] = {}  # by the public keys of agents that have logged in
        self._used: OrderedDict[bytes, float] = OrderedDict()  # until when, in the order in which they were used
        self._installed: Surroundings | None = None

    def install(self, surroundings: Surroundings) -> None:
        """See `capsvc.discharge.login.Login`."""
        if self._installed is not None:
            raise ValueError("a login belongs to one discharger")
        self._installed = surroundings

    @property
    def _surroundings(self) -> Surroundings:
        if self._installed is None:
            raise ValueError("a login is installed in a discharger before it is used")
        return self._installed

    def routes(self) -> Sequence[Route]:
        """Where an agent asks for its macaroon."""
        return [Route(PATH, self._macaroon)]

    def offer(self, begin: Begin) -> dict[str, object]:  # noqa: ARG002 - nobody is waited for
        """Where that is."""
        return {"login-url": self._surroundings.url(PATH)}

    def user(self, token: bytes, caveat: bytes) -> str | None:  # noqa: ARG002 - it proves a name, whatever it is for
        """The name of the agent that a token proves; None for any other, and the second time."""
        now = int(self._surroundings.clock())
        try:
            identifier = self._verified(token, now)
        except (TokenError, Denied, CaveatError):
            return None
        _, nonce, name = identifier.split(b" ", 2)
        return name.decode() if self._spend(nonce, now) else None

    async def _macaroon(self, request: Request) -> Response:
        given = parameters(request.scope["query_string"])
        name, key = one(given, "username"), one(given, "public-key")
        public = self._agents.get(name, {}).get(key)
        if public is None:
            raise _unknown(key)
        return Response(f'{{"macaroon": {macaroon_json(self._made(name, public))}}}', media_type="application/json")

    def _made(self, name: str, public: bytes) -> UnverifiedMacaroon:
        root_key = token_bytes(KEY_OCTETS)
        channel = self._channels.get(public)
        if channel is None:  # it costs most of a login
            channel = self._channels[public] = Channel.of_first_party(self._surroundings.key, public)
        sealed = channel.seal(root_key, CONDITION)
        nonce = b64encode(token_bytes(NONCE_OCTETS)).encode("ascii")
        until = TimeBefore(int(self._surroundings.clock()) + AGENT_SECONDS)
        text = build.mint(
            self._root_key,
            self._surroundings.location,
            b" ".join([PREFIX, nonce, name.encode()]),
            [encode(until)],
            [build.ThirdPartyCaveat(LOCAL, root_key, sealed)],
        )
        (made,) = split(text)
        return made

    def _verified(self, token: bytes, now: int) -> bytes:
        """The identifier of the macaroon in a token, if it is ours, discharged, and every caveat of both holds.

        Raises `TokenError`, `Denied` or `CaveatError` if it is not.
        """
        root, *discharges = _bounded(token)
        verified = verify(root, self._chain_key)
        if verified is None:
            raise Denied("invalid-token")
        _check(root, now, discharge=False)
        for answered in match(verified, discharges):
            _check(answered.macaroon, now, discharge=True)
        return root.identifier

    def _spend(self, nonce: bytes, now: int) -> bool:
        """Whether it is used for the first time."""
        while self._used and next(iter(self._used.values())) <= now:
            self._used.popitem(last=False)
        if nonce in self._used or len(self._used) >= MAX_USED:
            return False
        self._used[nonce] = now + AGENT_SECONDS
        return True


def _unknown(key: str) -> Refusal:
    """The refusal of an agent that nobody knows, or of what is no key at all."""
    try:
        read_key(key)
    except ValueError as error:
        return bad_request(f"public-key: {error}")
    return denied("no agent of that name has that key")


def _bounded(token: bytes) -> tuple[UnverifiedMacaroon, ...]:
    """The macaroons of a token within the bounds of a bundle. Raises `TokenError`."""
    macaroons = decode_binaries(token)
    if not 0 < len(macaroons) <= 1 + MAX_DISCHARGES:
        raise TokenError("too-large", "an agent's token is a macaroon and its discharges")
    for macaroon in macaroons:
        check_caveats(macaroon)
    if sum([len(macaroon.caveats) for macaroon in macaroons]) > MAX_BUNDLE_CAVEATS:
        raise TokenError("too-large", f"a bundle has at most {MAX_BUNDLE_CAVEATS} caveats")
    return macaroons


def _check(macaroon: UnverifiedMacaroon, now: int, *, discharge: bool) -> None:
    """Return if every first-party caveat holds. Raises `CaveatError` or `Denied`."""
    values = clock_values(now)
    for caveat in macaroon.caveats:
        if caveat.vid is None and check(parse(caveat.cid, _VOCABULARY, discharge=discharge), values) is not SATISFIED:
            raise Denied("caveat-refused")
