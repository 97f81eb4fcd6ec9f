"""One request before its judge: what it presents, what is known of it, and what has been decided."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import Scope

from capsvc.addresses import Network
from capsvc.asgi.bakery import Bakery
from capsvc.asgi.fields import AUTHORIZATION, Fields
from capsvc.asgi.targets import base_context
from capsvc.asgi.users import show_grant
from capsvc.asgi.verifier import Verifier
from capsvc.errors import Denied
from capsvc.grants import Grant
from capsvc.web.answers import Answer
from capsvc.web.bearer import credential_of, scheme_of
from capsvc.web.problems import Problem, of_denial, problem_answer

__all__ = ["Case", "Complaints", "Decision", "Refusal", "Rules", "case_of"]

KEY: Final = "capsvc"  # in the scope

COMPLAINTS: Final = 64  # that are told

KEPT: Final = 64
"""How many decisions of a connection are kept, and of requirements: one that lasts may be asked about for ever."""


logger = logging.getLogger("capsvc.asgi")


class Refusal(HTTPException):
    """Ends an endpoint before it begins. What is answered is the middleware's, whatever an application makes of it."""


class Complaints:
    """Tells the log, each once, which values of contexts are not as attributes are declared: the program's own doing.

    Whoever is refused for it learns no more than that.
    """

    def __init__(self) -> None:
        self._said: set[str] = set()

    def take(self, denied: Denied) -> None:
        """Tell what a denial says, if it is new; a bound keeps callers from filling the log."""
        if denied.detail and denied.detail not in self._said and len(self._said) < COMPLAINTS:
            self._said.add(denied.detail)
            logger.warning("a request's context is refused: %s", denied.detail)


@dataclass(frozen=True, slots=True)
class Rules:
    """What all requests of one middleware are judged by. ``actions`` are those by method."""

    verifier: Verifier
    audience: str
    actions: Mapping[str, str]
    proxies: tuple[Network, ...]
    bakery: Bakery | None
    clock: Callable[[], float]
    complaints: Complaints = field(default_factory=Complaints, repr=False)


class Decision(NamedTuple):
    """A decision that allowed the request, and what it was made on: enough to make it again."""

    audience: str
    context: Mapping[str, object]
    critical: bool
    grant: Grant


class Case:
    """One request. It holds a credential, so it shows nothing."""

    __slots__ = ("_base", "_bundle", "_fields", "_granted", "decisions", "outer", "refusal", "rules", "scope", "unmet")

    def __init__(self, rules: Rules, scope: Scope, fields: Fields) -> None:
        """Take what the middleware was given; nothing is decided yet."""
        self.rules = rules
        self.scope = scope
        self._fields = fields
        self._base: Mapping[str, object] | None = None
        self._bundle: str | None = None
        self._granted: dict[object, tuple[object, Grant]] = {}
        outer = scope.get(KEY)
        self.outer = outer if isinstance(outer, Case) else None
        """That of a middleware around this one's."""
        self.decisions: list[Decision] = []
        self.refusal: Answer | None = None
        """What is answered instead of whatever the application says."""
        self.unmet: set[object] = set()
        """Requirements that were decided for an endpoint which has not come to them yet."""
        scope[KEY] = self

    @property
    def size(self) -> int:
        """How many octets the header has."""
        return self._fields.size

    def action_of(self, base: Mapping[str, object]) -> str | None:
        """The action of a route that does not say its own, for a request of which that is known."""
        return self.rules.actions.get(str(base["method"]))

    @property
    def anonymous(self) -> bool:
        """Whether nothing is presented. Raises `Problem` 400 when it is more than one thing."""
        try:
            self.bundle()
        except Problem as problem:
            if problem.code != "credential-missing":
                raise
            return True
        return False

    @property
    def base(self) -> Mapping[str, object]:
        """What is known of any request, of this one as it came."""
        if self._base is None:
            self._base = self.base_in(self.scope)
        return self._base

    def base_in(self, scope: Scope) -> Mapping[str, object]:
        """The same, as it has come to be in a scope within the application."""
        return base_context(scope, self._fields, self.rules.proxies)

    def bundle(self) -> str:
        """What is presented, whatever it is. Raises `Problem` 401 or 400 when it is nothing, or more than one thing."""
        if self._bundle is None:
            self._bundle = self._presented()
        return self._bundle

    def _presented(self) -> str:
        values = self._fields.all(AUTHORIZATION)
        if len(values) > 1:
            raise Problem(400, "bad-request", "There are two Authorization headers.")
        if values and scheme_of(values[0]) == b"bearer":
            return credential_of(values[0])
        bakery = self.rules.bakery
        found = None if bakery is None else bakery.presented(self.scope, self._fields)
        if found is None:
            raise Problem(401, "credential-missing")
        return found

    async def decide(
        self,
        values: Mapping[str, object],
        *,
        audience: str | None = None,
        critical: bool = False,
        base: Mapping[str, object] | None = None,
    ) -> Grant:
        """Have the whole context judged: what is known of any request, and these values. Raises `Problem`."""
        bundle, context = self.bundle(), {**(self.base if base is None else base), **values}
        audience = self.rules.audience if audience is None else audience
        grant = await self.judged(bundle, audience, context, critical=critical)
        self.record(Decision(audience, context, critical, grant))
        return grant

    def record(self, decision: Decision) -> None:
        """Keep a decision, each question's last; of too many the oldest but the very first go."""
        for index, one in enumerate(self.decisions):
            if one[:3] == decision[:3]:
                self.decisions[index] = decision
                return
        if len(self.decisions) >= KEPT:
            del self.decisions[1]
        self.decisions.append(decision)

    async def judged(self, bundle: str, audience: str, context: Mapping[str, object], *, critical: bool) -> Grant:
        """The verifier's grant, and nothing else that it may return. Raises `Problem`."""
        try:
            grant: object = await self.rules.verifier.authorize(
                bundle, audience=audience, context=context, critical=critical
            )
        except Denied as denied:
            self.rules.complaints.take(denied)
            raise of_denial(denied) from None
        if not isinstance(grant, Grant) or grant.audience != audience:
            raise TypeError("a verifier returns a grant for the audience that was asked about, or raises Denied")
        return grant

    def keep(self, requirement: object, scope: Scope, grant: Grant) -> None:
        """Remember what was decided for a requirement, on the request as it is in this scope."""
        self._granted[requirement] = (_request_of(scope), grant)
        if len(self._granted) > KEPT:
            del self._granted[next(iter(self._granted))]  # it is judged anew, if it is come to again

    def granted(self, requirement: object, scope: Scope) -> Grant | None:
        """What was decided for a requirement, if it was on the very same request."""
        found = self._granted.get(requirement)
        return found[1] if found is not None and found[0] == _request_of(scope) else None

    def meet(self, requirement: object, scope: Scope) -> None:
        """An endpoint has come to a requirement that was decided for it: here, and by the middleware around this one.

        For those it has to be the very request that they decided about.
        """
        self.unmet.discard(requirement)
        case = self.outer
        while case is not None:
            if case.granted(requirement, scope) is not None:
                case.unmet.discard(requirement)
            case = case.outer

    def show(self, scope: Scope) -> None:
        """Show in a scope what was decided: the last grant, and every action."""
        actions = [str(context["action"]) for _, context, _, _ in self.decisions if "action" in context]
        show_grant(scope, self.decisions[-1].grant, actions)

    async def refuse(self, problem: Problem) -> Answer:
        """From now on this is the answer, whatever the application says."""
        bakery = self.rules.bakery
        if bakery is not None and problem.status == 401 and bakery.spoken(self._fields):
            try:
                self.refusal = await bakery.challenge(HTTPConnection(self.scope), problem)
            except Problem as instead:
                self.refusal = problem_answer(instead)
        else:
            self.refusal = problem_answer(problem)
        return self.refusal


def case_of(scope: Mapping[str, Any]) -> Case:
    """The case of a request. Raises ``RuntimeError`` where no middleware made one, so that nothing goes on."""
    found = scope.get(KEY)
    if not isinstance(found, Case):
        raise RuntimeError("requires() needs CapsvcMiddleware around the application")  # noqa: TRY004 - not its type
    return found


def _request_of(scope: Scope) -> object:
    """What a decision depends on that an application's own middleware or router could change."""
    kind, path, raw_path = scope["type"], scope["path"], scope.get("raw_path")
    return kind, scope.get("method"), path, raw_path, dict(scope.get("path_params") or {})
