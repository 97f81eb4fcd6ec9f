"""/v1/forward-auth: a decision about somebody else's request, as a gateway in front of it tells it.

Nothing is believed unless it comes from a trusted proxy, by the address of the socket, and nothing is read but four
headers in one spelling each and the credential: neither the request's own line nor its body. Whatever is unclear is
refused. A gateway passes on what a 200 says of the caller, so it always says all of it.
"""

from __future__ import annotations

import logging
from typing import Final

from capsvc.addresses import client_address, host_of, is_proxy, read_proxies
from capsvc.authority import DEFAULT_AUDIENCE
from capsvc.errors import Denied
from capsvc.http.answers import NO_STORE, Answer
from capsvc.http.incoming import Incoming
from capsvc.http.problems import Problem, of_denial
from capsvc.http.service import Service
from capsvc.wire import visible

__all__ = ["METHODS", "ForwardAuth"]

METHODS: Final = ("GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE")
"""The methods that OpenAPI can tell of, but for HEAD; any other is answered too."""

STRANGERS: Final = 32  # peers that are told of: enough to find a gateway that was forgotten, too few to fill a log

logger = logging.getLogger("capsvc.http")


class ForwardAuth:
    """The handler."""

    def __init__(self, service: Service) -> None:
        self._service = service
        settings = service.settings
        self._proxies = read_proxies(settings.trusted_proxies)
        self._audience = settings.forward_auth_audience or DEFAULT_AUDIENCE
        self._actions = settings.forward_auth_actions
        self._strangers: set[str | None] = set()

    async def decide(self, request: Incoming) -> Answer:
        """Any method on /v1/forward-auth: 200, 401, 403 or 503."""
        if not is_proxy(request.peer, self._proxies):
            self._tell_of(request.peer)
            raise _refused("Only trusted proxies ask this.")
        context = self._context(request)
        bundle = _bundle(request)
        try:
            grant = self._service.authority.authorize(bundle, audience=self._audience, context=context)
        except Denied as denied:
            raise of_denial(denied) from None
        subject = (b"x-capsvc-subject", (grant.subject or "").encode("ascii"))
        return Answer(200, b"", (NO_STORE, subject, (b"x-capsvc-token-id", grant.id.encode("ascii"))))

    def _tell_of(self, peer: str | None) -> None:
        """Say once who asked in vain: a gateway's operator sees 403, and not from which address it was asked."""
        if peer in self._strangers or len(self._strangers) >= STRANGERS:
            return
        self._strangers.add(peer)
        who = "a socket without an address" if peer is None else visible(peer[:64])
        logger.warning("forward-auth was refused to %s, which is not among trusted_proxies", who)

    def _context(self, request: Incoming) -> dict[str, object]:
        """What the gateway tells; whether it is well formed is for the decision to say. Raises `Problem` 403."""
        method = _told(request, "Method")
        context: dict[str, object] = {
            "method": method,
            "path": _told(request, "Uri").partition("?")[0],
            "ip": self._address(request),
        }
        host = host_of(_told(request, "Host"))
        if host is not None:
            context["host"] = host
        action = self._actions.get(method)
        if action is not None:
            context["action"] = action
        return context

    def _address(self, request: Incoming) -> str:
        try:
            return client_address(request.peer, [_told(request, "For")], self._proxies)
        except ValueError:
            raise _refused("X-Forwarded-For holds no address where the client's should be.") from None


def _told(request: Incoming, what: str) -> str:
    """The value of the one header of that name. Raises `Problem` 403."""
    values = request.header(b"x-forwarded-" + what.lower().encode("ascii"))
    if len(values) != 1:
        raise _refused(f"X-Forwarded-{what} has to be there exactly once.")
    return values[0]


def _bundle(request: Incoming) -> str:
    """The caller's credential. Raises `Problem` 401."""
    credentials = request.header(b"authorization")
    if len(credentials) > 1:
        raise Problem(401, "malformed", "There are two Authorization headers.")
    request.require_credential()
    return request.credential()


def _refused(why: str) -> Problem:
    return Problem(403, "forbidden", why)
