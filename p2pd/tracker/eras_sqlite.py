"""Eras of the SQLite registry: why its indexes of ids and names do not make a file dearer, however many there are.

The rule: a name or content is in one era, the newest when it came. Indexes begin with the era, so what is new goes into a part of
them that is small, and a batch changes few pages, though ids come in no order. Whoever looks for a row looks into each era (the
table `era` has them all). `Hints` remembers in which one a row may be, so that what is new is not looked for at all. Eras are
merged, a few rows at a time, when there are many.
"""

from __future__ import annotations

from sqlite3 import Cursor

SIZE = 2**14  # rows of an era: its parts of the indexes take 1.3 MB
MOST = 128  # eras; beyond that they are merged


def newest(cursor: Cursor, names: int, contents: int) -> int:
    """The era of rows that are added now; a new one when the last is full. `names`, `contents`: the next rows of these."""
    era, first_name, first_content = cursor.execute(
        "SELECT id, names, contents FROM era ORDER BY id DESC LIMIT 1"
    ).fetchone()
    if names - first_name > SIZE or contents - first_content > SIZE:
        era += 1
        cursor.execute("INSERT INTO era VALUES (?, ?, ?, NULL)", (era, names, contents))
    return int(era)


def merge(cursor: Cursor, limit: int) -> int:
    """Moves at most so many names and contents from one era to another if there are too many eras. Returns how much was done."""
    moving = cursor.execute("SELECT id, target FROM era WHERE target IS NOT NULL").fetchone()
    if moving is None:
        eras = [row[0] for row in cursor.execute("SELECT id FROM era ORDER BY id")]
        if len(eras) <= MOST:
            return 0
        # the smallest go first, so that no row is moved often; the newest is still filling
        sizes = sorted(
            (cursor.execute("SELECT COUNT(*) FROM content WHERE era = ?", (era,)).fetchone()[0], era)
            for era in eras[:-1]
        )
        moving = (sizes[0][1], sizes[1][1])
        cursor.execute("UPDATE era SET target = ? WHERE id = ?", (moving[1], moving[0]))
    era, target = moving
    moved = 0
    for table, column in (("name", "folded"), ("content", "id_head")):
        cursor.execute(
            f"UPDATE {table} SET era = ? WHERE id IN"
            f" (SELECT id FROM {table} WHERE era = ? ORDER BY {column} LIMIT ?)",
            (target, era, limit),
        )
        moved += cursor.rowcount
    if not moved:
        cursor.execute("DELETE FROM era WHERE id = ?", (era,))
    return moved + 1
