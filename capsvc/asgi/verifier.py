"""What the middleware asks: one protocol, however the decision is come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from capsvc.grants import Grant

__all__ = ["Verifier"]


class Verifier(Protocol):
    """Decides about tokens, for one event loop.

    `capsvc.asgi.EmbeddedVerifier`, `capsvc.asgi.RemoteVerifier` and `capsvc.asgi.PrefixVerifier` are such; they give
    the same decisions with the same codes.
    """

    recheck: float
    """Seconds after which a connection that lasts, a WebSocket, has its token judged again."""

    async def authorize(
        self, bundle: str, *, audience: str, context: Mapping[str, object], critical: bool = False
    ) -> Grant:
        """Decide whether a token or bundle allows a request; raise ``Denied`` if not, or if that cannot be told.

        Args:
            bundle: a token's or bundle's text.
            audience: whose tokens count.
            context: the request's values by attribute: text, or an int for an integer.
            critical: ask the authority itself, whatever is known here.

        """
        ...

    async def open(self) -> None:
        """Begin whatever goes on in the background. Idempotent; the first `authorize` does it too."""
        ...

    async def aclose(self) -> None:
        """End it, and close what is open. Idempotent."""
        ...
