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
from typing import NamedTuple

import common
import watched
from crowd import Crowd, Device
from tracker_data import WORDS_ASKED, Data, question

from protocol.keys import NetworkSecret, derive_network_key
from protocol.tracker import Announce, Announced, By, Hits, Publish, Published, SearchTerms

NETWORK = "bench"
PASSWORD = "correct horse battery staple"
PER_ADDRESS = 100
JOINS_PER_SECOND = 45.0  # it takes 50 from addresses that it knows, 20 from strangers
STRANGERS_PER_SECOND = 15.0
HURRIED = 120.0
FILES = 10
SEARCHES_PER_SECOND = 50.0
REFRESH_SECONDS = 300.0
NICE = 10


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
        self.asked: dict[
            tuple[str, int], float
        ] = {}  # the same searches: device and number, when they were sent
        self.handshakes: list[float] = []
        self.refused: list[str] = []
        self.ready = 0
        self._due: list[tuple[float, Device]] = []
        crowd.on_open = self._opened

    def _opened(self, device: Device) -> None:
        self.handshakes.append(device.opened_after)
        self._announce(device)

    def _announce(self, device: Device) -> None:
        epoch = (device.number + 1).to_bytes(8, "big")
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
        self.asked[device.key.device_id.hex(), device.requests] = time.monotonic()
        self.crowd.ask(device, SearchTerms(device.requests, by, text, limit=100, phrases=phrases), answered)

    def join(self, numbers: Sequence[int], rate: float) -> None:
        """New devices at so many a second, until each has published or was refused (or for a minute more)."""
        crowd, began, started = self.crowd, time.perf_counter(), 0
        wanted = self.ready + crowd.lost + len(numbers)
        while self.ready + crowd.lost < wanted:
            passed = time.perf_counter() - began
            while started < len(numbers) and started <= passed * rate:
                crowd.join(numbers[started], address(numbers[started]))
                started += 1
            crowd.turn(0.01)
            if passed > len(numbers) / rate + 60:
                return

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
        self.asked = {}


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
    parser.add_argument(
        "--hurry", action="store_true", help="for a try: the tracker lets in as many at a time as come"
    )
    parser.add_argument("--costs", action="store_true", help="also what the tracker's CPU went to")
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
        seen = directory / "seen.json"
        program = [watched.__file__, os.fspath(seen), *([watched.HURRY] if values.hurry else [])]
        tracker = common.Daemon("tracker", words, directory, program)
        os.nice(NICE)  # what is measured goes first: in the field the devices have processors of their own
        try:
            phases = measure(
                tracker.process.pid, Crowd(int(tracker.where.rpartition(":")[2]), secret), values
            )
            watched.ask(tracker.process.pid, seen)
        finally:
            began = time.monotonic()
            tracker.stop()
            print(f"ended with status {tracker.process.returncode} after {time.monotonic() - began:.1f} s")
        print("at the tracker, from the question's way into its socket to the answer's:")
        for phase in phases:
            print(f"  {phase.name}: search {milliseconds(watched.answered_after(seen, phase.asked))}")
            for line in watched.troubles(seen, phase.began, phase.ended):
                print(f"    {line}")
        if values.costs:
            print("CPU of the reactors' callbacks:", *watched.costs(seen), sep="\n  ")
    return 0


class Share:
    """Who used the cores since it was made."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began = self._now()

    def _now(self) -> tuple[float, ...]:
        busy, stolen = common.machine_seconds()
        return time.monotonic(), common.cpu_seconds(self._pid), common.cpu_seconds(os.getpid()), busy, stolen

    def __str__(self) -> str:
        passed, tracker, devices, busy, stolen = (
            now - then for now, then in zip(self._now(), self._began, strict=True)
        )
        percent = [100 * each / passed for each in (tracker, devices, busy - tracker - devices, stolen)]
        return "of a core: tracker {:.0f} %, devices {:.0f} %, others {:.0f} %, stolen {:.0f} %".format(
            *percent
        )


class Phase(NamedTuple):
    """A part of the run, in seconds of CLOCK_MONOTONIC, and the searches that were sent in it."""

    name: str
    began: float
    ended: float
    asked: dict[tuple[str, int], float]


def measure(pid: int, crowd: Crowd, values: argparse.Namespace) -> list[Phase]:
    load = Load(crowd, values.seed)
    load.join([0], 1.0)
    empty, before = resident(pid), common.cpu_seconds(pid)
    began = time.perf_counter()
    # An address is known once its first device is in; strangers are let in slowly, so these come first.
    load.join(
        range(PER_ADDRESS, values.devices, PER_ADDRESS), HURRIED if values.hurry else STRANGERS_PER_SECOND
    )
    rest = [number for number in range(values.devices) if number % PER_ADDRESS]
    rest.sort(key=lambda number: number % PER_ADDRESS)  # an address may try two handshakes a second
    usual = min(JOINS_PER_SECOND, 1.8 * math.ceil(values.devices / PER_ADDRESS))
    load.join(rest, HURRIED if values.hurry else usual)
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
    phases = []
    share = Share(pid)
    before, began = common.cpu_seconds(pid), time.monotonic()
    load.live(values.seconds)
    took = time.monotonic() - began
    phases.append(Phase("steady", began, time.monotonic(), load.asked))
    used = common.cpu_seconds(pid) - before
    print(f"steady, {SEARCHES_PER_SECOND:.0f} searches a second, {took:.0f} s:")
    print(
        f"  search   {milliseconds(load.searches)}\n  announce {milliseconds(load.announces)}, refused {len(load.refused)}"
    )
    print(f"  tracker: {used / took / there * 1e6:.1f} microseconds of CPU a second a device\n  {share}")
    load.clear()
    new = range(1_000_000, 1_000_000 + PER_ADDRESS * values.joining, PER_ADDRESS)  # each a stranger
    joining = min(10.0, values.seconds)
    began, share = time.monotonic(), Share(pid)
    load.live(joining, new)
    phases.append(Phase("while they join", began, time.monotonic(), load.asked))
    joined = sum(device.session is not None for device in crowd.devices[-values.joining :])
    print(f"{values.joining} more join in {joining:.0f} s ({joined} did):")
    print(
        f"  search   {milliseconds(load.searches)}\n  announce {milliseconds(load.announces)}\n  handshake {milliseconds(load.handshakes)}"
    )
    print(f"  {share}")
    for trouble in sorted(
        {device.trouble for device in crowd.devices[-values.joining :] if device.trouble}
        | set(load.refused[:3])
    ):
        print(f"  trouble: {trouble}")
    print(f"sessions lost: {crowd.lost}; memory of the tracker {resident(pid) / 2**20:.0f} MiB")
    crowd.close()
    return phases


if __name__ == "__main__":
    sys.exit(main())
