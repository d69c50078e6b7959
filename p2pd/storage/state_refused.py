"""Which key which tracker refused, as it survives a restart. Every method is one transaction; any thread may call; times are
arguments (Unix seconds). Knows check values only, never a key."""

from __future__ import annotations

from p2pd.storage.sqlite import Database


class RefusedKeys(Database):
    """The part of State that is about refused keys: one for each tracker, the last."""

    def put_refused_key(self, tracker: str, check: str, now: float) -> None:
        """This tracker has just refused the key with this check value."""
        self.execute("INSERT OR REPLACE INTO refused_key VALUES (?, ?, ?)", (tracker, check, now))

    def key_refused(self, tracker: str, check: str, since: float) -> bool:
        """Whether the last key that it refused is this one, at `since` or later."""
        found = self.query(
            "SELECT 1 FROM refused_key WHERE tracker = ? AND key_check = ? AND refused_at >= ?",
            (tracker, check, since),
        )
        return bool(found)

    def drop_refused_key(self, tracker: str) -> None:
        """It took a key."""
        self.execute("DELETE FROM refused_key WHERE tracker = ?", (tracker,))

    def forget_refused_keys(self, before: float) -> int:
        """Removes those that were refused before a time; how many."""
        return self.execute("DELETE FROM refused_key WHERE refused_at < ?", (before,))
