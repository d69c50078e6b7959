"""Who is kept out: devices and networks, each with a reason and an end. Asked by listeners and dialling parts of any thread.

The rule: what is here was stored before, so that a restart forgets nobody; this is only the copy that is quick to ask. A ban is of one
subject, written in one way: a device id in base32, or a network in CIDR. Times are Unix seconds. Knows no sockets and no database.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from p2pd.net.addresses import Network, parse_network
from p2pd.net.networks import Networks
from protocol.errors import Fault, RemoteProtocolError
from protocol.ids import before_prefix, device_from_text, device_text

MIN_PREFIX = 6  # characters of a device id that stand for it
FOR_EVER = float("inf")


@dataclass(frozen=True, slots=True)
class Ban:
    """`subject`: a device id in base32 or a network in CIDR; `until`: FOR_EVER, or when it ends."""

    subject: str
    until: float = FOR_EVER
    reason: str = ""
    since: float = 0.0

    def left(self, now: float) -> float:
        """Seconds until it ends."""
        return max(0.0, self.until - now)


def as_device(text: str) -> bytes | None:
    """The device id that a text is, or None."""
    try:
        return device_from_text(text)
    except RemoteProtocolError:
        return None


def subject_of(text: str) -> str:
    """A whole device id, an address or a network as a person writes it, in the form of Ban.subject. Raises Fault usage."""
    device_id = as_device(text.strip())
    if device_id is not None:
        return device_text(device_id)
    try:
        return str(parse_network(text))
    except Fault as fault:
        raise Fault(
            "usage",
            f"neither a device nor a network: {text!r}",
            "write a device id as p2pctl peers shows it (at a tracker: p2pctl tracker peers), 10.0.0.7 or 10.0.0.0/8",
        ) from fault


def one_device(text: str, found: list[bytes]) -> bytes:
    """The device that a whole id, or the beginning of the id of one of `found`, means. Raises Fault usage, not_found, ambiguous."""
    device_id = as_device(text)
    if device_id is not None:
        return device_id
    if len(text) < MIN_PREFIX or before_prefix(text) is None:
        raise Fault(
            "usage",
            f"not a device: {text!r}",
            f"write its id, or the first {MIN_PREFIX} characters or more; p2pctl peers shows them (at a tracker: p2pctl tracker peers)",
        )
    ids = sorted(
        {device_text(device_id) for device_id in found if device_text(device_id).startswith(text.lower())}
    )
    if not ids:
        raise Fault(
            "not_found",
            f"no device is known whose id begins with {text}",
            "p2pctl peers lists them (at a tracker: p2pctl tracker peers)",
        )
    if len(ids) > 1:
        raise Fault("ambiguous", f"{text} begins {len(ids)} ids: {', '.join(ids[:5])}", "write more of it")
    return device_from_text(ids[0])


class Bans:
    """The bans in force. `changed` is called after each change, on the thread of the change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bans: dict[str, Ban] = {}
        self._devices: dict[bytes, Ban] = {}
        self._networks: list[tuple[Network, Ban]] = []
        self._holding: Networks[Ban] = Networks()
        self.changed: Callable[[], object] = _nothing

    def replace(self, bans: Iterable[Ban]) -> bool:
        """These and no others. True when that is news."""
        new = {ban.subject: ban for ban in bans}
        with self._lock:
            if new == self._bans:
                return False
            self._bans = new
            self._devices = {}
            self._networks = []
            for ban in new.values():
                device = as_device(ban.subject)
                if device is not None:
                    self._devices[device] = ban
                else:
                    self._networks.append((parse_network(ban.subject), ban))
            self._holding = Networks(self._networks)
        self.changed()
        return True

    def of(self, device_id: bytes, host: str, now: float) -> Ban | None:
        """The ban that keeps this device out, or this address ("" for none): the longer one of several."""
        with self._lock:
            found = [ban for ban in (self._devices.get(device_id),) if ban is not None]
            if host:
                found += self._holding.holding(host)
        found = [ban for ban in found if ban.until > now]
        return max(found, key=lambda ban: ban.until) if found else None

    def networks(self, now: float) -> dict[Network, float]:
        """The banned networks, each with the seconds left."""
        with self._lock:
            return {network: ban.left(now) for network, ban in self._networks if ban.until > now}

    def all(self, now: float) -> list[Ban]:
        """Those in force, by subject."""
        with self._lock:
            return sorted((ban for ban in self._bans.values() if ban.until > now), key=lambda b: b.subject)


def _nothing() -> None:
    """Nobody wants to know."""
