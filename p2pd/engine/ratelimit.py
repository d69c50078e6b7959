"""Bandwidth limits: a token bucket for each direction, how large a block may be under one, and what the rate is now.

A bucket may go into debt by one block: whoever takes waits afterwards, not before, so that a block larger than the bucket passes too. What
a late timer loses is made up within BURST_SECONDS; no more is saved up, so an idle hour buys nothing. Octets of files count, control
messages do not. Pure: time is an argument.
"""

from __future__ import annotations

from collections import deque

from protocol.limits import MAX_BLOCK, MIN_BLOCK

BURST_SECONDS = 0.1
DEBT_SECONDS = 1.0  # a debt of a quicker time must not silence a new, slower limit for longer
SMOOTH = 16  # blocks a second: 16 KiB at 256K and below, 1 MiB from 16M
WINDOW_SECONDS = 2.0
SAMPLE_SECONDS = 0.1


class TokenBucket:
    """At most `rate` octets a second; 0 means no limit."""

    def __init__(self, rate: int = 0, now: float = 0.0) -> None:
        self.rate = rate
        self._level = 0.0  # octets that may pass at once; below zero: debt
        self._at = now

    def set_rate(self, rate: int, now: float) -> None:
        """Another limit from now on."""
        self._settle(now)
        self.rate = rate
        self._level = min(max(self._level, -rate * DEBT_SECONDS), rate * BURST_SECONDS) if rate else 0.0

    def wait(self, now: float) -> float:
        """Seconds until something may pass; 0 when it may now."""
        if not self.rate:
            return 0.0
        self._settle(now)
        # Less than an octet of debt is a rounding error, and a wait too short to move a clock.
        return -self._level / self.rate if self._level <= -1 else 0.0

    def take(self, octets: int, now: float) -> None:
        """So much passes now."""
        if self.rate:
            self._settle(now)
            self._level -= octets

    def _settle(self, now: float) -> None:
        if now > self._at:
            if self.rate:
                self._level = min(self._level + (now - self._at) * self.rate, self.rate * BURST_SECONDS)
            self._at = now


def block_under(rate: int) -> int:
    """The most octets that one block should have under a limit (0: none), so that it passes evenly: a power of two."""
    if not rate:
        return MAX_BLOCK
    fitting = max(MIN_BLOCK, min(MAX_BLOCK, rate // SMOOTH))
    return 1 << (fitting.bit_length() - 1)


class Meter:
    """The rate over the last WINDOW_SECONDS of a counter that only grows. Sample it a few times in that time."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def sample(self, total: int, now: float) -> None:
        """The counter stands at `total`."""
        if self._samples and now - self._samples[-1][0] < SAMPLE_SECONDS:
            return
        self._samples.append((now, total))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW_SECONDS:
            self._samples.popleft()

    def rate(self) -> int:
        """Octets a second; 0 before the second sample."""
        if len(self._samples) < 2:
            return 0
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return int((last - first) / (ended - began))
