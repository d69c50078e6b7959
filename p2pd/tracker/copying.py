"""A registry copied into another one, of the same or the other kind: for a move from SQLite to PostgreSQL, or back.

The rule: the target is written as by the devices themselves, so that it makes anew all that it derives. Each device is copied whole or
will be copied again: a copy that was cut short goes on when it is made again. Nothing that a device told the target by itself is
replaced. What is not copied the devices tell again: listings under way, and who fetches what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from p2pd.tracker.numbers_sqlite import head
from p2pd.tracker.reading import PART, Kept, Reading
from p2pd.tracker.registry import Registry, Share
from protocol.errors import Fault
from protocol.limits import ANNOUNCE_LIFETIME, MAX_CLAIMS
from protocol.tracker import NO_EPOCH, Entry, Publish

LAST_REVISION = 2**53 - 1
SWEPT = 2_000  # entries removed in one transaction


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is, in devices and files; `of_*`: how many the source has."""

    devices: int
    of_devices: int
    files: int
    of_files: int


def clear(registry: Registry, devices: list[Kept], now: Callable[[], float]) -> None:
    """Forgets these devices. Raises RegistryError."""
    for device in devices:
        while registry.forget(device.card.device_id, now(), SWEPT):
            pass
    while registry.sweep(now(), 0.0, SWEPT):
        pass


def copy(
    source: Reading, target: Registry, now: Callable[[], float], tell: Callable[[Progress], object]
) -> Progress:
    """Copies devices with their shares, and bans. `now`: of the target's clock. Raises RegistryError."""
    devices = source.devices()
    of_files = sum(_files(device) for device in devices)
    done = Progress(0, len(devices), 0, of_files)
    for device in devices:
        for count in _copy(source, device, target, now):
            done = Progress(done.devices, len(devices), done.files + count, of_files)
            tell(done)
        done = Progress(done.devices + 1, len(devices), done.files, of_files)
    tell(done)
    known = {ban.subject for ban in target.bans(now())}
    for ban in source.bans():
        if ban.subject not in known and ban.until > now():
            target.ban(ban, now())
    return done


def compare(source: Reading, copied: Reading, now: float) -> None:
    """Is everything there, as it is in the source or newer? Raises Fault storage that says what is not."""
    there = {device.card.device_id: device for device in copied.devices()}
    wrong = [
        device
        for device in source.devices()
        if not _is_there(source, device, there.get(device.card.device_id))
    ]
    bans = {ban.subject for ban in copied.bans()}
    missing = [ban for ban in source.bans() if ban.until > now and ban.subject not in bans]
    if wrong or missing:
        raise Fault(
            "storage",
            f"the copy is not complete: {len(wrong)} devices differ, {len(missing)} bans are missing",
            "make it again with --continue",
        )


def _is_there(source: Reading, device: Kept, found: Kept | None) -> bool:
    if found is None:
        return False
    if NO_EPOCH in (device.epoch, found.epoch):
        return device.epoch == NO_EPOCH
    if found.epoch != device.epoch or found.revision > device.revision:
        return True  # the device itself told more
    return found.revision == device.revision and (
        found.files == device.files or found.files == sum(1 for _ in _few_claims(source.entries(device)))
    )


def _few_claims(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Those that every registry keeps, see MAX_CLAIMS: one of another kind, or of before that bound, may hold more."""
    seen: set[int] = set()
    made: Counter[int] = Counter()
    for entry in entries:
        claim = hash((entry.content_id, entry.sha256, entry.size, entry.files))
        if claim not in seen:
            key = head(entry.content_id)
            if made[key] == MAX_CLAIMS:
                continue
            made[key] += 1
            seen.add(claim)
        yield entry


def _files(device: Kept) -> int:
    return 0 if device.epoch == NO_EPOCH else device.files


def _copy(source: Reading, device: Kept, target: Registry, now: Callable[[], float]) -> Iterator[int]:
    """Yields how many files more are there."""
    card = device.card
    began = now()
    # whatever the target knows of it, it is not to be forgotten
    share = target.announce(card, device.epoch, LAST_REVISION, began, began + ANNOUNCE_LIFETIME)
    if device.epoch == NO_EPOCH or share.epoch != NO_EPOCH:  # told by the device itself, or copied before
        yield _files(device)
    else:
        yield from _publish(source, device, target, now)
    if not device.here and share == Share():
        target.depart(card.device_id, now())


def _publish(source: Reading, device: Kept, target: Registry, now: Callable[[], float]) -> Iterator[int]:
    entries = _few_claims(source.entries(device))
    base, part = 0, list(islice(entries, PART))
    while True:
        following = list(islice(entries, PART))
        if following and base + 1 > device.revision:  # fewer revisions than parts: the rest comes in one
            following += entries
            part, following = part + following, []
        end = base + 1 if following else device.revision
        began = now()
        batch = Publish(0, device.epoch, base, end, True, bool(following), part, [])
        target.publish(device.card.device_id, batch, began, began + ANNOUNCE_LIFETIME)
        yield len(part)
        if not following:
            return
        base, part = end, following
