"""What a tracker remembers, as an interface: the service depends on this, never on a database.

The rule: each method is one transaction, and what it returned or accepted is stored. Leases are compared with
the `now` of the caller's clock, which never goes back while the process lives; `resume` carries them over a
restart. tests/fakes/registry_contract.py is the meaning of this interface; every implementation passes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Protocol

from p2pd.net.bans import Ban
from p2pd.tracker.search import Page, Query
from protocol.tracker import NO_EPOCH, Publish

STEP = 1000  # devices listed in one call


class RegistryError(Exception):
    """The store failed (disk, damage, connection): nothing of this call is kept."""


class RegistryFull(Exception):
    """A bound of the registry would be passed: nothing of this call is kept. The text says which."""


class DeviceFull(RegistryFull):
    """The bound of one device: room for others does not help it."""


class OutOfStep(Exception):
    """A batch does not continue what is known of the device's share, or the device has no lease."""


@dataclass(frozen=True, slots=True)
class Card:
    """How a device is reached: the source address seen, the address it declared ("" for none), its port."""

    device_id: bytes
    observed: str
    declared: str
    port: int


@dataclass(frozen=True, slots=True)
class Share:
    """What is known of a device's share: complete up to (epoch, revision), or a listing under way (stage)."""

    epoch: bytes = NO_EPOCH
    revision: int = 0
    stage_epoch: bytes = NO_EPOCH
    stage_revision: int = 0

    def announced(self, epoch: bytes, revision: int) -> Share:
        """After an Announce. A revision behind ours in the same epoch: the device lost state, forget it."""
        if epoch == self.epoch and revision < self.revision:
            return Share()
        return self


class Step(Enum):
    """What a batch is to a share."""

    REPEAT = auto()  # applied before; the answer was lost
    DELTA = auto()
    BEGIN = auto()  # the first part of a complete listing
    CONTINUE = auto()


def next_step(share: Share, batch: Publish) -> tuple[Step, Share]:
    """What `batch` does, and the share after it. Raises OutOfStep when it does not fit.

    A listing is begun at any time and makes the share unknown until its last part, so that an interrupted one
    is begun again. The repeat of an applied batch is accepted: its answer may have been lost.
    """
    base, end = (batch.share_epoch, batch.base_revision), (batch.share_epoch, batch.revision)
    if batch.revision < batch.base_revision:
        raise OutOfStep("revision goes back")
    if batch.reset:
        if batch.base_revision == 0:
            step = Step.BEGIN
        elif base == (share.stage_epoch, share.stage_revision):
            step = Step.CONTINUE
        elif end == (
            (share.stage_epoch, share.stage_revision) if batch.more else (share.epoch, share.revision)
        ):
            return Step.REPEAT, share
        else:
            raise OutOfStep("another listing is under way, or none")
        return step, Share(stage_epoch=end[0], stage_revision=end[1]) if batch.more else Share(*end)
    if base == (share.epoch, share.revision):
        return Step.DELTA, replace(share, revision=batch.revision)
    if end == (share.epoch, share.revision):
        return Step.REPEAT, share
    raise OutOfStep("another base")


@dataclass(frozen=True, slots=True)
class Listing:
    """A device with a lease, the number of entries it shares, and when the lease ends."""

    card: Card
    files: int
    lease: float


@dataclass(frozen=True, slots=True)
class Totals:
    """Devices with a lease, and the entries they share."""

    devices: int
    files: int


class Registry(Protocol):
    """Every method raises RegistryError when the store fails. Times are seconds of one clock."""

    def resume(self, now: float, lease_until: float) -> None:
        """After a start: every device that had not left gets a lease, since none could renew while we were
        away.
        """

    def announce(self, card: Card, epoch: bytes, revision: int, now: float, lease_until: float) -> Share:
        """Remember the device and give it a lease. Raises RegistryFull (devices)."""

    def publish(self, device_id: bytes, batch: Publish, now: float, lease_until: float) -> None:
        """Apply one batch and renew the lease. Raises OutOfStep, RegistryFull or DeviceFull (files)."""

    def depart(self, device_id: bytes, now: float) -> None:
        """End the lease now. Unknown devices are ignored."""

    def search(self, query: Query, limit: int, now: float) -> Page:
        """A page of contents that devices with a lease and a port serve. Raises search.BadCursor."""

    def holders(self, content_id: bytes, besides: bytes, limit: int, now: float) -> Sequence[Card]:
        """Devices with a lease and a port that serve a content, without the device `besides`."""

    def members(self, content_id: bytes, after: bytes, limit: int, now: float) -> Sequence[Listing]:
        """Devices with a lease, device ids above `after` in order; only sharers of `content_id` if given."""

    def totals(self, now: float) -> Totals:
        """Sums over the devices with a lease."""

    def sweep(self, now: float, ended_before: float, limit: int) -> int:
        """Forget devices whose lease ended before a moment, and replaced entries; at most `limit` entries.

        Returns how much was done; 0 means that nothing is left to do.
        """

    def forget(self, device_id: bytes, now: float, limit: int) -> int:
        """End the lease of one device and remove what is known of it; at most `limit` entries.

        Returns how much was done; 0 means that nothing is left of it.
        """

    def ban(self, ban: Ban, now: float) -> None:
        """Keep a ban, instead of an earlier one of this subject. Raises RegistryFull (bans)."""

    def unban(self, subject: str) -> bool:
        """Forget a ban. False when there was none."""

    def bans(self, now: float) -> Sequence[Ban]:
        """The bans that are not over, by subject: also those that others who share the store made."""

    def close(self) -> None:
        """Store everything and let go. May be called twice."""


def everybody(registry: Registry, now: float) -> Iterator[Listing]:
    """All devices with a lease, by device id, in bounded steps. Raises RegistryError."""
    after = b""
    while listings := registry.members(b"", after, STEP, now):
        yield from listings
        after = listings[-1].card.device_id
