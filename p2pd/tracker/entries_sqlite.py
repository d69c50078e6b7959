"""Entries of the SQLite registry, with the contents, names, labels and index rows they need.

The rule: whoever adds or removes entries does it here, so that each name and content is stored once, is
findable while some entry has it, and is gone with the last. Every function works inside the caller's
transaction; all texts are bound parameters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from json import dumps
from sqlite3 import Cursor

from p2pd.tracker import eras_sqlite
from p2pd.tracker.hints_sqlite import ANY
from p2pd.tracker.memory_sqlite import Claim, Memory
from p2pd.tracker.numbers_sqlite import head
from p2pd.tracker.tiers_sqlite import tier_of, unindex, words
from protocol.limits import MAX_CLAIMS
from protocol.searching import fold
from protocol.tracker import Entry, Gone

EVERY = 2**62  # above all generations


def add(
    cursor: Cursor,
    device: int,
    generation: int,
    entries: Sequence[Entry],
    has_old: bool,
    memory: Memory,
) -> tuple[int, int]:
    """Lists entries of a device in `generation`. Returns how many are new, and how many were there in a lower
    one.

    `has_old`: the device has entries of other generations. What is in this generation already is left as it is. `memory` learns of all.
    Claims about one content beyond protocol.limits.MAX_CLAIMS of a device are left out, with their entries.
    """
    if not entries:
        return 0, 0
    first_name, first_content = _next(cursor, "name"), _next(cursor, "content")
    era = eras_sqlite.newest(cursor, first_name, first_content)
    contents, known, surplus = _contents(cursor, device, entries, era, first_content, memory)
    if surplus:
        entries = [e for e in entries if (e.content_id, e.sha256, e.size, e.files) in contents]
        if not entries:
            return 0, 0
    names, news = _names(cursor, entries, era, first_name, memory)
    _index(cursor, news)
    dates = {(contents[e.content_id, e.sha256, e.size, e.files], names[e.name]): e.added_at for e in entries}
    raised = 0
    if has_old:
        cursor.executemany(
            "UPDATE entry SET generation = ?, added_at = ?"
            " WHERE content = ? AND name = ? AND device = ? AND generation < ?",
            [(generation, date, *pair, device, generation) for pair, date in dates.items()],
        )
        raised = cursor.rowcount
        memory.crowds.forget(known)
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
    for content, name, date in found:
        memory.crowds.listed(content, name, device, date)
    _held(cursor, found, known, memory)
    several = Counter(content for content, _, _ in fresh)
    cursor.executemany(
        "UPDATE content SET holders = ? WHERE id = ?",
        [(count, content) for content, count in several.items() if count > 1],
    )
    return len(fresh) + len(found), raised


def remove(cursor: Cursor, device: int, gone: Sequence[Gone], memory: Memory) -> list[int]:
    """Deletes entries of a device, whatever size, SHA-256 and number of files it gave them. Returns their generations."""
    if not gone:
        return []
    pairs: dict[tuple[int, int], int] = {}
    names = _listed(cursor, {item.name: fold(item.name) for item in gone}, memory)
    for item in gone:
        if item.name in names:
            # a device may have made several claims about a content, in whatever eras: they are all meant
            found = cursor.execute(
                "SELECT e.content, e.name, e.generation FROM era r CROSS JOIN content c ON c.era = r.id AND c.id_head = ?"
                " CROSS JOIN entry e ON e.content = c.id AND e.name = ? AND e.device = ? WHERE c.content_id = ?",
                (head(item.content_id), names[item.name], device, item.content_id),
            )
            pairs |= {(content, name): generation for content, name, generation in found}
    _delete(cursor, device, list(pairs), memory)
    return list(pairs.values())


def drop(cursor: Cursor, device: int, below: int, limit: int, memory: Memory) -> int:
    """Deletes entries of a device in generations under `below`, at most `limit`. Returns how many; fewer: there are no more.

    It goes on where it was with the same device and generation, for most entries may be newer ones: none comes that is older.
    """
    after = memory.dropped.get((device, below), (0, 0))
    pairs = cursor.execute(
        "SELECT * FROM (SELECT content, name FROM entry INDEXED BY entry_device WHERE device = ?1 AND content = ?3 AND name > ?4"
        " AND generation < ?2 ORDER BY name LIMIT ?5) UNION ALL SELECT * FROM (SELECT content, name FROM entry INDEXED BY entry_device"
        " WHERE device = ?1 AND content > ?3 AND generation < ?2 ORDER BY content, name LIMIT ?5) LIMIT ?5",
        (device, below, *after, limit),
    ).fetchall()
    pairs = [(content, name) for content, name in pairs]
    _delete(cursor, device, pairs, memory)
    # of a device that is gone all goes, also what it lists when it comes back meanwhile
    memory.dropped = {(device, below): pairs[-1]} if len(pairs) == limit and below != EVERY else {}
    return len(pairs)


# -- names ------------------------------------------------------------------------------------------------


def _names(
    cursor: Cursor, entries: Sequence[Entry], era: int, first: int, memory: Memory
) -> tuple[dict[str, int], list[tuple[int, str]]]:
    """The rows of all names, and (row, folded) of those that are new."""
    folded = {name: fold(name) for name in dict.fromkeys(entry.name for entry in entries)}
    rows = _listed(cursor, folded, memory)
    new = [(name, text) for name, text in folded.items() if name not in rows]
    rows |= {name: row for row, (name, _) in enumerate(new, first)}
    cursor.executemany(
        "INSERT INTO name VALUES (?, ?, ?, 0, ?)",
        [(row, name, text, era) for row, (name, text) in enumerate(new, first)],
    )
    memory.names.learn(era, (hash(name) for name, _ in new))
    return rows, [(rows[name], text) for name, text in new]


def _listed(cursor: Cursor, folded: Mapping[str, str], memory: Memory) -> dict[str, int]:
    """The rows of those names (each with its folded form) that are there."""
    rows = memory.known_names.find(folded)
    places = memory.names.ask({name: hash(name) for name in folded if name not in rows})

    def look(sql: str, where: object) -> None:
        for row, name in cursor.execute(sql, (dumps(where),)).fetchall():
            if name in places:
                rows[name] = row
                memory.known_names.keep(name, row)

    if some := {folded[name]: place for name, place in places.items() if place != ANY}:
        look(
            "SELECT n.id, n.name FROM json_each(?) j CROSS JOIN name n ON n.era = j.value AND n.folded = j.key",
            some,
        )
    if more := {folded[name] for name in places if name not in rows}:
        look(
            "SELECT n.id, n.name FROM json_each(?) j CROSS JOIN era r"
            " CROSS JOIN name n ON n.era = r.id AND n.folded = j.value",
            list(more),
        )
    return rows


def _next(cursor: Cursor, table: str) -> int:
    """The number of the next row of a table that never uses one twice."""
    row = cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 1 if row is None else int(row[0]) + 1


def _index(cursor: Cursor, new: Sequence[tuple[int, str]]) -> None:
    cursor.executemany("INSERT INTO name_trigram (rowid, folded) VALUES (?, ?)", new)
    cursor.executemany(
        "INSERT INTO name_word (rowid, words) VALUES (?, ?)",
        [(row, words(folded, 0)) for row, folded in new],
    )


# -- contents ---------------------------------------------------------------------------------------------


def _contents(
    cursor: Cursor, device: int, entries: Sequence[Entry], era: int, first: int, memory: Memory
) -> tuple[dict[Claim, int], dict[int, int], bool]:
    """The rows of all contents; of those that were there before, their holders; and whether some were left out, which were too many."""
    claims = {(one.content_id, one.sha256, one.size, one.files): one.added_at for one in entries}
    rows = memory.known_contents.find(claims)
    known = {row: memory.known_contents.holders[row] for row in rows.values()}
    heads = {claim: head(claim[0]) for claim in claims if claim not in rows}
    places = memory.contents.ask(heads)
    met: dict[int, tuple[Claim, int, int]] = {}

    def look(sql: str, where: object) -> None:
        for row, content_id, sha256, size, files, holders in cursor.execute(sql, (dumps(where),)).fetchall():
            claim = (content_id, sha256, size, files)
            met[row] = claim, head(content_id), holders
            if claim in places:
                rows[claim], known[row] = row, holders

    columns = "c.id, c.content_id, c.sha256, c.size, c.files, c.holders"
    if some := {heads[claim]: place for claim, place in places.items() if place != ANY}:
        look(
            f"SELECT {columns} FROM json_each(?) j CROSS JOIN content c"
            " ON c.era = j.value AND c.id_head = CAST(j.key AS INTEGER)",
            some,
        )
    if more := {heads[claim] for claim in places if claim not in rows}:
        look(
            f"SELECT {columns} FROM json_each(?) j CROSS JOIN era r"
            " CROSS JOIN content c ON c.era = r.id AND c.id_head = j.value",
            list(more),
        )
    new = [claim for claim in claims if claim not in rows]
    count = Counter(key for _, key, _ in met.values())
    count.update(heads[claim] for claim in new)
    surplus: set[Claim] = set()
    if max(count.values(), default=0) > MAX_CLAIMS:
        many = {claim: key for claim in claims if count[key := head(claim[0])] > MAX_CLAIMS}
        surplus = _surplus(cursor, device, many, rows)
        for claim in surplus & rows.keys():
            del known[rows.pop(claim)]
        new = [claim for claim in new if claim not in surplus]
    for row, (claim, key, holders) in met.items():
        if (
            count[key] > 1
        ):  # whoever lists one of several claims has to be looked at, whichever eras they are in
            memory.known_contents.forget([row])
        elif claim in places:
            memory.known_contents.keep(claim, row, holders)
    cursor.executemany(
        "INSERT INTO content VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?)",
        [
            (row, *claim, heads[claim], head(claim[1]), claims[claim], era)
            for row, claim in enumerate(new, first)
        ],
    )
    memory.contents.learn(era, (heads[claim] for claim in new))
    memory.contents.scatter({heads[claim] for claim in new if count[heads[claim]] > 1})
    rows |= {claim: row for row, claim in enumerate(new, first)}
    return rows, known, bool(surplus)


def _surplus(
    cursor: Cursor, device: int, heads: Mapping[Claim, int], rows: Mapping[Claim, int]
) -> set[Claim]:
    """Those claims, each with its head, that a device may not make any more. `rows`: of those that are there already.

    Counted for heads, not for ids: contents whose heads are equal are looked at together.
    """
    beyond = set()
    listed: dict[int, set[object]] = {}
    for claim, key in heads.items():
        if key not in listed:
            mine = cursor.execute(
                "SELECT c.id FROM era r CROSS JOIN content c ON c.era = r.id AND c.id_head = ? WHERE EXISTS"
                " (SELECT 1 FROM entry e INDEXED BY entry_device WHERE e.device = ? AND e.content = c.id)",
                (key, device),
            )
            listed[key] = {row for (row,) in mine}
        if len(listed[key]) < MAX_CLAIMS:
            listed[key].add(rows.get(claim, claim))
        elif rows.get(claim) not in listed[key]:
            beyond.add(claim)
    return beyond


def _held(
    cursor: Cursor, found: Sequence[tuple[int, int, int]], known: Mapping[int, int], memory: Memory
) -> None:
    """Contents that were there got more holders; what becomes popular by that is noted."""
    cursor.executemany(
        "UPDATE content SET holders = holders + 1, newest = max(newest, ?) WHERE id = ?",
        [(date, content) for content, _, date in found],
    )
    for content, more in Counter(content for content, _, _ in found).items():
        memory.known_contents.count(content, more)
        before, after = tier_of(known[content]), tier_of(known[content] + more)
        if before != after:
            for (name,) in cursor.execute("SELECT DISTINCT name FROM entry WHERE content = ?", (content,)):
                memory.rises.note(name, after)
    for content, name, _ in found:
        if tier := tier_of(known[content]):
            memory.rises.note(name, tier)


# -- removing ---------------------------------------------------------------------------------------------


def _delete(cursor: Cursor, device: int, pairs: Sequence[tuple[int, int]], memory: Memory) -> None:
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
    memory.crowds.forget(lost)
    memory.known_contents.forget(lost)
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
            unindex(cursor, name, folded, tier)
            cursor.execute("DELETE FROM name WHERE id = ?", (name,))
            memory.known_names.forget([name])
