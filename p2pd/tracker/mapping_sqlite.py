"""How the SQLite registry reads what was written long ago: through a mapping of its file, so that the cache is for what changes.

The rule: the mapping follows the file as it grows, a quarter at a time; what it does not cover is read as ever. Pages are mapped
for reading only.
"""

from __future__ import annotations

import os
from contextlib import suppress

from p2pd.storage.sqlite import MEMORY, Database

CACHE_KIB = 64 * 1024
LEAST = 2**24  # octets that a file grows before it is mapped anew, if a quarter is less
_SIZES = (
    2**31 - 2**16,
    2**31 - 2**17,
)  # the most that SQLite maps, and less: it maps anew when it is told another size


class Mapping:
    """Of the file of a database. `follow` between transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mapped = 0
        self._turn = 0
        database.query(f"PRAGMA cache_size = -{CACHE_KIB}")
        self.follow()

    def follow(self) -> None:
        """Maps what the file has grown by, if that is much."""
        if self._database.path == MEMORY:
            return
        size = 0
        with suppress(OSError):
            size = os.stat(self._database.path).st_size
        if size >= self._mapped + max(LEAST, self._mapped // 4):
            self._turn ^= 1
            self._database.query(f"PRAGMA mmap_size = {_SIZES[self._turn]}")
            self._mapped = size
