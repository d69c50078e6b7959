"""Four seeders with an upload limit, one downloader: python bench/sources.py [--size 400M] [--cap 10M] [--runs 3] [--json].

How much do they give together, and what does it cost when one of them stalls (SIGSTOP), lies (its file is damaged behind its back) or dies
(SIGKILL) in the middle? Real daemons over loopback; timed is the download from the start of `p2pctl download` to its exit. From the
middle on three have to do the work of four: `ideal` is the time that this takes by itself, and the cost is set against it too. Reports,
never asserts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.common import MIB, Daemon, describe, machine, random_file, same, swarm
from bench.limits import wait_for
from p2pctl.units import parse_rate, parse_size

SEEDERS = 4
TROUBLES = ("none", "stalls", "lies", "dies")


@dataclass(frozen=True, slots=True)
class Result:
    """One download. `middle_s`: when the trouble began; `sent_bytes`: by all seeders that still answer."""

    trouble: str
    seconds: float
    rate_bytes_per_s: float
    middle_s: float
    sent_bytes: int


def damage(path: Path) -> None:
    """One octet of each MiB is another from now on; the file looks as it did."""
    before = path.stat()
    with path.open("r+b", buffering=0) as stream:
        for at in range(0, before.st_size, MIB):
            octet = os.pread(stream.fileno(), 1, at)
            os.pwrite(stream.fileno(), bytes((octet[0] ^ 1,)), at)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cause(trouble: str, seeder: Daemon, path: Path) -> None:
    """What happens to one seeder."""
    process = seeder.process
    if trouble == "dies":
        process.kill()
    elif trouble == "stalls":
        process.send_signal(signal.SIGSTOP)
    elif trouble == "lies":
        process.send_signal(signal.SIGSTOP)  # it must not see the file in the making
        damage(path)
        process.send_signal(signal.SIGCONT)


def uploaded(seeders: list[Daemon]) -> int:
    """Octets that these have sent."""
    return sum(
        json.loads(seeder.answer("--json", "status"))["items"][0]["peer"]["uploaded_bytes"]
        for seeder in seeders
    )


def one(
    trouble: str, size: int, cap: int, directory: Path | None, note: Callable[[dict[str, Any]], None]
) -> Result:
    """One swarm, one download. Raises RuntimeError when the file arrived wrong."""
    middle = size / (SEEDERS * cap) / 2
    with swarm(SEEDERS + 1, directory) as (base, (leecher, *seeders)):
        note(machine(base))
        original = base / "random.bin"
        random_file(original, size)
        for number, seeder in enumerate(seeders):
            copy = base / f"copy{number}.bin"
            shutil.copy(original, copy) if number == 0 else os.link(original, copy)
            seeder.control("limit", "up", str(cap))
            seeder.control("add", str(copy))
        content = seeders[0].answer("-q", "list")
        wait_for(leecher, content, SEEDERS)
        timer = threading.Timer(middle, cause, (trouble, seeders[0], base / "copy0.bin"))
        target = base / "arrived.bin"
        timer.start()
        try:
            seconds = leecher.control("-q", "download", content, "-o", str(target), "--no-share")
        finally:
            timer.cancel()
            timer.join()
            if trouble == "stalls":
                seeders[0].process.send_signal(signal.SIGCONT)
        if not same(original, target):
            raise RuntimeError("the file that arrived differs")
        sent = uploaded(seeders[1:] if trouble == "dies" else seeders)
    return Result(trouble, seconds, size / seconds, middle, sent)


def run(
    troubles: list[str], size: int, cap: int, runs: int, directory: Path | None
) -> tuple[dict[str, Any], list[Result]]:
    """All of it, in turns."""
    found: list[dict[str, Any]] = []
    results = []
    for _ in range(runs):
        for trouble in troubles:
            results.append(one(trouble, size, cap, directory, found.append))
            print(line(results[-1]), file=sys.stderr, flush=True)
    return found[0], results


def line(result: Result) -> str:
    """One download for people."""
    return (
        f"{result.trouble:<7} {result.seconds:6.2f} s  {result.rate_bytes_per_s / 1e6:6.1f} MB/s  "
        f"sent {result.sent_bytes / 1e6:.0f} MB"
    )


def summary(results: list[Result], size: int) -> list[str]:
    """Medians, and the cost of each trouble."""
    times = {
        trouble: statistics.median(result.seconds for result in results if result.trouble == trouble)
        for trouble in dict.fromkeys(result.trouble for result in results)
    }
    lines = []
    for trouble, seconds in times.items():
        text = f"{trouble:<7} {seconds:6.2f} s  {size / seconds / 1e6:6.1f} MB/s"
        if trouble != "none" and "none" in times:
            rate, middle = size / times["none"], next(r.middle_s for r in results if r.trouble == trouble)
            ideal = middle + (size - rate * middle) / (rate * (SEEDERS - 1) / SEEDERS)
            text += (
                f"  {100 * (seconds / times['none'] - 1):+5.1f} % against none, "
                f"{100 * (seconds / ideal - 1):+5.1f} % against the ideal of {ideal:.2f} s"
            )
        lines.append(text)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=parse_size, default=400_000_000, help="octets; default 400,000,000")
    parser.add_argument(
        "--cap", type=parse_rate, default=10_000_000, help="of each seeder; default 10,000,000"
    )
    parser.add_argument("--runs", type=int, default=3, help="downloads of each kind; default 3")
    parser.add_argument("--troubles", default=",".join(TROUBLES), help=f"default {','.join(TROUBLES)}")
    parser.add_argument(
        "--directory", type=Path, help="where files and homes go; default: the temporary directory"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    args = parser.parse_args()
    found, results = run(args.troubles.split(","), args.size, args.cap, args.runs, args.directory)
    if args.json:
        print(json.dumps({"machine": found, "results": [asdict(result) for result in results]}))
        return
    print(describe(found))
    print(
        f"{SEEDERS} seeders of {args.cap / 1e6:g} MB/s, {args.size / 1e6:,.0f} MB, medians of {args.runs}\n"
    )
    print("\n".join(summary(results, args.size)))


if __name__ == "__main__":
    main()
