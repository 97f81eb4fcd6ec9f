"""How FastAPI is told that a route takes a Bearer token. Nothing here, nor elsewhere in the package, needs FastAPI."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import Any, Final

from starlette.requests import HTTPConnection

__all__ = ["dependency_signature"]

SCHEME_NAME: Final = "capsvc"
DESCRIPTION: Final = "A capsvc token, or a bundle of one and its discharges."


def dependency_signature() -> inspect.Signature:
    """The parameters of a dependency: the connection and, once FastAPI is loaded, the scheme that its OpenAPI shows."""
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("target", kind, annotation=HTTPConnection)]
    if sys.modules.get("fastapi") is not None:  # else nobody is there to ask
        parameters.append(inspect.Parameter("bearer", kind, default=_scheme(), annotation=Any))
    return inspect.Signature(parameters)


@functools.cache
def _scheme() -> object:
    """A security scheme that says so and reads nothing: the middleware has read the header."""
    from fastapi import Security  # noqa: PLC0415 - whoever has it loaded it
    from fastapi.security import HTTPBearer  # noqa: PLC0415

    class Bearer(HTTPBearer):
        async def __call__(self, target: HTTPConnection) -> None:  # noqa: ARG002
            return None

    return Security(Bearer(scheme_name=SCHEME_NAME, description=DESCRIPTION, bearerFormat="macaroon"))
