"""What the middleware reads of a request's header fields: these and no others, each with every value that came."""

from __future__ import annotations

from typing import Final, NamedTuple

from starlette.types import Scope

from capsvc.web.problems import PER_HEADER

__all__ = ["Fields", "read_fields"]

AUTHORIZATION: Final = b"authorization"
HOST: Final = b"host"
FORWARDED_FOR: Final = b"x-forwarded-for"
BAKERY_VERSION: Final = b"bakery-protocol-version"
COOKIE: Final = b"cookie"
MACAROONS: Final = b"macaroons"
ORIGIN: Final = b"origin"

_READ: Final = frozenset({AUTHORIZATION, HOST, FORWARDED_FOR, BAKERY_VERSION, COOKIE, MACAROONS, ORIGIN})


class Fields(NamedTuple):
    """Values by name, in order, and how large all header fields are together. Shows nothing: it holds credentials."""

    found: dict[bytes, list[bytes]]
    size: int

    def __repr__(self) -> str:
        return f"<Fields {self.size}>"

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a field."""
        return self.found.get(name) or []

    def one(self, name: bytes) -> bytes | None:
        """The value of a field that is there exactly once."""
        values = self.found.get(name)
        return values[0] if values is not None and len(values) == 1 else None


def read_fields(scope: Scope) -> Fields:
    """Look at every field once. Names count in any case, though servers are to send them in lower case."""
    found: dict[bytes, list[bytes]] = {}
    size = 0
    for name, value in scope["headers"]:
        size += len(name) + len(value) + PER_HEADER
        lower = name.lower()
        if lower in _READ:
            found.setdefault(lower, []).append(value)
    return Fields(found, size)
