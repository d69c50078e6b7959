"""One limited seeder and many downloaders: python bench/swarm.py [--size 400M] [--cap 20M] [--leechers 8] [--json].

What is timed is from the moment at which all downloads are asked for to the end of each, with the file verified, durable and renamed. It
is set against the time that one copy takes at the cap, and what the seeder sent is counted in units of the file. The first is 1 if the
downloaders give each other everything at once, and the number of downloaders if they give each other nothing. Real daemons over
loopback, all on this machine: their processor time is part of the result. Reports, never asserts.
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

from bench.common import MIB, Daemon, describe, machine, random_file, same, swarm, touch_memory
from p2pctl.client import Client
from p2pctl.units import parse_rate, parse_size

LOOK_SECONDS = 0.1
LIMIT_COPIES = 4  # gives up after so many times what the worst swarm would take


@dataclass(frozen=True, slots=True)
class Result:
    """One swarm. `one_copy_s`: what a copy takes at the cap; `seeder_copies`: what the seeder sent, in units of the file."""

    leechers: int
    size_bytes: int
    cap_bytes_per_s: int
    one_copy_s: float
    first_s: float
    last_s: float
    ratio: float
    seeder_copies: float
    given_copies: tuple[float, ...]
    seeder_cpu_s: float
    leecher_cpu_s: float
    peak_bytes: int


def call(daemon: Daemon, method: str, **params: Any) -> dict[str, Any]:
    """One request on a daemon's control socket, without the cost of a process."""
    client = Client([str(daemon.home / "control.sock")], 30.0)
    try:
        return client.call(method, params)
    finally:
        client.close()


def wait_for_all(leechers: list[Daemon], transfers: list[str], began: float, patience: float) -> list[float]:
    """When each was done. Raises RuntimeError for one that failed, or takes too long."""
    ended: dict[int, float] = {}
    while len(ended) < len(leechers):
        for number, (daemon, transfer) in enumerate(zip(leechers, transfers, strict=True)):
            if number in ended:
                continue
            items = call(daemon, "transfers")["items"]
            (item,) = (item for item in items if item["transfer"] == transfer)
            if item["state"] in ("failed", "cancelled"):
                raise RuntimeError(f"{daemon.home.name}: {item['error']}")
            if item["state"] == "done":
                ended[number] = time.monotonic() - began
        if time.monotonic() - began > patience:
            raise RuntimeError(f"only {len(ended)} of {len(leechers)} were done in {patience:.0f} s")
        time.sleep(LOOK_SECONDS)
    return list(ended.values())


def measure(size: int, cap: int, count: int, directory: Path | None) -> tuple[dict[str, Any], Result]:
    """The machine and one swarm. Raises RuntimeError when a file arrived wrong."""
    with swarm(count + 1, directory) as (base, (seeder, *leechers)):
        found = machine(base)
        source = base / "random.bin"
        random_file(source, size)
        touch_memory(1024 * MIB)
        seeder.control("add", str(source))
        content = seeder.answer("-q", "list")
        seeder.control("limit", "up", str(cap))
        before = seeder.cost().cpu_s, sum(daemon.cost().cpu_s for daemon in leechers)
        began = time.monotonic()
        transfers = []
        for number, daemon in enumerate(leechers):
            answer = call(
                daemon, "download", ref=content, directory=str(base), file=f"{number}.bin", share=True
            )
            transfers.append(str(answer["transfer"]))
        one_copy = size / cap
        ended = wait_for_all(leechers, transfers, began, LIMIT_COPIES * (count * one_copy + 30))
        after = seeder.cost().cpu_s, sum(daemon.cost().cpu_s for daemon in leechers)
        given = [call(daemon, "status")["peer"]["uploaded_bytes"] / size for daemon in (seeder, *leechers)]
        for number in range(count):
            if not same(source, base / f"{number}.bin"):
                raise RuntimeError("a file that arrived differs")
        peak = max(daemon.cost().peak_bytes for daemon in (seeder, *leechers))
    result = Result(
        count,
        size,
        cap,
        one_copy,
        min(ended),
        max(ended),
        max(ended) / one_copy,
        given[0],
        tuple(round(copies, 3) for copies in given[1:]),
        after[0] - before[0],
        after[1] - before[1],
        peak,
    )
    return found, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=parse_size, default=400 * MIB, help="octets of the file; default 400M")
    parser.add_argument("--cap", type=parse_rate, default=20 * MIB, help="the seeder's limit; default 20M")
    parser.add_argument("--leechers", type=int, default=8, help="downloaders; default 8")
    parser.add_argument(
        "--directory", type=Path, help="where files and homes go; default: the temporary directory"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    args = parser.parse_args()
    found, result = measure(args.size, args.cap, args.leechers, args.directory)
    if args.json:
        print(json.dumps({"machine": found, "result": asdict(result)}))
        return
    print(describe(found))
    print(
        f"{result.leechers} downloaders of {result.size_bytes / MIB:,.0f} MiB, one seeder at"
        f" {result.cap_bytes_per_s / MIB:g} MiB/s; fdatasync is inside the time\n"
    )
    print(f"one copy at the cap  {result.one_copy_s:7.1f} s")
    print(f"first, last done     {result.first_s:7.1f} s, {result.last_s:.1f} s")
    print(f"ratio to one copy    {result.ratio:7.2f}")
    print(f"the seeder sent      {result.seeder_copies:7.2f} copies")
    given = result.given_copies
    print(f"each downloader gave {min(given):7.2f} to {max(given):.2f} copies")
    print(
        f"CPU                  {result.seeder_cpu_s:7.1f} s seeder, {result.leecher_cpu_s:.1f} s downloaders"
    )
    print(f"peak memory          {result.peak_bytes / MIB:7.0f} MiB, the largest daemon")


if __name__ == "__main__":
    main()
