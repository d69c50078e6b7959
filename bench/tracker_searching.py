"""Searches of a tracker with many files, for bench/tracker.py: alone, and at a rate while devices announce and publish."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Iterator
from random import Random

from common import percentile
from tracker_clients import EPOCH, Clients, device_id
from tracker_data import WORDS_ASKED, Data, question

from p2pd.net.dealer import Link
from protocol.tracker import By, Hits, Publish, SearchTerms

FIRST = 1_000_000  # the number of the first device that only asks


class Searching:
    """Those of one run. `cpu` tells the CPU seconds of all trackers so far."""

    def __init__(self, asked: argparse.Namespace, data: Data, cpu: Callable[[], float]) -> None:
        self.asked = asked
        self.data = data
        self.cpu = cpu
        self.rng = Random(asked.seed)
        self.asked_at: dict[tuple[str, int], float] = {}
        """When each question was sent, by device and number, for bench/watched.py."""

    def questions(self) -> Iterator[tuple[str, SearchTerms]]:
        """Searches of all kinds, mixed, for ever."""
        while True:
            [kind] = self.rng.choices(list(WORDS_ASKED), list(WORDS_ASKED.values()))
            text, phrase = question(self.data, kind, self.rng)
            by = By.ID if kind == "id" else By.TEXT
            yield kind, SearchTerms(0, by, text, limit=self.asked.limit, phrases=[phrase] if phrase else [])

    async def searchers(self, clients: Clients) -> list[Link]:
        """Sessions of devices that only ask."""
        links = [await clients.connect(FIRST)]
        return links + await asyncio.gather(
            *(clients.connect(FIRST + n) for n in range(1, self.asked.searches // 4 + 8))
        )

    async def probe(self, clients: Clients) -> list[float]:
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

    async def search(self, clients: Clients) -> dict[str, float]:
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

        numbers = {link: FIRST + number for number, link in enumerate(links)}

        async def one(link: Link, kind: str, message: SearchTerms) -> None:
            begun = time.monotonic()
            reply = await clients.ask(link, message)
            times[kind].append(time.monotonic() - begun)
            self.asked_at[device_id(numbers[link]).hex(), reply.req] = begun
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
        return {"search_p50_ms": percentile(every, 0.5), "search_p99_ms": percentile(every, 0.99)}

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
