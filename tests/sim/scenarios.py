"""Scenarios drawn from a seed: who takes part, and what goes wrong when."""

from __future__ import annotations

import random

from protocol.limits import MIB
from tests.sim.world import Downloader, Holder, World

LIMIT = 4000.0  # seconds of virtual time by which every scenario has ended


class Scenario:
    """A swarm of one file. One honest seeder stays reachable; everything else may go wrong."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        rng = self.world.rng
        self.piece_size = MIB if rng.random() < 0.8 else 4 * MIB
        count = rng.randint(1, 12)
        self.size = count * self.piece_size - rng.randrange(self.piece_size)
        everything = (1 << count) - 1
        self.honest = Holder(self.world, "honest", everything, _rate(rng))
        self.holders = [self.honest]
        for number in range(rng.randint(0, 3)):
            pieces = everything if rng.random() < 0.6 else rng.getrandbits(count)
            self.holders.append(self._odd(Holder(self.world, f"holder{number}", pieces, _rate(rng))))
        self.downloaders = [
            Downloader(self.world, f"loader{number}", self.size, self.piece_size, _rate(rng))
            for number in range(rng.randint(1, 3))
        ]
        for loader in self.downloaders:
            for holder in self.holders:
                late = rng.uniform(0, 20) if rng.random() < 0.3 else 0.0
                self._introduce(loader, holder, late)
            for other in self.downloaders:
                if other is not loader:
                    self._introduce(loader, other.holder, rng.uniform(0, 15))
            if rng.random() < 0.2:
                keeps = rng.getrandbits(count)
                self.world.after(rng.uniform(0, 10), lambda loader=loader, keeps=keeps: loader.crash(keeps))  # type: ignore[misc]
            for _ in range(rng.choice((0, 0, 0, 1, 4))):
                self.world.after(rng.uniform(0, 20), lambda loader=loader: self._cut(loader))  # type: ignore[misc]

    def _odd(self, holder: Holder) -> Holder:
        """Something is wrong with it, perhaps."""
        rng, after = self.world.rng, self.world.after
        what = rng.choice(("good", "liar", "sometimes", "busy", "stalls", "dies", "dies silently", "gains"))
        if what == "liar":
            holder.lies = 1.0
        elif what == "sometimes":
            holder.lies = rng.uniform(0.01, 0.3)
        elif what == "busy":
            for _ in range(rng.randint(1, 3)):
                began = rng.uniform(0, 15)
                after(began, lambda: setattr(holder, "busy", True))
                after(began + rng.uniform(0.1, 20), lambda: setattr(holder, "busy", False))
        elif what == "stalls":
            for _ in range(rng.randint(1, 3)):
                began = rng.uniform(0, 15)
                after(began, lambda: setattr(holder, "stalled", True))
                after(began + rng.uniform(0.1, 100), holder.resume)
        elif what == "dies":
            after(rng.uniform(0, 15), lambda: self._die(holder))
        elif what == "dies silently":
            after(rng.uniform(0, 15), lambda: setattr(holder, "up", False))
        elif what == "gains":
            for piece in range(-(-self.size // self.piece_size)):
                after(rng.uniform(0, 30), lambda piece=piece: holder.gained(piece))  # type: ignore[misc]
        return holder

    def _die(self, holder: Holder) -> None:
        holder.up = False
        for link in list(holder.links):
            link.client.broken(link)

    def _introduce(self, loader: Downloader, holder: Holder, late: float) -> None:
        delay = self.world.rng.choice((0.0, 0.001, 0.03, 0.3))
        self.world.after(late, lambda: loader.known.setdefault(holder.name, (holder, delay)))

    def _cut(self, loader: Downloader) -> None:
        for link in list(loader.links.values()):
            if self.world.rng.random() < 0.5:
                loader.broken(link)

    def run(self) -> None:
        """To the end. Raises AssertionError when something is not as it must be."""
        ended = self.world.run(lambda: all(loader.stopped for loader in self.downloaders), LIMIT)
        assert ended, "somebody has not got the file although an honest seeder has it"
        for loader in self.downloaders:
            assert loader.state.pieces.complete
            liars = {holder.name for holder in self.holders if holder.lies}
            assert loader.state.suspended <= liars
            # Copies of the last pieces, what was under way when links broke, pieces of liars, what a crash took.
            assert loader.received <= 3 * self.size + loader.lost + 64 * MIB


def _rate(rng: random.Random) -> float:
    """Octets a second: from a slow line to a local network."""
    return float(10 ** rng.uniform(4.8, 8.5))
