"""What is in memory is read from the tables at the start, and what was rolled back is not in it."""

from __future__ import annotations

from pathlib import Path

from p2pd.storage.sqlite import MEMORY, Database, load_migrations
from p2pd.tracker.memory_sqlite import Memory
from p2pd.tracker.numbers_sqlite import head
from p2pd.tracker.registry_sqlite import SqliteRegistry
from tests.fakes.registry_contract import entry, join


def test_hints_are_read_at_the_start(tmp_path: Path) -> None:
    registry = SqliteRegistry(tmp_path / "tracker.db")
    join(registry, 1, entry(1, "Alpha"))
    registry.close()
    again = SqliteRegistry(tmp_path / "tracker.db")
    memory = again._memory
    assert (memory.names.ask(hash("alpha")), memory.contents.ask(head(b"\1" * 32))) == (1, 1)
    assert memory.contents.ask(head(b"\2" * 32)) == 0
    again.close()


def test_what_was_rolled_back_is_forgotten() -> None:
    database = Database(MEMORY, load_migrations("p2pd.tracker"), 1)
    memory = Memory(database)
    memory.rises.note(1, 1)
    memory.crowds._crowds[1] = None  # type: ignore[assignment]
    memory.rolled_back()
    assert not memory.rises
    assert not memory.crowds._crowds
    database.close()
