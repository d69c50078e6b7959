"""How much work a registry in SQLite has with something, in steps of SQLite's machine: the same on every machine, unlike time."""

from __future__ import annotations

from collections.abc import Callable

from p2pd.tracker.registry_sqlite import SqliteRegistry


def steps(registry: SqliteRegistry, work: Callable[[], object]) -> int:
    """Tens of instructions that are carried out meanwhile."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    connection = registry._database._connection
    connection.set_progress_handler(tick, 10)
    try:
        work()
    finally:
        connection.set_progress_handler(None, 10)
    return count
