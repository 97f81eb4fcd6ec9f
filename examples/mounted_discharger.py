r"""A discharger inside of an application that is there already: a token that is good as long as a ticket is open.

    capsvc keygen tickets.key
    export TICKETS_KEY=tickets.key TICKETS_TRUST=$(capsvc bakery-keys list | awk '$2 == "active" { print $1 }')
    uvicorn --app-dir examples --no-proxy-headers --factory mounted_discharger:create_app --port 8718

    capsvc dischargers add http://127.0.0.1:8718/third-party --name tickets
    capsvc mint --ttl 8h --third-party http://127.0.0.1:8718/third-party='ticket-is-open 41' > ticket-41.token
    capsvc discharge ticket-41.token | capsvc verify
    curl -X PUT 'http://127.0.0.1:8718/tickets/41?open=false'
    capsvc discharge ticket-41.token

Whoever mends ticket 41 gets such a token. Each discharge lasts for a minute, so that the token is worth nothing a
minute after the ticket has been closed, and works again when it is opened again.
"""

from __future__ import annotations

import os

from fastapi import FastAPI, HTTPException
from starlette.requests import Request

from capsvc.discharge import Declared, Interaction, KeyPair, Refused, create_discharger, read_key_file

LOCATION = "http://127.0.0.1:8718/third-party"
CONDITION = "ticket-is-open "


class Tickets:
    """All tickets: whether each is open, and who has it."""

    def __init__(self) -> None:
        self.open = {41: True, 42: False}
        self.owner = {41: "ada", 42: "bo"}

    async def check(self, condition: str, _request: Request) -> Declared | Refused | Interaction:
        """The checker. Whoever minted the token chose the condition; it is judged here and nowhere else."""
        number = condition.removeprefix(CONDITION)
        if not condition.startswith(CONDITION) or not number.isdecimal():
            return Refused("conditions here are: ticket-is-open NUMBER")
        if not self.open.get(int(number), False):
            return Refused(f"ticket {number} is not open")
        return Declared({"owner": self.owner[int(number)]})  # stated to those who asked for it, and told nobody else


def create_app(key: KeyPair | None = None, trust: str | None = None, location: str = LOCATION) -> FastAPI:
    """The application, with its discharger; what is not given comes from the environment."""
    tickets = Tickets()
    app = FastAPI(title="Tickets")
    discharger = create_discharger(
        tickets.check,
        key=key or read_key_file(os.environ["TICKETS_KEY"]),
        location=location,
        trust=[trust or os.environ["TICKETS_TRUST"]],
        ttl=60,
    )
    app.mount("/third-party", discharger)

    @app.put("/tickets/{number}")
    async def set_ticket(number: int, *, open: bool) -> dict[str, bool]:
        if number not in tickets.open:
            raise HTTPException(404)
        tickets.open[number] = open
        return {"open": open}

    return app


if __name__ == "__main__":
    print(__doc__)  # it is served, as that says
