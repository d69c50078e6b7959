"""One large file by what people use today, and by ours, in turns: python bench/peers.py [--size 1G] [--rounds 5] [--json].

The file is random and warm in the page cache, everything goes over loopback, every round runs each of them once, and the medians are
compared. What is timed is what a person waits for: from the start of the client to its exit (libtorrent: from the torrent's start in a
running process until every piece is checked). Ours includes fdatasync; none of the others makes the file durable. The content is
compared outside the timed part. What is not installed is named and left out. Reports, never asserts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
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
from bench.rivals import ALL, Missing, Rival, Taken
from bench.throughput import SEAL_SECONDS, one
from p2pctl.units import parse_size
from protocol.version import VERSION

OURS = "p2pd"


@dataclass(slots=True)
class Entry:
    """One way to fetch the file, and what its rounds took."""

    name: str
    version: str
    encrypts: str
    verifies: str
    durable: bool
    fetch: Callable[[Path], Taken]
    rounds: list[Taken] = field(default_factory=list)

    def middle(self) -> Taken:
        """Each figure's median."""
        columns = zip(*(asdict(taken).values() for taken in self.rounds), strict=True)
        return Taken(*(statistics.median(values) for values in columns))


class Ours:
    """A download by bench/throughput.py, which also measures the seal rate."""

    def __init__(self, seeder: Daemon, leecher: Daemon, source: Path, size: int) -> None:
        seeder.control("add", str(source))
        self._pair = seeder, leecher
        self._content, self._size = seeder.answer("-q", "list"), size
        self.seals: list[float] = []

    def fetch(self, target: Path) -> Taken:
        """See Rival."""
        before = rate(sealer(), SEAL_SECONDS)
        run, _ = one(*self._pair, self._content, target, self._size, before)
        self.seals.append(run.seal_bytes_per_s)
        return Taken(run.seconds, run.seeder_cpu_s, run.leecher_cpu_s, run.leecher_peak_bytes)


@contextmanager
def field_of(
    size: int, directory: Path | None, only: list[str]
) -> Iterator[tuple[Path, Ours, list[Entry], list[str]]]:
    """The file, ours, everybody that runs here (ours first), and why others do not."""
    with swarm(2, directory) as (base, (seeder, leecher)), ExitStack() as stack:
        source = base / "random.bin"
        random_file(source, size)
        ours = Ours(seeder, leecher, source, size)
        entries = [Entry(OURS, f"p2pd {VERSION}", "Fernet", "pieces", True, ours.fetch)]
        missing = []
        for rival in ALL:
            if only and not any(word in rival.name for word in only):
                continue
            try:
                entries.append(_entry(rival, stack, base, source))
            except Missing as error:
                missing.append(f"{rival.name}: {error}")
        yield source, ours, entries, missing


def _entry(rival: type[Rival], stack: ExitStack, base: Path, source: Path) -> Entry:
    own = base / rival.__name__
    own.mkdir()
    ready = rival(stack, own, source)  # type: ignore[call-arg]
    return Entry(ready.name, ready.version, ready.encrypts, ready.verifies, False, ready.fetch)


def play(source: Path, entries: list[Entry], rounds: int, warm: int) -> None:
    """One round that is not counted, then so many. Raises RuntimeError when a file arrived wrong."""
    for number in range(rounds + 1):
        for entry in entries:
            target = source.with_name("arrived.bin")
            touch_memory(warm)
            taken = entry.fetch(target)
            if not same(source, target):
                raise RuntimeError(f"the file that {entry.name} brought differs")
            target.unlink()
            if number:
                entry.rounds.append(taken)
            print(f"round {number}: {entry.name} {taken.seconds:.2f} s", file=sys.stderr, flush=True)


def document(
    found: dict[str, Any], size: int, ours: Ours, entries: list[Entry], missing: list[str]
) -> dict[str, Any]:
    """Everything, for --json."""
    rows = []
    for entry in entries:
        middle = entry.middle()
        rows.append(
            {
                "name": entry.name,
                "version": entry.version,
                "encrypts": entry.encrypts,
                "verifies": entry.verifies,
                "durable": entry.durable,
                "rate_bytes_per_s": size / middle.seconds,
                "ours_ratio": middle.seconds / entries[0].middle().seconds,
                "median": asdict(middle),
                "rounds": [asdict(taken) for taken in entry.rounds],
            }
        )
    seal = statistics.median(ours.seals)
    return {
        "machine": found,
        "size_bytes": size,
        "seal_bytes_per_s": seal,
        "entries": rows,
        "missing": missing,
    }


def table(made: dict[str, Any]) -> str:
    """The document as people read it."""
    rounds = len(made["entries"][0]["rounds"])
    ours = made["entries"][0]["rate_bytes_per_s"]
    lines = [
        describe(made["machine"]),
        "; ".join(dict.fromkeys(entry["version"] for entry in made["entries"])),
        *(f"left out: {reason}" for reason in made["missing"]),
        f"{made['size_bytes'] / MIB:,.0f} MiB of random octets, loopback, {rounds} rounds in turns, medians",
        "",
        f"one core seals {made['seal_bytes_per_s'] / 1e6:.0f} MB/s; ours is {ours / made['seal_bytes_per_s']:.2f} of that",
        "",
        f"{'':22} {'encrypts':12} {'verifies':9} {'durable':7} {'s':>6} {'(least to most)':>16} {'MB/s':>5} "
        f"{'CPU s, sender + receiver':>25} {'peak MiB':>8} {'ours is':>8}",
    ]
    for entry in made["entries"]:
        middle, times = entry["median"], [taken["seconds"] for taken in entry["rounds"]]
        spread = f"({min(times):.2f} to {max(times):.2f})"
        cpu = f"{middle['sender_cpu_s']:.1f} + {middle['receiver_cpu_s']:.1f}"
        lines.append(
            f"{entry['name']:22} {entry['encrypts']:12} {entry['verifies']:9} {'yes' if entry['durable'] else 'no':7} "
            f"{middle['seconds']:6.2f} {spread:>16} {entry['rate_bytes_per_s'] / 1e6:5.0f} {cpu:>25} "
            f"{middle['receiver_peak_bytes'] / MIB:8.0f} {entry['ours_ratio']:7.2f}x"
        )
    return "\n".join(lines)


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
        "--warm", type=parse_size, default=2 * GIB, help="memory to touch before each fetch; default 2G"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="WORD", help="only rivals with this in their name"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    args = parser.parse_args()
    with field_of(args.size, args.directory, args.only) as (source, ours, entries, missing):
        found = machine(source.parent)
        play(source, entries, args.rounds, args.warm)
    made = document(found, args.size, ours, entries, missing)
    print(json.dumps(made) if args.json else table(made))


if __name__ == "__main__":
    main()
