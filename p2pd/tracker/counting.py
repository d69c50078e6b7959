"""What the tracker counts of its registry now and then, so that no request has to: who is there, and what each network lists.

The rule: a look at everybody goes in steps, one a call, for which a search can wait; totals of a large swarm may be a second old, those
of a small one are exact. Times are of the tracker's clock. Any thread may call `totals`; `step` is for one at a time.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from typing import Any

from p2pd.tracker.policy import Policy, network_of
from p2pd.tracker.registry import Registry, Totals

CENSUS_SECONDS = 30.0  # how often the entries of networks are counted anew
STEP = 250  # devices in one step: some 2 ms
EXACT = 200  # devices: with so many, counting them takes 30 microseconds; with 10,000 over a millisecond
TOTALS_SECONDS = 1.0


class Counting:
    """See the module. `lock` is the one under which `policy` is used."""

    def __init__(self, registry: Registry, policy: Policy, lock: AbstractContextManager[Any]) -> None:
        self._registry = registry
        self._policy = policy
        self._lock = lock
        self._totals = (float("-inf"), Totals(0, 0))
        self._due = float("-inf")
        self._after: bytes | None = None
        self._entries: Counter[str] = Counter()

    def totals(self, now: float) -> Totals:
        """Devices with a lease, and their files. Raises RegistryError."""
        at, totals = self._totals
        if totals.devices < EXACT or not at <= now < at + TOTALS_SECONDS:
            totals = self._registry.totals(now)
            self._totals = now, totals
        return totals

    def step(self, now: float) -> bool:
        """The next step of a round over all devices with a lease, if one is due; whether the round goes on. Raises RegistryError, and
        then the next round begins in its time."""
        if self._after is None:
            if now < self._due:
                return False
            self._due = now + CENSUS_SECONDS
            self._entries = Counter()
            with self._lock:
                self._policy.census_begins()
        after, self._after = self._after or b"", None
        listings = self._registry.members(b"", after, STEP, now)
        for listing in listings:
            self._entries[network_of(listing.card.observed)] += listing.files
        if len(listings) < STEP:
            with self._lock:
                self._policy.census(self._entries)
            return False
        self._after = listings[-1].card.device_id
        return True
