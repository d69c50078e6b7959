"""A tracker with thousands of devices, each with a real session: what one costs, and who waits while others join.

    python bench/devices.py [--devices 10000] [--seconds 60] [--joining 200]

A real `p2pd tracker` over loopback. The devices are in this process (bench/crowd.py): each has its own key, its own connection and
session, announces itself and publishes some files, and then does what a peer does: answers pings, announces about every five
minutes. They come from loopback addresses of their own, 100 devices to each. Then some of them search, while more devices join.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import common
from crowd import Crowd, Device
from tracker_data import WORDS_ASKED, Data, question

from protocol.keys import NetworkSecret, derive_network_key
from protocol.tracker import Announce, Announced, By, Hits, Publish, Published, SearchTerms

NETWORK = "bench"
PASSWORD = "correct horse battery staple"
PER_ADDRESS = 100
JOINS_PER_SECOND = 45.0  # it takes 50 from addresses that it knows, 20 from strangers
STRANGERS_PER_SECOND = 15.0
FILES = 10
SEARCHES_PER_SECOND = 50.0
REFRESH_SECONDS = 300.0


def address(number: int) -> str:
    """The loopback address of a device."""
    block = number // PER_ADDRESS
    return f"127.{1 + block // 250}.{block % 250}.1"  # a network of its own for the tracker's quotas


def p99(values: Sequence[float]) -> float:
    return sorted(values)[max(0, round(len(values) * 0.99) - 1)] if values else float("nan")


def milliseconds(values: Sequence[float]) -> str:
    if not values:
        return "none"
    figures = (("p50", statistics.median(values)), ("p99", p99(values)), ("most", max(values)))
    return ", ".join(f"{name} {value * 1000:.1f} ms" for name, value in figures) + f" ({len(values)})"


class Load:
    """What the devices do, and how long it took."""

    def __init__(self, crowd: Crowd, seed: int) -> None:
        self.crowd = crowd
        self.rng = random.Random(seed)
        self.data = Data(seed, FILES)
        self.announces: list[float] = []
        self.searches: list[float] = []
        self.handshakes: list[float] = []
        self.refused: list[str] = []
        self.ready = 0
        self._due: list[tuple[float, Device]] = []
        crowd.on_open = self._opened

    def _opened(self, device: Device) -> None:
        self.handshakes.append(device.opened_after)
        self._announce(device)

    def _announce(self, device: Device) -> None:
        epoch = device.number.to_bytes(8, "big")
        first = device.requests == 0
        device.requests += 1
        request = Announce(device.requests, epoch, 1, 8001)

        def answered(seconds: float, reply: object) -> None:
            self.announces.append(seconds)
            if not isinstance(reply, Announced):
                self.refused.append(repr(reply))
            elif first:
                self._publish(device, epoch)

        self.crowd.ask(device, request, answered)

    def _publish(self, device: Device, epoch: bytes) -> None:
        entries = list(self.data.entries(device.number, FILES))
        device.requests += 1

        def answered(seconds: float, reply: object) -> None:
            if isinstance(reply, Published):
                self.ready += 1
            else:
                self.refused.append(repr(reply))

        self.crowd.ask(device, Publish(device.requests, epoch, 0, 1, True, False, entries, []), answered)

    def search(self) -> None:
        """One search by one of those who are there."""
        device = self.rng.choice(self.crowd.devices)
        if device.session is None:
            return
        device.requests += 1

        def answered(seconds: float, reply: object) -> None:
            self.searches.append(seconds)
            if not isinstance(reply, Hits):
                self.refused.append(repr(reply))

        [kind] = self.rng.choices(list(WORDS_ASKED), list(WORDS_ASKED.values()))
        text, phrase = question(self.data, kind, self.rng)
        by, phrases = By.ID if kind == "id" else By.TEXT, [phrase] if phrase else []
        self.crowd.ask(device, SearchTerms(device.requests, by, text, limit=100, phrases=phrases), answered)

    def join(self, numbers: Sequence[int], rate: float) -> None:
        """New devices at so many a second, until each has published or was refused (or for a minute more)."""
        crowd, began, started = self.crowd, time.perf_counter(), 0
        wanted = self.ready + self._closed() + len(numbers)
        while self.ready + self._closed() < wanted:
            passed = time.perf_counter() - began
            while started < len(numbers) and started <= passed * rate:
                crowd.join(numbers[started], address(numbers[started]))
                started += 1
            crowd.turn(0.01)
            if passed > len(numbers) / rate + 60:
                return

    def _closed(self) -> int:
        return sum(device.state == "closed" for device in self.crowd.devices)

    def live(self, seconds: float, joining: Sequence[int] | None = None) -> None:
        """Searches and announces for so long; with `joining` these devices come meanwhile, evenly."""
        began = time.perf_counter()
        devices = [device for device in self.crowd.devices if device.session is not None]
        share = seconds / REFRESH_SECONDS
        announcing = self.rng.sample(devices, round(len(devices) * share))
        asked = announced = joined = 0
        while (passed := time.perf_counter() - began) < seconds:
            while asked < passed * SEARCHES_PER_SECOND:
                self.search()
                asked += 1
            while announced < len(announcing) * passed / seconds:
                if announcing[announced].session is not None:
                    self._announce(announcing[announced])
                announced += 1
            while (
                joining is not None
                and joined < len(joining) * min(1.0, passed / seconds * 1.02)
                and joined < len(joining)
            ):
                self.crowd.join(joining[joined], address(joining[joined]))
                joined += 1
            self.crowd.turn(0.002)
        deadline = time.perf_counter() + 20
        while any(device.waiting for device in devices if device.session) and time.perf_counter() < deadline:
            self.crowd.turn(0.01)

    def clear(self) -> None:
        """Forgets what was measured so far."""
        for each in (self.announces, self.searches, self.handshakes, self.refused):
            each.clear()


def resident(pid: int) -> int:
    """Octets of memory that a process holds now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--devices", type=int, default=9_800, help="with those that join later at most 10,000"
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--joining", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    values = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        print(common.describe(common.machine(directory)))
        print(f"{values.devices} devices, {FILES} files each, seed {values.seed}")
        secret = NetworkSecret(derive_network_key(PASSWORD, NETWORK, 0), NETWORK)
        (directory / "password").touch(mode=0o600)
        (directory / "password").write_text(PASSWORD)
        words = ["tracker", "--listen", "127.0.0.1:0", "--network", NETWORK, "--password-file", "password"]
        tracker = common.Daemon("tracker", words, directory)
        try:
            measure(tracker.process.pid, Crowd(int(tracker.where.rpartition(":")[2]), secret), values)
        finally:
            tracker.stop()
    return 0


def measure(pid: int, crowd: Crowd, values: argparse.Namespace) -> None:
    load = Load(crowd, values.seed)
    load.join([0], 1.0)
    empty, before = resident(pid), common.cpu_seconds(pid)
    began = time.perf_counter()
    # An address is known once its first device is in; strangers are let in slowly, so these come first.
    load.join(range(PER_ADDRESS, values.devices, PER_ADDRESS), STRANGERS_PER_SECOND)
    rest = [number for number in range(values.devices) if number % PER_ADDRESS]
    rest.sort(key=lambda number: number % PER_ADDRESS)  # an address may try two handshakes a second
    load.join(rest, min(JOINS_PER_SECOND, 1.8 * math.ceil(values.devices / PER_ADDRESS)))
    took = time.perf_counter() - began
    there = sum(device.session is not None for device in crowd.devices)
    print(
        f"joined: {there} sessions in {took:.0f} s, handshake {milliseconds(load.handshakes)}, refused {len(load.refused)}"
    )
    for trouble in sorted(
        {device.trouble for device in crowd.devices if device.trouble} | set(load.refused[:3])
    ):
        print(f"  trouble: {trouble}")
    print(f"  announce {milliseconds(load.announces)}")
    cpu, memory = (common.cpu_seconds(pid) - before) / there, (resident(pid) - empty) / there
    print(f"  tracker: {cpu * 1000:.1f} ms of CPU a joining device, {memory / 1024:.1f} KiB a device")
    load.clear()
    before, began = common.cpu_seconds(pid), time.perf_counter()
    load.live(values.seconds)
    took = time.perf_counter() - began
    used = common.cpu_seconds(pid) - before
    print(f"steady, {SEARCHES_PER_SECOND:.0f} searches a second, {took:.0f} s:")
    print(
        f"  search   {milliseconds(load.searches)}\n  announce {milliseconds(load.announces)}, refused {len(load.refused)}"
    )
    print(
        f"  tracker: {used / took * 100:.0f} % of a core, {used / took / there * 1e6:.1f} microseconds of CPU a second a device"
    )
    load.clear()
    new = range(1_000_000, 1_000_000 + PER_ADDRESS * values.joining, PER_ADDRESS)  # each a stranger
    load.live(10.0, new)
    joined = sum(device.session is not None for device in crowd.devices[-values.joining :])
    print(f"{values.joining} more join in 10 s ({joined} did):")
    print(
        f"  search   {milliseconds(load.searches)}\n  announce {milliseconds(load.announces)}\n  handshake {milliseconds(load.handshakes)}"
    )
    for trouble in sorted(
        {device.trouble for device in crowd.devices[-values.joining :] if device.trouble}
        | set(load.refused[:3])
    ):
        print(f"  trouble: {trouble}")
    lost = sum(device.state == "closed" for device in crowd.devices)
    print(f"sessions lost: {lost}; memory of the tracker {resident(pid) / 2**20:.0f} MiB")
    crowd.close()


if __name__ == "__main__":
    sys.exit(main())
