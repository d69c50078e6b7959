"""Entries of the PostgreSQL registry, with the contents, names and labels they need.

The rule: `add` and `remove` run while their caller holds the row of the device and the lock "contents" with others; `clean` while
its caller holds that lock alone. So no name or content vanishes while an entry for it is being made. Rows that several
trackers may make at the same time are made in one order, that of their keys, so that nobody waits in a circle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

from p2pd.tracker.candidates_postgres import lexemes
from p2pd.tracker.postgres import Cursor
from protocol.limits import MAX_CLAIMS
from protocol.searching import fold
from protocol.tracker import Entry, Gone

Claim = tuple[bytes, bytes, int, int]
"""What a device says that a content is: content id, SHA-256, size, files."""

POPULAR = (4, 32)  # entries of a content that make its names rank among the first
_CLAIMS = "unnest(%s::bytea[], %s::bytea[], %s::bigint[], %s::bigint[])"
_PAIRS = "unnest(%s::bigint[], %s::bigint[])"


def add(
    cursor: Cursor, device: int, generation: int, entries: Sequence[Entry], has_old: bool
) -> tuple[int, int]:
    """See entries_sqlite.add."""
    if not entries:
        return 0, 0
    contents, known = _contents(cursor, device, sorted({_claim(entry) for entry in entries}))
    entries = [entry for entry in entries if _claim(entry) in contents]
    if not entries:
        return 0, 0
    names = _names(cursor, sorted({entry.name for entry in entries}))
    dates = {(names[e.name], contents[_claim(e)]): e.added_at for e in entries}
    rows = sorted((name, content, date) for (name, content), date in dates.items())
    columns = [list(column) for column in zip(*rows, strict=True)]
    raised = 0
    if has_old:
        cursor.execute(
            "UPDATE entry e SET generation = %s, added_at = n.added_at"
            " FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS n (name, content, added_at)"
            " WHERE e.content = n.content AND e.name = n.name AND e.device = %s AND e.generation < %s",
            (generation, *columns, device, generation),
        )
        raised = cursor.rowcount
    cursor.execute(
        "INSERT INTO entry (content, name, device, generation, added_at)"
        " SELECT n.content, n.name, %s, %s, n.added_at"
        " FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS n (name, content, added_at)"
        " ON CONFLICT DO NOTHING",
        (device, generation, *columns),
    )
    new = cursor.rowcount
    if new:
        cursor.execute(
            f"INSERT INTO label (name, content) SELECT * FROM {_PAIRS} AS n (name, content)"
            " ORDER BY 1, 2 ON CONFLICT DO NOTHING",
            columns[:2],
        )
        popular = [(name, content) for name, content, _ in rows if content in known]
        if popular:
            _raise_tiers(cursor, popular)
    return new, raised


def remove(cursor: Cursor, device: int, generation: int, gone: Sequence[Gone]) -> tuple[int, int]:
    """See entries_sqlite.remove. What they leave behind is noted for the sweep."""
    if not gone:
        return 0, 0
    rows = cursor.execute(
        "DELETE FROM entry e USING unnest(%s::bytea[], %s::bytea[]) AS g (content_id, digest),"
        " content c, name n WHERE c.content_id = g.content_id AND n.digest = g.digest"
        " AND e.content = c.id AND e.name = n.id AND e.device = %s"
        " RETURNING e.content, e.name, e.generation",
        ([item.content_id for item in gone], [digest(item.name) for item in gone], device),
    ).fetchall()
    if rows:
        cursor.execute(
            f"INSERT INTO loose (content, name) SELECT * FROM {_PAIRS}",
            ([content for content, _, _ in rows], [name for _, name, _ in rows]),
        )
    return len(rows), sum(found >= generation for _, _, found in rows)


def drop(cursor: Cursor, device: int, below: int, limit: int) -> int:
    """Deletes entries of a device in generations under `below`, at most `limit`, and what they leave behind. Returns how many."""
    rows = cursor.execute(
        "DELETE FROM entry WHERE ctid = ANY (ARRAY("
        "SELECT ctid FROM entry WHERE device = %s AND generation < %s LIMIT %s)) RETURNING content, name",
        (device, below, limit),
    ).fetchall()
    clean(cursor, rows)
    return len(rows)


def clean_loose(cursor: Cursor, limit: int) -> int:
    """Does for at most `limit` removed entries what `remove` left to do. Returns how many."""
    rows = cursor.execute(
        "DELETE FROM loose WHERE id IN (SELECT id FROM loose ORDER BY id LIMIT %s) RETURNING content, name",
        (limit,),
    ).fetchall()
    clean(cursor, rows)
    return len(rows)


def clean(cursor: Cursor, pairs: Iterable[tuple[int, int]]) -> None:
    """Deletes labels, contents and names of (content, name) pairs that no entry holds any more."""
    pairs = list(pairs)
    if not pairs:
        return
    contents, names = [content for content, _ in pairs], [name for _, name in pairs]
    cursor.execute(
        f"DELETE FROM label l USING {_PAIRS} AS p (content, name)"
        " WHERE l.content = p.content AND l.name = p.name"
        " AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.content = p.content AND e.name = p.name)",
        (contents, names),
    )
    cursor.execute(
        "DELETE FROM content c WHERE c.id = ANY (%s)"
        " AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.content = c.id)",
        (list(set(contents)),),
    )
    cursor.execute(
        "DELETE FROM name n WHERE n.id = ANY (%s) AND NOT EXISTS (SELECT 1 FROM label l WHERE l.name = n.id)",
        (list(set(names)),),
    )


def digest(name: str) -> bytes:
    """What a name is found by."""
    return blake2b(name.encode("utf-8"), digest_size=16).digest()


def _claim(entry: Entry) -> Claim:
    return entry.content_id, entry.sha256, entry.size, entry.files


def _names(cursor: Cursor, names: Sequence[str]) -> dict[str, int]:
    rows = _find_names(cursor, names)
    missing = sorted(_row(name) for name in names if name not in rows)
    if missing:
        made = cursor.execute(
            "INSERT INTO name (digest, name, folded, words) SELECT digest, name, folded, words::tsvector"
            " FROM unnest(%s::bytea[], %s::text[], %s::text[], %s::text[]) AS n (digest, name, folded, words)"
            " ORDER BY 1 ON CONFLICT DO NOTHING RETURNING name, id",
            [list(column) for column in zip(*missing, strict=True)],
        ).fetchall()
        rows.update(made)
        if len(made) < len(missing):  # another tracker made them in this moment
            rows.update(_find_names(cursor, [name for name in names if name not in rows]))
    return rows


def _row(name: str) -> tuple[bytes, str, str, str]:
    folded = fold(name)
    return digest(name), name, folded, " ".join(f"'{lexeme}'" for lexeme in lexemes(folded))


def _find_names(cursor: Cursor, names: Iterable[str]) -> dict[str, int]:
    return dict(
        cursor.execute(
            "SELECT name, id FROM name WHERE digest = ANY (%s)", ([digest(name) for name in names],)
        ).fetchall()
    )


def _raise_tiers(cursor: Cursor, pairs: Sequence[tuple[int, int]]) -> None:
    """Notes with these names how many entries their contents have, up to where it makes a difference."""
    names, contents = zip(*pairs, strict=True)
    # Each content is counted once, along an index and only so far: one may have a hundred thousand names.
    rows = cursor.execute(
        "WITH c AS MATERIALIZED (SELECT d.content, (SELECT COUNT(*) FROM"
        " (SELECT 1 FROM entry e WHERE e.content = d.content ORDER BY e.name LIMIT %s) x) FROM unnest(%s::bigint[]) AS d (content))"
        f" SELECT p.name, c.count, n.tier FROM {_PAIRS} AS p (name, content) JOIN c USING (content) JOIN name n ON n.id = p.name",
        (POPULAR[-1], list(set(contents)), list(names), list(contents)),
    ).fetchall()
    higher: dict[int, int] = {}
    for name, count, tier in rows:
        reached = sum(count >= least for least in POPULAR)
        if reached > max(tier, higher.get(name, 0)):
            higher[name] = reached
    if higher:
        cursor.execute("SELECT 1 FROM name WHERE id = ANY (%s) ORDER BY id FOR UPDATE", (list(higher),))
        cursor.execute(
            f"UPDATE name n SET tier = p.tier FROM {_PAIRS} AS p (name, tier) WHERE n.id = p.name AND n.tier < p.tier",
            (list(higher), list(higher.values())),
        )


def _contents(cursor: Cursor, device: int, claims: Sequence[Claim]) -> tuple[dict[Claim, int], set[int]]:
    """The rows of all but those that are too many, and those that were there before."""
    found = _find_contents(cursor, claims)
    count = Counter(claim[0] for claim in found.keys() | set(claims))
    beyond = _surplus(cursor, device, [claim for claim in claims if count[claim[0]] > MAX_CLAIMS], found)
    claims = [claim for claim in claims if claim not in beyond]
    rows = {claim: found[claim] for claim in claims if claim in found}
    known = set(rows.values())
    missing = [claim for claim in claims if claim not in rows]
    if missing:
        made = cursor.execute(
            "INSERT INTO content (content_id, sha256, size, files)"
            f" SELECT * FROM {_CLAIMS} AS n (content_id, sha256, size, files)"
            " ORDER BY 1, 2, 3, 4 ON CONFLICT DO NOTHING RETURNING content_id, sha256, size, files, id",
            [list(column) for column in zip(*missing, strict=True)],
        ).fetchall()
        rows.update({tuple(row[:4]): row[4] for row in made})
        if len(made) < len(missing):
            found = _find_contents(cursor, [claim for claim in missing if claim not in rows])
            rows.update({claim: found[claim] for claim in missing if claim in found})
    return rows, known


def _surplus(cursor: Cursor, device: int, claims: Sequence[Claim], rows: Mapping[Claim, int]) -> set[Claim]:
    """Those claims that a device may not make any more. `rows`: of all claims about their contents that are there."""
    if not claims:
        return set()
    contents = {claim[0] for claim in claims}
    there = {row: claim for claim, row in rows.items() if claim[0] in contents}
    mine = cursor.execute(
        "SELECT c.id FROM unnest(%s::bigint[]) AS c (id)"
        " WHERE EXISTS (SELECT 1 FROM entry e WHERE e.content = c.id AND e.device = %s)",
        (list(there), device),
    ).fetchall()
    listed = {there[row] for (row,) in mine}
    count = Counter(claim[0] for claim in listed)
    beyond = set()
    for claim in claims:
        if claim in listed:
            continue
        if count[claim[0]] < MAX_CLAIMS:
            count[claim[0]] += 1
        else:
            beyond.add(claim)
    return beyond


def _find_contents(cursor: Cursor, claims: Iterable[Claim]) -> dict[Claim, int]:
    """The rows of all claims that anybody makes about their contents."""
    found = cursor.execute(
        "SELECT content_id, sha256, size, files, id FROM content WHERE content_id = ANY (%s)",
        (list({claim[0] for claim in claims}),),
    ).fetchall()
    return {(row[0], row[1], row[2], row[3]): row[4] for row in found}
