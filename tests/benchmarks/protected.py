"""One small application behind each way to protect it: ``python -m tests.benchmarks.protected WAY DIRECTORY``.

It serves on a free port of 127.0.0.1, which it writes to its output, until it is killed. ``WAY`` is one of `WAYS`; the
directory is the authority's, which serves from it (but for ``embedded``, which opens it itself).
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import jwt
import uvicorn
from authlib.oauth2.rfc7662 import IntrospectTokenValidator
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from capsvc import Authority, Settings
from capsvc.asgi import CapsvcMiddleware, EmbeddedVerifier, PrefixVerifier, RemoteVerifier
from tests.benchmarks.material import AUDIENCE

Check = Callable[[str], Mapping[str, object]]


async def _photos(_request: Request) -> JSONResponse:
    return JSONResponse({"photos": [1, 2, 3]})


def application() -> Starlette:
    """The application, with nothing in front of it."""
    return Starlette(routes=[Route("/v1/photos/2026/11", _photos)])


class _Checked:
    """A plain middleware: the Bearer token goes through a function, which raises for one that is no good."""

    def __init__(self, app: ASGIApp, check: Check, *, blocking: bool = False) -> None:
        self._app = app
        self._check = check
        self._blocking = blocking

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = dict(scope["headers"])[b"authorization"].partition(b" ")[2].decode()
        claims = await run_in_threadpool(self._check, token) if self._blocking else self._check(token)
        scope.setdefault("state", {})["claims"] = claims
        await self._app(scope, receive, send)


def _with_jwt(directory: Path, algorithm: str) -> ASGIApp:
    key = (directory / f"{algorithm}.pub").read_bytes()

    def check(token: str) -> Mapping[str, object]:
        claims: dict[str, object] = jwt.decode(token, key, algorithms=[algorithm], audience=AUDIENCE)
        if "read" not in str(claims["scope"]).split():
            raise PermissionError
        return claims

    return _Checked(application(), check)


def _with_introspection(url: str, credential: str) -> ASGIApp:
    http = httpx.Client(base_url=url, headers={"authorization": f"Bearer {credential}"})

    class Validator(IntrospectTokenValidator):  # type: ignore[misc]  # authlib comes without types
        """As authlib's documentation has it."""

        def introspect_token(self, token_string: str) -> Mapping[str, object]:
            """Ask the authority."""
            form = {"token": token_string, "context.method": "GET", "context.path": "/v1/photos/2026/11"}
            answer: Mapping[str, object] = http.post("/v1/introspect", data=form | {"context.ip": "192.0.2.7"}).json()
            return answer

    validator = Validator()

    def check(token: str) -> Mapping[str, object]:
        found: Mapping[str, object] = validator.authenticate_token(token)
        validator.validate_token(found, ["read"], None)
        return found

    return _Checked(application(), check, blocking=True)


def _with_capsvc(way: str, directory: Path, url: str, credential: str) -> ASGIApp:
    if way == "embedded":
        verifier: object = EmbeddedVerifier(Authority.open(Settings(data_dir=directory)))
    else:
        # Under a load that leaves a process no time at all, an edge may be behind for longer than a second.
        prefix = partial(PrefixVerifier, revocation_max_lag=30)
        verifier = (RemoteVerifier if way == "remote" else prefix)(url, credential)
    proxies = ["127.0.0.1"]  # the load says what its address is
    return CapsvcMiddleware(
        application(),
        verifier=verifier,  # type: ignore[arg-type]  # one of three
        audience=AUDIENCE,
        actions={"GET": "read"},
        trusted_proxies=proxies,
    )


WAYS: Final = ("bare", "embedded", "remote", "prefix", "HS256", "ES256", "introspection")


def protected(way: str, directory: Path) -> ASGIApp:
    """The application, protected in one of the ways."""
    if way == "bare":
        return application()
    if way in {"HS256", "ES256"}:
        return _with_jwt(directory, way)
    url_file = directory / "serve.url"
    url = url_file.read_text().strip() if url_file.exists() else ""
    credential = (directory / "admin.token").read_text().strip()
    return (
        _with_introspection(url, credential)
        if way == "introspection"
        else _with_capsvc(way, directory, url, credential)
    )


def main() -> None:
    """Serve the application."""
    way, directory = sys.argv[1], Path(sys.argv[2])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            protected(way, directory),
            loop="uvloop",
            http="httptools",
            lifespan="on",
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        print(listening.getsockname()[1], flush=True)
        uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main()
