"""p2pd/tracker/counting.py: a census in steps, and totals that are counted seldom."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from p2pd.storage.sqlite import MEMORY
from p2pd.tracker import counting
from p2pd.tracker.counting import CENSUS_SECONDS, EXACT, STEP, TOTALS_SECONDS, Counting
from p2pd.tracker.policy import Figures, Policy
from p2pd.tracker.registry import Card, RegistryError, Totals
from p2pd.tracker.registry_sqlite import SqliteRegistry
from protocol.tracker import Entry, Publish

EPOCH = b"epoch--1"
HOST = "192.0.2.{}"


@pytest.fixture
def registry() -> Iterator[SqliteRegistry]:
    registry = SqliteRegistry(MEMORY)
    registry.resume(0.0, 900.0)
    yield registry
    registry.close()


def join(registry: SqliteRegistry, number: int, files: int = 1) -> None:
    """A device with so many files."""
    device_id = number.to_bytes(20)
    registry.announce(Card(device_id, HOST.format(number % 250), "", 8001), EPOCH, 1, 0.0, 900.0)
    entries = [
        Entry(n.to_bytes(16) + number.to_bytes(16), bytes(32), 10, f"{number} {n}.txt", 0)
        for n in range(files)
    ]
    registry.publish(device_id, Publish(1, EPOCH, 0, 1, True, False, entries, []), 0.0, 900.0)


def make(registry: SqliteRegistry, most: int = 10**6) -> tuple[Counting, Policy]:
    policy = Policy(Figures(network_entries=most))
    return Counting(registry, policy, threading.Lock()), policy


def test_everybody_is_counted_in_steps_and_again_when_it_is_time(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "STEP", 2)
    for number in range(5):
        join(registry, number)
    count, policy = make(registry, 6)
    assert [count.step(0.0) for _ in range(4)] == [True, True, False, False]
    assert not policy.room(HOST.format(9), 2)
    assert policy.room(HOST.format(9), 1)
    assert not count.step(CENSUS_SECONDS - 1)
    assert not policy.room(HOST.format(9), 1), "what was let in counts until the next census"
    assert [count.step(CENSUS_SECONDS) for _ in range(3)] == [True, True, False]
    assert policy.room(HOST.format(9), 1)


def test_a_round_ends_when_devices_fill_the_last_step(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "STEP", 2)
    join(registry, 1, files=3)
    join(registry, 2)
    count, policy = make(registry, 5)
    assert [count.step(0.0), count.step(0.0)] == [True, False]
    assert policy.room(HOST.format(1), 1)
    assert not policy.room(HOST.format(1), 1)


def test_a_registry_that_fails_costs_one_round(registry: SqliteRegistry) -> None:
    class Failing:
        def members(self, *args: object) -> list[object]:
            raise RegistryError("the disk is full")

    count, _ = make(registry)
    count._registry = Failing()  # type: ignore[assignment]
    with pytest.raises(RegistryError):
        count.step(0.0)
    count._registry = registry
    assert not count.step(1.0)
    assert not count.step(CENSUS_SECONDS)


def test_few_are_counted_exactly_many_once_a_second(registry: SqliteRegistry) -> None:
    class Counted:
        answers = Totals(EXACT - 1, 10)
        asked = 0

        def totals(self, now: float) -> Totals:
            self.asked += 1
            return self.answers

    count, _ = make(registry)
    count._registry = stand_in = Counted()  # type: ignore[assignment]
    assert [count.totals(0.0).files for _ in range(3)] == [10, 10, 10]
    assert stand_in.asked == 3
    stand_in.answers = Totals(EXACT, 20)
    assert [count.totals(0.1).files for _ in range(3)] == [20, 20, 20]
    assert stand_in.asked == 4
    stand_in.answers = Totals(EXACT, 30)
    assert count.totals(0.1 + TOTALS_SECONDS / 2).files == 20
    assert count.totals(0.1 + TOTALS_SECONDS).files == 30
    assert count.totals(0.0).files == 30, "a clock that was set back does not keep them for ever"
    assert stand_in.asked == 6


def test_a_step_is_small() -> None:
    assert STEP <= 500
