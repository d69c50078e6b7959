"""How much one device may ask of the tracker: token buckets, one a device and a kind of request.

Pure bookkeeping of bounded size: time is an argument. Devices that have been silent long enough to be full
again are as good as unknown, so the ones asked for longest ago are dropped first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from enum import Enum
from math import ceil

from protocol.limits import (
    ANNOUNCE_BURST,
    ANNOUNCE_SECONDS_MIN,
    FIND_BURST,
    FINDS_PER_SECOND,
    LIST_BURST,
    LISTS_PER_SECOND,
    MAX_DEVICES,
    PUBLISH_BURST,
    PUBLISHES_PER_SECOND,
    REACH_BURST,
    REACH_BURST_IN_ALL,
    REACHES_IN_ALL_PER_SECOND,
    REACHES_PER_SECOND,
    SEARCH_BURST,
    SEARCHES_PER_SECOND,
    WANT_BURST,
    WANTS_PER_SECOND,
)


class Kind(Enum):
    """Kinds of requests that are counted together: (tokens a second, most tokens)."""

    ANNOUNCE = (1 / ANNOUNCE_SECONDS_MIN, ANNOUNCE_BURST)
    PUBLISH = (PUBLISHES_PER_SECOND, PUBLISH_BURST)
    SEARCH = (SEARCHES_PER_SECOND, SEARCH_BURST)  # what ranks: Search by text; and Peers of the swarm
    LIST = (LISTS_PER_SECOND, LIST_BURST)  # Search by all
    REACH = (REACHES_PER_SECOND, REACH_BURST)
    REACH_IN_ALL = (REACHES_IN_ALL_PER_SECOND, REACH_BURST_IN_ALL)  # of all devices together
    WANT = (WANTS_PER_SECOND, WANT_BURST)
    TIME = (0.1, 2.0)  # seconds of the processor beyond what requests of usual price take, see charging.py
    FIND = (FINDS_PER_SECOND, FIND_BURST)  # what looks one thing up: Find, Peers of it, Search by id or name


class Quota:
    """The buckets of all devices, at most `size` of them. `rates` stand for those of their kinds."""

    def __init__(
        self, size: int = 4 * MAX_DEVICES, rates: Mapping[Kind, tuple[float, float]] | None = None
    ) -> None:
        self._size = size
        self._rates = rates or {}
        self._buckets: OrderedDict[tuple[bytes, Kind], tuple[float, float]] = OrderedDict()

    def take(self, device_id: bytes, kind: Kind, now: float) -> int:
        """Takes a token and returns 0; without one, whole seconds (at least 1) until there will be one."""
        rate, tokens = self._level(device_id, kind, now)
        wait = 0
        if tokens >= 1.0 - 1e-9:
            tokens -= 1.0
        else:
            wait = max(1, ceil((1.0 - tokens) / rate))
        self._keep(device_id, kind, tokens, now)
        return wait

    def spend(self, device_id: bytes, kind: Kind, amount: float, now: float) -> None:
        """Takes what was used already, though it be more than there is."""
        self._keep(device_id, kind, self._level(device_id, kind, now)[1] - amount, now)

    def owed(self, device_id: bytes, kind: Kind, now: float) -> int:
        """0, or when more was spent than there was, whole seconds until that is made up for."""
        rate, tokens = self._level(device_id, kind, now)
        return 0 if tokens >= 0 else max(1, ceil(-tokens / rate))

    def _level(self, device_id: bytes, kind: Kind, now: float) -> tuple[float, float]:
        """The rate, and how many tokens there are."""
        rate, burst = self._rates.get(kind, kind.value)
        tokens, stamp = self._buckets.get((device_id, kind), (float(burst), now))
        return rate, min(burst, tokens + max(0.0, now - stamp) * rate)

    def _keep(self, device_id: bytes, kind: Kind, tokens: float, now: float) -> None:
        key = (device_id, kind)
        self._buckets[key] = (tokens, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._size:
            self._buckets.popitem(last=False)

    def __len__(self) -> int:
        return len(self._buckets)
