"""Many small files by p2pd and by rsync over ssh, in turns: python bench/many.py [--files 10000] [--size 4K] [--rounds 5] [--json].

The files are random, a hundred in each directory, warm in the page cache; everything goes over loopback. Ours is timed from the start of
`p2pctl add -r` to its exit (hashed, recorded, published), then a `p2pctl search` for one of the files, then `p2pctl download` of the folder
to its exit: every file verified and durable (rsync makes nothing durable), the tree named, and shared again. rsync is timed as its client
runs, and so is rsync followed by sync(1). The trees are compared outside the timed part, and stay until the end: for
minutes after many files were removed, ext4 is several times slower at making new ones. Reports, never asserts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.common import MIB, Daemon, describe, machine, swarm, touch_memory
from bench.rivals import Sshd, need, rsync_version, run
from p2pctl.units import parse_size

IN_ONE = 100  # files in a directory
SETTLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds, and CPU seconds and most memory of our daemons so far."""

    add_s: float
    search_s: float
    download_s: float
    ours_s: float
    rsync_s: float
    rsync_sync_s: float
    ratio: float
    seeder_cpu_s: float
    leecher_cpu_s: float
    seeder_peak_bytes: int
    leecher_peak_bytes: int


def make_tree(top: Path, files: int, size: int) -> None:
    """The files, on the disk when this returns."""
    for number in range(files):
        place = top / f"{number // IN_ONE:04}"
        if number % IN_ONE == 0:
            place.mkdir(parents=True)
        (place / f"file-{number:06}.bin").write_bytes(os.urandom(size))
    os.sync()


def same(first: Path, second: Path) -> bool:
    """Whether two trees hold the same."""
    return (
        subprocess.run(
            ["diff", "-rq", str(first), str(second)], check=False, stdout=subprocess.DEVNULL
        ).returncode
        == 0
    )


def settle(daemon: Daemon) -> None:
    """Until its trackers have all that it shares."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        status = json.loads(daemon.answer("--json", "status"))["items"][0]
        if all(tracker["published_revision"] == tracker["revision"] for tracker in status["trackers"]):
            return
        time.sleep(0.1)
    raise RuntimeError("the tracker does not take the list")


def ours(
    seeder: Daemon, leecher: Daemon, source: Path, target: Path, word: str
) -> tuple[float, float, float]:
    """Seconds of add, search and download."""
    seeder_began = seeder.control("add", "-r", str(source))
    searched = leecher.control("search", "--require", word)
    target.mkdir()
    downloaded = leecher.control("download", source.name, "-o", str(target))
    return seeder_began, searched, downloaded


def measure(files: int, size: int, rounds: int, directory: Path | None) -> tuple[dict[str, Any], list[Round]]:
    """The machine, and the rounds after one that is not counted. Raises RuntimeError when a tree arrived wrong, Missing."""
    with swarm(2, directory) as (base, (seeder, leecher)), ExitStack() as stack:
        found = machine(base)
        (base / "ssh").mkdir()
        ssh = Sshd(stack, base / "ssh")
        rsync = need("rsync")
        found["rsync"] = f"{rsync_version(rsync)}, {ssh.version}"
        shell = " ".join([need("ssh"), "-p", str(ssh.port), *ssh.options()])
        source = base / "many"
        make_tree(source, files, size)
        word = f"file-{files // 2:06}"
        taken = []
        for number in range(rounds + 1):
            touch_memory(512 * MIB)
            target = base / f"arrived-{number}"
            before = [daemon.cost().cpu_s for daemon in (seeder, leecher)]
            add, search, download = ours(seeder, leecher, source, target, word)
            after = [daemon.cost() for daemon in (seeder, leecher)]
            if not same(source, target / f"downloaded_{source.name}"):
                raise RuntimeError("the tree that arrived differs")
            settle(leecher)
            leecher.control("remove", f"downloaded_{source.name}")
            seeder.control("remove", source.name)
            settle(seeder)
            settle(leecher)
            os.sync()
            other = base / f"rsync-{number}"
            plain, _, _ = run([rsync, "-a", "-q", "-e", shell, ssh.remote(source), str(other)])
            began = time.perf_counter()
            os.sync()
            synced = plain + time.perf_counter() - began
            if not same(source, other / source.name):
                raise RuntimeError("rsync's tree differs")
            os.sync()
            total = add + search + download
            one = Round(
                add, search, download, total, plain, synced, total / plain,
                after[0].cpu_s - before[0], after[1].cpu_s - before[1],
                after[0].peak_bytes, after[1].peak_bytes,
            )  # fmt: skip
            if number:
                taken.append(one)
            print(_line(number, one), file=sys.stderr, flush=True)
    return found, taken


def _line(number: int, one: Round) -> str:
    return (
        f"round {number}: add {one.add_s:.2f} s, search {one.search_s:.2f} s, download {one.download_s:.2f} s,"
        f" together {one.ours_s:.2f} s; rsync {one.rsync_s:.2f} s ({one.rsync_sync_s:.2f} s with sync); {one.ratio:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000, help="how many; default 10000")
    parser.add_argument("--size", type=parse_size, default=4096, help="octets of each (K, M, G); default 4K")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count; default 5")
    parser.add_argument(
        "--directory", type=Path, help="where files and homes go; default: the temporary directory"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    args = parser.parse_args()
    found, rounds = measure(args.files, args.size, args.rounds, args.directory)
    middle = Round(
        *(statistics.median(values) for values in zip(*(asdict(one).values() for one in rounds), strict=True))
    )
    if args.json:
        document = {"machine": found, "files": args.files, "size_bytes": args.size}
        print(json.dumps({**document, "rounds": [asdict(one) for one in rounds], "median": asdict(middle)}))
        return
    print(describe(found))
    print(f"{found['rsync']}; {args.files} files of {args.size} octets, {len(rounds)} rounds, medians\n")
    print(f"add -r             {middle.add_s:6.2f} s")
    print(f"search             {middle.search_s:6.2f} s")
    print(f"download           {middle.download_s:6.2f} s   verified, durable, shared again")
    print(f"together           {middle.ours_s:6.2f} s")
    print(f"rsync over ssh     {middle.rsync_s:6.2f} s   {middle.rsync_sync_s:.2f} s with sync")
    ratios = [one.ratio for one in rounds]
    print(f"ratio              {middle.ratio:6.2f}     ({min(ratios):.2f} to {max(ratios):.2f})")
    for name, cpu, peak in (
        ("seeder", middle.seeder_cpu_s, middle.seeder_peak_bytes),
        ("leecher", middle.leecher_cpu_s, middle.leecher_peak_bytes),
    ):
        print(f"{name:<18} {cpu:6.2f} CPU s  peak {peak / MIB:.0f} MiB")


if __name__ == "__main__":
    main()
