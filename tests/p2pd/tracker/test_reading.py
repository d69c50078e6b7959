"""p2pd/tracker/reading.py: all that a registry keeps, at one moment, from both kinds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from p2pd.net.bans import Ban
from p2pd.storage.sqlite import Database
from p2pd.tracker.reading import Reading, open_database, read_postgres, read_sqlite
from p2pd.tracker.registry import Registry, RegistryError
from p2pd.tracker.registry_postgres import PostgresRegistry
from p2pd.tracker.registry_sqlite import SqliteRegistry
from protocol.errors import Fault
from tests.fakes.postgres import Server
from tests.fakes.registry_contract import EPOCH, announce, device, entry, join, publish

Read = Callable[[], AbstractContextManager[Reading]]


@pytest.fixture(params=["sqlite", "postgres"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Registry, Read]]:
    """A registry and how to read it."""
    if request.param == "sqlite":
        path = tmp_path / "a b?.db"
        file = SqliteRegistry(path)

        def read() -> AbstractContextManager[Reading]:
            file.settle()
            return read_sqlite(path)

        yield file, read
        file.close()
        return
    server: Server = request.getfixturevalue("postgres")
    registry = PostgresRegistry(server.make_database())
    yield registry, lambda: read_postgres(registry.database)
    registry.close()


def test_all_that_is_kept_is_read(both: tuple[Registry, Read]) -> None:
    registry, read = both
    mine = [entry(1, "dir/été.txt", added_at=7), entry(2, "b", size=2**40 - 1)]
    join(registry, 2, *mine)
    join(registry, 1, entry(1, "gone"))
    registry.depart(device(1), 1.0)
    announce(registry, 3)
    publish(registry, 3, 0, 5, [entry(4, "half")], reset=True, more=True)
    registry.ban(Ban("10.0.0.0/8", 500.0, "noise", 1.0), 0.0)
    with read() as reading:
        devices = reading.devices()
        assert [
            (kept.card.device_id, kept.here, kept.epoch, kept.revision, kept.files) for kept in devices
        ] == [
            (device(1), False, EPOCH, 1, 1),
            (device(2), True, EPOCH, 2, 2),
            (device(3), True, bytes(8), 0, 0),
        ]
        assert (devices[1].card.observed, devices[1].card.port) == ("10.0.0.2", 8001)
        assert sorted(reading.entries(devices[1]), key=lambda item: item.name) == sorted(
            mine, key=lambda item: item.name
        )
        assert reading.bans() == [Ban("10.0.0.0/8", 500.0, "noise", 1.0)]


def test_what_was_replaced_is_not_read(both: tuple[Registry, Read]) -> None:
    registry, read = both
    join(registry, 1, entry(1, "a"), entry(2, "b"))
    publish(registry, 1, 0, 9, [entry(2, "b")], reset=True)
    with read() as reading:
        [kept] = reading.devices()
        assert [item.name for item in reading.entries(kept)] == ["b"]


def test_what_changes_meanwhile_is_not_seen(both: tuple[Registry, Read]) -> None:
    registry, read = both
    join(registry, 1, entry(1, "a"))
    with read() as reading:
        assert len(reading.devices()) == 1
        join(registry, 2, entry(2, "b"))
        publish(registry, 1, 1, 2, [entry(3, "c")])
        [kept] = reading.devices()
        assert [item.name for item in reading.entries(kept)] == ["a"]


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="there is no registry"), read_sqlite(tmp_path / "none.db"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_another_file_is_refused(tmp_path: Path) -> None:
    Database(tmp_path / "other.db", [], 5).close()
    with pytest.raises(Fault, match="is no registry"), read_sqlite(tmp_path / "other.db"):
        pass
    (tmp_path / "text").write_text("no database, but long enough to be looked at" * 50)
    with pytest.raises(RegistryError), read_sqlite(tmp_path / "text"):
        pass


def test_a_file_of_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "tracker.db"
    SqliteRegistry(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(Fault) as caught, read_sqlite(path):
        pass
    assert caught.value.code == "version"
    assert path.read_bytes() == before


def test_a_database_without_a_registry_is_refused_and_left_alone(postgres: Server) -> None:
    address = postgres.make_database()
    for _ in range(2):
        with pytest.raises(Fault, match="has no registry"):
            open_database(address)
    registry = PostgresRegistry(address)
    open_database(address).close()
    registry.database.run(lambda cursor: cursor.execute("INSERT INTO p2pd_schema (version) VALUES (999)"))
    with pytest.raises(Fault) as caught:
        open_database(address)
    assert caught.value.code == "version"
    registry.close()
