"""The middleware: nothing reaches an application before the token that a request presents has been judged.

A request is judged once, with everything that is known of it. For a route with `capsvc.asgi.requires` that is what can
be said of any request, and what the route adds; for whatever else there is (a route that asks for nothing, no route, a
mounted application of another kind) it is what can be said of any request. So a `requires` that somebody forgets lets
nobody in whom his token does not: a token that is narrowed to actions is refused there, since there is no action, and
any other caveat is checked as everywhere. Which route it will be is found out from the application's own routes, before
anything of it runs; where they cannot be read, the request is judged twice, by both measures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from capsvc.addresses import read_proxies
from capsvc.asgi import checks
from capsvc.asgi.bakery import Bakery, MintRoot
from capsvc.asgi.case import Case, Rules
from capsvc.asgi.exchange import Exchange
from capsvc.asgi.fields import read_fields
from capsvc.asgi.requires import judge
from capsvc.asgi.routes import Routes
from capsvc.asgi.sockets import Socket
from capsvc.asgi.targets import judged_path
from capsvc.asgi.users import show_nobody
from capsvc.asgi.verifier import Verifier
from capsvc.web.problems import MAX_HEADER_BYTES, Problem, headers_too_large
from caveats import normal_path

__all__ = ["CapsvcMiddleware"]

NO_ACTION: Final[Mapping[str, object]] = {}


class CapsvcMiddleware:
    """Protects an ASGI application with capsvc tokens, HTTP and WebSocket.

        app.add_middleware(CapsvcMiddleware, verifier=RemoteVerifier(url, credential), audience="photos")

    The grant is ``request.state.grant``, the token's subject ``request.user.identity`` (``request.user`` is nobody for
    a token without one), the actions that were asked about are ``request.auth.scopes``. A refusal is a problem (RFC
    9457) with a code and RFC 6750's challenge. A WebSocket is closed (1008) when its token expires or is revoked.

    Add what answers browsers' preflight requests (``CORSMiddleware``) after it, so that it is around it; and nothing
    within it that changes a request's path or method.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        verifier: Verifier,
        audience: str,
        optional: bool = False,
        exempt: Iterable[str] = (),
        actions: Mapping[str, str] | None = None,
        trusted_proxies: Iterable[str] = (),
        bakery: bool = False,
        mint_root: MintRoot | None = None,
        origin: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take what decides, and whose tokens count.

        Args:
            app: what is protected.
            verifier: decides; it is opened and closed with the application.
            audience: whose tokens count.
            optional: let requests pass that present nothing, as nobody's (``request.state.grant`` is None), where the
                route requires nothing. A token that is presented has to be good all the same.
            exempt: paths that need no token, whole as a client sends them; one that ends in ``/`` stands for all below,
                but ``/`` for itself alone.
            actions: by HTTP method, the ``action`` of routes that do not say theirs; without it there is none. (A
                WebSocket's handshake is a GET.)
            trusted_proxies: addresses and networks whose ``X-Forwarded-For`` counts; without them the caller is the
                socket's peer. (uvicorn changes that peer by itself, for any caller on this machine, unless it is run
                with ``proxy_headers`` off.)
            bakery: answer macaroon-bakery's clients with a root to discharge, and read the cookies that they send.
            mint_root: gives that root (`capsvc.asgi.bakery_roots`); with ``bakery``, and only with it.
            origin: the service's own origin (``https://photos.example.org``) where a proxy hides it: whose pages may
                send such a cookie with a request that changes something.
            clock: gives Unix seconds; closes WebSockets.

        Raises:
            ValueError: for an audience or action that is no word, a method that is not in capitals, a path that is in
                no normal form or has a ``*``, what is no proxy, ``mint_root`` or ``origin`` without bakery, or it
                without ``mint_root``.
            TypeError: for what is no verifier.

        """
        if bakery != (mint_root is not None):
            raise ValueError("bakery takes mint_root, and mint_root is for bakery")
        if origin is not None and mint_root is None:
            raise ValueError("origin is for bakery")
        self.app = app
        self._optional = optional
        self._exempt = _Exempt(exempt)
        self._rules = Rules(
            checks.verifier(verifier),
            checks.word("audience", audience),
            checks.action_map(actions),
            read_proxies(trusted_proxies),
            None if mint_root is None else Bakery(mint_root, origin),
            clock,
        )
        self._routes = Routes(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one request, then let the application answer it."""
        if scope["type"] == "lifespan":
            await _Lifespan(self._rules.verifier, receive, send).run(self.app, scope)
            return
        if scope["type"] not in {"http", "websocket"}:
            raise RuntimeError("this server speaks a protocol that CapsvcMiddleware does not protect")
        case = Case(self._rules, scope, read_fields(scope))
        channel = Exchange(case, receive, send) if scope["type"] == "http" else Socket(case, receive, send)
        try:
            await self._judge(case)
        except Problem as problem:
            await channel.refuse(await case.refuse(problem))
            return
        await channel.run(self.app)

    async def _judge(self, case: Case) -> None:
        """Raises `Problem` for a request that is refused."""
        scope = case.scope
        if case.size > MAX_HEADER_BYTES:
            raise headers_too_large()
        if self._exempt and self._exempt.covers(scope):
            show_nobody(scope)
            return
        if not self._optional:
            case.bundle()  # who presents nothing gets no further, whatever the routes would make of the path
        found = self._routes.find(scope)
        if found is not None:
            await judge(found.requirements, case, found.scope)
            case.unmet.update(found.requirements)
        elif not (self._optional and case.anonymous):
            action = case.action_of(case.base)
            await case.decide(NO_ACTION if action is None else {"action": action})
        else:
            show_nobody(scope)
            return
        case.show(scope)


class _Exempt:
    """Paths that need no token."""

    def __init__(self, paths: Iterable[str]) -> None:
        given = [paths] if isinstance(paths, str) else [*paths]
        checked = [normal_path(path) for path in given]
        if any("*" in path for path in checked):
            raise ValueError("exempt: a path stands for itself, or for all below it if it ends in /; there is no *")
        self._exact = frozenset(checked)
        self._below = tuple(path for path in checked if path.endswith("/") and path != "/")

    def __bool__(self) -> bool:
        return bool(self._exact)

    def covers(self, scope: Scope) -> bool:
        """Whether a request's path is one of them; one that is in no normal form is none."""
        path = judged_path(scope)
        if path not in self._exact and not path.startswith(self._below):
            return False
        try:
            normal_path(path)
        except ValueError:
            return False
        return True


class _Lifespan:
    """Opens the verifier before the application starts, and closes it before the server hears that it has ended."""

    def __init__(self, verifier: Verifier, receive: Receive, send: Send) -> None:
        self._verifier = verifier
        self._receive = receive
        self._send = send

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Let the application go through it; one that knows nothing of it raises, and the verifier stays open."""
        await app(scope, self._hear, self._say)

    async def _hear(self) -> Message:
        message = await self._receive()
        if message["type"] == "lifespan.startup":
            try:
                await self._verifier.open()
            except Exception as error:
                # Raised alone, servers would take it for an application without a lifespan, and serve it.
                words = f"the verifier cannot be opened: {type(error).__name__}"
                await self._say({"type": "lifespan.startup.failed", "message": words})
                raise
        return message

    async def _say(self, message: Message) -> None:
        if message["type"] != "lifespan.startup.complete":
            await self._verifier.aclose()
        await self._send(message)
