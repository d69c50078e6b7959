"""A tracker with a million files: how fast does it take them, how fast does it find them, and what does it hold?

    python bench/tracker.py                        1,000 devices with 1,000 files each: some three minutes
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
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from common import ROOT, Daemon, cpu_seconds, describe, environment, machine
from tracker_clients import EPOCH, Clients
from tracker_data import WORDS_ASKED, Data, question

from p2pd.net.dealer import Link
from p2pd.tracker.dsn import shown
from protocol.keys import NetworkSecret, derive_network_key
from protocol.tracker import By, Entry, Hits, Publish, SearchTerms, publishes

PASSWORD = "a bench is no secret place"
NETWORK = "default"
GROUP = 50  # devices that publish at a time
STEPS = (10_000, 50_000, 100_000, 200_000, 400_000, 600_000, 800_000, 1_000_000)
SEARCHERS = 20
MIB = 1 << 20


def memory(pid: int, which: str = "VmRSS") -> int:
    """Octets that a process holds (VmRSS), or held at most (VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{which}:")[2].split()[0]) * 1024


def percentile(values: list[float], share: float) -> float:
    """In milliseconds."""
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def database_size(home: Path) -> int:
    """Octets of the tracker's files, the log included."""
    return sum(path.stat().st_size for path in home.glob("tracker.db*"))


class Bench:
    """One run."""

    def __init__(self, asked: argparse.Namespace, base: Path) -> None:
        self.asked = asked
        self.base = base
        self.data = Data(asked.seed, asked.files, not asked.no_usr)
        self.rng = Random(asked.seed)
        secret = base / "secret.txt"
        secret.touch(mode=0o600)
        secret.write_text(PASSWORD)
        self.secret = NetworkSecret(derive_network_key(PASSWORD, NETWORK, 0), NETWORK)
        self.trackers = [self.start(number) for number in range(asked.trackers)]
        self.steps: list[dict[str, Any]] = []
        self.results: dict[str, Any] = {}

    @property
    def tracker(self) -> Daemon:
        """The first."""
        return self.trackers[0]

    def start(self, number: int = 0) -> Daemon:
        """A tracker, with whatever its home holds."""
        words = ["tracker", "--listen", self.asked.listen, "--password-file", "secret.txt"]
        if self.asked.registry:
            words += ["--registry", self.asked.registry]
        return Daemon(f"tracker{number or ''}", words, self.base)

    @property
    def pid(self) -> int:
        """Of the first tracker."""
        return self.tracker.process.pid

    def cpu(self) -> float:
        """CPU seconds of all trackers; those of a database are its own."""
        return sum(cpu_seconds(tracker.process.pid) for tracker in self.trackers)

    def size(self) -> int:
        """Octets of the registry."""
        if self.asked.registry:
            from database import size

            return size(self.asked.registry)
        return database_size(self.tracker.home)

    def clients(self) -> Clients:
        """Devices that know where the trackers are: each takes one of them, in turn."""
        places = [tracker.where.rpartition(":") for tracker in self.trackers]
        return Clients(self.secret, [(host, int(port)) for host, _, port in places])

    # -- loading --------------------------------------------------------------------------------------------

    def batches(self, device: int) -> list[Publish]:
        """The list of a device as it goes over the wire."""
        entries: dict[tuple[bytes, str], Entry] = {
            (one.content_id, one.name): one for one in self.data.entries(device)
        }
        changes = enumerate(entries.values(), 1)
        return list(publishes(EPOCH, 0, len(entries), changes, reset=True))

    async def load(self, clients: Clients) -> None:
        """All devices, some at a time; figures at each step."""
        done, devices, publishing = 0, 0, 0.0
        cpu_mark, done_mark, time_mark = self.cpu(), 0, 0.0
        began = time.perf_counter()
        waiting = [step for step in STEPS if step < self.asked.devices * self.asked.files]
        waiting.append(self.asked.devices * self.asked.files)
        while devices < self.asked.devices:
            # a group ends where a step does, so that a step is measured to the file
            room = max(1, (waiting[0] - devices * self.asked.files) // self.asked.files)
            group = range(devices, min(self.asked.devices, devices + min(GROUP, room)))
            lists = [self.batches(device) for device in group]
            links = [await clients.connect(group[0])]
            links += await asyncio.gather(*(clients.connect(device) for device in group[1:]))
            await asyncio.gather(*(clients.announce(link, 2**40) for link in links))
            cpu = self.cpu()
            start = time.perf_counter()
            await asyncio.gather(*(clients.publish(*pair) for pair in zip(links, lists, strict=True)))
            publishing += time.perf_counter() - start
            time_mark += time.perf_counter() - start
            cpu_mark -= self.cpu() - cpu
            clients.close(links)
            devices += len(group)
            done += sum(len(batch.added) for one in lists for batch in one)
            if devices * self.asked.files >= waiting[0]:
                waiting.pop(0)
                probe = await self.probe(clients, devices)
                self.step(done, done - done_mark, time_mark, -cpu_mark, probe)
                done_mark, time_mark, cpu_mark = done, 0.0, 0.0
        self.results |= {
            "files": done,
            "ingest_files_per_s": done / publishing,
            "ingest_with_handshakes_per_s": done / (time.perf_counter() - began),
        }

    def step(self, done: int, more: int, seconds: float, cpu: float, probe: list[float]) -> None:
        """Notes and prints the figures at a step."""
        found = {
            "files": done,
            "files_per_s": more / seconds,
            "cpu_us_per_file": 1e6 * cpu / more if self.steps else 1e6 * max(cpu, 0.0) / more,
            "rss_mib": memory(self.pid) / MIB,
            "database_mib": self.size() / MIB,
            "search_p50_ms": percentile(probe, 0.5),
            "search_p99_ms": percentile(probe, 0.99),
        }
        self.steps.append(found)
        print(
            f"{done:>9} files  {found['files_per_s']:>7.0f}/s  {found['cpu_us_per_file']:5.1f} us CPU each  RSS"
            f" {found['rss_mib']:4.0f} MiB  database {found['database_mib']:5.0f} MiB  idle search p50 {found['search_p50_ms']:5.2f}"
            f" p99 {found['search_p99_ms']:6.2f} ms",
            flush=True,
        )

    # -- searching ------------------------------------------------------------------------------------------

    def questions(self) -> Iterator[tuple[str, SearchTerms]]:
        """Searches of all kinds, mixed, for ever."""
        while True:
            [kind] = self.rng.choices(list(WORDS_ASKED), list(WORDS_ASKED.values()))
            text, phrase = question(self.data, kind, self.rng)
            by = By.ID if kind == "id" else By.TEXT
            yield kind, SearchTerms(0, by, text, limit=self.asked.limit, phrases=[phrase] if phrase else [])

    async def searchers(self, clients: Clients) -> list[Link]:
        """Sessions of devices that only ask."""
        links = [await clients.connect(1_000_000)]
        return links + await asyncio.gather(
            *(clients.connect(1_000_000 + n) for n in range(1, self.asked.searches // 4 + 8))
        )

    async def probe(self, clients: Clients, devices: int) -> list[float]:
        """Seconds of a hundred searches, one after the other, while nothing else goes on."""
        links = await self.searchers(clients)
        times = []
        asked = self.questions()
        for number in range(100):
            _, message = next(asked)
            begun = time.perf_counter()
            reply = await clients.ask(links[number % len(links)], message)
            times.append(time.perf_counter() - begun)
            assert isinstance(reply, Hits)
        clients.close(links)
        return times

    async def search(self, clients: Clients) -> None:
        """So many searches a second, started by the clock whatever the answers do, while devices announce and publish."""
        links = await self.searchers(clients)
        busy = await asyncio.gather(*(clients.connect(2_000_000 + n) for n in range(10)))
        stop = asyncio.Event()
        counts = {"announces": 0, "published": 0}
        work = [
            asyncio.create_task(self.change(clients, n, link, stop, counts)) for n, link in enumerate(busy)
        ]
        times: dict[str, list[float]] = {kind: [] for kind in WORDS_ASKED}
        hits = dict.fromkeys(WORDS_ASKED, 0)

        async def one(link: Link, kind: str, message: SearchTerms) -> None:
            begun = time.perf_counter()
            reply = await clients.ask(link, message)
            times[kind].append(time.perf_counter() - begun)
            hits[kind] += len(reply.items)

        cpu, begun = self.cpu(), time.perf_counter()
        tasks = []
        for number, (kind, message) in zip(
            range(self.asked.searches * self.asked.seconds), self.questions(), strict=False
        ):
            await asyncio.sleep(begun + number / self.asked.searches - time.perf_counter())
            tasks.append(asyncio.create_task(one(links[number % len(links)], kind, message)))
        await asyncio.gather(*tasks)
        seconds = time.perf_counter() - begun
        cpu = self.cpu() - cpu
        stop.set()
        await asyncio.gather(*work)
        clients.close([*links, *busy])
        every = [value for values in times.values() for value in values]
        print(
            f"\n{len(every)} searches in {seconds:.1f} s ({len(every) / seconds:.0f}/s), meanwhile"
            f" {counts['announces'] / seconds:.0f} announces/s and {counts['published'] / seconds:.0f} files/s published;"
            f" tracker's CPU {100 * cpu / seconds:.0f} %"
        )
        print(f"{'kind':<12} {'count':>6} {'p50 ms':>8} {'p99 ms':>8} {'most':>8} {'hits':>6}")
        for kind, values in [*times.items(), ("all", every)]:
            found = sum(hits.values()) if kind == "all" else hits[kind]
            print(
                f"{kind:<12} {len(values):>6} {percentile(values, 0.5):>8.2f} {percentile(values, 0.99):>8.2f}"
                f" {1000 * max(values, default=0):>8.2f} {found / max(1, len(values)):>6.0f}"
            )
        self.results |= {"search_p50_ms": percentile(every, 0.5), "search_p99_ms": percentile(every, 0.99)}

    async def change(
        self, clients: Clients, number: int, link: Link, stop: asyncio.Event, counts: dict[str, int]
    ) -> None:
        """Announces at the pace of a thousand devices between all of these, and publishes a few files each second."""
        await clients.announce(link, 0)
        await clients.publish(link, [Publish(0, EPOCH, 0, 1, True, False, [], [])])
        revision = 1
        source = self.data.entries(2_000_000 + number, 10**9)
        while not stop.is_set():
            batch = Publish(
                0, EPOCH, revision, revision + 1, False, False, [next(source) for _ in range(20)], []
            )
            await clients.publish(link, [batch])
            revision += 1
            counts["published"] += len(batch.added)
            if not revision % 10:
                await clients.announce(link, revision)
                counts["announces"] += 1
            try:
                await asyncio.wait_for(stop.wait(), 0.5)
            except TimeoutError:
                pass

    # -- the rest -------------------------------------------------------------------------------------------

    async def restart(self) -> None:
        """From the start of the process to the first answer."""
        self.tracker.stop()
        begun = time.perf_counter()
        self.trackers[0] = self.start()
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

    def everything(self) -> None:
        """`p2pctl --jsonl all_files` through a daemon, and the memory of all three."""
        words = [
            "peer",
            "--tracker",
            self.tracker.where,
            "--listen",
            "127.0.0.1:0",
            "--password-file",
            "secret.txt",
        ]
        peer = Daemon("peer", words, self.base)
        try:
            peer.control("search", "report")
            before = memory(peer.process.pid), memory(self.pid)
            cpu = cpu_seconds(peer.process.pid), self.cpu()
            command = [sys.executable, "-m", "p2pctl", "--home", str(peer.home), "--jsonl", "all_files"]
            begun = time.perf_counter()
            listing = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE)
            counter = subprocess.Popen(["wc", "-l"], stdin=listing.stdout, stdout=subprocess.PIPE, text=True)
            most, spent = 0, 0.0
            while listing.poll() is None:
                try:
                    most, spent = memory(listing.pid, "VmHWM"), cpu_seconds(listing.pid)
                except (OSError, IndexError):
                    break  # it ends just now
                time.sleep(0.05)
            seconds = time.perf_counter() - begun
            lines = int(counter.communicate()[0])
            self.results |= {
                "all_files_lines": lines,
                "all_files_s": seconds,
                "all_files_cpu_s": {
                    "tracker": self.cpu() - cpu[1],
                    "daemon": cpu_seconds(peer.process.pid) - cpu[0],
                    "client": spent,
                },
                "all_files_peak_mib": {
                    "tracker": memory(self.pid, "VmHWM") / MIB,
                    "daemon": memory(peer.process.pid, "VmHWM") / MIB,
                    "client": most / MIB,
                },
                "all_files_before_mib": {"daemon": before[0] / MIB, "tracker": before[1] / MIB},
                "all_files_status": listing.wait(),
            }
        finally:
            peer.stop()

    async def devices(self, clients: Clients) -> None:
        """What a device costs that is only here: memory of its session, CPU of its handshake and of an announce."""
        rss, cpu = memory(self.pid), self.cpu()
        links = [await clients.connect(3_000_000)]
        links += await asyncio.gather(*(clients.connect(3_000_000 + n) for n in range(1, 100)))
        self.results["device_session_kib"] = (memory(self.pid) - rss) / 1024 / len(links)
        self.results["device_handshake_cpu_ms"] = 1000 * (self.cpu() - cpu) / len(links)
        cpu = self.cpu()
        for _ in range(5):
            await asyncio.gather(*(clients.announce(link, 1) for link in links))
        self.results["device_announce_cpu_ms"] = 1000 * (self.cpu() - cpu) / 5 / len(links)
        clients.close(links)
        if self.asked.announcing:
            begun, cpu = time.perf_counter(), self.cpu()
            for start in range(0, self.asked.announcing, 100):
                links = await asyncio.gather(*(clients.connect(4_000_000 + start + n) for n in range(100)))
                await asyncio.gather(*(clients.announce(link, 1) for link in links))
                clients.close(links)
            self.results["announced_devices"] = self.asked.announcing
            self.results["announced_s"] = time.perf_counter() - begun
            self.results["announced_cpu_s"] = self.cpu() - cpu
            self.results["announced_rss_mib"] = memory(self.pid) / MIB

    async def run(self) -> None:
        """Everything in turn."""
        clients = self.clients()
        await self.load(clients)
        await self.search(clients)
        await self.devices(clients)
        clients.stop()
        self.results["rss_mib"] = memory(self.pid) / MIB
        self.results["peak_mib"] = memory(self.pid, "VmHWM") / MIB
        await self.restart()
        if not self.asked.no_all:
            self.everything()
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
