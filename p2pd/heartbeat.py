"""Does everything still move? Asks each reactor for a sign of life, and tells the service manager while all give one.

The rule: WATCHDOG=1 is sent only when every reactor has run a call that was given to it after the last beat, and it is sent from the
event loop, so that the loop shows its own life by sending. What stands still is logged, with a manager or without.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from p2pd.net.reactor import Reactor
from p2pd.notify import Notifier

log = logging.getLogger("p2pd.heartbeat")

BEAT_SECONDS = 10.0
BEATS = 3  # in the time that the manager waits for one


class Heartbeat:
    """See the module. `each()` is called at each beat, for small things that are due now and then."""

    def __init__(
        self,
        reactors: Sequence[Reactor],
        notifier: Notifier,
        each: Callable[[], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reactors = reactors
        self._notifier = notifier
        self._each = each
        self._clock = clock
        self._asked: dict[str, float] = {}  # reactor -> since when it owes an answer
        self._told: set[str] = set()
        wanted = BEAT_SECONDS if notifier.watchdog_s is None else notifier.watchdog_s / BEATS
        self.interval = min(BEAT_SECONDS, wanted)

    async def run(self) -> None:
        """Beats until it is cancelled."""
        self.ask()
        while True:
            await asyncio.sleep(self.interval)
            self.beat()

    def ask(self) -> None:
        """Asks those that owe nothing for a sign."""
        for reactor in self._reactors:
            if reactor.name not in self._asked:
                self._asked[reactor.name] = self._clock()
                # One item of a dictionary, taken out by the reactor's thread: nothing to lock.
                reactor.call(self._asked.pop, reactor.name, None)

    def beat(self) -> bool:
        """Judges those that were asked; True when all moved."""
        now = self._clock()
        standing = {name: now - since for name, since in list(self._asked.items())}
        for name in standing.keys() - self._told:
            log.error("! %s has not moved for %.1f s", name, standing[name])
        for name in self._told - standing.keys():
            log.warning("= %s moves again", name)
        self._told = set(standing)
        if not standing:
            self._notifier.alive()
        self.ask()
        self._each()
        return not standing
