"""What happened lately, numbered: a ring that the whole daemon writes and the control API reads.

The rule: telling never waits and never fails, from any thread; what is kept is bounded in number and in octets. A reader holds
nothing here but a cursor, so a slow one costs nothing: when what it asks for is gone, or belongs to an earlier run of the daemon, it
gets a `gap` in that place. Knows the kinds (happenings.py) and no sockets.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from p2pd.happenings import KINDS, Happening, fields
from protocol.errors import Fault
from protocol.limits import EVENTS_KEPT, EVENTS_OCTETS

GAP = "gap"
LOST = "lost"  # reasons of a gap: gone from the ring,
RESTARTED = "restarted"  # or of another run
_OVERHEAD = 200  # octets of an event beside the text of its fields, about


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as it was told."""

    seq: int
    at: float
    happening: Happening
    octets: int


@dataclass(frozen=True, slots=True)
class Found:
    """An answer: `items` in order, `after` is where to go on, `more` says that some wait already."""

    items: list[dict[str, Any]]
    after: int
    more: bool


class Events:
    """See the module. `run` names this run of the daemon; `clock` gives seconds since 1970."""

    def __init__(
        self,
        run: str = "",
        clock: Callable[[], float] = time.time,
        kept: int = EVENTS_KEPT,
        octets: int = EVENTS_OCTETS,
    ) -> None:
        self.run = run or os.urandom(4).hex()
        self._clock = clock
        self._kept = kept
        self._room = octets
        self._lock = threading.Lock()
        self._ring: deque[Entry] = deque()
        self._octets = 0
        self._last = 0
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    # -- writing ------------------------------------------------------------------------------------------

    def tell(self, happening: Happening) -> None:
        """This happened, now."""
        size = _OVERHEAD + len(repr(happening))
        with self._lock:
            self._last += 1
            self._ring.append(Entry(self._last, self._clock(), happening, size))
            self._octets += size
            while len(self._ring) > self._kept or (self._octets > self._room and len(self._ring) > 1):
                self._octets -= self._ring.popleft().octets
            waiting, self._waiting = self._waiting, []
        for loop, future in waiting:
            try:
                loop.call_soon_threadsafe(_wake, future)
            except RuntimeError:
                pass  # its loop has ended: nobody waits any more

    # -- reading ------------------------------------------------------------------------------------------

    @property
    def last(self) -> int:
        """The number of the newest event; 0 before the first."""
        return self._last

    def cursor(self, seq: int) -> str:
        """A number as text that another run of the daemon does not take for its own."""
        return f"{self.run}:{seq}"

    def position(self, cursor: str) -> tuple[int, bool]:
        """What a cursor means: the number after which to read, and whether it is of this run. A bare number is one of this run unless
        it cannot be. Raises Fault usage."""
        run, _, digits = cursor.rpartition(":")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise Fault("usage", f"{cursor!r} is no place in the events", "take it from `cursor` of an event")
        seq = int(digits)
        if seq > self._last or (run and run != self.run):
            return 0, False
        return seq, True

    def read(self, after: int, ours: bool, kinds: frozenset[str] | None, limit: int) -> Found:
        """At most `limit` events after a number (see `position`), of these kinds (None: all). The first item is a gap when some between
        are not known any more."""
        with self._lock:
            entries = [entry for entry in self._ring if entry.seq > after]
            last = self._last
        items = []
        first = entries[0].seq if entries else last + 1
        if not ours:
            items.append(self._gap(RESTARTED, first - 1, None))
        elif first > after + 1:
            items.append(self._gap(LOST, first - 1, first - 1 - after))
        for entry in entries:
            if len(items) >= limit:
                return Found(items, entry.seq - 1, True)
            if kinds is None or entry.happening.KIND in kinds:
                items.append(self._item(entry))
        return Found(items, max(last, after), False)

    async def wait(self, after: int, seconds: float) -> None:
        """Returns when there is an event after this number, or after so many seconds."""
        with self._lock:
            if self._last > after:
                return
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()
            entry = (loop, future)
            self._waiting.append(entry)
        try:
            await asyncio.wait_for(future, seconds)
        except TimeoutError:
            pass
        finally:
            with self._lock:
                if entry in self._waiting:
                    self._waiting.remove(entry)

    def _item(self, entry: Entry) -> dict[str, Any]:
        return {**self._head(entry.seq, entry.at, entry.happening.KIND), **fields(entry.happening)}

    def _gap(self, reason: str, seq: int, missed: int | None) -> dict[str, Any]:
        return {**self._head(seq, self._clock(), GAP), "reason": reason, "missed": missed}

    def _head(self, seq: int, at: float, kind: str) -> dict[str, Any]:
        moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"run": self.run, "seq": seq, "cursor": self.cursor(seq), "time": moment, "kind": kind}


def chosen(patterns: Iterable[str] | None) -> frozenset[str] | None:
    """The kinds that globs mean; None for all. Raises Fault usage for one that means none."""
    if patterns is None:
        return None
    found: set[str] = set()
    for pattern in patterns:
        kinds = set(fnmatch.filter(KINDS, pattern))
        if not kinds:
            raise Fault("usage", f"no kind of event is like {pattern!r}", f"kinds: {', '.join(KINDS)}")
        found |= kinds
    return frozenset(found)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
