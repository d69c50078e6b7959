"""The SQLite registry keeps the contract, and what is its own: files, failures, nothing left behind."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from p2pd.storage.root import StorageFailed
from p2pd.tracker import gathering_sqlite, tiers_sqlite
from p2pd.tracker.registry import DeviceFull, OutOfStep, Registry, RegistryError
from p2pd.tracker.registry_sqlite import SqliteRegistry
from protocol.tracker import By, Gone
from tests.fakes.registry_contract import Open, RegistryContract, announce, device, entry, find, join, publish
from tests.fakes.registry_contract_finding import FindingContract
from tests.fakes.registry_contract_operating import OperatingContract
from tests.fakes.registry_contract_searching import SearchingContract


@pytest.fixture
def store(tmp_path: Path) -> Open:
    return lambda: SqliteRegistry(
        tmp_path / "tracker.db", max_devices=6, max_files=40, max_files_per_device=10, max_bans=4
    )


class TestSqliteRegistry(RegistryContract):
    """The contract: devices and shares."""


class TestSqliteFinding(FindingContract):
    """The contract: searches and lists."""


class TestSqliteOperating(OperatingContract):
    """The contract: bans, and what is forgotten by hand."""


class TestSqliteSearching(SearchingContract):
    """The contract: what a search by words finds, and in which order."""


@pytest.fixture
def registry(store: Open) -> Iterator[Registry]:
    registry = store()
    yield registry
    registry.close()


def rows(registry: Registry, table: str) -> int:
    assert isinstance(registry, SqliteRegistry)
    return int(registry._database.query(f"SELECT COUNT(*) FROM {table}")[0][0])


def indexed(registry: Registry, word: str) -> int:
    assert isinstance(registry, SqliteRegistry)
    return len(
        registry._database.query("SELECT rowid FROM name_trigram WHERE name_trigram MATCH ?", (f'"{word}"',))
    )


def test_nothing_remains_of_what_nobody_shares(registry: Registry) -> None:
    join(registry, 1, entry(1, "alpha"), entry(1, "alpine"), entry(2, "alpha"))
    join(registry, 2, entry(1, "alpha"))
    assert (rows(registry, "name"), rows(registry, "content"), rows(registry, "label")) == (2, 2, 3)
    assert indexed(registry, "alp") == 2
    publish(registry, 1, 3, 6, [], [Gone(b"\x01" * 32, "alpine"), Gone(b"\x02" * 32, "alpha")])
    assert (rows(registry, "name"), rows(registry, "content"), rows(registry, "label")) == (1, 1, 1)
    assert indexed(registry, "alp") == 1
    while registry.sweep(1000.0, 1000.0, 1):
        pass
    for table in ("device", "entry", "label", "name", "content"):
        assert rows(registry, table) == 0, table
    assert indexed(registry, "alp") == 0


def test_replaced_entries_are_swept(registry: Registry) -> None:
    join(registry, 1, *(entry(number, f"alpha {number}") for number in range(10)))
    join(registry, 1, entry(3, "alpha 3"), entry(50, "alpha 50"))
    assert rows(registry, "entry") == 11
    done = 0
    while count := registry.sweep(0.0, 0.0, 4):
        done += count
    assert done >= 9
    assert rows(registry, "entry") == rows(registry, "name") == rows(registry, "content") == 2
    assert len(find(registry, "alpha")) == 2


def test_counts_survive_a_restart(registry: Registry, store: Open) -> None:
    for who in range(5):
        join(registry, who, *(entry(10 * who + number, f"alpha {who} {number}") for number in range(7)))
    registry.close()
    again = store()
    again.resume(0.0, 100.0)
    assert isinstance(again, SqliteRegistry)
    assert (again._devices, again._entries) == (5, 35)
    assert len(find(again, by=By.ALL, page=10)) == 35
    again.close()


def test_counters_equal_the_tables_after_random_changes(tmp_path: Path) -> None:
    """The invariant behind the bounds: `entries`, `files` and the totals in memory say what the tables hold."""
    registry = SqliteRegistry(tmp_path / "tracker.db")
    rng = random.Random(7)
    now = 0.0
    known: dict[int, tuple[int, set[tuple[int, str]]]] = {}
    for _ in range(400):
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
            registry.sweep(now, now - 10.0, rng.randrange(1, 5))
        for row in registry._database.query("SELECT * FROM device"):
            held = registry._database.query(
                "SELECT COUNT(*), TOTAL(generation >= ?) FROM entry WHERE device = ?",
                (row["generation"], row["id"]),
            )[0]
            assert row["entries"] == held[0]
            if row["revision"]:
                assert row["files"] == held[1]
                assert row["files"] == len(known[row["device_id"][0]][1])
        assert registry._entries == rows(registry, "entry")
        assert registry._devices == rows(registry, "device")
    registry.close()


def test_a_store_that_fails_says_so(registry: Registry) -> None:
    join(registry, 1, entry(1, "alpha"))
    registry.close()
    with pytest.raises(RegistryError):
        announce(registry, 1)
    with pytest.raises(RegistryError):
        publish(registry, 1, 1, 2, [])
    with pytest.raises(RegistryError):
        find(registry, "alpha")
    with pytest.raises(RegistryError):
        registry.depart(device(1), 0.0)
    with pytest.raises(RegistryError):
        registry.sweep(0.0, 0.0, 1)
    with pytest.raises(RegistryError):
        registry.totals(0.0)
    with pytest.raises(RegistryError):
        registry.holders(bytes(32), b"", 1, 0.0)
    with pytest.raises(RegistryError):
        registry.members(b"", b"", 1, 0.0)


def test_a_damaged_file_is_an_error_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "tracker.db"
    registry = SqliteRegistry(path)
    registry.resume(0.0, 100.0)
    join(registry, 1, *(entry(number, f"alpha {number} " + "x" * 200) for number in range(200)))
    registry.close()
    octets = bytearray(path.read_bytes())
    octets[4096:] = random.Random(1).randbytes(len(octets) - 4096)
    path.write_bytes(octets)

    def use() -> None:
        broken = SqliteRegistry(path)
        try:
            find(broken, "alpha")
        finally:
            broken.close()

    with pytest.raises((RegistryError, StorageFailed)):  # while it is used, or already when it is opened
        use()


def test_a_batch_is_applied_whole_or_not_at_all(registry: Registry) -> None:
    """A failure after the entries were written takes them back."""
    assert isinstance(registry, SqliteRegistry)
    join(registry, 1, entry(1, "alpha 1"))
    registry._database.execute(
        "CREATE TRIGGER broken BEFORE UPDATE OF revision ON device BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with pytest.raises(RegistryError):
        publish(registry, 1, 1, 2, [entry(2, "alpha 2")])
    registry._database.execute("DROP TRIGGER broken")
    assert len(find(registry, "alpha")) == 1
    assert registry._entries == 1
    publish(registry, 1, 1, 2, [entry(2, "alpha 2")])
    assert len(find(registry, "alpha")) == 2


def committed(path: Path) -> int:
    """Entries that another connection sees: those that a kill would leave."""
    with closing(sqlite3.connect(path)) as other:
        return int(other.execute("SELECT COUNT(*) FROM entry").fetchone()[0])


def test_a_lone_change_is_committed_at_once_and_a_rush_soon(tmp_path: Path) -> None:
    path = tmp_path / "tracker.db"
    registry = SqliteRegistry(path)
    registry.resume(0.0, 1000.0)
    announce(registry, 1, now=1.0)
    publish(registry, 1, 0, 1, [entry(1, "a")], reset=True, now=2.0)
    assert committed(path) == 1
    for number in range(2, 6):
        publish(registry, 1, number - 1, number, [entry(number, "b")], now=2.1)
    assert len(find(registry, "b", now=2.1)) == 4, "what is not committed is found"
    assert committed(path) == 1
    registry.sweep(2.9, 0.0, 10)
    assert committed(path) == 1
    registry.sweep(3.1, 0.0, 10)
    assert committed(path) == 5
    registry.close()


def test_a_rush_is_committed_when_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering_sqlite, "GATHER_ENTRIES", 3)
    path = tmp_path / "tracker.db"
    registry = SqliteRegistry(path)
    announce(registry, 1)
    publish(registry, 1, 0, 1, [entry(1, "a"), entry(2, "b")], reset=True)
    assert committed(path) == 0
    publish(registry, 1, 1, 2, [entry(3, "a")])
    assert committed(path) == 3
    publish(registry, 1, 2, 3, [entry(4, "a")])
    registry.close()
    assert committed(path) == 4


def test_what_is_refused_takes_nothing_else_with_it(tmp_path: Path) -> None:
    path = tmp_path / "tracker.db"
    registry = SqliteRegistry(path, max_files_per_device=2)
    announce(registry, 1)
    publish(registry, 1, 0, 1, [entry(1, "a")], reset=True)
    with pytest.raises(DeviceFull):
        publish(registry, 1, 1, 2, [entry(2, "b"), entry(3, "c")])
    with pytest.raises(OutOfStep):
        publish(registry, 1, 7, 8, [entry(2, "b")])
    assert len(find(registry, by=By.ALL)) == 1
    registry.close()
    assert committed(path) == 1


def test_popular_names_are_marked_and_forgotten_whole(tmp_path: Path) -> None:
    registry = SqliteRegistry(tmp_path / "tracker.db")
    for who in range(40):
        join(registry, who, entry(1, "alpha one"), entry(who + 2, f"alpha {who}"))
    [popular, *_] = find(registry, "alpha")
    assert (popular.names, popular.sources) == (["alpha one"], 40)
    registry.settle()
    assert registry._database.query("SELECT tier FROM name WHERE name = 'alpha one'")[0][0] == 2
    while registry.sweep(1000.0, 1000.0, 7):
        pass
    for table in ("entry", "label", "name", "content"):
        assert rows(registry, table) == 0
    for table, word in (
        ("name_word", "alpha"),
        ("name_word", tiers_sqlite.marked("alpha", 2)),
        ("name_trigram", "alp"),
    ):
        query = f"SELECT rowid FROM {table} WHERE {table} MATCH ?"
        assert registry._database.query(query, (f'"{word}"',)) == []
    registry.close()
