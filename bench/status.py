"""Whether a daemon answers while it moves octets as fast as it can: python bench/status.py [--size 1G] [--downloads 6] [--json].

One large file goes from one daemon to another over loopback, again and again. Meanwhile both are asked for their status, by turns: as a
request on a connection that is open (what the daemon itself costs), and as a whole `p2pctl status`, for people and as JSON (what they wait
for; an interpreter has to start for it, which is measured too under the same load, alone and with the libraries that a client would
usually load). Requests and processes have a download each in turn, since processes take their share of the cores from the transfer. Only
what began and ended within a download counts. Reports, never asserts.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.common import (
    GIB,
    MIB,
    Daemon,
    describe,
    environment,
    machine,
    random_file,
    same,
    swarm,
    touch_memory,
)
from p2pctl.client import Client
from p2pctl.units import parse_size
from protocol.control import in_home

PAUSE = 0.02  # between two requests: fifty a second are more than people send, and cost little
IDLE_SECONDS = 3.0
COMMANDS = {"p2pctl status": ["status"], "p2pctl --json status": ["--json", "status"]}
START = "import zmq, msgpack, argparse"

Ask = Callable[[], object]


class Probes:
    """What is asked, by name: requests and processes, at both daemons."""

    def __init__(self, daemons: Mapping[str, Daemon]) -> None:
        self._clients = {role: Client([in_home(str(daemon.home))]) for role, daemon in daemons.items()}
        self.requests: dict[str, Ask] = {
            f"request, {role}": lambda client=client: client.call("status", {})  # type: ignore[misc]
            for role, client in self._clients.items()
        }
        self.processes: dict[str, Ask] = {
            f"{name}, {role}": lambda daemon=daemon, words=words: daemon.control(*words)  # type: ignore[misc]
            for name, words in COMMANDS.items()
            for role, daemon in daemons.items()
        }
        self.processes["python, with libraries"] = lambda: _interpreter(START)
        self.processes["python, with nothing"] = lambda: _interpreter("pass")

    def close(self) -> None:
        """Drops the connections."""
        for client in self._clients.values():
            client.close()


def _interpreter(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], env=environment(), stdin=subprocess.DEVNULL, check=True)


def ask(probes: Mapping[str, Ask], over: Callable[[], bool], found: dict[str, list[float]]) -> None:
    """Asks by turns until it is over; milliseconds of those that were answered before."""
    for probe in probes.values():
        probe()  # connects, and fills caches
    while not over():
        for name, probe in probes.items():
            began = time.perf_counter()
            probe()
            spent = time.perf_counter() - began
            if over():
                return
            found[name].append(spent * 1000)
            time.sleep(PAUSE)


def during(work: Callable[[], float], probes: Mapping[str, Ask], found: dict[str, list[float]]) -> float:
    """What `work` answers, which runs in another thread while the probes ask."""
    done = threading.Event()
    answers: list[float | BaseException] = []

    def run() -> None:
        try:
            answers.append(work())
        except BaseException as error:  # told to the caller
            answers.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        ask(probes, done.is_set, found)
    finally:
        thread.join()
    answer = answers[0]
    if isinstance(answer, BaseException):
        raise answer
    return answer


def measure(size: int, downloads: int, directory: Path | None, warm: int) -> dict[str, Any]:
    """Latencies in milliseconds by name, idle and busy, and the rates of the transfers in octets a second."""
    with swarm(2, directory) as (base, (seeder, leecher)):
        found = machine(base)
        source = base / "random.bin"
        random_file(source, size)
        seeder.control("add", str(source))
        content = seeder.answer("-q", "list")
        probes = Probes({"seeder": seeder, "leecher": leecher})
        idle: dict[str, list[float]] = defaultdict(list)
        busy: dict[str, list[float]] = defaultdict(list)
        rates: dict[str, list[float]] = {"requests": [], "processes": []}
        try:
            for kind in (probes.requests, probes.processes):
                until = time.monotonic() + IDLE_SECONDS
                ask(kind, lambda until=until: time.monotonic() > until, idle)  # type: ignore[misc]
            for number in range(2 * downloads):
                target = base / f"arrived-{number}.bin"
                touch_memory(warm)
                name = "processes" if number % 2 else "requests"
                kind = probes.processes if number % 2 else probes.requests
                seconds = during(
                    lambda target=target: leecher.control(  # type: ignore[misc]
                        "-q", "download", content, "-o", str(target), "--no-share"
                    ),
                    kind,
                    busy,
                )
                rates[name].append(size / seconds)
                if not same(source, target):
                    raise RuntimeError("the file that arrived differs")
                target.unlink()
                print(f"download {number + 1}: {size / seconds / 1e6:.0f} MB/s", file=sys.stderr, flush=True)
        finally:
            probes.close()
    return {
        "machine": found,
        "size_bytes": size,
        "rate_bytes_per_s": {name: median(values) for name, values in rates.items()},
        "idle": {name: figures(values) for name, values in idle.items()},
        "busy": {name: figures(values) for name, values in busy.items()},
    }


def figures(values: list[float]) -> dict[str, float]:
    """Count, median, 99th percentile (the smallest value that 99 of 100 do not exceed) and most, in milliseconds."""
    ranked = sorted(values)
    last = ranked[math.ceil(0.99 * len(ranked)) - 1]
    return {"count": len(ranked), "p50_ms": median(ranked), "p99_ms": last, "max_ms": ranked[-1]}


def table(made: dict[str, Any]) -> str:
    """The document as people read it."""
    rates = made["rate_bytes_per_s"]
    lines = [
        describe(made["machine"]),
        f"{made['size_bytes'] / MIB:,.0f} MiB at a time, from one daemon to another over loopback; milliseconds",
        f"transfer at {rates['requests'] / 1e6:.0f} MB/s with requests, {rates['processes'] / 1e6:.0f} MB/s with processes",
        "",
        f"{'':30} {'idle p50':>9} {'p99':>7} {'max':>7} {'count':>6}   {'busy p50':>9} {'p99':>7} {'max':>7} {'count':>6}",
    ]
    for name, busy in made["busy"].items():
        cells = [
            f"{part['p50_ms']:9.1f} {part['p99_ms']:7.1f} {part['max_ms']:7.1f} {part['count']:6d}"
            for part in (made["idle"][name], busy)
        ]
        lines.append(f"{name:30} {cells[0]}   {cells[1]}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", type=parse_size, default=GIB, help="octets of the file (K, M, G); default 1G"
    )
    parser.add_argument("--downloads", type=int, default=6, help="downloads for each kind; default 6")
    parser.add_argument(
        "--directory", type=Path, help="where files and homes go; default: the temporary directory"
    )
    parser.add_argument(
        "--warm", type=parse_size, default=2 * GIB, help="memory to touch before each download; default 2G"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    args = parser.parse_args()
    made = measure(args.size, args.downloads, args.directory, args.warm)
    print(json.dumps(made) if args.json else table(made))


if __name__ == "__main__":
    main()
