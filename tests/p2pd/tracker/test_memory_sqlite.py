"""What is in memory is read from the tables at the start, and what was rolled back is not in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pd.storage.sqlite import MEMORY, Database, load_migrations
from p2pd.tracker import memory_sqlite
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
    assert memory.names.ask({"there": hash("Alpha"), "not": hash("alpha")}) == {"there": 1}
    assert memory.contents.ask({one: head(bytes([one]) * 32) for one in (1, 2)}) == {1: 1}
    again.close()


def test_what_was_rolled_back_is_forgotten() -> None:
    database = Database(MEMORY, load_migrations("p2pd.tracker"), 1)
    memory = Memory(database)
    memory.rises.note(1, 1)
    memory.known_names.keep("a", 1)
    memory.known_contents.keep((b"", b"", 0, 0), 1)
    memory.crowds._crowds[1] = None  # type: ignore[assignment]
    memory.rolled_back()
    assert not memory.rises
    assert not memory.crowds._crowds
    assert not memory.known_names.holders
    assert not memory.known_contents.holders
    database.close()


def test_hints_that_are_full_of_what_is_gone_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_sqlite, "WORN", 50)
    registry = SqliteRegistry(MEMORY)
    memory = registry._memory
    for who in range(60):  # each forgets what it had
        join(registry, 1, entry(who, f"name {who}"))
    join(registry, 2, entry(100, "kept"))
    while registry.sweep(0.0, 0.0, 1):
        join(registry, 3, entry(101, "came meanwhile"))
    assert memory.names.learned < 50
    assert memory.contents.learned < 50
    assert not memory.names.ask({who: hash(f"name {who}") for who in range(59)})
    assert memory.names.ask({name: hash(name) for name in ("name 59", "kept", "came meanwhile")}).keys() == {
        "name 59",
        "kept",
        "came meanwhile",
    }
    heads = {number: head(bytes([number]) * 32) for number in (0, 59, 100, 101)}
    assert memory.contents.ask(heads).keys() == {59, 100, 101}
    registry.close()
