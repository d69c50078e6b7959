"""Devices that do not take our key: in the middle of a rotation one of us is behind, else they are of another swarm.

The rule: such a device is left alone for a while, since each try is a guess to it, and until our own keys change. Any thread may call: the
table is replaced whole.
"""

from __future__ import annotations

from collections.abc import Iterable

REST_SECONDS = 30.0
MAX_DEVICES = 1024


class Foreign:
    """See the module. Times are of a monotonic clock."""

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}

    def note(self, device_id: bytes, now: float) -> None:
        """It refused our proof, or did not prove ours."""
        kept = {name: until for name, until in self._until.items() if until > now and name != device_id}
        while len(kept) >= MAX_DEVICES:
            del kept[next(iter(kept))]
        self._until = {**kept, device_id: now + REST_SECONDS}

    def holds(self, device_id: bytes, now: float) -> bool:
        """Should it be left alone?"""
        return self._until.get(device_id, now) > now

    def all(self, device_ids: Iterable[bytes], now: float) -> bool:
        """Are they all such devices?"""
        return all(self.holds(device_id, now) for device_id in device_ids)

    def forget(self) -> None:
        """Our keys have changed."""
        self._until = {}
