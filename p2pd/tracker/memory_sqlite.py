"""What the SQLite registry has in memory beside its tables.

The rule: all of it can be made anew from the tables, and after a rollback is.
"""

from __future__ import annotations

from p2pd.storage.sqlite import Database
from p2pd.tracker.crowds_sqlite import Crowds
from p2pd.tracker.eras_sqlite import Hints
from p2pd.tracker.tiers_sqlite import Rises


class Memory:
    """Of the registry in `database`. Reads the keys of all names and contents: a second for a million."""

    def __init__(self, database: Database) -> None:
        self.rises = Rises()
        self.crowds = Crowds(database)
        self.names = Hints()
        self.contents = Hints()
        with database.transaction() as cursor:
            cursor.row_factory = None  # tuples
            for (era,) in cursor.execute("SELECT id FROM era").fetchall():
                names = cursor.execute("SELECT folded FROM name WHERE era = ?", (era,))
                self.names.learn(era, (hash(folded) for (folded,) in names))
                heads = cursor.execute("SELECT id_head FROM content WHERE era = ?", (era,))
                self.contents.learn(era, (head for (head,) in heads))

    def rolled_back(self) -> None:
        """What was noted since the last commit is not so. (Hints may say too much.)"""
        self.rises.forget()
        self.crowds.clear()
