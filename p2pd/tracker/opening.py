"""Which registry a tracker uses: a file of its own, or a database that it shares with other trackers.

The rule: the only place that knows both kinds. What a registry in PostgreSQL needs is imported when one is opened.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from p2pd.tracker.dsn import is_address, shown
from p2pd.tracker.fetching import Fetchers, Parts
from p2pd.tracker.registry import Registry
from p2pd.tracker.registry_sqlite import SqliteRegistry
from protocol.limits import MAX_FILES_PER_DEVICE

FILE = "tracker.db"


@dataclass(frozen=True, slots=True)
class Store:
    """An open registry, and how it is to be used."""

    registry: Registry
    fetchers: Parts
    now: Callable[[], float]
    """The clock of its leases, Unix seconds."""
    shared: bool
    """Other trackers use it too, any thread may call it, and it may take its time."""
    where: str
    trouble: Callable[[], str]
    """Why it cannot be used now; "" when it can. From any thread."""


def open_store(where: str, home: Path, max_files_per_device: int = MAX_FILES_PER_DEVICE) -> Store:
    """The registry at a PostgreSQL URL or a path ("": tracker.db in the home). Raises Fault and RegistryError."""
    if is_address(where):
        from p2pd.tracker.registry_postgres import PostgresRegistry
        from p2pd.tracker.shared_postgres import SharedFetchers

        registry = PostgresRegistry(where, max_files_per_device=max_files_per_device)
        database = registry.database
        fetchers = SharedFetchers(database)
        return Store(registry, fetchers, registry.now, True, shown(where), lambda: database.trouble)
    path = Path(where) if where else home / FILE
    file = SqliteRegistry(path, max_files_per_device=max_files_per_device)
    return Store(file, Fetchers(), time.time, False, os.fspath(path), lambda: "")
