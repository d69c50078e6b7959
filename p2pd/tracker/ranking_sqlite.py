"""Searching by words in the SQLite registry: the best first, however many match.

The rule: the work of a page is bounded. If at most `NAMES` names hold the words at all, they are ranked exactly, in one go. If more
do, they are looked at by class when the order is relevance, since that comes first whatever else they are: names that have every
word whole, then those where every word begins one, then the rest. A class of at most `NAMES` names is ranked in one go. One of more
falls into tiers of how popular a name's contents are, and a tier into windows of `WINDOW` names, the ones published last first;
each window is ranked for itself. For another order all names are one class. A content is told once, at the first of its names in
that order.

A place says: the stage (class and tier), between which names (and contents of them) its window lies, and the key of the last hit in it.
Both ends are said, so that what comes and goes meanwhile moves nothing else from one window to another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from p2pd.storage.sqlite import Database
from p2pd.tracker import hits_sqlite, windows_sqlite
from p2pd.tracker.crowds_sqlite import Crowds
from p2pd.tracker.hits_sqlite import LONE, LONE_COLUMNS, Held, Name, hit, serve
from p2pd.tracker.numbers_sqlite import json_list
from p2pd.tracker.search import BadCursor, Key, Page, Place, Query, claim_of, order, sort_key
from p2pd.tracker.trigrams_sqlite import Shares
from p2pd.tracker.windows_sqlite import ANY, LAST, REST, STEPS, Sources, Window
from protocol.searching import rank_class, runs
from protocol.tracker import Hit, Sort

LABELS_A_NAME = 2  # that a page looks at for each of the names it may look at
LABELS = 2_000  # pairs of a name and a content ranked in one go
EXACT = 64  # a content with more entries is ranked by their number, whoever of them is here: counting would take too long


@dataclass(slots=True)
class _Candidate:
    """A content and those of its names in this window that match: (rank, folded, name)."""

    content: Held
    newest: int
    names: list[tuple[int, str, str]]
    pairs: list[int]
    sources: int = 0
    lone: bool = False

    @property
    def row(self) -> int:
        return self.content.row


def search(database: Database, crowds: Crowds, shares: Shares, query: Query, limit: int, now: float) -> Page:
    """See Registry.search, for searches by words."""
    return _Search(database, crowds, Sources(query, shares), query, limit, now).page()


class _Search:
    """One page being made."""

    def __init__(
        self, database: Database, crowds: Crowds, sources: Sources, query: Query, limit: int, now: float
    ) -> None:
        self._database = database
        self._crowds = crowds
        self._sources = sources
        self._texts: dict[int, Name] = {}  # names that were read for this page
        self._query = query
        self._terms = query.terms
        self._by_name = query.sort is Sort.NAME
        self._limit = limit
        self._now = now
        self._work = 0
        self._entries = hits_sqlite.ENTRIES
        self._told: set[int] = set()  # contents that belong to what was looked at for this page, or before it

    def page(self) -> Page:
        window: Window | None = self._begin()
        key = self._query.after.key
        items: list[tuple[Hit, Place]] = []
        while window is not None and len(items) < self._limit and self._work < windows_sqlite.NAMES:
            window, candidates, following = self._look(window)
            if candidates:
                place = window.place()
                for found, at in self._ranked(candidates, key, window):
                    if found is None:
                        return Page(items, replace(place, key=at))
                    if len(items) == self._limit:
                        return Page(items, items[-1][1])
                    items.append((found, Place(place.name, place.content, place.text, at, place.stage)))
            window, key = following, ()
        return Page(items, None if window is None else window.place())

    def _begin(self) -> Window:
        after = self._query.after
        if after == Place():
            # If not too many names hold the words at all, one look at them is enough, whatever their class.
            in_one_go = self._query.sort is not Sort.RELEVANCE or self._sources.indexed
            return Window(ANY * STEPS if in_one_go else 0)
        end = None
        if after.text:
            parts = after.text.split(".")
            if len(parts) != 2 or not all(
                part.isascii() and part.isdigit() and len(part) < 20 for part in parts
            ):
                raise BadCursor("bad cursor")
            end = (min(LAST, int(parts[0])), min(LAST, int(parts[1])))
        return Window(after.stage, after.name or LAST, after.content, bool(after.key), end)

    # -- windows --------------------------------------------------------------------------------------------

    def _look(self, window: Window) -> tuple[Window, list[_Candidate], Window | None]:
        """The window with both ends, its candidates, and the one after it."""
        take = self._sources.of(window)
        if take is None:
            return window, [], self._after(window)
        whole = window.tier is None
        if window.tier and not self._sources.tiers(window.quality):
            return window, [], Window(window.stage + 1)
        names, more = take(self._database, window)
        if whole and more:
            return window, [], self._smaller(window)
        self._work += len(names) if not self._sources.scanned else windows_sqlite.NAMES
        rows = self._labels(names, window)
        self._work += max(
            0, len(rows) // LABELS_A_NAME - len(names)
        )  # one name may be that of very many contents
        cut = len(rows) == LABELS
        if whole and cut and not window.resumed:
            return window, [], self._smaller(window)
        if not whole and window.end is None:
            end = (rows[-1]["name"], rows[-1]["content"]) if cut else (more, LAST)
            start = names[0] if names and window.name == LAST else window.name
            window = replace(window, name=start, end=end)
        following = self._after(window)
        if window.end is not None and window.end[0]:
            following = Window(window.stage, *window.end)
        return window, self._candidates(rows, window), following

    def _smaller(self, window: Window) -> Window:
        """There are too many names for one go: class by class if that is the order, and tier by tier."""
        by_class = window.quality == ANY and self._query.sort is Sort.RELEVANCE
        return Window(0) if by_class else Window(window.stage + 1)

    def _after(self, window: Window) -> Window | None:
        if window.tier:
            return Window(window.stage + 1)
        return Window((window.quality + 1) * STEPS) if window.quality < REST else None

    def _labels(self, names: list[int], window: Window) -> list[Any]:
        """Of each name, in this order, the contents in order: as the loops of the joins go, so that the limit spares the rest."""
        needles = (*self._terms.words, *(run for phrase in self._terms.phrases for run in runs(phrase)))
        words = {f"word{number}": word for number, word in enumerate(needles)}
        holds = "".join(f" AND instr(n.folded, :{key})" for key in words)
        return self._database.query(
            "SELECT n.id AS name, n.name AS text, n.folded, n.tier, b.content, c.size, c.content_id, c.sha256, c.files, c.holders,"
            f" c.newest, {LONE_COLUMNS} FROM json_each(:names) j CROSS JOIN name n ON n.id = j.value"
            " CROSS JOIN label b ON b.name = n.id AND b.content > CASE n.id WHEN :name THEN :content ELSE 0 END"
            f" AND b.content <= CASE n.id WHEN :last_name THEN :last_content ELSE {LAST} END CROSS JOIN content c ON c.id = b.content{LONE}"
            f" WHERE TRUE{holds} AND c.size BETWEEN :least AND :greatest LIMIT :most",
            {
                **words,
                "now": self._now,
                "names": json_list(names),
                "least": self._query.min_size,
                "greatest": self._query.max_size,
                "name": window.name,
                "content": window.content,
                "last_name": window.end[0] if window.end else 0,
                "last_content": window.end[1] if window.end else LAST,
                "most": LABELS
                if window.end is None and not window.resumed
                else windows_sqlite.GROWN * LABELS,
            },
        )

    def _candidates(self, rows: Iterable[Any], window: Window) -> list[_Candidate]:
        """The labels of a window by content: those that match, belong here and are served."""
        found: dict[int, _Candidate] = {}
        judged: dict[int, int] = {}
        for (
            name,
            text,
            folded,
            tier,
            row,
            size,
            content_id,
            sha256,
            files,
            holders,
            newest,
            live,
            date,
        ) in rows:
            if holders == 1 and not live:
                continue
            rank = judged.get(name)
            if rank is None:
                good = self._terms.matches(folded)
                rank = judged[name] = self._terms.rank(folded) if good else -1
            if rank < 0 or (window.quality != ANY and rank_class(rank) != window.quality):
                continue
            candidate = found.get(row)
            if candidate is None:
                content = Held(row, content_id, sha256, size, files, holders)
                candidate = found[row] = _Candidate(content, newest, [], [])
            candidate.names.append((rank, folded, text))
            candidate.pairs.append(name)
            self._texts[name] = (name, text, folded, tier)
            if holders == 1:
                candidate.lone = True
                candidate.sources = candidate.content.sources = 1
                candidate.newest = candidate.content.newest = date
                candidate.content.names = [self._texts[name]]
        self._weigh(found)
        return [candidate for candidate in found.values() if candidate.names]

    def _weigh(self, found: dict[int, _Candidate]) -> None:
        """Sources and newest dates; names that nobody serves are taken away."""
        few = [row for row, candidate in found.items() if 1 < candidate.content.holders <= EXACT]
        live = self._crowds.live(self._now)
        crowds = self._crowds.of(few)
        for candidate in found.values():
            if candidate.content.holders > EXACT:
                candidate.sources = candidate.content.holders
        for row in few:
            candidate = found[row]
            crowd = crowds.get(row)
            served = crowd.served(live) if crowd is not None else []
            if crowd is not None and served:
                candidate.sources, candidate.newest = crowd.sources(live), crowd.newest(live)
            kept = [i for i, name in enumerate(candidate.pairs) if name in served]
            candidate.names = [candidate.names[i] for i in kept]

    # -- order ----------------------------------------------------------------------------------------------

    def _ranked(
        self, candidates: Iterable[_Candidate], after: Key, window: Window
    ) -> Iterator[tuple[Hit | None, Key]]:
        """The hits of a window in order, behind a key, each with its own; None where it is enough for one page."""
        bar = order(after) if after else ()
        keyed = []
        for candidate in candidates:
            if candidate.row in self._told:
                continue
            key, ordered = self._key(candidate)
            if not bar or ordered > bar:
                keyed.append((ordered, key, candidate))
            else:
                self._told.add(candidate.row)
        keyed.sort(key=lambda item: item[0])
        step = self._limit + 1
        for start in range(0, len(keyed), step):
            part = keyed[start : start + step]
            several = [candidate for *_, candidate in part if not candidate.lone]
            contents, beyond = self._serve(several) if several else ({}, set())
            self._entries -= sum(content.work for content in contents.values())
            last = after
            for _, key, candidate in part:
                if candidate.row in beyond:
                    yield None, last
                    return
                last = key
                content = candidate.content
                if not any(name in candidate.pairs for name, *_ in content.names):
                    continue
                self._told.add(candidate.row)
                if self._told_before(content, window):
                    continue
                found = hit(self._query, content)
                if found is not None:
                    yield found, key

    def _serve(self, several: list[_Candidate]) -> tuple[dict[int, Held], set[int]]:
        wanted = {candidate.row: set(candidate.pairs) for candidate in several}
        contents = (candidate.content for candidate in several)
        return serve(self._database, self._crowds, contents, self._now, self._entries, wanted, self._texts)

    def _key(self, candidate: _Candidate) -> tuple[Key, Key]:
        """As a cursor has it, and as it is compared."""
        names = candidate.names
        if len(names) == 1:
            rank, folded, name = names[0]
        else:
            rank, folded, name = min(names, key=(lambda one: one[1:]) if self._by_name else None)
        content = candidate.content
        key = sort_key(
            self._query.sort,
            rank,
            candidate.sources,
            candidate.newest,
            content.size,
            name,
            claim_of(content.content_id, content.sha256, content.size, content.files),
        )
        return key, (*key[:-2], folded, *key[-2:])

    def _told_before(self, content: Held, window: Window) -> bool:
        """Has it a name that belongs into an earlier window?"""
        if len(content.names) == 1:
            return False
        for row, _, folded, tier in content.names:
            if not self._terms.matches(folded):
                continue
            quality = ANY if window.quality == ANY else rank_class(self._terms.rank(folded))
            if quality < window.quality:
                return True
            if quality > window.quality or window.tier is None:
                continue
            place = (tier if self._sources.tiers(quality) else 0, row)
            start = (window.tier, window.name)
            if place > start or (place == start and content.row <= window.content):
                return True
        return False
