"""What the owner of a swarm counts on, in virtual time: sums of sources, the cost of a bad one, and one seeder for eight.

Octets and seconds here are those of the model; bench/sources.py measures the same with real daemons.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from protocol.limits import MIB
from tests.sim.world import Downloader, Holder, World

MB = 1_000_000
CAP = 10.0 * MB
SIZE = 400 * MB
EVERYTHING = (1 << -(-SIZE // MIB)) - 1
SEEDS = range(5)


def download(
    seed: int, trouble: Callable[[World, Holder], object] | None = None, piece_size: int = MIB
) -> tuple[float, Downloader]:
    """One downloader, four seeders of 10 MB/s each; `trouble` may happen to the first. Seconds that it took."""
    world = World(seed)
    seeders = [Holder(world, f"seeder{number}", EVERYTHING, CAP) for number in range(4)]
    loader = Downloader(world, "loader", SIZE, piece_size, CAP)
    for seeder in seeders:
        loader.known[seeder.name] = (seeder, 0.001)
    loader.offer(loader.life)
    if trouble is not None:
        trouble(world, seeders[0])
    assert world.run(lambda: loader.stopped, 1000.0)
    assert loader.done_at is not None
    return loader.done_at, loader


@pytest.mark.parametrize("seed", SEEDS)
def test_four_seeders_give_together_what_they_may(seed: int) -> None:
    seconds, loader = download(seed)
    assert SIZE / seconds >= 38 * MB
    assert loader.received <= 1.02 * SIZE


def stall(world: World, seeder: Holder) -> None:
    """From the middle on it says nothing."""
    world.after(5.0, lambda: setattr(seeder, "stalled", True))


def lie(world: World, seeder: Holder) -> None:
    """From the middle on everything that it sends is wrong."""
    world.after(5.0, lambda: setattr(seeder, "lies", 1.0))


def die(world: World, seeder: Holder) -> None:
    """In the middle its process is killed."""

    def dead() -> None:
        seeder.up = False
        for link in list(seeder.links):
            link.client.broken(link)

    world.after(5.0, dead)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("trouble", [stall, lie, die])
def test_one_of_four_that_fails_in_the_middle_costs_little(
    seed: int, trouble: Callable[[World, Holder], object]
) -> None:
    """Beyond what its missing capacity costs: half of the file comes from three instead of four."""
    seconds, loader = download(seed, trouble)
    unavoidable = 5.0 + (SIZE - 5.0 * 4 * CAP) / (3 * CAP)
    assert seconds <= 1.1 * unavoidable
    assert loader.received <= 1.1 * SIZE


@pytest.mark.parametrize("trouble", [stall, lie, die])
def test_one_of_four_that_fails_near_the_end_costs_little_too(
    trouble: Callable[[World, Holder], object],
) -> None:
    def late(world: World, seeder: Holder) -> None:
        world.after(4.3, lambda: trouble(world, seeder))

    seconds, _ = download(1, late)
    assert seconds <= 1.1 * (9.3 + (SIZE - 9.3 * 4 * CAP) / (3 * CAP))


def test_large_pieces_are_taken_back_from_a_silent_source() -> None:
    """Pieces in several blocks are not asked of two sources at a time: the silent one has to lose them."""
    seconds, _ = download(1, stall, 4 * MIB)
    assert seconds <= 1.15 * (5.0 + (SIZE - 5.0 * 4 * CAP) / (3 * CAP))


def test_a_short_stall_costs_no_more_than_it_takes() -> None:
    def pause(world: World, seeder: Holder) -> None:
        world.after(5.0, lambda: setattr(seeder, "stalled", True))
        world.after(7.0, seeder.resume)

    seconds, _ = download(1, pause)
    assert seconds <= 1.1 * (10.0 + 2.0 / 4)


def test_a_seeder_that_comes_later_is_used_at_once() -> None:
    world = World(1)
    first, late = Holder(world, "first", EVERYTHING, CAP), Holder(world, "late", EVERYTHING, CAP)
    loader = Downloader(world, "loader", SIZE, MIB, CAP)
    loader.known["first"] = (first, 0.001)
    loader.offer(loader.life)
    world.after(10.0, lambda: loader.known.setdefault("late", (late, 0.001)))
    assert world.run(lambda: loader.stopped, 1000.0)
    assert late.sent >= 0.3 * SIZE


@pytest.mark.parametrize("seed", SEEDS)
def test_eight_downloaders_share_what_one_seeder_sends(seed: int) -> None:
    """One seeder of 20 MB/s, eight downloaders of one file that find each other in the first seconds."""
    world = World(seed)
    seeder = Holder(world, "seeder", EVERYTHING, 2 * CAP)
    loaders = [Downloader(world, f"loader{number}", SIZE, MIB, 10 * CAP) for number in range(8)]
    for loader in loaders:
        loader.known["seeder"] = (seeder, 0.001)
        loader.offer(loader.life)
        for other in loaders:
            if other is not loader:
                meets = world.rng.uniform(0.0, 5.0)
                pair = (loader, other)
                world.after(meets, lambda pair=pair: meet(*pair))  # type: ignore[misc]
    assert world.run(lambda: all(loader.stopped for loader in loaders), 1000.0)
    one_copy = SIZE / (2 * CAP)
    last = max(loader.done_at or 0.0 for loader in loaders)
    assert last <= 1.6 * one_copy, f"{last / one_copy:.2f} times one copy"
    assert seeder.sent <= 2 * SIZE, f"the seeder sent {seeder.sent / SIZE:.2f} times the file"


def meet(loader: Downloader, other: Downloader) -> None:
    """The tracker names the one to the other."""
    loader.known[other.name] = (other.holder, 0.001)
