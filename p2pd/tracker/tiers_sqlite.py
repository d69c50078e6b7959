"""How popular names are in the SQLite registry: the words by which those of popular contents are found first.

The rule: a name is in a tier when one of its contents ever had so many holders, and stays there. That is a matter of the order of
work, never of answers, so it may be noted a moment later: names are moved up together, in the order of their rows, because
each change of a row below the last one makes the index write out all that it holds in memory.
"""

from __future__ import annotations

from sqlite3 import Cursor

from protocol.searching import runs

TIERS = (4, 32)
"""A content is in tier n when it has so many holders. The names of popular contents are looked at first when there are too many."""

_MARKS = ("", "\ue001", "\ue002")  # no letter and no digit, so at the beginning of no other word


def marked(word: str, tier: int) -> str:
    """The word by which the names of a tier, and of those above, are found."""
    return _MARKS[tier] + word


def tier_of(holders: int) -> int:
    """Of a content with so many."""
    return sum(holders >= least for least in TIERS)


def words(folded: str, tier: int) -> str:
    """What the index of words is told of a name."""
    found = dict.fromkeys(runs(folded))
    if not tier:  # as nearly all are
        return " ".join(found)
    return " ".join(marked(word, level) for level in range(tier + 1) for word in found)


def unindex(cursor: Cursor, row: int, folded: str, tier: int) -> None:
    """Takes a name out of the index of words."""
    # an index without a copy of its text must be told what to forget (FTS5, "the delete command")
    cursor.execute(
        "INSERT INTO name_word (name_word, rowid, words) VALUES ('delete', ?, ?)", (row, words(folded, tier))
    )


class Rises:
    """Names that are to be moved up."""

    def __init__(self) -> None:
        self._tiers: dict[int, int] = {}

    def note(self, name: int, tier: int) -> None:
        """A name (its row) has a content of this tier."""
        self._tiers[name] = max(tier, self._tiers.get(name, 0))

    def forget(self) -> None:
        """What was noted is not so: it was rolled back."""
        self._tiers.clear()

    def apply(self, cursor: Cursor) -> int:
        """Moves them up, those that are still there and not yet so high. Returns how many."""
        moved = 0
        for name, tier in sorted(self._tiers.items()):
            row = cursor.execute(
                "SELECT folded, tier FROM name WHERE id = ? AND tier < ?", (name, tier)
            ).fetchone()
            if row is not None:
                unindex(cursor, name, row[0], row[1])
                cursor.execute(
                    "INSERT INTO name_word (rowid, words) VALUES (?, ?)", (name, words(row[0], tier))
                )
                cursor.execute("UPDATE name SET tier = ? WHERE id = ?", (tier, name))
                moved += 1
        self._tiers.clear()
        return moved

    def __bool__(self) -> bool:
        return bool(self._tiers)
