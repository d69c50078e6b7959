"""Floods in the log: what repeats is counted instead of written, and the count is told.

The rule: in a minute at most SAME equal lines are let through, and at most ALIKE lines of one kind (the same words with other values);
the others are counted, and their number is told when the minute is over, whether or not more came. Time is an argument. Any thread
may call.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

SAME = 10
ALIKE = 100
WINDOW = 60.0
REMEMBERED = 512  # counted at a time; the oldest is told and forgotten first


@dataclass(slots=True)
class Flood:
    """Lines of one key since a time: how many came beyond `allowed`, and what the last of these said."""

    since: float
    allowed: int
    left_out: int = 0
    level: str = ""
    area: str = ""
    message: str = ""

    @property
    def text(self) -> str:
        """The line that tells of it."""
        return f"... {self.left_out} more like this: {self.message}"


class Floods:
    """See the module."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[Hashable, Flood] = OrderedDict()  # by their beginning

    def admit(self, same: Hashable, alike: Hashable, level: str, area: str, message: str, now: float) -> bool:
        """Whether a line is written. `same` and `alike` are what it is counted by."""
        with self._lock:
            for key, allowed in ((("same", same), SAME), (("alike", alike), ALIKE)):
                flood = self._seen.get(key)
                if flood is None:
                    flood = self._seen[key] = Flood(now, allowed)
                if flood.allowed:
                    flood.allowed -= 1
                    continue
                flood.left_out += 1
                flood.level, flood.area, flood.message = level, area, message
                return False
        return True

    def over(self, now: float) -> list[Flood]:
        """The floods whose minute has passed, and those there is no room for; told once."""
        found = []
        with self._lock:
            while self._seen:
                flood = next(iter(self._seen.values()))
                if now - flood.since < WINDOW and len(self._seen) <= REMEMBERED:
                    break
                self._seen.popitem(last=False)
                if flood.left_out:
                    found.append(flood)
        return found
