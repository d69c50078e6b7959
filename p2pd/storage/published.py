"""What trackers are told, as rows: made public and withdrawn in batches, inside the caller's transaction.

The rule: a (content, name) is public while some share, folder or file of a folder has it, and each change of that has a
number of its own, the revision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from sqlite3 import Cursor
from typing import NamedTuple

from protocol.names import own_name


class Public(NamedTuple):
    """A (content, name) to make public. `files`: 0 for a file, else how many files the folder has."""

    content_id: bytes
    name: str
    sha256: bytes
    size: int
    files: int = 0


def publish(cursor: Cursor, rows: Sequence[Public], now: float) -> None:
    """Makes these public; those that are already stay as they are, and the date of an earlier time stays."""
    fresh = [
        row
        for row in rows
        if not cursor.execute(
            "SELECT 1 FROM published WHERE content_id = ? AND name = ? AND live", (row.content_id, row.name)
        ).fetchone()
    ]
    first = _revisions(cursor, len(fresh))
    cursor.executemany(
        "INSERT INTO published (content_id, name, revision, live, sha256, size, added_at, files)"
        " VALUES (?, ?, ?, 1, ?, ?, ?, ?) ON CONFLICT (content_id, name)"
        " DO UPDATE SET revision = excluded.revision, live = 1 WHERE NOT live",
        [
            (row.content_id, row.name, first + number, row.sha256, row.size, now, row.files)
            for number, row in enumerate(fresh)
        ],
    )


def unpublish(cursor: Cursor, pairs: Iterable[tuple[bytes, str]]) -> None:
    """Withdraws each (content, name) that nothing shared has any more."""
    gone = [
        pair
        for pair in pairs
        if cursor.execute(
            "SELECT 1 FROM published WHERE content_id = ?1 AND name = ?2 AND live"
            " AND NOT EXISTS (SELECT 1 FROM share WHERE content_id = ?1 AND name = ?2 AND state = 'shared')"
            " AND NOT EXISTS (SELECT 1 FROM folder WHERE content_id = ?1 AND name = ?2 AND state = 'shared')"
            " AND NOT EXISTS (SELECT 1 FROM folder f JOIN member m ON m.folder_id = f.folder_id"
            " AND m.path = substr(?2, length(f.name) + 2)"
            " WHERE substr(?2, 1, length(f.name) + 1) = f.name || '/' AND m.content_id = ?1 AND m.live)",
            pair,
        ).fetchone()
    ]
    elsewhere = {pair for content_id in {one for one, _ in gone} for pair in _composed(cursor, content_id)}
    gone = [pair for pair in gone if pair not in elsewhere]
    first = _revisions(cursor, len(gone))
    cursor.executemany(
        "UPDATE published SET live = 0, revision = ? WHERE content_id = ? AND name = ?",
        [(first + number, *pair) for number, pair in enumerate(gone)],
    )


def _composed(cursor: Cursor, content_id: bytes) -> Iterator[tuple[bytes, str]]:
    """Each (content, name) of a live file of a folder whose name is not, letter for letter, its path on disk."""
    rows = cursor.execute(
        "SELECT f.name, m.path FROM member m JOIN folder f USING (folder_id)"
        " WHERE m.content_id = ? AND m.live AND m.path GLOB '*[^ -~]*'",
        (content_id,),
    )
    return ((content_id, f"{folder}/{own_name(path)}") for folder, path in rows)


def _revisions(cursor: Cursor, count: int) -> int:
    """The first of `count` new revisions."""
    row = cursor.execute("UPDATE peer SET revision = revision + ? RETURNING revision", (count,)).fetchone()
    return int(row[0]) - count + 1
