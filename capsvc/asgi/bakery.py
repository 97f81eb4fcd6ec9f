"""macaroon-bakery's way to present a token, for its unmodified clients: a 401 with a root to discharge, and cookies.

A client that says that it speaks bakery and presents no usable token gets a fresh root. It asks the third parties that
the root names, and tries again with a cookie that holds the root and its bound discharges. Of others nothing is read
but Authorization.
"""

from __future__ import annotations

import binascii
import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from anyio import to_thread
from starlette.requests import HTTPConnection
from starlette.types import Scope

from capsvc.asgi.checks import origin as check_origin
from capsvc.asgi.fields import BAKERY_VERSION, COOKIE, HOST, MACAROONS, ORIGIN, Fields
from capsvc.errors import TokenError
from capsvc.grants import Minted
from capsvc.macaroon.bundle import SEPARATOR, split
from capsvc.macaroon.decode import UnverifiedMacaroon, encode
from capsvc.macaroon.formats import read_v2json_list, to_v2json
from capsvc.web.answers import JSON, NO_STORE, Answer
from capsvc.web.problems import CHALLENGE, Problem
from caveats import TimeBefore
from caveats import encode as encode_caveat

if TYPE_CHECKING:
    from capsvc.client import AsyncClient

__all__ = ["Bakery", "MintRoot", "Minter", "bakery_roots"]

MintRoot: TypeAlias = Callable[[HTTPConnection], Awaitable[str]]
"""Gives the text of a fresh root for whoever asks; may raise whatever it likes, which is answered 503 and logged."""

COOKIE_SUFFIX: Final = "capsvc"
COOKIE_NAME: Final = f"macaroon-{COOKIE_SUFFIX}".encode("ascii")
UNDECODABLE: Final = ""  # no token, so malformed
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
SCHEMES: Final = {"ws": b"http", "wss": b"https"}
ROOTS_A_SECOND: Final = 20.0
"""How many roots are minted at most: each leaves a row with the authority, and whoever asks has shown nothing."""
ROOTS_AT_ONCE: Final = 40.0

logger = logging.getLogger("capsvc.asgi")


class Minter(Protocol):
    """What mints: ``Authority``, or ``Client`` with a credential that may ``tokens:mint``."""

    def mint(
        self,
        *,
        audience: str,
        ttl: int,
        caveats: Sequence[str],
        third_party: Sequence[Mapping[str, object]],
        label: str | None,
    ) -> Minted:
        """Mint a root token."""
        ...


def bakery_roots(
    minter: Minter | AsyncClient,
    *,
    audience: str,
    third_party: Sequence[Mapping[str, object]],
    ttl: int = 86_400,
    caveats: Sequence[str] = (),
    clock: Callable[[], float] = time.time,
) -> MintRoot:
    """What `CapsvcMiddleware` takes as ``mint_root``: mints a root for every client that has none.

    Args:
        minter: an ``Authority``, ``Client`` or ``AsyncClient``.
        audience: the middleware's.
        third_party: who has to discharge it: ``[{"location": …, "condition": …, "declare": […]}]``, one at least, for
            everybody gets such a root.
        ttl: seconds that it is good.
        caveats: more of them.
        clock: gives Unix seconds.

    Raises:
        ValueError: without a third party, everybody would be let in.
        TypeError: for a third party that is no mapping.

    """
    if isinstance(third_party, str | Mapping) or not all([isinstance(one, Mapping) for one in third_party]):
        raise TypeError('third_party is a list: [{"location": "https://login.example.org", "condition": "..."}]')
    if not third_party:
        raise ValueError("third_party: one at least, or everybody who asks would be let in")

    async def mint(_connection: HTTPConnection) -> str:
        # Go's client dates its cookie by this alone, and would keep it for 100 years.
        until = encode_caveat(TimeBefore(int(clock()) + ttl))
        asked = {
            "audience": audience,
            "ttl": ttl,
            "caveats": [*caveats, until],
            "third_party": third_party,
            "label": "bakery",
        }
        if inspect.iscoroutinefunction(minter.mint):
            minted: Minted = await minter.mint(**asked)
        else:
            minted = await to_thread.run_sync(lambda: minter.mint(**asked))  # type: ignore[arg-type, return-value]
        return minted.token

    return mint


class Bakery:
    """Reads what bakery's clients present, and answers those that present nothing usable."""

    def __init__(
        self, mint_root: MintRoot, origin: str | None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """``origin`` is the service's own as browsers see it; by default the one that the request names."""
        self._mint_root = mint_root
        self._origin = None if origin is None else check_origin(origin)
        self._allowance = _Allowance(monotonic)
        self._failing = False

    def spoken(self, fields: Fields) -> bool:
        """Whether the client says that it speaks bakery's protocol."""
        return bool(fields.all(BAKERY_VERSION))

    def presented(self, scope: Scope, fields: Fields) -> str | None:
        """The bundle that the client presents in bakery's way; None if there is none. Raises `Problem` 400 for two."""
        if not self.spoken(fields):
            return None
        found = [value.strip(b" ") for field in fields.all(MACAROONS) for value in field.split(b",")]
        if self._cookies_count(scope, fields):
            found += _cookies(fields.all(COOKIE))
        if len(found) > 1:
            raise Problem(400, "bad-request", "There is more than one token.")
        return _bundle(found[0]) if found else None

    async def challenge(self, connection: HTTPConnection, problem: Problem) -> Answer:
        """The 401 with a fresh root to be discharged. Raises `Problem` 429 or 503."""
        if not self._allowance.take():
            raise Problem(429, "rate-limited")
        root = await self._root(connection)
        # A charset, a second challenge or problem+json would break the clients.
        body = {
            "Code": "macaroon discharge required",
            "Message": str(problem),
            "Info": {"Macaroon": json.loads(to_v2json(root)), "MacaroonPath": "/", "CookieNameSuffix": COOKIE_SUFFIX},
        }
        return Answer(401, json.dumps(body).encode("ascii"), (JSON, NO_STORE, (CHALLENGE, b"Macaroon")))

    async def _root(self, connection: HTTPConnection) -> UnverifiedMacaroon:
        try:
            (root,) = split(await self._mint_root(connection))
            _check_root(root)
        except Exception as error:  # noqa: BLE001 - nobody gets in by it, whatever it is
            if not self._failing:
                logger.error("there is no root for bakery's clients: %s", _words(error))  # noqa: TRY400 - once
            self._failing = True
            raise Problem(503, "unavailable") from None
        self._failing = False
        return root

    def _cookies_count(self, scope: Scope, fields: Fields) -> bool:
        """Whether a browser would not send them for somebody else's page.

        What is safe changes nothing; a WebSocket is not safe, though it begins with a GET.
        """
        if scope["type"] == "http" and scope["method"] in SAFE:
            return True
        origins = fields.all(ORIGIN)
        return not origins or (len(origins) == 1 and origins[0].lower() == self._own_origin(scope, fields))

    def _own_origin(self, scope: Scope, fields: Fields) -> bytes | None:
        if self._origin is not None:
            return self._origin
        host = fields.one(HOST)
        scheme: str = scope.get("scheme", "http")
        return None if host is None else SCHEMES.get(scheme, scheme.encode("ascii")) + b"://" + host.lower()


def _check_root(root: UnverifiedMacaroon) -> None:
    """Raises ``ValueError`` for a root that would let everybody in, or that clients would keep for ever."""
    if not any([caveat.vid is not None for caveat in root.caveats]):
        raise ValueError("a root for bakery's clients has a third party's caveat")
    if not any([caveat.cid.startswith(b"time-before ") for caveat in root.caveats]):
        raise ValueError("a root for bakery's clients carries time-before")


def _cookies(fields: Sequence[bytes]) -> list[bytes]:
    """The values of our cookie, in order."""
    pairs = [pair.strip(b" ").partition(b"=") for field in fields for pair in field.split(b";")]
    return [value for name, _, value in pairs if name == COOKIE_NAME]


def _bundle(value: bytes) -> str:
    """A bundle from base64 (Go's standard alphabet, Python's URL-safe one) of a JSON list of V2 JSON, root first."""
    try:
        octets = binascii.a2b_base64(value.translate(_STANDARD), strict_mode=True)
        macaroons = read_v2json_list(octets.decode())
    except (ValueError, TokenError):
        return UNDECODABLE
    return SEPARATOR.join([encode(macaroon) for macaroon in macaroons])


_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


def _words(error: Exception) -> str:
    """What went wrong, by its type and code: a message may repeat a secret."""
    return f"{type(error).__name__} {getattr(error, 'code', '')}".rstrip()


class _Allowance:
    """A bucket of roots that fills by so many a second."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._left = ROOTS_AT_ONCE
        self._at = monotonic()

    def take(self) -> bool:
        now = self._monotonic()
        self._left = min(ROOTS_AT_ONCE, self._left + (now - self._at) * ROOTS_A_SECOND)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
