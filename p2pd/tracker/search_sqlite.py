"""Finding in the SQLite registry: pages of contents. Who has one of them is sources_sqlite.py.

The rule: a page costs the same however many entries there are. Searches by words are ranking_sqlite.py; the other searches give
contents as they come in the order of an index, and look at no more than `ROWS` of them for one page. A page may so be
short, or empty, before the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import merge
from itertools import islice
from typing import Any

from p2pd.storage.sqlite import Database
from p2pd.tracker import hits_sqlite, ranking_sqlite
from p2pd.tracker.crowds_sqlite import Crowds
from p2pd.tracker.hits_sqlite import LONE, LONE_COLUMNS, Held, held, hit
from p2pd.tracker.numbers_sqlite import head, json_list
from p2pd.tracker.search import Page, Place, Query
from p2pd.tracker.trigrams_sqlite import Shares
from protocol.ids import CONTENT_ID_SIZE
from protocol.limits import MAX_FILE
from protocol.searching import fold
from protocol.tracker import By, Hit

SPARE = 3  # rows asked of an era beyond its share of a page
ROWS = 2_000  # contents looked at for one page


def search(database: Database, crowds: Crowds, shares: Shares, query: Query, limit: int, now: float) -> Page:
    """See Registry.search."""
    if query.by is By.TEXT:
        return ranking_sqlite.search(database, crowds, shares, query, limit, now)
    return _KINDS[query.by](_Finder(database, crowds, query, limit, now))


class _Finder:
    """One page being made."""

    def __init__(self, database: Database, crowds: Crowds, query: Query, limit: int, now: float) -> None:
        self._database = database
        self._crowds = crowds
        self._query = query
        self._limit = limit
        self._now = now
        picky = query.terms.suffix or query.min_size or query.max_size < MAX_FILE
        # room for those that nobody serves now, and for contents told under an older name
        self._most = ROWS if picky else min(ROWS, limit + limit // 4 + 8)

    def by_name(self) -> Page:
        wanted = self._query.text
        found = self._database.query(
            "SELECT n.id FROM era r CROSS JOIN name n ON n.era = r.id AND n.folded = ? WHERE n.name = ?",
            (fold(wanted), wanted),
        )
        name = found[0][0] if found else 0
        rows = self._rows(
            "SELECT l.content, c.size FROM label l CROSS JOIN content c ON c.id = l.content"
            " WHERE l.name = :row AND l.content > :content ORDER BY l.content LIMIT :most",
            row=name,
            content=self._query.after.content,
        )
        return self._page(
            [(row, size, Place(content=row)) for row, size in rows],
            lambda content, row: any(name == wanted for _, name, _, _ in content.names),
            [wanted],
            named={row: {name} for row, _ in rows},
        )

    def by_sha256(self) -> Page:
        low, high = self._range()
        after = self._query.after
        rows = self._of_all_eras(
            # The order of the index, and nothing is sorted: anybody can list very many contents of one hash.
            "SELECT id, size, sha256, sha_head FROM content WHERE era = :era AND sha_head BETWEEN :first AND :last"
            " AND (sha_head, id) > (:first, :row) AND sha256 BETWEEN :low AND :high"
            " ORDER BY sha_head, id LIMIT :step",
            (head(max(bytes.fromhex(after.text), low)), after.content),
            lambda row: (row["sha_head"], row["id"]),
            lambda key: {"first": key[0], "row": key[1]},
            few=True,
            last=head(high),
            low=low,
            high=high,
        )
        return self._page(
            [(row, size, Place(content=row, text=sha256.hex())) for row, size, sha256, _ in rows]
        )

    def by_id(self) -> Page:
        low, high = self._range()
        key: tuple[bytes, bytes, int, int] = low, b"", -1, -1
        if after := bytes.fromhex(self._query.after.text):
            size, files = self._query.after.content, self._query.after.name
            key = max(key, (after[:CONTENT_ID_SIZE], after[CONTENT_ID_SIZE:], size, files))
        rows = self._of_all_eras(
            "SELECT id, size, content_id, sha256, files FROM content WHERE era = :era AND id_head BETWEEN :first AND :last"
            " AND (content_id, sha256, size, files) > (:content_id, :sha256, :size, :files)"
            " AND content_id BETWEEN :low AND :high ORDER BY id_head, content_id, sha256, size, files LIMIT :step",
            key,
            lambda row: (row["content_id"], row["sha256"], row["size"], row["files"]),
            lambda key: {
                "first": head(key[0]),
                "content_id": key[0],
                "sha256": key[1],
                "size": key[2],
                "files": key[3],
            },
            few=True,
            last=head(high),
            low=low,
            high=high,
        )
        return self._page(
            [
                (row, size, Place(name=files, text=(content_id + sha256).hex(), content=size))
                for row, size, content_id, sha256, files in rows
            ]
        )

    def by_all(self) -> Page:
        ordered, more = self._names()
        rows = self._rows(
            "SELECT n.id, n.name, n.folded, n.tier, c.id AS content, c.content_id, c.sha256, c.size, c.files, c.holders,"
            f" {LONE_COLUMNS} FROM json_each(:names) j CROSS JOIN name n ON n.id = j.value CROSS JOIN label l ON l.name = n.id"
            f" AND l.content > CASE n.id WHEN :name THEN :content ELSE 0 END CROSS JOIN content c ON c.id = l.content{LONE} LIMIT :most",
            names=json_list(ordered),
            name=self._query.after.name,
            content=self._query.after.content,
        )
        named: defaultdict[int, set[int]] = defaultdict(set)
        lone: dict[int, Held | None] = {}
        found: list[tuple[int, int, Place]] = []
        for home, text, folded, tier, row, content_id, sha256, size, files, holders, live, date in rows:
            named[row].add(home)
            found.append((row, size, Place(home, row, text)))
            if holders == 1:
                names = [(home, text, folded, tier)]
                lone[row] = Held(row, content_id, sha256, size, files, 1, 1, date, names) if live else None
        terms = self._query.terms
        firsts: dict[int, int] = {}

        def here(content: Held, place: Place) -> bool:
            """Is this the first of its names that match, and is it served under that?"""
            if content.row not in firsts:
                matching = (row for row, _, folded, _ in content.names if terms.matches(folded))
                firsts[content.row] = min(matching, default=0)
            return firsts[content.row] == place.name

        return self._page(found, here, lone=lone, named=named, more=more)

    def _names(self) -> tuple[list[int], bool]:
        """Rows of the names from where the last page ended, in order, enough for a page; and whether there are more.

        Only an index is read, for of a hundred eras each must give some that another page tells; names that fold to the same, of which
        anybody can list very many, come as they were first published.
        """
        after = self._query.after
        keys = self._of_all_eras(
            # (folded, id) > (:folded, :row), in two parts: of a row value only the first column leads along the index
            "SELECT * FROM (SELECT folded, id FROM name WHERE era = :era AND folded = :folded AND id > :row ORDER BY id LIMIT :step)"
            " UNION ALL SELECT * FROM (SELECT folded, id FROM name WHERE era = :era AND folded > :folded ORDER BY folded, id LIMIT :step)"
            " LIMIT :step",
            (fold(after.text), after.name - 1),
            lambda row: (row["folded"], row["id"]),
            lambda key: {"folded": key[0], "row": key[1]},
        )
        return [row["id"] for row in keys], len(keys) == self._most

    # -- pages ----------------------------------------------------------------------------------------------

    def _rows(self, sql: str, **params: Any) -> list[Any]:
        return self._database.query(sql, {**params, "most": self._most, "now": self._now})

    def _of_all_eras(
        self,
        sql: str,
        start: tuple[Any, ...],
        key_of: Callable[[Any], tuple[Any, ...]],
        params_of: Callable[[Any], dict[str, Any]],
        few: bool = False,
        **params: Any,
    ) -> list[Any]:
        """The first rows of all eras in the order of their keys, behind `start`. Each era gives some, and more when they are used up.

        `few`: there are hardly ever more than fit, so one query asks for all.
        """
        if few:
            every, _, _ = sql.replace("era = :era", "era IN (SELECT id FROM era)").partition(" ORDER BY ")
            found = self._rows(f"{every} LIMIT :step", step=self._most + 1, **params_of(start), **params)
            if len(found) <= self._most:
                return sorted(found, key=key_of)

        def of(era: int, step: int) -> Iterator[Any]:
            key = start
            while True:
                rows = self._rows(sql, era=era, step=step, **params_of(key), **params)
                yield from rows
                if len(rows) < step:
                    return
                key = key_of(rows[-1])

        eras = [row[0] for row in self._database.query("SELECT id FROM era")]
        step = self._most // len(eras) + SPARE
        return list(islice(merge(*(of(era, step) for era in eras), key=key_of), self._most))

    def _range(self) -> tuple[bytes, bytes]:
        """The first and the last digest that begins with the digits asked for."""
        digits, width = self._query.text, 2 * CONTENT_ID_SIZE
        return bytes.fromhex(digits.ljust(width, "0")), bytes.fromhex(digits.ljust(width, "f"))

    def _page(
        self,
        rows: list[tuple[int, int, Place]],
        belongs: Callable[[Held, Place], bool] | None = None,
        first: Iterable[str] = (),
        lone: Mapping[int, Held | None] = {},
        named: Mapping[int, set[int]] = {},
        more: bool = False,
    ) -> Page:
        """Those of the rows (content, size, place after it) that fit and are served.

        `first`: names to put in front; `lone`: contents that need not be looked up, None for those that nobody serves; `named`: the
        names by which they were found; `more`: there are more than these, however few they are.
        """
        fitting = [(row, place) for row, size, place in rows if self._query.fits(size)]
        last = rows[-1][2] if rows and (more or len(rows) == self._most) else None
        items: list[tuple[Hit, Place]] = []
        step = self._limit + 1
        entries, before = hits_sqlite.ENTRIES, Place()
        for start in range(0, len(fitting), step):
            part = fitting[start : start + step]
            asked = dict.fromkeys(row for row, _ in part if row not in lone)
            contents, beyond = (
                held(self._database, self._crowds, asked, self._now, entries, named) if asked else ({}, set())
            )
            entries -= sum(content.work for content in contents.values())
            for row, place in part:
                if row in beyond:
                    return Page(items, before)
                before = place
                content = lone.get(row) or contents.get(row)
                if (
                    content is None
                    or not content.names
                    or (belongs is not None and not belongs(content, place))
                ):
                    continue
                found = hit(self._query, content, first)
                if found is None:
                    continue
                if len(items) == self._limit:
                    return Page(items, items[-1][1])
                items.append((found, place))
        return Page(items, last)


_KINDS: dict[By, Callable[[_Finder], Page]] = {
    By.ID: _Finder.by_id,
    By.SHA256: _Finder.by_sha256,
    By.NAME: _Finder.by_name,
    By.ALL: _Finder.by_all,
}
