"""A file to standard output against the same file to a file: python bench/stream.py [--size 1G] [--rounds 5] [--json].

By turns: `p2pctl download REF -o FILE` from another daemon over loopback; `p2pctl download REF -o - | cat > /dev/null` from there; and the
same from the daemon that shares it, which reads and verifies its own file. Timed from start to exit; the first is durable at its end, a
stream has nothing to make durable. In the round that is not counted the octets of both streams are compared. Reports, never asserts.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path
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
from p2pctl.units import parse_size

FILE, SWARM, LOCAL = "to a file", "to a pipe, from the swarm", "to a pipe, shared here"


def pour(daemon: Daemon, content: str, sink: str) -> float:
    """Seconds of a stream into a shell's `sink`."""
    command = [
        sys.executable,
        "-m",
        "p2pctl",
        "--home",
        str(daemon.home),
        "-q",
        "download",
        content,
        "-o",
        "-",
    ]
    began = time.perf_counter()
    subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{shlex.join(command)} {sink}"],
        env=environment(),
        stdin=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


def measure(
    size: int, rounds: int, directory: Path | None, warm: int
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """The machine, and seconds by name. Raises RuntimeError when octets differ."""
    taken: dict[str, list[float]] = {FILE: [], SWARM: [], LOCAL: []}
    with swarm(2, directory) as (base, (seeder, leecher)):
        found = machine(base)
        source, target = base / "random.bin", base / "arrived.bin"
        random_file(source, size)
        seeder.control("add", str(source))
        content = seeder.answer("-q", "list")
        for daemon in (seeder, leecher):
            pour(daemon, content, f"> {shlex.quote(str(target))}")
            if not same(source, target):
                raise RuntimeError("the octets of a stream differ")
            target.unlink()
        for _ in range(rounds):
            touch_memory(warm)
            taken[FILE].append(leecher.control("-q", "download", content, "-o", str(target), "--no-share"))
            target.unlink()
            taken[SWARM].append(pour(leecher, content, "| cat > /dev/null"))
            taken[LOCAL].append(pour(seeder, content, "| cat > /dev/null"))
    return found, taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size", type=parse_size, default=GIB, help="octets of the file (K, M, G); default 1G"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count; default 5")
    parser.add_argument(
        "--directory", type=Path, help="where files and homes go; default: the temporary directory"
    )
    parser.add_argument(
        "--warm", type=parse_size, default=2 * GIB, help="memory to touch before each round; default 2G"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    args = parser.parse_args()
    found, taken = measure(args.size, args.rounds, args.directory, args.warm)
    if args.json:
        print(json.dumps({"machine": found, "size_bytes": args.size, "seconds": taken}))
        return
    print(describe(found))
    print(f"{args.size / MIB:,.0f} MiB of random octets, {args.rounds} rounds in turns, medians\n")
    base = statistics.median(taken[FILE])
    print(f"{'':27} {'s':>6} {'MB/s':>6} {'ratio':>6}")
    for name, values in taken.items():
        middle = statistics.median(values)
        print(f"{name:27} {middle:6.2f} {args.size / middle / 1e6:6.0f} {base / middle:6.2f}")


if __name__ == "__main__":
    main()
