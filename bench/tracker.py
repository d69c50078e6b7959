"""A tracker with a million files: how fast does it take them, how fast does it find them, and what does it hold?

    python bench/tracker.py                        1,000 devices with 1,000 files each: some six minutes
    python bench/tracker.py --devices 200          a fifth of it
    python bench/tracker.py --registry URL         the same with the registry at that address
    python bench/tracker.py --postgres --trackers 2
                                                   two trackers on one PostgreSQL, started for this run (bench/database.py)

A real `p2pd tracker` is a process of its own. The devices are in this process; each has a key, makes a handshake, announces itself and
publishes its list in the batches of a real peer, over loopback. Nothing here asserts; figures come with the machine they were
measured on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import watched
from common import MIB, ROOT, Daemon, describe, machine, memory, percentile
from tracker_clients import Clients
from tracker_costs import devices, everything
from tracker_data import Data
from tracker_loading import Fresh, Taken, load, spent
from tracker_searching import Searching

from p2pd.tracker.dsn import shown
from protocol.keys import NetworkSecret, derive_network_key
from protocol.tracker import By, Hits, SearchTerms

PASSWORD = "a bench is no secret place"
NETWORK = "default"
STEPS = (10_000, 20_000, 50_000, 100_000, 200_000, 400_000, 600_000, 800_000, 1_000_000)


def database_size(home: Path) -> int:
    """Octets of the tracker's files, the log included."""
    return sum(path.stat().st_size for path in home.glob("tracker.db*"))


class Bench:
    """One run."""

    def __init__(self, asked: argparse.Namespace, base: Path) -> None:
        self.asked = asked
        self.base = base
        self.seen = base / "seen.json"
        self.data = Data(asked.seed, asked.files, not asked.no_usr)
        self.searching = Searching(asked, self.data, self.cpu)
        secret = base / "secret.txt"
        secret.touch(mode=0o600)
        secret.write_text(PASSWORD)
        self.secret = NetworkSecret(derive_network_key(PASSWORD, NETWORK, 0), NETWORK)
        self.trackers = [self.start(f"tracker{number or ''}") for number in range(asked.trackers)]
        self.steps: list[dict[str, Any]] = []
        self.results: dict[str, Any] = {}

    @property
    def tracker(self) -> Daemon:
        """The first."""
        return self.trackers[0]

    def start(self, name: str, program: Sequence[str] = ("-m", "p2pd")) -> Daemon:
        """A tracker, with whatever its home holds."""
        words = ["tracker", "--listen", self.asked.listen, "--password-file", "secret.txt"]
        if self.asked.registry:
            words += ["--registry", self.asked.registry]
        return Daemon(name, words, self.base, program)

    @property
    def pid(self) -> int:
        """Of the first tracker."""
        return self.tracker.process.pid

    def cpu(self) -> float:
        """CPU seconds of all trackers; those of a database are its own."""
        return spent(self.trackers)

    def size(self) -> int:
        """Octets of the registry."""
        if self.asked.registry:
            from database import size

            return size(self.asked.registry)
        return database_size(self.tracker.home)

    def clients(self, trackers: list[Daemon] | None = None) -> Clients:
        """Devices that know where the trackers (these, or all) are: each takes one of them, in turn."""
        places = [tracker.where.rpartition(":") for tracker in trackers or self.trackers]
        return Clients(self.secret, [(host, int(port)) for host, _, port in places])

    # -- loading --------------------------------------------------------------------------------------------

    async def load(self, clients: Clients) -> None:
        """All devices, some at a time; figures at each step."""
        total, publishing, joining = self.asked.devices * self.asked.files, 0.0, 0.0
        # of a registry that several trackers share there is one
        fresh = None if self.asked.registry else Fresh(self.start, self.clients, self.data).measure
        first = done = 0
        for step in [*(step for step in STEPS if step < total), total]:
            members = range(first, min(self.asked.devices, -(-step // self.asked.files)))
            if not members:
                continue
            taken, beside, seconds = await load(clients, self.data, members, self.cpu, fresh)
            first, done = members.stop, done + taken.files
            publishing, joining = publishing + taken.seconds, joining + seconds
            self.step(done, taken, beside, await self.searching.probe(clients))
        costs = [step["times_fresh"] or step["cpu_us_per_file"] for step in self.steps]
        self.results |= {
            "files": done,
            "ingest_files_per_s": done / publishing,
            "ingest_with_handshakes_per_s": done / (publishing + joining),
            "dearest_to_cheapest": max(costs) / min(costs),
        }

    def step(self, done: int, taken: Taken, beside: Taken, probe: list[float]) -> None:
        """Notes and prints the figures at a step."""
        found = {
            "files": done,
            "files_per_s": taken.files / taken.seconds,
            "cpu_us_per_file": taken.each,
            "fresh_us_per_file": beside.each if beside.files else 0.0,
            "times_fresh": taken.each / beside.each if beside.files else 0.0,
            "rss_mib": memory(self.pid) / MIB,
            "database_mib": self.size() / MIB,
            "search_p50_ms": percentile(probe, 0.5),
            "search_p99_ms": percentile(probe, 0.99),
        }
        self.steps.append(found)
        against = f"({found['times_fresh']:4.2f} of a fresh tracker's)  " if beside.files else ""
        print(
            f"{done:>9} files  {found['files_per_s']:>7.0f}/s  {found['cpu_us_per_file']:5.1f} us CPU each  {against}RSS"
            f" {found['rss_mib']:4.0f} MiB  database {found['database_mib']:5.0f} MiB  idle search p50 {found['search_p50_ms']:5.2f}"
            f" p99 {found['search_p99_ms']:6.2f} ms",
            flush=True,
        )

    # -- the rest -------------------------------------------------------------------------------------------

    async def restart(self) -> None:
        """From the start of the process to the first answer."""
        self.tracker.stop()
        begun = time.perf_counter()
        self.trackers[0] = self.start("tracker")
        up = time.perf_counter() - begun
        clients = self.clients()
        link = await clients.connect(0)
        reply = await clients.ask(link, SearchTerms(0, By.TEXT, "report"))
        assert isinstance(reply, Hits)
        self.results |= {
            "start_s": up,
            "first_answer_s": time.perf_counter() - begun,
            "rss_after_start_mib": memory(self.pid) / MIB,
        }
        clients.stop()

    def watch(self) -> Clients:
        """The tracker starts again, as one that notes when it answers (where there is one)."""
        if not self.asked.registry:
            self.tracker.stop()
            self.trackers[0] = self.start("tracker", [watched.__file__, str(self.seen)])
        return self.clients()

    def at_the_tracker(self) -> dict[str, float]:
        """Of the searches: from the question's way into the asker's socket to the answer's way into the tracker's."""
        if self.asked.registry:
            return {}
        watched.ask(self.pid, self.seen)
        times = watched.answered_after(self.seen, self.searching.asked_at)
        return {
            "at_tracker_searches": len(times),
            "at_tracker_p50_ms": percentile(times, 0.5),
            "at_tracker_p99_ms": percentile(times, 0.99),
        }

    async def run(self) -> None:
        """Everything in turn."""
        clients = self.clients()
        await self.load(clients)
        self.results["rss_mib"] = memory(self.pid) / MIB
        self.results["peak_mib"] = memory(self.pid, "VmHWM") / MIB
        clients.stop()
        await self.restart()
        clients = self.watch()
        self.results |= await self.searching.search(clients)
        self.results |= self.at_the_tracker()
        self.results |= await devices(self.tracker, clients, self.asked.announcing, self.cpu)
        clients.stop()
        if not self.asked.no_all:
            self.results |= everything(self.tracker, self.base, self.cpu)
        self.results["database_mib"] = self.size() / MIB
        if not self.asked.registry:
            from tracker_sweep import sweep

            self.tracker.stop()
            self.results |= sweep(self.tracker.home / "tracker.db", self.data, self.asked.sweep)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--files", type=int, default=1000, help="of each device")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--searches", type=int, default=50, help="a second")
    parser.add_argument("--seconds", type=int, default=30, help="of searching")
    parser.add_argument("--limit", type=int, default=100, help="hits a search asks for; p2pctl's page")
    parser.add_argument(
        "--announcing", type=int, default=0, help="further devices that only announce themselves"
    )
    parser.add_argument("--sweep", type=int, default=20_000, help="entries of departed devices to remove")
    parser.add_argument("--registry", help="address of another registry than the tracker's own file")
    parser.add_argument(
        "--postgres", action="store_true", help="start a PostgreSQL for this run, and use that"
    )
    parser.add_argument("--trackers", type=int, default=1, help="on one registry; devices take them in turn")
    parser.add_argument("--no-all", action="store_true", help="do not list everything at the end")
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--no-usr", action="store_true", help="no names of this machine's /usr")
    parser.add_argument(
        "--directory", type=Path, help="where to put the homes; default: a temporary directory"
    )
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--svg", type=Path, help="draw the steps there")
    asked = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="p2pd-bench-", dir=asked.directory))
    found = machine(base)
    print(describe(found))
    bench = None
    database = ExitStack()
    if asked.trackers > 1 and not (asked.registry or asked.postgres):
        parser.error("several trackers need --registry or --postgres")
    try:
        if asked.postgres:
            from database import running

            asked.registry = database.enter_context(running())
        bench = Bench(asked, base)
        print(
            f"seed {asked.seed}, {asked.devices} devices with {asked.files} files, {bench.data.usr_names} names of /usr, SQLite"
            f" {__import__('sqlite3').sqlite_version}, registry {shown(asked.registry) if asked.registry else 'SQLite'},"
            f" trackers: {asked.trackers}\n"
        )
        asyncio.run(bench.run())
        print()
        for name, value in bench.results.items():
            figures = (
                ", ".join(f"{k} {v:.1f}" for k, v in value.items())
                if isinstance(value, dict)
                else f"{value:.2f}"
            )
            print(f"{name:<30} {figures}")
        if asked.svg:
            from tracker_plot import draw

            asked.svg.write_text(draw(bench.steps))
        if asked.json:
            document = {
                "machine": found,
                "arguments": vars(asked),
                "steps": bench.steps,
                "results": bench.results,
            }
            asked.json.write_text(json.dumps(document, indent=1, default=str))
    finally:
        if bench is not None:
            for tracker in bench.trackers:
                tracker.stop()
        database.close()
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
