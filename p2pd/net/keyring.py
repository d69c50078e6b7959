"""The network keys that this daemon accepts and dials with: one, or two while a rotation is under way.

The rule: the newer key comes first, the older is good until its time is over, and there is no way back: a device (or a
tracker's address) that has proven the newer key to us is never spoken with under the older one again. What was seen of
others during a rotation is kept here, bounded. Shared by all threads, so every public method takes the lock. Knows no
files: rotation.py stores what `dump` says.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from protocol.ids import device_from_text, device_text
from protocol.keys import NetworkSecret, expand
from protocol.limits import MAX_DEVICES, MAX_TRACKED_ADDRESSES

KEPT = 4  # keys that ended, remembered by a fingerprint


def fingerprint(secret: NetworkSecret) -> str:
    """What is kept of a key that has ended: enough to know it again, nothing to use it with."""
    return expand(secret.key, b"p2pd/1 retired", 16).hex()


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys as they are stored. Times are Unix seconds. `retired`: (epoch, fingerprint) of keys that ended, newest last."""

    current: NetworkSecret
    previous: NetworkSecret | None = None
    began_at: float = 0.0
    ends_at: float = 0.0
    retired: tuple[tuple[int, str], ...] = ()

    def rotated(self, new: NetworkSecret, now: float, overlap: float) -> Ring:
        """With `new` in the first place; the key until now stays good for `overlap` seconds."""
        known = tuple(pair for pair in self.retired if pair != (new.epoch, fingerprint(new)))
        ring = Ring(new, self.current, now, now + overlap, known)
        return ring if overlap > 0 else ring.finished()

    def finished(self) -> Ring:
        """Without the older key."""
        return self if self.previous is None else Ring(self.current, retired=self._retire(self.previous))

    def aborted(self) -> Ring:
        """Back to the older key, without the newer one."""
        return self if self.previous is None else Ring(self.previous, retired=self._retire(self.current))

    def _retire(self, secret: NetworkSecret) -> tuple[tuple[int, str], ...]:
        return (*self.retired, (secret.epoch, fingerprint(secret)))[-KEPT:]


@dataclass(frozen=True, slots=True)
class Sighting:
    """What is known of one device in this rotation: when it last used which key (Unix seconds, None: never), and from where."""

    device_id: bytes
    host: str
    old_at: float | None = None
    new_at: float | None = None

    @property
    def on_old(self) -> bool:
        """True for a device that has not proven the newer key yet."""
        return self.new_at is None


@dataclass(slots=True)
class _Seen:
    devices: OrderedDict[bytes, Sighting] = field(default_factory=OrderedDict)
    places: OrderedDict[str, None] = field(default_factory=OrderedDict)


class Keyring:
    """See the module. `clock` gives Unix seconds; one that goes back stands still here."""

    def __init__(
        self,
        ring: Ring | NetworkSecret,
        clock: Callable[[], float] = time.time,
        max_devices: int = MAX_DEVICES,
    ) -> None:
        self._lock = threading.Lock()
        self._ring = ring if isinstance(ring, Ring) else Ring(ring)
        self._clock = clock
        self._latest = 0.0
        self._max = max_devices
        self._seen = _Seen()
        self.news = 0
        """Raised by each fact that `dump` must not lose."""

    # -- the keys -----------------------------------------------------------------------------------------

    @property
    def ring(self) -> Ring:
        """As it was last set; an older key whose time is over may still be in it."""
        with self._lock:
            return self._ring

    @property
    def current(self) -> NetworkSecret:
        """The newest key."""
        return self.ring.current

    def set(self, ring: Ring) -> None:
        """Replaces the keys. What was seen belongs to one rotation: another one begins with nothing."""
        with self._lock:
            if (ring.current, ring.previous) != (self._ring.current, self._ring.previous):
                self._seen = _Seen()
                self.news += 1
            self._ring = ring

    def now(self) -> float:
        """Unix seconds that never go back."""
        with self._lock:
            return self._now()

    def accepted(self) -> tuple[NetworkSecret, ...]:
        """The keys that a listener takes, the newest first."""
        with self._lock:
            return self._accepted()

    def told(self) -> tuple[int, int]:
        """What members may know: the epoch of the newest key, and when the older one ends (Unix seconds; 0 without one)."""
        with self._lock:
            return self._ring.current.epoch, int(self._ring.ends_at) if len(self._accepted()) > 1 else 0

    def only(self) -> NetworkSecret | None:
        """The key there is outside of a rotation: then nothing is to be judged or noted of who uses it."""
        with self._lock:
            return self._ring.current if self._ring.previous is None else None

    def holds(self, secret: NetworkSecret) -> bool:
        """True while a session under this key may live."""
        return secret in self.accepted()

    def for_dialling(self, name: bytes | str) -> tuple[NetworkSecret, ...]:
        """The keys to try, in order, with a device id or, where none is known yet, an address."""
        with self._lock:
            known: Any = self._seen.places if isinstance(name, str) else self._seen.devices
            proven = name in known and (isinstance(name, str) or not self._seen.devices[name].on_old)
            return (self._ring.current,) if proven else self._accepted()

    # -- who uses which -----------------------------------------------------------------------------------

    def admits(self, device_id: bytes, secret: NetworkSecret) -> bool:
        """May this device have a session under this key? Not under the older one once it has proven the newer."""
        with self._lock:
            if secret not in self._accepted():
                return False
            seen = self._seen.devices.get(device_id)
            return secret == self._ring.current or seen is None or seen.on_old

    def met(self, device_id: bytes, secret: NetworkSecret, host: str, place: str = "") -> None:
        """A device has proven this key: at the end of a handshake, and again while its session lives.

        `place`: the address that was dialled without knowing who is there. Nothing is noted outside a rotation.
        """
        with self._lock:
            if self._ring.previous is None or secret not in self._accepted():
                return
            now, new = self._now(), secret == self._ring.current
            seen = self._seen.devices.get(device_id)
            if seen is None or (new and seen.on_old):
                self.news += 1
            seen = replace(seen or Sighting(device_id, host), host=host)
            self._seen.devices[device_id] = replace(seen, new_at=now) if new else replace(seen, old_at=now)
            self._seen.devices.move_to_end(device_id)
            self._bound()
            if new and place and place not in self._seen.places:
                self._seen.places[place] = None
                self.news += 1
                while len(self._seen.places) > MAX_TRACKED_ADDRESSES:
                    self._seen.places.popitem(last=False)

    def sightings(self) -> list[Sighting]:
        """All devices seen in this rotation, by device id."""
        with self._lock:
            return sorted(self._seen.devices.values(), key=lambda seen: seen.device_id)

    def _bound(self) -> None:
        """Forgets the oldest that has proven nothing new: who only holds the older key cannot push out who holds the newer."""
        while len(self._seen.devices) > self._max:
            spare = next((name for name, seen in self._seen.devices.items() if seen.on_old), None)
            self._seen.devices.pop(spare if spare is not None else next(iter(self._seen.devices)))

    # -- over restarts ------------------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """What was seen, as plain values for `load`."""
        with self._lock:
            return {
                "epoch": self._ring.current.epoch,
                "key": fingerprint(self._ring.current),
                "devices": [
                    [device_text(s.device_id), s.host, s.old_at, s.new_at]
                    for s in self._seen.devices.values()
                ],
                "places": list(self._seen.places),
            }

    def load(self, document: dict[str, Any]) -> None:
        """Takes what an earlier run dumped, if it is of this rotation. Raises ValueError, KeyError, TypeError or
        RemoteProtocolError for anything else.
        """
        with self._lock:
            if self._ring.previous is None or document["key"] != fingerprint(self._ring.current):
                return
            seen = _Seen()
            for name, host, old_at, new_at in document["devices"][: self._max]:
                device_id = device_from_text(name)
                seen.devices[device_id] = Sighting(device_id, str(host), _time(old_at), _time(new_at))
            seen.places = OrderedDict.fromkeys(str(place) for place in document["places"])
            self._seen = seen

    # -- inside, under the lock ---------------------------------------------------------------------------

    def _now(self) -> float:
        self._latest = max(self._latest, self._clock())
        return self._latest

    def _accepted(self) -> tuple[NetworkSecret, ...]:
        ring = self._ring
        if ring.previous is None or self._now() >= ring.ends_at:
            return (ring.current,)
        return (ring.current, ring.previous)


def _time(value: Any) -> float | None:
    return None if value is None else float(value)
