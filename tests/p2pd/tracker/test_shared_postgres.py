"""p2pd/tracker/shared_postgres.py: trackers know of each other, and of what the devices of the others fetch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from p2pd.net.bans import FOR_EVER, Ban
from p2pd.tracker import shared_postgres as shared
from p2pd.tracker.registry import Card, RegistryFull
from p2pd.tracker.registry_postgres import PostgresRegistry
from p2pd.tracker.shared_postgres import SharedFetchers
from tests.fakes.postgres import Server, empty
from tests.fakes.registry_contract import LEASE, announce, device

X, Y = b"\x01" * 32, b"\x02" * 32


@pytest.fixture(scope="module")
def address(postgres: Server) -> str:
    made = postgres.make_database()
    PostgresRegistry(made).close()
    return made


@pytest.fixture
def registry(address: str) -> Iterator[PostgresRegistry]:
    empty(address)
    registry = PostgresRegistry(address)
    yield registry
    registry.close()


def who(fetchers: SharedFetchers, content_id: bytes, now: float = 0.0) -> list[bytes]:
    return sorted(card.device_id for card in fetchers.of(content_id, now))


def test_a_tracker_is_there_while_it_says_so(registry: PostgresRegistry) -> None:
    database = registry.database
    first = database.run(lambda cursor: shared.beat(cursor, 0, 0.0, LEASE))
    second = database.run(lambda cursor: shared.beat(cursor, 0, 0.0, LEASE))
    assert first != second
    assert database.run(shared.trackers) == 2
    database.run(lambda cursor: cursor.execute("UPDATE tracker SET seen = seen - interval '61 s'"))
    assert database.run(shared.trackers) == 0
    assert database.run(lambda cursor: shared.beat(cursor, first, 0.0, LEASE)) == first
    assert database.run(shared.trackers) == 1


def test_trackers_that_are_gone_for_a_day_are_forgotten(registry: PostgresRegistry) -> None:
    database = registry.database
    tracker = database.run(lambda cursor: shared.beat(cursor, 0, 0.0, LEASE))
    database.run(lambda cursor: cursor.execute("UPDATE tracker SET seen = seen - interval '25 h'"))
    assert database.run(lambda cursor: shared.beat(cursor, tracker, 0.0, LEASE)) != tracker
    assert database.query("SELECT COUNT(*) FROM tracker") == [(1,)]


def test_bans_are_bounded_together(registry: PostgresRegistry) -> None:
    database = registry.database
    database.run(lambda cursor: shared.ban(cursor, Ban("10.0.0.0/8", FOR_EVER, "x", 1.0), 0.0, 1))
    with pytest.raises(RegistryFull):
        database.run(lambda cursor: shared.ban(cursor, Ban("11.0.0.0/8"), 0.0, 1))
    assert shared.bans(database, 0.0) == [Ban("10.0.0.0/8", FOR_EVER, "x", 1.0)]
    assert database.run(lambda cursor: shared.unban(cursor, "10.0.0.0/8"))


def test_what_is_fetched_at_one_tracker_is_known_at_the_other(
    registry: PostgresRegistry, address: str
) -> None:
    other = PostgresRegistry(address)
    announce(registry, 1)
    announce(other, 2)
    here, there = SharedFetchers(registry.database), SharedFetchers(other.database)
    assert here.set(device(1), [X, Y, X], 0.0)
    assert there.set(device(2), [X], 0.0)
    assert who(here, X) == who(there, X) == [device(1), device(2)]
    assert there.of(Y, 0.0) == [Card(device(1), "10.0.0.1", "", 8001)]
    assert there.set(device(1), [Y], 0.0)
    assert who(here, X) == [device(2)]
    assert here.set(device(1), [], 0.0)
    assert who(there, Y) == []
    other.close()


def test_without_a_lease_nothing_is_taken_nor_told(registry: PostgresRegistry) -> None:
    fetchers = SharedFetchers(registry.database)
    assert not fetchers.set(device(1), [X], 0.0)
    announce(registry, 1)
    assert fetchers.set(device(1), [X], 0.0)
    assert who(fetchers, X, LEASE - 1) == [device(1)]
    assert who(fetchers, X, LEASE) == []
    assert not fetchers.set(device(1), [X], LEASE)


def test_an_announce_keeps_what_is_known(registry: PostgresRegistry) -> None:
    fetchers = SharedFetchers(registry.database)
    announce(registry, 1)
    fetchers.set(device(1), [X], 0.0)
    announce(registry, 1, now=5.0, port=9000)
    fetchers.announced(Card(device(1), "10.0.0.1", "", 9000), 5.0, 5.0 + LEASE)
    assert [card.port for card in fetchers.of(X, 5.0)] == [9000]
    assert fetchers.card(device(1), 5.0) == Card(device(1), "10.0.0.1", "", 9000)
    assert fetchers.card(device(1), 5.0 + LEASE) is fetchers.card(device(2), 5.0) is None


def test_whoever_left_is_no_source_and_whoever_went_to_another_tracker_is(registry: PostgresRegistry) -> None:
    fetchers = SharedFetchers(registry.database)
    for number in (1, 2):
        announce(registry, number)
        fetchers.set(device(number), [X], 0.0)
    registry.depart(device(1), 1.0)
    fetchers.left(device(1))
    fetchers.left(device(2))  # a late Bye
    assert who(fetchers, X, 1.0) == [device(2)]
    fetchers.expire(LEASE)
    assert registry.database.query("SELECT COUNT(*) FROM fetching") == [(0,)]
