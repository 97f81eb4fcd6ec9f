"""What a route requires of a token, beyond what can be said of any request."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, Final, ParamSpec, overload

from anyio import from_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection
from starlette.types import Scope

from capsvc.asgi.case import Case, Refusal, case_of
from capsvc.asgi.checks import word
from capsvc.asgi.openapi import dependency_signature
from capsvc.asgi.targets import NOTHING_LEGAL, OF_THE_REQUEST
from capsvc.grants import Grant
from capsvc.web.problems import Problem

__all__ = ["Requirement", "judge", "requirements_of", "requires"]

Context = Mapping[str, object]
ContextFunction = Callable[[HTTPConnection], Context | Awaitable[Context]]

MARK: Final = "__capsvc_requirements__"
"""On an endpoint: what it requires, the outermost first. Decorators that copy a function's attributes keep it."""

_P = ParamSpec("_P")


def requires(
    action: str | None = None,
    *,
    path_parameters: Mapping[str, str] | Iterable[str] = (),
    context: ContextFunction | None = None,
    critical: bool = False,
    audience: str | None = None,
) -> Requirement:
    """What a route requires: a decorator of Starlette's endpoints, and a dependency of FastAPI's.

        @requires("read", path_parameters=["tenant"])
        async def show(request): ...      # Starlette; also an HTTPEndpoint's methods, a WebSocketEndpoint's on_connect

        @app.get("/{tenant}/photos", dependencies=[Depends(requires("read", path_parameters=["tenant"]))])
        async def photos(): ...                                          # FastAPI

        async def photos(grant: Annotated[Grant, Depends(requires("read"))]): ...      # FastAPI, with the grant

    What the token's caveats are checked against is what `CapsvcMiddleware` knows of any request (``method``, ``path``,
    ``host``, ``ip``), the action, and what the route adds. Where a route has several (one of its router's, say), they
    add up: every value of each counts, and each action has to be allowed. The token is judged before anything of the
    route runs.

    Args:
        action: the value of ``action``; where nothing says one, caveats on ``action`` refuse the request.
        path_parameters: attributes whose values are parameters of the path: names that are the same, or
            ``{attribute: parameter}``. A parameter is text, unless a convertor makes an int of it (``{floor:int}``).
        context: adds values: gets the connection (headers, query, path parameters; a body has not been read yet), gives
            ``{attribute: value}`` or an awaitable of it. What it raises is a fault of the application.
        critical: ask the authority itself, whatever the verifier knows.
        audience: whose tokens count here, if it is not the middleware's.

    """
    return Requirement(action, path_parameters, context, critical=critical, audience=audience)


class Requirement:
    """What `requires` returns; see there. ``__wrapped__`` is the dependency that FastAPI awaits."""

    def __init__(
        self,
        action: str | None,
        path_parameters: Mapping[str, str] | Iterable[str],
        context: ContextFunction | None,
        *,
        critical: bool,
        audience: str | None,
    ) -> None:
        """Take what `requires` takes. Raises ``TypeError`` or ``ValueError`` for what cannot be."""
        if action is not None and not isinstance(action, str):
            raise TypeError('action is text: @requires("read"), not @requires')
        if context is not None and not callable(context):
            raise TypeError("context is a function of the connection, which gives the values")
        if isinstance(path_parameters, str):
            raise TypeError("path_parameters are several names, not one text")
        named = path_parameters if isinstance(path_parameters, Mapping) else {name: name for name in path_parameters}
        taken = OF_THE_REQUEST if action is None else OF_THE_REQUEST | {"action"}
        if not taken.isdisjoint(named):
            raise ValueError(f"{', '.join(sorted(taken.intersection(named)))}: known without a parameter of the path")
        self.action = None if action is None else word("action", action)
        self.critical = critical
        self.audience = None if audience is None else word("audience", audience)
        self.adds = bool(named) or context is not None
        """Whether it adds anything to the context but an action."""
        self._parameters = dict(named)
        self._context = context

    def __repr__(self) -> str:
        return f"<requires {self.action}>"

    @property
    def __wrapped__(self) -> Callable[..., Coroutine[Any, Any, Grant]]:
        """What FastAPI inspects: an async function of the connection."""

        async def dependency(target: HTTPConnection, bearer: object = None) -> Grant:  # noqa: ARG001 - for OpenAPI
            return await self.met(target)

        dependency.__signature__ = dependency_signature()  # type: ignore[attr-defined]
        return dependency

    @overload
    def __call__(self, target: HTTPConnection, bearer: object = None) -> Coroutine[Any, Any, Grant]: ...

    @overload
    def __call__(self, target: Callable[_P, Any]) -> Callable[_P, Coroutine[Any, Any, Any]]: ...

    def __call__(self, target: Any, bearer: object = None) -> Any:  # noqa: ARG002 - see `dependency_signature`
        """Decorate an endpoint; or, as a dependency, decide about a connection.

        A framework that takes this for a plain function calls it in a thread, and awaits nothing: then it decides
        there, since what nobody awaits would let everybody pass.
        """
        if not isinstance(target, HTTPConnection):
            return self._around(target)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return from_thread.run(self.met, target)
        return self.met(target)

    async def met(self, connection: HTTPConnection) -> Grant:
        """The grant for a connection, decided now unless it has been for this very request. Raises `Refusal`."""
        case = case_of(connection.scope)
        grant = case.granted(self, connection.scope)
        if grant is None:
            try:
                grant = await judge((self,), case, connection.scope, case.base_in(connection.scope))
            except Problem as problem:
                answer = await case.refuse(problem)
                raise Refusal(answer.status, str(problem)) from None
            case.show(connection.scope)
        case.meet(self, connection.scope)
        return grant

    async def values(self, scope: Scope) -> Mapping[str, object]:
        """What the route adds to the context of a request in that scope, its action aside."""
        values: dict[str, object] = {}
        for attribute, name in self._parameters.items():
            if name not in scope["path_params"]:
                raise LookupError(f"requires(path_parameters=...): the route's path has no parameter {name}")
            values[attribute] = _value(scope["path_params"][name])
        if self._context is not None:
            given: object = self._context(HTTPConnection(scope))
            if inspect.isawaitable(given):
                given = await given
            if not isinstance(given, Mapping):
                raise TypeError("the context function of requires() gives a mapping")
            _add(values, given)
        return values

    def _around(self, endpoint: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
        """An endpoint within this requirement, async whatever it was."""
        if not (inspect.isfunction(endpoint) or inspect.ismethod(endpoint)) or _is_generator(endpoint):
            raise TypeError("requires() decorates an endpoint that is a function and no generator, or its methods")
        connection_of = _connection_finder(endpoint)

        @functools.wraps(endpoint)
        async def within(*args: Any, **kwargs: Any) -> Any:
            await self.met(connection_of(args, kwargs))
            if inspect.iscoroutinefunction(endpoint):
                return await endpoint(*args, **kwargs)
            return await run_in_threadpool(endpoint, *args, **kwargs)

        setattr(within, MARK, (self, *requirements_of(endpoint)))
        return within


async def judge(
    requirements: tuple[Requirement, ...], case: Case, scope: Scope, base: Mapping[str, object] | None = None
) -> Grant:
    """Have a request judged for all that its route requires, with everything that they add; for each action once.

    Args:
        requirements: one at least.
        case: the request's.
        scope: the request's as the route has it, with its parameters of the path.
        base: what is known of the request there, if that need not be what it was when it came.

    Raises:
        Problem: it is refused.
        ValueError: the requirements contradict each other.

    """
    case.bundle()  # nobody has to look anything up for a request that presents nothing
    audience, critical, actions = _asked(requirements)
    values: dict[str, object] = {}
    for requirement in requirements:
        if requirement.adds:
            _add(values, await requirement.values(scope))
    if actions and "action" in values:
        raise ValueError("a route's action is said in one way")
    if not actions and "action" not in values:
        action = case.action_of(case.base if base is None else base)
        actions = () if action is None else (action,)
    if not actions:
        grant = await case.decide(values, audience=audience, critical=critical, base=base)
    for action in actions:
        grant = await case.decide({**values, "action": action}, audience=audience, critical=critical, base=base)
    for requirement in requirements:
        case.keep(requirement, scope, grant)
    return grant


@functools.lru_cache(maxsize=4096)
def _asked(requirements: tuple[Requirement, ...]) -> tuple[str | None, bool, tuple[str, ...]]:
    """What requirements ask together: of which audience, whether of the authority itself, and about which actions."""
    audiences = {one.audience for one in requirements if one.audience is not None}
    if len(audiences) > 1:
        raise ValueError("a route requires tokens of one audience")
    actions = dict.fromkeys([one.action for one in requirements if one.action is not None])
    return next(iter(audiences), None), any([one.critical for one in requirements]), tuple(actions)


def requirements_of(endpoint: object) -> tuple[Requirement, ...]:
    """What an endpoint was decorated with, the outermost first."""
    found = getattr(endpoint, MARK, ())
    return found if isinstance(found, tuple) else ()


def _add(values: dict[str, object], more: Mapping[str, object]) -> None:
    """Add to a context; what has two values has none that is legal. Raises ``ValueError`` for what any request has."""
    for name, value in more.items():
        if name in OF_THE_REQUEST:
            raise ValueError(f"{name}: a route adds a value that is known already")
        if values.setdefault(name, value) != value:
            values[name] = NOTHING_LEGAL


def _value(parameter: object) -> object:
    """A parameter of a path as a context holds it: text, or an int where a convertor made one."""
    return parameter if isinstance(parameter, str | int) else str(parameter)


def _is_generator(endpoint: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(endpoint) or inspect.isasyncgenfunction(endpoint)


def _connection_finder(endpoint: Callable[..., Any]) -> Callable[[tuple[Any, ...], dict[str, Any]], HTTPConnection]:
    """How to find the request or WebSocket among an endpoint's arguments."""
    names = [*inspect.signature(endpoint).parameters]
    index = next((index for index, name in enumerate(names) if name in {"request", "websocket"}), None)
    if index is None:
        raise TypeError("an endpoint within requires() has a parameter named request or websocket")

    def find(args: tuple[Any, ...], kwargs: dict[str, Any]) -> HTTPConnection:
        found = args[index] if index < len(args) else kwargs[names[index]]
        if not isinstance(found, HTTPConnection):
            raise TypeError(f"{names[index]}: an endpoint within requires() gets a Request or a WebSocket there")
        return found

    return find
