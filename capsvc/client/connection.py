"""The wire below the clients: one httpx client each, held to one origin, one credential and its bounds."""

from __future__ import annotations

import functools
import re
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpx

from capsvc.client.errors import ServiceError
from capsvc.client.messages import Answer, Body, Call, encode_body, read_answer
from capsvc.client.origin import read_origin
from capsvc.errors import TokenError
from capsvc.macaroon.encoding import printable

__all__ = ["FAILURES", "AsyncConnection", "Connection", "failure", "http_options"]

CREDENTIAL_OCTETS: Final = 32 * 1024  # a bundle's bound
_CREDENTIAL: Final = re.compile(r"[A-Za-z0-9_-]+(?:~[A-Za-z0-9_-]+)*")
FAILURES: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)
"""All that httpx raises when a request does not get its answer."""

_LOST: Final = (httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
"""No connection, or one that ended: the other end restarts, or closed it just as it was used again."""


def http_options(*, encrypted: bool, timeout: float) -> dict[str, Any]:
    """What every httpx client here is made with, that asks an ``encrypted`` address or one of this machine.

    The environment's proxies and certificates count for https alone: over http a proxy would read what is secret.
    The other end keeps no state with us (no cookies) and sends us nowhere else (no redirects). ``timeout`` is in
    seconds, for each wait.
    """
    return {
        "verify": _trust(),
        "timeout": httpx.Timeout(timeout),
        "follow_redirects": False,
        "trust_env": encrypted,
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        "headers": {"accept": "application/json", "accept-encoding": "identity", "user-agent": "capsvc"},
    }


@functools.cache
def _trust() -> ssl.SSLContext:
    """Whose certificates count: read once, since reading them costs as much as a hundred requests."""
    return httpx.create_ssl_context()


def failure(error: Exception) -> tuple[str, str]:
    """The code and, after an address, the words for one of `FAILURES`."""
    if isinstance(error, httpx.TimeoutException):
        return "unavailable", "did not answer in time"
    if isinstance(error, httpx.ProtocolError):
        return "bad-answer", "does not speak HTTP as it should"
    reason = printable(str(error).encode("utf-8", "replace"))[:200] or type(error).__name__
    return "unavailable", f"cannot be reached: {reason}"


class _Base:
    """What does not touch the wire: addresses, headers, the words for a failure."""

    def __init__(self, url: str, credential: str, timeout: float) -> None:
        self.origin = read_origin(url)
        self._timeout = timeout
        self._credential = _checked(credential)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.origin.base}>"

    def _options(self) -> dict[str, Any]:
        return http_options(encrypted=self.origin.encrypted, timeout=self._timeout)

    def _request(self, call: Call) -> dict[str, Any]:
        headers = {}
        if not call.anonymous:
            headers["authorization"] = f"Bearer {self._credential}"
        content = None
        body = encode_body(call)
        if body is not None:
            headers["content-type"], content = body
        return {
            "method": call.method,
            "url": self.origin.base + call.path,
            "headers": headers,
            "content": content,
            "timeout": httpx.Timeout(self._timeout, read=self._timeout + call.waits),
        }

    def _body(self, response: httpx.Response) -> Body:
        return Body(response.status_code, response.headers.get("content-encoding"), self._timeout)

    def _unreached(self, error: Exception) -> ServiceError:
        code, reason = failure(error)
        return ServiceError(None, code, f"{self.origin.base} {reason}", lost=isinstance(error, _LOST))


def _checked(credential: str) -> str:
    """A credential that fits a header; white space around it (a file's last newline) is not part of it.

    Raises:
        TokenError: ``malformed`` or ``too-large``; which characters are wrong is not said.
        TypeError: for what is no text: None, where a variable was not set, must not make a client without one.

    """
    if not isinstance(credential, str):
        raise TypeError("the credential is text")
    text = credential.strip()
    if len(text) > CREDENTIAL_OCTETS:
        raise TokenError("too-large", "the credential is larger than a bundle may be")
    if not _CREDENTIAL.fullmatch(text):
        raise TokenError("malformed", "the credential is not a token or bundle (the text, not the name of a file)")
    return text


class Connection(_Base):
    """A service's address and a credential for it. Thread-safe, as httpx's client is."""

    def __init__(
        self, url: str, credential: str, *, timeout: float, transport: httpx.BaseTransport | None = None
    ) -> None:
        super().__init__(url, credential, timeout)
        self._http = httpx.Client(transport=transport, **self._options())

    def call(self, call: Call) -> Answer:
        """Send a request, read its answer. Raises `ServiceError`."""
        try:
            with self._http.stream(**self._request(call)) as response:
                body = self._body(response)
                for chunk in response.iter_bytes():
                    body.add(chunk)
        except FAILURES as error:
            raise self._unreached(error) from None
        return read_answer(response.status_code, response.headers.get("content-type", ""), body.octets())

    def close(self) -> None:
        """Close what is open."""
        self._http.close()


class AsyncConnection(_Base):
    """`Connection` for asyncio."""

    def __init__(
        self, url: str, credential: str, *, timeout: float, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        super().__init__(url, credential, timeout)
        self._http = httpx.AsyncClient(transport=transport, **self._options())

    async def call(self, call: Call) -> Answer:
        """Send a request, read its answer. Raises `ServiceError`."""
        try:
            async with self._http.stream(**self._request(call)) as response:
                body = self._body(response)
                async for chunk in response.aiter_bytes():
                    body.add(chunk)
        except FAILURES as error:
            raise self._unreached(error) from None
        return read_answer(response.status_code, response.headers.get("content-type", ""), body.octets())

    async def close(self) -> None:
        """Close what is open."""
        await self._http.aclose()
