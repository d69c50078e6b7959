"""How exact are limits of bandwidth? python bench/limits.py [--rates 100K,1M,50M] [--seconds 10] [--json].

Real daemons over loopback. Up: one seeder with a limit, one and four downloaders. Down: one downloader with a limit, one and four
seeders; and, with four seeders, a download with a limit of its own. Octets of blocks are counted at the limited end, over so many
seconds in the middle of a transfer, and set against the limit; the part of each peer shows how fair it is. Reports, never asserts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.common import MIB, Daemon, describe, machine, random_file, swarm
from p2pctl.units import format_rate, parse_rate, parse_seconds

SETTLE_SECONDS = 2.0  # connections come about, the first blocks are on their way


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement. `spread`: least and most octets of a peer, against an equal part."""

    direction: str
    peers: int
    limit_bytes_per_s: int
    rate_bytes_per_s: float
    error: float
    spread: tuple[float, float]


def figures(daemon: Daemon) -> tuple[float, dict[str, int]]:
    """When, and its counters."""
    counters: dict[str, int] = json.loads(daemon.answer("--json", "status"))["items"][0]["peer"]
    return time.monotonic(), counters


def measure(
    direction: str, limited: Daemon, others: list[Daemon], limit: int, seconds: float, key: str
) -> Result:
    """Counts at the limited end for so long, and at the others for the parts."""
    time.sleep(SETTLE_SECONDS)
    far = "arrived_bytes" if key == "uploaded_bytes" else "uploaded_bytes"
    before, first = figures(limited), [figures(other)[1][far] for other in others]
    time.sleep(seconds)
    after, last = figures(limited), [figures(other)[1][far] for other in others]
    rate = (after[1][key] - before[1][key]) / (after[0] - before[0])
    parts = [ended - began for began, ended in zip(first, last, strict=True)]
    even = sum(parts) / len(parts) or 1
    return Result(
        direction, len(others), limit, rate, rate / limit - 1, (min(parts) / even, max(parts) / even)
    )


def begin(daemon: Daemon, content: str, target: Path, *more: str) -> str:
    """Begins a download; its transfer."""
    return daemon.answer("-q", "download", content, "-o", str(target), "--no-wait", "--no-share", *more)


def wait_for(daemon: Daemon, content: str, sources: int) -> None:
    """Waits until so many devices are known to have the content."""
    deadline = time.monotonic() + 60
    while len(json.loads(daemon.answer("--json", "peers", content))["items"]) < sources:
        if time.monotonic() > deadline:
            raise RuntimeError("the seeders are not known to the tracker")
        time.sleep(0.2)


def run(rates: list[int], seconds: float, directory: Path | None) -> tuple[dict[str, Any], list[Result]]:
    """All of it. Every transfer is given up when it was measured."""
    results: list[Result] = []

    def note(result: Result) -> None:
        results.append(result)
        print(line(result), file=sys.stderr, flush=True)

    size = max(32 * MIB, int(max(rates) * (seconds + 4 * SETTLE_SECONDS + 4)))
    with swarm(5, directory) as (base, daemons):
        found = machine(base)
        source = base / "random.bin"
        random_file(source, size)
        seeder, *leechers = daemons
        seeder.control("add", str(source))
        content = seeder.answer("-q", "list")
        for limit in rates:
            for count in (1, 4):
                seeder.control("limit", "up", str(limit))
                some = leechers[:count]
                transfers = [begin(daemon, content, base / f"{n}.bin") for n, daemon in enumerate(some)]
                note(measure("up", seeder, some, limit, seconds, "uploaded_bytes"))
                for daemon, transfer in zip(some, transfers, strict=True):
                    daemon.control("cancel", transfer)
                seeder.control("limit", "up", "off")
        leecher = daemons[-1]
        for count in (1, 4):
            for daemon in daemons[1:count]:
                daemon.control("add", str(source))
            wait_for(leecher, content, count)
            for limit in rates:
                for own in (False, True):
                    leecher.control("limit", "down", "off" if own else str(limit))
                    more = ["--limit", str(limit)] if own else []
                    transfer = begin(leecher, content, base / "down.bin", *more)
                    name = "down --limit" if own else "down"
                    note(measure(name, leecher, daemons[:count], limit, seconds, "arrived_bytes"))
                    leecher.control("cancel", transfer)
    return found, results


def line(result: Result) -> str:
    """One measurement for people."""
    return (
        f"{result.direction:<13} {result.peers} peers  limit {format_rate(result.limit_bytes_per_s):>12}"
        f"  got {format_rate(result.rate_bytes_per_s):>12}  {100 * result.error:+5.1f} %"
        f"  parts {result.spread[0]:.2f} to {result.spread[1]:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", default="100K,1M,50M", help="limits to try; default 100K,1M,50M")
    parser.add_argument("--seconds", type=parse_seconds, default=10.0, help="of each; default 10")
    parser.add_argument(
        "--directory", type=Path, help="where files and homes go; default: the temporary directory"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    args = parser.parse_args()
    rates = [parse_rate(word) for word in args.rates.split(",")]
    found, results = run(rates, args.seconds, args.directory)
    if args.json:
        print(json.dumps({"machine": found, "results": [asdict(result) for result in results]}))
        return
    print(describe(found))
    print(f"octets of blocks at the limited end, over {args.seconds:g} s each\n")
    for result in results:
        print(line(result))


if __name__ == "__main__":
    main()
