"""A p2pd that tells what held its answers up: `python bench/watched.py FILE WORDS...` runs `p2pd WORDS...`, and fills FILE at SIGUSR1.

The rule: the daemon's own code runs, in its own process and threads; a few of its methods are wrapped with clocks. Used by
bench/devices.py. Times are of CLOCK_MONOTONIC, which all processes of a machine share, so a question's way in counts too.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from resource import RUSAGE_THREAD, getrusage
from signal import SIGUSR1, signal
from typing import Any

import common  # noqa: F401  (sets the path)

from p2pd.cli import main
from p2pd.net.admission import AdmissionLimits
from p2pd.net.conn import Conn
from p2pd.net.reactor import Reactor, Timer
from p2pd.tracker.server import TrackerServer
from p2pd.tracker.service import TrackerService
from protocol.tracker import Hits

LONG = 0.01  # seconds: what takes longer is kept one by one
HURRY = "--hurry"
BEAT = 0.005  # how often the reactor is asked whether it is late


class Record:
    """What was seen. `answers`: device, number of the question, when its answer was given to the socket."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, int, float]] = []
        self.long: list[
            tuple[float, float, float, str, int, int]
        ] = []  # began, seconds, of them CPU, what, waits, preemptions
        self.late: list[tuple[float, float]] = []  # when, by how much
        self.collections: list[
            tuple[float, float, float, int]
        ] = []  # began, seconds, of them CPU, generation
        self.circles = 0  # objects that only a collection could free
        self.costs: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])  # what -> calls, CPU seconds

    def write(self, path: Path) -> None:
        """All at once: who waits for the file finds it whole."""
        part = path.with_suffix(".part")
        part.write_text(json.dumps(vars(self)))
        part.rename(path)


def name_of(callback: Any) -> str:
    """Of a callback, with what a partial is of."""
    while hasattr(callback, "func"):
        callback = callback.func
    return str(getattr(callback, "__qualname__", None) or type(callback).__qualname__)


def watch(record: Record) -> None:
    """Wraps the methods, before a daemon starts."""
    answer, handle = TrackerServer._answer, TrackerService.handle
    guard, run, later = Reactor._guard, Reactor._run, Reactor.later
    clock, cpu = time.monotonic, time.thread_time

    def timed(name: str, work: Callable[..., Any], *args: Any) -> Any:
        began, used, before = clock(), cpu(), getrusage(RUSAGE_THREAD)
        try:
            return work(*args)
        finally:
            seconds, used = clock() - began, cpu() - used
            cost = record.costs[name]
            cost[0] += 1
            cost[1] += used
            if seconds > LONG:
                after = getrusage(RUSAGE_THREAD)
                waits, pushed = after.ru_nvcsw - before.ru_nvcsw, after.ru_nivcsw - before.ru_nivcsw
                record.long.append((began, seconds, used, name, waits, pushed))

    def answered(self: TrackerServer, conn: Conn, reply: Any) -> None:
        answer(self, conn, reply)
        if isinstance(reply, Hits):
            record.answers.append((conn.device_id.hex(), reply.req, clock()))

    def handled(self: TrackerService, message: Any, sender: Any, now: float) -> Any:
        return timed(type(message).__name__, handle, self, message, sender, now)

    def guarded(self: Reactor, callback: Callable[..., object], *args: Any) -> object:
        owner = getattr(callback, "__self__", None)
        name = name_of(owner._callback if isinstance(owner, Timer) else callback)
        return timed(name, guard, self, callback, *args)

    def beat(reactor: Reactor, due: float) -> None:
        now = clock()
        if now - due > LONG:
            record.late.append((due, now - due))
        later(reactor, BEAT, beat, reactor, now + BEAT)

    def running(self: Reactor) -> None:
        later(self, BEAT, beat, self, clock() + BEAT)
        run(self)

    begun = [(0.0, 0.0)]

    def collected(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            begun[0] = clock(), cpu()
        else:
            record.circles += info["collected"]
            began, used = begun[0]
            record.collections.append((began, clock() - began, cpu() - used, info["generation"]))

    TrackerServer._answer = answered  # type: ignore[method-assign]
    TrackerService.handle = handled  # type: ignore[method-assign]
    Reactor._guard = guarded  # type: ignore[method-assign]
    Reactor._run = running  # type: ignore[method-assign]
    gc.callbacks.append(collected)


def hurry() -> None:
    """Handshakes are not limited: for a try with many devices that should not take minutes to begin."""
    keeping = AdmissionLimits.keeping.__func__  # type: ignore[attr-defined]

    def unlimited(cls: type[AdmissionLimits], connections: int) -> AdmissionLimits:
        much = dict.fromkeys(
            (
                "accepts_per_second",
                "accepts_per_second_per_address",
                "accepts_per_second_per_known_address",
                "hellos_per_second_per_address",
                "unknown_hellos_per_second",
                "known_hellos_per_second",
            ),
            10_000.0,
        )
        return replace(keeping(cls, connections), **much)

    AdmissionLimits.keeping = classmethod(unlimited)  # type: ignore[assignment, method-assign, arg-type]


# -- what it wrote, for whoever measured ------------------------------------------------------------------


def ask(pid: int, path: Path) -> None:
    """Has the process write its file. Raises TimeoutError."""
    os.kill(pid, SIGUSR1)
    deadline = time.monotonic() + 30.0
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the tracker tells nothing")
        time.sleep(0.05)


def answered_after(path: Path, asked: Mapping[tuple[str, int], float]) -> list[float]:
    """Seconds from when each question was sent (device, number -> CLOCK_MONOTONIC) to its answer's way into the socket."""
    answers = json.loads(path.read_text())["answers"]
    return [at - asked[device, number] for device, number, at in answers if (device, number) in asked]


def troubles(path: Path, began: float, ended: float, most: int = 12) -> list[str]:
    """What took long in a time, and what the thread's CPU went to over all."""
    found = json.loads(path.read_text())
    late = sorted(by for at, by in found["late"] if began <= at < ended)
    full = [
        used for at, _, used, generation in found["collections"] if began <= at < ended and generation == 2
    ]
    lines = [
        f"reactor late by more than {LONG * 1000:.0f} ms: {len(late)} times, by more than 30: "
        f"{sum(by > 0.03 for by in late)}, most {1000 * max(late, default=0):.0f} ms",
        f"full collections: {len(full)}, most {1000 * max(full, default=0):.0f} ms of CPU",
    ]
    kinds: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for at, seconds, used, name, waits, pushed in found["long"]:
        if began <= at < ended:
            kinds[name].append((seconds, used, waits, pushed))
    for name, times in sorted(kinds.items(), key=lambda item: -sum(seconds for seconds, *_ in item[1]))[
        :most
    ]:
        longest, used, waits, pushed = max(times)
        lines.append(
            f"long: {name}: {len(times)} times, {sum(seconds > 0.03 for seconds, *_ in times)} over 30 ms, "
            f"most {longest * 1000:.0f} ms (CPU {used * 1000:.0f}, waited {waits} times, pushed off its core {pushed} times)"
        )
    return lines


def costs(path: Path) -> list[str]:
    """CPU of the wrapped callbacks since the start; those that others call are counted in both."""
    found = json.loads(path.read_text())["costs"]
    rows = sorted(found.items(), key=lambda item: -item[1][1])[:16]
    whole = json.loads(path.read_text())
    full = [(used, at) for at, _, used, generation in whole["collections"] if generation == 2]
    most = f"longest full collection {1000 * max(full, default=(0.0, 0.0))[0]:.0f} ms of CPU"
    return [f"objects in circles that were collected: {whole['circles']}; {most}"] + [
        f"{name}: {calls} times, {seconds:.1f} s, {seconds / calls * 1e6:.0f} us each"
        for name, (calls, seconds) in rows
    ]


if __name__ == "__main__":
    found = Record()
    watch(found)
    signal(SIGUSR1, lambda *_: found.write(Path(sys.argv[1])))
    words = sys.argv[2:]
    if words[0] == HURRY:
        words = words[1:]
        hurry()
    sys.exit(main(words))
