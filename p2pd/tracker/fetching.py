"""Who is fetching what: devices that have a part of a content and serve it meanwhile. In memory only.

The rule: what is here lasts as long as the lease of its device and is told anew after each Announce, so a tracker that was restarted
knows it again within a moment, and nothing of it needs to be stored. It is in no search: a part of a file is nothing to be found by
name. Pure; one thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from p2pd.tracker.registry import Card
from protocol.limits import MAX_DEVICES


class Parts(Protocol):
    """What a service needs of it: Fetchers here, or shared_postgres.SharedFetchers. The methods are described there."""

    def announced(self, card: Card, now: float, until: float) -> None: ...

    def set(self, device_id: bytes, contents: Iterable[bytes], now: float) -> bool: ...

    def left(self, device_id: bytes) -> None: ...

    def of(self, content_id: bytes, now: float) -> list[Card]: ...

    def card(self, device_id: bytes, now: float) -> Card | None: ...

    def expire(self, now: float) -> None: ...


@dataclass(slots=True)
class _Device:
    card: Card
    until: float
    contents: frozenset[bytes] = field(default_factory=frozenset)


class Fetchers:
    """See the module. Times are of the tracker's clock."""

    def __init__(self) -> None:
        self._devices: dict[bytes, _Device] = {}  # the lease that ends first comes first
        self._by_content: dict[bytes, dict[bytes, None]] = {}

    def announced(self, card: Card, now: float, until: float) -> None:
        """A device has a lease and is reached so. What it fetches stays as it was. Leases are given in the order in which they end."""
        device = self._devices.pop(card.device_id, None)
        if device is not None:
            device.card, device.until = card, until
            self._devices[card.device_id] = device
            return
        if len(self._devices) >= MAX_DEVICES:
            self.expire(now)
        if len(self._devices) < MAX_DEVICES:
            self._devices[card.device_id] = _Device(card, until)

    def card(self, device_id: bytes, now: float) -> Card | None:
        """How a device is reached; None without a lease that was given in this run."""
        device = self._devices.get(device_id)
        return device.card if device is not None and device.until > now else None

    def set(self, device_id: bytes, contents: Iterable[bytes], now: float) -> bool:
        """All that a device fetches now. False when it has no lease here: it should announce again."""
        device = self._devices.get(device_id)
        if device is None or device.until <= now:
            return False
        wanted = frozenset(contents)
        for content_id in device.contents - wanted:
            self._forget(content_id, device_id)
        for content_id in wanted - device.contents:
            self._by_content.setdefault(content_id, {})[device_id] = None
        device.contents = wanted
        return True

    def left(self, device_id: bytes) -> None:
        """A device is gone."""
        device = self._devices.pop(device_id, None)
        if device is not None:
            for content_id in device.contents:
                self._forget(content_id, device_id)

    def of(self, content_id: bytes, now: float) -> list[Card]:
        """Those that fetch this content."""
        devices = (self._devices[device_id] for device_id in self._by_content.get(content_id, ()))
        return [device.card for device in devices if device.until > now]

    def expire(self, now: float) -> None:
        """Forgets devices whose lease is over."""
        while self._devices:
            device_id, device = next(iter(self._devices.items()))
            if device.until > now:
                return
            self.left(device_id)

    def _forget(self, content_id: bytes, device_id: bytes) -> None:
        devices = self._by_content[content_id]
        devices.pop(device_id, None)
        if not devices:
            del self._by_content[content_id]
