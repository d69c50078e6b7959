"""One large file between two daemons over loopback: python bench/throughput.py [--size 1G] [--runs 5] [--json].

What is timed is what a person waits for: from the start of `p2pctl download` to its exit, that is interpreter start, search, handshake,
transfer, verification of every piece, fdatasync and rename. The octets are random and warm in the page cache; the content is compared
outside the timed part. The rate is set against the rate at which one core seals 1 MiB blocks, measured before and after each run, since
the figures of one machine drift. Reports, never asserts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.common import (
    GIB,
    MIB,
    Daemon,
    describe,
    machine,
    random_file,
    rate,
    same,
    sealer,
    swarm,
    touch_memory,
)
from p2pctl.units import parse_size

SEAL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Run:
    """One download."""

    seconds: float
    rate_bytes_per_s: float
    seal_bytes_per_s: float
    ratio: float
    seeder_cpu_s: float
    leecher_cpu_s: float
    seeder_peak_bytes: int
    leecher_peak_bytes: int


def one(
    seeder: Daemon, leecher: Daemon, content: str, target: Path, size: int, before: float
) -> tuple[Run, float]:
    """One timed download, and the seal rate after it; `before` is the one before it."""
    costs = seeder.cost(), leecher.cost()
    seconds = leecher.control("-q", "download", content, "-o", str(target), "--no-share")
    after = seeder.cost(), leecher.cost()
    seal_after = rate(sealer(), SEAL_SECONDS)
    seal = (before + seal_after) / 2
    run = Run(
        seconds,
        size / seconds,
        seal,
        size / seconds / seal,
        after[0].cpu_s - costs[0].cpu_s,
        after[1].cpu_s - costs[1].cpu_s,
        after[0].peak_bytes,
        after[1].peak_bytes,
    )
    return run, seal_after


def measure(size: int, runs: int, directory: Path | None, warm: int) -> tuple[dict[str, Any], list[Run]]:
    """The machine, and `runs` downloads after one that is not counted. Raises RuntimeError when a file arrived wrong."""
    with swarm(2, directory) as (base, (seeder, leecher)):
        found = machine(base)
        source = base / "random.bin"
        random_file(source, size)
        seeder.control("add", str(source))
        content = seeder.answer("-q", "list")
        taken = []
        seal = rate(sealer(), SEAL_SECONDS)
        for number in range(runs + 1):
            target = base / f"arrived-{number}.bin"
            touch_memory(warm)
            run, seal = one(seeder, leecher, content, target, size, seal)
            if not same(source, target):
                raise RuntimeError("the file that arrived differs")
            target.unlink()
            if number:
                taken.append(run)
                print(_line(number, run), file=sys.stderr, flush=True)
    return found, taken


def _line(number: int, run: Run) -> str:
    return f"run {number}: {run.seconds:.2f} s, {run.rate_bytes_per_s / 1e6:.0f} MB/s, seal {run.seal_bytes_per_s / 1e6:.0f}"


def median(runs: list[Run]) -> Run:
    """Each figure's median."""
    return Run(
        *(statistics.median(values) for values in zip(*(asdict(run).values() for run in runs), strict=True))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", type=parse_size, default=GIB, help="octets of the file (K, M, G); default 1G"
    )
    parser.add_argument("--runs", type=int, default=5, help="downloads that count; default 5")
    parser.add_argument(
        "--directory", type=Path, help="where files and homes go; default: the temporary directory"
    )
    parser.add_argument(
        "--warm", type=parse_size, help="memory to touch before each run; default four times the size"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    args = parser.parse_args()
    found, runs = measure(
        args.size, args.runs, args.directory, 4 * args.size if args.warm is None else args.warm
    )
    middle = median(runs)
    if args.json:
        document = {
            "machine": found,
            "size_bytes": args.size,
            "runs": [asdict(run) for run in runs],
            "median": asdict(middle),
        }
        print(json.dumps(document))
        return
    least, most = min(run.rate_bytes_per_s for run in runs), max(run.rate_bytes_per_s for run in runs)
    print(describe(found))
    print(
        f"{args.size / MIB:,.0f} MiB of random octets, {len(runs)} runs, medians; fdatasync is inside the time\n"
    )
    spread = f"({least / 1e6:.0f} to {most / 1e6:.0f} MB/s)"
    print(f"download           {middle.rate_bytes_per_s / 1e6:7.0f} MB/s   {middle.seconds:.2f} s {spread}")
    print(f"one core seals     {middle.seal_bytes_per_s / 1e6:7.0f} MB/s")
    print(f"ratio              {middle.ratio:7.2f}")
    print(
        f"seeder             {middle.seeder_cpu_s:7.2f} CPU s  peak {middle.seeder_peak_bytes / MIB:.0f} MiB"
    )
    print(
        f"leecher            {middle.leecher_cpu_s:7.2f} CPU s  peak {middle.leecher_peak_bytes / MIB:.0f} MiB"
    )


if __name__ == "__main__":
    main()
