"""What the SQLite registry has in memory beside its tables.

The rule: all of it can be made anew from the tables, and after a rollback is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from sqlite3 import Cursor
from typing import Any

from p2pd.storage.sqlite import Database
from p2pd.tracker.crowds_sqlite import Crowds
from p2pd.tracker.hints_sqlite import SLOTS, Hints
from p2pd.tracker.known_sqlite import Known
from p2pd.tracker.tiers_sqlite import Rises
from p2pd.tracker.trigrams_sqlite import Shares

Claim = tuple[bytes, bytes, int, int]
"""What a device says that a content is: content id, SHA-256, size, number of files."""


WORN = SLOTS // 2
"""Keys that hints may have learned before they are made anew."""

_TABLES: dict[str, tuple[str, Callable[[Any], int]]] = {"names": ("name", hash), "contents": ("id_head", int)}


@dataclass(slots=True)
class _Renewal:
    """Hints being made anew: of which table, and up to which row."""

    table: str
    hints: Hints = field(default_factory=Hints)
    row: int = 0


class Memory:
    """Of the registry in `database`. Reads the keys of all names and contents: a second for a million."""

    def __init__(self, database: Database) -> None:
        self.rises = Rises()
        self.crowds = Crowds(database)
        self.shares = Shares(database)
        self.known_names: Known[str] = Known()
        self.known_contents: Known[Claim] = Known()
        self.dropped: dict[tuple[int, int], tuple[int, int]] = {}  # see entries_sqlite.drop
        self.names = Hints()
        self.contents = Hints()
        self._renewal: _Renewal | None = None
        with database.transaction() as cursor:
            cursor.row_factory = None  # tuples
            # as the rows lie in the file: those of an era one after the other, but for what was merged
            for era, rows in groupby(cursor.execute("SELECT era, name FROM name"), itemgetter(0)):
                self.names.learn(era, (hash(name) for _, name in rows), all_there=True)
            for era, rows in groupby(cursor.execute("SELECT era, id_head FROM content"), itemgetter(0)):
                self.contents.learn(era, map(itemgetter(1), rows), all_there=True)

    @property
    def worn(self) -> str:
        """Of which table the hints are full of what is gone; "" when there is none."""
        return next((table for table in _TABLES if getattr(self, table).learned > WORN), "")

    def renew(self, cursor: Cursor, limit: int) -> int:
        """Makes worn hints anew, so many rows at a time. All changes must be committed. Returns how many it looked at, and one at last."""
        at = self._renewal = self._renewal or _Renewal(self.worn)
        column, key = _TABLES[at.table]
        # what comes meanwhile has higher numbers, and is looked at in its turn
        rows = cursor.execute(
            f"SELECT id, era, {column} FROM {at.table[:-1]} WHERE id > ? ORDER BY id LIMIT ?", (at.row, limit)
        ).fetchall()
        for era, group in groupby(rows, itemgetter(1)):
            at.hints.learn(era, (key(row[2]) for row in group), all_there=True)
        if len(rows) < limit:
            setattr(self, at.table, at.hints)
            self._renewal = None
        else:
            at.row = rows[-1][0]
        return len(rows) + 1

    def rolled_back(self) -> None:
        """What was noted since the last commit is not so. (Hints may say too much.)"""
        self.rises.forget()
        self.crowds.clear()
        self.known_names.clear()
        self.known_contents.clear()
        self.dropped = {}
