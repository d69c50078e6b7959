"""Finding in the SQLite registry: pages of contents, holders of one, members.

The rule: a page costs the same however many entries there are. Candidates are labels (a name and a content)
in a fixed order; one page looks at no more than a window of them (`NAMES` names, `LABELS` labels), and of one
content at no more than `ROWS` entries. A search by words ranks the candidates of a window and pages through
them before the next window; the other searches give them as they come. A page may so be short, or empty,
before the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from p2pd.storage.sqlite import Database
from p2pd.tracker.registry import Card, Listing
from p2pd.tracker.search import Key, Page, Place, Query, claim_of, order, sort_key
from protocol.ids import CONTENT_ID_SIZE
from protocol.limits import MAX_FILE, MAX_HIT_NAMES
from protocol.searching import fold
from protocol.tracker import By, Hit, Sort

NAMES = 50_000  # looked at for one page when words are too short for the index
MATCHES = 10_000  # names that the index gave, looked at for one page
LABELS = 2_000  # candidates of one page
RANKED = 64  # entries of one content that count in ranking: more sources make no difference
ROWS = 1_024  # entries of one content that are read for a hit
OTHERS = 64  # names of one content that are read for a hit
TRIGRAMS = 24  # of the words, asked of the index; the rest is compared

_LAST = 2**62 - 1  # above any row
_LIVE = "d.lease > :now AND d.port > 0 AND e.generation >= d.generation"
_SERVED = (
    "EXISTS (SELECT 1 FROM entry e JOIN device d ON d.id = e.device"
    f" WHERE e.content = l.content AND e.name = l.name AND {_LIVE})"
)
# sources and newest date in one number, since a subquery has one column
_WEIGHT = (
    "(SELECT (COUNT(DISTINCT device) << 41) | MAX(added_at) FROM (SELECT e.device, e.added_at FROM entry e"
    f" JOIN device d ON d.id = e.device WHERE e.content = l.content AND {_LIVE} LIMIT {RANKED}))"
)


@dataclass(slots=True)
class _Candidate:
    """A content: its row, those of its names that match as (rank, folded, name), the place after it."""

    row: int
    names: list[tuple[int, str, str]]
    after: Place
    weight: int = 0
    size: int = 0
    claim: str = ""


def search(database: Database, query: Query, limit: int, now: float) -> Page:
    """See Registry.search."""
    return _KINDS[query.by](_Finder(database, query, limit, now))


class _Finder:
    """One page being made."""

    def __init__(self, database: Database, query: Query, limit: int, now: float) -> None:
        self._database = database
        self._query = query
        self._limit = limit
        self._now = now
        self._terms = query.terms
        needles = (*query.terms.words, query.terms.suffix) if query.terms.suffix else query.terms.words
        self._needles = {f"needle{i}": needle for i, needle in enumerate(needles)}
        self._holds_needles = "".join(f" AND instr(n.folded, :{key})" for key in self._needles)

    def _rows(self, sql: str, **params: Any) -> list[Any]:
        return self._database.query(sql, {"now": self._now, **params})

    # -- by words: ranked, window by window -----------------------------------------------------------------

    def by_text(self) -> Page:
        start = replace(self._query.after, key=())
        match = " AND ".join('"' + part.replace('"', '""') + '"' for part in self._query.trigrams[:TRIGRAMS])
        source = (
            "name_trigram t WHERE t.name_trigram MATCH :match AND t.rowid" if match else "name t WHERE t.id"
        )
        # where the window ends: the match cannot be bounded by rows that are filtered afterwards
        bound = self._rows(
            f"SELECT t.rowid FROM {source} > :name ORDER BY t.rowid LIMIT 1 OFFSET :most",
            match=match,
            name=start.name,
            most=(MATCHES if match else NAMES) - 1,
        )
        rows = self._rows(
            # the outer ORDER BY keeps SQLite from weighing rows that the inner LIMIT leaves out
            f"SELECT l.name, l.text, l.folded, l.content, l.size, l.content_id, l.sha256, l.files,"
            f" {_SERVED}, {_WEIGHT} FROM (SELECT n.id AS name, n.name AS text, n.folded, b.content, c.size,"
            " c.content_id, c.sha256, c.files"
            f" FROM (SELECT t.rowid AS id FROM {source} BETWEEN :name AND :stop) m"
            " CROSS JOIN name n ON n.id = m.id CROSS JOIN label b ON b.name = n.id"
            " CROSS JOIN content c ON c.id = b.content"
            f" WHERE (b.name > :name OR b.content > :content){self._holds_needles}"
            " ORDER BY n.id, b.content LIMIT :most) l ORDER BY l.name, l.content",
            match=match,
            name=start.name,
            content=start.content,
            stop=bound[0][0] if bound else _LAST,
            most=LABELS,
            **self._needles,
        )
        if len(rows) == LABELS:
            following: Place | None = Place(rows[-1][0], rows[-1][3])
        else:
            following = Place(bound[0][0], _LAST) if bound else None
        return self._ranked(self._contents(rows), start, following)

    def _contents(self, rows: Iterable[Any]) -> Iterable[_Candidate]:
        """The labels of a window by content, those that match and are served."""
        found: dict[int, _Candidate] = {}
        for _, name, folded, row, size, content_id, sha256, files, served, weight in rows:
            if served and self._query.fits(size) and self._terms.matches(folded):
                claim = claim_of(content_id, sha256, size, files)
                candidate = found.setdefault(row, _Candidate(row, [], Place(), weight, size, claim))
                candidate.names.append((self._terms.rank(folded), folded, name))
        return found.values()

    def _ranked(self, candidates: Iterable[_Candidate], start: Place, following: Place | None) -> Page:
        keyed = [(self._key(candidate), candidate) for candidate in candidates]
        keyed.sort(key=lambda pair: order(pair[0]))
        bar = order(self._query.after.key) if self._query.after.key else ()
        chosen: list[_Candidate] = []
        for key, candidate in keyed:
            if bar and order(key) <= bar:
                continue
            if start.name and self._listed_before(
                candidate.row, start.name + (candidate.row <= start.content)
            ):
                continue
            if len(chosen) == self._limit:
                following = chosen[-1].after
                break
            candidate.after = replace(start, key=key)
            chosen.append(candidate)
        return self._page(chosen, following)

    def _key(self, candidate: _Candidate) -> Key:
        by_name = self._query.sort is Sort.NAME
        candidate.names.sort(key=(lambda name: name[1:]) if by_name else None)
        rank, _, name = candidate.names[0]
        sources, newest = candidate.weight >> 41, candidate.weight & (2**41 - 1)
        return sort_key(self._query.sort, rank, sources, newest, candidate.size, name, candidate.claim)

    # -- the others: as they come ---------------------------------------------------------------------------

    def by_name(self) -> Page:
        rows = self._rows(
            f"SELECT l.content, c.size, n.folded, n.name, {_SERVED} FROM name n"
            " CROSS JOIN label l ON l.name = n.id"
            " CROSS JOIN content c ON c.id = l.content WHERE n.folded = :folded AND n.name = :name"
            " AND l.content > :content ORDER BY l.content LIMIT :most",
            folded=fold(self._query.text),
            name=self._query.text,
            content=self._query.after.content,
            most=LABELS,
        )
        found = (
            _Candidate(row, [(0, folded, name)], Place(content=row), size=size)
            for row, size, folded, name, served in rows
            if served and self._terms.matches(folded)
        )
        return self._in_order(found, Place(content=rows[-1][0]) if len(rows) == LABELS else None)

    def by_sha256(self) -> Page:
        digits, after, width = self._query.text, self._query.after, 2 * CONTENT_ID_SIZE
        rows = self._rows(
            "SELECT id, size, sha256 FROM content WHERE (sha256, id) > (:low, :row) AND sha256 <= :high"
            " ORDER BY sha256, id LIMIT :most",
            low=bytes.fromhex(after.text or digits.ljust(width, "0")),
            row=after.content,
            high=bytes.fromhex(digits.ljust(width, "f")),
            most=LABELS,
        )
        found = [
            _Candidate(row, [], Place(content=row, text=sha256.hex()), size=size)
            for row, size, sha256 in rows
        ]
        return self._in_order(found, found[-1].after if len(rows) == LABELS else None)

    def by_id(self) -> Page:
        digits, width = self._query.text, 2 * CONTENT_ID_SIZE
        low, sha256, size, files = bytes.fromhex(digits.ljust(width, "0")), b"", -1, -1
        if after := bytes.fromhex(self._query.after.text):
            low, sha256, size = after[:CONTENT_ID_SIZE], after[CONTENT_ID_SIZE:], self._query.after.content
            files = self._query.after.name
        rows = self._rows(
            "SELECT id, size, content_id, sha256, files FROM content"
            " WHERE (content_id, sha256, size, files) > (:low, :sha256, :size, :files)"
            " AND content_id <= :high ORDER BY content_id, sha256, size, files LIMIT :most",
            low=low,
            sha256=sha256,
            size=size,
            files=files,
            high=bytes.fromhex(digits.ljust(width, "f")),
            most=LABELS,
        )
        found = [
            _Candidate(row, [], Place(name=files, text=(content_id + sha256).hex(), content=size), size=size)
            for row, size, content_id, sha256, files in rows
        ]
        return self._in_order(found, found[-1].after if len(rows) == LABELS else None)

    def by_all(self) -> Page:
        after, query = self._query.after, self._query
        picky = query.terms.suffix or query.min_size or query.max_size < MAX_FILE
        most = LABELS if picky else min(LABELS, 2 * self._limit)
        rows = self._rows(
            f"SELECT n.id, n.name, n.folded, l.content, c.size, {_SERVED} FROM name n"
            " CROSS JOIN label l ON l.name = n.id CROSS JOIN content c ON c.id = l.content"
            " WHERE (n.folded, n.name) >= (:folded, :name) AND (n.name <> :name OR l.content > :content)"
            " ORDER BY n.folded, n.name, l.content LIMIT :most",
            folded=fold(after.text),
            name=after.text,
            content=after.content,
            most=most,
        )
        found = (
            _Candidate(row, [(0, folded, name)], Place(text=name, content=row), size=size)
            for home, name, folded, row, size, served in rows
            if served and query.terms.matches(folded) and not self._listed_before(row, home)
        )
        return self._in_order(
            found, Place(text=rows[-1][1], content=rows[-1][3]) if len(rows) == most else None
        )

    def _in_order(self, candidates: Iterable[_Candidate], last: Place | None) -> Page:
        """`last`: the place after the whole window when it was full, so that more may follow."""
        chosen: list[_Candidate] = []
        for candidate in candidates:
            if not self._query.fits(candidate.size):
                continue
            if len(chosen) == self._limit:
                return self._page(chosen, chosen[-1].after)
            chosen.append(candidate)
        return self._page(chosen, last)

    # -- hits -----------------------------------------------------------------------------------------------

    def _listed_before(self, row: int, name: int) -> bool:
        """Has the content a matching name older than the name row `name`? Then it was listed there."""
        names = self._rows(
            "SELECT n.folded FROM (SELECT DISTINCT e.name FROM entry e JOIN device d ON d.id = e.device"
            f" WHERE e.content = :content AND e.name < :name AND {_LIVE} LIMIT {ROWS}) m"
            " CROSS JOIN name n ON n.id = m.name",
            content=row,
            name=name,
        )
        return any(self._terms.matches(folded) for (folded,) in names)

    def _page(self, chosen: Iterable[_Candidate], following: Place | None) -> Page:
        hits = ((self._hit(candidate), candidate.after) for candidate in chosen)
        return Page([(hit, after) for hit, after in hits if hit is not None], following)

    def _hit(self, candidate: _Candidate) -> Hit | None:
        """None when no device serves it, or none under a name that fits."""
        content_id, sha256, size, files, sources, newest = self._rows(
            "SELECT c.content_id, c.sha256, c.size, c.files, COUNT(DISTINCT x.device), MAX(x.added_at) FROM content c"
            " LEFT JOIN (SELECT e.device, e.added_at FROM entry e JOIN device d ON d.id = e.device"
            f" WHERE e.content = :content AND {_LIVE} LIMIT {ROWS}) x WHERE c.id = :content",
            content=candidate.row,
        )[0]
        if not sources:
            return None
        names = [name for _, _, name in candidate.names[:MAX_HIT_NAMES]]
        if len(names) < MAX_HIT_NAMES:
            others = self._rows(
                "SELECT n.folded, n.name FROM (SELECT DISTINCT e.name FROM entry e"
                f" JOIN device d ON d.id = e.device WHERE e.content = :content AND {_LIVE} LIMIT {OTHERS}) m"
                " CROSS JOIN name n ON n.id = m.name",
                content=candidate.row,
            )
            if not names and not any(self._terms.matches(folded) for folded, _ in others):
                return None
            rest = sorted((not self._terms.matches(folded), folded, name) for folded, name in others)
            names = list(dict.fromkeys(names + [name for _, _, name in rest]))[:MAX_HIT_NAMES]
        return Hit(content_id, sha256, size, names, sources, newest, files)


_KINDS: dict[By, Callable[[_Finder], Page]] = {
    By.TEXT: _Finder.by_text,
    By.ID: _Finder.by_id,
    By.SHA256: _Finder.by_sha256,
    By.NAME: _Finder.by_name,
    By.ALL: _Finder.by_all,
}


def holders(database: Database, content_id: bytes, besides: bytes, limit: int, now: float) -> list[Card]:
    """See Registry.holders."""
    rows = database.query(
        "SELECT DISTINCT d.device_id, d.observed, d.declared, d.port FROM content c"
        " CROSS JOIN entry e ON e.content = c.id CROSS JOIN device d ON d.id = e.device"
        f" WHERE c.content_id = :content_id AND d.device_id <> :besides AND {_LIVE} LIMIT :most",
        {"content_id": content_id, "besides": besides, "now": now, "most": limit},
    )
    return [Card(*row) for row in rows]


def members(database: Database, content_id: bytes, after: bytes, limit: int, now: float) -> list[Listing]:
    """See Registry.members."""
    shares = (
        " AND EXISTS (SELECT 1 FROM content c CROSS JOIN entry e INDEXED BY entry_device ON e.content = c.id"
        " WHERE c.content_id = :content_id AND e.device = d.id AND e.generation >= d.generation)"
    )
    rows = database.query(
        "SELECT d.device_id, d.observed, d.declared, d.port, d.files, d.lease FROM device d"
        f" WHERE d.device_id > :after AND d.lease > :now{shares if content_id else ''}"
        " ORDER BY d.device_id LIMIT :most",
        {"content_id": content_id, "after": after, "now": now, "most": limit},
    )
    return [Listing(Card(*row[:4]), *row[4:]) for row in map(tuple, rows)]
