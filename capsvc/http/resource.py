"""One path of the service as a plain ASGI application: its methods, and what becomes of whatever a handler raises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from capsvc.errors import RequestError
from capsvc.http.answers import Answer, send_answer
from capsvc.http.budget import BodyBudget
from capsvc.http.incoming import Incoming
from capsvc.http.problems import Problem, of_caveat, of_request, problem_answer
from caveats import CaveatError, normal_path

__all__ = ["Handler", "Resource", "Respond"]

Handler = Callable[[Incoming], Awaitable[Answer]]
"""Takes a request, gives an answer; raises `Problem`, `RequestError` or `CaveatError` for a refusal."""

Respond = Callable[[Problem], Answer]


class Resource:
    """A path and its methods. GET answers HEAD too; no method answers what it was not written for (no CORS)."""

    def __init__(
        self,
        path: str,
        handlers: Mapping[str, Handler],
        budget: BodyBudget,
        respond: Respond = problem_answer,
        *,
        otherwise: Handler | None = None,
    ) -> None:
        """``respond`` renders refusals, for endpoints whose RFC has another form of them.

        ``otherwise`` is what any other method is answered by, where the method says nothing.
        """
        self._budget = budget
        self.path = path
        self.handlers = {**handlers, **({"HEAD": handlers["GET"]} if "GET" in handlers else {})}
        self._literal = path.encode("ascii")
        self._allow = (b"allow", ", ".join(sorted(self.handlers)).encode("ascii"))
        self._respond = respond
        self._otherwise = otherwise

    def route(self) -> Route:
        """Where it hangs in the application."""
        return Route(self.path, self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["route"] = self.path  # for the access log, which must not show the path itself
        try:
            path = self._path_as_sent(scope)
            handler = self.handlers.get(scope["method"], self._otherwise)
            if handler is None:
                raise Problem(405, "method-not-allowed", headers=(self._allow,))
            answer = await handler(Incoming(scope, receive, path, self._budget))
        except Problem as problem:
            answer = self._respond(problem)
        except RequestError as error:
            answer = self._respond(of_request(error))
        except CaveatError as error:
            answer = self._respond(of_caveat(error))
        await send_answer(answer, send, head=scope["method"] == "HEAD")

    def _path_as_sent(self, scope: Scope) -> str:
        """The raw path in normal form. Routing reads the decoded one, where ``%2F`` and twins look alike: 404."""
        raw: bytes = scope.get("raw_path") or b""
        if raw == self._literal:
            return self.path
        try:
            return normal_path(raw.partition(b"?")[0])
        except ValueError:
            raise Problem(404, "not-found") from None
