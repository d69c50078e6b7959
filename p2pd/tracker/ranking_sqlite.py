"""Searching by words in the SQLite registry: the best first, however many match.

The rule: the work of a page is bounded. By relevance, candidates are looked at by class, since that comes first whatever else
they are: names that have every word whole, then those where every word begins one, then the rest. If at most `NAMES` names are of a
class, they are ranked exactly, in one go. If more are, the class falls into tiers of how popular a name's contents are, and a tier
into windows of `WINDOW` names, the ones published last first; each window is ranked for itself. For another order all names are
one class. A content is told once, at the first of its names in that order.

A place says: the stage (class and tier), between which names (and contents of them) its window lies, and the key of the last hit in it.
Both ends are said, so that what comes and goes meanwhile moves nothing else from one window to another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from p2pd.storage.sqlite import Database
from p2pd.tracker.entries_sqlite import TIERS, mark
from p2pd.tracker.hits_sqlite import LIVE, Held, held, hit, json_list, sources_of
from p2pd.tracker.search import TRIGRAM, BadCursor, Key, Page, Place, Query, claim_of, order, sort_key
from protocol.searching import rank_class, runs
from protocol.tracker import Hit, Sort

NAMES = 2_000  # the most names of a class that are ranked in one go
WINDOW = 500  # names of a window, when there are more
GROWN = 4  # how many times as many may have come into a window since it was first looked at
LABELS = 4_000  # pairs of a name and a content ranked in one go
SCANNED = 50_000  # names looked at for one page when words are too short for the index: 20 ms
EXACT = 64  # a content with more entries is ranked by their number, whoever of them is here: counting would take too long
_LAST = 2**62 - 1  # above any row
_WHOLE, _BEGINNING, _REST, _ANY = range(4)
_STEPS = len(TIERS) + 2  # stages of a class: all of it, then its tiers from the top


@dataclass(slots=True)
class _Candidate:
    """A content and those of its names in this window that match: (rank, folded, name)."""

    row: int
    size: int
    claim: str
    holders: int
    newest: int
    names: list[tuple[int, str, str]]
    pairs: list[int]
    sources: int = 0


@dataclass(frozen=True, slots=True)
class _Window:
    """Names from which to take candidates: of a class, and of a tier if it is not None; behind (name, content) in the order of
    falling names and rising contents, and up to `end` if that is known."""

    stage: int
    name: int = _LAST
    content: int = 0
    resumed: bool = False  # some of it was told
    end: tuple[int, int] | None = None

    @property
    def quality(self) -> int:
        return self.stage // _STEPS

    def place(self) -> Place:
        """The place at its beginning."""
        end = "" if self.end is None else f"{self.end[0]}.{self.end[1]}"
        return Place(self.name, self.content, end, (), self.stage)

    @property
    def tier(self) -> int | None:
        step = self.stage % _STEPS
        return None if not step else len(TIERS) - (step - 1)


def search(database: Database, query: Query, limit: int, now: float) -> Page:
    """See Registry.search, for searches by words."""
    return _Search(database, query, limit, now).page()


class _Search:
    """One page being made."""

    def __init__(self, database: Database, query: Query, limit: int, now: float) -> None:
        self._database = database
        self._query = query
        self._terms = query.terms
        self._limit = limit
        self._now = now
        self._sources = _Sources(query)
        self._work = 0

    def page(self) -> Page:
        window: _Window | None = self._begin()
        key = self._query.after.key
        items: list[tuple[Hit, Place]] = []
        while window is not None and len(items) < self._limit and self._work < NAMES:
            window, candidates, following = self._look(window)
            if candidates:
                place = window.place()
                for found, at in self._ranked(candidates, key, window):
                    if len(items) == self._limit:
                        return Page(items, items[-1][1])
                    items.append((found, replace(place, key=at)))
            window, key = following, ()
        return Page(items, None if window is None else window.place())

    def _begin(self) -> _Window:
        after = self._query.after
        first = 0 if self._query.sort is Sort.RELEVANCE else _ANY * _STEPS
        end = None
        if after.text:
            parts = after.text.split(".")
            if len(parts) != 2 or not all(
                part.isascii() and part.isdigit() and len(part) < 20 for part in parts
            ):
                raise BadCursor("bad cursor")
            end = (min(_LAST, int(parts[0])), min(_LAST, int(parts[1])))
        return _Window(after.stage or first, after.name or _LAST, after.content, bool(after.key), end)

    # -- windows --------------------------------------------------------------------------------------------

    def _look(self, window: _Window) -> tuple[_Window, list[_Candidate], _Window | None]:
        """The window with both ends, its candidates, and the one after it."""
        take = self._sources.of(window)
        if take is None:
            return window, [], self._after(window)
        whole = window.tier is None
        if window.tier and not self._sources.tiers(window.quality):
            return window, [], _Window(window.stage + 1)
        names, more = take(self._database, window)
        if whole and more:
            return window, [], _Window(window.stage + 1)  # too many for one go: tier by tier
        self._work += len(names) if not self._sources.scanned else NAMES
        rows = self._labels(names, window)
        cut = len(rows) == LABELS
        if whole and cut and not window.resumed:
            return window, [], _Window(window.stage + 1)
        if not whole and window.end is None:
            end = (rows[-1]["name"], rows[-1]["content"]) if cut else (more, _LAST)
            start = names[0] if names and window.name == _LAST else window.name
            window = replace(window, name=start, end=end)
        following = self._after(window)
        if window.end is not None and window.end[0]:
            following = _Window(window.stage, *window.end)
        return window, self._candidates(rows, window), following

    def _after(self, window: _Window) -> _Window | None:
        if window.tier:
            return _Window(window.stage + 1)
        return _Window((window.quality + 1) * _STEPS) if window.quality < _REST else None

    def _labels(self, names: list[int], window: _Window) -> list[Any]:
        """Of each name, in this order, the contents in order: as the loops of the joins go, so that the limit spares the rest."""
        return self._database.query(
            "SELECT n.id AS name, n.name AS text, n.folded, b.content, c.size, c.content_id, c.sha256, c.files, c.holders,"
            " c.newest FROM json_each(:names) j CROSS JOIN name n ON n.id = j.value CROSS JOIN label b ON b.name = n.id"
            " CROSS JOIN content c ON c.id = b.content"
            " WHERE c.size BETWEEN :least AND :greatest AND (n.id <> :name OR b.content > :content)"
            " AND (n.id <> :last_name OR b.content <= :last_content) LIMIT :most",
            {
                "names": json_list(names),
                "least": self._query.min_size,
                "greatest": self._query.max_size,
                "name": window.name,
                "content": window.content,
                "last_name": window.end[0] if window.end else 0,
                "last_content": window.end[1] if window.end else _LAST,
                "most": LABELS if window.end is None and not window.resumed else GROWN * LABELS,
            },
        )

    def _candidates(self, rows: Iterable[Any], window: _Window) -> list[_Candidate]:
        """The labels of a window by content: those that match, belong here and are served."""
        found: dict[int, _Candidate] = {}
        judged: dict[int, int] = {}
        for name, text, folded, row, size, content_id, sha256, files, holders, newest in rows:
            rank = judged.get(name)
            if rank is None:
                good = self._terms.matches(folded)
                rank = judged[name] = self._terms.rank(folded) if good else -1
            if rank < 0 or (window.quality != _ANY and rank_class(rank) != window.quality):
                continue
            candidate = found.get(row)
            if candidate is None:
                claim = claim_of(content_id, sha256, size, files)
                candidate = found[row] = _Candidate(row, size, claim, holders, newest, [], [])
            candidate.names.append((rank, folded, text))
            candidate.pairs.append(name)
        self._weigh(found)
        return [candidate for candidate in found.values() if candidate.names]

    def _weigh(self, found: dict[int, _Candidate]) -> None:
        """Sources and newest dates; names that nobody serves are taken away."""
        few = [row for row, candidate in found.items() if candidate.holders <= EXACT]
        live: dict[int, dict[int, int]] = {}
        for content, name, count, newest in self._database.query(
            "SELECT e.content, e.name, COUNT(*), MAX(e.added_at) FROM json_each(:rows) j"
            " CROSS JOIN entry e ON e.content = j.value CROSS JOIN device d ON d.id = e.device"
            f" WHERE {LIVE} GROUP BY e.content, e.name",
            {"rows": json_list(few), "now": self._now},
        ):
            candidate = found[content]
            names = live.setdefault(content, {})
            candidate.newest = max(candidate.newest, newest) if names else newest
            names[name] = count
        several = [row for row, names in live.items() if len(names) > 1]
        exact = sources_of(self._database, several, self._now)
        for row, candidate in found.items():
            if candidate.holders > EXACT:
                candidate.sources = candidate.holders
                continue
            names = live.get(row, {})
            candidate.sources = exact.get(row) or sum(names.values())
            kept = [i for i, name in enumerate(candidate.pairs) if name in names]
            candidate.names = [candidate.names[i] for i in kept]

    # -- order ----------------------------------------------------------------------------------------------

    def _ranked(
        self, candidates: Iterable[_Candidate], after: Key, window: _Window
    ) -> Iterator[tuple[Hit, Key]]:
        """The hits of a window in order, behind a key, each with its own."""
        bar = order(after) if after else ()
        keyed = []
        for candidate in candidates:
            key = self._key(candidate)
            ordered = order(key)
            if not bar or ordered > bar:
                keyed.append((ordered, key, candidate))
        keyed.sort(key=lambda item: item[0])
        step = self._limit + 1
        for start in range(0, len(keyed), step):
            part = keyed[start : start + step]
            contents = held(self._database, (candidate.row for *_, candidate in part), self._now)
            for _, key, candidate in part:
                content = contents.get(candidate.row)
                if content is None or not any(name in candidate.pairs for name, *_ in content.names):
                    continue
                if self._told_before(content, window):
                    continue
                found = hit(self._query, content)
                if found is not None:
                    yield found, key

    def _key(self, candidate: _Candidate) -> Key:
        by_name = self._query.sort is Sort.NAME
        rank, _, name = min(candidate.names, key=(lambda one: one[1:]) if by_name else None)
        return sort_key(
            self._query.sort, rank, candidate.sources, candidate.newest, candidate.size, name, candidate.claim
        )

    def _told_before(self, content: Held, window: _Window) -> bool:
        """Has it a name that belongs into an earlier window?"""
        if len(content.names) == 1:
            return False
        for row, _, folded, tier in content.names:
            if not self._terms.matches(folded):
                continue
            quality = _ANY if window.quality == _ANY else rank_class(self._terms.rank(folded))
            if quality < window.quality:
                return True
            if quality > window.quality or window.tier is None:
                continue
            place = (tier if self._sources.tiers(quality) else 0, row)
            start = (window.tier, window.name)
            if place > start or (place == start and content.row <= window.content):
                return True
        return False


# -- where names come from ------------------------------------------------------------------------------------

Take = Callable[[Database, _Window], tuple[list[int], int]]
"""The names of a window, in order, and the last of them if there may be more (else 0)."""


class _Sources:
    """Which names may be of a class and tier: more than are, never fewer."""

    def __init__(self, query: Query) -> None:
        terms = query.terms
        words = [runs(word) for word in terms.words]
        given = [run for text in (*terms.phrases, terms.suffix) for run in runs(text)]
        whole = [_quoted(run) for run in dict.fromkeys([*given, *(run for word in words for run in word)])]
        # all but the last run of a word are whole in any name that has the word at the beginning of one
        begun = [
            _quoted(run) for run in dict.fromkeys([*given, *(run for word in words for run in word[:-1])])
        ]
        begun += [f"{_quoted(run)} *" for run in dict.fromkeys(word[-1] for word in words if word)]
        self._whole, self._begun = " AND ".join(whole), " AND ".join(begun)
        if all(word == [text] for word, text in zip(words, terms.words, strict=True)):
            # a word without punctuation is in the index exactly when it is whole
            self._begun = f"({self._begun}) NOT ({self._whole})"
        self._trigrams = " AND ".join('"' + part.replace('"', '""') + '"' for part in _telling(query))
        self._all_whole = not any(words)  # punctuation and phrases are never anything else
        self._needles = [*terms.words, terms.suffix] if terms.suffix else list(terms.words)
        self.scanned = False

    def tiers(self, quality: int) -> bool:
        """Are the windows of this class by tier?"""
        return quality < _REST and bool(self._whole)

    def of(self, window: _Window) -> Take | None:
        """None when nothing can be of this class."""
        quality, tier = window.quality, window.tier
        if quality > _ANY or (self._all_whole and quality not in (_WHOLE, _ANY)):
            return None
        self.scanned = False
        if quality >= _REST or not self._whole:
            self.scanned = not self._trigrams
            return self._by_trigrams if self._trigrams else self._by_scan
        match = self._whole if quality == _WHOLE else self._begun
        if tier is not None and tier > 0:
            match = f"({match}) AND {_quoted(mark(tier))}"
        if tier is not None and tier < len(TIERS):
            match = f"({match}) NOT {_quoted(mark(tier + 1))}"
        return lambda database, window: _matching(database, "name_word", match, window)

    def _by_trigrams(self, database: Database, window: _Window) -> tuple[list[int], int]:
        return _matching(database, "name_trigram", self._trigrams, window)

    def _by_scan(self, database: Database, window: _Window) -> tuple[list[int], int]:
        """Names that hold all words, among so many; words are too short for any index."""
        params: dict[str, Any] = {f"needle{i}": needle for i, needle in enumerate(self._needles)}
        holds = "".join(f" AND instr(folded, :{key})" for key in params)
        if window.tier is None:
            beyond = database.query("SELECT id FROM name ORDER BY id LIMIT 1 OFFSET ?", (SCANNED,))
            if beyond and not window.resumed:
                return [], 1
            rows = database.query(
                f"SELECT id FROM (SELECT id, folded FROM name ORDER BY id LIMIT :scanned) WHERE 1{holds} LIMIT :most",
                {**params, "scanned": SCANNED, "most": NAMES + 1},
            )
            if len(rows) > NAMES and not window.resumed:
                return [], 1
            return [row[0] for row in rows[:NAMES]], 0
        stop = window.end[0] - 1 if window.end else None
        if stop is None:
            beyond = database.query(
                "SELECT id FROM name WHERE id <= ? ORDER BY id DESC LIMIT 1 OFFSET ?", (window.name, SCANNED)
            )
            stop = beyond[0][0] if beyond else 0
        rows = database.query(
            f"SELECT id FROM name WHERE id <= :name AND id > :stop{holds} ORDER BY id DESC LIMIT :most",
            {**params, "name": window.name, "stop": stop, "most": GROWN * WINDOW if window.end else WINDOW},
        )
        names = [row[0] for row in rows]
        if len(names) == WINDOW:
            return names, names[-1]
        return names, stop + 1 if stop else 0


def _matching(database: Database, table: str, match: str, window: _Window) -> tuple[list[int], int]:
    """The next names that an index gives. All of a class: the oldest first, so that a page later these are still among them."""
    where = f"SELECT rowid FROM {table} WHERE {table} MATCH :match"
    if window.tier is None:
        beyond = database.query(
            f"{where} ORDER BY rowid LIMIT 1 OFFSET :most", {"match": match, "most": NAMES}
        )
        if beyond and not window.resumed:
            return [], 1
        rows = database.query(f"{where} ORDER BY rowid LIMIT :most", {"match": match, "most": NAMES})
        return [row[0] for row in rows], 0
    rows = database.query(
        f"{where} AND rowid BETWEEN :end AND :name ORDER BY rowid DESC LIMIT :most",
        {
            "match": match,
            "name": window.name,
            "end": window.end[0] if window.end else 0,
            "most": GROWN * WINDOW if window.end else WINDOW,
        },
    )
    names = [row[0] for row in rows]
    return names, names[-1] if len(names) == WINDOW else 0


def _telling(query: Query) -> list[str]:
    """Trigrams that every match holds: two of each word, from its middle, where words differ most. The index takes as long as its
    lists are, and what it gives is compared anyway."""
    terms = query.terms
    found: dict[str, None] = {}
    for word in (*terms.words, *(run for phrase in terms.phrases for run in runs(phrase)), terms.suffix):
        spare = len(word) - TRIGRAM
        if spare >= 0:
            for start in {spare // 3, (2 * spare + 2) // 3}:
                found[word[start : start + TRIGRAM]] = None
    return list(found)


def _quoted(run: str) -> str:
    """A run of letters and digits as a string of FTS5's language: it holds no quotation mark."""
    return f'"{run}"'
