"""Finding in the PostgreSQL registry: pages of contents, holders of one, members.

The rule: the same hits in the same order as from SQLite, at a bounded price. A search by words comes in stages, as matches get
worse: whole words and beginnings of words are looked up in an index of words, the rest in one of three characters. Of each stage
a window of `LABELS` labels is ranked at a time, names of popular contents first; of one content no more than `ROWS` entries are
looked at. What an index gives is compared again here, by the one meaning of protocol/searching.py. Texts are bound parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from p2pd.tracker import candidates_postgres as candidates
from p2pd.tracker.candidates_postgres import LIVE, TIERS, TOP_TIER, Candidate
from p2pd.tracker.entries_postgres import digest
from p2pd.tracker.postgres import Postgres
from p2pd.tracker.registry import Card, Listing
from p2pd.tracker.search import Key, Page, Place, Query, order, sort_key
from protocol.ids import CONTENT_ID_SIZE
from protocol.limits import MAX_FILE, MAX_HIT_NAMES
from protocol.searching import fold, rank_class
from protocol.tracker import By, Hit, Sort

LABELS = 2_000  # candidates of one page
ROWS = 1_024  # entries of one content that are read for a hit
PART = 64  # contents that are read at a time,
ENTRIES = 20_000  # until they had so many entries: then the page is long enough
ELSEWHERE = 2  # the last class of matches


@dataclass(slots=True)
class _Held:
    """What is known of a content that a page may show: what it is, and of its live entries sources, newest date and names."""

    claim: tuple[bytes, bytes, int, int]
    sources: int
    newest: int
    names: list[tuple[str, str, int, int]]  # folded, name, row, tier
    entries: int  # that were read


def search(database: Postgres, query: Query, limit: int, now: float) -> Page:
    """See Registry.search."""
    if "\0" in query.text:
        return Page([], None)  # no name has it, and PostgreSQL has no text with it
    return _KINDS[query.by](_Finder(database, query, limit, now))


class _Finder:
    """One page being made."""

    def __init__(self, database: Postgres, query: Query, limit: int, now: float) -> None:
        self._database = database
        self._query = query
        self._terms = query.terms
        self._limit = limit
        self._now = now
        self._entries = ENTRIES
        self._staged = query.sort is Sort.RELEVANCE and candidates.has_words(query.terms)

    def _rows(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        return self._database.query(sql, {"now": self._now, **params})

    # -- by words: ranked, stage by stage, window by window -------------------------------------------------

    def by_text(self) -> Page:
        items: list[tuple[Hit, Place]] = []
        start, key = replace(self._query.after, key=()), self._query.after.key
        while True:  # at most once for each stage
            level = start.stage // TIERS
            stage = level if self._staged else None
            sql, params = candidates.of_text(self._query, stage, start, LABELS)
            rows = self._rows(sql, **params)
            following: Place | None = None
            if len(rows) == LABELS:
                tier, name, _, _, content = rows[-1][:5]
                following = Place(name, content, stage=TIERS * level + TOP_TIER - tier)
            elif self._staged and level < ELSEWHERE:
                following = Place(stage=TIERS * (level + 1))
            page = self._ranked(self._contents(rows, stage), start, key, self._limit - len(items), following)
            items += page.items
            if page.next is None or len(items) == self._limit or len(rows) == LABELS or self._entries <= 0:
                return Page(items, page.next)
            start, key = page.next, ()

    def _contents(self, rows: Iterable[tuple[Any, ...]], stage: int | None) -> list[Candidate]:
        """The labels of a window by content: those that match (so badly), and are served."""
        found: dict[int, Candidate] = {}
        for _, _, name, folded, row, content_id, sha256, size, files, served, sources, newest in rows:
            if not served or not self._terms.matches(folded):
                continue
            rank = self._terms.rank(folded)
            if stage is not None and rank_class(rank) != stage:
                continue
            candidate = found.get(row)
            if candidate is None:
                claim = (content_id, sha256, size, files)
                candidate = found[row] = Candidate(row, claim, sources or 0, newest or 0)
            candidate.names.append((rank, folded, name))
        return list(found.values())

    def _ranked(
        self, found: Iterable[Candidate], start: Place, after: Key, room: int, following: Place | None
    ) -> Page:
        keyed = sorted(((self._key(candidate), candidate) for candidate in found), key=lambda p: order(p[0]))
        if after:
            bar = order(after)
            keyed = [pair for pair in keyed if order(pair[0]) > bar]
        items: list[tuple[Hit, Place]] = []
        for begin in range(0, len(keyed), PART):
            if self._entries <= 0:
                return Page(items, replace(start, key=keyed[begin - 1][0]))
            part = keyed[begin : begin + PART]
            held = self._held([candidate.row for _, candidate in part])
            for key, candidate in part:
                if len(items) == room:
                    return Page(items, items[-1][1])
                known = held.get(candidate.row)
                if known is not None and not self._listed_before(known, candidate.row, start):
                    names = {name for _, name, _, _ in known.names}
                    missing = [name for _, _, name in candidate.names if name not in names]
                    items.append((self._hit(known, missing), replace(start, key=key)))
        return Page(items, following)

    def _listed_before(self, held: _Held, content: int, start: Place) -> bool:
        """Was the content listed in an earlier stage, or an earlier window of this one?"""
        if not start.stage and not start.name:
            return False
        level, begun = start.stage // TIERS, (start.stage % TIERS, start.name, start.content)
        for folded, _, name, tier in held.names:
            if self._terms.matches(folded):
                own = rank_class(self._terms.rank(folded)) if self._staged else level
                if own < level or (own == level and (TOP_TIER - tier, name, content) <= begun):
                    return True
        return False

    def _key(self, candidate: Candidate) -> Key:
        by_name = self._query.sort is Sort.NAME
        candidate.names.sort(key=(lambda name: name[1:]) if by_name else None)
        rank, _, name = candidate.names[0]
        return sort_key(
            self._query.sort,
            rank,
            candidate.sources,
            candidate.newest,
            candidate.claim[2],
            name,
            candidate.claim_text,
        )

    # -- the others: as they come ---------------------------------------------------------------------------

    def by_name(self) -> Page:
        rows = self._rows(
            f"SELECT l.content, {candidates.served('l.name')} FROM name n JOIN label l ON l.name = n.id"
            " WHERE n.digest = %(digest)s AND l.content > %(content)s ORDER BY l.content LIMIT %(most)s",
            digest=digest(self._query.text),
            content=self._query.after.content,
            most=LABELS,
        )
        found = [(row, Place(content=row)) for row, served in rows if served]
        last = Place(content=rows[-1][0]) if len(rows) == LABELS else None
        good = self._terms.matches(fold(self._query.text))
        return self._in_order(found if good else [], last, [self._query.text])

    def by_sha256(self) -> Page:
        digits, after, width = self._query.text, self._query.after, 2 * CONTENT_ID_SIZE
        rows = self._rows(
            "SELECT id, sha256 FROM content WHERE (sha256, id) > (%(low)s, %(row)s) AND sha256 <= %(high)s"
            " ORDER BY sha256, id LIMIT %(most)s",
            low=bytes.fromhex(after.text or digits.ljust(width, "0")),
            row=after.content,
            high=bytes.fromhex(digits.ljust(width, "f")),
            most=LABELS,
        )
        found = [(row, Place(content=row, text=sha256.hex())) for row, sha256 in rows]
        return self._in_order(found, _last(found))

    def by_id(self) -> Page:
        digits, width = self._query.text, 2 * CONTENT_ID_SIZE
        low, sha256, size, files = bytes.fromhex(digits.ljust(width, "0")), b"", -1, -1
        if after := bytes.fromhex(self._query.after.text):
            low, sha256, size = after[:CONTENT_ID_SIZE], after[CONTENT_ID_SIZE:], self._query.after.content
            files = self._query.after.name
        rows = self._rows(
            "SELECT id, content_id, sha256, size, files FROM content"
            " WHERE (content_id, sha256, size, files) > (%(low)s, %(sha256)s, %(size)s, %(files)s)"
            " AND content_id <= %(high)s ORDER BY content_id, sha256, size, files LIMIT %(most)s",
            low=low,
            sha256=sha256,
            size=size,
            files=files,
            high=bytes.fromhex(digits.ljust(width, "f")),
            most=LABELS,
        )
        found = [
            (row, Place(name=files, text=(content_id + sha256).hex(), content=size))
            for row, content_id, sha256, size, files in rows
        ]
        return self._in_order(found, _last(found))

    def by_all(self) -> Page:
        after, query = self._query.after, self._query
        picky = query.terms.suffix or query.min_size or query.max_size < MAX_FILE
        most = LABELS if picky else min(LABELS, 2 * self._limit)
        rows = self._rows(
            # The beginning of the name is in an index; the rest of the order is made among those that begin equal.
            f"SELECT l.home, l.name, l.folded, l.content, {candidates.served('l.home')} FROM ("
            "SELECT n.id AS home, n.name, n.folded, b.content FROM (SELECT n.id, n.name, n.folded FROM name n"
            " WHERE left(n.folded, 255) >= left(%(folded)s, 255) AND (n.folded, n.name) >= (%(folded)s, %(name)s)"
            " ORDER BY left(n.folded, 255), n.folded, n.name LIMIT %(names)s) n"
            " JOIN label b ON b.name = n.id WHERE n.name <> %(name)s OR b.content > %(content)s"
            " ORDER BY n.folded, n.name, b.content LIMIT %(most)s) l ORDER BY l.folded, l.name, l.content",
            folded=fold(after.text),
            name=after.text,
            content=after.content,
            most=most,
            names=most + 1,
        )
        found = [
            (row, Place(text=name, content=row), home)
            for home, name, folded, row, served in rows
            if served and self._terms.matches(folded)
        ]
        last = Place(text=rows[-1][1], content=rows[-1][3]) if len(rows) == most else None
        return self._in_order([pair[:2] for pair in found], last, homes=[home for _, _, home in found])

    def _in_order(
        self,
        found: Sequence[tuple[int, Place]],
        last: Place | None,
        names: Sequence[str] = (),
        homes: Sequence[int] = (),
    ) -> Page:
        """A page of contents as they come. `last`: where to go on when the window was full; `names`: the one that each is
        served under; `homes`: the name row under which each would be listed."""
        items: list[tuple[Hit, Place]] = []
        for begin in range(0, len(found), PART):
            if self._entries <= 0:
                return Page(items, found[begin - 1][1])
            part = found[begin : begin + PART]
            held = self._held([row for row, _ in part])
            for number, (row, after) in enumerate(part, begin):
                known = held.get(row)
                if known is None or not self._query.fits(known.claim[2]):
                    continue
                matching = [(name, at) for folded, name, at, _ in known.names if self._terms.matches(folded)]
                if not (matching or names) or (homes and any(at < homes[number] for _, at in matching)):
                    continue
                if len(items) == self._limit:
                    return Page(items, items[-1][1])
                first = [name for name, at in matching if homes and at == homes[number]]
                items.append((self._hit(known, [*names, *first]), after))
        return Page(items, last)

    # -- hits -----------------------------------------------------------------------------------------------

    def _held(self, rows: Sequence[int]) -> dict[int, _Held]:
        """Those of these contents that somebody serves."""
        found: dict[int, _Held] = {}
        for row, *claim, sources, newest, entries, names, folded, ids, tiers in self._rows(
            "SELECT c.id, c.content_id, c.sha256, c.size, c.files, x.sources, x.newest, x.entries, y.names, y.folded, y.ids,"
            " y.tiers FROM content c"
            " CROSS JOIN LATERAL (SELECT COUNT(DISTINCT z.device) AS sources, MAX(z.added_at) AS newest, COUNT(*) AS entries,"
            " array_agg(DISTINCT z.name) AS names FROM (SELECT e.device, e.added_at, e.name FROM entry e"
            f" JOIN device d ON d.id = e.device WHERE e.content = c.id AND {LIVE} LIMIT {ROWS}) z) x"
            " CROSS JOIN LATERAL (SELECT array_agg(n.name) AS names, array_agg(n.folded) AS folded,"
            " array_agg(n.id) AS ids, array_agg(n.tier) AS tiers FROM name n WHERE n.id = ANY (x.names)) y"
            " WHERE c.id = ANY (%(rows)s) AND x.sources > 0",
            rows=list(rows),
        ):
            found[row] = _Held(
                (claim[0], claim[1], claim[2], claim[3]),
                sources,
                newest,
                sorted(zip(folded, names, ids, tiers, strict=True)),
                entries,
            )
            self._entries -= entries
        return found

    def _hit(self, held: _Held, first: Sequence[str]) -> Hit:
        """`first`: names to show before the others."""
        by_name = self._query.sort is Sort.NAME
        order_of_names = sorted(
            (not matches, self._terms.rank(folded) if matches and not by_name else 0, folded, name)
            for folded, name, _, _ in held.names
            for matches in (self._terms.matches(folded),)
        )
        names = list(dict.fromkeys([*first, *(name for *_, name in order_of_names)]))[:MAX_HIT_NAMES]
        content_id, sha256, size, files = held.claim
        return Hit(content_id, sha256, size, names, held.sources, held.newest, files)


def _last(found: Sequence[tuple[int, Place]]) -> Place | None:
    return found[-1][1] if len(found) == LABELS else None


_KINDS: dict[By, Callable[[_Finder], Page]] = {
    By.TEXT: _Finder.by_text,
    By.ID: _Finder.by_id,
    By.SHA256: _Finder.by_sha256,
    By.NAME: _Finder.by_name,
    By.ALL: _Finder.by_all,
}


def holders(database: Postgres, content_id: bytes, besides: bytes, limit: int, now: float) -> list[Card]:
    """See Registry.holders."""
    rows = database.query(
        "SELECT DISTINCT d.device_id, d.observed, d.declared, d.port FROM content c"
        " JOIN entry e ON e.content = c.id JOIN device d ON d.id = e.device"
        f" WHERE c.content_id = %(content_id)s AND d.device_id <> %(besides)s AND {LIVE} LIMIT %(most)s",
        {"content_id": content_id, "besides": besides, "now": now, "most": limit},
    )
    return [Card(*row) for row in rows]


def members(database: Postgres, content_id: bytes, after: bytes, limit: int, now: float) -> list[Listing]:
    """See Registry.members."""
    shares = (
        " AND EXISTS (SELECT 1 FROM content c JOIN entry e ON e.content = c.id"
        " WHERE c.content_id = %(content_id)s AND e.device = d.id AND e.generation >= d.generation)"
    )
    rows = database.query(
        "SELECT d.device_id, d.observed, d.declared, d.port, d.files, d.lease FROM device d"
        f" WHERE d.device_id > %(after)s AND d.lease > %(now)s{shares if content_id else ''}"
        " ORDER BY d.device_id LIMIT %(most)s",
        {"content_id": content_id, "after": after, "now": now, "most": limit},
    )
    return [Listing(Card(*row[:4]), *row[4:]) for row in rows]
