"""Entries of the SQLite registry, with the contents, names, labels and index rows they need.

The rule: whoever adds or removes entries does it here, so that each name and content is stored once, is
findable while some entry has it, and is gone with the last. Every function works inside the caller's
transaction; all texts are bound parameters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from json import dumps
from sqlite3 import Cursor

from protocol.searching import fold, runs
from protocol.tracker import Entry, Gone

TIERS = (4, 32)
"""A content is in tier n when it has so many holders. The names of popular contents are looked at first when there are too many."""

HEAD = 7
"""Octets of a digest that are a number SQLite has (63 bits) whatever they are."""

_MARKS = ("", "\ue001", "\ue002")  # no letter and no digit, so at the beginning of no other word

Claim = tuple[bytes, bytes, int, int]
"""What a device says that a content is: content id, SHA-256, size, number of files."""


def json_list(rows: Iterable[int]) -> str:
    """Numbers as a bound parameter of json_each."""
    return f"[{','.join(map(str, rows))}]"


def head(digest: bytes) -> int:
    """The number under which a digest is indexed."""
    return int.from_bytes(digest[:HEAD], "big")


def marked(word: str, tier: int) -> str:
    """The word by which the names of a tier, and of those above, are found."""
    return _MARKS[tier] + word


def add(
    cursor: Cursor, device: int, generation: int, entries: Sequence[Entry], has_old: bool
) -> tuple[int, int]:
    """Lists entries of a device in `generation`. Returns how many are new, and how many were there in a lower
    one.

    `has_old`: the device may have such entries. What is in this generation already is left as it is.
    """
    if not entries:
        return 0, 0
    names, news = _names(cursor, entries)
    _index(cursor, news)
    contents, known = _contents(cursor, entries)
    dates = {(contents[e.content_id, e.sha256, e.size, e.files], names[e.name]): e.added_at for e in entries}
    raised = 0
    if has_old:
        cursor.executemany(
            "UPDATE entry SET generation = ?, added_at = ?"
            " WHERE content = ? AND name = ? AND device = ? AND generation < ?",
            [(generation, date, *pair, device, generation) for pair, date in dates.items()],
        )
        raised = cursor.rowcount
    # Most contents are new, and an entry of theirs is: only the others have to be asked whether it is there already.
    fresh = [(content, name, date) for (content, name), date in dates.items() if content not in known]
    found = []
    for (content, name), date in dates.items():
        if content in known:
            cursor.execute(
                "INSERT OR IGNORE INTO entry VALUES (?, ?, ?, ?, ?)",
                (content, name, device, generation, date),
            )
            if cursor.rowcount:
                found.append((content, name, date))
    cursor.executemany(
        "INSERT INTO entry VALUES (?, ?, ?, ?, ?)",
        [(content, name, device, generation, date) for content, name, date in fresh],
    )
    cursor.executemany("INSERT INTO label VALUES (?, ?)", [(name, content) for content, name, _ in fresh])
    cursor.executemany(
        "INSERT OR IGNORE INTO label VALUES (?, ?)", [(name, content) for content, name, _ in found]
    )
    _held(cursor, found, known)
    several = Counter(content for content, _, _ in fresh)
    cursor.executemany(
        "UPDATE content SET holders = ? WHERE id = ?",
        [(count, content) for content, count in several.items() if count > 1],
    )
    return len(fresh) + len(found), raised


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
            " WHERE c.id_head = ? AND c.content_id = ?",
            (fold(item.name), item.name, device, head(item.content_id), item.content_id),
        ).fetchall():
            pairs[content, name] = found
    _delete(cursor, device, list(pairs))
    return len(pairs), sum(found >= generation for found in pairs.values())


def drop(cursor: Cursor, device: int, below: int, limit: int) -> int:
    """Deletes entries of a device in generations under `below`, at most `limit`. Returns how many."""
    pairs = cursor.execute(
        "SELECT content, name FROM entry INDEXED BY entry_device WHERE device = ? AND generation < ? LIMIT ?",
        (device, below, limit),
    ).fetchall()
    _delete(cursor, device, [(content, name) for content, name in pairs])
    return len(pairs)


# -- names ------------------------------------------------------------------------------------------------


def _names(cursor: Cursor, entries: Sequence[Entry]) -> tuple[dict[str, int], list[tuple[int, str]]]:
    """The rows of all names, and (row, folded) of those that are new."""
    folded = {name: fold(name) for name in dict.fromkeys(entry.name for entry in entries)}
    rows: dict[str, int] = {
        name: row
        for row, name in cursor.execute(
            "SELECT n.id, n.name FROM json_each(?) j CROSS JOIN name n ON n.folded = j.value",
            (dumps(list(dict.fromkeys(folded.values()))),),
        ).fetchall()
        if name in folded
    }
    new = [(name, text) for name, text in folded.items() if name not in rows]
    first = _next(cursor, "name")
    rows |= {name: row for row, (name, _) in enumerate(new, first)}
    cursor.executemany(
        "INSERT INTO name VALUES (?, ?, ?, 0)",
        [(row, name, text) for row, (name, text) in enumerate(new, first)],
    )
    return rows, [(rows[name], text) for name, text in new]


def _next(cursor: Cursor, table: str) -> int:
    """The number of the next row of a table that never uses one twice."""
    row = cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 1 if row is None else int(row[0]) + 1


def _index(cursor: Cursor, new: Sequence[tuple[int, str]]) -> None:
    cursor.executemany("INSERT INTO name_trigram (rowid, folded) VALUES (?, ?)", new)
    cursor.executemany(
        "INSERT INTO name_word (rowid, words) VALUES (?, ?)",
        [(row, _words(folded, 0)) for row, folded in new],
    )


def _words(folded: str, tier: int) -> str:
    words = dict.fromkeys(runs(folded))
    if not tier:  # as nearly all are
        return " ".join(words)
    return " ".join(marked(word, level) for level in range(tier + 1) for word in words)


def _unindex_words(cursor: Cursor, row: int, folded: str, tier: int) -> None:
    # an index without a copy of its text must be told what to forget (FTS5, "the delete command")
    cursor.execute(
        "INSERT INTO name_word (name_word, rowid, words) VALUES ('delete', ?, ?)", (row, _words(folded, tier))
    )


# -- contents ---------------------------------------------------------------------------------------------


def _contents(cursor: Cursor, entries: Sequence[Entry]) -> tuple[dict[Claim, int], dict[int, int]]:
    """The rows of all contents; and of those that were there before, their holders."""
    claims = {(one.content_id, one.sha256, one.size, one.files): one.added_at for one in entries}
    heads = json_list({head(content_id) for content_id, *_ in claims})
    rows: dict[Claim, int] = {}
    known: dict[int, int] = {}
    for row, *rest, holders in cursor.execute(
        "SELECT c.id, c.content_id, c.sha256, c.size, c.files, c.holders FROM json_each(?) j"
        " CROSS JOIN content c ON c.id_head = j.value",
        (heads,),
    ).fetchall():
        claim = tuple(rest)
        if claim in claims:
            rows[claim], known[row] = row, holders
    first = _next(cursor, "content")
    new = [claim for claim in claims if claim not in rows]
    cursor.executemany(
        "INSERT INTO content VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?)",
        [
            (row, *claim, head(claim[0]), head(claim[1]), claims[claim])
            for row, claim in enumerate(new, first)
        ],
    )
    rows |= {claim: row for row, claim in enumerate(new, first)}
    return rows, known


def _held(cursor: Cursor, found: Sequence[tuple[int, int, int]], known: dict[int, int]) -> None:
    """Contents that were there got more holders; what becomes popular by that is marked."""
    cursor.executemany(
        "UPDATE content SET holders = holders + 1, newest = max(newest, ?) WHERE id = ?",
        [(date, content) for content, _, date in found],
    )
    for content, more in Counter(content for content, _, _ in found).items():
        before, after = _tier(known[content]), _tier(known[content] + more)
        if before != after:
            _promote(cursor, content, after)
        elif after:
            for name in {name for other, name, _ in found if other == content}:
                _mark(cursor, name, after)


def _tier(holders: int) -> int:
    return sum(holders >= least for least in TIERS)


def _promote(cursor: Cursor, content: int, tier: int) -> None:
    for (name,) in cursor.execute("SELECT DISTINCT name FROM entry WHERE content = ?", (content,)).fetchall():
        _mark(cursor, name, tier)


def _mark(cursor: Cursor, name: int, tier: int) -> None:
    """A name is in a tier, if it is not yet in it or above. It stays there: that is a matter of the order of work, not of answers."""
    row = cursor.execute("SELECT folded, tier FROM name WHERE id = ? AND tier < ?", (name, tier)).fetchone()
    if row is not None:
        _unindex_words(cursor, name, row[0], row[1])
        cursor.execute("INSERT INTO name_word (rowid, words) VALUES (?, ?)", (name, _words(row[0], tier)))
        cursor.execute("UPDATE name SET tier = ? WHERE id = ?", (tier, name))


# -- removing ---------------------------------------------------------------------------------------------


def _delete(cursor: Cursor, device: int, pairs: Sequence[tuple[int, int]]) -> None:
    """Deletes (content, name) entries of a device, then whatever no entry holds any more."""
    cursor.executemany(
        "DELETE FROM entry WHERE content = ? AND name = ? AND device = ?", [(*pair, device) for pair in pairs]
    )
    cursor.executemany(
        "DELETE FROM label WHERE content = ?1 AND name = ?2"
        " AND NOT EXISTS (SELECT 1 FROM entry WHERE content = ?1 AND name = ?2)",
        pairs,
    )
    lost = Counter(content for content, _ in pairs)
    cursor.executemany(
        "UPDATE content SET holders = holders - ? WHERE id = ?",
        [(count, content) for content, count in lost.items()],
    )
    cursor.executemany("DELETE FROM content WHERE id = ? AND holders = 0", [(content,) for content in lost])
    for name in dict.fromkeys(name for _, name in pairs):
        unused = cursor.execute(
            "SELECT folded, tier FROM name WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM label WHERE name = ?1)",
            (name,),
        ).fetchone()
        if unused is not None:
            folded, tier = unused
            cursor.execute(
                "INSERT INTO name_trigram (name_trigram, rowid, folded) VALUES ('delete', ?, ?)",
                (name, folded),
            )
            _unindex_words(cursor, name, folded, tier)
            cursor.execute("DELETE FROM name WHERE id = ?", (name,))
