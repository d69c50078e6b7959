"""p2pd/tracker/copying.py: a copy is complete, goes on where it was cut short, and takes nothing from the devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from msgspec.structs import replace

from p2pd.net.bans import Ban
from p2pd.tracker import copying, entries_postgres, entries_sqlite
from p2pd.tracker.copying import Progress, clear, compare, copy
from p2pd.tracker.reading import Reading, read_postgres, read_sqlite
from p2pd.tracker.registry import Registry, Share
from p2pd.tracker.registry_postgres import PostgresRegistry
from p2pd.tracker.registry_sqlite import SqliteRegistry
from protocol.errors import Fault
from protocol.limits import MAX_CLAIMS
from protocol.tracker import By, Entry
from tests.fakes.postgres import Server
from tests.fakes.registry_contract import EPOCH, announce, device, entry, find, join, names, publish

Read = Callable[[], AbstractContextManager[Reading]]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[tuple[Registry, Read]]:
    registry = SqliteRegistry(tmp_path / "tracker.db")

    def read() -> AbstractContextManager[Reading]:
        registry.settle()
        return read_sqlite(tmp_path / "tracker.db")

    yield registry, read
    registry.close()


@pytest.fixture
def database(postgres: Server) -> Iterator[tuple[Registry, Read]]:
    registry = PostgresRegistry(postgres.make_database())
    yield registry, lambda: read_postgres(registry.database)
    registry.close()


def fill(registry: Registry) -> None:
    for who in range(4):
        join(registry, who, *(entry(10 * who + number, f"alpha {who} {number}") for number in range(9)))
    publish(registry, 1, 9, 10, [entry(99, "beta", added_at=77)])
    join(registry, 5)
    announce(registry, 6)
    registry.depart(device(3), 1.0)
    registry.ban(Ban("10.0.0.0/8", reason="noise"), 1.0)
    registry.ban(Ban("11.0.0.0/8", until=3.0), 1.0)


def now() -> float:
    return 5.0


def told(source: Read, target: Registry) -> list[Progress]:
    seen: list[Progress] = []
    with source() as reading:
        copy(reading, target, now, seen.append)
    return seen


@pytest.mark.parametrize("way", ["to", "from"])
def test_a_copy_is_complete(
    file: tuple[Registry, Read], database: tuple[Registry, Read], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PART", 4)
    (source, read), (target, read_target) = (file, database) if way == "to" else (database, file)
    fill(source)
    seen = told(read, target)
    assert seen[-1] == Progress(6, 6, 37, 37)
    with read() as reading, read_target() as copied:
        compare(reading, copied, now())
    assert [ban.subject for ban in target.bans(now())] == ["10.0.0.0/8"]
    assert target.totals(now()).files == 28, "device 3 had left"
    assert find(target, "beta", now=now())[0].added_at == 77
    assert announce(target, 3, now=now()) == Share(EPOCH, 9)
    assert announce(target, 1, now=now()) == Share(EPOCH, 10)
    assert len(find(target, by=By.ALL, now=now())) == 37


@pytest.mark.parametrize("way", ["to", "from"])
def test_what_no_registry_keeps_any_more_does_not_make_a_copy_incomplete(
    file: tuple[Registry, Read], database: tuple[Registry, Read], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of claims of a device about one content, or about ids that begin alike, which only one kind of registry counts together."""
    monkeypatch.setattr(copying, "PART", 4)
    (source, read), (target, read_target) = (file, database) if way == "to" else (database, file)
    alike = [Entry(bytes(7) + bytes([n]) * 25, bytes(32), 1, f"alike {n}", 1) for n in range(9)]
    with monkeypatch.context() as before:
        for module in (entries_sqlite, entries_postgres):
            before.setattr(module, "MAX_CLAIMS", 99)
        join(source, 1, *(entry(1, f"size {size}", size=size) for size in range(9)), entry(2, "beta"))
        join(source, 2, *alike, entry(3, "gamma"), replace(alike[0], name="again"))
    assert source.totals(now()).files == 21
    told(read, target)
    with read() as reading, read_target() as copied:
        compare(reading, copied, now())
    assert target.totals(now()).files == 2 * MAX_CLAIMS + 3
    target.forget(device(2), now(), 99)
    with read() as reading, read_target() as copied, pytest.raises(Fault, match="1 devices differ"):
        compare(reading, copied, now())


def test_a_copy_that_was_cut_short_goes_on(
    file: tuple[Registry, Read], database: tuple[Registry, Read], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PART", 4)
    (source, read), (target, read_target) = file, database
    fill(source)

    class Cut(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.files >= 14:
            raise Cut

    with pytest.raises(Cut), read() as reading:
        copy(reading, target, now, stop)
    with read() as reading, read_target() as copied, pytest.raises(Fault, match="not complete"):
        compare(reading, copied, now())
    assert told(read, target)[-1] == Progress(6, 6, 37, 37)
    with read() as reading, read_target() as copied:
        compare(reading, copied, now())
    assert len(names(target, "alpha", now=now())) == 27


def test_what_a_device_told_by_itself_stays(
    file: tuple[Registry, Read], database: tuple[Registry, Read]
) -> None:
    (source, read), (target, read_target) = file, database
    join(source, 1, entry(1, "old"))
    join(target, 1, entry(1, "old"), entry(2, "new"), now=now())
    told(read, target)
    assert names(target, "new", now=now()) == ["new"]
    with read() as reading, read_target() as copied:
        compare(reading, copied, now())


def test_few_revisions_for_many_files(
    file: tuple[Registry, Read], database: tuple[Registry, Read], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PART", 2)
    (source, read), (target, _) = file, database
    announce(source, 1)
    publish(source, 1, 0, 1, [entry(number, f"alpha {number}") for number in range(9)], reset=True)
    told(read, target)
    assert len(names(target, "alpha", now=now())) == 9
    assert announce(target, 1, now=now()) == Share(EPOCH, 1)


def test_a_ban_that_is_missing_is_told(file: tuple[Registry, Read], database: tuple[Registry, Read]) -> None:
    (source, read), (_, read_target) = file, database
    source.ban(Ban("10.0.0.0/8"), 0.0)
    with read() as reading, read_target() as copied, pytest.raises(Fault, match="1 bans are missing"):
        compare(reading, copied, now())


def test_clearing_leaves_nothing(database: tuple[Registry, Read], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "SWEPT", 3)
    registry, read = database
    fill(registry)
    with read() as reading:
        devices = reading.devices()
    clear(registry, devices, now)
    with read() as reading:
        assert reading.devices() == []
    assert isinstance(registry, PostgresRegistry)
    assert registry.database.query("SELECT (SELECT COUNT(*) FROM name), (SELECT COUNT(*) FROM entry)") == [
        (0, 0)
    ]
