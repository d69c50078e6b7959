"""Requests for blocks on their way to sources: in turns, within what a source holds for us, and no faster than the download limits.

The rule: a request that waits here is not asked yet, so it costs its source nothing and can still be withdrawn; control messages do not
pass here. Fair between downloads and between their sources by octets (engine/turns.py). On the `downloads` reactor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from p2pd.engine.ratelimit import TokenBucket, block_under
from p2pd.engine.turns import Turns
from p2pd.net.reactor import Reactor, Timer
from protocol.limits import MAX_OUTSTANDING_BLOCKS


class Asker(Protocol):
    """A download."""

    @property
    def bucket(self) -> TokenBucket:
        """Its own limit."""


Work = Callable[[], int]
"""Asks for a block; its octets, or 0 when there is nothing to ask for any more."""


class Asking:
    """See the module. `source` is the name of a device: what is open there is counted for all downloads together."""

    def __init__(self, reactor: Reactor) -> None:
        self.bucket = TokenBucket(0, reactor.clock())
        self._reactor = reactor
        self._turns: Turns[tuple[Asker, str], Work] = Turns()
        self._open: dict[str, int] = {}  # requests that each source has not answered
        self._timer: Timer | None = None
        self._soonest = 0.0
        self._working = False

    def block(self, asker: Asker) -> int:
        """The most octets that a block of this download should have under the limits now."""
        return min(block_under(self.bucket.rate), block_under(asker.bucket.rate))

    def set_limit(self, rate: int) -> None:
        """Another limit for all downloads together, in octets a second; 0: none."""
        self.bucket.set_rate(rate, self._reactor.clock())
        self.work()

    def ask(self, asker: Asker, source: str, work: Work, *, first: bool = False) -> None:
        """Calls `work` when its turn has come: at once, when nothing stands against it. Call `answered` once for each request it made.

        `first`: before what waits already for this asker and source.
        """
        self._turns.add((asker, source), work, first=first)
        if self._timer is None:
            self.work()

    def answered(self, source: str) -> None:
        """A request is open no more."""
        left = self._open.get(source, 0) - 1
        if left > 0:
            self._open[source] = left
        else:
            self._open.pop(source, None)
        if self._timer is None and len(self._turns):
            self.work()

    def forget(self, asker: Asker, source: str) -> None:
        """What waits for this source is not wanted any more."""
        self._turns.leave((asker, source))

    def work(self) -> None:
        """Asks what may be asked now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._working:
            return  # called from within a `work`: the loop below goes on
        self._working = True
        try:
            while self._step():
                pass
        finally:
            self._working = False

    def _step(self) -> bool:
        now = self._reactor.clock()
        self._soonest = self.bucket.wait(now)
        found = None
        if not self._soonest:
            found = self._turns.next(now, lambda owner: self._ready(owner, now))
        if found is None:
            if self._soonest and len(self._turns):
                self._timer = self._reactor.later(self._soonest, self._wake)
            return False
        owner, work = found
        octets = work()
        if octets:
            asker, source = owner
            self._open[source] = self._open.get(source, 0) + 1
            self._turns.charge(owner, octets)
            self.bucket.take(octets, now)
            asker.bucket.take(octets, now)
        return True

    def _ready(self, owner: tuple[Asker, str], now: float) -> bool:
        asker, source = owner
        if self._open.get(source, 0) >= MAX_OUTSTANDING_BLOCKS:
            return False  # goes on when one is answered
        wait = asker.bucket.wait(now)
        if wait:
            self._soonest = min(self._soonest, wait) if self._soonest else wait
        return not wait

    def _wake(self) -> None:
        self._timer = None
        self.work()
