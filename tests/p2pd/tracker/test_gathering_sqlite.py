"""A lone change is committed at once, a rush of them together; what has to be done before a commit is done once for each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pd.storage.sqlite import Database
from p2pd.tracker import gathering_sqlite
from p2pd.tracker.gathering_sqlite import Gathering

TABLE = "CREATE TABLE item (name TEXT NOT NULL)"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "test.db", [TABLE], 1)
    yield database
    database.close()


def committed(database: Database) -> list[str]:
    other = sqlite3.connect(database.path)
    try:
        return [row[0] for row in other.execute("SELECT name FROM item")]
    finally:
        other.close()


def last(cursor: sqlite3.Cursor) -> None:
    cursor.execute("INSERT INTO item VALUES ('last')")


def put(gathering: Gathering, name: str, now: float, entries: int = 1) -> None:
    with gathering.gather(now, entries) as cursor:
        cursor.execute("INSERT INTO item VALUES (?)", (name,))


def test_a_rush_is_committed_after_a_second(database: Database) -> None:
    gathering = Gathering(database, last, lambda: None)
    put(gathering, "a", 1.0)
    put(gathering, "b", 1.1)
    put(gathering, "c", 1.9)
    assert committed(database) == ["a", "last"]
    put(gathering, "d", 2.0)
    assert committed(database) == ["a", "last", "b", "c", "d", "last"]
    put(gathering, "e", 1.5)  # a clock that was set back
    assert committed(database)[6:] == ["e", "last"]
    gathering.close()


def test_a_rush_is_committed_when_it_grows(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering_sqlite, "GATHER_ENTRIES", 3)
    gathering = Gathering(database, last, lambda: None)
    put(gathering, "a", 1.0)
    put(gathering, "b", 1.1, 2)
    assert committed(database) == ["a", "last"]
    put(gathering, "c", 1.1)
    assert committed(database) == ["a", "last", "b", "c", "last"]
    gathering.close()


def test_what_is_alone_commits_what_was_gathered_and_takes_nothing_with_it(database: Database) -> None:
    gathering = Gathering(database, last, lambda: None)
    put(gathering, "a", 1.0)
    put(gathering, "b", 1.1)
    with pytest.raises(sqlite3.IntegrityError), gathering.alone() as cursor:
        cursor.executemany("INSERT INTO item VALUES (?)", [("refused",), (None,)])
    assert committed(database) == ["a", "last", "b", "last"]
    gathering.settle()
    assert committed(database) == ["a", "last", "b", "last"], "nothing was gathered"
    gathering.close()


def test_the_end_commits(database: Database) -> None:
    gathering = Gathering(database, last, lambda: None)
    put(gathering, "a", 1.0)
    put(gathering, "b", 1.1)
    gathering.close()
    gathering.close()
    assert committed(database) == ["a", "last", "b", "last"]
