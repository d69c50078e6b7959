"""When the SQLite registry commits: a change that comes alone at once, a rush of them together.

The rule: what may be refused in its middle is alone in its transaction; everything else is gathered for `GATHER_SECONDS` or up to
`GATHER_ENTRIES` (docs/decisions/0013-gathered-commits.md), and no change waits for the disk: the log is folded by a thread of its own.
Knows how to commit, not what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from sqlite3 import Cursor

from p2pd.storage.checkpoint import Checkpointer
from p2pd.storage.root import StorageError
from p2pd.storage.sqlite import MEMORY, Database

GATHER_SECONDS = 1.0
GATHER_ENTRIES = 10_000  # what the full-text indexes hold of so many stays in the caches of a processor


class Gathering:
    """Transactions of a database. `last(cursor)` is done at the end of each gathered one, before its commit, `after()` behind it."""

    def __init__(
        self, database: Database, last: Callable[[Cursor], object], after: Callable[[], object]
    ) -> None:
        self._database = database
        self._last = last
        self._after = after
        self._checkpointer = Checkpointer(database.path) if database.path != MEMORY else None
        self._settled_at = float("-inf")
        self._entries = 0
        self._waiting = False

    @contextmanager
    def alone(self) -> Iterator[Cursor]:
        """A change that may be refused in the middle. Raises as Database.transaction."""
        self.settle()
        with self._database.transaction() as cursor:
            yield cursor

    @contextmanager
    def gather(self, now: float, entries: int = 0) -> Iterator[Cursor]:
        """A change that nothing but the disk can refuse; `entries`: how much it is. Raises as Database.gathered."""
        with self._database.gathered() as cursor:
            yield cursor
        self._waiting = True
        self._entries += entries
        since = now - self._settled_at
        if self._entries >= GATHER_ENTRIES or not 0 <= since < GATHER_SECONDS:
            self.settle()
            self._settled_at = now

    def settle(self) -> None:
        """Commits what was gathered."""
        if not self._waiting:
            return
        self._waiting, self._entries = False, 0
        with self._database.gathered() as cursor:
            self._last(cursor)
        self._database.settle()
        self._after()
        if self._checkpointer is not None:
            if self._checkpointer.behind:
                self._database.query("PRAGMA wal_checkpoint(PASSIVE)")
                self._checkpointer.behind = False
            self._checkpointer.nudge()

    def close(self) -> None:
        """Commits, if the disk lets us, and ends the thread. The database is still open. May be called twice."""
        with suppress(StorageError):  # as after a kill: what was gathered is gone
            self.settle()
        if self._checkpointer is not None:
            self._checkpointer.close()
