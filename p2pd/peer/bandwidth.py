"""The limits of both directions and what flows now. On the event loop.

The rule: a limit set at run time wins over the configured one, is kept in the database, and lasts until it is set anew or given back
("default"). The user's file is never written.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from p2pd.engine.ratelimit import Meter
from p2pd.happenings import Happening, LimitChanged, ignored
from p2pd.storage.rate_limits import rate_limits, set_rate_limit
from p2pd.storage.sqlite import Database

UP, DOWN = "up", "down"
DIRECTIONS = (UP, DOWN)


@dataclass(frozen=True, slots=True)
class Flow:
    """One direction: its limit (0: none), whether that was set at run time, and the rate now, all in octets a second."""

    direction: str
    limit: int
    override: bool
    rate: int


class Bandwidth:
    """See the module. `apply[direction](rate)` makes a limit hold; `total[direction]()` counts octets of blocks since the start."""

    def __init__(
        self,
        database: Database,
        configured: dict[str, int],
        apply: dict[str, Callable[[int], object]],
        total: dict[str, Callable[[], int]],
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[Happening], object] = ignored,
    ) -> None:
        self._tell = tell
        self._database = database
        self._configured = dict(configured)
        self._apply = apply
        self._total = total
        self._clock = clock
        self._set = rate_limits(database)
        self._meters = {direction: Meter() for direction in DIRECTIONS}

    def start(self) -> None:
        """Makes the limits hold."""
        for direction in DIRECTIONS:
            self._apply[direction](self.limit(direction))
        self.measure()

    def limit(self, direction: str) -> int:
        """The limit that holds."""
        return self._set.get(direction, self._configured[direction])

    def set(self, direction: str, rate: int | None) -> None:
        """Another limit from now on; None: the configured one again. Raises Fault storage."""
        set_rate_limit(self._database, direction, rate)
        if rate is None:
            self._set.pop(direction, None)
        else:
            self._set[direction] = rate
        limit = self.limit(direction)
        self._apply[direction](limit)
        self._tell(LimitChanged(direction, limit or None, "settings" if rate is None else "limit"))

    def configure(self, direction: str, rate: int) -> bool:
        """Another configured limit; False when one that was set at run time goes on to hold instead."""
        self._configured[direction] = rate
        if direction in self._set:
            return False
        self._apply[direction](rate)
        self._tell(LimitChanged(direction, rate or None, "settings"))
        return True

    def measure(self) -> None:
        """Call this a few times in Meter's window."""
        now = self._clock()
        for direction, meter in self._meters.items():
            meter.sample(self._total[direction](), now)

    def flow(self, direction: str) -> Flow:
        """One direction now."""
        rate = self._meters[direction].rate()
        return Flow(direction, self.limit(direction), direction in self._set, rate)
