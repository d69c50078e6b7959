"""What tests say to a TrackerService: senders, entries and the messages that a device begins with."""

from __future__ import annotations

from p2pd.tracker.service import Sender, TrackerService
from protocol.tracker import Announce, Announced, Entry, Publish, Published

EPOCH = b"epoch--1"
PUBLIC = "203.10.0.1"


def who(number: int, host: str | None = None) -> Sender:
    """Device `number`, from an address of its own."""
    return Sender(number.to_bytes(20, "big"), host or f"10.0.{number // 200}.{number % 200 + 1}")


def entry(number: int, name: str = "") -> Entry:
    """The entry of content `number`, whose size is that number."""
    return Entry(bytes([number]) * 32, bytes(32), number, name or f"alpha {number}", number)


def announce(port: int = 8001, host: str = "", revision: int = 2**40) -> Announce:
    """A device with the newest state."""
    return Announce(9, EPOCH, revision, port, host)


def listing(*entries: Entry) -> Publish:
    """A whole share in one message."""
    return Publish(9, EPOCH, 0, 1, True, False, list(entries), [])


def join(service: TrackerService, sender: Sender, *entries: Entry, port: int = 8001, host: str = "") -> None:
    """Announces and publishes a whole share at time 0."""
    assert isinstance(service.handle(announce(port, host), sender, 0.0), Announced)
    assert service.handle(listing(*entries), sender, 0.0) == Published(9, 1)
