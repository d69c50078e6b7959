"""What the requests of a device cost the tracker, in time of the processor, and that nobody has more of it than is fair.

The rule: a request of usual price is free, however many the rates of quota.py allow; what a dearer one takes beyond that is owed, and
who owes waits. So whatever somebody finds that is dear, the tracker has nine tenths of its time for the others. The price counts for
who asks, though somebody else may have listed what makes it dear: he asks more slowly then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from p2pd.tracker.policy import Policy
from p2pd.tracker.quota import Kind

FREE = {Kind.SEARCH: 0.04, Kind.FIND: 0.01, Kind.WANT: 0.02}
"""Seconds of the processor that a request may take: some ten times what it mostly does here. Other kinds are free whatever they take:
nobody can make a page of everything dear, a batch may pay for the commit of everybody's, and the rest is little."""


class Charging:
    """`lock`: the policy's; `clock`: seconds of the processor that this thread has used."""

    def __init__(
        self,
        policy: Policy,
        lock: AbstractContextManager[Any],
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._policy = policy
        self._lock = lock
        self._clock = clock

    @contextmanager
    def of(self, device_id: bytes, host: str, kind: Kind, now: float) -> Iterator[None]:
        """What is done meanwhile is a request of this device."""
        began = self._clock()
        try:
            yield
        finally:
            dear = self._clock() - began - FREE.get(kind, float("inf"))
            if dear > 0:
                with self._lock:
                    self._policy.charge(device_id, host, dear, now)

    def owed(self, device_id: bytes, host: str, now: float) -> int:
        """Seconds until a device may ask again; 0: it may."""
        with self._lock:
            return self._policy.owed(device_id, host, now)
