"""All that a registry keeps, read at one moment: what a copy is made from, and what it is compared with afterwards.

The rule: nothing is written, not even a migration; what is changed meanwhile is not seen. A tracker may run.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from p2pd.net.bans import Ban
from p2pd.storage.sqlite import load_migrations
from p2pd.tracker.postgres import Postgres
from p2pd.tracker.registry import Card, RegistryError
from p2pd.tracker.registry_sqlite import APPLICATION_ID
from protocol.display import safe
from protocol.errors import Fault
from protocol.tracker import Entry

PART = 2_000  # entries read at a time
_DEVICES = (
    "SELECT device_id, observed, declared, port, here, epoch, revision, files, id, generation FROM device"
    " ORDER BY device_id"
)
_ENTRIES = (
    "SELECT c.content_id, c.sha256, c.size, n.name, e.added_at, c.files FROM entry e"
    " JOIN content c ON c.id = e.content JOIN name n ON n.id = e.name"
    " WHERE e.device = {0} AND e.generation >= {0}"
)
_BANS = "SELECT subject, until, reason, since FROM ban ORDER BY subject"

Rows = Callable[[str, Sequence[Any]], Iterator[Sequence[Any]]]


@dataclass(frozen=True, slots=True)
class Kept:
    """A device as a registry keeps it. `here`: it had not left. `epoch` is zeros when nothing complete is known of its share."""

    card: Card
    here: bool
    epoch: bytes
    revision: int
    files: int
    row: int = 0
    generation: int = 0


class Reading:
    """A registry at one moment. Raises RegistryError."""

    def __init__(self, rows: Rows, mark: str) -> None:
        self._rows = rows
        self._mark = mark

    def devices(self) -> list[Kept]:
        """All, by device id."""
        return [
            Kept(Card(*row[:4]), bool(row[4]), bytes(row[5]), *row[6:10]) for row in self._rows(_DEVICES, ())
        ]

    def entries(self, device: Kept) -> Iterator[Entry]:
        """What a device shares."""
        for row in self._rows(_ENTRIES.format(self._mark), (device.row, device.generation)):
            yield Entry(*row)

    def bans(self) -> list[Ban]:
        """All, also those that are over."""
        return [Ban(*row) for row in self._rows(_BANS, ())]


@contextmanager
def read_sqlite(path: Path) -> Iterator[Reading]:
    """Raises Fault storage when there is no registry, version when it is of another version of this program."""
    if not path.is_file():
        raise Fault(
            "storage",
            f"there is no registry {safe(str(path))}",
            "it is called tracker.db in the tracker's home",
        )
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, isolation_level=None
        )
        try:
            _check(connection, path)
            connection.execute("BEGIN")

            def rows(sql: str, params: Sequence[Any]) -> Iterator[Sequence[Any]]:
                return connection.execute(sql, params)

            yield Reading(rows, "?")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise RegistryError(f"cannot read {safe(str(path))}: {error}") from error


def _check(connection: sqlite3.Connection, path: Path) -> None:
    shown = safe(str(path))
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise Fault("storage", f"{shown} is no registry of a tracker")
    version, own = (
        connection.execute("PRAGMA user_version").fetchone()[0],
        len(load_migrations("p2pd.tracker")),
    )
    if version != own:
        hint = (
            "run the newer program"
            if version > own
            else "start a tracker of this version on it once, then stop it"
        )
        raise Fault("version", f"{shown} has version {version}, this program reads {own}", hint)


def open_database(address: str) -> Postgres:
    """A database that has a registry of this version already. Raises Fault."""
    migrations = load_migrations("p2pd.tracker", "sql_postgres")
    return Postgres(address, migrations, change=False)


@contextmanager
def read_postgres(database: Postgres) -> Iterator[Reading]:
    """Of a database whose tables are there."""
    with database.snapshot() as connection:

        def rows(sql: str, params: Sequence[Any]) -> Iterator[Sequence[Any]]:
            with connection.cursor(name="reading") as cursor:
                cursor.itersize = PART
                cursor.execute(sql, params)
                yield from cursor

        yield Reading(rows, "%s")
