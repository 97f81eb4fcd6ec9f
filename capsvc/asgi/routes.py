"""Which route a request will come to, and what that requires: known before anything of the application runs.

The application's own routes are asked, in its order. Where that tells nothing (another kind of application, a
middleware of another form in between, no route), nothing is required beyond what holds for any request, and a
`Requirement` that is come to nevertheless decides by itself. So what is not seen here is judged more strictly, never
less.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from starlette.routing import BaseRoute, Host, Match, Mount
from starlette.types import ASGIApp, Scope

from capsvc.asgi.requires import Requirement, requirements_of, requires

__all__ = ["Found", "Routes"]

LAYERS: Final = 64  # of middleware within ours
REMEMBERED: Final = 4096  # routes whose requirements are known


class Found(NamedTuple):
    """What the route requires, the first to be asked first, and the scope as it will be there."""

    requirements: tuple[Requirement, ...]
    scope: Scope


class Routes:
    """The routes within an application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._known: dict[int, tuple[object, tuple[Requirement, ...]]] = {}

    def find(self, scope: Scope) -> Found | None:
        """What is required of a request; None where nothing is known to be."""
        found = self._match_in(self._app, scope)
        return found if found is not None and found.requirements else None

    def _match_in(self, app: object, scope: Scope) -> Found | None:
        """The route that an application will come to, where it can be seen."""
        inside = _inside(app, scope)
        return None if inside is None else self._match(*inside)

    def _match(self, routes: Iterable[Any], scope: Scope) -> Found | None:
        """The first route that takes the whole request, as Starlette's router has it."""
        for route in routes:
            try:
                match, child = route.matches(scope)
            except ValueError:  # of a convertor: thousands of digits are no int
                continue
            if match is Match.FULL:
                return self._within(route, {**scope, **child})
        return None

    def _within(self, route: Any, scope: Scope) -> Found | None:
        if isinstance(getattr(route, "original_route", route), Mount | Host):
            return self._match_in(route.app, scope)
        included = _included(route)
        if included is not None:
            return self._match(included, scope)
        return Found(self._required(route, scope), scope)

    def _required(self, route: Any, scope: Scope) -> tuple[Requirement, ...]:
        endpoint = getattr(route, "endpoint", None)
        while isinstance(endpoint, functools.partial):
            endpoint = endpoint.func
        if inspect.isclass(endpoint):  # Starlette's HTTPEndpoint and WebSocketEndpoint
            return requirements_of(_handler(endpoint, scope))
        dependant = getattr(route, "dependant", None)  # FastAPI's
        if dependant is None:
            return requirements_of(endpoint)
        known = self._known.get(id(dependant))
        if known is None or known[0] is not dependant:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[id(dependant)] = (dependant, tuple(dict.fromkeys(_depended_on(dependant))))
        return known[1]


def _inside(app: object, scope: Scope) -> tuple[Sequence[BaseRoute], Scope] | None:
    """The routes of an application, or of the one within the middleware around it, and the scope as it has it there."""
    for _ in range(LAYERS):
        root_path = getattr(app, "root_path", None)
        if isinstance(root_path, str) and root_path:  # FastAPI's, which it puts in the place of the server's
            scope = {**scope, "root_path": root_path}
        routes = getattr(app, "routes", None)
        if isinstance(routes, Sequence):
            known = all([isinstance(route, BaseRoute) for route in routes[:1]])  # else another framework's
            return (routes, scope) if known else None
        app = getattr(app, "app", None)
        if app is None:
            return None
    return None


def _included(route: Any) -> Iterable[Any] | None:
    """The routes that one stands for, where FastAPI has included a router; None for one that stands for itself."""
    if hasattr(route, "endpoint") or hasattr(route, "dependant"):
        return None
    fastapi = sys.modules.get("fastapi.routing")
    contexts = getattr(fastapi, "iter_route_contexts", None)
    return () if contexts is None else contexts([route])


def _handler(endpoint: type, scope: Scope) -> object:
    """The method of an endpoint's class that is the first to run."""
    if scope["type"] == "websocket":
        return getattr(endpoint, "on_connect", None)
    method = str(scope["method"]).lower()
    if method == "head" and not hasattr(endpoint, "head"):
        method = "get"
    return getattr(endpoint, method, None)


def _depended_on(dependant: Any) -> list[Requirement]:
    """The requirements among a FastAPI route's dependencies, however deep, and on its endpoint."""
    found = [one for dependency in dependant.dependencies for one in _depended_on(dependency)]
    if dependant.call is requires:
        raise RuntimeError('Depends(requires("...")) requires something, Depends(requires) does not')
    own = (dependant.call,) if isinstance(dependant.call, Requirement) else requirements_of(dependant.call)
    return [*found, *own]
