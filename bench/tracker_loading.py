"""Loading a tracker for bench/tracker.py: what a file costs the more there are, beside what it costs a tracker that has none.

Speed of the machine changes within minutes, by more than what is looked for. So the files of the first devices are published again and
again, each time to a new tracker with an empty registry, in turns with those of the others to the tracker that fills: each
part of a step has two figures of the same seconds.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from common import Daemon
from tracker_clients import EPOCH, Clients
from tracker_data import Data

from p2pd.net.dealer import Link
from protocol.tracker import Entry, Publish, publishes

GROUP = 10  # devices that publish at a time
PART = 50  # devices between two measurements of a fresh tracker
QUIET = 0.03  # a tracker that uses less of a core than this has nothing left to do; sessions of 200 devices cost 0.01
QUIET_SECONDS = (
    1.2  # measured over more than a second: that is how often it forgets, commits and folds its log
)


def batches(data: Data, device: int) -> list[Publish]:
    """The list of a device as it goes over the wire."""
    entries: dict[tuple[bytes, str], Entry] = {
        (one.content_id, one.name): one for one in data.entries(device)
    }
    changes = enumerate(entries.values(), 1)
    return list(publishes(EPOCH, 0, len(entries), changes, reset=True))


def spent(trackers: list[Daemon]) -> float:
    """CPU seconds of processes."""
    # the clock of a process (clock_getcpuclockid): /proc tells no less than 10 ms, too coarse for ten thousand files
    return sum(time.clock_gettime(~tracker.process.pid << 3 | 2) for tracker in trackers)


async def quiet(cpu: Callable[[], float]) -> None:
    """Until trackers have done what they put off: commits, merges of indexes, the log."""
    for _ in range(20):
        before = cpu()
        await asyncio.sleep(QUIET_SECONDS)
        if cpu() - before < QUIET * QUIET_SECONDS:
            return


@dataclass(slots=True)
class Taken:
    """Files taken in; CPU seconds until the trackers were quiet again, and seconds in which devices waited for answers."""

    files: int = 0
    cpu: float = 0.0
    seconds: float = 0.0

    def add(self, other: Taken) -> None:
        self.files += other.files
        self.cpu += other.cpu
        self.seconds += other.seconds

    @property
    def each(self) -> float:
        """Microseconds of CPU a file."""
        return 1e6 * self.cpu / self.files


async def join(clients: Clients, devices: range) -> list[Link]:
    """Sessions of devices that have announced themselves."""
    links = [await clients.connect(devices[0])]
    links += await asyncio.gather(*(clients.connect(device) for device in devices[1:]))
    await asyncio.gather(*(clients.announce(link, 2**40) for link in links))
    return links


async def publish(
    clients: Clients, links: list[Link], lists: list[list[Publish]], cpu: Callable[[], float]
) -> Taken:
    """The lists of devices, some at a time."""
    before, begun = cpu(), time.perf_counter()
    for at in range(0, len(links), GROUP):
        pairs = zip(links[at : at + GROUP], lists[at : at + GROUP], strict=True)
        await asyncio.gather(*(clients.publish(*pair) for pair in pairs))
    seconds = time.perf_counter() - begun
    await quiet(cpu)
    return Taken(sum(len(batch.added) for one in lists for batch in one), cpu() - before, seconds)


class Fresh:
    """Trackers with an empty registry, one after the other, that take in the same files."""

    def __init__(
        self, start: Callable[[str], Daemon], meet: Callable[[list[Daemon]], Clients], data: Data
    ) -> None:
        self._start = start
        self._meet = meet
        self._lists = [batches(data, device) for device in range(GROUP)]

    async def measure(self) -> Taken:
        """What their files cost the next one."""
        tracker = self._start("fresh")
        try:
            clients = self._meet([tracker])
            links = await join(clients, range(GROUP))
            taken = await publish(clients, links, self._lists, lambda: spent([tracker]))
            clients.stop()
            return taken
        finally:
            tracker.stop()
            shutil.rmtree(tracker.home)


async def load(
    clients: Clients,
    data: Data,
    devices: range,
    cpu: Callable[[], float],
    fresh: Callable[[], Awaitable[Taken]] | None,
) -> tuple[Taken, Taken, float]:
    """The files of these devices: what they cost, what those of a fresh tracker cost meanwhile, and seconds of joining.

    What joining costs is not counted, and only those who publish have sessions.
    """
    taken, beside, joining = Taken(), Taken(), 0.0
    for at in range(0, len(devices), PART):
        part = devices[at : at + PART]
        lists = [batches(data, device) for device in part]
        begun = time.perf_counter()
        links = await join(clients, part)
        joining += time.perf_counter() - begun
        if fresh is not None:
            beside.add(await fresh())
        await quiet(cpu)
        taken.add(await publish(clients, links, lists, cpu))
        clients.close(links)
    return taken, beside, joining
