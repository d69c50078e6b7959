"""What is remembered of popular contents is what the tables say, whatever changed meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pd.storage.sqlite import MEMORY
from p2pd.tracker import crowds_sqlite
from p2pd.tracker.crowds_sqlite import Crowds
from p2pd.tracker.registry import DeviceFull
from p2pd.tracker.registry_sqlite import SqliteRegistry
from protocol.tracker import Gone
from tests.fakes.registry_contract import announce, device, entry, find, join, publish


@pytest.fixture
def registry() -> Iterator[SqliteRegistry]:
    registry = SqliteRegistry(MEMORY, max_files_per_device=6)
    yield registry
    registry.close()


def test_who_is_here_is_counted_and_dated(registry: SqliteRegistry) -> None:
    join(registry, 1, entry(1, "a", 5), entry(1, "b", 9))
    join(registry, 2, entry(1, "a", 7))
    join(registry, 3, entry(1, "c", 8))
    crowds = Crowds(registry._database)
    crowd = crowds.of([1, 99])[1]
    everybody = crowds.live(0.0)
    assert (crowd.sources(everybody), crowd.newest(everybody), len(crowd.served(everybody))) == (3, 9, 3)
    registry.depart(device(1), 0.0)
    assert crowds.live(0.0) == everybody, "it was not told"
    crowds.devices_changed()
    live = crowds.live(0.0)
    assert (crowd.sources(live), crowd.newest(live), len(crowd.served(live))) == (2, 8, 2)
    assert (crowd.sources(0), crowd.newest(0), crowd.served(0)) == (0, 0, [])
    assert crowds.live(1e9) == 0, "all leases are over"
    assert crowds.live(0.0) == live, "a time before"


def test_what_was_not_asked_for_the_longest_is_forgotten_first(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    join(registry, 1, *(entry(number, f"a {number}") for number in range(1, 5)))
    crowds = Crowds(registry._database)
    monkeypatch.setattr(crowds_sqlite, "KEPT", 3 * (1 + crowds_sqlite.OVERHEAD))
    crowds.of([1, 2, 3])
    crowds.of([1])
    crowds.of([4])
    assert list(crowds._crowds) == [3, 1, 4]
    crowds.forget([1, 2, 3])
    assert crowds._held == 1 + crowds_sqlite.OVERHEAD


def test_places_of_devices_are_given_anew_when_there_are_too_many(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for who in range(1, 5):
        join(registry, who, entry(1, "alpha"))
    monkeypatch.setattr(crowds_sqlite, "PLACES", 3)
    for _ in range(2):
        assert [hit.sources for hit in find(registry, "alpha")] == [4]


def test_what_is_refused_leaves_nothing(registry: SqliteRegistry) -> None:
    for who in (1, 2):
        join(registry, who, entry(1, "alpha"))
    assert [hit.sources for hit in find(registry, "alpha")] == [2]
    announce(registry, 3)
    many = [entry(1, "alpha"), *(entry(number, "beta") for number in range(2, 9))]
    with pytest.raises(DeviceFull):
        publish(registry, 3, 0, 1, many, reset=True)
    assert [hit.sources for hit in find(registry, "alpha")] == [2]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_answers_are_those_of_the_tables(seed: int) -> None:
    rng = random.Random(seed)
    registry = SqliteRegistry(MEMORY)
    now, revisions = 0.0, dict.fromkeys(range(1, 5), 0)
    try:
        for who in revisions:
            announce(registry, who, now=now)
        for _ in range(40):
            now += rng.choice([0.0, 0.1, 2.0, 30.0])
            who = rng.choice(list(revisions))
            some = [
                entry(rng.randint(1, 4), rng.choice(["abc", "abc d", "b"]), rng.randint(1, 99))
                for _ in range(rng.randint(0, 4))
            ]
            action = rng.randrange(6)
            if action == 0:
                registry.depart(device(who), now)
            elif action == 1:
                registry.sweep(now, now - 60, 2)
            elif action == 2:
                announce(registry, who, now=now)
            else:
                share = announce(registry, who, now=now)
                base = share.revision
                if action == 3 or not base:
                    publish(registry, who, 0, revisions[who] + 1, some, reset=True, now=now)
                else:
                    gone = [Gone(one.content_id, one.name) for one in some[:1]]
                    publish(registry, who, base, base + 1, some[1:], gone, now=now)
                revisions[who] += 1
            found = find(registry, "b", now=now)
            registry._crowds.clear()
            assert found == find(registry, "b", now=now)
    finally:
        registry.close()
