"""p2pd/tracker/entries_postgres.py: what is stored once, and what goes with its last entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from p2pd.tracker import entries_postgres as entries
from p2pd.tracker.postgres import Postgres
from p2pd.tracker.registry_postgres import PostgresRegistry
from protocol.tracker import Gone
from tests.fakes.postgres import Server
from tests.fakes.registry_contract import entry

Do = Callable[[Callable[[Any], Any]], Any]
OLD, NEW = 1, 2


@pytest.fixture(scope="module")
def opened(postgres: Server) -> Iterator[Postgres]:
    registry = PostgresRegistry(postgres.make_database())
    yield registry.database
    registry.close()


@pytest.fixture
def do(opened: Postgres) -> Iterator[Do]:
    """Runs something in a transaction."""
    yield opened.run
    opened.run(lambda cursor: cursor.execute("TRUNCATE content, name, label, entry, loose"))


def count(do: Do) -> tuple[int, ...]:
    """Rows of entry, label, name, content, loose."""
    tables = ("entry", "label", "name", "content", "loose")
    selects = ", ".join(f"(SELECT COUNT(*) FROM {table})" for table in tables)
    found = do(lambda cursor: cursor.execute(f"SELECT {selects}").fetchone())
    return tuple(found)


def test_names_and_contents_are_stored_once(do: Do) -> None:
    shared = [entry(1, "a"), entry(1, "b"), entry(2, "a"), entry(2, "a")]
    assert do(lambda cursor: entries.add(cursor, 7, NEW, shared, False)) == (3, 0)
    assert do(lambda cursor: entries.add(cursor, 8, NEW, shared[:1], False)) == (1, 0)
    assert count(do) == (4, 3, 2, 2, 0)


def test_nothing_to_add_is_nothing(do: Do) -> None:
    assert do(lambda cursor: entries.add(cursor, 7, NEW, [], True)) == (0, 0)
    assert do(lambda cursor: entries.remove(cursor, 7, NEW, [])) == (0, 0)


def test_what_is_in_an_older_generation_is_raised_and_what_is_in_this_one_left(do: Do) -> None:
    do(lambda cursor: entries.add(cursor, 7, OLD, [entry(1, "a", added_at=3), entry(2, "b")], False))
    again = [entry(1, "a", added_at=5), entry(3, "c")]
    assert do(lambda cursor: entries.add(cursor, 7, NEW, again, True)) == (1, 1)
    assert do(lambda cursor: entries.add(cursor, 7, NEW, again, True)) == (0, 0)
    rows = do(
        lambda cursor: cursor.execute("SELECT generation, added_at FROM entry ORDER BY 1, 2").fetchall()
    )
    assert rows == [(OLD, 1), (NEW, 1), (NEW, 5)]


def test_what_is_removed_is_counted_and_noted(do: Do) -> None:
    do(lambda cursor: entries.add(cursor, 7, OLD, [entry(1, "a"), entry(2, "b")], False))
    do(lambda cursor: entries.add(cursor, 7, NEW, [entry(3, "c"), entry(1, "a", size=9)], False))
    gone = [
        Gone(b"\x01" * 32, "a"),
        Gone(b"\x03" * 32, "c"),
        Gone(b"\x03" * 32, "a"),
        Gone(b"\x09" * 32, "b"),
    ]
    assert do(lambda cursor: entries.remove(cursor, 8, NEW, gone)) == (0, 0)
    assert do(lambda cursor: entries.remove(cursor, 7, NEW, gone)) == (3, 2)
    assert count(do) == (1, 4, 3, 4, 3)
    assert do(lambda cursor: entries.clean_loose(cursor, 2)) == 2
    assert do(lambda cursor: entries.clean_loose(cursor, 2)) == 1
    assert do(lambda cursor: entries.clean_loose(cursor, 2)) == 0
    assert count(do) == (1, 1, 1, 1, 0)


def test_what_somebody_else_has_stays(do: Do) -> None:
    do(lambda cursor: entries.add(cursor, 7, OLD, [entry(1, "a"), entry(2, "a"), entry(2, "b")], False))
    do(lambda cursor: entries.add(cursor, 8, OLD, [entry(2, "a")], False))
    assert do(lambda cursor: entries.drop(cursor, 7, NEW, 2)) == 2
    assert do(lambda cursor: entries.drop(cursor, 7, OLD, 9)) == 0
    assert do(lambda cursor: entries.drop(cursor, 7, NEW, 9)) == 1
    assert count(do) == (1, 1, 1, 1, 0)


def test_names_of_contents_that_many_have_are_marked(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "POPULAR", (2, 3))
    for device in range(4):
        shared = [entry(1, "a"), entry(10 + device, f"own {device}")]
        do(lambda cursor, device=device, shared=shared: entries.add(cursor, device, NEW, shared, False))
    rows = do(lambda cursor: cursor.execute("SELECT name, tier FROM name WHERE tier > 0").fetchall())
    assert rows == [("a", 2)]
