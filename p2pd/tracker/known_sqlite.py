"""Names and contents of the SQLite registry that are listed again and again, so that they need not be looked up each time.

The rule: what is here is what the tables say. Whoever removes rows tells it (`forget`), and after a rollback all of it is gone
(`clear`). Bounded: what was kept first goes first, and comes back when it is looked up again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

K = TypeVar("K")

KEPT = 2**15  # rows: 10 MB of names, 15 of contents; what is popular is a small part of all


class Known(Generic[K]):
    """Rows of one table by what they are, each with a number: how many entries a content has."""

    def __init__(self) -> None:
        self._rows: dict[K, int] = {}
        self._keys: dict[int, K] = {}
        self.holders: dict[int, int] = {}
        """By row."""

    def find(self, keys: Iterable[K]) -> dict[K, int]:
        """The rows of those that are kept."""
        rows = self._rows
        return {key: rows[key] for key in keys if key in rows}

    def keep(self, key: K, row: int, holders: int = 0) -> None:
        """A row was looked up."""
        if len(self._keys) >= KEPT:
            self.forget([next(iter(self._keys))])
        self._rows[key], self._keys[row], self.holders[row] = row, key, holders

    def count(self, row: int, more: int) -> None:
        """So many more entries have this content."""
        if row in self.holders:
            self.holders[row] += more

    def forget(self, rows: Iterable[int]) -> None:
        """These rows are gone, or have another number of entries."""
        for row in rows:
            key = self._keys.pop(row, None)
            if key is not None:
                del self._rows[key], self.holders[row]

    def clear(self) -> None:
        """Anything may have changed."""
        self._rows.clear()
        self._keys.clear()
        self.holders.clear()
