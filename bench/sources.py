"""Four seeders, one downloader, one seeder in trouble: python bench/sources.py [--size 400M] [--cap 10M] [--down 0] [--files 1] ...

How much do they give together, and what does it cost when one of them stalls (SIGSTOP), lies (its files are damaged behind its back) or
dies (SIGKILL) once half of what is wanted is there? Each seeder has an upload limit (`--cap`, 0: none), the downloader may have one
(`--down`); with `--files` it is a folder of so many. Real daemons over loopback; timed is the download from the start of `p2pctl download`
to its exit. The seeders stay the same, each download is that of a new device. `ideal`: where the upload limits are what bounds the rate,
three do the work of four from the middle on, and this is the time that it takes by itself. Reports, never asserts.
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
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.common import MIB, Daemon, describe, machine, random_file, same, swarm
from bench.limits import wait_for
from p2pctl.units import parse_rate, parse_size

SEEDERS = 4
TROUBLES = ("none", "stalls", "lies", "dies")
LOOK_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Result:
    """One download. `middle_s`: after how long half of it was there, when the trouble began; `sent_bytes`: by the other three seeders."""

    trouble: str
    seconds: float
    rate_bytes_per_s: float
    middle_s: float
    sent_bytes: int


def files_of(path: Path) -> list[Path]:
    """Itself, or all files of a folder in order."""
    return sorted(path.iterdir()) if path.is_dir() else [path]


def make(path: Path, size: int, files: int) -> None:
    """A file of random octets, or a folder of so many that are as long together."""
    if files == 1:
        random_file(path, size)
        return
    path.mkdir()
    for number in range(files):
        (path / f"{number:06}.bin").write_bytes(os.urandom(size // files))
    os.sync()


def remove(path: Path) -> None:
    """A file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def equal(first: Path, second: Path) -> bool:
    """Whether two files, or two folders of files, hold the same."""
    ours, theirs = files_of(first), files_of(second)
    return len(ours) == len(theirs) and all(same(a, b) for a, b in zip(ours, theirs, strict=True))


def damage(path: Path) -> None:
    """One octet of each MiB is another from now on, or as it was the second time; the file looks as it did."""
    before = path.stat()
    with path.open("r+b", buffering=0) as stream:
        for at in range(0, before.st_size, MIB):
            octet = os.pread(stream.fileno(), 1, at)
            os.pwrite(stream.fileno(), bytes((octet[0] ^ 1,)), at)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def written(daemon: Daemon) -> int:
    """Octets that it wrote so far, to whatever; sockets do not count."""
    lines = Path(f"/proc/{daemon.process.pid}/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("wchar:")))


def uploaded(seeders: list[Daemon]) -> int:
    """Octets that these have sent."""
    return sum(
        json.loads(seeder.answer("--json", "status"))["items"][0]["peer"]["uploaded_bytes"]
        for seeder in seeders
    )


class Swarm:
    """Tracker and seeders, which stay for all downloads."""

    def __init__(self, base: Path, seeders: list[Daemon], size: int, files: int, cap: int, down: int) -> None:
        self.base = base
        self.seeders = seeders
        self.size = size
        self.down = down
        self.tracker = json.loads(seeders[0].answer("--json", "status"))["items"][0]["trackers"][0]["address"]
        self.original = base / "original"
        make(self.original, size, files)
        for number, seeder in enumerate(seeders):
            copy, how = self.copy(number), shutil.copy if number == 0 else os.link
            if files == 1:
                how(self.original, copy)
            else:
                shutil.copytree(self.original, copy, copy_function=how)
            if cap:
                seeder.control("limit", "up", str(cap))
            seeder.control("add", *(["-r"] if files > 1 else []), str(copy))
        self.content = seeders[0].answer("-q", "list")
        self._count = 0

    def copy(self, number: int) -> Path:
        """What a seeder shares; the first one's is a file of its own."""
        return self.base / f"copy{number}"

    def peer(self, name: str) -> Daemon:
        """A peer, new or with the home that it had before."""
        words = ["peer", "--tracker", self.tracker, "--listen", "127.0.0.1:0", "--password-file"]
        return Daemon(name, [*words, "secret.txt"], self.base)

    def begin(self, trouble: str) -> None:
        """What happens to the first seeder."""
        process = self.seeders[0].process
        if trouble == "dies":
            process.kill()
        elif trouble == "stalls":
            process.send_signal(signal.SIGSTOP)
        elif trouble == "lies":
            self._damage()

    def end(self, trouble: str) -> None:
        """All is well again."""
        if trouble == "dies":
            self.seeders[0].stop()
            self.seeders[0] = self.peer(self.seeders[0].home.name)
        elif trouble == "stalls":
            self.seeders[0].process.send_signal(signal.SIGCONT)
        elif trouble == "lies":
            self._damage()

    def _damage(self) -> None:
        self.seeders[0].process.send_signal(signal.SIGSTOP)  # it must not see the file in the making
        for path in files_of(self.copy(0)):
            damage(path)
        self.seeders[0].process.send_signal(signal.SIGCONT)

    def one(self, trouble: str) -> Result:
        """One download. Raises RuntimeError when the file arrived wrong."""
        self._count += 1
        target = self.base / "arrived"
        over = threading.Event()
        began = middle = 0.0
        with ExitStack() as stack:
            leecher = self.peer(f"leecher{self._count}")
            stack.callback(leecher.stop)
            if self.down:
                leecher.control("limit", "down", str(self.down))
            wait_for(leecher, self.content, SEEDERS)
            before = uploaded(self.seeders[1:])

            def watch() -> None:
                nonlocal middle
                start = written(leecher)
                while written(leecher) - start < self.size // 2:
                    if over.wait(LOOK_SECONDS):
                        return
                middle = time.perf_counter() - began
                self.begin(trouble)

            watcher = threading.Thread(target=watch)
            began = time.perf_counter()
            watcher.start()
            try:
                seconds = leecher.control("-q", "download", self.content, "-o", str(target), "--no-share")
            finally:
                over.set()
                watcher.join()
                if middle:
                    self.end(trouble)
            if not equal(self.original, target):
                raise RuntimeError("what arrived differs")
            remove(target)
        shutil.rmtree(leecher.home)
        return Result(trouble, seconds, self.size / seconds, middle, uploaded(self.seeders[1:]) - before)


def run(
    troubles: list[str], size: int, files: int, cap: int, down: int, runs: int, directory: Path | None
) -> tuple[dict[str, Any], list[Result]]:
    """All of it, in turns."""
    results = []
    with swarm(SEEDERS, directory) as (base, seeders), ExitStack() as stack:
        found = machine(base)
        stack.callback(lambda: seeders[0].stop())  # the one of then
        swarmed = Swarm(base, seeders, size, files, cap, down)
        for _ in range(runs):
            for trouble in troubles:
                results.append(swarmed.one(trouble))
                print(line(results[-1]), file=sys.stderr, flush=True)
    return found, results


def line(result: Result) -> str:
    """One download for people."""
    return (
        f"{result.trouble:<7} {result.seconds:6.2f} s  {result.rate_bytes_per_s / 1e6:6.1f} MB/s  "
        f"middle at {result.middle_s:.2f} s, the other three sent {result.sent_bytes / 1e6:.0f} MB"
    )


def summary(results: list[Result], size: int, bound: bool) -> list[str]:
    """Medians, and the cost of each trouble. `bound`: by the upload limits."""
    times, middles = (
        {
            trouble: statistics.median(
                getattr(result, name) for result in results if result.trouble == trouble
            )
            for trouble in dict.fromkeys(result.trouble for result in results)
        }
        for name in ("seconds", "middle_s")
    )
    lines = []
    for trouble, seconds in times.items():
        text = f"{trouble:<7} {seconds:6.2f} s  {size / seconds / 1e6:6.1f} MB/s"
        if trouble != "none" and "none" in times:
            text += f"  {100 * (seconds / times['none'] - 1):+5.1f} % against none"
        if trouble != "none" and "none" in times and bound:
            rate, middle = size / times["none"], middles[trouble]
            ideal = middle + (size - rate * middle) / (rate * (SEEDERS - 1) / SEEDERS)
            text += f", {100 * (seconds / ideal - 1):+5.1f} % against the ideal of {ideal:.2f} s"
        lines.append(text)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=parse_size, default=400_000_000, help="octets; default 400,000,000")
    parser.add_argument(
        "--cap", type=parse_rate, default=10_000_000, help="of each seeder, 0: none; default 10,000,000"
    )
    parser.add_argument("--down", type=parse_rate, default=0, help="of the downloader; default 0: none")
    parser.add_argument("--files", type=int, default=1, help="a folder of so many, as long together")
    parser.add_argument("--runs", type=int, default=3, help="downloads of each kind; default 3")
    parser.add_argument("--troubles", default=",".join(TROUBLES), help=f"default {','.join(TROUBLES)}")
    parser.add_argument(
        "--directory", type=Path, help="where files and homes go; default: the temporary directory"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    args = parser.parse_args()
    found, results = run(
        args.troubles.split(","), args.size, args.files, args.cap, args.down, args.runs, args.directory
    )
    if args.json:
        print(json.dumps({"machine": found, "results": [asdict(result) for result in results]}))
        return
    print(describe(found))
    each = f"{args.cap / 1e6:g} MB/s" if args.cap else "no limit"
    kind = f" in {args.files:,} files" if args.files > 1 else ""
    limit = f", the downloader {args.down / 1e6:g} MB/s" if args.down else ""
    print(f"{SEEDERS} seeders of {each}{limit}, {args.size / 1e6:,.0f} MB{kind}, medians of {args.runs}\n")
    # Three can give all that the downloader takes: then a failure need not cost anything.
    bound = args.cap > 0 and not 0 < args.down <= (SEEDERS - 1) * args.cap
    print("\n".join(summary(results, args.size, bound)))


if __name__ == "__main__":
    main()
