"""How many blocks may be outstanding at one source: enough to cover rate times round trip, bounded, halved by trouble.

Kleinrock's bandwidth-delay product with head room of two: a window of twice rate x shortest round trip keeps the source's
queue from running dry while our next request travels. The shortest round trip is a minimum over a sliding period, so that
our own queueing does not inflate it.
"""

from __future__ import annotations

import math

from protocol.limits import MAX_BLOCK, MAX_OUTSTANDING_BLOCKS

FLOOR = 12  # blocks: with 4 (one sealed, one on the wire, one opened, one asked for) every hiccup of a thread or disk is felt
START = 16
PERIOD = 10.0  # seconds for which a shortest round trip counts
SMOOTHING = 0.2


class Window:
    """Credit for one source, in blocks of at most 1 MiB."""

    def __init__(self) -> None:
        self.size = START
        self.rate = 0.0  # octets per second, smoothed
        self._shortest = math.inf
        self._shortest_at = -math.inf
        self._last_at: float | None = None

    def delivered(self, octets: int, round_trip: float, now: float) -> None:
        """A piece of `octets` came `round_trip` seconds after it was asked for."""
        if round_trip <= self._shortest or now - self._shortest_at > PERIOD:
            self._shortest, self._shortest_at = max(round_trip, 1e-4), now
        if self._last_at is not None and now > self._last_at:
            sample = octets / (now - self._last_at)
            self.rate = sample if not self.rate else self.rate + SMOOTHING * (sample - self.rate)
        self._last_at = now
        target = math.ceil(2 * self.rate * self._shortest / MAX_BLOCK)
        self.size = max(FLOOR, min(MAX_OUTSTANDING_BLOCKS, max(target, self.size - 1)))

    def trouble(self) -> None:
        """A refusal for load or a time-out: ask for less."""
        self.size = max(1, self.size // 2)
