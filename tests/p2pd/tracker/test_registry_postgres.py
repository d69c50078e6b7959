"""The PostgreSQL registry keeps the contract, and what is its own: several trackers on one database."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator

import pytest

from p2pd.tracker import registry_postgres
from p2pd.tracker.registry import OutOfStep, Registry, RegistryError, Share
from p2pd.tracker.registry_postgres import PostgresRegistry
from protocol.tracker import By, Gone
from tests.fakes.postgres import Server, empty
from tests.fakes.registry_contract import (
    EPOCH,
    LEASE,
    Open,
    RegistryContract,
    announce,
    device,
    entry,
    find,
    join,
    names,
    publish,
)
from tests.fakes.registry_contract_finding import FindingContract
from tests.fakes.registry_contract_operating import OperatingContract
from tests.fakes.registry_contract_searching import SearchingContract


@pytest.fixture(scope="module")
def address(postgres: Server) -> str:
    """A database for the tests of this file."""
    made = postgres.make_database()
    PostgresRegistry(made).close()
    return made


@pytest.fixture
def store(address: str) -> Iterator[Open]:
    made: list[PostgresRegistry] = []

    def store() -> Registry:
        made.append(
            PostgresRegistry(address, max_devices=6, max_files=40, max_files_per_device=10, max_bans=4)
        )
        return made[-1]

    empty(address)
    yield store
    for registry in made:
        registry.close()


class TestPostgresRegistry(RegistryContract):
    """The contract: devices and shares."""


class TestPostgresFinding(FindingContract):
    """The contract: searches and lists."""


class TestPostgresOperating(OperatingContract):
    """The contract: bans, and what is forgotten by hand."""


class TestPostgresSearching(SearchingContract):
    """The contract: what is found, and in which order."""

    examples = 25


@pytest.fixture
def registry(store: Open) -> Iterator[Registry]:
    registry = store()
    registry.resume(0.0, LEASE)
    yield registry
    registry.close()


@pytest.fixture
def other(store: Open) -> Iterator[Registry]:
    """A second tracker on the same database."""
    registry = store()
    registry.resume(0.0, LEASE)
    yield registry
    registry.close()


def rows(registry: Registry, table: str) -> int:
    assert isinstance(registry, PostgresRegistry)
    return int(registry.database.query(f"SELECT COUNT(*) FROM {table}")[0][0])


def test_nothing_remains_of_what_nobody_shares(registry: Registry) -> None:
    join(registry, 1, entry(1, "alpha"), entry(1, "alpine"), entry(2, "alpha"))
    join(registry, 2, entry(1, "alpha"))
    assert (rows(registry, "name"), rows(registry, "content"), rows(registry, "label")) == (2, 2, 3)
    publish(registry, 1, 3, 6, [], [Gone(b"\x01" * 32, "alpine"), Gone(b"\x02" * 32, "alpha")])
    assert names(registry, "alp") == ["alpha"]
    while registry.sweep(1.0, 0.0, 1):
        pass
    assert (rows(registry, "name"), rows(registry, "content"), rows(registry, "label")) == (1, 1, 1)
    while registry.sweep(1000.0, 1000.0, 1):
        pass
    for table in ("device", "entry", "label", "name", "content", "loose"):
        assert rows(registry, table) == 0, table


def test_what_is_removed_and_comes_back_before_the_sweep_stays(registry: Registry, other: Registry) -> None:
    join(registry, 1, entry(1, "alpha"))
    publish(registry, 1, 1, 2, [], [Gone(b"\x01" * 32, "alpha")])
    join(other, 2, entry(1, "alpha"))
    while registry.sweep(0.0, 0.0, 10):
        pass
    assert [hit.sources for hit in find(registry, "alpha")] == [1]
    assert rows(registry, "loose") == 0


def test_counters_equal_the_tables_after_random_changes(store: Open, address: str) -> None:
    """Two trackers in turns, for the same devices: `entries` and `files` say what the tables hold."""
    trackers = [PostgresRegistry(address), PostgresRegistry(address)]
    rng = random.Random(7)
    now = 0.0
    known: dict[int, tuple[int, set[tuple[int, str]]]] = {}
    for _ in range(150):
        registry = rng.choice(trackers)
        now += rng.choice((0.0, 1.0, 30.0))
        who = rng.randrange(4)
        share = announce(registry, who, now)
        pairs = {(rng.randrange(12), f"name {rng.randrange(6)}") for _ in range(rng.randrange(5))}
        added = [entry(number, name) for number, name in sorted(pairs)]
        action = rng.randrange(5)
        if share.revision == 0 or action == 0:
            publish(registry, who, 0, 1, added, reset=True, now=now)
            known[who] = (1, pairs)
        elif action == 1:
            publish(registry, who, 0, 1, added, reset=True, more=True, now=now)
        elif action == 2 and known[who][1]:
            revision, shared = known[who]
            gone = rng.choice(sorted(shared))
            publish(
                registry, who, revision, revision + 1, [], [Gone(bytes([gone[0]]) * 32, gone[1])], now=now
            )
            known[who] = (revision + 1, shared - {gone})
        elif len(known[who][1] | pairs) <= 10:
            revision, shared = known[who]
            publish(registry, who, revision, revision + 1, added, now=now)
            known[who] = (revision + 1, shared | pairs)
        if rng.randrange(3) == 0:
            rng.choice(trackers).sweep(now, now - 10.0, rng.randrange(1, 5))
        assert isinstance(registry, PostgresRegistry)
        for entries, files, revision, device_id, held, shown in registry.database.query(
            "SELECT d.entries, d.files, d.revision, d.device_id, COUNT(e.device),"
            " COUNT(*) FILTER (WHERE e.generation >= d.generation)"
            " FROM device d LEFT JOIN entry e ON e.device = d.id GROUP BY d.id"
        ):
            assert entries == held
            if revision:
                assert files == shown == len(known[device_id[0]][1])
    while trackers[0].sweep(10_000.0, 10_000.0, 100):
        pass
    assert [rows(trackers[0], table) for table in ("device", "entry", "label", "name", "content")] == [0] * 5
    for registry in trackers:
        registry.close()


def test_a_device_that_changes_its_tracker_is_known_there(registry: Registry, other: Registry) -> None:
    join(registry, 1, entry(1, "alpha 1"))
    assert announce(other, 1) == Share(EPOCH, 1)
    publish(other, 1, 1, 2, [entry(2, "alpha 2")])
    with pytest.raises(OutOfStep):
        publish(registry, 1, 1, 2, [entry(3, "alpha 3")], epoch=b"epoch--9")
    publish(registry, 1, 1, 2, [entry(2, "alpha 2")])  # the same again, sent to the first one before it went
    assert len(find(registry, "alpha")) == len(find(other, "alpha")) == 2


def test_one_tracker_takes_a_list_at_a_time(registry: Registry, other: Registry) -> None:
    """A device that tells two trackers its whole list would begin it at one whenever the other has half of it."""
    announce(registry, 1)
    announce(other, 1)
    publish(registry, 1, 0, 1, [entry(1, "alpha 1")], reset=True, more=True)
    with pytest.raises(OutOfStep):
        publish(other, 1, 0, 1, [entry(1, "alpha 1")], reset=True, more=True, now=5.0)
    publish(registry, 1, 1, 2, [entry(2, "alpha 2")], reset=True, more=True, now=5.0)
    with pytest.raises(OutOfStep):
        publish(other, 1, 0, 1, [entry(1, "alpha 1")], reset=True, more=True, now=14.0)
    publish(registry, 1, 2, 3, [entry(3, "alpha 3")], reset=True, now=14.0)
    assert announce(other, 1) == Share(EPOCH, 3)
    # one that is not gone on with is begun anew elsewhere
    publish(registry, 1, 0, 1, [entry(1, "alpha 1")], reset=True, more=True, now=20.0)
    publish(other, 1, 0, 4, [entry(4, "alpha 4")], reset=True, now=30.0)
    assert names(registry, "alpha", now=30.0) == ["alpha 4"]


def test_a_late_bye_at_the_tracker_it_left_does_not_end_its_lease(
    registry: Registry, other: Registry
) -> None:
    join(registry, 1, entry(1, "alpha"))
    announce(other, 1)
    registry.depart(device(1), 1.0)
    assert names(other, "alpha", now=1.0) == ["alpha"]
    other.depart(device(1), 1.0)
    assert names(registry, "alpha", now=1.0) == []


def test_a_second_tracker_that_starts_gives_nobody_a_lease(registry: Registry, store: Open) -> None:
    join(registry, 1, entry(1, "alpha"))
    second = store()
    second.resume(LEASE + 1, 2 * LEASE)
    assert second.totals(LEASE + 1).devices == 0
    second.close()


def test_after_a_time_without_a_database_everybody_gets_a_lease(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    join(registry, 1, entry(1, "alpha"))
    join(registry, 2, entry(2, "alpha"))
    registry.depart(device(2), 1.0)
    assert isinstance(registry, PostgresRegistry)
    registry.database.run(
        lambda cursor: cursor.execute("UPDATE tracker SET seen = seen - interval '2 minutes'")
    )
    monkeypatch.setattr(registry_postgres, "BEAT_SECONDS", 0.0)
    registry.sweep(5 * LEASE, 0.0, 10)
    assert [hit.content_id[0] for hit in find(registry, "alpha", now=5 * LEASE)] == [1]
    assert find(registry, "alpha", now=6 * LEASE) == []


def at_once(*works: Callable[[], object]) -> list[BaseException]:
    """Runs these in threads that begin together. What they raised."""
    barrier = threading.Barrier(len(works))
    raised: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        barrier.wait(10)
        try:
            work()
        except BaseException as error:  # told to the test
            raised.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return raised


def test_a_device_that_publishes_at_two_trackers_at_once_is_served_by_one_after_the_other(
    registry: Registry, other: Registry
) -> None:
    announce(registry, 1)
    publish(registry, 1, 0, 1, [entry(0, "alpha 0")], reset=True)
    for revision in range(1, 9):
        added = [entry(revision, f"alpha {revision}")]
        assert not at_once(
            *(
                lambda tracker=tracker, r=revision, a=added: publish(tracker, 1, r, r + 1, a)  # type: ignore[misc]
                for tracker in (registry, other)
            )
        )
    assert announce(other, 1) == Share(EPOCH, 9)
    assert len(find(other, "alpha")) == 9
    assert registry.totals(0.0).files == rows(registry, "entry") == 9


def test_devices_with_the_same_files_publish_and_leave_at_two_trackers_at_once(
    registry: Registry, other: Registry
) -> None:
    """Names and contents are made, found and taken away by several at the same time: no deadlock ends a call, nothing dangles."""
    for _ in range(12):
        shared = [entry(number, f"alpha {number}") for number in range(10)]
        other_way = shared[::-1]
        assert not at_once(
            lambda other_way=other_way: join(other, 2, *other_way),  # type: ignore[misc]
            lambda shared=shared: join(registry, 1, *shared),  # type: ignore[misc]
            lambda: [registry.sweep(0.0, 0.0, 3) for _ in range(4)],
            lambda: [other.sweep(0.0, 0.0, 3) for _ in range(4)],
        )
        assert len(find(registry, "alpha")) == 10
        assert not at_once(
            lambda: publish(other, 2, 10, 11, [], [Gone(bytes([n]) * 32, f"alpha {n}") for n in range(10)]),
            lambda: registry.forget(device(1), 0.0, 7),
            lambda: [registry.sweep(0.0, 0.0, 4) for _ in range(6)],
        )
        while registry.forget(device(1), 0.0, 100):
            pass
        dangling = (
            "SELECT COUNT(*) FROM entry e WHERE NOT EXISTS (SELECT 1 FROM name n WHERE n.id = e.name)"
            " OR NOT EXISTS (SELECT 1 FROM content c WHERE c.id = e.content)"
            " OR NOT EXISTS (SELECT 1 FROM label l WHERE l.name = e.name AND l.content = e.content)"
        )
        assert isinstance(registry, PostgresRegistry)
        assert registry.database.query(dangling) == [(0,)]
    while registry.sweep(0.0, 0.0, 100):
        pass
    assert [rows(registry, table) for table in ("entry", "label", "name", "content")] == [0] * 4


def test_a_registry_that_is_closed_says_so(registry: Registry) -> None:
    join(registry, 1, entry(1, "alpha"))
    registry.close()
    for use in (
        lambda: announce(registry, 1),
        lambda: publish(registry, 1, 1, 2, []),
        lambda: find(registry, "alpha"),
        lambda: registry.depart(device(1), 0.0),
        lambda: registry.sweep(0.0, 0.0, 1),
        lambda: registry.totals(0.0),
        lambda: registry.holders(bytes(32), b"", 1, 0.0),
        lambda: registry.members(b"", b"", 1, 0.0),
        lambda: registry.bans(0.0),
        lambda: registry.unban("10.0.0.0/8"),
    ):
        with pytest.raises(RegistryError):
            use()


def test_a_batch_is_applied_whole_or_not_at_all(registry: Registry) -> None:
    """A failure after the entries were written takes them back."""
    assert isinstance(registry, PostgresRegistry)
    join(registry, 1, entry(1, "alpha 1"))
    registry.database.run(
        lambda cursor: cursor.execute("ALTER TABLE device ADD CONSTRAINT broken CHECK (revision <> 2)")
    )
    try:
        with pytest.raises(RegistryError):
            publish(registry, 1, 1, 2, [entry(2, "alpha 2")])
    finally:
        registry.database.run(lambda cursor: cursor.execute("ALTER TABLE device DROP CONSTRAINT broken"))
    assert len(find(registry, "alpha")) == 1
    publish(registry, 1, 1, 2, [entry(2, "alpha 2")])
    assert len(find(registry, "alpha")) == 2


def test_a_long_name_that_grows_when_it_is_folded_is_kept(registry: Registry) -> None:
    """Longer than a row of a B-tree can be, and its words longer than a lexeme."""
    long = "\ufdfa" * 300 + "x" * 100
    join(registry, 1, entry(1, long), entry(2, long + "y"), entry(3, "z"))
    assert names(registry, "x" * 70) == [long, long + "y"]
    assert len(find(registry, by=By.ALL, page=1)) == 3
    assert names(registry, long, By.NAME) == [long]
