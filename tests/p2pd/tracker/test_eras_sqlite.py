"""Names and contents of all eras are found, in order, and stored once; eras are merged when there are many."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.storage.sqlite import MEMORY, load_migrations
from p2pd.tracker import eras_sqlite, search_sqlite
from p2pd.tracker.registry_sqlite import APPLICATION_ID, SqliteRegistry
from protocol.limits import MAX_CLAIMS
from protocol.tracker import By, Gone, Hit
from tests.fakes.registry_contract import device, entry, find, join, publish


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteRegistry]:
    monkeypatch.setattr(eras_sqlite, "SIZE", 2)
    monkeypatch.setattr(search_sqlite, "SPARE", 1)
    registry = SqliteRegistry(MEMORY)
    yield registry
    registry.close()


def eras(registry: SqliteRegistry) -> list[int]:
    return [row[0] for row in registry._database.query("SELECT id FROM era ORDER BY id")]


def count(registry: SqliteRegistry, what: str) -> int:
    return int(registry._database.query(f"SELECT COUNT(*) FROM {what}")[0][0])


def numbers(hits: list[Hit]) -> list[int]:
    return [hit.content_id[0] for hit in hits]


def fill(registry: SqliteRegistry, devices: int) -> None:
    """Three contents of each device, and the names of one and the same in all spellings."""
    for who in range(1, devices + 1):
        join(registry, who, *(entry(who + step, f"{(who * 7 + step) % 50:02} file") for step in (0, 50, 100)))
        publish(registry, who, 3, 4, [entry(250, "spelling" if who % 2 else "Spelling")])


def test_all_eras_are_searched_in_order(registry: SqliteRegistry) -> None:
    fill(registry, 9)
    assert len(eras(registry)) > 5
    for page in (1, 3, 200):
        everything = find(registry, by=By.ALL, page=page)
        assert len(everything) == 28
        names = [hit.names[0].lower() for hit in everything]
        assert names == sorted(names)
    assert numbers(find(registry, "spelling", By.NAME)) == [250]
    assert numbers(find(registry, "05" * 4, By.ID)) == [5]
    assert numbers(find(registry, "fa" * 4, By.SHA256)) == [5]
    assert [hit.sources for hit in find(registry, "spelling")] == [9]
    assert len(registry.holders(b"\xfa" * 32, device(1), 99, 0.0)) == 8
    assert len(registry.members(b"\xfa" * 32, b"", 99, 0.0)) == 9


def test_names_that_fold_to_the_same_are_listed_as_they_came_however_many(registry: SqliteRegistry) -> None:
    spellings = [f"{a}{b}{c}{d}{e}" for a in "aA" for b in "bB" for c in "cC" for d in "dD" for e in "eE"]
    for number, name in enumerate(reversed(spellings), 1):
        join(registry, number, entry(number, name), entry(100 + number, f"{name}s"))
    join(registry, 99, entry(98, "abcd"), entry(99, "b"))
    for page in (1, 2, 30, 200):  # a page may be smaller than what folds to the same
        names = [hit.names[0] for hit in find(registry, by=By.ALL, page=page)]
        plural = [f"{name}s" for name in spellings]
        assert names == ["abcd", *reversed(spellings), *reversed(plural), "b"]


def test_digests_that_begin_alike_come_in_order_from_all_eras(registry: SqliteRegistry) -> None:
    ends = [3, 9, 1, 7, 5, 2, 8, 6, 4]
    for who, end in enumerate(ends, 1):
        one = entry(1, f"name {end}")
        digest = bytes(31) + bytes([end])
        join(registry, who, type(one)(digest, digest, 1, one.name, 1), entry(100 + who, f"other {who}"))
    for by in (By.ID, By.SHA256):
        for page in (1, 2, 200):
            found = [hit.content_id[-1] for hit in find(registry, "00" * 8, by, page=page)]
            # Of hashes only the beginning is in order: who lists many of one beginning has them not sorted for each page.
            assert (found if by is By.ID else sorted(found)) == sorted(ends)


def test_claims_about_a_content_are_counted_in_all_eras(registry: SqliteRegistry) -> None:
    """They are passed on from one device to another, some in each era."""
    for who in (1, 2, 3):
        join(registry, who, entry(10 + who, f"own {who}"))
    for turn in range(8):
        claims = [
            entry(1, f"claim {size}", size=size) for size in range(MAX_CLAIMS * turn, MAX_CLAIMS * (turn + 1))
        ]
        gone = [Gone(one.content_id, one.name) for one in claims]
        for who, revision in ((1, 2 * turn + 1), (2, turn + 1)):
            publish(registry, who, revision, revision + 1, claims)
        publish(registry, 1, 2 * turn + 2, 2 * turn + 3, [], gone)
        others = [entry(50 + turn * 9 + number, f"other {turn} {number}") for number in range(9)]
        publish(registry, 3, turn + 1, turn + 2, others)
    assert len(eras(registry)) > 5
    assert [hit.size for hit in find(registry, "01" * 32, By.ID)] == [0, 1, 2, 3]


def test_what_is_there_is_stored_once_and_removed_from_any_era(registry: SqliteRegistry) -> None:
    fill(registry, 9)
    names, contents = count(registry, "name"), count(registry, "content")
    for who in (10, 11):
        join(registry, who, *(entry(1 + step, f"{(7 + step) % 50:02} file") for step in (0, 50, 100)))
    assert (count(registry, "name"), count(registry, "content")) == (names, contents)
    publish(registry, 10, 3, 4, [], [Gone(b"\x01" * 32, "07 file")])
    assert [hit.sources for hit in find(registry, "01" * 32, By.ID)] == [2]


def test_many_eras_become_few_and_lose_nothing(
    registry: SqliteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(registry, 12)
    before = find(registry, by=By.ALL)
    many = len(eras(registry))
    monkeypatch.setattr(eras_sqlite, "MOST", 3)
    steps = 0
    while registry.sweep(0.0, 0.0, 2):
        steps += 1
        assert find(registry, by=By.ALL, page=5) == before
    assert steps > many
    assert len(eras(registry)) == 3
    assert count(registry, "name WHERE era NOT IN (SELECT id FROM era)") == 0
    names = count(registry, "name")
    fill(registry, 12)
    assert count(registry, "name") == names, "hints that are out of date hide nothing"


def test_a_registry_of_the_version_before_keeps_its_entries(tmp_path: Path) -> None:
    path = tmp_path / "tracker.db"
    migrations = load_migrations("p2pd.tracker")
    old = sqlite3.connect(path)
    for script in migrations[:4]:
        old.executescript(script)
    old.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 4;")
    one, two = entry(1, "Alpha one", 5), entry(2, "beta", 6)
    old.execute(
        "INSERT INTO device VALUES (1, ?, '10.0.0.1', '', 8001, 1, 0, ?, 7, ?, 0, 1, 1, 1, 2, 2, 2)",
        (device(1), b"epoch--1", bytes(8)),
    )
    for row, item in ((1, one), (2, two)):
        heads = [int.from_bytes(digest[:7], "big") for digest in (item.content_id, item.sha256)]
        old.execute(
            "INSERT INTO content VALUES (?, ?, ?, ?, 0, ?, ?, 1, ?)",
            (row, item.content_id, item.sha256, item.size, *heads, item.added_at),
        )
        old.execute("INSERT INTO name VALUES (?, ?, ?, 0)", (row, item.name, item.name.lower()))
        old.execute("INSERT INTO name_trigram (rowid, folded) VALUES (?, ?)", (row, item.name.lower()))
        old.execute("INSERT INTO name_word (rowid, words) VALUES (?, ?)", (row, item.name.lower()))
        old.execute("INSERT INTO label VALUES (?, ?)", (row, row))
        old.execute("INSERT INTO entry VALUES (?, ?, 1, 1, ?)", (row, row, item.added_at))
    old.commit()
    old.close()
    registry = SqliteRegistry(path)
    registry.resume(0.0, 100.0)
    assert [hit.names for hit in find(registry, by=By.ALL)] == [["Alpha one"], ["beta"]]
    join(registry, 2, one, entry(2, "beta", 9), entry(3, "gamma"))
    assert (count(registry, "name"), count(registry, "content")) == (3, 3)
    assert [(hit.sources, hit.added_at) for hit in find(registry, "beta")] == [(2, 9)]
    assert numbers(find(registry, "02" * 32, By.ID)) == [2]
    registry.close()
    assert (tmp_path / "tracker.db.v4.bak").exists()
