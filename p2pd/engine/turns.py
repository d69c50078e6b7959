"""Whose turn it is: what waits, in order for each owner, and fair between owners by octets, not by number.

Start-time fair queueing (Goyal, Vin, Cheng 1996): each owner has a count of what it was given, the least one is next, and who comes (back)
starts no lower than the count of now, so that nobody is paid for having been away. With `slots` only so many owners are served at a time,
each for a turn of some seconds while others wait: a few receive whole pieces instead of all receiving crumbs of one, and newcomers
come in within a round. Pure: time is an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Owner = TypeVar("Owner", bound=Hashable)
T = TypeVar("T")

TURN_SECONDS = 4.0
ROUND_SECONDS = (
    20.0  # everybody gets something within this time: a third of what a downloader bears in silence
)
MEMORY = 256  # owners without anything waiting whose count is remembered


class _Line(Generic[T]):
    """What one owner waits for."""

    __slots__ = ("given", "since", "waiting")

    def __init__(self, given: float) -> None:
        self.waiting: deque[T] = deque()
        self.given = given
        self.since = 0.0


class Turns(Generic[Owner, T]):
    """See the module. `slots` 0: everybody is served at once."""

    def __init__(self, slots: int = 0) -> None:
        self._slots = slots
        self._lines: dict[Owner, _Line[T]] = {}
        self._past: dict[Owner, float] = {}  # counts of owners that wait for nothing now
        self._served: dict[Owner, None] = {}  # who has a slot, longest first
        self._queue: dict[Owner, None] = {}  # who waits for one, longest first
        self._clock = 0.0  # the count of whoever was served last

    def __len__(self) -> int:
        """Owners that wait for something."""
        return len(self._lines)

    @property
    def served(self) -> list[Owner]:
        """Who has a slot now."""
        return list(self._served)

    def waiting(self, owner: Owner) -> int:
        """How much this owner waits for."""
        line = self._lines.get(owner)
        return len(line.waiting) if line is not None else 0

    def add(self, owner: Owner, item: T, *, first: bool = False) -> None:
        """`owner` waits for one more; with `first` before the others that it waits for."""
        line = self._lines.get(owner)
        if line is None:
            line = self._lines[owner] = _Line(max(self._clock, self._past.pop(owner, 0.0)))
            self._queue[owner] = None
        if first:
            line.waiting.appendleft(item)
        else:
            line.waiting.append(item)

    def remove(self, owner: Owner, unwanted: Callable[[T], bool]) -> list[T]:
        """Takes out what is not wanted any more; in order."""
        line = self._lines.get(owner)
        if line is None:
            return []
        gone: list[T] = []
        kept: deque[T] = deque()
        for item in line.waiting:
            (gone if unwanted(item) else kept).append(item)
        line.waiting = kept
        if not kept:
            self._rest(owner, line)
        return gone

    def leave(self, owner: Owner) -> None:
        """Forgets an owner with all that it waits for."""
        for table in (self._lines, self._served, self._queue, self._past):
            table.pop(owner, None)

    def next(self, now: float, ready: Callable[[Owner], bool]) -> tuple[Owner, T] | None:
        """Takes out what comes next; say with `charge` what it cost. None when nobody of those that may be served is `ready`."""
        self._rotate(now, ready)
        best: Owner | None = None
        least = 0.0
        for owner in self._served:
            given = self._lines[owner].given
            if (best is None or given < least) and ready(owner):
                best, least = owner, given
        if best is None:
            return None
        line = self._lines[best]
        item = line.waiting.popleft()
        self._clock = max(self._clock, line.given)
        if not line.waiting:
            self._rest(best, line)
        return best, item

    def charge(self, owner: Owner, octets: int) -> None:
        """`owner` was given so much."""
        line = self._lines.get(owner)
        if line is not None:
            line.given += octets
        elif owner in self._past:
            self._past[owner] += octets

    def _rest(self, owner: Owner, line: _Line[T]) -> None:
        """Nothing waits for this owner any more: its slot is free, its count is kept."""
        self.leave(owner)
        if len(self._past) >= MEMORY:
            self._past = {other: given for other, given in self._past.items() if given > self._clock}
        if len(self._past) < MEMORY:
            self._past[owner] = line.given

    def _rotate(self, now: float, ready: Callable[[Owner], bool]) -> None:
        if not self._queue:
            return
        free = (self._slots or len(self._lines)) - len(self._served)
        if free <= 0:
            turn = min(TURN_SECONDS, ROUND_SECONDS * self._slots / len(self._lines))
            over = [
                owner for owner in self._served if now - self._lines[owner].since >= turn or not ready(owner)
            ]
            for owner in over[: len(self._queue)]:
                del self._served[owner]
                self._queue[owner] = None
                free += 1
        for owner in list(self._queue):
            if free <= 0:
                return
            if ready(owner):
                del self._queue[owner]
                self._served[owner] = None
                self._lines[owner].since = now
                free -= 1
