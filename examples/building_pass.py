"""A building pass: minted for all floors, narrowed by whoever holds it, revoked in the middle.

    python examples/building_pass.py

The authority lives in this process, in a directory that is gone afterwards; a real one is `capsvc serve`. Its clock is
an argument, so that the story takes place at ten in the morning and at eight in the evening.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from capsvc import Authority, Denied, Settings, Token

DOORS = {"floor": {"type": "integer"}, "room": {"type": "integer"}}
MORNING = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
EVENING = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)


class Building:
    """The doors of a building, and the clock on its wall."""

    def __init__(self, data_dir: Path) -> None:
        self.now = MORNING
        settings = Settings(data_dir=data_dir, attributes=DOORS)
        self.authority = Authority.open(settings, clock=self.clock)

    def clock(self) -> float:
        """What the clock on the wall shows, in Unix seconds."""
        return self.now.timestamp()

    def ask(self, token: Token, **door: int) -> str:
        """What the door says to whoever holds up the token."""
        try:
            self.authority.authorize(str(token), audience="default", context=door)
        except Denied as denied:
            return denied.code if denied.caveat is None else f"{denied.code}: {denied.caveat}"
        return "opens"


@contextmanager
def building() -> Iterator[Building]:
    """A building for as long as it is needed."""
    with tempfile.TemporaryDirectory() as directory:
        made = Building(Path(directory, "data"))
        with made.authority:
            yield made


def main() -> None:
    """Tell the story."""
    with building() as doors:
        minted = doors.authority.mint(audience="default", ttl=12 * 3600, subject="ada")
        everywhere = Token.parse(minted.token)

        # From here to the revocation nobody asks the authority for anything but its decisions.
        floor_1 = everywhere.attenuate("floor = 1", attributes=DOORS)
        daytime = floor_1.attenuate("clock >= 09:00", "clock < 17:00")
        room_101 = daytime.attenuate("room = 101", attributes=DOORS)

        print("all floors, floor 7:        ", doors.ask(everywhere, floor=7))
        print("floor 1, floor 1:           ", doors.ask(floor_1, floor=1))
        print("floor 1, floor 2:           ", doors.ask(floor_1, floor=2))
        print("daytime, in the morning:    ", doors.ask(daytime, floor=1))
        doors.now = EVENING
        print("daytime, in the evening:    ", doors.ask(daytime, floor=1))
        doors.now = MORNING
        print("room 101, room 101:         ", doors.ask(room_101, floor=1, room=101))
        print("room 101, room 102:         ", doors.ask(room_101, floor=1, room=102))

        doors.authority.revoke(token=str(daytime))
        print("daytime revoked, room 101:  ", doors.ask(room_101, floor=1, room=101))
        print("daytime revoked, daytime:   ", doors.ask(daytime, floor=1))
        print("daytime revoked, floor 1:   ", doors.ask(floor_1, floor=1))


if __name__ == "__main__":
    main()
