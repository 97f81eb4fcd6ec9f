"""What the log tells of a fault: types and places, no message, since that may repeat what a caller sent."""

from __future__ import annotations

import traceback
from typing import Final

__all__ = ["places"]

MAX_FRAMES: Final = 8


def places(fault: BaseException) -> str:
    """A fault's type, and the last places that it came through, in one line."""
    frames = traceback.extract_tb(fault.__traceback__)[-MAX_FRAMES:]
    trail = " > ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(fault).__name__} at {trail or '-'}"
