"""The last lines of the log in memory, for `p2pctl logs`. Any thread may call.

The rule: bounded by lines and characters, the oldest forgotten first; each line has a number that only grows, so a reader that was too
slow learns how many it missed.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

LINES = 5000
CHARACTERS = 2 << 20

LEVELS = ("debug", "info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log, cleaned: `time` in seconds since 1970, `area` the part of the program, `exception` a traceback or nothing."""

    time: float
    level: str
    area: str
    message: str
    exception: str = ""

    @property
    def characters(self) -> int:
        """What it weighs."""
        return 100 + len(self.message) + len(self.exception)


class Ring:
    """See the module."""

    def __init__(self, lines: int = LINES, characters: int = CHARACTERS) -> None:
        self._most_lines, self._most_characters = lines, characters
        self._lock = threading.Lock()
        self._lines: deque[Line] = deque()
        self._characters = 0
        self._last = 0  # number of the newest
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def add(self, line: Line) -> None:
        """One more."""
        with self._lock:
            self._lines.append(line)
            self._last += 1
            self._characters += line.characters
            while len(self._lines) > self._most_lines or (
                self._characters > self._most_characters and len(self._lines) > 1
            ):
                self._characters -= self._lines.popleft().characters
            waiting, self._waiting = self._waiting, []
        for loop, future in waiting:
            with suppress(RuntimeError):  # its loop has ended: nobody waits any more
                loop.call_soon_threadsafe(_wake, future)

    def last(self) -> int:
        """The number of the newest line; 0 when there was none."""
        return self._last

    def after(self, number: int, most: int) -> tuple[list[tuple[int, Line]], int, int]:
        """At most `most` lines after the one of this number, each with its own; where to go on; and how many between are forgotten."""
        with self._lock:
            first = self._last - len(self._lines) + 1
            begin = max(number + 1, first)
            end = min(self._last + 1, begin + most)
            found = [(one, self._lines[one - first]) for one in range(begin, end)]
            return found, max(number, end - 1), max(0, first - number - 1)

    def newest(self, count: int, level: str) -> tuple[list[tuple[int, Line]], int]:
        """The newest `count` lines of at least this level, oldest first, each with its number; and the number of the newest of all."""
        found: list[tuple[int, Line]] = []
        with self._lock:
            for back, line in enumerate(reversed(self._lines)):
                if len(found) == count:
                    break
                if at_least(line, level):
                    found.append((self._last - back, line))
            return found[::-1], self._last

    async def wait(self, after: int, seconds: float) -> None:
        """Returns when there is a line after this number, or after so many seconds."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        waiter = (loop, future)
        with self._lock:
            if self._last > after:
                return
            self._waiting.append(waiter)
        try:
            await asyncio.wait_for(future, seconds)
        except TimeoutError:
            pass
        finally:
            with self._lock:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def at_least(line: Line, level: str) -> bool:
    """Is it of this level or a graver one?"""
    return LEVELS.index(line.level) >= LEVELS.index(level)
