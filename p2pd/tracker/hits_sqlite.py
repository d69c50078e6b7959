"""Contents of the SQLite registry as hits: who serves them now, under which names, since when.

The rule: a page asks for all of its contents at once; of one content no more than `ROWS` entries are read, and of all some
`ENTRIES`: a page of contents with very many is short. What no device with a lease and a port serves is no hit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from p2pd.storage.sqlite import Database
from p2pd.tracker.crowds_sqlite import Crowds
from p2pd.tracker.numbers_sqlite import json_list
from p2pd.tracker.search import Query
from protocol.limits import MAX_HIT_NAMES
from protocol.tracker import Hit, Sort

ROWS = 1_024  # entries of one content that are read for a hit
ENTRIES = 20_000  # of the contents of one page: some 100 ms
NAMES = 64  # of one content with more entries than that
LIVE = "d.lease > :now AND d.port > 0 AND e.generation >= d.generation"

Name = tuple[int, str, str, int]
"""Row, name, folded, tier."""


@dataclass(slots=True)
class Held:
    """A content: its claim, its entries, and of those that are live: devices, newest date, names."""

    row: int
    content_id: bytes
    sha256: bytes
    size: int
    files: int
    holders: int
    sources: int = 0
    newest: int = 0
    names: list[Name] = field(default_factory=list)

    @property
    def work(self) -> int:
        """How many of its entries are read."""
        return min(self.holders, ROWS)


# What most contents are, those of one device under one name, is told by the query that finds them. Joined to a label (n, c).
LONE = (
    " LEFT JOIN entry e ON e.content = CASE c.holders WHEN 1 THEN c.id END AND e.name = n.id"
    f" LEFT JOIN device d ON d.id = e.device AND {LIVE}"
)
LONE_COLUMNS = "d.id IS NOT NULL AS live, e.added_at"

_COLUMNS = "c.id, c.content_id, c.sha256, c.size, c.files, c.holders"


_LIVE_OF_NAME = (
    "FROM (SELECT e.added_at FROM entry e CROSS JOIN device d ON d.id = e.device"
    f" WHERE e.content = :row AND e.name = m.name AND {LIVE} LIMIT :most)"
)
# The names are found by jumping along the index, so that the holders of one do not hide the others. Those that the search came by are
# looked at in any case: else whoever lists a content under a thousand names hides it from all who know it by another.
_MANY = (
    "WITH RECURSIVE n(name) AS (SELECT MIN(name) FROM entry WHERE content = :row UNION ALL"
    " SELECT (SELECT MIN(name) FROM entry WHERE content = :row AND name > n.name) FROM n WHERE n.name IS NOT NULL LIMIT :most),"
    " m(name) AS (SELECT name FROM n UNION SELECT value FROM json_each(:wanted))"
    f" SELECT :row, name, sources, newest FROM (SELECT m.name, (SELECT COUNT(*) {_LIVE_OF_NAME}) AS sources,"
    f" (SELECT MAX(added_at) {_LIVE_OF_NAME}) AS newest FROM m WHERE m.name IS NOT NULL) WHERE sources"
)
_LIVE_AT_ALL = (
    "SELECT e.content, e.name, 1, e.added_at FROM entry e CROSS JOIN device d ON d.id = e.device"
    f" WHERE e.content = :row AND {LIVE} LIMIT 1"
)


def held(
    database: Database,
    crowds: Crowds,
    rows: Iterable[int],
    now: float,
    entries: int,
    wanted: Mapping[int, Collection[int]] = {},
) -> tuple[dict[int, Held], set[int]]:
    """Contents by row; those that nobody serves have no names. And the rows, the last ones, that were not looked at since those
    before have so many entries already; never all. `wanted`: rows of names by which contents were found.
    """
    contents = [
        Held(*values)
        for values in database.query(
            f"SELECT {_COLUMNS} FROM json_each(:rows) j CROSS JOIN content c ON c.id = j.value",
            {"rows": json_list(rows)},
        )
    ]
    return serve(database, crowds, contents, now, entries, wanted, {})


def serve(
    database: Database,
    crowds: Crowds,
    contents: Iterable[Held],
    now: float,
    entries: int,
    wanted: Mapping[int, Collection[int]],
    texts: Mapping[int, Name],
) -> tuple[dict[int, Held], set[int]]:
    """The same for contents that were read: it is noted in them who serves them. `texts`: names that need not be looked up."""
    found: dict[int, Held] = {}
    beyond: set[int] = set()
    for one in contents:
        if beyond or (found and one.work > entries):
            beyond.add(one.row)
            continue
        entries -= one.work
        found[one.row] = one
    live = crowds.live(now)
    shown: dict[int, list[int]] = {}
    for row, crowd in crowds.of(row for row, one in found.items() if one.holders <= ROWS).items():
        shown[row] = crowd.served(live)
        found[row].sources, found[row].newest = crowd.sources(live), crowd.newest(live)
    for one in found.values():
        if one.holders > ROWS:
            names = _of_many(database, {"row": one.row, "now": now, "most": ROWS}, wanted.get(one.row, ()))
            shown[one.row] = [name for _, name, _, _ in names]
            one.sources = min(ROWS, sum(sources for _, _, sources, _ in names))
            one.newest = max((newest for *_, newest in names), default=0)
    missing = {name for names in shown.values() for name in names} - texts.keys()
    more = {
        row[0]: tuple(row)
        for row in database.query(
            "SELECT n.id, n.name, n.folded, n.tier FROM json_each(?) j CROSS JOIN name n ON n.id = j.value",
            (json_list(missing),),
        )
    }
    for row, names in shown.items():
        found[row].names = [texts.get(name) or more[name] for name in names]
    return found, beyond


def _of_many(database: Database, params: dict[str, Any], wanted: Collection[int]) -> list[Any]:
    """Content, name, sources and newest date of those wanted and the first other names that somebody serves."""
    names = sorted(
        database.query(_MANY, {**params, "wanted": json_list(wanted)}),
        key=lambda row: (row[1] not in wanted, row[1]),
    )
    return names[: len(wanted) + NAMES] or database.query(_LIVE_AT_ALL, params)


def hit(query: Query, content: Held, first: Iterable[str] = ()) -> Hit | None:
    """None when nobody serves it under a name that fits. `first`, then the names that match, best first, then the others."""
    terms = query.terms
    if len(content.names) == 1 and not first:  # as most are
        [(_, name, folded, _)] = content.names
        return _hit(content, [name]) if terms.matches(folded) else None
    good, others = [], []
    for _, name, folded, _ in content.names:
        if terms.matches(folded):
            good.append((terms.rank(folded), folded, name))
        else:
            others.append((folded, name))
    if not good:
        return None
    good.sort(key=(lambda one: one[1:]) if query.sort is Sort.NAME else None)
    names = list(dict.fromkeys([*first, *(name for *_, name in good), *(name for _, name in sorted(others))]))
    return _hit(content, names[:MAX_HIT_NAMES])


def _hit(content: Held, names: list[str]) -> Hit:
    return Hit(
        content.content_id,
        content.sha256,
        content.size,
        names,
        content.sources,
        content.newest,
        content.files,
    )
