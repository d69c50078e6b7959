"""Entries and what hangs on them: shared rows are made once and go with the last entry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from p2pd.storage.sqlite import MEMORY, Database, load_migrations
from p2pd.tracker import entries_sqlite
from p2pd.tracker.memory_sqlite import Memory
from protocol.limits import MAX_CLAIMS
from protocol.tracker import Entry, Gone


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database(MEMORY, load_migrations("p2pd.tracker"), 1)
    yield database
    database.close()


def entry(number: int, name: str, date: int = 1) -> Entry:
    return Entry(bytes([number]) * 32, bytes(32), number, name, date)


def table(database: Database, what: str) -> list[tuple[object, ...]]:
    return sorted(tuple(row) for row in database.query(f"SELECT {what}"))


def test_names_and_contents_are_stored_once(database: Database) -> None:
    with database.transaction() as cursor:
        assert entries_sqlite.add(
            cursor,
            1,
            1,
            [entry(1, "Alpha"), entry(2, "Alpha"), entry(1, "b")],
            False,
            Memory(database),
        ) == (3, 0)
        assert entries_sqlite.add(cursor, 2, 1, [entry(1, "Alpha")], False, Memory(database)) == (
            1,
            0,
        )
    assert table(database, "name, folded FROM name") == [("Alpha", "alpha"), ("b", "b")]
    assert len(table(database, "id FROM content")) == 2
    assert len(table(database, "* FROM label")) == 3
    assert len(table(database, "* FROM entry")) == 4
    assert table(database, "rowid FROM name_trigram WHERE name_trigram MATCH '\"lph\"'") == [(1,)]


def test_entries_of_a_lower_generation_are_raised_and_counted(database: Database) -> None:
    with database.transaction() as cursor:
        entries_sqlite.add(cursor, 1, 1, [entry(1, "a", 5), entry(2, "b", 5)], False, Memory(database))
        added = [entry(1, "a", 6), entry(1, "a", 7), entry(3, "c", 7)]
        assert entries_sqlite.add(cursor, 1, 2, added, True, Memory(database)) == (1, 1)
        assert entries_sqlite.add(cursor, 1, 2, [entry(1, "a", 9)], True, Memory(database)) == (0, 0)
        assert entries_sqlite.add(cursor, 1, 2, [], True, Memory(database)) == (0, 0)
    assert table(database, "generation, added_at FROM entry") == [(1, 5), (2, 7), (2, 7)]


def test_removing_says_of_which_generations_they_were(database: Database) -> None:
    with database.transaction() as cursor:
        entries_sqlite.add(cursor, 1, 1, [entry(1, "a"), entry(2, "b")], False, Memory(database))
        entries_sqlite.add(cursor, 1, 2, [entry(3, "c")], True, Memory(database))
        gone = [Gone(bytes([n]) * 32, name) for n, name in ((1, "a"), (3, "c"), (3, "c"), (2, "B"), (9, "a"))]
        memory = Memory(database)
        assert sorted(entries_sqlite.remove(cursor, 1, gone, memory)) == [1, 2]
        assert entries_sqlite.remove(cursor, 2, [Gone(b"\x02" * 32, "b")], memory) == []
    assert table(database, "name FROM name") == [("b",)]


def test_dropping_takes_only_lower_generations_and_only_so_many(database: Database) -> None:
    with database.transaction() as cursor:
        entries_sqlite.add(cursor, 1, 1, [entry(n, f"name {n}") for n in range(5)], False, Memory(database))
        entries_sqlite.add(cursor, 1, 2, [entry(7, "name 7")], True, Memory(database))
        entries_sqlite.add(cursor, 2, 1, [entry(1, "name 1")], False, Memory(database))
        memory = Memory(database)
        assert [entries_sqlite.drop(cursor, 1, 2, 3, memory) for _ in range(3)] == [3, 2, 0]
    assert table(database, "device, generation FROM entry") == [(1, 2), (2, 1)]
    assert table(database, "name FROM name") == [("name 1",), ("name 7",)]
    assert len(table(database, "rowid FROM name_trigram WHERE name_trigram MATCH '\"nam\"'")) == 2


def test_a_name_that_comes_back_gets_a_new_row(database: Database) -> None:
    """Cursors hold rows of names: a row must never mean another name."""
    memory = Memory(database)
    with database.transaction() as cursor:
        entries_sqlite.add(cursor, 1, 1, [entry(1, "alpha")], False, memory)
        entries_sqlite.remove(cursor, 1, [Gone(b"\x01" * 32, "alpha")], memory)
        entries_sqlite.add(cursor, 1, 1, [entry(1, "beta")], False, memory)
    assert table(database, "id, name FROM name") == [(2, "beta")]


def test_what_is_listed_again_and_again_is_looked_up_once_and_forgotten_with_its_rows(
    database: Database,
) -> None:
    memory = Memory(database)
    with database.transaction() as cursor:
        for device in (1, 2, 3):
            entries_sqlite.add(cursor, device, 1, [entry(1, "alpha"), entry(2, "b")], False, memory)
        claim = (b"\x01" * 32, bytes(32), 1, 0)
        assert memory.known_names.find(["alpha", "b"]) == {"alpha": 1, "b": 2}
        assert memory.known_contents.find([claim]) == {claim: 1}
        assert memory.known_contents.holders[1] == 3
        asked: list[str] = []
        database._connection.set_trace_callback(asked.append)
        entries_sqlite.add(cursor, 4, 1, [entry(1, "alpha"), entry(2, "b")], False, memory)
        database._connection.set_trace_callback(None)
        assert not [sql for sql in asked if "JOIN name" in sql or "JOIN content" in sql]
        for device in (1, 2, 3, 4):
            gone = [Gone(b"\x01" * 32, "alpha"), Gone(b"\x02" * 32, "b")]
            assert entries_sqlite.remove(cursor, device, gone, memory) == [1, 1]
        assert not memory.known_names.find(["alpha", "b"])
        assert not memory.known_contents.find([claim])
        entries_sqlite.add(cursor, 1, 1, [entry(1, "alpha")], False, memory)
    assert table(database, "content, name FROM entry") == [(3, 3)]
    assert table(database, "id, holders FROM content") == [(3, 1)]


def test_names_of_all_kinds_are_known_again(database: Database) -> None:
    names = [
        'a "quoted" one',
        "back\\slash \\u0041",
        "漢字 ß ŉ",
        "smile 😀.txt",
        "tab\tand more",
        "'; --",
        "x" * 250,
        "1",
        "1.0",
        "null",
    ]
    entries = [entry(number, name) for number, name in enumerate(names)]
    with database.transaction() as cursor:
        for device in (1, 2, 3):  # with a memory of its own each, so that all of them are looked up
            memory = Memory(database)
            memory.names.learn(1, map(hash, names))
            entries_sqlite.add(cursor, device, 1, entries, False, memory)
        assert len(table(database, "id FROM name")) == len(names)
        gone = [Gone(bytes([number]) * 32, name) for number, name in enumerate(names)]
        assert entries_sqlite.remove(cursor, 2, gone, memory) == [1] * len(names)


def test_contents_that_are_looked_at_together_count_together(database: Database) -> None:
    """An id is what a device says: it may choose many that begin alike."""
    alike = [Entry(bytes(7) + bytes([n]) * 25, bytes(32), 1, f"name {n}", 1) for n in range(9)]
    memory = Memory(database)
    with database.transaction() as cursor:
        assert entries_sqlite.add(cursor, 1, 1, alike[:3], False, memory) == (3, 0)
        assert entries_sqlite.add(cursor, 1, 1, [*alike[3:], entry(7, "b")], False, memory) == (2, 0)
        assert entries_sqlite.add(cursor, 1, 2, alike, True, memory) == (0, 4)
        assert entries_sqlite.add(cursor, 2, 1, alike[4:6], False, memory) == (2, 0)
    assert [name for (name,) in table(database, "name FROM name")] == ["b", *(f"name {n}" for n in range(6))]


def test_what_is_known_by_heart_lets_nobody_claim_more(database: Database) -> None:
    """Claims are passed on from one device to another, so that each is known at the time."""
    claims = [Entry(b"\x01" * 32, bytes(32), size, f"name {size}", 1) for size in range(12)]
    memory = Memory(database)
    with database.transaction() as cursor:
        for claim in claims:
            gone = [Gone(claim.content_id, claim.name)]
            for device in (1, 2, 9):
                entries_sqlite.add(cursor, device, 1, [claim], False, memory)
            for device in (1, 2):
                entries_sqlite.remove(cursor, device, gone, memory)
        entries_sqlite.remove(cursor, 9, [Gone(claims[0].content_id, claims[0].name)], memory)
        for device in (1, 2, 3):
            entries_sqlite.add(cursor, device, 1, claims[:1], False, memory)
        entries_sqlite.add(cursor, 9, 1, [claims[0], *claims[6:9]], False, memory)
    assert table(database, "COUNT(DISTINCT content) FROM entry WHERE device = 9") == [(MAX_CLAIMS,)]


def test_one_that_is_known_by_heart_counts_with_those_that_are_new(database: Database) -> None:
    claims = [Entry(b"\x01" * 32, bytes(32), size, f"name {size}", 1) for size in range(6)]
    memory = Memory(database)
    with database.transaction() as cursor:
        for device in (1, 2):
            entries_sqlite.add(cursor, device, 1, claims[:1], False, memory)
        assert memory.known_contents.holders
        assert entries_sqlite.add(cursor, 9, 1, claims, False, memory) == (MAX_CLAIMS, 0)


def test_dropping_goes_on_where_it_was_and_forgets_that_with_the_device(database: Database) -> None:
    memory = Memory(database)
    with database.transaction() as cursor:
        listed = [entry(n, f"name {n % 3}") for n in range(40)] + [entry(1, f"more {n}") for n in range(9)]
        entries_sqlite.add(cursor, 1, 1, listed, False, memory)
        entries_sqlite.add(cursor, 1, 2, listed[::2], True, memory)
        assert [entries_sqlite.drop(cursor, 1, 2, 7, memory) for _ in range(2)] == [7, 7]
        assert memory.dropped
        # what comes meanwhile is not older
        entries_sqlite.add(cursor, 1, 2, [entry(0, "alpha"), listed[1]], True, memory)
        assert [entries_sqlite.drop(cursor, 1, 2, 7, memory) for _ in range(3)] == [7, 3, 0]
        assert table(database, "MIN(generation) FROM entry") == [(2,)]
        # a device that is gone, comes back, and is gone again
        assert entries_sqlite.drop(cursor, 1, entries_sqlite.EVERY, 7, memory) == 7
        entries_sqlite.add(cursor, 1, 3, listed, True, memory)
        while entries_sqlite.drop(cursor, 1, entries_sqlite.EVERY, 7, memory) == 7:
            pass
    assert table(database, "COUNT(*) FROM entry") == [(0,)]
    assert table(database, "COUNT(*) FROM name") == [(0,)]
