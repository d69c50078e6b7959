"""Who has a content, in the SQLite registry: the sources of a download, and members.

The rule: the time is bounded whatever anybody lists. Entries of the content are gone through while they are few; when one of its
claims has very many, which a single device can give it under as many names, each device is asked for it instead.
"""

from __future__ import annotations

from p2pd.storage.sqlite import Database
from p2pd.tracker.hits_sqlite import LIVE
from p2pd.tracker.numbers_sqlite import head, json_list
from p2pd.tracker.registry import Card, Listing

ENTRIES = 10_000  # that are gone through: some 4 ms

_CARD = "d.device_id, d.observed, d.declared, d.port"
HIDDEN = 1_000  # entries of one content and device that are looked at: if so many are replaced ones, it has none until they are swept
_SHARES = (
    "EXISTS (SELECT 1 FROM json_each(:many) c WHERE EXISTS (SELECT 1 FROM (SELECT e.generation FROM entry e INDEXED BY entry_device"
    f" WHERE e.device = d.id AND e.content = c.value LIMIT {HIDDEN}) WHERE generation >= d.generation))"
)


def holders(database: Database, content_id: bytes, besides: bytes, limit: int, now: float) -> list[Card]:
    """See Registry.holders."""
    few, many = _claims(database, content_id)
    params = {"few": few, "many": many, "besides": besides, "now": now, "most": limit}
    rows = database.query(
        f"SELECT DISTINCT {_CARD} FROM json_each(:few) c CROSS JOIN entry e ON e.content = c.value"
        f" CROSS JOIN device d ON d.id = e.device WHERE d.device_id <> :besides AND {LIVE} LIMIT :most",
        params,
    )
    if many != "[]" and len(rows) < limit:
        rows += database.query(
            f"SELECT {_CARD} FROM device d WHERE d.lease > :now AND d.port > 0 AND d.device_id <> :besides"
            f" AND {_SHARES} LIMIT :most",
            params,
        )
    return [Card(*row) for row in dict.fromkeys(map(tuple, rows))][:limit]


def members(database: Database, content_id: bytes, after: bytes, limit: int, now: float) -> list[Listing]:
    """See Registry.members."""
    few, many = _claims(database, content_id) if content_id else ("[]", "[]")
    shares = (
        " AND (d.id IN (SELECT e.device FROM json_each(:few) c CROSS JOIN entry e ON e.content = c.value"
        f" CROSS JOIN device x ON x.id = e.device WHERE e.generation >= x.generation) OR {_SHARES})"
    )
    rows = database.query(
        f"SELECT {_CARD}, d.files, d.lease FROM device d"
        f" WHERE d.device_id > :after AND d.lease > :now{shares if content_id else ''}"
        " ORDER BY d.device_id LIMIT :most",
        {"few": few, "many": many, "after": after, "now": now, "most": limit},
    )
    return [Listing(Card(*row[:4]), *row[4:]) for row in map(tuple, rows)]


def _claims(database: Database, content_id: bytes) -> tuple[str, str]:
    """The rows of all claims about a content as two lists for json_each: those that together have few entries, and the others."""
    few: list[int] = []
    many: list[int] = []
    room = ENTRIES
    for row, entries in database.query(
        "SELECT c.id, c.holders FROM era r CROSS JOIN content c ON c.era = r.id AND c.id_head = ? WHERE c.content_id = ?"
        " ORDER BY c.holders",
        (head(content_id), content_id),
    ):
        room -= entries
        (few if room >= 0 else many).append(row)
    return json_list(few), json_list(many)
