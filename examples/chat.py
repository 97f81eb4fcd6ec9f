r"""A chat over WebSocket. Whoever's token expires, or is revoked, is out of the room, whatever he was doing there.

    capsvc audiences add chat
    capsvc attenuate --caveat 'action in revocations:read,tokens:verify' --caveat 'for.audience = chat' \
        capsvc-data/admin.token > chat.credential
    CHAT_CREDENTIAL=chat.credential CAPSVC_URL=$(cat capsvc-data/serve.url) \
        uvicorn --app-dir examples --no-proxy-headers --factory chat:create_service --port 8711

A token for the chat, and one made of it that is good for one room:

    capsvc mint --audience chat --ttl 12h --subject ada > ada.token
    capsvc attenuate --caveat 'path under /rooms/harbour' ada.token > harbour.token

The token is judged at the handshake, and four times a second as long as the connection lasts (a quarter of
`revocation_max_lag`): in this process, by what the authority confirmed and its feed has told since. `capsvc revoke
ada.token` ends Ada's connections in every room, with 1008 and the reason `revoked`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from capsvc.asgi import CapsvcMiddleware, PrefixVerifier, Verifier, requires

AUDIENCE = "chat"


class Rooms:
    """Who is where."""

    def __init__(self) -> None:
        self._present: defaultdict[str, set[WebSocket]] = defaultdict(set)

    @requires("talk")
    async def enter(self, websocket: WebSocket) -> None:
        """Pass on what somebody says, until he leaves or is shown out."""
        room, who = websocket.path_params["room"], websocket.state.grant.subject
        await websocket.accept()
        self._present[room].add(websocket)
        try:
            async for text in websocket.iter_text():
                await self._tell(room, f"{who}: {text}")
        finally:
            self._present[room].discard(websocket)
            await self._tell(room, f"{who} has left")

    async def _tell(self, room: str, text: str) -> None:
        for present in list(self._present[room]):
            await present.send_text(text)


def create_service(verifier: Verifier | None = None) -> Starlette:
    """The service. Without a verifier it follows the authority that the environment names."""
    app = Starlette(routes=[WebSocketRoute("/rooms/{room}", Rooms().enter)])
    app.add_middleware(CapsvcMiddleware, verifier=verifier or _prefix(), audience=AUDIENCE)
    return app


def _prefix() -> Verifier:
    credential = Path(os.environ["CHAT_CREDENTIAL"]).read_text(encoding="ascii").strip()
    return PrefixVerifier(os.environ["CAPSVC_URL"], credential)


if __name__ == "__main__":
    print(__doc__)  # it is served, as that says
