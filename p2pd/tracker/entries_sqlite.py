"""Entries of the SQLite registry, with the contents, names, labels and index rows they need.

The rule: whoever adds or removes entries does it here, so that each name and content is stored once, is
findable while some entry has it, and is gone with the last. Every function works inside the caller's
transaction; all texts are bound parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sqlite3 import Cursor

from protocol.searching import fold
from protocol.tracker import Entry, Gone


def add(
    cursor: Cursor, device: int, generation: int, entries: Sequence[Entry], has_old: bool
) -> tuple[int, int]:
    """Lists entries of a device in `generation`. Returns how many are new, and how many were there in a lower
    one.

    `has_old`: the device may have such entries. What is in this generation already is left as it is.
    """
    if not entries:
        return 0, 0
    names = _names(cursor, dict.fromkeys(entry.name for entry in entries))
    contents = _contents(cursor, dict.fromkeys(map(_claim, entries)))
    dates = {(contents[_claim(e)], names[e.name]): e.added_at for e in entries}
    raised = 0
    if has_old:
        cursor.executemany(
            "UPDATE entry SET generation = ?, added_at = ?"
            " WHERE content = ? AND name = ? AND device = ? AND generation < ?",
            [(generation, date, *pair, device, generation) for pair, date in dates.items()],
        )
        raised = cursor.rowcount
    cursor.executemany(
        "INSERT OR IGNORE INTO entry (content, name, device, generation, added_at) VALUES (?, ?, ?, ?, ?)",
        [(*pair, device, generation, date) for pair, date in dates.items()],
    )
    new = cursor.rowcount
    if new:
        cursor.executemany("INSERT OR IGNORE INTO label (content, name) VALUES (?, ?)", dates)
    return new, raised


def remove(cursor: Cursor, device: int, generation: int, gone: Iterable[Gone]) -> tuple[int, int]:
    """Deletes entries of a device, whatever size, SHA-256 and number of files it gave them. Returns how many, and how many of
    them were of `generation` or above.
    """
    pairs: dict[tuple[int, int], int] = {}
    for item in gone:
        for content, name, found in cursor.execute(
            "SELECT e.content, e.name, e.generation FROM content c"
            " JOIN name n ON n.folded = ? AND n.name = ?"
            " JOIN entry e ON e.content = c.id AND e.name = n.id AND e.device = ?"
            " WHERE c.content_id = ?",
            (fold(item.name), item.name, device, item.content_id),
        ).fetchall():
            pairs[content, name] = found
    _delete(cursor, device, pairs)
    return len(pairs), sum(found >= generation for found in pairs.values())


def drop(cursor: Cursor, device: int, below: int, limit: int) -> int:
    """Deletes entries of a device in generations under `below`, at most `limit`. Returns how many."""
    pairs = cursor.execute(
        "SELECT content, name FROM entry INDEXED BY entry_device WHERE device = ? AND generation < ? LIMIT ?",
        (device, below, limit),
    ).fetchall()
    _delete(cursor, device, [(content, name) for content, name in pairs])
    return len(pairs)


def _claim(entry: Entry) -> tuple[bytes, bytes, int, int]:
    """What a device says that a content is."""
    return entry.content_id, entry.sha256, entry.size, entry.files


def _names(cursor: Cursor, names: Iterable[str]) -> dict[str, int]:
    rows: dict[str, int] = {}
    new = []
    for name in names:
        folded = fold(name)
        row = cursor.execute("SELECT id FROM name WHERE folded = ? AND name = ?", (folded, name)).fetchone()
        if row is not None:
            rows[name] = row[0]
            continue
        cursor.execute("INSERT INTO name (name, folded) VALUES (?, ?)", (name, folded))
        assert cursor.lastrowid is not None
        rows[name] = cursor.lastrowid
        new.append((rows[name], folded))
    cursor.executemany("INSERT INTO name_trigram (rowid, folded) VALUES (?, ?)", new)
    return rows


def _contents(
    cursor: Cursor, claims: Iterable[tuple[bytes, bytes, int, int]]
) -> dict[tuple[bytes, bytes, int, int], int]:
    rows: dict[tuple[bytes, bytes, int, int], int] = {}
    for claim in claims:
        row = cursor.execute(
            "SELECT id FROM content WHERE content_id = ? AND sha256 = ? AND size = ? AND files = ?", claim
        ).fetchone()
        if row is not None:
            rows[claim] = row[0]
            continue
        cursor.execute("INSERT INTO content (content_id, sha256, size, files) VALUES (?, ?, ?, ?)", claim)
        assert cursor.lastrowid is not None
        rows[claim] = cursor.lastrowid
    return rows


def _delete(cursor: Cursor, device: int, pairs: Iterable[tuple[int, int]]) -> None:
    """Deletes (content, name) entries of a device, then whatever no entry holds any more."""
    pairs = list(pairs)
    cursor.executemany(
        "DELETE FROM entry WHERE content = ? AND name = ? AND device = ?", [(*pair, device) for pair in pairs]
    )
    cursor.executemany(
        "DELETE FROM label WHERE content = ?1 AND name = ?2"
        " AND NOT EXISTS (SELECT 1 FROM entry WHERE content = ?1 AND name = ?2)",
        pairs,
    )
    cursor.executemany(
        "DELETE FROM content WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM entry WHERE content = ?1)",
        [(content,) for content in dict.fromkeys(content for content, _ in pairs)],
    )
    for name in dict.fromkeys(name for _, name in pairs):
        unused = cursor.execute(
            "SELECT folded FROM name WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM label WHERE name = ?1)",
            (name,),
        ).fetchone()
        if unused is not None:
            # an index without a copy of its text must be told what to forget (FTS5, "the delete command")
            cursor.execute(
                "INSERT INTO name_trigram (name_trigram, rowid, folded) VALUES ('delete', ?, ?)",
                (name, unused[0]),
            )
            cursor.execute("DELETE FROM name WHERE id = ?", (name,))
