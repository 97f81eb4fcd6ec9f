"""The verifier with an authority in the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from capsvc.asgi.checks import seconds
from capsvc.grants import Grant

if TYPE_CHECKING:
    from capsvc.authority import Authority

__all__ = ["EmbeddedVerifier"]


class EmbeddedVerifier:
    """Decides with an `Authority` in this process, **which then holds the master key**: it could mint anything.

    Whoever breaks into such a process has all keys of the installation. It suits a service that is its own authority;
    others ask one (`capsvc.asgi.RemoteVerifier`, `capsvc.asgi.PrefixVerifier`).

    A decision takes microseconds and writes nothing, so it is made on the event loop. A revocation by any process on
    the database is obeyed from the next decision on.
    """

    def __init__(self, authority: Authority, *, recheck: float = 0.25) -> None:
        """Take an open authority, which stays the caller's to close.

        Args:
            authority: decides.
            recheck: seconds after which the token of an open WebSocket is judged again.

        """
        self._authority = authority
        self.recheck = seconds("recheck", recheck)

    def __repr__(self) -> str:
        return f"<EmbeddedVerifier {self._authority.issuer}>"

    async def open(self) -> None:
        """Nothing goes on in the background."""

    async def aclose(self) -> None:
        """Leave the authority open: it is the caller's."""

    async def authorize(
        self,
        bundle: str,
        *,
        audience: str,
        context: Mapping[str, object],
        critical: bool = False,  # noqa: ARG002 - it is the authority that decides, always
    ) -> Grant:
        """Allow, or raise ``Denied``; see `capsvc.asgi.Verifier.authorize`."""
        return self._authority.authorize(bundle, audience=audience, context=context)
