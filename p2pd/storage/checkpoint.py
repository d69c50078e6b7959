"""Folds the log of an SQLite database into its file, in a thread and over a connection of its own.

The rule: whoever writes to the database never waits for the disk. SQLite itself would do this work inside a commit, with two syncs, and
whoever asked for that commit would wait. A log that is emptied too slowly (`behind`) is for the writer to fold, who then
waits once: it must not grow for ever. Knows no tables.
"""

from __future__ import annotations

import logging
import sqlite3
import threading

log = logging.getLogger("p2pd.storage")

PAUSE_SECONDS = 1.0  # between two times: what is written again and again is folded once
BEHIND_PAGES = 128 * 1024  # 512 MiB of log


class Checkpointer:
    """For the database at `path`, which is in WAL mode. `nudge` after commits; `close` before the database is closed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._written = threading.Event()
        self._closing = threading.Event()
        self.behind = False
        """True when the log is too long for this thread: the writer should fold it."""
        self._thread = threading.Thread(target=self._run, name="checkpoint", daemon=True)
        self._thread.start()

    def nudge(self) -> None:
        """Something was committed."""
        self._written.set()

    def close(self) -> None:
        """Ends the thread; waits for it."""
        self._closing.set()
        self._written.set()
        self._thread.join()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while True:
            self._written.wait()
            if self._closing.wait(PAUSE_SECONDS):
                break
            self._written.clear()
            try:
                if connection is None:
                    connection = sqlite3.connect(self._path, isolation_level=None)
                _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                self.behind = pages > BEHIND_PAGES
            except (
                sqlite3.Error
            ) as error:  # the writer meets the same trouble and says so; here it is tried again
                log.debug("! the log cannot be folded: %s", error)
        if connection is not None:
            connection.close()
