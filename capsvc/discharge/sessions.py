"""Sessions of people who have logged in: on the server alone, in memory, bounded, and over at once when they end.

A browser has a session's id, 256 random bits, in a cookie. What a session answers is recorded under its number, which
is no secret and is never used again: when the token comes that the consent was worth, the session must still be there.
"""

from __future__ import annotations

import itertools
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from capsvc.discharge.users import User
from capsvc.discharge.waits import Begun

__all__ = ["IDLE_SECONDS", "LIFETIME_SECONDS", "Opened", "Session", "Sessions"]

IDLE_SECONDS: Final = 3_600
LIFETIME_SECONDS: Final = 12 * 3_600
MAX_SESSIONS: Final = 10_000
MAX_SESSIONS_OF_USER: Final = 16
MAX_OPENED: Final = 64
SET_BACK_SECONDS: Final = 60
ID_OCTETS: Final = 32
FORM_OCTETS: Final = 16


@dataclass(slots=True)
class Opened:
    """A visit whose page a session has opened: its form's secret, and how it was answered, if it was."""

    begun: Begun
    form: str = field(repr=False)
    answer: str | None = None


@dataclass(slots=True)
class Session:
    """Somebody who is logged in in one browser. Instants are Unix seconds."""

    number: str
    user: User
    began_at: float
    seen_at: float
    logout_form: str = field(repr=False)
    opened: OrderedDict[str, Opened] = field(default_factory=OrderedDict, repr=False)

    def open(self, begun: Begun) -> Opened:
        """Open a visit's page; with one too many the one that was opened first is closed."""
        opened = self.opened.get(begun.visit)
        if opened is None:
            opened = self.opened[begun.visit] = Opened(begun, secrets.token_urlsafe(FORM_OCTETS))
            if len(self.opened) > MAX_OPENED:
                self.opened.popitem(last=False)
        return opened


class Sessions:
    """All sessions of one discharger. ``clock`` gives Unix seconds."""

    def __init__(self, clock: Callable[[], float], *, idle: int, lifetime: int) -> None:
        """``idle`` is how long a session lasts without a request, ``lifetime`` how long in any case, in seconds."""
        self._clock = clock
        self._idle = idle
        self._lifetime = lifetime
        self._numbers = itertools.count(1)
        self._sessions: OrderedDict[str, Session] = OrderedDict()  # by id, those seen last at the end
        self._ids: dict[str, str] = {}  # by number

    def __len__(self) -> int:
        """How many there are, those among them that are over and that nobody has looked for since."""
        return len(self._sessions)

    def begin(self, user: User) -> tuple[str, Session]:
        """A fresh session and its id. With one too many, of the user or in all, the one seen longest ago ends."""
        self._make_room(user.name)
        now = self._clock()
        session = Session(str(next(self._numbers)), user, now, now, secrets.token_urlsafe(FORM_OCTETS))
        new_id = secrets.token_urlsafe(ID_OCTETS)
        self._sessions[new_id] = session
        self._ids[session.number] = new_id
        return new_id, session

    def seen(self, id: str) -> Session | None:
        """The session of that id, which has just been used; None if there is none, or it is over."""
        session = self._sessions.get(id)
        if session is None:
            return None
        if self._is_over(session):
            self.end(id)
            return None
        session.seen_at = self._clock()
        self._sessions.move_to_end(id)
        return session

    def numbered(self, number: str) -> Session | None:
        """The session of that number; None if it is over. It does not count as used."""
        session = self._sessions.get(self._ids.get(number, ""))
        return None if session is None or self._is_over(session) else session

    def end(self, id: str) -> None:
        """End a session at once, if there is one."""
        session = self._sessions.pop(id, None)
        if session is not None:
            del self._ids[session.number]

    def _make_room(self, name: str) -> None:
        for known, session in list(self._sessions.items()):
            if self._is_over(session):
                self.end(known)
        his = [known for known, session in self._sessions.items() if session.user.name == name]
        if len(his) >= MAX_SESSIONS_OF_USER:
            self.end(his[0])
        if len(self._sessions) >= MAX_SESSIONS:
            self.end(next(iter(self._sessions)))

    def _is_over(self, session: Session) -> bool:
        """Over, too, by a clock that was set back to long before it began."""
        now = self._clock()
        return not (
            session.began_at - SET_BACK_SECONDS <= now < session.began_at + self._lifetime
            and now < session.seen_at + self._idle
        )
