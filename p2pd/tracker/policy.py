"""How much one device, and one network, may ask of a tracker and list at it: the operator's figures, and the counting.

The rule: a network is an IPv4 /24 or an IPv6 /64, for that is what one owner has; many devices behind one address share what a network
gets, and the tracker's own host is no network. Pure; time is an argument.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from p2pd.net.addresses import is_loopback
from p2pd.tracker.quota import Kind, Quota
from protocol import limits

DEVICES = 5  # of a network that may be dear at the same time


@dataclass(frozen=True, slots=True)
class Figures:
    """What one device and what one network may do. 0 entries or a rate of 0 of a network: no bound."""

    device_searches: float = limits.SEARCHES_PER_SECOND
    device_announces: float = 1 / limits.ANNOUNCE_SECONDS_MIN
    device_publishes: float = limits.PUBLISHES_PER_SECOND
    network_searches: float = limits.NETWORK_SEARCHES_PER_SECOND
    network_announces: float = limits.NETWORK_ANNOUNCES_PER_SECOND
    network_publishes: float = limits.NETWORK_PUBLISHES_PER_SECOND
    network_entries: int = limits.MAX_FILES_PER_NETWORK


@lru_cache(maxsize=1 << 14)  # asked for each request of each member
def network_of(host: str) -> str:
    """The network that a source address counts for; "" for loopback and for what is no address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    if is_loopback(host):
        return ""
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 64), strict=False))


class Policy:
    """See the module."""

    def __init__(self, figures: Figures = Figures()) -> None:
        self._entries: dict[str, int] = {}
        self._since: dict[str, int] = {}  # of them, since the last census began
        self.change(figures)

    def change(self, figures: Figures) -> None:
        """Other figures from now on; everybody begins with a full burst. Any thread may call: each part is replaced whole."""
        self._figures = figures
        self._devices = Quota(
            rates={
                Kind.SEARCH: _scaled(Kind.SEARCH, figures.device_searches),
                Kind.ANNOUNCE: _scaled(Kind.ANNOUNCE, figures.device_announces),
                Kind.PUBLISH: _scaled(Kind.PUBLISH, figures.device_publishes),
            }
        )
        shared = {
            Kind.SEARCH: figures.network_searches,
            Kind.ANNOUNCE: figures.network_announces,
            Kind.PUBLISH: figures.network_publishes,
        }
        self._shared = {kind for kind, rate in shared.items() if rate}
        self._networks = Quota(rates={kind: _scaled(kind, rate) for kind, rate in shared.items() if rate})

    def take(self, device_id: bytes, host: str, kind: Kind, now: float) -> int:
        """Counts a request. 0, or seconds until it may be asked: of the device, or of its network."""
        wait = self._devices.take(device_id, kind, now)
        network = network_of(host) if kind in self._shared else ""
        if wait or not network:
            return wait
        return self._networks.take(network.encode(), kind, now)

    def charge(self, device_id: bytes, host: str, seconds: float, now: float) -> None:
        """A device has used so much time beyond what is free, and so has its network, which may use as much as five devices."""
        self._devices.spend(device_id, Kind.TIME, seconds, now)
        if network := network_of(host):
            self._networks.spend(network.encode(), Kind.TIME, seconds / DEVICES, now)

    def owed(self, device_id: bytes, host: str, now: float) -> int:
        """Seconds until a device has made up for the time it used, and its network too."""
        network = network_of(host)
        of_all = self._networks.owed(network.encode(), Kind.TIME, now) if network else 0
        return max(of_all, self._devices.owed(device_id, Kind.TIME, now))

    def room(self, host: str, more: int) -> bool:
        """May devices of this network list `more` entries? Counted as listed, until the next census."""
        network = network_of(host)
        most = self._figures.network_entries
        if not network or not most or more <= 0:
            return True
        if self._entries.get(network, 0) + more > most:
            return False
        self._entries[network] = self._entries.get(network, 0) + more
        self._since[network] = self._since.get(network, 0) + more
        return True

    def census_begins(self) -> None:
        """The entries of networks are counted from now on, and told to `census` at the end."""
        self._since = {}

    def census(self, entries: Mapping[str, int]) -> None:
        """How many entries each network lists, as the registry has them. What was let in meanwhile comes on top: until the next census
        some may be counted twice, and none is left out."""
        counts = Counter(entries)
        counts.update(self._since)
        self._entries, self._since = counts, {}


def _scaled(kind: Kind, rate: float) -> tuple[float, float]:
    """A rate with as much burst in proportion as the kind has by itself."""
    own, burst = kind.value
    return rate, max(1.0, burst * rate / own)
