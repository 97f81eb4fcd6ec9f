"""What handlers share: the open authority, the clock that it was opened with, and who waits for its feed."""

from __future__ import annotations

from collections.abc import Callable

from capsvc.authority import Authority
from capsvc.config import Settings
from capsvc.http.watch import Watch

__all__ = ["Service"]


class Service:
    """Holds the authority of one application, which is closed at its shutdown and opened again if started again."""

    __slots__ = ("_open", "authority", "clock", "settings", "watch")

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        """Open the authority at once. Raises what ``Authority.open`` raises."""
        self.settings = settings
        self.clock = clock
        self.authority = Authority.open(settings, clock=clock)
        self._open = True
        self.watch = Watch(lambda: self.authority)

    def ensure_open(self) -> None:
        """Open it again after `close`."""
        if not self._open:
            self.authority = Authority.open(self.settings, clock=self.clock)
            self._open = True
        self.watch.start()

    def close(self) -> None:
        """Finish what is under way and let go of the data directory."""
        self._open = False
        self.authority.close()

    def now(self) -> int:
        """The clock, in whole Unix seconds."""
        return int(self.clock())
