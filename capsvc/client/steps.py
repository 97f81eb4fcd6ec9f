"""What gathering discharges asks of whoever carries it out: requests to send, addresses to show. No I/O.

A gathering is a generator: it yields a step, takes its result, and returns what it gathered. A request that gets no
answer is a `ServiceError` thrown into it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Final, NamedTuple, TypeAlias, TypeVar

from capsvc.client.messages import ANSWER_OCTETS

__all__ = ["DISCHARGE_OCTETS", "Ask", "Reply", "Step", "Steps", "Visit", "send"]

DISCHARGE_OCTETS: Final = 65_536  # 64 KiB: of an answer with a discharge, whose 64 caveats fit
T = TypeVar("T")


class Ask(NamedTuple):
    """A request: a POST of a form, or a GET. Its answer is a `Reply`."""

    url: str
    whom: str
    """Who is asked, for messages."""
    form: Mapping[str, str] | None = None
    waits: bool = False
    """The answer comes when somebody has done something: minutes, not seconds."""
    limit: int = DISCHARGE_OCTETS
    """Octets that the answer may have."""

    def __repr__(self) -> str:
        return f"<Ask {self.whom}>"

    @classmethod
    def issuer(cls, base: str) -> Ask:
        """The request for the document of a service."""
        return cls(f"{base}/.well-known/capsvc", base, limit=ANSWER_OCTETS)


class Visit(NamedTuple):
    """An address that a person must visit in a browser, at a third party's location. It has no result."""

    url: str
    location: str

    def __repr__(self) -> str:
        return f"<Visit {self.location}>"


class Reply(NamedTuple):
    """The answer to a request."""

    status: int
    content_type: str
    octets: bytes

    def __repr__(self) -> str:
        return f"<Reply {self.status}>"


Step: TypeAlias = Ask | Visit
Steps: TypeAlias = Generator[Step, Reply | None, T]


def send(ask: Ask) -> Steps[Reply]:
    """The reply to a request. A gathering says ``yield from`` before it."""
    reply = yield ask
    if reply is None:
        raise TypeError("a request has a reply")
    return reply
