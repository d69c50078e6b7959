"""Bans of a peer, as they survive a restart. Every method is one transaction; any thread may call; times are arguments (Unix seconds)."""

from __future__ import annotations

from typing import NamedTuple

from p2pd.storage.sqlite import Database

HAND, WRONG_DATA = "hand", "wrong_data"


class StoredBan(NamedTuple):
    """`subject`: a device id in base32 or a network in CIDR; `cause`: HAND or WRONG_DATA; `bad`: wrong pieces that it sent."""

    subject: str
    cause: str
    until: float
    reason: str
    since: float
    bad: int = 0


class Bans(Database):
    """The part of State that is about bans."""

    def put_ban(self, ban: StoredBan) -> None:
        """Keeps it, instead of an earlier one of this subject and cause."""
        self.execute("INSERT OR REPLACE INTO ban VALUES (?, ?, ?, ?, ?, ?)", ban)

    def drop_ban(self, subject: str) -> bool:
        """Forgets all of a subject. False when there was none."""
        return self.execute("DELETE FROM ban WHERE subject = ?", (subject,)) > 0

    def bans(self, now: float) -> list[StoredBan]:
        """Those that are not over, by subject."""
        rows = self.query("SELECT * FROM ban WHERE until > ? ORDER BY subject, cause", (now,))
        return [StoredBan(*row) for row in rows]

    def forget_bans(self, before: float) -> int:
        """Removes those that were over at a time; how many."""
        return self.execute("DELETE FROM ban WHERE until <= ?", (before,))
